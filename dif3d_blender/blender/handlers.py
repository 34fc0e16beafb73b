"""What makes the jobs go on while the artist works: a timer, and Blender's news about files and its own end."""

import atexit
import time

import bpy
from bpy.app.handlers import persistent

from . import picture
from .background import Background
from .jobs import Jobs

BUSY, WARM = 0.1, 2.0  # seconds between two looks: while something runs, and while only an idle engine must be watched
DRAW = 0.3  # seconds between two drawings of the panel while something runs: drawing is what costs
LONG = 0.005  # seconds of a look that did so much that drawing waits for the next one

jobs = Jobs()
installation = Background("installation")
download = Background("download")
inspection = Background("inspection")
_background = (installation, download, inspection)
_drawn = 0.0  # time.monotonic() of the last drawing


def wake() -> None:
    """Look after the jobs from now on, until nothing is left to look after."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=BUSY, persistent=True)


def _tick() -> float | None:
    global _drawn
    began = time.monotonic()
    jobs.tick()
    if jobs.busy or any(task.running for task in _background):
        now = time.monotonic()
        if now - _drawn > DRAW and now - began < LONG:
            _drawn = now
            _redraw()
        return BUSY
    _redraw()
    return WARM if jobs.warm else None


def _redraw() -> None:
    """Draw the sidebars and the preferences again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


@persistent
def _file_was_loaded(*_) -> None:
    jobs.file_was_loaded()
    wake()


@persistent
def _file_was_saved(*_) -> None:
    jobs.file_was_saved()


@persistent
def shut_down(*_) -> None:
    """End the engine and the threads; a second at most."""
    for task in _background:
        task.stop()
    jobs.close()
    for task in _background:
        task.join(0.5)


def register() -> None:
    picture.register()
    bpy.app.handlers.load_post.append(_file_was_loaded)
    bpy.app.handlers.save_post.append(_file_was_saved)
    atexit.register(shut_down)


def unregister() -> None:
    shut_down()
    atexit.unregister(shut_down)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_post.remove(_file_was_loaded)
    bpy.app.handlers.save_post.remove(_file_was_saved)
    picture.unregister()
