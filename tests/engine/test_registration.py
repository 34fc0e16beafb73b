"""The camera of the picture, found again from silhouettes of fields whose camera is known."""

import numpy as np
import pytest
import torch
from fields import ball, coordinates, shape_field

from dif3d_blender.engine.depth import field_depth
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.occupancy import Occupancy
from dif3d_blender.engine.registration import HALF_WIDTH, Silhouette, framed_camera, register, soft_iou


def _table() -> Field:
    """A plate with a ball beneath one corner: its outline tells elevation and azimuth."""
    u, v = coordinates(32)
    outside = (torch.maximum((u - 0.05).abs() - 0.55, v.abs() - 0.3)).clamp_min(0)
    top = (-outside, torch.zeros_like(u), 0.05 - (v - 0.25).abs())
    return shape_field(top, ball((0.2, 0.15, -0.1), 0.28))


def test_framed_cameras_see_as_much_at_the_origin():
    for fov in (30.0, 40.0, 50.0):
        camera = framed_camera(12.0, 3.0, fov)
        assert camera.distance * np.tan(np.radians(fov) / 2) == pytest.approx(HALF_WIDTH)
    assert framed_camera(0.0).distance == pytest.approx(1.9)


def test_quick_silhouette_matches_where_rays_meet_the_decoded_surface():
    field, camera = _table(), framed_camera(20.0)
    quick = Silhouette(Occupancy(field), 25.0)(camera, 64)
    seen = torch.from_numpy(np.isfinite(field_depth(field, camera, 64, 64))).float()
    assert soft_iou(quick, seen) > 0.9


@pytest.mark.parametrize("truth", [(30.0, -5.0, 40.0), (5.0, 0.0, 35.0)])
def test_register_finds_the_camera(truth):
    field = _table()
    occupancy = Occupancy(field)
    mask = Silhouette(occupancy, 25.0)(framed_camera(*truth), 128).numpy()
    found = register(field, mask, occupancy)
    assert found.silhouette_iou > 0.92
    assert abs(found.camera.elevation_deg - truth[0]) < 4
    assert abs(found.camera.azimuth_deg - truth[1]) < 6


def test_a_ball_takes_the_usual_camera():
    field = shape_field(ball())
    occupancy = Occupancy(field)
    mask = Silhouette(occupancy, 25.0)(framed_camera(10.0), 128).numpy()
    found = register(field, mask, occupancy)
    assert abs(found.camera.elevation_deg - 10) < 6
    assert abs(found.camera.azimuth_deg) < 3


def test_silhouette_lies_where_the_surface_is_projected():
    field = _table()
    camera = framed_camera(25.0, 4.0, 35.0)
    size = 64
    picture = Silhouette(Occupancy(field), 25.0)(camera, size).numpy()
    vertices = extract_surface(field, 64).vertices
    world_to_camera = np.linalg.inv(camera.camera_to_world.numpy())
    x, y, z = (vertices @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]).T
    reach = -z * np.tan(np.radians(camera.fovy_deg) / 2)
    column, row = ((x / reach + 1) * size / 2).astype(int), ((1 - y / reach) * size / 2).astype(int)
    assert picture[row, column].mean() > 0.9
    assert column.min() == pytest.approx(np.flatnonzero(picture.any(axis=0))[0], abs=2)
    assert row.max() == pytest.approx(np.flatnonzero(picture.any(axis=1))[-1], abs=2)


@pytest.mark.parametrize("mask", [np.zeros((32, 32), np.float32), np.full((8, 8), np.nan, np.float32)])
def test_an_empty_mask_is_named(mask):
    with pytest.raises(DIF3DError, match="mask is empty"):
        register(shape_field(ball()), mask)
