"""Textures: unwrapping, baking, the picture's own pixels, and the files that carry them."""

import errno
import io
import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from fields import ball, shape_field
from PIL import Image

from dif3d_blender.engine import texture as texture_module
from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.export import export_mesh, save_maps
from dif3d_blender.engine.isosurface import Surface, extract_surface
from dif3d_blender.engine.projection import Photo, matched_exposure, project
from dif3d_blender.engine.texture import corner_tangents, texture_mesh
from dif3d_blender.engine.triangles import covered_texels, nearest_depths
from dif3d_blender.engine.unwrap import UnwrapError, unwrap


@pytest.fixture(scope="module")
def field():
    return shape_field(ball(), ball((0.0, 0.0, 0.55), 0.2))


@pytest.fixture(scope="module")
def fine(field):
    return extract_surface(field, 40)


@pytest.fixture(scope="module")
def textured(field, fine):
    return texture_mesh(field, fine, 128, face_limit=600)


def sphere(center=(0.0, 0.0, 0.0), radius=0.5):
    mesh = trimesh.creation.icosphere(3, radius)
    return Surface((mesh.vertices + center).astype(np.float32), mesh.faces.astype(np.int32))


def joined(*surfaces):
    starts = np.cumsum([0] + [len(one.vertices) for one in surfaces[:-1]])
    faces = np.concatenate([one.faces + start for one, start in zip(surfaces, starts, strict=True)])
    return Surface(np.concatenate([one.vertices for one in surfaces]), faces.astype(np.int32))


def look_up(picture, uv):
    size = len(picture)
    column, row = (uv * size).astype(int).clip(0, size - 1).T
    return picture[size - 1 - row, column] / 255


def test_the_z_buffer_equals_the_reference():
    rng = np.random.default_rng(0)
    corners, depths = rng.uniform(-3, 19, (12, 3, 2)), rng.uniform(1, 3, (12, 3))
    expected = np.full((16, 16), np.inf)
    for triangle, depth in zip(corners, depths, strict=True):
        to_uv = np.stack([triangle[1] - triangle[0], triangle[2] - triangle[0]], axis=1)
        for y in range(16):
            for x in range(16):
                u, v = np.linalg.solve(to_uv, np.array([x + 0.5, y + 0.5]) - triangle[0])
                if u >= 0 and v >= 0 and u + v <= 1:
                    expected[y, x] = min(expected[y, x], 1 / ((1 - u - v) / depth[0] + u / depth[1] + v / depth[2]))
    np.testing.assert_allclose(nearest_depths(corners, depths, 16), expected, rtol=1e-4)


def test_what_lies_outside_the_picture_costs_nothing():
    huge = np.array([[[-1e6, -1e6], [3e6, -1e6], [-1e6, 3e6]], [[1e6, 5], [2e6, 5], [1e6, 9]]])
    np.testing.assert_allclose(nearest_depths(huge, np.full((2, 3), 2.0), 16), 2.0, rtol=1e-6)


def test_islands_do_not_overlap_and_are_apart():
    surface = sphere()
    uv = unwrap(surface.vertices, surface.faces)
    assert uv.shape == (len(surface.faces), 3, 2) and uv.min() >= 0 and uv.max() <= 1
    times = np.zeros((512, 512), int)
    for _, row, column, weights in covered_texels(uv * 512, 512):
        inner = weights.min(axis=1) > 1e-3  # not on an edge that two faces share
        np.add.at(times, (row[inner], column[inner]), 1)
    assert times.max() == 1
    assert (times > 0).mean() > 0.3


def test_an_unwrap_that_takes_too_long_is_stopped():
    surface = sphere()
    with pytest.raises(UnwrapError, match=r"stopped after 0\.01 s"):
        unwrap(surface.vertices, surface.faces, seconds=0.01)


def test_unwrapping_runs_nothing_from_the_folder_that_one_stands_in(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    vertices, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2]])
    assert unwrap(vertices, faces).shape == (1, 3, 2)


def test_a_full_folder_for_temporary_files_is_named(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UnwrapError, match=r"temporary files can't be used .*No space left"):
        unwrap(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]))


def test_faces_without_area_and_loose_ones_are_no_obstacle(field):
    one = sphere()
    faces = np.concatenate([one.faces, [[0, 0, 1], [3, 3, 3]], one.faces[:1]])  # two without area, one twice
    made = texture_mesh(field, Surface(one.vertices, faces.astype(np.int32)), 64, face_limit=100_000)
    assert np.isfinite(made.maps.uv).all() and np.isfinite(made.maps.tangents).all()


def test_texels_show_the_colour_that_the_field_has_there(field, textured):
    surface, maps = textured.surface, textured.maps
    assert len(surface.faces) <= 600
    middle = surface.vertices[surface.faces].mean(axis=1)
    expected = field.color(torch.from_numpy(middle)).numpy()
    found = look_up(maps.base_color, maps.uv.mean(axis=1))
    assert np.abs(found - expected).mean() < 0.02
    assert textured.projected == 0


