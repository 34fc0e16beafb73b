"""A field: a scene code with the decoder that reads it, as density and colour at any point.

Two forms of the same function. The dense form asks the network's own renderer, sample by sample. The fast form uses
that bilinear interpolation and the decoder's first linear layer commute: each plane is projected once through its third
of that layer, so that a point costs twelve weighted rows of a small table and the remaining layers. It is exact up to
rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .memory import free_bytes, is_out_of_memory
from .products import Linear, run_layers

if TYPE_CHECKING:  # the network's modules import this one
    from .tsr.decoder import NeRFMLP
    from .tsr.renderer import TriplaneNeRFRenderer

# The two coordinates that each plane is looked up with, as the published network lays them out: xy, xz, yz.
PLANE_AXES = ((0, 1), (0, 2), (1, 2))
_CPU_CHUNK = 8192  # rows that stay in a core's cache through all layers; more is slower, not faster
_SMALLEST_CHUNK = 256
_DENSEST = 1e30

Correction = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Points [N, 3] of the field frame, density [N] and colour [N, 3] there, to better density and colour."""


class Field:
    """Density and colour at points of the field frame.

    Args:
        triplane: the scene code [3, C, S, S]: planes xy, xz and yz.
        decoder: the model's decoder.
        renderer: the model's renderer, which knows the box and the activations.
        chunk_size: points a decoder call; 0 chooses it from the device and its free memory.
        dense: use the slow reference form.

    Attributes:
        queries: how many points were decoded so far.
        warnings: what the user should know, such as memory that ran out.
        corrections: what is known besides the triplane (`corrected`).
    """

    def __init__(
        self,
        triplane: Tensor,
        decoder: NeRFMLP,
        renderer: TriplaneNeRFRenderer,
        chunk_size: int = 0,
        dense: bool = False,
    ) -> None:
        self.triplane = triplane.float()
        self.decoder = decoder
        self.renderer = renderer
        self.dense = dense
        self.queries = 0
        self.warnings: list[str] = []
        self.corrections: tuple[Correction, ...] = ()
        first, *self._rest = (module for module in decoder.layers)
        self._table, self._bias = self._project(first)
        self.chunk_size = chunk_size or self._choose_chunk()

    @property
    def device(self) -> torch.device:
        return self.triplane.device

    @property
    def radius(self) -> float:
        """Half the side of the box round the origin that holds the object."""
        return self.renderer.cfg.radius

    @property
    def plane_size(self) -> int:
        """Texels along each side of a plane."""
        return self.triplane.shape[-1]

    def corrected(self, correction: Correction) -> Field:
        """The same field with its density and colour corrected by what the picture tells besides.

        Both share one list of warnings, so that the report of the last one has them all.
        """
        other = copy.copy(self)
        other.corrections = (*self.corrections, correction)
        return other

    def query(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [..., 1] (≥ 0) and colour [..., 3] (sRGB in [0, 1]) at points [..., 3]."""

        def decode(chunk: Tensor) -> Tensor:
            raw = self._decode_dense(chunk) if self.dense else self._decode(self._features(chunk))
            density, color = self._correct(chunk, *self._activate(raw))
            return torch.cat([density[:, None], color], dim=1)

        out = self._in_chunks(decode, points.reshape(-1, 3), 4)
        return out[:, :1].view(*points.shape[:-1], 1), out[:, 1:].view(points.shape)

    def density(self, points: Tensor) -> Tensor:
        """Density [..., 1] (≥ 0) at points [..., 3]."""
        return self.query(points)[0]

    def color(self, points: Tensor) -> Tensor:
        """Colour [..., 3] (sRGB in [0, 1]) at points [..., 3]."""
        return self.query(points)[1]

    def lattice(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Density and colour on B small lattices.

        Args:
            x: coordinates of the samples along x, [B, nx].
            y: coordinates along y, [B, ny].
            z: coordinates along z, [B, nz].

        Returns:
            Density [B, nx, ny, nz], and colour [B, nx, ny, nz, 3].
        """
        lattices, sizes = len(x), (x.shape[1], y.shape[1], z.shape[1])
        if self.dense:
            density, color = self.query(_lattice_points(x, y, z))
            return density[..., 0], color
        coordinates = torch.cat([x, y, z], dim=1)
        per_lattice = sizes[0] * sizes[1] * sizes[2]

        def decode(chunk: Tensor) -> Tensor:
            lines = chunk.split(sizes, dim=1)
            # Each plane is interpolated on its own 2-D lattice; the 3-D lattice only adds what it finds there.
            xy, xz, yz = (self._interpolate(plane, lines[u], lines[v]) for plane, (u, v) in enumerate(PLANE_AXES))
            hidden = xy[:, :, :, None] + xz[:, :, None] + yz[:, None] + self._bias
            raw = self._decode(hidden.flatten(0, 3))
            density, color = self._activate(raw)
            if self.corrections:
                density, color = self._correct(_lattice_points(*lines).view(-1, 3), density, color)
            return torch.cat([density[:, None], color], dim=1).view(len(chunk), -1)

        out = self._in_chunks(decode, coordinates, 4 * per_lattice, rows_per_item=per_lattice).view(lattices, *sizes, 4)
        return out[..., 0], out[..., 1:]

    def render_dense(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Render rays [N, 3] by the network's own renderer, every sample of every ray: colours [N, 3], sRGB."""
        samples = self.renderer.cfg.num_samples_per_ray
        rays = torch.cat([origins, directions], dim=1)

        def render(chunk: Tensor) -> Tensor:
            return self.renderer(self.decoder, self.triplane, chunk[:, :3], chunk[:, 3:], self._correct)

        return self._in_chunks(render, rays, 3, rows_per_item=samples)

    def _activate(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and colour [N, 3] from what the decoder gives [N, 4]."""
        density = self.renderer.density_activation(raw[:, 0] + self.renderer.cfg.density_bias)
        # Finite, so that a surface beside very dense matter can still be interpolated.
        return density.clamp_max_(_DENSEST), self.renderer.color_activation(raw[:, 1:])

    def _correct(self, points: Tensor, density: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and colour [N, 3] at points [N, 3] with all corrections."""
        for correction in self.corrections:
            density, color = correction(points, density, color)
        return density, color

    @torch.no_grad()
    def _project(self, first: Linear) -> tuple[Tensor, Tensor]:
        """Each texel's share of the first layer's output, [3·(S + 2)², neurons], and that layer's bias [neurons].

        Zeros surround each plane: beyond the outer texels' centres it fades to nothing.
        """
        planes, channels = self.triplane.shape[:2]
        weight = first.weight.float()
        if self.renderer.cfg.feature_reduction == "mean":
            weight = (weight / planes).repeat(1, planes)
        weight = weight.unflatten(1, (planes, channels))  # [neurons, 3, C]
        table = torch.einsum("pchw,npc->phwn", F.pad(self.triplane, (1, 1, 1, 1)), weight)
        bias = first.bias.float() if first.bias is not None else table.new_zeros(table.shape[-1])
        return table.flatten(0, 2).contiguous(), bias

    def _choose_chunk(self) -> int:
        if self.device.type == "cpu":
            return _CPU_CHUNK
        a_point = 64 * max(self._table.shape[1], 64)  # bytes: weights and indices, and activations that live together
        return max(_CPU_CHUNK, min(1 << 20, free_bytes(self.device) // (4 * a_point)))

    def _in_chunks(self, decode, items: Tensor, columns: int, rows_per_item: int = 1) -> Tensor:
        """Decode `items` into one tensor [items, columns], `chunk_size` points at a time; fewer where memory ends."""
        out = torch.empty(len(items), columns, device=self.device)
        start = 0
        while start < len(items):
            step = max(1, self.chunk_size // rows_per_item)
            chunk = items[start : start + step].to(self.device)
            try:
                with torch.no_grad():
                    out[start : start + step] = decode(chunk)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.chunk_size <= _SMALLEST_CHUNK:
                    raise
                smaller = max(_SMALLEST_CHUNK, self.chunk_size // 4)
                self.warnings.append(f"Memory ran out at {self.chunk_size:,} points a call; went on with {smaller:,}.")
                self.chunk_size = smaller
                continue
            start += step
        self.queries += len(items) * rows_per_item
        return out

    def _decode_dense(self, points: Tensor) -> Tensor:
        out = self.renderer.query_triplane(self.decoder, points, self.triplane)
        return torch.cat([out["density"], out["features"]], dim=-1)

    def _decode(self, hidden: Tensor) -> Tensor:
        """The rest of the decoder, from its first layer's output [N, neurons] to raw density and colour [N, 4]."""
        return run_layers(self._rest, hidden)

    def _features(self, points: Tensor) -> Tensor:
        """The first layer's output at points [N, 3]: [N, neurons]."""
        texel, share = self._texels(points)
        u, v = ([axes[side] for axes in PLANE_AXES] for side in (0, 1))
        index, weight = self._taps(texel[:, u], texel[:, v], share[:, u], share[:, v])  # [N, 3, 4]
        index += torch.arange(3, device=index.device, dtype=index.dtype)[:, None] * (len(self._table) // 3)
        return self._weighted_rows(index.flatten(1), weight.flatten(1)) + self._bias

    def _interpolate(self, plane: int, u: Tensor, v: Tensor) -> Tensor:
        """One plane's share of the first layer's output on B lattices [B, nu] × [B, nv]: [B, nu, nv, neurons]."""
        (column, column_share), (row, row_share) = self._texels(u), self._texels(v)
        column, row, column_share, row_share = torch.broadcast_tensors(
            column[:, :, None], row[:, None], column_share[:, :, None], row_share[:, None]
        )
        index, weight = self._taps(column, row, column_share, row_share)  # [B, nu, nv, 4]
        index += plane * (len(self._table) // 3)
        return self._weighted_rows(index.flatten(0, 2), weight.flatten(0, 2)).view(*column.shape, -1)

    def _texels(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """The texel at or before each coordinate [...], counted from the zeros round the plane, and how far past it."""
        texel = position * (0.5 * self.plane_size / self.radius) + (0.5 * self.plane_size + 0.5)
        below = texel.floor().clamp_(0, self.plane_size)
        return below.int(), texel - below

    def _taps(self, column: Tensor, row: Tensor, column_share: Tensor, row_share: Tensor) -> tuple[Tensor, Tensor]:
        """The four texels round each position [...] of a plane: rows of the table and their weights, both [..., 4].

        As `grid_sample` has it without aligned corners: texel centres lie half a texel inside. A plane's first
        coordinate runs along its columns and the second along its rows.
        """
        width = self.plane_size + 2
        first = row * width + column
        index = torch.stack([first, first + 1, first + width, first + width + 1], dim=-1)
        one = row_share * column_share
        weight = torch.stack([1 - row_share - column_share + one, column_share - one, row_share - one, one], dim=-1)
        return index, weight

    def _weighted_rows(self, index: Tensor, weight: Tensor) -> Tensor:
        """The sum of rows of the table, [N, taps] with weights [N, taps]: [N, neurons]."""
        return F.embedding_bag(index, self._table, per_sample_weights=weight, mode="sum")


def _lattice_points(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """The points of B lattices with coordinates [B, nx], [B, ny], [B, nz]: [B, nx, ny, nz, 3]."""
    return torch.stack(torch.broadcast_tensors(x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]), dim=-1)
