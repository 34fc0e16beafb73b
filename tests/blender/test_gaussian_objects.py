"""Gaussian arrays to Blender points and ellipsoids."""

import time

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blenders import HERE, ROOT, VERSIONS, finish, real_blender  # noqa: E402
from mathutils import Quaternion, Vector  # noqa: E402

from dif3d_blender.blender import gaussians, scene  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def read(data, name, field, width):
    out = np.empty((len(data.attributes[name].data), width), bool if field == "observed" else np.float32)
    data.attributes[name].data.foreach_get(field, out.ravel())
    return out


def test_the_cloud_stands_where_the_mesh_stands_with_all_its_attributes(make_result):
    result = make_result(resolution=12, gaussians=True)
    mesh, cloud = scene.add_result(result, "thing", size=2.0).objects
    assert mesh.type == "MESH" and cloud.type == "POINTCLOUD"
    points = read(cloud.data, "position", "vector", 3)
    np.testing.assert_allclose(points, read(mesh.data, "position", "vector", 3), atol=1e-6)
    scale = np.load(result.files["gaussians_scale"]) * 2 / np.ptp(np.load(result.files["vertices"])[:, 2])
    np.testing.assert_allclose(read(cloud.data, "scale", "vector", 3), scale, rtol=1e-5)
    np.testing.assert_allclose(read(cloud.data, "radius", "value", 1)[:, 0], scale.mean(axis=1), rtol=1e-5)
    colors = read(cloud.data, scene.COLOR, "color_srgb", 4)
    np.testing.assert_allclose(colors[:, :3], np.load(result.files["gaussians_color"]), atol=1 / 255)
    assert {"opacity", "observed", "rotation"} <= set(cloud.data.attributes.keys())
    assert cloud.hide_get() and cloud.hide_render and not mesh.hide_get()
    assert cloud.location == mesh.location


def test_rotations_turn_with_the_frame():
    rotations = np.random.default_rng(0).normal(size=(20, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    for before, after in zip(rotations, gaussians.turned(rotations), strict=True):
        v = Quaternion(before) @ Vector((0.3, -0.5, 0.8))
        np.testing.assert_allclose(Quaternion(after) @ Vector((0.3, -0.5, 0.8)), (v.y, -v.x, v.z), atol=1e-5)


def evaluated(obj):
    """Points or triangles that a modifier makes: (vertices of meshes [n, 3], number of points)."""
    graph = bpy.context.evaluated_depsgraph_get()
    vertices, points = np.zeros((0, 3)), 0
    obj.hide_set(False)
    graph.update()
    whole = obj.evaluated_get(graph).evaluated_geometry()
    if whole.mesh is not None:
        vertices = read(whole.mesh, "position", "vector", 3)
    if whole.pointcloud is not None:
        points = len(whole.pointcloud.points)
    return vertices, points


def test_ellipsoids_lie_flat_on_the_surface_and_one_switch_makes_them_points(make_result):
    _, cloud = scene.add_result(make_result(resolution=12, gaussians=True), "thing").objects
    vertices, points = evaluated(cloud)
    assert points == 0 and len(vertices) == 144 * 12  # an icosahedron has 12 corners
    balls, centres = vertices.reshape(144, 12, 3), read(cloud.data, "position", "vector", 3)
    np.testing.assert_allclose(balls.mean(axis=1), centres, atol=1e-5)
    thin = np.array([np.linalg.svd(ball - ball.mean(axis=0))[2][2] for ball in balls])  # the shortest axis of each
    normals = np.load(cloud[scene.OUTPUT] + "/arrays/normals.npy")
    normals = np.stack([normals[:, 1], -normals[:, 0], normals[:, 2]], axis=1)
    assert np.abs((thin * normals).sum(axis=1)).min() > 0.999
    gaussians.set_input(cloud.modifiers[0], "Ellipsoids", False)
    cloud.update_tag()
    vertices, points = evaluated(cloud)
    assert points == 144 and len(vertices) == 0


def test_only_gaussians_are_shown_when_no_mesh_is_wanted(make_result):
    (cloud,) = scene.add_result(make_result(resolution=12, gaussians=True), "thing", mesh=False).objects
    assert not cloud.hide_get() and not cloud.hide_render


def test_the_node_group_is_shared(make_result):
    for name in ("a", "b"):
        scene.add_result(make_result(name, resolution=8, gaussians=True), name)
    assert [group.name for group in bpy.data.node_groups] == [gaussians.GROUP]


def test_a_node_group_whose_inputs_the_artist_renamed_is_left_alone(make_result):
    result = make_result(resolution=8, gaussians=True)
    scene.add_result(result, "one")
    (group,) = bpy.data.node_groups
    next(item for item in group.interface.items_tree if item.name == "Material").name = "Shader"
    for name in ("other", "third"):
        cloud = scene.add_result(result, name).objects[1]
        made = cloud.modifiers[0].node_group
        assert made != group and len(bpy.data.node_groups) == 2


@pytest.mark.parametrize(
    ("key", "array", "words"),
    [
        ("rotation", np.zeros((144, 3), "f4"), "rotation"),
        ("scale", np.full((144, 3), np.inf, "f4"), "not finite"),
        ("opacity", np.zeros(7, "f4"), "opacity"),
    ],
)
def test_a_damaged_cloud_leaves_nothing_in_the_file(make_result, key, array, words):
    result = make_result(resolution=12, gaussians=True)
    np.save(result.files[f"gaussians_{key}"], array)
    with pytest.raises(DIF3DError, match=words):
        scene.add_result(result, "thing")
    assert not bpy.data.objects and not bpy.data.meshes and not bpy.data.pointclouds and not bpy.data.collections


def test_100000_gaussians_take_less_than_a_second(make_result):
    result = make_result(resolution=317, gaussians=True)
    began = time.thread_time()  # the work itself: other programs may keep the machine busy
    (cloud,) = scene.add_result(result, "thing", mesh=False).objects
    assert len(cloud.data.points) > 100_000 and time.thread_time() - began < 1.0


def test_objects_that_were_removed_a_moment_ago_are_no_obstacle(make_result):
    result = make_result(resolution=8, gaussians=True)
    bpy.data.batch_remove(list(scene.add_result(result, "one").objects))
    assert len(scene.add_result(result, "other").objects) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_real_blenders_draw_them_too(version, tmp_path):
    script = ["-b", "--factory-startup", "--python-exit-code", 1, "--python", HERE / "in_blender" / "gaussians.py"]
    assert "ALL CHECKS PASSED" in finish(real_blender(version, script, tmp_path, {"root": str(ROOT)}))
