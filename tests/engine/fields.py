"""Made-up fields for tests: random ones, and ones whose surfaces are known shapes."""

from __future__ import annotations

import math

import torch

from dif3d_blender.engine.field import Field
from dif3d_blender.engine.tsr.decoder import NeRFMLP
from dif3d_blender.engine.tsr.renderer import TriplaneNeRFRenderer

RADIUS = 0.87

Piece = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # planes of values: xy, xz, yz


def random_field(seed: int = 0, texels: int = 12, reduction: str = "concat", bias: bool = True, **options) -> Field:
    """A smooth random field with a surface at density 25 here and there."""
    torch.manual_seed(seed)
    decoder = NeRFMLP(
        {
            "in_channels": 12 if reduction == "concat" else 4,
            "n_neurons": 16,
            "n_hidden_layers": 3,
            "activation": "silu",
            "bias": bias,
        }
    )
    renderer = TriplaneNeRFRenderer(
        {"radius": RADIUS, "density_activation": "exp", "feature_reduction": reduction, "num_samples_per_ray": 64}
    )
    with torch.no_grad():
        decoder.layers[-1].weight[0] *= 8
        if bias:
            decoder.layers[-1].bias[0] = 1.0
    return Field(torch.randn(3, 4, texels, texels), decoder, renderer, **options)


def shape_field(one: Piece, other: Piece | None = None, **options) -> Field:
    """The union of two pieces, each the sum of three planes of values (xy, xz, yz) and inside where that is above 0.

    The decoder takes the larger value: a hidden layer of ReLUs gives max(a, b) = relu(a − b) + relu(b) − relu(−b), and
    log(density / 25) is ten times that.
    """
    planes = torch.stack([torch.stack(piece) for piece in (one, other or one)], dim=1)  # [3, 2, S, S]
    a, b = torch.tensor([1.0, 0.0] * 3), torch.tensor([0.0, 1.0] * 3)  # sums over the planes
    return _field(planes, hidden=[a - b, b, -b], density=[10.0, 10.0, -10.0], **options)


def slab_field(height: float, thickness: float, texels: int = 32, **options) -> Field:
    """A flat slab across the box, |z − height| < thickness/2: made by the decoder, so that no texel limits how thin."""
    _, v = coordinates(texels)
    planes = torch.stack([torch.zeros_like(v), torch.zeros_like(v), v])[:, None]  # the feature of yz is z
    z = torch.ones(3)
    return _field(
        planes,
        hidden=[z, -z],
        hidden_bias=[-height, height],
        density=[-50.0, -50.0],
        density_bias=25 * thickness,
        **options,
    )


def _field(planes, hidden, density, hidden_bias=0.0, density_bias=0.0, **options) -> Field:
    decoder = NeRFMLP(
        {"in_channels": 3 * planes.shape[1], "n_neurons": len(hidden), "n_hidden_layers": 1, "activation": "relu"}
    )
    renderer = TriplaneNeRFRenderer({"radius": RADIUS, "density_activation": "exp", "num_samples_per_ray": 128})
    with torch.no_grad():
        decoder.layers[0].weight.copy_(torch.stack(hidden))
        decoder.layers[0].bias.copy_(torch.as_tensor(hidden_bias))
        decoder.layers[2].weight.zero_()[0] = torch.tensor(density)
        decoder.layers[2].weight[1:, 0] = torch.tensor([1.0, 2.0, 3.0])  # some colour
        # at the surface the density is 25: the renderer adds −1 before exp
        decoder.layers[2].bias.zero_()[0] = math.log(25) + 1 + density_bias
    return Field(planes, decoder, renderer, **options)


def coordinates(texels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two coordinates at the texels of a plane [S, S]: the first along the columns, the second along the rows."""
    centres = ((torch.arange(texels) + 0.5) * 2 / texels - 1) * RADIUS
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    return columns, rows


def ball(center: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = 0.5, texels: int = 32) -> Piece:
    """A ball: radius² − |p − center|²."""
    u, v = coordinates(texels)
    x, y, z = center
    return (radius**2 - (u - x).square() - (v - y).square(), torch.zeros_like(u), -(v - z).square())


def plate(height: float = 0.0, thickness: float = 0.08, extent: float = 0.6, texels: int = 32) -> Piece:
    """A flat plate: |z − height| < thickness/2 and |x|, |y| < extent, as far as the texels resolve it."""
    u, v = coordinates(texels)
    outside = (torch.maximum(u.abs(), v.abs()) - extent).clamp_min(0)
    return (-outside, torch.zeros_like(u), thickness / 2 - (v - height).abs())
