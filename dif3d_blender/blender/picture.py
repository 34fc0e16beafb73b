"""The picture of a job: a file, or an image of the .blend made into one; and its preview in the panel."""

import struct
import zlib
from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np

from ..engine.errors import DIF3DError
from ..engine.files import atomic_path
from ..engine.srgb import linear_to_srgb

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".gif", ".ppm", ".jp2")
_previews: bpy.utils.previews.ImagePreviewCollection | None = None


def from_file(filepath: str) -> Path:
    """The absolute path of a picture.

    Raises:
        DIF3DError: none is chosen, or it is not there.
    """
    if not filepath:
        raise DIF3DError("Choose a picture first.")
    path = Path(bpy.path.abspath(filepath))
    if not path.is_file():
        raise DIF3DError(f"There is no picture at {path}. Was it moved or deleted? Choose it again.")
    return path


def from_image(image: bpy.types.Image, folder: Path) -> Path:
    """A file with what `image` shows: its own file where that holds it, else a copy in `folder`.

    Raises:
        DIF3DError: the image has no pixels, or is a movie or a set of tiles.
    """
    if image.source in ("MOVIE", "TILED"):
        raise DIF3DError(f"{image.name} is a movie or a set of tiles. Choose a single image.")
    if not image.is_dirty and image.packed_file is not None:
        path = folder / ("picture" + (Path(image.filepath).suffix.lower() or ".png"))
        with atomic_path(path) as temporary:
            temporary.write_bytes(image.packed_file.data)
        return path
    path = Path(bpy.path.abspath(image.filepath, library=image.library)) if image.filepath else None
    if not image.is_dirty and image.source == "FILE" and path is not None and path.is_file():
        return path
    width, height = image.size
    if not (width and height and image.has_data):
        where = f"its file {path} cannot be read" if path else "render or paint it, or save it to a file"
        raise DIF3DError(f"The image {image.name} has no pixels: {where}.")
    pixels = np.empty((height, width, image.channels), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    if image.is_float:  # scene-linear; byte images hold sRGB
        pixels[..., :3] = linear_to_srgb(pixels[..., :3])
    np.clip(pixels, 0, 1, out=pixels)  # in place: fresh memory would cost several times the work, and Blender waits
    pixels *= 255
    np.rint(pixels, out=pixels)
    path = folder / "picture.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(pixels[::-1].astype(np.uint8)))
    return path


def png_bytes(pixels: np.ndarray) -> bytes:
    """8-bit pixels [height, width, 1 to 4 channels], first row on top, as a PNG file.

    Blender's Python has no Pillow, and `Image.save` would change the image that the artist works on.
    """
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # PNG colour types: grey, grey + alpha, RGB, RGBA
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def preview_icon(settings) -> int:
    """The icon number of the chosen picture's preview; 0 where there is none yet."""
    if settings.source == "image":
        preview = settings.image.preview if settings.image is not None else None
        return preview.icon_id if preview is not None else 0
    path = bpy.path.abspath(settings.filepath) if settings.filepath else ""
    if _previews is None or not path or not Path(path).is_file():
        return 0
    if path not in _previews:
        _previews.load(path, path, "IMAGE")
    return _previews[path].icon_id


def forget_preview(settings, _context) -> None:
    """Called when another file is chosen: the old previews are not needed, and a changed file is read anew."""
    if _previews is not None:
        _previews.clear()
    settings.source = "file"


def make_preview(settings, _context) -> None:
    """Called when another image is chosen; it cannot be done while the panel draws."""
    if settings.image is not None:
        settings.image.preview_ensure()
        settings.source = "image"


def register() -> None:
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    global _previews
    bpy.utils.previews.remove(_previews)
    _previews = None
