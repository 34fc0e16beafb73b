"""Rendering: the fast path against the dense one, and pictures whose content is known."""

import numpy as np
import pytest
import torch
from fields import ball, plate, random_field, shape_field
from scipy.interpolate import interpn

from dif3d_blender.engine import TSR
from dif3d_blender.engine.cameras import get_spherical_cameras, rays_intersect_bbox
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.occupancy import Occupancy
from dif3d_blender.engine.rendering import _Scene, render_views

CASES = {
    "ball": lambda: shape_field(ball()),
    "plate": lambda: shape_field(plate(0.03, 0.06)),
    "two balls that touch": lambda: shape_field(ball((-0.3, 0.1, 0.0), 0.3), ball((0.3, 0.1, 0.0), 0.3)),
    "ball that sticks out of the box": lambda: shape_field(ball((0.7, 0.7, 0.0), 0.4)),
    "fog": lambda: random_field(1),
    "thin fog": lambda: random_field(2, texels=30),
}


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures with values in [0, 1]."""
    return -10 * torch.log10((one - other).square().mean().clamp_min(1e-12)).item()


@pytest.mark.parametrize("name", CASES)
def test_fast_equals_dense(name):
    field = CASES[name]()
    fast = render_views(field, 3, 20.0, height=40, width=56)
    dense = render_views(field, 3, 20.0, height=40, width=56, dense=True)
    assert fast.shape == dense.shape == (3, 40, 56, 3)
    for one, other in zip(fast, dense, strict=True):
        assert psnr(one, other) >= 65
    assert (fast - dense).abs().max() < 0.02


@pytest.mark.parametrize("name", ["random", "fitted"])
def test_fast_equals_dense_on_the_references(name, shared):
    model = TSR.from_pretrained(shared / "reference" / name)
    with torch.no_grad():
        code = model(torch.full((8, 8, 3), 0.5), "cpu")[0]
    field = Field(code, model.decoder, model.renderer)
    fast, dense = (render_views(field, 1, 10.0, height=56, width=56, dense=dense) for dense in (False, True))
    assert psnr(fast, dense) >= 65
    assert (fast - dense).abs().max() < 1 / 128


@pytest.mark.parametrize("texels", [8, 30, 50])
def test_the_lattice_is_interpolated_as_scipy_does(texels):
    field = random_field(4, texels=texels)
    occupancy = Occupancy(field)
    points = (torch.rand(3001, 3) * 2 - 1) * field.radius
    known = field.lattice(*(occupancy.lines[None],) * 3)
    log, color = (
        interpn((occupancy.lines.numpy(),) * 3, values[0].numpy(), points.numpy())
        for values in (known[0].clamp(1e-12, 1e12).log(), known[1])
    )
    density, seen = occupancy.interpolate(points)
    assert np.allclose(density[:, 0].log(), log, atol=1e-3)  # neighbours are many powers of e apart
    assert np.allclose(seen, color, atol=1e-4)
    assert [part.shape for part in occupancy.interpolate(points[:0])] == [(0, 1), (0, 3)]


@pytest.mark.parametrize("name", CASES)
def test_samples_found_in_groups_are_all_that_lie_in_occupied_cells(name):
    field = CASES[name]()
    scene = _Scene(field, Occupancy(field))
    origins, directions = (part.reshape(-1, 3) for part in get_spherical_cameras(1, 20.0, 1.9, 40.0, 24, 24))
    near, far, hits = rays_intersect_bbox(origins, directions, field.radius)
    steps = (torch.arange(scene.samples) + 0.5) / scene.samples
    depths = near + (far - near) * steps  # [rays, samples]
    points = origins[:, None] + depths[..., None] * directions[:, None]
    wanted = scene.occupancy.lookup(scene.occupied, points) & hits[:, None]
    ray, depth, cell = scene._samples(origins, directions)
    found = torch.zeros_like(wanted)
    found[ray, (depths[ray] - depth[:, None]).abs().argmin(dim=1)] = True
    assert int((found != wanted).sum()) <= 2  # those on the border of two cells
    assert scene.occupied.view(-1)[cell].all()
    assert ((ray.diff() > 0) | ((ray.diff() == 0) & (depth.diff() > 0))).all()  # ray by ray, front to back


def test_dense_is_the_networks_own_renderer():
    field = random_field(3, chunk_size=500)
    rays = get_spherical_cameras(2, 5.0, 1.9, 40.0, 9, 7)
    with torch.no_grad():
        expected = field.renderer(field.decoder, field.triplane.expand(2, -1, -1, -1, -1), *rays)
    assert torch.allclose(render_views(field, 2, 5.0, height=9, width=7, dense=True), expected, atol=1e-5)


def test_views_turn_round_the_object_from_x_toward_y():
    """A ball at +y is to the right of the first view, in front in the second of four, to the left in the third."""
    field = shape_field(ball((0.0, 0.5, 0.0), 0.2))
    views = render_views(field, 4, 0.0, height=33, width=33)
    dark = 1 - views.mean(dim=-1)  # [4, 33, 33]
    columns = (dark.sum(dim=1) * torch.arange(33)).sum(dim=1) / dark.sum(dim=(1, 2))
    assert columns[0] > 20
    assert columns[2] < 12
    assert abs(columns[1] - 16) < 0.5
    assert abs(columns[3] - 16) < 0.5
    assert dark[1].sum() > 1.5 * dark[3].sum()  # nearer, so larger


def test_empty_space_is_white_and_costs_nothing():
    field = shape_field(ball(radius=0.3))
    field._bias = torch.zeros_like(field._bias)
    field._rest[-1].bias.data[0] = -20.0
    field._table.zero_()
    occupancy = Occupancy(field)
    known = field.queries
    views = render_views(field, 2, height=16, width=16, occupancy=occupancy)
    assert (views == 1).all()
    assert field.queries == known


def test_few_of_the_dense_paths_queries_and_less_behind_opaque_matter():
    def queries(*planes):  # of a view, over those of the dense path
        field = shape_field(tuple(20 * plane for plane in planes))  # a sharp edge
        occupancy = Occupancy(field)
        known = field.queries
        render_views(field, 1, height=64, width=64, occupancy=occupancy)
        return (field.queries - known) / (64 * 64 * field.renderer.cfg.num_samples_per_ray)

    one, whole = queries(*ball(radius=0.4)), queries(*ball(radius=3.0))
    assert one < 0.05
    assert whole < 0.15  # everything is occupied, and every ray ends soon


def test_progress_reaches_one():
    seen = []
    render_views(random_field(), 2, height=8, width=8, progress=seen.append)
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
