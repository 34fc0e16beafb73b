"""Runs inside a real Blender, the project on its path: 100,000 Gaussians, how long they take, what the switch does.

DIF3D_TEST has `root`, the project's folder. A failed check raises, and with it the process fails.
"""

import json
import os
import sys
import time

import bpy
import numpy as np

sys.path.insert(0, json.loads(os.environ["DIF3D_TEST"])["root"])

from dif3d_blender.blender.colors import COLOR, color_material
from dif3d_blender.blender.gaussians import add_gaussians, set_input
from dif3d_blender.blender.scene import Placement

COUNT = 100_000
NATIVE = bpy.app.version >= (4, 5)  # versions in which scripts can make point clouds


def add():
    rng = np.random.default_rng(0)
    arrays = {
        "position": rng.uniform(-0.5, 0.5, (COUNT, 3)),
        "scale": rng.uniform(0.001, 0.01, (COUNT, 3)),
        "rotation": rng.normal(size=(COUNT, 4)),
        "opacity": rng.random(COUNT),
        "color": rng.random((COUNT, 3)),
        "observed": rng.random(COUNT) < 0.5,
    }
    arrays = {f"gaussians_{key}": array for key, array in arrays.items()}
    material = color_material("Gaussians", radiant=True)
    began = time.thread_time()  # the work itself: other programs may keep the machine busy
    cloud = add_gaussians("cloud", arrays, Placement(1.0, 0.0), bpy.context.scene.collection, material)
    seconds = time.thread_time() - began
    assert seconds < 1.0, seconds
    return cloud


def shown(cloud, ellipsoids):
    """How many vertices of meshes and how many points are drawn."""
    set_input(cloud.modifiers[0], "Ellipsoids", ellipsoids)
    cloud.update_tag()
    graph = bpy.context.evaluated_depsgraph_get()
    graph.update()
    drawn = {"MESH": 0, "POINTCLOUD": 0}
    for instance in graph.object_instances:
        data = instance.object.data
        drawn[instance.object.type] += len(data.vertices if instance.object.type == "MESH" else data.points)
    return drawn["MESH"], drawn["POINTCLOUD"]


bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
cloud = add()
assert cloud.type == ("POINTCLOUD" if NATIVE else "MESH"), cloud.type
assert {"radius", "scale", "rotation", "opacity", "observed", COLOR} <= set(cloud.data.attributes.keys())
assert shown(cloud, True) == (12 * COUNT, 0), shown(cloud, True)
assert shown(cloud, False) == (0, COUNT), shown(cloud, False)
if bpy.app.version >= (5, 1):  # made at once: no mesh was converted
    assert not bpy.data.meshes, list(bpy.data.meshes)
print("ALL CHECKS PASSED")
