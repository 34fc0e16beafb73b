"""Cameras and rays: where they are, where they look, and where they meet the box."""

import math

import pytest
import torch

from dif3d_blender.engine.cameras import (
    Camera,
    get_ray_directions,
    get_rays,
    get_spherical_cameras,
    rays_intersect_bbox,
)


@pytest.mark.parametrize("views", [1, 2, 3, 4, 7])  # 3 is where a cross product without an axis goes wrong
def test_spherical_cameras_look_at_the_origin(views):
    rays_o, rays_d = get_spherical_cameras(views, 20.0, 1.9, 40.0, 5, 7)  # odd sizes have a middle pixel
    assert rays_o.shape == rays_d.shape == (views, 5, 7, 3)
    middle_o, middle_d = rays_o[:, 2, 3], rays_d[:, 2, 3]
    assert torch.allclose(middle_o.norm(dim=-1), torch.full((views,), 1.9), atol=1e-5)
    assert torch.allclose(middle_d, -middle_o / 1.9, atol=1e-5)
    assert torch.allclose(rays_d.norm(dim=-1), torch.ones(views, 5, 7), atol=1e-5)
    azimuth = torch.arange(views) * 2 * math.pi / views
    assert torch.allclose(middle_o[:, 0], 1.9 * math.cos(math.radians(20)) * azimuth.cos(), atol=1e-5)
    assert torch.allclose(middle_o[:, 1], 1.9 * math.cos(math.radians(20)) * azimuth.sin(), atol=1e-5)


def test_first_camera_is_on_x_with_y_to_the_right_and_z_up():
    _, directions = get_spherical_cameras(1, 0.0, 1.9, 40.0, 9, 9)
    assert directions[0, 4, 8, 1] > 0.1  # the right edge looks toward +y
    assert directions[0, 0, 4, 2] > 0.1  # the upper edge looks toward +z


def test_field_of_view_is_the_vertical_angle_between_the_pictures_edges():
    height = 100
    _, directions = get_spherical_cameras(1, 0.0, 1.0, 50.0, height, 30)
    top, bottom = directions[0, 0, 15], directions[0, -1, 15]
    half_pixel = math.tan(math.radians(25)) / height
    expected = 2 * math.atan(math.tan(math.radians(25)) - half_pixel)
    side = directions[0, 0, 15, 1].abs().item()  # column 15 is half a pixel beside the middle
    assert math.acos(torch.dot(top, bottom).item()) == pytest.approx(expected, abs=1e-3 + side)


def test_pixel_corners_and_lengths():
    corners = get_ray_directions(2, 2, 1.0, use_pixel_centers=False, normalize=False)
    assert corners[0, 0].tolist() == [-1.0, 1.0, -1.0]
    assert torch.allclose(get_ray_directions(2, 2, 1.0).norm(dim=-1), torch.ones(2, 2))
    moved = get_ray_directions(2, 2, (2.0, 4.0), principal=(0.5, 0.5), normalize=False)
    assert moved[1, 1].tolist() == [0.5, -0.25, -1.0]


def test_rays_for_every_shape_agree():
    torch.manual_seed(0)
    directions = torch.randn(4, 5, 3)
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[:, :3, :3] = torch.linalg.qr(torch.randn(2, 3, 3))[0]
    c2w[:, :3, 3] = torch.randn(2, 3)
    origins, rays = get_rays(directions, c2w, keepdim=True)
    assert origins.shape == rays.shape == (2, 4, 5, 3)
    assert torch.allclose(rays, torch.einsum("bij,hwj->bhwi", c2w[:, :3, :3], directions), atol=1e-6)
    assert torch.equal(origins[1, 2, 3], c2w[1, :3, 3])
    one_o, one_d = get_rays(directions, c2w[1], keepdim=True)
    assert torch.equal(one_d, rays[1])
    assert torch.equal(one_o, origins[1])
    flat_o, flat_d = get_rays(directions.reshape(-1, 3), c2w[1:].expand(20, 4, 4))
    assert torch.equal(flat_d, rays[1].reshape(-1, 3))
    assert torch.equal(flat_o, origins[1].reshape(-1, 3))
    assert get_rays(directions[None].expand(2, -1, -1, -1), c2w)[0].shape == (40, 3)


def test_box_intersection_by_hand():
    rays_o = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    rays_d = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    near, far, hits = rays_intersect_bbox(rays_o, rays_d, 1.0)
    assert hits.tolist() == [True, True, False, False]
    assert torch.allclose(near[:, 0], torch.tensor([1.001, 0.0, 0.0, 0.0]), atol=1e-5)
    assert torch.allclose(far[:, 0], torch.tensor([2.999, 0.999, 0.0, 0.0]), atol=1e-5)


def test_points_between_the_hits_lie_in_the_box():
    torch.manual_seed(0)
    rays_o = torch.randn(500, 3) * 2
    rays_d = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    bounds = torch.tensor([[-0.5, 1.0], [-0.25, 0.25], [-1.0, 0.75]])
    near, far, hits = rays_intersect_bbox(rays_o, rays_d, bounds)
    assert 20 < hits.sum() < 480
    for depth in (near, far, (near + far) / 2):
        points = (rays_o + depth * rays_d)[hits]
        assert (points >= bounds[:, 0]).all()
        assert (points <= bounds[:, 1]).all()


def test_one_camera_is_the_same_as_one_of_a_circle():
    origins, directions = get_spherical_cameras(
        4, elevation_deg=15, camera_distance=1.7, fovy_deg=35, height=6, width=8
    )
    camera = Camera(elevation_deg=15, azimuth_deg=90, distance=1.7, fovy_deg=35)
    rays_o, rays_d = camera.rays(6, 8)
    assert torch.equal(rays_o, origins[1])
    assert torch.allclose(rays_d, directions[1])
    assert torch.allclose(camera.camera_to_world[:3, 3].norm(), torch.tensor(1.7))
