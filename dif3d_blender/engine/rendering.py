"""A field to pictures, from cameras round it.

The fast path takes the same samples of a ray as the network's own renderer, but decodes only those in cells of the
`Occupancy` that may hold matter, front to back, and leaves a ray when hardly any light comes through. Haze is not
decoded but interpolated between the samples of the occupancy's lattice. What is left out altogether is bounded: matter
so thin that a whole ray through it would lose `_EMPTY` of its light, and what lies behind all but `_OPAQUE` of the
light, which takes the colour seen so far.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .cameras import get_spherical_cameras, rays_intersect_bbox
from .field import Field
from .occupancy import Occupancy

_EMPTY = 1e-3  # density that is not worth looking at: along a ray, whose length counts as 1, it hides as much light
_HAZE = 2.0  # density that need not be decoded: it hides less than 1.6 % of the light at a sample
_DECODED = 2
_OPAQUE = 1e-3  # transmittance at which a ray is left
_AT_ONCE = 8  # samples of a ray that are decoded together
_CPU_RAYS, _GPU_RAYS = 1 << 16, 1 << 20  # rays that are followed together


def render_views(
    field: Field,
    n_views: int,
    elevation_deg: float = 0.0,
    camera_distance: float = 1.9,
    fovy_deg: float = 40.0,
    height: int = 256,
    width: int = 256,
    occupancy: Occupancy | None = None,
    dense: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Render `field` from `n_views` cameras on a circle, the first at azimuth 0 (see `get_spherical_cameras`).

    Args:
        field: what to render.
        n_views: number of cameras.
        elevation_deg: degrees above the xy plane.
        camera_distance: distance of the cameras from the origin.
        fovy_deg: vertical field of view in degrees.
        height: of each picture, in pixels.
        width: of each picture, in pixels.
        occupancy: the field's occupancy where it is known already.
        dense: decode every sample: the slow reference.
        progress: called after each view with the fraction that is done.

    Returns:
        Pictures [n_views, height, width, 3], sRGB in [0, 1], on white, on the field's device.
    """
    rays = get_spherical_cameras(n_views, elevation_deg, camera_distance, fovy_deg, height, width)
    origins, directions = (part.reshape(-1, 3) for part in rays)
    scene = None if dense else _Scene(field, occupancy or Occupancy(field))
    colors = torch.empty(len(origins), 3, device=field.device)
    at_once = _CPU_RAYS if field.device.type == "cpu" else _GPU_RAYS
    for start in range(0, len(origins), at_once):
        batch = slice(start, start + at_once)
        o, d = origins[batch].to(field.device), directions[batch].to(field.device)
        with torch.no_grad():
            colors[batch] = field.render_dense(o, d) if scene is None else scene.render(o, d)
        if progress is not None:
            progress(min(1.0, (start + at_once) / len(origins)))
    return colors.view(n_views, height, width, 3).clamp_(0, 1)


class _Scene:
    """A field with what is known of its cells."""

    def __init__(self, field: Field, occupancy: Occupancy) -> None:
        self.field, self.occupancy = field, occupancy
        occupied = occupancy.above(_EMPTY)
        self.kinds = occupied.to(torch.uint8)  # of the cells [G − 1]³: nothing, haze, or what is to be decoded
        self.kinds[occupancy.above(_HAZE)] = _DECODED
        # The box round all of them, [3, 2].
        bounds = []
        for axis in range(3):
            cells = occupied.movedim(axis, 0).flatten(1).any(dim=1).nonzero()[:, 0]
            ends = torch.stack([cells[0], cells[-1] + 1]) if len(cells) else cells.new_zeros(2)
            bounds.append(occupancy.lines[ends])
        self.bounds = torch.stack(bounds) / 0.999  # `rays_intersect_bbox` tightens the box by as much

    def render(self, origins: Tensor, directions: Tensor) -> Tensor:
        """The colours [N, 3] of rays [N, 3], on white."""
        count = len(origins)
        ray, depth, turn, decoded = self._samples(origins, directions)
        through = torch.ones(count, device=origins.device)  # transmittance so far
        colors = torch.zeros_like(origins)
        while len(ray):
            # The next samples of each ray are decoded together; then the rays that are done are dropped.
            now = turn < _AT_ONCE
            at, column = ray[now], turn[now]
            density, color = self._look(origins[at] + depth[now, None] * directions[at], decoded[now])
            alpha = torch.zeros(count, _AT_ONCE, device=origins.device)
            alpha[at, column] = 1 - torch.exp(-density / self.field.renderer.cfg.num_samples_per_ray)
            left = torch.cumprod(1 - alpha, dim=1)
            weight = alpha * through[:, None]
            weight[:, 1:] *= left[:, :-1]
            colors.index_add_(0, at, weight[at, column, None] * color)
            through *= left[:, -1]
            later = ~now & (through[ray] > _OPAQUE)
            ray, depth, turn, decoded = ray[later], depth[later], turn[later] - _AT_ONCE, decoded[later]
        opaque = through <= _OPAQUE
        colors[opaque] /= 1 - through[opaque, None]
        through[opaque] = 0.0
        return colors + through[:, None]

    def _look(self, points: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and colour [N, 3] at points [N, 3], interpolated where they need not be decoded [N]."""
        density, color = points.new_empty(len(points), 1), torch.empty_like(points)
        for which, ask in ((decoded, self.field.query), (~decoded, self.occupancy.interpolate)):
            density[which], color[which] = ask(points[which])
        return density[:, 0], color

    def _samples(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The samples of rays [N, 3] that lie in occupied cells, ray by ray and front to back.

        Returns:
            For each its ray, its depth along it, its number among the ray's own, and whether it is to be decoded, all
            [samples].
        """
        per_ray = self.field.renderer.cfg.num_samples_per_ray
        near, far, hits = rays_intersect_bbox(origins, directions, self.field.radius)
        start, end, reaches = rays_intersect_bbox(origins, directions, self.bounds, valid_thresh=0.0)
        rays = (hits & reaches).nonzero()[:, 0]
        if not len(rays):
            return rays, near[rays, 0], rays, hits[rays]
        # Sample i lies in the middle of step i. Those that no ray has in the box of occupied cells are not looked up.
        step = (far[rays] - near[rays]) / per_ray  # [rays, 1]
        first = int(((start[rays] - near[rays]) / step - 0.5).min().floor().clamp(0, per_ray - 1))
        last = int(((end[rays] - near[rays]) / step - 0.5).max().ceil().clamp(first, per_ray - 1))
        depths = near[rays] + step * (torch.arange(first, last + 1, device=rays.device) + 0.5)  # [rays, samples]
        place = None
        for axis in range(3):
            cell = self.occupancy.cell_of(
                torch.addcmul(origins[rays, axis, None], depths, directions[rays, axis, None])
            )
            place = cell if place is None else place.mul_(self.kinds.shape[axis]).add_(cell)
        kind = self.kinds.flatten().index_select(0, place.view(-1)).view_as(depths)
        row, column = kind.nonzero().unbind(dim=1)
        counts = torch.bincount(row, minlength=len(rays))
        turn = torch.arange(len(row), device=rays.device) - (counts.cumsum(0) - counts)[row]
        return rays[row], depths[row, column], turn, kind[row, column] == _DECODED
