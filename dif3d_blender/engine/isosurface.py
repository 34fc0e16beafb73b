"""A field to a triangle mesh: the surface where its density is a given threshold.

The fast path looks at the blocks of the lattice that the surface passes through. It starts where the `Occupancy` says
that there may be a surface, and follows it: as long as a block's outer samples disagree with what is assumed of its
neighbour, the neighbour is looked at too. So every surface that is found is whole. The dense path samples the whole
lattice and hands it to the marching-cubes library; both give the same mesh, because the fast path marches by that
library's own cases.

Where the surface crosses the edge between two samples is found from the logarithms of their densities. In the
published models density is the exponential of what the network says, and along an edge it is the exponent that runs
straight: from the densities themselves, which differ by powers of ten, the surface comes to lie at the emptier sample
of nearly every edge, and the mesh has the lattice's terraces. The original does that, so `as_original` does too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import DIF3DError
from .field import Field
from .memory import free_bytes, in_gigabytes
from .occupancy import Occupancy

try:
    import mcubes
except ImportError:  # PyMCubes has no wheel for Python 3.13 and newer
    mcubes = None

_BLOCK = 4  # samples along each side of a block
_CORNERS = list(itertools.product((0, 1), repeat=3))  # of a cell; corner i is bit i of the cell's case
_NEIGHBOURS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
_BOXES = 1 << 15  # blocks that are judged together
_LEAST = 1e-30  # of the threshold: what is emptier counts as this, and what is as much denser as its inverse
_RIM = 0.01  # of a cell: how far outside the box the closing layer of samples lies


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in the field frame.

    Attributes:
        vertices: [n, 3] float32.
        faces: [m, 3] int32, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def normals(self) -> np.ndarray:
        """Unit normals at the vertices [n, 3] float32: those of the faces round each, weighted by area."""
        corners = self.vertices[self.faces].astype(np.float64)
        weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.stack(
            [
                np.bincount(self.faces.ravel(), np.repeat(weighted[:, axis], 3), minlength=len(self.vertices))
                for axis in range(3)
            ],
            axis=1,
        )
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-30)).astype(np.float32)


def extract_surface(
    field: Field,
    resolution: int = 256,
    threshold: float = 25.0,
    as_original: bool = False,
    occupancy: Occupancy | None = None,
    dense: bool = False,
) -> Surface:
    """Extract the surface of `field` where its density is `threshold`.

    It is closed where the object meets the box, as if there were nothing outside.

    Args:
        field: what to extract.
        resolution: samples along each axis of the box.
        threshold: density at the surface.
        as_original: extract what the original program would: open at the box, and with densities interpolated
            linearly.
        occupancy: the field's occupancy where it is known already.
        dense: sample the whole lattice: the slow reference.

    Raises:
        DIF3DError: no surface at that threshold, or a resolution that does not fit in memory.
    """
    if resolution < 2:
        raise DIF3DError(f"The resolution must be 2 or more, not {resolution}.")
    if not threshold > 0:
        raise DIF3DError(f"The threshold must be a density above 0, not {threshold:g}.")
    lines = torch.linspace(-field.radius, field.radius, resolution)
    if not as_original:
        rim = field.radius + _RIM * 2 * field.radius / (resolution - 1)
        lines = torch.cat([torch.tensor([-rim]), lines, torch.tensor([rim])])
    lines = lines.to(field.device)
    if dense:
        return _extract_dense(field, lines, threshold, as_original)
    occupancy = occupancy or Occupancy(field)
    blocks = _Blocks(field, lines, threshold, as_original, occupancy)
    vertices, faces = _march_blocks(blocks)
    if not len(faces):
        raise DIF3DError(_no_surface(threshold, occupancy.density))
    return Surface(vertices, faces)


def _heights(density: Tensor, threshold: float, as_original: bool) -> Tensor:
    """What is interpolated between samples of `density`: above 0 inside, 0 at the surface."""
    return density - threshold if as_original else (density / threshold).clamp(_LEAST, 1 / _LEAST).log()


def _no_surface(threshold: float, density: Tensor) -> str:
    """What to say where there is no surface, with a threshold to try: the geometric middle of the density's range."""
    low, high = density.min().item(), density.max().item()
    advice = "The model sees the same everywhere; try another picture or cut the subject out better."
    if low < threshold < high:
        advice = "What is denser is finer than the mesh's samples lie apart: choose a higher resolution."
    elif high > 1.5 * low > 0:
        advice = f"Try a threshold of {float(f'{(low * high) ** 0.5:.2g}'):g}."
    return f"There is no surface at density {threshold:g}: the density ranges from {low:.3g} to {high:.3g}. {advice}"


