"""Depth fitted to a field and the field moved onto it, on a ball whose true depth is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fields import ball, shape_field

from dif3d_blender.engine.depth import DepthUnavailable, field_depth
from dif3d_blender.engine.fusion import depth_correction, fit_scale_shift, fuse
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.registration import framed_camera

CAMERA = framed_camera(10.0)
SIZE = 96


def _depth(radius=0.5, center=(0.0, 0.0, 0.0)):
    return field_depth(shape_field(ball(center, radius)), CAMERA, SIZE, SIZE)


@pytest.fixture(scope="module")
def reference():
    return _depth()


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.2, 3.0), (40.0, -20.0)])
def test_scale_and_shift_are_found_again_through_noise_and_outliers(reference, scale, shift):
    rng = np.random.default_rng(0)
    mask = np.isfinite(reference)
    depth = (reference - shift) / scale + 0.01 / scale * rng.standard_normal(reference.shape)
    wrong = rng.random(depth.shape) < 0.1
    depth[wrong] += 0.8 / scale
    fit = fit_scale_shift(depth, reference, mask)
    assert fit.scale == pytest.approx(scale, rel=0.1)
    assert np.abs(fit(depth) - reference)[mask & ~wrong].mean() < 0.03
    assert fit.agreement > 0.8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: -d, "near for far"),
        (lambda d: np.full_like(d, 2.0), "same everywhere"),
        (lambda d: np.full_like(d, np.nan), "too few pixels"),
        (lambda d: np.full_like(d, np.inf), "too few pixels"),
        (lambda d: d + 5 * np.random.default_rng(0).random(d.shape), "agrees|near for far"),
    ],
)
def test_depth_that_does_not_fit_is_refused(reference, spoil, message):
    with pytest.raises(DepthUnavailable, match=message):
        fit_scale_shift(spoil(reference), reference, np.isfinite(reference))


@pytest.mark.parametrize("shape", [(96, 96), (1, 96), (96, 1), (1, 1)])
def test_empty_masks_and_slivers_are_refused(shape):
    with pytest.raises(DepthUnavailable, match="too few pixels"):
        fit_scale_shift(np.ones(shape), np.ones(shape), np.zeros(shape, dtype=bool))


@pytest.mark.parametrize("padding", [0, 8])
def test_the_front_moves_onto_the_depth_and_the_back_stays(reference, padding):
    """The picture shows a front that is dented by 0.05 in the middle."""
    mask = np.isfinite(reference)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    dent = 0.05 * np.exp(-((rows - SIZE / 2) ** 2 + (columns - SIZE / 2) ** 2) / 200)
    inner = slice(padding, SIZE - padding)
    depth = (reference + dent)[inner, inner]
    field = shape_field(ball())
    fused = field.corrected(
        depth_correction(depth, reference[inner, inner], mask[inner, inner], CAMERA, padding=padding)
    )
    got = field_depth(fused, CAMERA, SIZE, SIZE)
    middle = np.s_[SIZE // 2 - 6 : SIZE // 2 + 6, SIZE // 2 - 6 : SIZE // 2 + 6]
    assert np.abs(got - reference - dent)[middle].max() < 0.01
    toward = CAMERA.camera_to_world[:3, 2]
    behind = torch.randn(500, 3) * 0.3 - 0.45 * toward
    behind = behind[behind @ toward < -0.25]
    assert torch.allclose(fused.density(behind), field.density(behind), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("offset", [0.1, -0.1])
def test_the_old_surface_does_not_stay_behind(reference, offset):
    """Moved forward or back by a band and a half, there is one surface along each ray, not two."""
    mask = np.isfinite(reference)
    field = shape_field(ball())
    fused = field.corrected(depth_correction(reference + offset, reference, mask, CAMERA))
    got = field_depth(fused, CAMERA, SIZE, SIZE)
    middle = np.s_[SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8]
    assert np.abs(got - reference - offset)[middle].max() < 0.02
    forward = -CAMERA.camera_to_world[:3, 2]
    along = torch.linspace(-0.8, 0.8, 400)[:, None] * forward
    inside = (fused.density(along)[:, 0] > 25).int()
    assert inside.diff().abs().sum() == 2  # in once, out once


def test_the_corrected_surface_is_closed_and_whole(reference):
    field = shape_field(ball())
    noisy = reference + 0.02 * np.sin(np.arange(SIZE) / 5)
    fused = field.corrected(depth_correction(noisy, reference, np.isfinite(reference), CAMERA))
    faces = extract_surface(fused, 64).faces
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_depth_without_any_known_pixel_changes_nothing(reference):
    nothing = np.full_like(reference, np.nan)
    field = shape_field(ball())
    fused = field.corrected(depth_correction(nothing, reference, np.isfinite(reference), CAMERA))
    points = torch.rand(500, 3) - 0.5
    assert torch.allclose(fused.density(points), field.density(points), rtol=1e-3)


def _estimate(depth, source, mask):
    return SimpleNamespace(depth_img=depth, depth_source=source, camera=CAMERA, pad=0, inside=mask)


def test_fuse_says_what_it_did(reference):
    field, mask = shape_field(ball()), np.isfinite(reference)
    same, note = fuse(field, _estimate(reference, "nerf", mask))
    assert same is field
    assert "nothing to fuse" in note
    same, note = fuse(field, _estimate(-reference, "glpn", mask))
    assert same is field
    assert "not fused" in note
    other, note = fuse(field, _estimate(3 * reference + 1, "glpn", mask))
    assert other.corrections
    assert "was fused" in note
