"""Where a field has matter: a coarse lattice of densities that extraction and rendering share.

The lattice runs through the texel centres of the planes. Between two of them every feature of the triplane is linear
along each axis, so the lattice sees all that the planes hold; only the decoder can bend the density in between. Where it
might is judged by how much the density changes nearby.

What can be missed: a piece of matter (or a hollow) that lies wholly between lattice points, so that it is smaller than a
texel (2·radius / plane size) along every axis or a sheet thinner than one, and does not show in the slope of the density
around it either. Anything that reaches a lattice point is found, and a surface that is found anywhere is followed to
its end (`isosurface`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .field import Field

_FEWEST_CELLS = 48  # along each axis: planes with fewer texels are subdivided
# How far the log density in a cell may go past that at its corners, as a share of how much it changes between corners:
_SURFACE_MARGIN = 0.5  # of the cell or one beside it, where a surface must not be missed
_MATTER_MARGIN = 0.25  # of the cell itself, where it is about light


class Occupancy:
    """Densities on a coarse lattice over the box of a field.

    Attributes:
        lines: the lattice's coordinates along each axis, [G], from −radius to radius.
        density: density at the lattice points, [G, G, G].
    """

    def __init__(self, field: Field) -> None:
        texels, radius = field.plane_size, field.radius
        self._steps = texels * max(1, -(-_FEWEST_CELLS // texels))  # lattice cells that the box would hold
        parts = self._steps // texels
        inner = (torch.arange((texels - 1) * parts + 1, dtype=torch.float32) / parts + 0.5) * (2 / texels) - 1
        lines = torch.cat([torch.tensor([-1.0]), inner, torch.tensor([1.0])]) * radius
        self.lines = lines.to(field.device)
        self._first = self.lines[1].item()
        self._cell = 2 * radius / self._steps
        whole = self.lines.expand(len(lines), -1)
        self.density = field.lattice_density(self.lines[:, None], whole, whole)[:, 0]
        log = self.density.clamp_min(1e-12).log()[None, None]
        self._high, self._low = F.max_pool3d(log, 2, 1)[0, 0], -F.max_pool3d(-log, 2, 1)[0, 0]  # of a cell's corners

    def crossed(self, threshold: float) -> Tensor:
        """Which cells [G − 1]³ the surface at density `threshold` may cross."""
        level = math.log(threshold)
        margin = _SURFACE_MARGIN * F.max_pool3d((self._high - self._low)[None], 3, 1, 1)[0]
        return (self._high + margin >= level) & (self._low - margin <= level)

    def above(self, density: float) -> Tensor:
        """Which cells [G − 1]³ may hold more than `density`."""
        return self._high + _MATTER_MARGIN * (self._high - self._low) > math.log(density)

    def cell_of(self, coordinate: Tensor) -> Tensor:
        """The number of the cell along one axis that holds each coordinate; the last ones reach out of the box."""
        cell = ((coordinate - self._first) / self._cell).floor().long() + 1
        return cell.clamp_(0, len(self.lines) - 2)
