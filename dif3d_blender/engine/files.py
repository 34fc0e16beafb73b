"""Finding pictures, and writing files that are whole or not there at all.

The standard library only: Blender's Python loads this too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import DIF3DError

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".tga", ".jp2", ".ppm", ".avif"}

_CANNOT_WRITE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this disk or account allows",
    errno.EACCES: "there is no permission to write there, or another program has the file open",
    errno.EPERM: "there is no permission to write there",
    errno.EROFS: "the disk is read-only",
    errno.ENOTDIR: "part of that path is a file, not a folder",
    errno.EEXIST: "there is a file of that name where the folder should be",
    errno.EISDIR: "there is a folder of that name where the file should be",
    errno.ENAMETOOLONG: "the path is too long for this disk",
}


def find_pictures(path: Path | str) -> list[Path]:
    """Return `path` itself if it is a file, else the pictures in that folder, by name.

    Raises:
        DIF3DError: there is nothing there.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DIF3DError(f"There is no picture or folder {path}.")
    pictures = sorted(  # but not macOS's "._photo.jpg", which holds no picture
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )
    if not pictures:
        raise DIF3DError(f"The folder {path} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}).")
    return pictures


def is_file(path: Path | str) -> bool:
    """Whether there is a file that can be reached.

    Up to Python 3.13, pathlib raises instead where a folder is closed to us, or a name is longer than the disk takes.
    """
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path | str) -> bool:
    """Whether there is a folder that can be reached; as `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


@contextlib.contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `final`, with its suffix; move it to `final` when the block ends well.

    When the block raises, or the process dies, nothing appears under the final name, and a file that was there stays as
    it was. The folder is made when it is missing.

    Raises:
        DIF3DError: the folder can't be written or is full. The message names it.
    """
    final = Path(final)
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(final)
    except OSError as error:
        reason = _CANNOT_WRITE.get(errno.ENOSPC if _is_short_write(error) else error.errno)
        if reason is None and error.filename is not None:  # a disk that went away, a name it does not take
            reason = error.strerror
        elsewhere = error.filename is not None and not str(temporary).startswith(str(error.filename))
        if reason is None or elsewhere:
            raise
        raise DIF3DError(
            f"Can't write {final.name} into the folder {final.parent}: {reason}. Choose another output folder or make "
            f"room there."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it was moved away, or never written
            temporary.unlink()


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        DIF3DError: it can't be removed: on Windows, as long as another program has it open.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = _CANNOT_WRITE.get(error.errno, error.strerror)
        raise DIF3DError(
            f"Can't remove {path.name}, which is of another run, from the folder {path.parent}: {reason}. Close what "
            f"shows it, or choose another output folder."
        ) from error


def _is_short_write(error: OSError) -> bool:
    """Whether numpy raised `error` because less was written than it had; it does not say why."""
    return error.errno is None and "requested and" in str(error)