def test_no_texel_between_islands_shows_a_ground(textured):
    colors = textured.maps.base_color.reshape(-1, 3)
    assert (colors.max(axis=1) > 0).all()
    filled = np.zeros(textured.maps.base_color.shape[:2], bool)
    for _, row, column, _ in covered_texels(textured.maps.uv * len(filled), len(filled)):
        filled[len(filled) - 1 - row, column] = True
    inside = {tuple(color) for color in textured.maps.base_color[filled].tolist()}
    assert {tuple(color) for color in colors.tolist()} <= inside


def test_the_normal_map_gives_the_coarse_mesh_the_normals_of_the_fine_one(field):
    coarse = trimesh.creation.icosphere(1, 0.5)
    coarse = Surface(coarse.vertices.astype(np.float32), coarse.faces.astype(np.int32))
    fine = sphere()
    uv = unwrap(coarse.vertices, coarse.faces)
    made = texture_module._bake(field, fine, coarse, uv, 256, None, ())
    spots = uv.mean(axis=1)
    bent = look_up(made.maps.normal_map, spots) * 2 - 1
    z = made.normals[coarse.faces].mean(axis=1)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    tangent = made.maps.tangents.mean(axis=1)
    x = tangent[:, :3] - z * (z * tangent[:, :3]).sum(axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.cross(z, x) * tangent[:, 3:]
    shown = bent[:, :1] * x + bent[:, 1:2] * y + bent[:, 2:] * z
    wanted = coarse.vertices[coarse.faces].mean(axis=1)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert (shown * wanted).sum(axis=1).min() > np.cos(np.radians(6))


def test_tangents_run_along_u_and_tell_mirrored_islands():
    vertices = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1]], np.float32)  # faces +x; y is right, z up
    surface = Surface(vertices, np.array([[0, 1, 2]], np.int32))
    straight = np.array([[[0, 0], [1, 0], [1, 1]]], np.float32)
    np.testing.assert_allclose(corner_tangents(surface, surface.normals, straight)[0, 0], [0, 1, 0, 1], atol=1e-6)
    mirrored = straight * (-1, 1) + (1, 0)
    np.testing.assert_allclose(corner_tangents(surface, surface.normals, mirrored)[0, 0], [0, -1, 0, -1], atol=1e-6)


def photo_of_a_ball(size=128):
    """Left half red, right half blue, as large as a sphere of 0.5 looks; green all round."""
    y, x = np.mgrid[:size, :size] + 0.5
    angular = 0.5 / np.sqrt(1.9**2 - 0.25) / np.tan(np.radians(20)) * size / 2
    mask = (np.hypot(x - size / 2, y - size / 2) < angular).astype(np.float32)
    picture = np.where((x < size / 2)[..., None], [1.0, 0, 0], [0, 0, 1.0])
    return Photo(np.where(mask[..., None] > 0, picture, [0, 1.0, 0]).astype(np.float32), mask, Camera())


def test_the_picture_is_seen_in_front_never_behind_and_never_its_background():
    surface = sphere()
    colors, trust = project(photo_of_a_ball(), surface, surface.vertices, surface.normals)
    x, y = surface.vertices[:, 0], surface.vertices[:, 1]
    assert (trust[x > 0.3] > 0.9).all()
    assert (trust[x < 0.1] == 0).all()
    seen = trust > 0
    assert colors[seen, 1].max() < 1e-3  # no green
    np.testing.assert_allclose(colors[seen & (y < -0.02)][:, 0], 1, atol=1e-3)
    np.testing.assert_allclose(colors[seen & (y > 0.02)][:, 2], 1, atol=1e-3)


def test_what_is_hidden_behind_something_is_not_seen():
    before, behind = sphere((0.4, 0, 0), 0.2), sphere((-0.3, 0, 0), 0.15)
    both = joined(before, behind)
    _, trust = project(photo_of_a_ball(), both, behind.vertices, behind.normals)
    assert trust.max() == 0
    _, alone = project(photo_of_a_ball(), behind, behind.vertices, behind.normals)
    assert alone.max() > 0.9


def test_what_lies_behind_an_edge_is_seen_up_to_the_edge():
    """A gap between what is seen and the edge that hides the rest would show as a crack in the field's colours."""
    before, behind = sphere((0.4, 0, 0), 0.2), sphere((-0.3, 0, 0), 0.4)
    angle = np.linspace(0.2, 1.2, 400)  # from the axis to the camera, seen from the middle of what lies behind
    normals = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1).astype(np.float32)
    points = normals * 0.4 + np.float32([-0.3, 0, 0])
    _, trust = project(photo_of_a_ball(), joined(before, behind), points, normals)
    apart = np.arctan2(points[:, 1], 1.9 - points[:, 0]) - np.arcsin(0.2 / 1.5)  # from the outline of what lies before
    assert (apart > 0.002).any() and trust[apart > 0.002].min() > 0.9
    assert (apart < -0.004).any() and trust[apart < -0.004].max() == 0


