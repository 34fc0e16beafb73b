"""The picture of a job: a file, or an image of the .blend made into one; and its preview in the panel."""

import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import bpy
import bpy.utils.previews
import numpy as np

from ..engine.errors import DIF3DError
from ..engine.files import atomic_path, is_file
from ..engine.srgb import linear_to_srgb

ROWS = 64  # of a picture, that are made into a file at a time
_CHANGED = "The image {} was changed before it was copied. Try again."
_previews: bpy.utils.previews.ImagePreviewCollection | None = None


def from_file(filepath: str) -> Path:
    """The absolute path of a picture.

    Raises:
        DIF3DError: none is chosen, or it is not there or out of reach.
    """
    if not filepath:
        raise DIF3DError("Choose a picture first.")
    path = Path(bpy.path.abspath(filepath))
    if not is_file(path):
        raise DIF3DError(
            f"There is no picture at {path}. Was it moved or deleted, or is its folder closed to you? Choose it again."
        )
    return path


def from_image(image: bpy.types.Image, folder: Path) -> "Path | PackedCopy | PixelCopy":
    """The file that has what `image` shows; where there is none, the copy that makes one in `folder`.

    Raises:
        DIF3DError: the image has no pixels, or is a movie, a set of tiles, or the Render Result.
    """
    if image.type == "RENDER_RESULT":  # Blender gives its pixels to no script
        raise DIF3DError(f"{image.name} cannot be taken as it is. Save it with Image ▸ Save As, and choose the file.")
    if image.source in ("MOVIE", "TILED"):
        raise DIF3DError(f"{image.name} is a movie or a set of tiles. Choose a single image.")
    if not image.is_dirty and image.packed_file is not None:
        return PackedCopy(image, folder)
    path = Path(bpy.path.abspath(image.filepath, library=image.library)) if image.filepath else None
    if not image.is_dirty and image.source == "FILE" and path is not None and is_file(path):
        return path
    if not (all(image.size) and image.has_data):
        where = f"its file {path} cannot be read" if path else "paint it, or choose another one"
        raise DIF3DError(f"The image {image.name} has no pixels: {where}.")
    return PixelCopy(image, folder)


class PackedCopy:
    """A file with the bytes of an image that is packed into the .blend. Its methods are those of `PixelCopy`."""

    ready = True

    def __init__(self, image: bpy.types.Image, folder: Path):
        self.path = folder / ("picture" + (Path(image.filepath).suffix.lower() or ".png"))
        self._image = image.name_full

    def take(self) -> None:
        packed = _look_up(self._image).packed_file
        if packed is None:
            raise DIF3DError(_CHANGED.format(self._image))
        self._data = packed.data

    def write(self) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(self._data)


class PixelCopy:
    """A file with the pixels of an image, as they are in memory: painted, baked, generated.

    The artist waits only while `take` copies the pixels, the one part that needs Blender's data. That is several times
    slower into memory that was never used, so a thread touches it first; and another may `write` the file.
    """

    def __init__(self, image: bpy.types.Image, folder: Path):
        self.path = folder / "picture.png"
        self._image, self._linear = image.name_full, image.is_float  # scene-linear; byte images hold sRGB
        width, height = image.size
        self._pixels = np.empty((height, width, image.channels), np.float32)
        self._memory = threading.Thread(target=self._pixels.fill, args=(0,), name="dif3d-memory", daemon=True)
        self._memory.start()

    @property
    def ready(self) -> bool:
        """Whether `take` can be called."""
        return not self._memory.is_alive()

    def take(self) -> None:
        """Copy what the image holds now. On the main thread.

        Raises:
            DIF3DError: the image is gone, or has another size.
        """
        image = _look_up(self._image)
        if (image.size[1], image.size[0], image.channels) != self._pixels.shape:
            raise DIF3DError(_CHANGED.format(self._image))
        image.pixels.foreach_get(self._pixels.ravel())  # Blender has no call for a part of an image

    def write(self) -> None:
        """Make the file. In any thread.

        Raises:
            DIF3DError: the folder cannot be written.
        """
        with atomic_path(self.path) as temporary, temporary.open("wb") as file:
            for part in png_parts(self._pixels[::-1], self._linear):
                file.write(part)


def _look_up(name_full: str) -> bpy.types.Image:
    image = next((image for image in bpy.data.images if image.name_full == name_full), None)
    if image is None:
        raise DIF3DError(f"The image {name_full} was removed before it was copied. Choose another one.")
    return image


def png_parts(pixels: np.ndarray, linear: bool) -> Iterator[bytes]:
    """Yield a PNG file of 8-bit sRGB bit by bit, so that no other thread waits for long.

    Blender's Python has no Pillow, and `Image.save` would change the image that the artist works on.

    Args:
        pixels: float32 [height, width, 1 to 4 channels], first row on top; clipped to [0, 1].
        linear: whether they are scene-linear rather than sRGB.
    """

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # PNG colour types: grey, grey + alpha, RGB, RGBA
    yield b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    packer = zlib.compressobj(1)
    for start in range(0, height, ROWS):
        part = pixels[start : start + ROWS]
        if linear:
            part = np.concatenate([linear_to_srgb(part[..., :3]), part[..., 3:]], axis=-1)
        rows = np.zeros((len(part), 1 + width * channels), np.uint8)  # each row begins with its filter: none
        rows[:, 1:] = np.rint(np.clip(part, 0, 1) * 255).reshape(len(part), -1)
        yield chunk(b"IDAT", packer.compress(rows))
    yield chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b"")


def preview_icon(settings) -> int:
    """The icon number of the chosen picture's preview; 0 where there is none yet."""
    if settings.source == "image":
        preview = settings.image.preview if settings.image is not None else None
        return preview.icon_id if preview is not None else 0
    path = bpy.path.abspath(settings.filepath) if settings.filepath else ""
    if _previews is None or not path or not is_file(path):
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
