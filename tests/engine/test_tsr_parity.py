"""The network against what the original code computes: `golden.npz` beside each reference checkpoint."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from dif3d_blender.engine import TSR

WORST, MEAN = 1e-3, 1e-4  # the largest differences that count as equal


@pytest.fixture(scope="module", params=["random", "fitted"])
def case(request, shared):
    """A reference model with its picture's scene code, and what the original made of the same."""
    folder = shared / "reference" / request.param
    model = TSR.from_pretrained(folder)
    picture = np.asarray(Image.open(folder / "input.png").convert("RGB"), dtype=np.float32) / 255
    with torch.no_grad():
        scene_codes = model(picture, "cpu")
    return SimpleNamespace(model=model, scene_codes=scene_codes, golden=np.load(folder / "golden.npz"))


def assert_equal_enough(ours, golden, relative=False):
    error = np.abs(np.asarray(ours, dtype=np.float64) - golden)
    if relative:
        error /= np.abs(golden)
    assert ours.shape == golden.shape
    assert error.max() < WORST
    assert error.mean() < MEAN


def test_scene_codes(case):
    assert_equal_enough(case.scene_codes.numpy(), case.golden["scene_codes"])


def test_density_and_color_at_points(case):
    points = torch.from_numpy(case.golden["points"])
    with torch.no_grad():
        out = case.model.renderer.query_triplane(case.model.decoder, points, case.scene_codes[0])
    assert_equal_enough(out["density_act"].numpy(), case.golden["density_act"], relative=True)
    assert_equal_enough(out["color"].numpy(), case.golden["color"])


def test_render(case):
    views = case.model.render(case.scene_codes, 4, elevation_deg=15.0, height=48, width=48, return_type="np")[0]
    assert_equal_enough(np.stack(views), case.golden["render"])


def test_mesh(case):
    cell = 2 * case.model.renderer.cfg.radius / 63
    mesh = case.model.extract_mesh(case.scene_codes, resolution=64, threshold=25.0)[0]
    golden = trimesh.Trimesh(case.golden["mesh_vertices"], case.golden["mesh_faces"], process=False)
    for one, other in ((mesh, golden), (golden, mesh)):  # the distance of the vertices bounds that of the surfaces
        distance, nearest = cKDTree(one.vertices).query(other.vertices)
        assert distance.max() < 0.1 * cell
    assert mesh.body_count == golden.body_count
    colors = mesh.visual.vertex_colors[:, :3].astype(int)
    assert np.abs(colors - case.golden["mesh_colors"][nearest]).max() <= 1


def test_faces_turn_outward(case):
    """Walking out of a face, along its normal, the density falls."""
    mesh = case.model.extract_mesh(case.scene_codes, resolution=64, threshold=25.0)[0]
    area = mesh.area_faces
    middles, normals = mesh.triangles_center[area > 1e-9], mesh.face_normals[area > 1e-9]
    step = 0.25 * 2 * case.model.renderer.cfg.radius / 63
    with torch.no_grad():
        inside, outside = (
            case.model.renderer.query_triplane(
                case.model.decoder, torch.from_numpy((middles + side * step * normals).astype(np.float32)), code
            )["density_act"]
            for code in case.scene_codes
            for side in (-1, 1)
        )
    assert (inside > outside).float().mean() > 0.9  # the random field has detail finer than the step
