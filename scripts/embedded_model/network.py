"""The embedded network: its sizes, and the values it starts from.

The classes and the file format are those of the published network (`dif3d_blender.engine.tsr`); only the sizes and
the initial values are ours. Started from plain random values, such a network spends its first 20,000 objects at the
mean shape. Started *aligned*, it sees from the first step: the yz plane faces the camera, so its cells and the
picture's patches carry the same sine code, the xz and xy planes carry its two halves, and the first cross-attention
copies to every cell what the picture shows there: to yz the patch itself, to xz and xy the mean over the patch's row or
column. Two heads look sharply, the third at the neighbourhood too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from dif3d_blender.engine.tsr import TSR
from dif3d_blender.engine.weights import read_config

PICTURE = 64  # pixels a side; one plane cell covers one patch, so that cells and patches pair up
PATCH = 4
WIDTH = 144  # channels of the ViT and of the backbone
HEADS = 3
CODE = WIDTH // HEADS  # channels of the position code, and of a head, and of a patch's values (3 · PATCH²)
PLANE = PICTURE // PATCH

VIT = {
    "model_type": "vit",
    "hidden_size": WIDTH,
    "num_hidden_layers": 5,  # a backbone layer costs five times as much: what is seen is understood here
    "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH,
    "image_size": PICTURE,
    "patch_size": PATCH,
    "num_channels": 3,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "qkv_bias": True,
}

CONFIG = f"""\
cond_image_size: {PICTURE}

image_tokenizer_cls: tsr.models.tokenizers.image.DINOSingleImageTokenizer
image_tokenizer:
  pretrained_model_name_or_path: "vit"

tokenizer_cls: tsr.models.tokenizers.triplane.Triplane1DTokenizer
tokenizer:
  plane_size: {PLANE}
  num_channels: {WIDTH}

backbone_cls: tsr.models.transformer.transformer_1d.Transformer1D
backbone:
  in_channels: ${{tokenizer.num_channels}}
  num_attention_heads: {HEADS}
  attention_head_dim: {WIDTH // HEADS}
  num_layers: 3
  norm_num_groups: 16
  cross_attention_dim: {WIDTH}

post_processor_cls: tsr.models.network_utils.TriplaneUpsampleNetwork
post_processor:
  in_channels: {WIDTH}
  out_channels: 24

decoder_cls: tsr.models.network_utils.NeRFMLP
decoder:
  in_channels: 72
  n_neurons: 64
  n_hidden_layers: 4
  activation: silu

renderer_cls: tsr.models.nerf_renderer.TriplaneNeRFRenderer
renderer:
  radius: 0.87
  feature_reduction: concat
  density_activation: exp
  density_bias: -1.0
  num_samples_per_ray: 128
"""

# density = exp(raw − 1). Probability 0.5 of "inside" is density 25, the format's threshold; SHARPNESS sets how fast the
# density leaves it: 25 · exp(logit / SHARPNESS). At 0.5 a doubtful −3 is 0.06, which a frame does not show as fog.
SHARPNESS = 0.5
RELEASE_GAIN = 6.0  # how much steeper still in the released weights (`sharpen`)


def inside_logit(raw_density: Tensor) -> Tensor:
    """The logit of "inside" for the decoder's raw density (before bias and activation)."""
    return SHARPNESS * (raw_density - 1.0 - math.log(25.0))


@torch.no_grad()
def sharpen(model: TSR, gain: float) -> None:
    """Steepen the density about the threshold, in place.

    It becomes 25 · (density / 25)^gain, which the last layer can do exactly, and leaves the surface where it is. What
    the network doubts, it was trained to leave half empty; a renderer shows that as fog, and a person as a fault.
    """
    last, middle = model.decoder.layers[-1], 1.0 + math.log(25.0)
    last.weight[0] *= gain
    last.bias[0] = middle + gain * (last.bias[0] - middle)


def write_settings(folder: Path) -> None:
    """Write `config.yaml` and the ViT's `vit/config.json` into `folder`."""
    (folder / "vit").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "vit" / "config.json").write_text(json.dumps(VIT, indent=1) + "\n", encoding="utf-8")


