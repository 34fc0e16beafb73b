"""The turntable: Blender's cameras and frames against the engine's, video, and a scene that is as it was."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import scene, turntable  # noqa: E402
from dif3d_blender.engine.cameras import Camera, get_spherical_cameras  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402
from dif3d_blender.engine.isosurface import extract_surface  # noqa: E402
from dif3d_blender.engine.rendering import render_views  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "engine"))

from fields import ball, plate, shape_field  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture
def lopsided(make_result):
    """An object without any symmetry, 2 m tall, moved and turned; and its vertices in the field frame."""
    result = make_result(resolution=16)
    vertices = np.load(result.files["vertices"])
    vertices = vertices * (0.5, 0.9, 0.7) + 0.2 * np.sin(3 * vertices[:, [1, 2, 0]]) + (0.05, -0.08, 0.1)
    np.save(result.files["vertices"], vertices.astype(np.float32))
    (obj,) = scene.add_result(result, "thing", 2.0).objects
    obj.location, obj.rotation_euler = (3, -1, 0.5), (0.2, 0.1, 0.7)
    return obj, vertices


def test_its_cameras_see_every_point_where_those_of_the_engine_do(lopsided):
    obj, vertices = lopsided
    view = turntable.View(elevation_deg=20, distance=2.1, fovy_deg=35)
    pivot = turntable.add_rig(obj, 5, view)
    stand = pivot.children[0]
    origins, _ = get_spherical_cameras(5, 20, 2.1, 35, 2, 2)
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 100
    for number in range(5):
        bpy.context.scene.frame_set(number + 1)
        camera = Camera(20, 360 * number / 5, 2.1, 35)
        assert torch.allclose(camera.camera_to_world[:3, 3], origins[number, 0, 0], atol=1e-5)
        graph = bpy.context.evaluated_depsgraph_get()
        projection = np.array(stand.calc_matrix_camera(graph, x=100, y=100))
        placed = np.array([obj.matrix_world @ v.co for v in obj.data.vertices])
        seen = np.c_[placed, np.ones(len(placed))] @ (projection @ np.array(stand.matrix_world.inverted())).T
        spots = seen[:, :2] / seen[:, 3:]
        local = np.c_[vertices, np.ones(len(vertices))] @ np.linalg.inv(camera.camera_to_world.numpy()).T
        expected = local[:, :2] / -local[:, 2:3] / math.tan(math.radians(17.5))
        np.testing.assert_allclose(spots, expected, atol=2e-4)


def test_a_rig_is_replaced_and_removed_whole(lopsided):
    obj, _ = lopsided
    before = len(bpy.data.objects), len(bpy.data.cameras), len(bpy.data.actions)
    turntable.add_rig(obj, 3)
    pivot = turntable.add_rig(obj, 4)
    assert turntable.find_rig(obj) == pivot and pivot[turntable.RIG] == 4
    assert len(bpy.data.cameras) == before[1] + 1
    turntable.remove_rig(obj)
    assert (len(bpy.data.objects), len(bpy.data.cameras), len(bpy.data.actions)) == before


def test_what_the_artist_parented_to_a_rig_stays_where_it_is(lopsided):
    obj, _ = lopsided
    turntable.add_rig(obj, 5)
    bpy.context.scene.frame_set(3)
    own = [bpy.data.objects.new(name, data) for name, data in (("lamp", None), ("A camera", bpy.data.cameras.new("A")))]
    for one in own:
        bpy.context.collection.objects.link(one)
    for change in (lambda: turntable.add_rig(obj, 4), lambda: turntable.remove_rig(obj)):
        pivot = turntable.find_rig(obj)
        for one, parent in zip(own, (pivot, pivot.children[0]), strict=True):
            one.parent, one.location = parent, (1, 2, 3)
        bpy.context.view_layer.update()
        places = [one.matrix_world.copy() for one in own]
        change()
        bpy.context.view_layer.update()
        for one, place in zip(own, places, strict=True):
            np.testing.assert_allclose(one.matrix_world, place, atol=1e-5)
    assert own[1].data.name == "A" and not any("Turntable" in other.name for other in bpy.data.objects)


def settings_of(scene):
    owners = (scene.render, scene.render.image_settings, scene.cycles)
    return [
        (prop.identifier, str(getattr(owner, prop.identifier)))
        for owner in owners
        for prop in owner.bl_rna.properties
        if prop.type in ("INT", "FLOAT", "ENUM", "BOOLEAN", "STRING")
    ] + [scene.camera, scene.frame_current]


def test_frames_and_video_are_written_and_the_scene_is_as_it_was(lopsided, tmp_path):
    obj, vertices = lopsided
    bpy.ops.mesh.primitive_cube_add(location=obj.location)  # must not be in the picture
    instance = bpy.data.objects.new("instance", None)  # nor this
    instance.instance_type, instance.instance_collection = "COLLECTION", bpy.data.collections.new("far away")
    instance.instance_collection.objects.link(bpy.data.objects.new("elsewhere", bpy.data.objects["Cube"].data))
    instance.location = obj.location
    bpy.context.collection.objects.link(instance)
    shown = bpy.context.scene
    shown.render.resolution_x, shown.render.engine, shown.frame_current = 321, "BLENDER_WORKBENCH", 7
    shown.render.use_multiview = True  # would write two pictures of other names
    turntable.add_rig(obj, 3, turntable.View())
    before = settings_of(shown)
    scenes = len(bpy.data.scenes)
    look = turntable.Look("EEVEE", 48, None, samples=1)
    render, paths = turntable.TurntableRender(shown, obj, tmp_path, look), []
    for number in range(3):
        paths.append(render.render(number))
        assert settings_of(shown) == before, "the artist may save the file between two frames"
        assert not bpy.data.objects["Cube"].hide_render
    video = render.write_video()
    assert settings_of(shown) == before and len(bpy.data.scenes) == scenes
    assert [path.name for path in paths] == ["render_000.png", "render_001.png", "render_002.png"]
    (note,) = render.notes
    assert "Cycles on the CPU" in note  # no graphics card in this Python
    assert video is not None and video.stat().st_size > 500, render.notes
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(video))
    assert next(reader)["size"] == (48, 48)
    assert len(list(reader)) == 3
    faces = np.array([p.vertices for p in obj.data.polygons])
    for number, path in enumerate(paths):
        picture = np.asarray(Image.open(path))
        found = picture[..., 3] > 127
        expected = silhouette(Camera(0, 120 * number), vertices, faces, 48)
        assert (found & expected).sum() / (found | expected).sum() >= 0.95


def silhouette(camera, vertices, faces, size):
    from dif3d_blender.engine.triangles import covered_texels

    local = (np.c_[vertices, np.ones(len(vertices))] @ np.linalg.inv(camera.camera_to_world.numpy()).T)[:, :3]
    spots = local[:, :2] / -local[:, 2:] / math.tan(math.radians(camera.fovy_deg / 2)) * (1, -1)
    covered = np.zeros((size, size), bool)
    for _, row, column, _ in covered_texels(((spots + 1) / 2 * size)[faces], size):
        covered[row, column] = True
    return covered


@pytest.mark.parametrize("view", [turntable.View(), turntable.View(elevation_deg=25, distance=2.4, fovy_deg=50)])
def test_frames_show_what_those_of_the_nerf_renderer_show(view, make_result, tmp_path):
    """A field without any symmetry: its frames, black on white, against those of the mesh that was made of it."""
    field = shape_field(ball((0.1, -0.35, 0.2), 0.4), plate(-0.3, 0.15, 0.55))
    # sharp, since haze is a part of the frames and not of the mesh
    field = field.corrected(
        lambda points, density, color: (25 * (density / 25).pow(30).clamp(1e-20, 1e20), torch.zeros_like(color))
    )
    surface = extract_surface(field, 128)
    result = make_result()
    for name, values in (("vertices", surface.vertices), ("faces", surface.faces), ("colors", surface.normals)):
        np.save(result.files[name], values)
    (obj,) = scene.add_result(result, "thing", 1.5).objects
    obj.location, obj.rotation_euler = (-2, 3, 1), (0.1, 0.3, -0.8)
    size, count = 96, 5
    turntable.add_rig(obj, count, view)
    nerf = render_views(field, count, view.elevation_deg, view.distance, view.fovy_deg, size, size).numpy() < 0.5
    look = turntable.Look("CYCLES", size, None, samples=16)
    render = turntable.TurntableRender(bpy.context.scene, obj, tmp_path, look)
    paths = [render.render(number) for number in range(count)]
    blender = np.stack([np.asarray(Image.open(path))[..., 3] > 127 for path in paths])
    overlaps = np.array([[(a & b).sum() / (a | b).sum() for b in nerf[..., 0]] for a in blender])
    assert np.diag(overlaps).min() >= 0.95, overlaps
    assert overlaps[~np.eye(count, dtype=bool)].max() < 0.9, overlaps  # so that the number of the frame matters


def test_a_coloured_background_is_filled(lopsided, tmp_path):
    obj, _ = lopsided
    turntable.add_rig(obj, 1)
    look = turntable.Look("CYCLES", 24, (0.2, 0.4, 0.6), samples=1)
    render = turntable.TurntableRender(bpy.context.scene, obj, tmp_path, look)
    picture = np.asarray(Image.open(render.render(0)).convert("RGBA"))
    np.testing.assert_allclose(picture[0, 0], [51, 102, 153, 255], atol=1)
    assert not render.notes


def test_what_cannot_be_rendered_says_why(lopsided, tmp_path):
    obj, _ = lopsided
    with pytest.raises(DIF3DError, match="no turntable"):
        turntable.TurntableRender(bpy.context.scene, obj, tmp_path, turntable.Look())
    pivot = turntable.add_rig(obj, 2)
    bpy.data.objects.remove(pivot.children[0])
    own = bpy.data.objects.new("the artist's own", bpy.data.cameras.new("own"))
    own.parent = pivot
    with pytest.raises(DIF3DError, match="lost its camera"):
        turntable.TurntableRender(bpy.context.scene, obj, tmp_path, turntable.Look())
    turntable.add_rig(obj, 2)
    obj.users_collection[0].hide_render = True
    with pytest.raises(DIF3DError, match="hidden in renders"):
        turntable.TurntableRender(bpy.context.scene, obj, tmp_path, turntable.Look())
    obj.users_collection[0].hide_render, obj.hide_render = False, True
    with pytest.raises(DIF3DError, match="hidden in renders"):
        turntable.TurntableRender(bpy.context.scene, obj, tmp_path, turntable.Look())
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(DIF3DError, match="no mesh that Generate"):
        turntable.add_rig(bpy.context.object, 3)
    with pytest.raises(DIF3DError, match="one frame or more"):
        turntable.add_rig(obj, 0)
