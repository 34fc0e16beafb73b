"""The decoder: triplane features of a point to its density and colour, before activation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from ..errors import DIF3DError
from ..products import Linear
from .module import BaseModule

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class NeRFMLP(BaseModule):
    """A plain MLP with four outputs: density and three colour values."""

    @dataclass
    class Config(BaseModule.Config):
        in_channels: int
        n_neurons: int
        n_hidden_layers: int
        activation: str = "relu"
        bias: bool = True
        weight_init: str | None = "kaiming_uniform"
        bias_init: str | None = None

    cfg: Config

    def configure(self) -> None:
        cfg = self.cfg
        for setting, value, known in (
            ("activation", cfg.activation, _ACTIVATIONS),
            ("weight_init", cfg.weight_init, (None, "kaiming_uniform")),
            ("bias_init", cfg.bias_init, (None, "zero")),
        ):
            if value not in known:
                raise DIF3DError(f"NeRFMLP: {setting} {value!r} is not known; known are {', '.join(map(str, known))}.")
        layers: list[nn.Module] = []
        widths = [cfg.in_channels] + [cfg.n_neurons] * cfg.n_hidden_layers
        for width, next_width in pairwise(widths):
            layers += [self._linear(width, next_width), _ACTIVATIONS[cfg.activation](inplace=True)]
        self.layers = nn.Sequential(*layers, self._linear(widths[-1], 4))

    def _linear(self, inputs: int, outputs: int) -> Linear:
        layer = Linear(inputs, outputs, bias=self.cfg.bias)
        if self.cfg.weight_init == "kaiming_uniform":
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        if self.cfg.bias and self.cfg.bias_init == "zero":
            nn.init.zeros_(layer.bias)
        return layer

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features [..., in_channels] to raw `density` [..., 1] and raw colour `features` [..., 3]."""
        out = self.layers(x)
        return {"density": out[..., 0:1], "features": out[..., 1:4]}
