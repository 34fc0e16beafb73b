"""A field: a scene code with the decoder that reads it, as density and colour at any point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .tsr.renderer import TriplaneNeRFRenderer
from .utils import chunk_batch


class Field:
    """Density and colour at points of the field frame.

    Args:
        triplane: the scene code [3, C, H, W]: planes xy, xz and yz.
        decoder: the model's decoder.
        renderer: the model's renderer, which knows the box and the activations.
        chunk_size: points a decoder call.
    """

    def __init__(
        self, triplane: Tensor, decoder: nn.Module, renderer: TriplaneNeRFRenderer, chunk_size: int = 8192
    ) -> None:
        self.triplane = triplane
        self.decoder = decoder
        self.renderer = renderer
        self.chunk_size = chunk_size

    @property
    def device(self) -> torch.device:
        return self.triplane.device

    @property
    def radius(self) -> float:
        """Half the side of the box round the origin that holds the object."""
        return self.renderer.cfg.radius

    @torch.no_grad()
    def query(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density [..., 1] (≥ 0) and colour [..., 3] (sRGB in [0, 1]) at points [..., 3]."""

        def decode(chunk: Tensor) -> tuple[Tensor, Tensor]:
            out = self.renderer.query_triplane(self.decoder, chunk.to(self.device), self.triplane)
            return out["density_act"], out["color"]

        density, color = chunk_batch(decode, self.chunk_size, points.reshape(-1, 3))
        return density.view(*points.shape[:-1], 1), color.view(points.shape)

    def density(self, points: Tensor) -> Tensor:
        """Density [..., 1] (≥ 0) at points [..., 3]."""
        return self.query(points)[0]

    def color(self, points: Tensor) -> Tensor:
        """Colour [..., 3] (sRGB in [0, 1]) at points [..., 3]."""
        return self.query(points)[1]