def sine_code(positions: Tensor, channels: int) -> Tensor:
    """Sine and cosine of positions [N] (in cells) at frequencies from one turn in four planes to half a turn a cell."""
    frequencies = torch.logspace(math.log10(math.pi / (2 * PLANE)), math.log10(math.pi / 1.5), channels // 2)
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


@torch.no_grad()
def start_aligned(model: TSR) -> None:
    """Set the aligned initial values in place (see the top of this file)."""
    cells = torch.arange(PLANE, dtype=torch.float32)
    half = sine_code(cells, CODE // 2)  # [PLANE, CODE / 2]
    first = half[:, None].expand(PLANE, PLANE, -1)  # varies along a plane's first image axis (rows)
    second = half[None].expand(PLANE, PLANE, -1)

    # Pictures: rows run downward (−z), columns to the right (+y). Code: [y half, z half].
    vit = model.image_tokenizer.model
    patches = torch.cat([second, first.flip(0)], -1).reshape(PLANE * PLANE, CODE)
    positions = vit.embeddings.position_embeddings
    positions.zero_()
    positions[0, 1:, :CODE] = patches
    projection = vit.embeddings.patch_embeddings["projection"]
    projection.weight.mul_(0.1)
    projection.bias.zero_()
    pixels = 0.5 * torch.eye(CODE).view(CODE, 3, PATCH, PATCH)
    for head in range(1, HEADS):  # the first head's channels hold the code
        projection.weight[head * CODE : (head + 1) * CODE] += pixels

    # Planes as grid_sample reads them: a plane's last axis is its first coordinate. xy [y, x], xz [z, x], yz [z, y].
    embeddings = model.tokenizer.embeddings  # [3, WIDTH, PLANE, PLANE]
    embeddings.mul_(0.1)
    rows, columns = first.permute(2, 0, 1), second.permute(2, 0, 1)  # [CODE / 2, PLANE, PLANE]
    y_half, z_half, x_half = slice(0, CODE // 2), slice(CODE // 2, CODE), slice(WIDTH - CODE // 2, WIDTH)
    embeddings[0, y_half], embeddings[0, x_half] = rows, columns
    embeddings[1, z_half], embeddings[1, x_half] = rows, columns
    embeddings[2, z_half], embeddings[2, y_half] = rows, columns
    for plane in range(3):
        embeddings[plane, CODE + plane] += 1.0

    backbone = model.backbone
    for layer in (backbone.proj_in, backbone.proj_out):
        layer.weight.mul_(0.1).add_(torch.eye(WIDTH))
        layer.bias.zero_()
    look = backbone.transformer_blocks[0].attn2
    for head, gain in enumerate((1.8, 1.8, 1.1)):
        for layer in (look.to_q, look.to_k):
            layer.weight[head * CODE : (head + 1) * CODE] *= 0.1
            layer.weight[head * CODE : (head + 1) * CODE, :CODE] += gain * torch.eye(CODE)
    look.to_v.weight.mul_(0.1).add_(torch.eye(WIDTH))
    look.to_out[0].weight.mul_(0.1).add_(torch.eye(WIDTH))

    residual_ends: list[nn.Linear] = []
    for block in backbone.transformer_blocks:
        residual_ends += [block.attn1.to_out[0], block.ff.net[2]]
        if block.attn2 is not look:
            residual_ends.append(block.attn2.to_out[0])
    for layer in vit.encoder.layer:
        residual_ends += [layer.attention.output["dense"], layer.output["dense"]]
    for layer in residual_ends:  # blocks begin as small corrections
        layer.weight.mul_(0.3)

    last = model.decoder.layers[-1]
    last.weight.mul_(0.2)
    last.bias.zero_()
    last.bias[0] = 1.0 + math.log(25.0) - 2.0 / SHARPNESS  # most of the box is empty


def build(folder: Path) -> TSR:
    """A new network with aligned initial values; writes its settings into `folder`, which holds the ViT's sizes."""
    write_settings(folder)
    model = TSR(read_config(folder / "config.yaml"), folder=folder)
    start_aligned(model)
    return model
