"""Binary glTF 2.0 files, as far as we write them: one node with one primitive, all data in the file itself."""

from __future__ import annotations

import json
import struct

import numpy as np

from .srgb import srgb_to_linear

_COMPONENTS = {"<f4": 5126, "<u4": 5125, "<u2": 5123}  # the constants of section 5.11 of the glTF 2.0 specification
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963


class GlbWriter:
    """Collects the data of a primitive; `bytes` is the file."""

    def __init__(self) -> None:
        self._views: list[dict] = []
        self._accessors: list[dict] = []
        self._chunks: list[bytes] = []
        self._length = 0

    def add(self, array: np.ndarray, kind: str, dtype: str = "<f4", **more: object) -> int:
        """Add an array as `dtype`; return the number of its accessor.

        Args:
            array: [n, components].
            kind: "SCALAR", "VEC2", "VEC3" or "VEC4"; scalars of "<u4" are the primitive's indices.
            dtype: how the numbers are stored: "<f4", "<u4" or "<u2".
            more: properties of the accessor.
        """
        array = np.ascontiguousarray(array, dtype=dtype)
        indices = kind == "SCALAR" and dtype == "<u4"
        view = self.add_bytes(array.tobytes(), target=_ELEMENT_BUFFER if indices else _ARRAY_BUFFER)
        count = array.size if kind == "SCALAR" else len(array)
        self._accessors.append(
            {"bufferView": view, "componentType": _COMPONENTS[dtype], "count": count, "type": kind, **more}
        )
        return len(self._accessors) - 1

    def add_positions(self, positions: np.ndarray) -> int:
        """Add positions [n, 3] (Y up, facing +Z, metres) with the bounds that glTF wants; return their accessor."""
        positions = np.asarray(positions, dtype="<f4")
        bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
        return self.add(positions, "VEC3", **bounds)

    def add_colors(self, colors: np.ndarray, alpha: np.ndarray | float = 1.0) -> int:
        """Add colours [n, 3] (sRGB in [0, 1]) as linear light, and alpha [n]; return their accessor."""
        linear = np.empty((len(colors), 4))  # four components: every vertex must start at a multiple of four bytes
        linear[:, :3], linear[:, 3] = srgb_to_linear(np.clip(colors, 0.0, 1.0)), alpha
        return self.add(np.round(linear * 65535.0), "VEC4", "<u2", normalized=True)

    def add_bytes(self, content: bytes, **more: object) -> int:
        """Add what is no array, such as a picture's file; return the number of its buffer view."""
        self._views.append({"buffer": 0, "byteOffset": self._length, "byteLength": len(content), **more})
        self._chunks.append(content + b"\0" * (-len(content) % 4))
        self._length += len(self._chunks[-1])
        return len(self._views) - 1

    def bytes(self, primitive: dict, **more: object) -> bytes:
        """Return the file (section 4.4 of the specification).

        Args:
            primitive: the mesh's only one, as glTF describes it.
            more: further properties of the whole, such as materials.
        """
        tree = {
            "asset": {"version": "2.0", "generator": "DIF3D for Blender"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "DIF3D"}],
            "meshes": [{"name": "DIF3D", "primitives": [primitive]}],
            **more,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self._length}],
        }
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        binary = b"".join(self._chunks)
        header = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
        parts = [header, struct.pack("<I4s", len(text), b"JSON"), text]
        return b"".join([*parts, struct.pack("<I4s", len(binary), b"BIN\0"), binary])