def test_exposure_is_matched_where_the_picture_is_known():
    rng = np.random.default_rng(1)
    have = rng.uniform(0.2, 0.5, (200, 3)).astype(np.float32)
    linear = ((have + 0.055) / 1.055) ** 2.4 * [1.5, 1.2, 0.8]
    wanted = 1.055 * linear ** (1 / 2.4) - 0.055
    known = np.arange(200) % 2 == 0
    np.testing.assert_allclose(matched_exposure(have, wanted, known * 1.0), wanted, atol=0.03)
    np.testing.assert_allclose(matched_exposure(have, wanted, np.zeros(200)), have, atol=1e-6)


def test_a_projected_texture_shows_the_picture_from_the_front_and_the_field_behind(field, fine, textured):
    surface = textured.surface
    made = texture_mesh(field, fine, 128, face_limit=600, photo=photo_of_a_ball())
    middle = made.surface.vertices[made.surface.faces].mean(axis=1)
    found = look_up(made.maps.base_color, made.maps.uv.mean(axis=1))
    front = (middle[:, 0] > 0.3) & (np.abs(middle[:, 1]) > 0.1) & (np.abs(middle[:, 2]) < 0.3)
    expected = np.where(middle[front, 1:2] < 0, [1, 0, 0], [0, 0, 1])
    assert np.abs(found[front] - expected).mean() < 0.05
    assert 0.2 < made.projected < 0.6
    assert len(made.surface.faces) == len(surface.faces)


def test_too_large_and_too_small_textures_are_named(field, fine, monkeypatch):
    monkeypatch.setattr(texture_module, "free_bytes", lambda: 200 * 128 * 128)
    made = texture_mesh(field, fine, 512, face_limit=300)
    assert made.maps.base_color.shape == (128, 128, 3)
    assert any("128 texels were made" in note for note in made.notes)
    with pytest.raises(DIF3DError, match="too small"):
        texture_mesh(field, fine, 8)


def test_a_mesh_without_a_limit_is_reduced_and_it_is_said(field, fine, monkeypatch):
    monkeypatch.setattr(texture_module, "USUAL_FACES", 500)
    made = texture_mesh(field, fine, 64)
    assert len(made.surface.faces) <= 500
    assert any("was reduced from" in note for note in made.notes)


def test_glb_and_obj_carry_the_texture(textured, tmp_path):
    surface, maps = textured.surface, textured.maps
    colors = np.full_like(surface.vertices, 0.5)
    for name in ("mesh.glb", "mesh.obj"):
        export_mesh(tmp_path / name, surface.vertices, surface.faces, colors, textured.normals, 1.0, maps)
    paths = save_maps(tmp_path, maps)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base_color.png",
        "mesh.glb",
        "mesh.mtl",
        "mesh.obj",
        "normal.png",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(paths["normal_map"])), maps.normal_map)
    glb = trimesh.load(tmp_path / "mesh.glb", force="mesh", process=False)
    obj = trimesh.load(tmp_path / "mesh.obj", force="mesh", process=False)
    assert len(glb.faces) == len(obj.faces) == len(surface.faces)
    material = glb.visual.material
    np.testing.assert_array_equal(np.asarray(material.baseColorTexture), maps.base_color)
    np.testing.assert_array_equal(np.asarray(material.normalTexture), maps.normal_map)
    np.testing.assert_array_equal(np.asarray(obj.visual.material.image.convert("RGB")), maps.base_color)
    for mesh in (glb, obj):  # trimesh has v from the bottom
        np.testing.assert_allclose(mesh.visual.uv[mesh.faces], maps.uv, atol=1e-5)


def test_tangents_of_a_glb_stand_on_its_normals(textured, tmp_path):
    surface, maps = textured.surface, textured.maps
    export_mesh(tmp_path / "a.glb", surface.vertices, surface.faces, None, textured.normals, 1.0, maps)
    content = (tmp_path / "a.glb").read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    tree, binary = json.loads(content[20 : 20 + length]), io.BytesIO(content[28 + length :])
    (primitive,) = tree["meshes"][0]["primitives"]

    def read(name, width):
        accessor = tree["accessors"][primitive["attributes"][name]]
        view = tree["bufferViews"][accessor["bufferView"]]
        binary.seek(view["byteOffset"])
        return np.frombuffer(binary.read(view["byteLength"]), "<f4").reshape(-1, width)

    tangents, normals = read("TANGENT", 4), read("NORMAL", 3)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-4)
    assert np.abs((tangents[:, :3] * normals).sum(axis=1)).max() < 1e-3
    assert set(tangents[:, 3]) <= {1.0, -1.0}
