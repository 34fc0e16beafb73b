"""A field that takes the picture's colours shows them to the picture's camera, and nowhere else."""

import numpy as np
import pytest
import torch
from fields import ball, shape_field

from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.coloring import picture_correction
from dif3d_blender.engine.depth import field_depth
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.projection import Photo, project

CAMERA = Camera(elevation_deg=20.0)
SIZE = 96


@pytest.fixture(scope="module")
def field():
    return shape_field(ball(), ball((0.0, 0.45, 0.25), 0.2))


@pytest.fixture(scope="module")
def photo(field):
    """What the camera would see of the field if it were painted red on the left and green on the right."""
    mask = field_mask(field)
    picture = np.full((SIZE, SIZE, 3), 0.5, dtype=np.float32)
    picture[:, : SIZE // 2][mask[:, : SIZE // 2]] = (0.9, 0.1, 0.1)
    picture[:, SIZE // 2 :][mask[:, SIZE // 2 :]] = (0.1, 0.9, 0.1)
    return Photo(picture, mask.astype(np.float32), CAMERA)


def field_mask(field):
    return np.isfinite(field_depth(field, CAMERA, SIZE, SIZE))


def test_space_takes_the_colours_that_the_surface_takes(field, photo):
    surface = extract_surface(field, 48)
    wanted, trust = project(photo, surface, surface.vertices, surface.normals)
    painted = field.corrected(picture_correction(field, photo))
    colors = painted.color(torch.from_numpy(surface.vertices)).numpy()
    off_the_seam = np.abs(CAMERA.see(torch.from_numpy(surface.vertices))[0][:, 0].numpy()) > 0.1
    seen = (trust > 0.99) & off_the_seam
    assert seen.mean() > 0.2
    assert np.abs(colors - wanted)[seen].mean() < 0.02


def test_colours_hold_just_under_the_surface_also_where_it_turns_away(field, photo):
    """A ray's first sample inside lies up to a step under the surface: a frame would be striped where that counts."""
    surface = extract_surface(field, 96)
    painted = field.corrected(picture_correction(field, photo))
    sight = CAMERA.camera_to_world[:3, 3].numpy() - surface.vertices
    cosine = (sight * surface.normals).sum(axis=1) / np.linalg.norm(sight, axis=1)
    big = np.linalg.norm(surface.vertices, axis=1) < 0.51
    turned = big & (cosine > 0.3) & (cosine < 0.45) & (np.abs(surface.vertices[:, 1]) > 0.15)
    on, under = (
        painted.color(torch.from_numpy(surface.vertices[turned] - depth * surface.normals[turned])).numpy()
        for depth in (0.0, 0.02)
    )
    assert turned.sum() > 100
    assert np.quantile(np.abs(under - on).max(axis=1), 0.9) < 0.1


def test_the_rim_of_the_back_stays():
    """Seen edge-on, a part is thin behind its rim; the picture's colours must not come through."""
    for radius in (0.5, 0.3, 0.15):
        field = shape_field(ball(radius=radius, texels=128))
        mask = field_mask(field)
        photo = Photo(np.full((SIZE, SIZE, 3), (0.9, 0.1, 0.1), dtype=np.float32), mask.astype(np.float32), CAMERA)
        surface = extract_surface(field, 96)
        colors = field.corrected(picture_correction(field, photo)).color(torch.from_numpy(surface.vertices)).numpy()
        sight = CAMERA.camera_to_world[:3, 3].numpy() - surface.vertices
        cosine = (sight * surface.normals).sum(axis=1) / np.linalg.norm(sight, axis=1)
        red = np.abs(colors - (0.9, 0.1, 0.1)).max(axis=1) < 0.25
        assert red[cosine > 0.3].mean() > 0.9
        assert red[cosine < -0.15].mean() < 0.03


def test_the_back_and_the_density_stay(field, photo):
    painted = field.corrected(picture_correction(field, photo))
    points = (torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.8
    density, color = painted.query(points)
    before_density, before_color = field.query(points)
    assert torch.equal(density, before_density)
    back = (points[:, 0] < -0.2) & (points.norm(dim=1) < 0.5)
    # one gain a channel, the picture's exposure, for all of them
    gain = color[back] / before_color[back]
    assert back.sum() > 100
    assert (gain.amax(0) - gain.amin(0)).max() < 1e-3


def test_a_field_without_a_surface_keeps_its_colours(photo):
    empty = shape_field((-torch.ones(32, 32),) * 3)
    painted = empty.corrected(picture_correction(empty, photo))
    points = torch.zeros(1, 3)
    assert torch.equal(painted.color(points), empty.color(points))