def _check_memory(needed: float, lines: Tensor, device: torch.device | str) -> None:
    free = free_bytes(device)
    if needed > free:
        raise DIF3DError(
            f"A mesh of {len(lines)} samples along each axis would take about {in_gigabytes(needed)} of memory, and "
            f"{in_gigabytes(free)} are free. Choose a lower resolution."
        )


# The dense path.


def _extract_dense(field: Field, lines: Tensor, threshold: float, as_original: bool) -> Surface:
    count = len(lines)
    _check_memory(count**3 * 16.0, lines, "cpu")  # the samples, and the library's own copy in double precision
    density = np.empty((count, count, count), dtype=np.float32)
    for index in range(count):
        samples, _ = field.lattice(lines[None, index, None], lines[None], lines[None])
        density[index] = samples[0, 0].cpu().numpy()
    if not as_original:
        for axis in range(3):
            np.moveaxis(density, axis, 0)[[0, -1]] = 0.0
    vertices, faces = march(_heights(torch.from_numpy(density), threshold, as_original).numpy(), 0.0)
    if not len(faces):
        within = slice(None) if as_original else slice(1, -1)
        raise DIF3DError(_no_surface(threshold, torch.from_numpy(density[within, within, within])))
    below = np.floor(vertices).clip(0, count - 2).astype(int)
    at = lines.cpu().numpy()
    return Surface((at[below] + (vertices - below) * (at[below + 1] - at[below])).astype(np.float32), faces)


