"""The picture on the clipboard: a file's path, or pixels."""

import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import bpy

from ..engine.errors import DIF3DError
from ..engine.files import is_file
from .engine_process import own_group

_READERS = (  # programs that print the picture, where Blender itself cannot paste one: on X11
    ("xclip", "-selection", "clipboard", "-target", "image/png", "-out"),
    ("wl-paste", "--type", "image/png"),
)


def picture() -> Path | bpy.types.Image:
    """The file whose path is on the clipboard, or the picture there as a new image of the .blend.

    Raises:
        DIF3DError: neither is there, or this system does not let Blender have it.
    """
    text = bpy.context.window_manager.clipboard
    path = _path(text)
    image = None if path else _pasted_by_blender()
    is_picture = not text or text.startswith("\udc89PNG")  # what some programs hand out as text, too
    if not path and not image and is_picture:  # a text may be Blender's own: a program would wait for us in vain
        image = _read_by_program()
    if not path and not image:
        raise DIF3DError(
            "There is no picture on the clipboard that Blender can read. Copy one, or a picture's path, and try again."
            " On Linux with X11, install xclip first."
        )
    return path or image


def _path(text: str) -> Path | None:
    """The file that a text names, as file managers copy them: a path, perhaps in quotes, or a file: address."""
    text = text.strip().strip('"')
    if text.startswith("file:"):
        text = urllib.request.url2pathname(urllib.parse.urlparse(text).path)
    fits = text and "\n" not in text and len(text) < 4096
    return Path(text) if fits and is_file(text) else None


def _pasted_by_blender() -> bpy.types.Image | None:
    """What Blender's own Paste gives. It wants an Image Editor: another area is one for that moment."""
    window = bpy.context.window
    others = [area for area in window.screen.areas if area != bpy.context.area] if window else []
    if not others:
        return None
    before = set(bpy.data.images)
    area = min(others, key=lambda area: area.width * area.height)
    kind, area.ui_type = area.ui_type, "IMAGE_EDITOR"
    try:
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(area=area, region=region):
            shown = area.spaces.active.image
            if bpy.ops.image.clipboard_paste.poll():
                bpy.ops.image.clipboard_paste()
            area.spaces.active.image = shown
    except RuntimeError:  # what it reports when there is nothing usable
        return None
    finally:
        area.ui_type = kind
    return next((image for image in bpy.data.images if image not in before), None)


def _read_by_program() -> bpy.types.Image | None:
    """What a program of the desktop gives, packed into the .blend."""
    for command in _READERS:
        program = shutil.which(command[0])
        if program is None:
            continue
        try:
            done = subprocess.run([program, *command[1:]], capture_output=True, timeout=2, check=True, **own_group())
        except (OSError, subprocess.SubprocessError):  # it has no picture, or belongs to another desktop
            continue
        with tempfile.TemporaryDirectory(prefix="dif3d-paste-") as folder:
            file = Path(folder, "Pasted.png")
            file.write_bytes(done.stdout)
            image = bpy.data.images.load(str(file))
            image.pack()
        image.filepath_raw = ""
        return image
    return None
