"""The renderer of the published network: queries of the triplane at points, and rays through it.

This is the slow, obvious form, differentiable throughout: it looks at every sample of every ray. `..rendering` and
`..isosurface` compute the same faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cameras import rays_intersect_bbox
from ..errors import DIF3DError
from ..utils import chunk_batch, get_activation, scale_tensor
from .module import BaseModule


class TriplaneNeRFRenderer(BaseModule):
    """Looks points up in three feature planes (xy, xz, yz) that span the box [−radius, radius]³."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float
        feature_reduction: str = "concat"
        density_activation: str = "trunc_exp"
        density_bias: float = -1.0
        color_activation: str = "sigmoid"
        num_samples_per_ray: int = 128
        randomized: bool = False  # in the format; the original never reads it

    cfg: Config

    def configure(self) -> None:
        if self.cfg.feature_reduction not in ("concat", "mean"):
            raise DIF3DError(
                f"TriplaneNeRFRenderer: feature_reduction {self.cfg.feature_reduction!r} is not known; "
                "known are concat, mean."
            )
        self.density_activation = get_activation(self.cfg.density_activation)
        self.color_activation = get_activation(self.cfg.color_activation)
        self.chunk_size = 0

    def set_chunk_size(self, chunk_size: int) -> None:
        """Set how many points a decoder call takes; 0 takes all at once."""
        if chunk_size < 0:
            raise ValueError(f"chunk_size must be 0 (all at once) or more, not {chunk_size}")
        self.chunk_size = chunk_size

    def query_triplane(self, decoder: nn.Module, positions: Tensor, triplane: Tensor) -> dict[str, Tensor]:
        """Decode points.

        Args:
            decoder: features [N, channels] to raw density and colour.
            positions: points in the field frame, [..., 3].
            triplane: the scene code, [3, C, H, W].

        Returns:
            `density` [..., 1] and `features` [..., 3] as the decoder gives them, `density_act` [..., 1] (≥ 0) and
            `color` [..., 3] (sRGB in [0, 1]) after bias and activation.
        """
        unit = scale_tensor(positions.reshape(-1, 3), (-self.cfg.radius, self.cfg.radius), (-1, 1))

        def query_chunk(points: Tensor) -> dict[str, Tensor]:
            return decoder(self._features(points, triplane))

        out = chunk_batch(query_chunk, self.chunk_size, unit)
        out["density_act"] = self.density_activation(out["density"] + self.cfg.density_bias)
        out["color"] = self.color_activation(out["features"])
        return {name: value.reshape(*positions.shape[:-1], -1) for name, value in out.items()}

    def _features(self, points: Tensor, triplane: Tensor) -> Tensor:
        """The planes' features at points [N, 3] in [−1, 1]³: [N, 3·C] for concat, [N, C] for mean."""
        coordinates = torch.stack([points[:, [0, 1]], points[:, [0, 2]], points[:, [1, 2]]])  # [3, N, 2]
        coordinates = coordinates[:, None].to(triplane.dtype)
        features = F.grid_sample(triplane, coordinates, mode="bilinear", align_corners=False)  # [3, C, 1, N]
        features = features[:, :, 0].permute(2, 0, 1)  # [N, 3, C]
        return features.flatten(1) if self.cfg.feature_reduction == "concat" else features.mean(dim=1)

    def forward(
        self,
        decoder: nn.Module,
        triplane: Tensor,
        rays_o: Tensor,
        rays_d: Tensor,
        correct: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """Render rays through one scene code [3, C, H, W], or several [B, 3, C, H, W] with rays [B, ..., 3].

        Emission and absorption over the midpoints of `num_samples_per_ray` equal steps between the ray's two hits with
        the box (Max 1995), on white. The step is 1/num_samples_per_ray whatever the hits' distance: the density of the
        published weights was trained so. `correct` may change the density [N] and colour [N, 3] at points
        [N, 3].

        Returns:
            Colours [..., 3], sRGB.
        """
        if triplane.ndim == 5:
            scenes = zip(triplane, rays_o, rays_d, strict=True)
            return torch.stack([self.forward(decoder, *scene, correct) for scene in scenes])
        origins, directions = rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)
        t_near, t_far, hits = rays_intersect_bbox(origins, directions, self.cfg.radius)
        edges = torch.linspace(0, 1, self.cfg.num_samples_per_ray + 1, device=origins.device)
        middles = (edges[:-1] + edges[1:]) / 2
        depths = t_near[hits] * (1 - middles) + t_far[hits] * middles  # [hits, samples]
        points = origins[hits, None] + depths[..., None] * directions[hits, None]
        samples = self.query_triplane(decoder, points, triplane)
        density, color = samples["density_act"][..., 0], samples["color"]
        if correct is not None:
            better = correct(points.view(-1, 3), density.flatten(), color.view(-1, 3))
            density, color = better[0].view_as(density), better[1].view_as(color)

        alpha = 1 - torch.exp(-(edges[1:] - edges[:-1]) * density)
        transmittance = torch.cumprod(1 - alpha[:, :-1] + 1e-10, dim=-1)
        weights = alpha * torch.cat([torch.ones_like(alpha[:, :1]), transmittance], dim=-1)
        seen = (weights[..., None] * color).sum(dim=-2) + 1 - weights.sum(dim=-1, keepdim=True)

        colors = torch.ones_like(origins, dtype=seen.dtype).masked_scatter(hits[:, None], seen)
        return colors.view(rays_o.shape)
