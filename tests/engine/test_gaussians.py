"""Gaussian clouds: an even cover of the surface, the picture's colours where it sees."""

import numpy as np
import pytest
import torch
from fields import ball, plate, shape_field
from scipy.spatial import cKDTree

from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.gaussians import cover_surface, rotations, spread_out
from dif3d_blender.engine.isosurface import Surface, extract_surface
from dif3d_blender.engine.projection import Photo
from dif3d_blender.engine.registration import framed_camera

CAMERA = framed_camera(0.0)
COUNT = 6000


def _view(color=(1.0, 0.0, 0.0), size=256):
    """A picture of a ball of radius 0.5 at the origin, in one colour that the field does not have."""
    line = ((np.arange(size) + 0.5) * 2 / size - 1) * CAMERA.distance * np.tan(np.radians(CAMERA.fovy_deg / 2))
    outline = CAMERA.distance * 0.5 / np.sqrt(CAMERA.distance**2 - 0.25)
    mask = (np.hypot(*np.meshgrid(line, line)) < outline).astype(np.float32)
    return Photo(np.broadcast_to(np.float32(color), (size, size, 3)).copy(), mask, CAMERA)


@pytest.fixture(scope="module")
def covered():
    field = shape_field(ball())
    surface = extract_surface(field, 96)
    return surface, cover_surface(field, surface, _view(), count=COUNT)


def test_count_and_types(covered):
    _, cloud = covered
    assert 0.8 * COUNT < len(cloud) < 1.2 * COUNT
    for name, width in (("position", 3), ("scale", 3), ("rotation", 4), ("color", 3)):
        assert getattr(cloud, name).shape == (len(cloud), width)
        assert getattr(cloud, name).dtype == np.float32
    assert cloud.observed.dtype == bool
    assert cloud.opacity.min() >= 0.5
    assert cloud.opacity.max() <= 1
    assert np.allclose(np.linalg.norm(cloud.rotation, axis=1), 1, atol=1e-5)


def test_one_layer_without_holes(covered):
    surface, cloud = covered
    spacing = np.sqrt(4 * np.pi * 0.25 / COUNT)
    assert np.abs(np.linalg.norm(cloud.position, axis=1) - 0.5).max() < 0.2 * spacing  # no second layer
    holes, _ = cKDTree(cloud.position).query(surface.vertices)
    assert holes.max() < 1.3 * spacing
    gaps = cKDTree(cloud.position).query(cloud.position, k=2)[0][:, 1]
    assert gaps.min() > 0.5 * spacing


def test_density_is_even_across_the_seam(covered):
    _, cloud = covered
    near = cKDTree(cloud.position).query_ball_point(cloud.position, 0.1, return_length=True)
    assert near.std() < 0.2 * near.mean()


def test_observed_is_the_front_in_the_pictures_colours(covered):
    _, cloud = covered
    assert 0.15 < cloud.observed.mean() < 0.5
    assert (cloud.position[cloud.observed, 0] > 0.1).all()
    assert np.abs(cloud.color[cloud.observed] - (1, 0, 0)).mean() < 0.03
    assert not np.allclose(cloud.color[~cloud.observed][:, 0], 1, atol=0.05)
    front = cloud.position[:, 0] > 0.35
    assert cloud.observed[front].mean() > 0.99
    assert np.allclose(cloud.color[front], (1, 0, 0), atol=0.01)


def test_what_stands_behind_is_not_observed():
    field = shape_field(ball((0.45, 0.0, 0.0), 0.3), ball((-0.4, 0.0, 0.0), 0.25))
    cloud = cover_surface(field, extract_surface(field, 64), _view(), count=COUNT)
    behind = cloud.position[:, 0] < 0
    assert behind.any()
    assert not cloud.observed[behind].any()


def test_specks_that_the_surface_was_cleaned_of_are_not_covered():
    speck = (0.5, 0.55, 0.0)
    both = shape_field(ball(), ball(speck, 0.1))
    view = _view()
    view = Photo(view.picture, np.ones_like(view.mask), CAMERA)  # the picture shows the speck too
    cloud = cover_surface(both, extract_surface(shape_field(ball()), 96), view, count=COUNT)
    assert np.abs(np.linalg.norm(cloud.position, axis=1) - 0.5).max() < 0.02
    assert 0.8 * COUNT < len(cloud) < 1.2 * COUNT


def test_discs_lie_across_the_normal(covered):
    _, cloud = covered
    outward = cloud.position / np.linalg.norm(cloud.position, axis=1, keepdims=True)
    assert (np.abs((cloud.normals * outward).sum(axis=1)) > 0.95).all()
    assert (cloud.scale[:, 2] < 0.2 * cloud.scale[:, :2].max(axis=1)).all()
    spacing = np.sqrt(4 * np.pi * 0.25 / COUNT)
    assert np.median(cloud.scale[:, :2]) == pytest.approx(spacing / 2, rel=0.25)


def test_discs_leave_no_pinholes(covered):
    """Blender draws balls of 12 corners, 2 standard deviations wide: flat in between, they reach 1.6 of them."""
    surface, cloud = covered
    rng = np.random.default_rng(0)
    points = surface.vertices[surface.faces[rng.integers(len(surface.faces), size=20_000)]].mean(axis=1)
    near = cKDTree(cloud.position).query(points, k=16)[1]
    axes = rotations(cloud.rotation).as_matrix()[near]
    across = np.einsum("nkc,nkca->nka", points[:, None] - cloud.position[near], axes)[..., :2]
    reach = np.linalg.norm(across / cloud.scale[near, :2], axis=2).min(axis=1)
    assert (reach > 1.6).mean() < 0.002


def test_both_sides_of_a_thin_wall_are_covered():
    field = shape_field(plate(thickness=0.06))
    surface = extract_surface(field, 96)
    cloud = cover_surface(field, surface, None, count=1000)
    holes, _ = cKDTree(np.c_[cloud.position, 0.1 * cloud.normals]).query(np.c_[surface.vertices, 0.1 * surface.normals])
    flat = np.abs(surface.normals[:, 2]) > 0.99
    assert np.percentile(holes[flat], 99) < 0.12


def test_without_a_picture_all_is_the_fields():
    field = shape_field(ball())
    cloud = cover_surface(field, extract_surface(field, 48), None, count=2000)
    assert not cloud.observed.any()
    assert np.allclose(cloud.color, field.color(torch.from_numpy(cloud.position)).numpy(), atol=1e-5)


@pytest.mark.parametrize("mask", ["empty", "one pixel"])
def test_pictures_that_show_nothing_leave_it_to_the_field(mask):
    view = _view()
    mask = np.zeros_like(view.mask) if mask == "empty" else np.ones((1, 1), np.float32)
    field = shape_field(ball())
    view = Photo(np.full((*mask.shape, 3), 0.5, np.float32), mask, CAMERA)
    cloud = cover_surface(field, extract_surface(field, 48), view, count=1000)
    assert len(cloud) > 700
    assert not (cloud.observed.any() and mask.sum() == 0)


def test_a_surface_without_area_is_named():
    nothing = Surface(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(DIF3DError, match="no area"):
        cover_surface(shape_field(ball()), nothing, None)


@pytest.mark.parametrize("first", [0, 40])
def test_spread_out_is_dart_throwing_one_by_one(first):
    points = np.random.default_rng(1).random((600, 3))
    kept = list(range(first))
    for i in range(first, len(points)):
        if all(np.linalg.norm(points[i] - points[j]) > 0.1 for j in kept):
            kept.append(i)
    assert np.array_equal(spread_out(points, 0.1, first), kept)
