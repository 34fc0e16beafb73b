"""A field to pictures, from cameras round it.

The fast path takes the same samples of a ray as the network's own renderer, but decodes only those in cells of the
`Occupancy` that may hold matter, front to back, and leaves a ray when hardly any light comes through. Haze is not
decoded but interpolated between the samples of the occupancy's lattice: a sample counts as haze where what is
interpolated, and as much as the decoder may bend it there, is thin. What is left out altogether is bounded: matter
so thin that a whole ray through it would lose `_EMPTY` of its light, and what lies behind all but `_OPAQUE` of the
light, which takes the colour seen so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .cameras import Camera, rays_intersect_bbox
from .field import Field
from .occupancy import Occupancy

_EMPTY = 1e-3  # density that is not worth looking at: along a ray, whose length counts as 1, it hides as much light
_HAZE = 2.0  # density that need not be decoded: it hides less than 1.6 % of the light at a sample
_OPAQUE = 1e-3  # transmittance at which a ray is left
_AT_ONCE = 8  # samples of a ray that are decoded together
_GROUP = 4  # samples of a ray that are looked for together
_CPU_RAYS, _GPU_RAYS = 1 << 14, 1 << 17  # rays that are followed together


def render_views(*which, **how) -> Tensor:
    """The pictures of `each_view`, which takes the same, all at once: [n_views, height, width, 3]."""
    return torch.stack(list(each_view(*which, **how)))


def each_view(
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
) -> Iterator[Tensor]:
    """Render `field` from `n_views` cameras on a circle, the first at azimuth 0 (see `cameras.get_spherical_cameras`).

    One at a time, for many large ones are more than memory holds.

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

    Yields:
        Pictures [height, width, 3], sRGB in [0, 1], on white, on the field's device.
    """
    scene = None if dense else _Scene(field, occupancy or Occupancy(field))
    at_once = _CPU_RAYS if field.device.type == "cpu" else _GPU_RAYS
    for number in range(n_views):
        view = torch.empty(height * width, 3, device=field.device)
        camera = Camera(elevation_deg, 360 * number / n_views, camera_distance, fovy_deg)
        rays = (part.reshape(-1, 3).to(field.device).split(at_once) for part in camera.rays(height, width))
        with torch.no_grad():
            for colors, *some in zip(view.split(at_once), *rays, strict=True):
                colors.copy_(field.render_dense(*some) if scene is None else scene.render(*some))
        if progress is not None:
            progress((number + 1) / n_views)
        yield view.view(height, width, 3).clamp_(0, 1)


class _Scene:
    """A field with what is known of its cells [G − 1]³.

    Attributes:
        occupied: which cells may hold matter.
        near: those, and as many cells round them as a sample may lie from the middle of its group.
        reach: that many.
        hazy: the density, as interpolated, up to which a sample in a cell need not be decoded.
    """

    def __init__(self, field: Field, occupancy: Occupancy) -> None:
        self.field, self.occupancy = field, occupancy
        self.samples = field.renderer.cfg.num_samples_per_ray
        self.occupied = occupancy.above(_EMPTY)
        self.hazy = _HAZE * (-occupancy.rise).exp()
        longest = 2 * 3**0.5 * field.radius / self.samples  # step of a ray
        self.reach = int(longest * (_GROUP - 1) / 2 / occupancy.cell) + 1
        near = self.occupied[None, None].float()
        for axis in range(3):
            size, rim = [1, 1, 1], [0, 0, 0]
            size[axis], rim[axis] = 2 * self.reach + 1, self.reach
            near = F.max_pool3d(near, size, 1, rim)
        self.near = near[0, 0] > 0

    def render(self, origins: Tensor, directions: Tensor) -> Tensor:
        """The colours [N, 3] of rays [N, 3], on white."""
        ray, depth, cell = self._samples(origins, directions)
        points = origins[ray] + depth[:, None] * directions[ray]
        density, color = self.occupancy.interpolate(points)
        density = density[:, 0]
        decoded = density > self.hazy.view(-1)[cell]

        counts = torch.bincount(ray, minlength=len(origins))
        first = counts.cumsum(0) - counts  # of the samples of each ray
        through = torch.ones(len(origins), device=origins.device)  # transmittance so far
        colors = torch.zeros_like(origins)
        ahead = torch.arange(_AT_ONCE, device=origins.device)
        going = counts.nonzero()[:, 0]
        while len(going):
            # The next samples of each ray are decoded together; then the rays that are done are dropped.
            exists = ahead < counts[going, None]
            sample = (first[going, None] + ahead).where(exists, 0)  # [rays, _AT_ONCE]
            asked = sample[exists & decoded[sample]]
            density_there, color[asked] = self.field.query(points[asked])
            density[asked] = density_there[:, 0]
            alpha = (1 - torch.exp(density[sample] / -self.samples)) * exists
            left = through[going, None] * torch.cumprod(1 - alpha, dim=1)
            alpha[:, 0] *= through[going]
            alpha[:, 1:] *= left[:, :-1]
            colors[going] += torch.einsum("rs,rsc->rc", alpha, color[sample])
            through[going] = left[:, -1]
            ahead += _AT_ONCE
            going = going[(left[:, -1] > _OPAQUE) & (counts[going] > ahead[0])]
        opaque = through <= _OPAQUE
        colors[opaque] /= 1 - through[opaque, None]
        through[opaque] = 0.0
        return colors + through[:, None]

    def _samples(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The samples of rays [N, 3] that lie in occupied cells, ray by ray and front to back.

        Returns:
            For each its ray, its depth along it, and the number of its cell, all [samples].
        """
        near, far, hits = rays_intersect_bbox(origins, directions, self.field.radius)
        rays = hits.nonzero()[:, 0]
        step = (far - near) / self.samples  # [N, 1]; sample i lies in the middle of step i
        start = near + step / 2
        # First the middles of groups of samples, then the samples of those groups near which something is.
        groups = torch.arange(0, self.samples, _GROUP, device=rays.device)
        middles = start[rays] + step[rays] * (groups + (_GROUP - 1) / 2)
        row, group = self.near.view(-1)[self._cells(origins[rays], directions[rays], middles)].nonzero().unbind(dim=1)
        rays, numbers = rays[row], groups[group, None] + torch.arange(_GROUP, device=rays.device)
        depths = start[rays] + step[rays] * numbers  # [groups, _GROUP]
        cells = self._cells(origins[rays], directions[rays], depths)
        kept = (self.occupied.view(-1)[cells] & (numbers < self.samples)).view(-1).nonzero()[:, 0]
        return rays[kept // _GROUP], depths.view(-1)[kept], cells.view(-1)[kept]

    def _cells(self, origins: Tensor, directions: Tensor, depths: Tensor) -> Tensor:
        """The numbers of the cells that hold the points of rays [N, 3] at depths [N, samples]: [N, samples]."""
        place = None
        for axis in range(3):
            cell = self.occupancy.cell_of(torch.addcmul(origins[:, axis, None], depths, directions[:, axis, None]))
            place = cell if place is None else place.mul_(self.near.shape[axis]).add_(cell)
        return place
