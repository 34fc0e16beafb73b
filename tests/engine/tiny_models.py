"""Small made-up models for tests: any sizes, random or chosen tensors, written in the published file format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import OmegaConf

from dif3d_blender.engine import TSR

VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}


def settings(vit: str = "vit", **changes: dict) -> dict:
    """The settings of a tiny network; `changes` update its sections, as in `settings(renderer={"radius": 1.0})`."""
    config = {
        "cond_image_size": 40,
        "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
        "image_tokenizer": {"pretrained_model_name_or_path": vit},
        "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
        "tokenizer": {"plane_size": 6, "num_channels": 32},
        "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
        "backbone": {
            "in_channels": "${tokenizer.num_channels}",
            "num_attention_heads": 3,
            "attention_head_dim": 8,
            "num_layers": 1,
            "cross_attention_dim": 24,
        },
        "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
        "post_processor": {"in_channels": 32, "out_channels": 5},
        "decoder_cls": "tsr.models.network_utils.NeRFMLP",
        "decoder": {"in_channels": 15, "n_neurons": 12, "n_hidden_layers": 2, "activation": "silu"},
        "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
        "renderer": {"radius": 0.87, "density_activation": "exp", "num_samples_per_ray": 16},
    }
    for section, change in changes.items():
        config[section] = {**config[section], **change} if isinstance(change, dict) else change
    return config


def write_model(folder: Path, config: dict | None = None, vit: dict | None = None, seed: int = 0) -> TSR:
    """Write a model with random tensors to `folder` (config.yaml, vit/config.json, model.ckpt) and return it."""
    (folder / "vit").mkdir(parents=True, exist_ok=True)
    (folder / "vit" / "config.json").write_text(json.dumps(vit or VIT), encoding="utf-8")
    config = OmegaConf.create(config or settings())
    OmegaConf.save(config, folder / "config.yaml")
    torch.manual_seed(seed)
    model = TSR(config, folder=folder).eval()
    torch.save(model.state_dict(), folder / "model.ckpt")
    return model
