"""Runs inside another Blender, after headless.py: a result is asked again from nothing but the saved .blend.

Settings as in headless.py.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import bpy

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])

if SETTINGS.get("archive"):
    bpy.ops.extensions.package_install_files(filepath=SETTINGS["archive"], repo="user_default", enable_on_install=True)
shutil.rmtree(Path(bpy.utils.extension_path_user(NAME), "results"), ignore_errors=True)  # uninstalling may have done so
bpy.ops.wm.open_mainfile(filepath=SETTINGS["blend"])
preferences = bpy.context.preferences.addons[NAME].preferences
preferences.python_source, preferences.python = "existing", SETTINGS["python"]
jobs = sys.modules[f"{NAME}.blender.handlers"].jobs
obj = bpy.context.object
assert not Path(obj["dif3d_output"]).exists()


def check_that_the_network_did_not_run():
    seconds = jobs.last.result.report["seconds"]
    assert {"Seeing the object", "Opening the picture"}.isdisjoint(seconds), seconds


before = len(obj.data.vertices)
assert bpy.ops.dif3d.remesh(resolution=96) == {"FINISHED"}
assert len(obj.data.vertices) > before, (len(obj.data.vertices), before)
assert abs(obj.dimensions.z - 2) < 1e-3
check_that_the_network_did_not_run()

assert bpy.ops.dif3d.frames(frame_count=3, frame_size=48) == {"FINISHED"}
check_that_the_network_did_not_run()
frames = sorted(path.name for path in Path(jobs.last.job.output, "renderfiles").iterdir())
assert frames == ["render.mp4", "render_000.png", "render_001.png", "render_002.png"], frames

assert bpy.ops.dif3d.remesh(resolution=32) == {"FINISHED"}
assert bpy.ops.dif3d.bake(texture_size="1024") == {"FINISHED"}
images = [node.image for node in obj.active_material.node_tree.nodes if node.type == "TEX_IMAGE"]
assert images and tuple(images[0].size) == (1024, 1024) and obj.data.uv_layers
print("ALL CHECKS PASSED")
