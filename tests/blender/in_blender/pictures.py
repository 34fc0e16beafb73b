"""Runs inside a Blender with a window that has the extension: the states of the panel, for pictures of them.

Settings as JSON in DIF3D_TEST: `python`, `picture`, and `shots`, a folder. For each picture of the screen it wants,
the script makes a file there and waits until the file is gone.
"""

import json
import os
import sys
from pathlib import Path

import bpy
from mathutils import Euler

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])

bpy.context.preferences.view.show_splash = False


def shot(name):
    wanted = Path(SETTINGS["shots"], name)
    wanted.touch()
    while wanted.exists():
        yield 0.1


def steps():
    handlers = sys.modules[f"{NAME}.blender.handlers"]
    preferences = sys.modules[f"{NAME}.blender.preferences"].get()
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    view = {"window": window, "area": area, "region": region}
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    area.spaces.active.show_region_ui = True
    camera = area.spaces.active.region_3d
    camera.view_distance, camera.view_location, camera.view_perspective = 2.6, (0, 0, 0.45), "PERSP"
    camera.view_rotation = Euler((1.35, 0, 0.35)).to_quaternion()
    yield 2
    with bpy.context.temp_override(**view):
        bpy.ops.dif3d.set_picture(filepath=SETTINGS["picture"])
    preferences.python_source, preferences.python, preferences.model = "existing", SETTINGS["python"], "embedded"
    yield 4
    yield from shot("idle")
    with bpy.context.temp_override(**view):
        bpy.ops.dif3d.generate("INVOKE_DEFAULT")
    task = handlers.jobs.tasks[-1]
    while task.active and task.fraction < 0.4:
        yield 0.05
    yield from shot("running")
    while handlers.jobs.busy:
        yield 0.1
    yield 2
    yield from shot("done")
    with bpy.context.temp_override(**view):
        bpy.ops.dif3d.generate("INVOKE_DEFAULT", background="rembg")
    while handlers.jobs.busy:
        yield 0.1
    yield 2
    yield from shot("failed")
    bpy.ops.wm.quit_blender()


_steps = steps()
bpy.app.timers.register(lambda: next(_steps, None), first_interval=1.0, persistent=True)
