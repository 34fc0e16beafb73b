"""Runs inside a Blender with a window and simulated events: turntables stopped by Escape, by the panel, and not at all,
one that a script renders, and one during which the extension is disabled.

Settings as in window.py.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import bpy

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])

bpy.context.preferences.view.show_splash = False


def say(what, **values):
    with Path(SETTINGS["log"]).open("a") as log:
        log.write(json.dumps({"what": what, **values}) + "\n")


def state():
    scene = bpy.context.scene
    owners = (scene.render, scene.render.image_settings, scene.cycles)
    kinds = ("INT", "FLOAT", "ENUM", "BOOLEAN", "STRING")
    kept = [str(getattr(o, p.identifier)) for o in owners for p in o.bl_rna.properties if p.type in kinds]
    return [*kept, scene.camera.name, scene.frame_current]


def files():
    results = Path(bpy.utils.extension_path_user(NAME), "results")
    return sorted(path.name for path in results.rglob("*") if path.is_file()), len(list(results.glob("*")))


def steps():
    module = sys.modules[f"{NAME}.blender.turntable_ui"]
    rendering = module.DIF3D_OT_render_turntable
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    area.spaces.active.show_region_ui = True
    region = next(region for region in area.regions if region.type == "WINDOW")
    obj, scene = bpy.context.object, bpy.context.scene
    obj.data["dif3d_scale"], obj.data["dif3d_lowest"] = 1.0, -1.0  # as scene.py marks a result
    settings = scene.dif3d_turntable
    scene.dif3d.frame_count, scene.dif3d.frame_size, settings.engine, settings.samples = 6, 64, "CYCLES", 1
    scene.frame_current, scene.render.engine = 7, "BLENDER_WORKBENCH"
    here = {"window": window, "area": area, "region": region}
    with bpy.context.temp_override(**here):
        bpy.ops.dif3d.add_turntable()
    for way in ("escape", "panel", "none"):
        before = state()
        with bpy.context.temp_override(**here):
            bpy.ops.dif3d.render_turntable("INVOKE_DEFAULT")
        began, turns = time.monotonic(), 0
        while rendering.done is not None and rendering.done < 2:
            turns += 1
            yield 0.01
        reached, meanwhile = rendering.done, state() == before
        refused = not rendering.poll(bpy.context)
        if way == "escape":
            window.event_simulate("ESC", "PRESS", x=region.x + 50, y=region.y + 50)
        elif way == "panel":
            bpy.ops.dif3d.stop_turntable()
        asked = time.monotonic()
        while rendering.done is not None:
            turns += 1
            yield 0.01
        say(
            way,
            reached=reached,
            refused=refused,
            turns=turns,
            seconds=time.monotonic() - asked,
            took=time.monotonic() - began,
            meanwhile=meanwhile,
            restored=state() == before,
            files=files(),
        )
    before = state()
    with bpy.context.temp_override(**here):
        bpy.ops.dif3d.render_turntable("EXEC_DEFAULT")  # as a script calls it
    say("script", restored=state() == before, files=files())
    with bpy.context.temp_override(**here):
        bpy.ops.dif3d.render_turntable("INVOKE_DEFAULT")
    while rendering.done < 2:
        yield 0.01
    bpy.ops.preferences.addon_disable(module=NAME)
    bpy.ops.preferences.addon_enable(module=NAME)
    with bpy.context.temp_override(**here):
        say("disabled", restored=state() == before, usable=bpy.ops.dif3d.render_turntable.poll())
    bpy.ops.wm.quit_blender()


_steps = steps()


def step():
    try:
        return next(_steps)
    except StopIteration:
        return None
    except Exception:
        say("error", traceback=traceback.format_exc())
        os._exit(9)


bpy.app.timers.register(step, first_interval=1.5, persistent=True)
