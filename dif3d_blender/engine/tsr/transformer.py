"""The backbone: triplane tokens look at each other and at the picture's tokens.

The layout and tensor names are those of the transformer blocks of diffusers, which the published network uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import DIF3DError
from ..products import Linear, attention
from .module import BaseModule, release_weights

_TOKENS = 512  # that a CPU takes through a feed-forward layer together


class Transformer1D(BaseModule):
    """A stack of transformer blocks between two linear layers, with one residual connection round the whole."""

    @dataclass
    class Config(BaseModule.Config):
        in_channels: int
        num_attention_heads: int = 16
        attention_head_dim: int = 88
        out_channels: int | None = None  # in the format, but the residual connection ties it to in_channels
        num_layers: int = 1
        dropout: float = 0.0
        norm_num_groups: int = 32
        cross_attention_dim: int | None = None
        attention_bias: bool = False
        activation_fn: str = "geglu"
        only_cross_attention: bool = False
        double_self_attention: bool = False
        upcast_attention: bool = False  # in the format; the fused attention sums in float32 anyway
        norm_type: str = "layer_norm"
        norm_elementwise_affine: bool = True
        gradient_checkpointing: bool = False

    cfg: Config

    def configure(self) -> None:
        cfg = self.cfg
        if cfg.norm_type != "layer_norm":
            raise DIF3DError(
                f"Transformer1D: norm_type {cfg.norm_type!r} is not known; the format has layer_norm only."
            )
        if cfg.out_channels not in (None, cfg.in_channels):
            raise DIF3DError(f"Transformer1D: out_channels must equal in_channels ({cfg.in_channels}) or be left out.")
        if cfg.in_channels % cfg.norm_num_groups:
            raise DIF3DError(
                f"Transformer1D: {cfg.in_channels} channels cannot be shared by {cfg.norm_num_groups} groups "
                "(norm_num_groups)."
            )
        inner = cfg.num_attention_heads * cfg.attention_head_dim
        self.norm = nn.GroupNorm(cfg.norm_num_groups, cfg.in_channels, eps=1e-6)
        self.proj_in = Linear(cfg.in_channels, inner)
        self.transformer_blocks = nn.ModuleList(_Block(inner, cfg) for _ in range(cfg.num_layers))
        self.proj_out = Linear(inner, cfg.in_channels)

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None) -> Tensor:
        """Tokens [B, in_channels, N], attending to [B, M, cross_attention_dim], to [B, in_channels, N]."""
        return self.finish(hidden_states, self.begin(hidden_states), encoder_hidden_states)

    def begin(self, hidden_states: Tensor) -> Tensor:
        """What becomes of tokens [B, in_channels, N] before they look at any picture, [B, N, inner]."""
        hidden = self.proj_in(self.norm(hidden_states).transpose(1, 2))
        return hidden if self.cfg.only_cross_attention else self.transformer_blocks[0].look_at_each_other(hidden)

    def finish(self, hidden_states: Tensor, begun: Tensor, encoder_hidden_states: Tensor | None) -> Tensor:
        """Tokens [B, in_channels, N], of which `begun` is what `begin` made, to what `forward` returns."""
        hidden = begun
        for number, block in enumerate(self.transformer_blocks):
            run = block if number or self.cfg.only_cross_attention else block.look_at_the_picture
            if self.training and self.cfg.gradient_checkpointing:
                hidden = checkpoint(run, hidden, encoder_hidden_states, use_reentrant=False)
            else:
                hidden = run(hidden, encoder_hidden_states)
            release_weights(block)
        return self.proj_out(hidden).transpose(1, 2) + hidden_states


class _Block(nn.Module):
    """Pre-norm self-attention, cross-attention and feed-forward, each with a residual connection."""

    def __init__(self, dim: int, cfg: Transformer1D.Config) -> None:
        super().__init__()
        self.only_cross_attention = cfg.only_cross_attention
        cross_dim = cfg.cross_attention_dim
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=cfg.norm_elementwise_affine)
        self.attn1 = _Attention(dim, cross_dim if cfg.only_cross_attention else None, cfg)
        self.attn2 = None
        if cross_dim is not None or cfg.double_self_attention:
            self.norm2 = nn.LayerNorm(dim, elementwise_affine=cfg.norm_elementwise_affine)
            self.attn2 = _Attention(dim, None if cfg.double_self_attention else cross_dim, cfg)
        self.norm3 = nn.LayerNorm(dim, elementwise_affine=cfg.norm_elementwise_affine)
        self.ff = _FeedForward(dim, cfg)

    def forward(self, hidden: Tensor, context: Tensor | None) -> Tensor:
        return self.look_at_the_picture(self.look_at_each_other(hidden, context), context)

    def look_at_each_other(self, hidden: Tensor, context: Tensor | None = None) -> Tensor:
        return self.attn1(self.norm1(hidden), context if self.only_cross_attention else None) + hidden

    def look_at_the_picture(self, hidden: Tensor, context: Tensor | None) -> Tensor:
        if self.attn2 is not None:
            hidden = self.attn2(self.norm2(hidden), context) + hidden
        return self.ff(self.norm3(hidden)) + hidden


class _Attention(nn.Module):
    """Multi-head attention to `context`, or to the tokens themselves where there is none."""

    def __init__(self, dim: int, context_dim: int | None, cfg: Transformer1D.Config) -> None:
        super().__init__()
        inner, context_dim = cfg.num_attention_heads * cfg.attention_head_dim, context_dim or dim
        self.heads = cfg.num_attention_heads
        self.to_q = Linear(dim, inner, bias=cfg.attention_bias)
        self.to_k = Linear(context_dim, inner, bias=cfg.attention_bias)
        self.to_v = Linear(context_dim, inner, bias=cfg.attention_bias)
        self.to_out = nn.Sequential(Linear(inner, dim), nn.Dropout(cfg.dropout))

    def forward(self, hidden: Tensor, context: Tensor | None) -> Tensor:
        context = hidden if context is None else context
        query, key, value = (
            tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, tokens, head_dim]
            for tokens in (self.to_q(hidden), self.to_k(context), self.to_v(context))
        )
        return self.to_out(attention(query, key, value).transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, dim: int, cfg: Transformer1D.Config) -> None:
        super().__init__()
        inner = 4 * dim
        widening = _WIDENING.get(cfg.activation_fn)
        if widening is None:
            raise DIF3DError(
                f"Transformer1D: activation_fn {cfg.activation_fn!r} is not known; known are {', '.join(_WIDENING)}."
            )
        self.net = nn.Sequential(widening(dim, inner), nn.Dropout(cfg.dropout), Linear(inner, dim))

    def forward(self, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled() or hidden.device.type != "cpu":
            return self.net(hidden)
        # A few tokens at a time: what lies between the layers is four or eight times as wide as they are.
        return torch.cat([self.net(some) for some in hidden.split(_TOKENS, dim=1)], dim=1)


class _GEGLU(nn.Module):
    """A linear layer gated by the GELU of another (Shazeer 2020, "GLU Variants Improve Transformer")."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(dim, 2 * inner)

    def forward(self, hidden: Tensor) -> Tensor:
        value, gate = self.proj(hidden).chunk(2, dim=-1)
        return value * F.gelu(gate)


class _GELU(nn.Module):
    approximate = "none"

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = Linear(dim, inner)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.proj(hidden), approximate=self.approximate)


class _TanhGELU(_GELU):
    approximate = "tanh"


class _SigmoidGELU(_GELU):
    """x·σ(1.702 x) (Hendrycks and Gimpel 2016, section 2)."""

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.proj(hidden)
        return hidden * torch.sigmoid(1.702 * hidden)


_WIDENING = {"geglu": _GEGLU, "gelu": _GELU, "gelu-approximate": _TanhGELU, "geglu-approximate": _SigmoidGELU}
