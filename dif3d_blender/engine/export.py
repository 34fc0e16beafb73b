"""Files that people take elsewhere: meshes, pictures, arrays and video, each whole or not there at all.

Meshes come in the field frame (x toward the input camera, y right, z up) and leave in the frame that their format's
readers expect: GLB and OBJ Y up facing +Z, PLY and STL Z up facing −Y (docs/architecture.md).
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import DIF3DError
from .files import atomic_path, remove
from .glb import GlbWriter

MESH_FORMATS = ("glb", "obj", "ply", "stl")

# Rows give the output axes in the field's axes; both are rotations, so faces keep their winding.
Y_UP = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float64)  # (y, z, x)
_Z_UP = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float64)  # (y, −x, z)
_FRAMES = {"glb": Y_UP, "obj": Y_UP, "ply": _Z_UP, "stl": _Z_UP}


def save_array(path: Path | str, array: np.ndarray) -> None:
    """Write `array` as an .npy file that any reader can memory-map (C order, no pickle)."""
    with atomic_path(path) as temporary:
        np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)


def save_png(path: Path | str, image: Image.Image | np.ndarray) -> None:
    """Write a PNG.

    Args:
        path: the final name.
        image: a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4]: uint8 and uint16 ([H, W] only) as they are,
            floats as sRGB in [0, 1].
    """
    picture = image if isinstance(image, Image.Image) else _to_pillow(image)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _to_pillow(array: np.ndarray) -> Image.Image:
    array = np.asarray(array)
    if array.dtype.kind == "f":
        array = np.round(np.clip(np.nan_to_num(array), 0.0, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(array)


# ------------------------------------------------------------------------------------------------------------ meshes

BASE_COLOR, NORMAL_MAP = "base_color.png", "normal.png"  # names of the maps beside a mesh


@dataclass(frozen=True)
class TextureMaps:
    """What gives a mesh its texture.

    Attributes:
        uv: [m, 3, 2] of the corners of each face, in [0, 1], (0, 0) at the bottom left of the maps.
        tangents: [m, 3, 4] at the corners, field frame: unit vectors along u, and which way v runs (1 or −1).
        base_color: uint8 [S, S, 3] sRGB, row 0 at the top.
        normal_map: uint8 [S, S, 3], tangent space, green toward v (OpenGL's convention: glTF, Blender).
    """

    uv: np.ndarray
    tangents: np.ndarray
    base_color: np.ndarray
    normal_map: np.ndarray


def to_export_frame(vertices: np.ndarray, file_format: str, size: float = 1.0) -> np.ndarray:
    """Return vertices [n, 3] of the field frame, as float32 in the frame of `file_format` ("glb", "obj", "ply", "stl").

    The object is `size` metres tall (its longest side, where it has no height at all) and stands on the floor.
    """
    turned = np.asarray(vertices, dtype=np.float64) @ _FRAMES[file_format].T
    up = 1 if _FRAMES[file_format] is Y_UP else 2
    low, high = turned.min(axis=0), turned.max(axis=0)
    extent = high[up] - low[up] or (high - low).max() or 1.0
    turned[:, up] -= low[up]
    return (turned * (size / extent)).astype(np.float32)


def export_mesh(
    path: Path | str,
    vertices: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    normals: np.ndarray | None = None,
    size: float = 1.0,
    texture: TextureMaps | None = None,
) -> None:
    """Write a triangle mesh as GLB, OBJ, PLY or STL, by the suffix of `path`.

    With a texture, GLB holds it in place of the colours, OBJ gets an MTL of the same name that names the maps beside it
    (`save_maps` writes those), and PLY and STL stay as they are: they have no textures.

    Args:
        path: the final name.
        vertices: [n, 3] in the field frame.
        faces: [m, 3] vertex indices, counter-clockwise seen from outside.
        colors: [n, 3] sRGB in [0, 1], or None. PLY and OBJ keep sRGB, as their readers expect; GLB gets linear values,
            as glTF 2.0 defines COLOR_0; STL has no colours.
        normals: [n, 3] unit vectors in the field frame, or None. STL has none at vertices.
        size: height of the object in metres.
        texture: UVs and maps, or None. It needs normals.

    Raises:
        DIF3DError: the format is not known, the mesh is empty or not finite, or the folder can't be written.
    """
    path = Path(path)
    file_format = check_mesh_format(path.suffix)
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    if len(faces) == 0 or len(vertices) == 0:
        raise DIF3DError(f"The mesh has no faces, so there is nothing to write to {path}.")
    if not np.isfinite(vertices).all():
        raise DIF3DError(f"The mesh has vertices that are not finite numbers, so {path} was not written.")
    positions = to_export_frame(vertices, file_format, size)
    if normals is not None:
        normals = (np.asarray(normals, dtype=np.float64) @ _FRAMES[file_format].T).astype(np.float32)

    if texture is not None and file_format in ("glb", "obj"):
        tangents = texture.tangents.copy()
        tangents[..., :3] = tangents[..., :3] @ _FRAMES[file_format].T
        if file_format == "glb":
            content = _textured_glb_bytes(positions, faces, normals, texture, tangents)
        else:
            content = _textured_obj_bytes(positions, faces, normals, texture.uv, path.with_suffix(".mtl"))
    elif file_format == "glb":
        content = glb_bytes(positions, faces, colors, normals)
    else:
        content = _trimesh_bytes(file_format, positions, faces, colors, normals)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def save_maps(folder: Path | str, texture: TextureMaps) -> dict[str, Path]:
    """Write the maps as PNG beside a mesh; return their paths, "base_color" and "normal_map"."""
    paths = {"base_color": Path(folder) / BASE_COLOR, "normal_map": Path(folder) / NORMAL_MAP}
    for name, path in paths.items():
        save_png(path, getattr(texture, name))
    return paths


def check_mesh_format(name: str) -> str:
    """Return the format that `name` ("obj", ".OBJ") means.

    Raises:
        DIF3DError: it is not one that we write; the message lists those.
    """
    file_format = name.lower().removeprefix(".")
    if file_format not in MESH_FORMATS:
        raise DIF3DError(f"Unknown mesh format {name!r}. Known formats: {', '.join(MESH_FORMATS)}.")
    return file_format


def _trimesh_bytes(
    file_format: str, positions: np.ndarray, faces: np.ndarray, colors: np.ndarray | None, normals: np.ndarray | None
) -> bytes:
    import trimesh  # slow to import; loading this module must stay cheap
    from trimesh.exchange import obj, ply

    mesh = trimesh.Trimesh(
        positions,
        faces,
        vertex_normals=normals,
        vertex_colors=None if colors is None else np.round(np.clip(colors, 0.0, 1.0) * 255.0).astype(np.uint8),
        process=False,
    )
    with_normals = normals is not None
    if file_format == "obj":
        text = obj.export_obj(mesh, include_normals=with_normals, include_color=colors is not None, header=None)
        return text.encode()
    if file_format == "ply":
        return ply.export_ply(mesh, vertex_normal=with_normals)
    return mesh.export(file_type="stl")


def _textured_obj_bytes(
    positions: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray, material: Path
) -> bytes:
    """Return a textured OBJ that names the MTL file `material`, which is written."""
    spots, spot = np.unique(uv.reshape(-1, 2), axis=0, return_inverse=True)
    spot = spot.reshape(-1, 3)
    lines = [f"mtllib {material.name}", "o DIF3D"]
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in positions.tolist()]
    lines += [f"vt {u:.6g} {v:.6g}" for u, v in spots.tolist()]
    lines += [f"vn {x:.4g} {y:.4g} {z:.4g}" for x, y, z in _unit(normals).tolist()]
    lines.append("usemtl DIF3D")
    corners = np.stack([faces, spot, faces], axis=2) + 1
    lines += [
        "f " + " ".join(f"{vertex}/{place}/{normal}" for vertex, place, normal in face) for face in corners.tolist()
    ]
    with atomic_path(material) as temporary:
        temporary.write_text(
            f"newmtl DIF3D\nKd 1 1 1\nKs 0.04 0.04 0.04\nPr 0.8\nPm 0\nmap_Kd {BASE_COLOR}\nnorm {NORMAL_MAP}\n",
            encoding="utf-8",
        )
    return ("\n".join(lines) + "\n").encode()


def _textured_glb_bytes(
    positions: np.ndarray, faces: np.ndarray, normals: np.ndarray, texture: TextureMaps, tangents: np.ndarray
) -> bytes:
    """As `glb_bytes`, with maps: vertices are split where the UVs or tangents [m, 3, 4] of their faces differ."""
    key = np.concatenate([faces.reshape(-1, 1), texture.uv.reshape(-1, 2), tangents.reshape(-1, 4)], axis=1)
    _, first, number = np.unique(key, axis=0, return_index=True, return_inverse=True)
    vertex = faces.reshape(-1)[first]
    uv = texture.uv.reshape(-1, 2)[first] * (1, -1) + (0, 1)  # glTF counts v from the top
    tangents = tangents.reshape(-1, 4)[first]
    tangents[:, :3] = _unit(tangents[:, :3])
    return glb_bytes(
        positions[vertex],
        number.reshape(-1, 3),
        normals=normals[vertex],
        textured=(uv, tangents, _png_bytes(texture.base_color), _png_bytes(texture.normal_map)),
    )


def _png_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def glb_bytes(
    positions: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    normals: np.ndarray | None = None,
    textured: tuple[np.ndarray, np.ndarray, bytes, bytes] | None = None,
) -> bytes:
    """Return a binary glTF 2.0 file that holds one mesh with a rough, non-metallic material.

    We write it ourselves because trimesh stores COLOR_0 in 8 bits (too few for linear values: dark colours band) and
    adds no material to a mesh with vertex colours (glTF's default material is a metal, which shows almost black).

    Args:
        positions: [n, 3] in glTF's frame (Y up, facing +Z), metres.
        faces: [m, 3] indices into them.
        colors: [n, 3] sRGB in [0, 1].
        normals: [n, 3] unit vectors.
        textured: UVs [n, 2], (0, 0) at the upper left; tangents [n, 4]; base colour and normal map as PNG.
    """
    glb = GlbWriter()
    attributes = {"POSITION": glb.add_positions(positions)}
    if normals is not None:
        attributes["NORMAL"] = glb.add(_unit(normals), "VEC3")
    if colors is not None:
        attributes["COLOR_0"] = glb.add_colors(colors)
    material = {"name": "DIF3D", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}
    maps = {}
    if textured is not None:
        uv, tangents, *pictures = textured
        attributes["TEXCOORD_0"] = glb.add(uv, "VEC2")
        attributes["TANGENT"] = glb.add(tangents, "VEC4")
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
        material["normalTexture"] = {"index": 1}
        maps["images"] = [
            {"bufferView": glb.add_bytes(content), "mimeType": "image/png", "name": name}
            for name, content in zip(("base_color", "normal"), pictures, strict=True)
        ]
        maps["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]  # no wrapping round
        maps["textures"] = [{"source": number, "sampler": 0} for number in range(len(pictures))]
    indices = glb.add(faces, "SCALAR", "<u4")
    return glb.bytes({"attributes": attributes, "indices": indices, "material": 0}, materials=[material], **maps)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [n, 3] at length one; glTF forbids others, so a zero vector becomes +Y."""
    vectors = np.array(vectors, dtype="<f4")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[length[:, 0] < 1e-12] = (0.0, 1.0, 0.0)
    return vectors / np.where(length < 1e-12, 1.0, length)


def to_gradio_3d_orientation(mesh):
    """Turn a `trimesh.Trimesh` of the field frame, in place, for Gradio's 3D viewer: (x, y, z) → (−y, z, −x).

    The name and the turn are TripoSR's: −90° about x, then 90° about y. Returns the mesh.
    """
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [0, 0, 1], [-1, 0, 0]]
    mesh.apply_transform(turn)
    return mesh


# ------------------------------------------------------------------------------------------------------------- video


def save_video(frames: Iterable[Image.Image | np.ndarray], path: Path | str, fps: int = 30) -> None:
    """Write frames as an H.264 MP4 that every player shows (yuv420p).

    Args:
        frames: pictures of one size, taken one at a time; Pillow images, uint8 arrays [H, W, 3] or floats in [0, 1].
            Odd sizes get one more row or column, a copy of the last, because yuv420p needs even ones.
        path: the final name, ending in .mp4.
        fps: frames a second.

    Raises:
        DIF3DError: no frames, frames of different sizes, imageio-ffmpeg is missing or fails, or the folder can't be
            written.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise DIF3DError(
            "The video needs imageio-ffmpeg, which is not installed. Install it with: pip install imageio-ffmpeg"
        ) from error

    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise DIF3DError(f"There are no frames to make {Path(path).name} of.")
    first = _video_frame(first)
    height, width = first.shape[:2]
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            quality=None,
            output_params=["-crf", "18", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )

        def send(frame: np.ndarray | None) -> None:
            try:
                writer.send(frame)
            except (OSError, RuntimeError) as error:  # ffmpeg ended, or could not be started
                raise DIF3DError(f"ffmpeg could not write {path}: {str(error).splitlines()[0]}") from error

        try:
            send(None)
            send(first)
            for number, frame in enumerate(frames, start=1):
                frame = _video_frame(frame)
                if frame.shape != first.shape:
                    raise DIF3DError(
                        f"Frame {number} of {Path(path).name} is {frame.shape[1]}×{frame.shape[0]} pixels, the first "
                        f"is {width}×{height}. All frames of a video have one size."
                    )
                send(frame)
        finally:
            writer.close()
        if not _is_whole_video(temporary):
            raise DIF3DError(f"ffmpeg did not finish {path}. Is the disk of that folder full?")


def _is_whole_video(path: Path) -> bool:
    """Whether an MP4 file holds its index and its frames, and all of its boxes (ISO/IEC 14496-12, 4.2) are there.

    imageio-ffmpeg does not tell how ffmpeg ended.
    """
    kinds, place = set(), 0
    if not path.is_file():
        return False
    whole = path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= whole:
            file.seek(place)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:  # the size follows, in 64 bits
                size = int.from_bytes(file.read(8), "big")
            if size < 8:
                return False
            kinds.add(kind)
            place += size
    return place == whole and {b"ftyp", b"moov", b"mdat"} <= kinds


def _video_frame(frame: Image.Image | np.ndarray) -> np.ndarray:
    """Return a frame as contiguous uint8 [H, W, 3] with even sides."""
    picture = frame if isinstance(frame, Image.Image) else _to_pillow(frame)
    array = np.asarray(picture.convert("RGB"))
    height, width = array.shape[:2]
    return np.ascontiguousarray(np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def save_pictures(folder: Path | str, frames: Iterable[Image.Image | np.ndarray]) -> list[Path]:
    """Write frames as FOLDER/render_000.png, render_001.png …; return the paths.

    Frames are taken one at a time. Pictures of such names that are there from a longer row are removed.
    """
    paths = []
    for number, frame in enumerate(frames):
        paths.append(Path(folder) / f"render_{number:03d}.png")
        save_png(paths[-1], frame)
    for old in set(Path(folder).glob("render_*.png")) - set(paths):
        if re.fullmatch(r"render_(\d{3}|[1-9]\d{3,})\.png", old.name):
            remove(old)
    return paths


def save_turntable(
    folder: Path | str, frames: Iterable[Image.Image | np.ndarray], warnings: list[str]
) -> tuple[list[Path], Path | None]:
    """Write frames as FOLDER/render_000.png … and FOLDER/render.mp4.

    Args:
        folder: where to; another run's frames and video there are replaced.
        frames: pictures of one size, taken one at a time (see `save_video`).
        warnings: gets a sentence where no video could be made.

    Returns:
        The frames' paths, and the video's; None where there is none.

    Raises:
        DIF3DError: the folder can't be written.
    """
    video = Path(folder) / "render.mp4"
    paths = save_pictures(folder, frames)
    try:
        remove(video)  # another run's, of other frames
        save_video(map(Image.open, paths), video)
    except DIF3DError as error:
        warnings.append(f"No video was written: {error}")
        return paths, None
    return paths, video
