"""What a result keeps so that it can be asked again: its triplane, its outline and its framed picture.

They lie in the result's folder; the mesh data-block has a copy, so that the .blend alone is enough, even tomorrow and
on another machine. The engine finds them by their places beside the triplane (docs/architecture.md).
"""

from __future__ import annotations

from pathlib import Path

import bpy

from ..engine.files import is_file

FILES = {  # custom property of the mesh, and the place in a result's folder
    "dif3d_triplane": Path("arrays", "triplane.npy"),
    "dif3d_outline": Path("arrays", "outline.npy"),
    "dif3d_picture": Path("images", "Removed_BG.png"),
}
TRIPLANE = "dif3d_triplane"


def pack(mesh: bpy.types.Mesh, folder: Path) -> None:
    """Copy what is stored in the result's folder into the mesh data-block."""
    for key, place in FILES.items():
        if is_file(folder / place):
            mesh[key] = (folder / place).read_bytes()


def is_stored(mesh: bpy.types.Mesh, folder: Path) -> bool:
    """Whether the triplane is in the data-block or still in the folder."""
    return TRIPLANE in mesh or is_file(folder / FILES[TRIPLANE])


def unpack(mesh: bpy.types.Mesh, folder: Path, target: Path) -> Path:
    """Return the path of the triplane; what only the data-block has is written into the folder `target`."""
    if is_file(folder / FILES[TRIPLANE]):
        return folder / FILES[TRIPLANE]
    for key, place in FILES.items():
        if key in mesh:
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            (target / place).write_bytes(mesh[key])
    return target / FILES[TRIPLANE]
