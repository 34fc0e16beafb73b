"""The vision transformer of the image tokenizer, with the tensor names of the published checkpoint.

Those are the names of `ViTModel` in transformers 4.35; later versions of that library renamed them, hence this module.
Architecture: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words"; weights: DINO, Caron et al. 2021.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from ..errors import DIF3DError
from ..products import Linear, attention
from ..utils import get_activation
from .module import normal_parameter, release_weights


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a ViT, named as in its `config.json`; the defaults are those of `facebook/dino-vitb16`."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    image_size: int = 224  # pixels a side that the stored position embedding was made for
    patch_size: int = 16
    num_channels: int = 3
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    qkv_bias: bool = True


KNOWN = {
    "facebook/dino-vitb16": ViTConfig(),
    "facebook/dino-vitb8": ViTConfig(patch_size=8),
    "facebook/dino-vits16": ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536),
    "facebook/dino-vits8": ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, patch_size=8),
}


def find_vit_config(name: str, folder: Path | None) -> ViTConfig:
    """Return the sizes of the ViT that a model names: a known one, or a folder beside its `config.yaml`.

    Args:
        name: the name in the model's settings.
        folder: the model's folder; None where the model was not read from files.

    Raises:
        DIF3DError: the name is neither, it leads out of the model's folder, or its `config.json` does not fit.
    """
    if name in KNOWN:
        return KNOWN[name]
    where = f"the image tokenizer {name!r} that the model names"
    if folder is None:
        raise DIF3DError(f"Cannot tell the sizes of {where}: it is none of {', '.join(KNOWN)}, and there is no folder.")
    folder = Path(folder).resolve()
    # The folder is checked, not the file: in a Hugging Face cache every file is a link to a blob elsewhere.
    if not (folder / name).resolve().is_relative_to(folder):
        raise DIF3DError(f"Refused {where}: it lies outside the model's folder {folder}.")
    path = folder / name / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("it holds no names and values")
        known = {field.name: settings[field.name] for field in fields(ViTConfig) if field.name in settings}
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ViTConfig), known))
        get_activation(config.hidden_act)
        return config
    except FileNotFoundError:
        raise DIF3DError(
            f"Cannot tell the sizes of {where}: it is none of {', '.join(KNOWN)}, and {path} does not exist."
        ) from None
    except (OSError, ValueError, TypeError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise DIF3DError(f"Cannot read the settings of {where} from {path}: {reason}") from error


class ViT(nn.Module):
    """Patches of a picture to tokens. Pictures of any size: the position embedding is resized to them."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        # Present in every checkpoint, never used by this network: kept so that files load and save unchanged.
        self.pooler = nn.ModuleDict({"dense": Linear(config.hidden_size, config.hidden_size)})

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [B, C, H, W], normalised, to tokens [B, 1 + patches, hidden], the class token first."""
        return self.layernorm(self.encoder(self.embeddings(pixels)))


class _Embeddings(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.grid = config.image_size // config.patch_size  # side of the stored position embedding, in patches
        self.cls_token = normal_parameter(1, 1, config.hidden_size, std=0.02)
        self.position_embeddings = normal_parameter(1, 1 + self.grid**2, config.hidden_size, std=0.02)
        size, patch = config.hidden_size, config.patch_size
        self.patch_embeddings = nn.ModuleDict(
            {"projection": nn.Conv2d(config.num_channels, size, kernel_size=patch, stride=patch)}
        )

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](pixels)  # [B, hidden, h, w]
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return tokens + self._positions(*patches.shape[-2:])

    def _positions(self, height: int, width: int) -> Tensor:
        """The position embedding for height × width patches, [1, 1 + height·width, hidden]."""
        if height == width == self.grid:
            return self.position_embeddings
        stored = self.position_embeddings[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        # transformers 4.35 handed a scale to `interpolate`, with 0.1 of a patch added against rounding down; with a
        # scale, that 0.1 moves the sample positions too. The published weights were trained with it.
        scale = ((height + 0.1) / self.grid, (width + 0.1) / self.grid)
        resized = F.interpolate(stored, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([self.position_embeddings[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


class _Encoder(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layer:
            tokens = layer(tokens)
            release_weights(layer)
        return tokens


class _Layer(nn.Module):
    """Pre-norm self-attention and MLP, each with a residual connection."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        size, inner = config.hidden_size, config.intermediate_size
        self.attention = _SelfAttention(config)
        self.intermediate = nn.ModuleDict({"dense": Linear(size, inner)})
        self.output = nn.ModuleDict({"dense": Linear(inner, size)})
        self.layernorm_before = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.activation = get_activation(config.hidden_act)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        hidden = self.activation(self.intermediate["dense"](self.layernorm_after(tokens)))
        return tokens + self.output["dense"](hidden)


class _SelfAttention(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        size = config.hidden_size
        if size % config.num_attention_heads:
            raise DIF3DError(f"ViT: {size} channels cannot be shared by {config.num_attention_heads} attention heads.")
        self.heads = config.num_attention_heads
        self.attention = nn.ModuleDict(
            {name: Linear(size, size, bias=config.qkv_bias) for name in ("query", "key", "value")}
        )
        self.output = nn.ModuleDict({"dense": Linear(size, size)})

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            self.attention[name](tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, channels]
            for name in ("query", "key", "value")
        )
        return self.output["dense"](attention(query, key, value).transpose(1, 2).flatten(2))
