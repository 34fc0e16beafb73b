"""Where the extension keeps what it writes: only in the folder that Blender gives it, or where the artist says."""

import re
import time
from pathlib import Path

import bpy

from ..engine.errors import DIF3DError
from . import EXTENSION

PACKAGE = Path(__file__).resolve().parent.parent


def user_folder(*parts: str) -> Path:
    """A folder of ours under Blender's folder for extensions' files; created when missing.

    Raises:
        DIF3DError: it cannot be written.
    """
    try:
        folder = Path(bpy.utils.extension_path_user(EXTENSION, create=True), *parts)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DIF3DError(
            f"Blender's folder for extensions' files cannot be written ({error}). "
            "Free its disk or change its permissions, and try again."
        ) from error
    return folder


def environment_folder() -> Path:
    """Where "Install engine" puts the engine's Python."""
    return user_folder() / "engine"


def downloads_folder() -> Path:
    """Where an installation of the engine keeps what it fetched until it is done."""
    return user_folder() / "downloads"


def models_folder() -> Path:
    return user_folder("models")


def log_path() -> Path:
    return user_folder() / "engine.log"


def requirements_path() -> Path:
    """The list of the engine's packages: in the extension, or beside the package in the repository."""
    return next(f / n for n in ["vendor_requirements.txt"] for f in (PACKAGE, PACKAGE.parent) if (f / n).exists())


def new_output_folder(name: str, chosen: str) -> Path:
    """Create and return a folder for one result, which nothing else has used.

    Args:
        name: what the result is called.
        chosen: the artist's folder for results; ours where it is empty.

    Raises:
        DIF3DError: it cannot be created, or lies beside a file that was never saved.
    """
    if chosen.startswith("//") and not bpy.data.filepath:
        raise DIF3DError(f"The results folder {chosen} lies beside the .blend. Save the file first, or choose another.")
    parent = Path(bpy.path.abspath(chosen)) if chosen else user_folder("results")
    plain = re.sub(r"[^\w-]+", "_", name).strip("_")[:60] or "picture"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            folder = parent / (f"{plain}-{stamp}" + (f"-{attempt}" if attempt else ""))
            if not folder.exists():
                folder.mkdir()
                return folder
    except OSError as error:
        raise DIF3DError(f"Results cannot be written to {parent} ({error}). Choose another output folder.") from error
    raise DIF3DError(f"{parent} is full of results of this second. Try again.")
