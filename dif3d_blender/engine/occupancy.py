"""Where a field has matter: a coarse lattice of samples that extraction and rendering share.

The lattice runs through the texel centres of the planes. Between two of them every feature of the triplane is linear
along each axis, so the lattice sees all that the planes hold; only the decoder can bend the density in between. Where
it might is judged by how much it bends there: between two points it is taken to exceed both by at most half its second
difference, which is exact for a tent between them.

What can be missed: a piece of matter (or a hollow) that lies wholly between lattice points, so that it is smaller than
a texel (2·radius / plane size) along every axis or a sheet thinner than one, and does not show in the slope of the
density beside it either. Anything that reaches a lattice point is found, and a surface that is found anywhere is
followed to its end (`isosurface`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .field import Field

_FEWEST_CELLS = 48  # along each axis: planes with fewer texels are subdivided


class Occupancy:
    """Densities on a coarse lattice over the box of a field.

    Attributes:
        lines: the lattice's coordinates along each axis, [G], from −radius to radius.
        density: density at the lattice points, [G, G, G].
        cell: the width of a cell; the first and the last along each axis may be of another.
        rise: how far the log density in each cell may bend past what is interpolated there, [G − 1, G − 1, G − 1].
    """

    def __init__(self, field: Field) -> None:
        texels, radius = field.plane_size, field.radius
        self._steps = texels * max(1, -(-_FEWEST_CELLS // texels))  # lattice cells that the box would hold
        parts = self._steps // texels
        inner = (torch.arange((texels - 1) * parts + 1, dtype=torch.float32) / parts + 0.5) * (2 / texels) - 1
        lines = torch.cat([torch.tensor([-1.0]), inner, torch.tensor([1.0])]) * radius
        self.lines = lines.to(field.device)
        self._first = self.lines[1].item()
        self.cell = 2 * radius / self._steps
        self._rim = parts / 2  # how wide the first and the last cell are, in cells
        whole = self.lines.expand(len(lines), -1)
        density, color = (samples[:, 0] for samples in field.lattice(self.lines[:, None], whole, whole))
        self.density = density
        log = density.clamp(1e-12, 1e12).log()
        self._samples = torch.cat([log[..., None], color], dim=-1).permute(3, 2, 1, 0)[None]  # [1, 4, z, y, x]
        # How far it may bend up and down in each cell, and its bounds with that.
        self.rise = self._dip = torch.zeros_like(log[1:, 1:, 1:])
        for axis in range(3):
            bend = F.pad(log.movedim(axis, 2).diff(n=2), (1, 1)).movedim(2, axis) / 2
            self.rise = self.rise + _of_corners((-bend).clamp_min(0))
            self._dip = self._dip + _of_corners(bend.clamp_min(0))
        self._high, self._low = _of_corners(log) + self.rise, -_of_corners(-log) - self._dip

    def crossed(self, threshold: float) -> Tensor:
        """Which cells [G − 1]³ the surface at density `threshold` may cross."""
        level = math.log(threshold)
        return (self._high >= level) & (self._low <= level)

    def sides(self, low: Tensor, high: Tensor, threshold: float) -> Tensor:
        """Where boxes lie: 1 inside the surface at density `threshold`, −1 outside, 0 where it may cross them.

        Args:
            low: the boxes' lower corners, [N, 3].
            high: their upper corners, [N, 3].
            threshold: density at the surface.

        Returns:
            Sides [N], int8.
        """
        level = math.log(threshold)
        first, last = self.cell_of(low), self.cell_of(high)
        # Between the lattice points the interpolated log density is linear along each axis, so its extremes in a box
        # are at the box's corners and where the lattice's planes cut its edges. Boxes with two cuts are not looked at.
        cut = torch.where(first < last, self.lines[last], low)
        corners = torch.stack([low, cut, high], dim=1)  # [N, 3, 3]
        which = torch.cartesian_prod(*[torch.arange(3, device=low.device)] * 3)  # [27, 3]
        points = torch.stack([corners[:, which[:, axis], axis] for axis in range(3)], dim=-1)
        log = self.interpolate(points.view(-1, 3))[0].log().view(-1, len(which))
        cells = torch.stack([first, last], dim=1)  # [N, 2, 3]
        pairs = torch.cartesian_prod(*[torch.arange(2, device=low.device)] * 3)  # [8, 3]
        ends = tuple(cells[:, pairs[:, axis], axis] for axis in range(3))  # the cells that a box may touch, [N, 8] each
        highest = log.amax(dim=1) + self.rise[ends].amax(dim=1)
        lowest = log.amin(dim=1) - self._dip[ends].amax(dim=1)
        side = (lowest > level).to(torch.int8) - (highest < level).to(torch.int8)
        return side.masked_fill_((last - first > 1).any(dim=1), 0)

    def above(self, density: float) -> Tensor:
        """Which cells [G − 1]³ may hold more than `density`."""
        return self._high > math.log(density)

    def interpolate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N, 1] and colour [N, 3] at points [N, 3] between the lattice's own, without asking the field."""
        # Positions counted in lattice points. The first and the last cell are of another width than those between.
        last = len(self.lines) - 1
        even = points / self.cell + (1 - self._first / self.cell)
        inner = even.clamp(1, last - 1)
        spots = ((even - inner) / self._rim + inner).clamp_(0, last) * (2 / last) - 1
        # As a batch of volumes that are all the same one: that is what `grid_sample` shares among threads.
        batch = torch.get_num_threads() if points.device.type == "cpu" else 1
        spots = F.pad(spots, (0, 0, 0, -len(points) % batch)).view(batch, 1, 1, -1, 3)
        samples = F.grid_sample(self._samples.expand(batch, -1, -1, -1, -1), spots, align_corners=True)
        samples = samples[:, :, 0, 0].movedim(1, 2).flatten(0, 1)[: len(points)]
        return samples[:, :1].exp(), samples[:, 1:]

    def lookup(self, cells: Tensor, points: Tensor) -> Tensor:
        """The values of `cells` [G − 1]³ (bool) that hold points [..., 3]."""
        index = (points - self._first) / self.cell + 0.5  # `cell_of`, before its floor, shifted to the cells' middles
        spot = (index * (2 / (len(self.lines) - 2)) - 1).reshape(1, 1, 1, -1, 3)
        volume = cells.permute(2, 1, 0)[None, None].to(points.dtype)
        held = F.grid_sample(volume, spot, mode="nearest", padding_mode="border", align_corners=True)
        return (held > 0.5).view(points.shape[:-1])

    def cell_of(self, coordinate: Tensor) -> Tensor:
        """The number of the cell along one axis that holds each coordinate; the last ones reach out of the box."""
        shift = 1 - self._first / self.cell
        return (coordinate * (1 / self.cell)).add_(shift).clamp_(0, len(self.lines) - 2).int()


def _of_corners(values: Tensor) -> Tensor:
    """The largest of `values` [G, G, G] at the corners of each cell, [G − 1, G − 1, G − 1]."""
    for axis in range(3):
        cells = values.shape[axis] - 1
        values = torch.maximum(values.narrow(axis, 0, cells), values.narrow(axis, 1, cells))
    return values
