"""Arrays to Blender objects and a .blend, opened again and looked into."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import scene, stored  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def positions(mesh):
    out = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", out.ravel())
    return out


def colors(mesh):
    out = np.empty((len(mesh.vertices), 4), np.float32)
    mesh.color_attributes.active_color.data.foreach_get("color_srgb", out.ravel())
    return out[:, :3]


def blocks():
    kinds = ("objects", "meshes", "materials", "collections", "cameras", "lights", "node_groups")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def test_the_mesh_stands_on_the_floor_faces_the_front_view_and_has_the_height_asked_for(make_result):
    result = make_result()
    collection = scene.add_result(result, "thing", size=2.0)
    (obj,) = collection.objects
    points, original = positions(obj.data), np.load(result.files["vertices"])
    assert points[:, 2].min() == pytest.approx(0, abs=1e-6) and np.ptp(points[:, 2]) == pytest.approx(2, abs=1e-5)
    scale = 2 / np.ptp(original[:, 2])
    np.testing.assert_allclose(points[:, :2], np.stack([original[:, 1], -original[:, 0]], 1) * scale, atol=1e-5)
    # what faces the input camera (+x in the field) is orange, and Blender's front view looks along +Y
    front = points[:, 1] < -0.1
    assert np.abs(colors(obj.data)[front] - (1, 0.5, 0)).max() < 1 / 255 + 1e-6


def test_faces_look_outward_and_shade_smoothly(make_result):
    (obj,) = scene.add_result(make_result(), "thing").objects
    mesh = obj.data
    centre = positions(mesh).mean(axis=0)
    outward = [np.dot(p.normal, np.array(p.center) - centre) > 0 for p in mesh.polygons]
    assert np.mean(outward) > 0.99
    assert all(p.use_smooth for p in mesh.polygons) and not mesh.validate()


def test_the_material_shows_the_colour_attribute(make_result):
    (obj,) = scene.add_result(make_result(), "thing").objects
    shader = next(n for n in obj.active_material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    source = shader.inputs["Base Color"].links[0].from_node
    assert source.layer_name == obj.data.color_attributes.active_color.name == scene.COLOR
    assert obj.data.color_attributes[obj.data.color_attributes.render_color_index].name == scene.COLOR


def test_the_scene_code_travels_in_the_file(make_result, tmp_path):
    result = make_result()
    scene.save_scene(tmp_path / "scene.blend", [result])
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    mesh, expected = bpy.data.objects["thing"].data, np.load(result.files["triplane"])
    shutil.rmtree(result.output)
    assert stored.is_stored(mesh, Path(result.output))
    path = stored.unpack(mesh, Path(result.output), tmp_path / "again")
    np.testing.assert_array_equal(np.load(path), expected)
    assert (tmp_path / "again" / "images" / "Removed_BG.png").read_bytes() == b"picture"


def test_the_saved_scene_opens_again_with_camera_light_and_colours(make_result, tmp_path):
    path = tmp_path / "out" / "scene.blend"
    scene.save_scene(path, [make_result("mug"), make_result("chair")], size=1.5)
    assert [p.name for p in path.parent.iterdir()] == ["scene.blend"]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    objects = bpy.data.objects
    assert {"mug", "chair", "Camera", "Sun"} <= set(objects.keys())
    assert objects["mug"].dimensions.z == pytest.approx(1.5, abs=1e-4)
    assert objects["mug"][scene.OUTPUT].endswith("mug") and objects["mug"][scene.MODEL] == "fake"
    right_of_mug, left_of_chair = scene.bounds([objects["mug"]])[1].x, scene.bounds([objects["chair"]])[0].x
    assert left_of_chair == pytest.approx(right_of_mug + scene.GAP, abs=1e-4)
    views = [a.spaces.active for a in bpy.data.screens["Layout"].areas if a.type == "VIEW_3D"]
    assert views and all(v.shading.color_type == "VERTEX" for v in views)
    assert bpy.context.scene.camera is objects["Camera"]


def test_the_camera_sees_every_object_whole(make_result, tmp_path):
    from bpy_extras.object_utils import world_to_camera_view

    scene.save_scene(tmp_path / "scene.blend", [make_result("a"), make_result("b"), make_result("c")])
    for name in "abc":
        obj = bpy.data.objects[name]
        for corner in obj.bound_box:
            seen = world_to_camera_view(
                bpy.context.scene, bpy.context.scene.camera, obj.matrix_world @ scene.Vector(corner)
            )
            assert 0 <= seen.x <= 1 and 0 <= seen.y <= 1 and seen.z > 0


def test_an_unwritable_place_keeps_the_old_file_and_says_so(make_result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DIF3DError, match=r"scene\.blend"):
        scene.save_scene(tmp_path / "file" / "scene.blend", [make_result()])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: Path(f["vertices"]).unlink(), "vertices.npy is missing"),
        (lambda f: Path(f["faces"]).write_bytes(b"\x93NUMPY"), "faces.npy is missing or damaged"),
        (lambda f: np.save(f["faces"], np.full((4, 3), 10**6, "i4")), "do not exist"),
        (lambda f: np.save(f["faces"], np.zeros((0, 3), "i4")), "no usable faces"),
        (lambda f: np.save(f["vertices"], np.full((400, 3), np.nan, "f4")), "not finite"),
        (lambda f: np.save(f["colors"], np.zeros((3, 3), "f4")), "3 colors for 400 vertices"),
        (lambda f: np.save(f["vertices"], np.array([{}]), allow_pickle=True), "damaged"),
    ],
)
def test_a_damaged_result_leaves_nothing_in_the_file(make_result, damage, words):
    result, before = make_result(), blocks()
    damage(result.files)
    with pytest.raises(DIF3DError, match=words):
        scene.add_result(result, "thing")
    assert blocks() == before


def test_a_failure_half_way_leaves_nothing_in_the_file(make_result, monkeypatch):
    result, before = make_result(), blocks()
    monkeypatch.setattr(scene, "_free_place", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scene.add_result(result, "thing")
    assert blocks() == before


def test_degenerate_faces_are_left_out(make_result):
    result = make_result()
    faces = np.load(result.files["faces"])
    faces[0] = faces[0, 0]
    np.save(result.files["faces"], faces)
    (obj,) = scene.add_result(result, "thing").objects
    assert len(obj.data.polygons) == len(faces) - 1


def test_a_flat_object_gets_its_longest_side():
    flat = np.array([[0, 0, 0], [0, 2, 0], [1, 1, 0]], np.float32)
    assert np.ptp(scene.Placement.of(flat, 3.0).points(flat), axis=0).max() == pytest.approx(3.0)


def test_300000_vertices_take_less_than_a_second(make_result):
    result = make_result(resolution=550)
    began = time.thread_time()  # the work itself: other programs may keep the machine busy
    (obj,) = scene.add_result(result, "thing").objects
    assert len(obj.data.vertices) == 302_500 and time.thread_time() - began < 1.0


def test_a_textured_result_gets_uvs_and_a_material_with_packed_maps(make_result):
    result = make_result(resolution=12)
    faces = np.load(result.files["faces"])
    uv = np.random.default_rng(0).random((len(faces), 3, 2), np.float32)
    folder = Path(result.output)
    np.save(folder / "arrays" / "uv.npy", uv)
    result.files["uv"] = str(folder / "arrays" / "uv.npy")
    for name, color in (("base_color", (200, 40, 30)), ("normal_map", (128, 128, 255))):
        result.files[name] = str(folder / f"{name}.png")
        Image.new("RGB", (8, 8), color).save(result.files[name])
    (obj,) = scene.add_result(result, "thing").objects
    placed = np.empty((len(obj.data.loops), 2), np.float32)
    obj.data.uv_layers.active.uv.foreach_get("vector", placed.ravel())
    proper = [len(set(face)) == 3 for face in faces.tolist()]
    np.testing.assert_array_equal(placed.reshape(-1, 3, 2), uv[proper])
    shader = next(node for node in obj.active_material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    base = shader.inputs["Base Color"].links[0].from_node.image
    normal = shader.inputs["Normal"].links[0].from_node.inputs["Color"].links[0].from_node.image
    assert base.packed_file and normal.packed_file
    assert (base.colorspace_settings.name, normal.colorspace_settings.name) == ("sRGB", "Non-Color")
    assert not shader.inputs["Roughness"].is_linked and not shader.inputs["Metallic"].is_linked

    Path(result.files["base_color"]).write_bytes(b"no picture")
    with pytest.raises(DIF3DError, match="damaged"):
        scene.add_result(result, "broken")
    assert "broken" not in bpy.data.materials and "broken" not in bpy.data.collections
    np.save(result.files["uv"], uv[:4])
    with pytest.raises(DIF3DError, match="4 UV triangles"):
        scene.add_result(result, "broken")


def test_a_result_that_the_engine_could_not_unwrap_is_unwrapped_here(make_result, tmp_path):
    result = make_result(resolution=12)
    result.report["texture"] = {"size": 64, "unwrapped": False}
    scene.save_scene(tmp_path / "scene.blend", [result])
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    obj = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    shader = next(node for node in obj.active_material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    image = shader.inputs["Base Color"].links[0].from_node.image
    assert obj.data.uv_layers and tuple(image.size) == (64, 64) and image.packed_file
