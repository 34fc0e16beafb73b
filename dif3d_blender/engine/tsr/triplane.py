"""The triplane: learned tokens for three planes of cells, and the layer that turns processed tokens into planes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .module import BaseModule, normal_parameter


class Triplane1DTokenizer(BaseModule):
    """One learned token for each cell of the xy, xz and yz planes."""

    @dataclass
    class Config(BaseModule.Config):
        plane_size: int
        num_channels: int

    cfg: Config

    def configure(self) -> None:
        channels, size = self.cfg.num_channels, self.cfg.plane_size
        self.embeddings = normal_parameter(3, channels, size, size, std=channels**-0.5)

    def forward(self, batch_size: int) -> Tensor:
        """The tokens for `batch_size` pictures, [B, channels, 3·size·size]."""
        return self.embeddings.transpose(0, 1).flatten(1).expand(batch_size, -1, -1)

    def detokenize(self, tokens: Tensor) -> Tensor:
        """Tokens [B, channels, 3·size·size] back to planes [B, 3, channels, size, size]."""
        size = self.cfg.plane_size
        return tokens.unflatten(2, (3, size, size)).transpose(1, 2)


class TriplaneUpsampleNetwork(BaseModule):
    """A transposed convolution that doubles the planes' size: every cell becomes 2 × 2."""

    @dataclass
    class Config(BaseModule.Config):
        in_channels: int
        out_channels: int

    cfg: Config

    def configure(self) -> None:
        self.upsample = nn.ConvTranspose2d(self.cfg.in_channels, self.cfg.out_channels, kernel_size=2, stride=2)

    def forward(self, triplanes: Tensor) -> Tensor:
        """Planes [B, 3, C_in, H, W] to [B, 3, C_out, 2H, 2W]."""
        return self.upsample(triplanes.flatten(0, 1)).unflatten(0, triplanes.shape[:2])