def march(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes (Lorensen and Cline 1987) by PyMCubes, or by scikit-image where that has no wheel.

    Args:
        values: samples [nx, ny, nz] float32.
        level: value at the surface.

    Returns:
        Vertices [n, 3] float32 in units of samples, and faces [m, 3] int32, counter-clockwise seen from lower values.
    """
    if not values.min() <= level < values.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    if mcubes is not None:
        vertices, faces = mcubes.marching_cubes(values, level)
    else:
        from skimage.measure import marching_cubes

        # Negated, scikit-image joins and parts the ambiguous faces of a cell as PyMCubes does.
        vertices, faces, _, _ = marching_cubes(-values, -level, method="lorensen", gradient_direction="descent")
    return vertices.astype(np.float32), faces.astype(np.int32)


# The fast path.


class _Blocks:
    """The samples of those blocks of the lattice that the surface passes through.

    Attributes:
        field: what is sampled.
        lines: the lattice's coordinates, [N].
        index: the row of each block in `heights`, −1 where it was not looked at, [B, B, B].
        assumed: for a block that was not looked at, whether it lies inside, [B, B, B].
        where: the blocks that were looked at, [n, 3].
        heights: their samples (`_heights`), [n, 4, 4, 4].
    """

    def __init__(self, field: Field, lines: Tensor, threshold: float, as_original: bool, occupancy: Occupancy) -> None:
        self.field, self.lines = field, lines
        self._threshold, self._as_original = threshold, as_original
        count = -(-len(lines) // _BLOCK)
        of_maps = count**3 * 13.0  # bytes: which blocks are wanted, assumed, known
        _check_memory(of_maps, lines, field.device)
        # Samples past the end repeat the last one, which leaves all signs as they are; their cells are left out later.
        spread = torch.arange(count * _BLOCK, device=lines.device).clamp_max(len(lines) - 1)
        self._at = lines[spread].view(count, _BLOCK)
        self._on_rim = torch.zeros(count * _BLOCK, dtype=torch.bool, device=lines.device)
        if not as_original:
            self._on_rim = (spread == 0) | (spread == len(lines) - 1)
        self._on_rim = self._on_rim.view(count, _BLOCK)
        seeds, self.assumed = self._seed(occupancy)
        of_marching = len(seeds) * _BLOCK**3 * 40.0  # bytes: samples, corners, cases, edges
        _check_memory(of_maps + of_marching, lines, field.device)
        self.index = torch.full((count,) * 3, -1, dtype=torch.int32, device=lines.device)
        self.where = seeds.new_zeros(0, 3)
        self.heights = torch.zeros(0, _BLOCK, _BLOCK, _BLOCK, device=lines.device)
        while len(seeds):
            seeds = self._add(seeds)

    def _seed(self, occupancy: Occupancy) -> tuple[Tensor, Tensor]:
        """The blocks [n, 3] that a cell which may be crossed reaches into, and for all blocks if they start inside."""
        after = torch.cat([self._at[1:, 0], self._at[-1:, -1]])  # the first sample after each block
        first, last = occupancy.cell_of(self._at[:, 0]), occupancy.cell_of(after)
        crossed = _any_between(occupancy.crossed(self._threshold), first, last)
        inside = occupancy.density > self._threshold
        inside = inside[first][:, first][:, :, first]
        # Of the blocks in cells that may be crossed, those remain that may be crossed themselves.
        seeds = crossed.nonzero()
        if len(seeds):
            parts = [occupancy.sides(self._at[some, 0], after[some], self._threshold) for some in seeds.split(_BOXES)]
            sides = torch.cat(parts)
            x, y, z = seeds[sides != 0].unbind(dim=1)
            crossed[x, y, z], inside[x, y, z] = False, sides[sides != 0] > 0
        if not self._as_original:  # a block on the rim that lies inside is crossed by the closing layer
            on_rim = self._on_rim.any(dim=1)
            crossed |= inside & (on_rim[:, None, None] | on_rim[:, None] | on_rim)
        return crossed.nonzero(), inside

    def _add(self, where: Tensor) -> Tensor:
        """Sample blocks [n, 3]; return the blocks that the surface goes on into."""
        x, y, z = where.unbind(dim=1)
        density, _ = self.field.lattice(self._at[x], self._at[y], self._at[z])
        rim = self._on_rim
        outside = rim[x][:, :, None, None] | rim[y][:, None, :, None] | rim[z][:, None, None]
        heights = _heights(density.masked_fill_(outside, 0.0), self._threshold, self._as_original)
        self.index[x, y, z] = torch.arange(len(where), dtype=torch.int32, device=where.device) + len(self.where)
        self.where = torch.cat([self.where, where])
        self.heights = torch.cat([self.heights, heights])
        return self._wanting(where, heights > 0)

    def _wanting(self, where: Tensor, inside: Tensor) -> Tensor:
        """The neighbours [n, 3] of just sampled blocks whose assumed side the blocks' outer samples contradict."""
        count = len(self.index)
        wanted = []
        for step in _NEIGHBOURS:
            layer = inside
            for axis, side in enumerate(step, start=1):
                if side:
                    layer = layer.narrow(axis, 0 if side < 0 else _BLOCK - 1, 1)
            layer = layer.flatten(1)
            neighbour = where + torch.tensor(step, device=where.device)
            exists = ((neighbour >= 0) & (neighbour < count)).all(dim=1)
            x, y, z = neighbour.clamp(0, count - 1).unbind(dim=1)
            contradicted = torch.where(self.assumed[x, y, z], ~layer.all(dim=1), layer.any(dim=1))
            wanted.append(neighbour[exists & contradicted & (self.index[x, y, z] < 0)])
        return torch.unique(torch.cat(wanted), dim=0)

    def with_next_samples(self) -> Tensor:
        """The samples of each block and the first ones of the blocks after it, [n, 5, 5, 5].

        Where that block was not looked at, or there is none, they have the sign that is assumed of it.
        """
        size = _BLOCK + 1
        out = torch.empty(len(self.where), size, size, size, device=self.heights.device)
        padded = F.pad(self.index, (0, 1, 0, 1, 0, 1), value=-1)
        assumed = F.pad(self.assumed, (0, 1, 0, 1, 0, 1), value=False)
        for step in _CORNERS:
            neighbour = self.where + torch.tensor(step, device=self.where.device)
            x, y, z = neighbour.unbind(dim=1)
            row = padded[x, y, z].long()
            take = tuple(slice(0, 1) if side else slice(0, _BLOCK) for side in step)
            put = tuple(slice(_BLOCK, size) if side else slice(0, _BLOCK) for side in step)
            samples = self.heights[(row.clamp_min(0), *take)]
            unseen = torch.where(assumed[x, y, z], 1.0, -1.0)
            out[(slice(None), *put)] = torch.where(
                (row >= 0)[:, None, None, None], samples, unseen[:, None, None, None]
            )
        return out


def _any_between(cells: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Whether any of `cells` is set in the products of the ranges first[i]…last[i] along each axis, [B, B, B]."""
    # A sum over a box is a difference of running sums, an axis at a time.
    counts = cells.to(torch.int32)
    for axis in range(3):
        running = torch.cat([torch.zeros_like(counts.narrow(axis, 0, 1)), counts.cumsum(axis, dtype=torch.int32)], axis)
        counts = running.index_select(axis, last + 1) - running.index_select(axis, first)
    return counts > 0


def _march_blocks(blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """March through the cells of the blocks: vertices [n, 3] in the field frame and faces [m, 3]."""
    lines, samples = blocks.lines, blocks.with_next_samples()
    inside = samples > 0

    def corner(values: Tensor, step: tuple[int, int, int]) -> Tensor:
        for axis, side in enumerate(step, start=1):
            values = values.narrow(axis, side, _BLOCK)
        return values

    case = torch.zeros(len(samples), _BLOCK, _BLOCK, _BLOCK, dtype=torch.uint8, device=samples.device)
    for bit, step in enumerate(_CORNERS):
        case |= corner(inside, step).to(torch.uint8) << bit
    block, *place = ((case > 0) & (case < 255)).nonzero().unbind(dim=1)
    base = blocks.where[block] * _BLOCK + torch.stack(place, dim=1)  # [cells, 3], in samples of the lattice
    exists = (base < len(lines) - 1).all(dim=1)
    block, base = block[exists], base[exists]
    place = [axis[exists] for axis in place]

    triangles, edges = (table.to(samples.device) for table in _cases())
    corners = triangles[case[block, *place].long()]  # [cells, 15] edges of the cell, −1 where there are no more
    cell, slot = (corners >= 0).nonzero().unbind(dim=1)  # in order: three slots in a row are one triangle
    start, axis = edges[corners[cell, slot]].split([3, 1], dim=1)
    step = F.one_hot(axis[:, 0], 3)
    low = base[cell] + start  # the end of the edge with the lower number
    name = ((low[:, 0] * len(lines) + low[:, 1]) * len(lines) + low[:, 2]) * 3 + axis[:, 0]
    names, faces = torch.unique(name, return_inverse=True)
    one = torch.empty_like(names).scatter_(0, faces, torch.arange(len(faces), device=faces.device))  # any of them

    own = torch.stack(place, dim=1)[cell[one]] + start[one]
    value = samples[block[cell[one]], own[:, 0], own[:, 1], own[:, 2]]
    end = own + step[one]
    next_value = samples[block[cell[one]], end[:, 0], end[:, 1], end[:, 2]]
    share = value / (value - next_value)
    at, next_at = lines[low[one]], lines[(low + step)[one]]
    vertices = at + share[:, None] * (next_at - at)
    return vertices.cpu().numpy(), faces.view(-1, 3).cpu().numpy().astype(np.int32)


@cache
def _cases() -> tuple[Tensor, Tensor]:
    """The 256 cases of marching cubes, learned from the library by handing it each as a single cell.

    Returns:
        triangles [256, 15]: edges of the cell in threes, −1 past the end; and edges [12, 4]: each edge's start
        (a corner of the cell) and the axis it runs along.
    """
    edges = [(*corner, axis) for axis in range(3) for corner in _CORNERS if corner[axis] == 0]
    triangles = torch.full((256, 15), -1, dtype=torch.long)
    for case in range(1, 255):
        cell = np.array([case >> bit & 1 for bit in range(8)], dtype=np.float32).reshape(2, 2, 2)
        vertices, faces = march(cell, 0.5)
        middle = np.isclose(vertices, 0.5)  # each vertex lies halfway along one edge
        numbers = [
            edges.index((*np.where(half, 0, vertex).round().astype(int), int(half.argmax())))
            for vertex, half in zip(vertices, middle, strict=True)
        ]
        flat = torch.tensor(numbers)[torch.from_numpy(faces).long()].flatten()
        triangles[case, : len(flat)] = flat
    return triangles, torch.tensor(edges)
