"""Pictures to tokens: the part of the network that sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .module import BaseModule
from .vit import ViT, find_vit_config

Picture = Image.Image | np.ndarray | Tensor

# The mean and standard deviation of ImageNet's RGB values, which DINO was trained with.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class ImagePreprocessor:
    """Pictures of any kind to one float tensor [B, size, size, C] with values in [0, 1]."""

    def __call__(self, image: Picture | Sequence[Picture], size: int) -> Tensor:
        """Convert one picture, a list of them, or a batch (array or tensor [B, H, W, C]).

        PIL pictures and uint8 arrays are divided by 255; other arrays and tensors are taken as floats in [0, 1].
        """
        if isinstance(image, (np.ndarray, Tensor)) and image.ndim == 4:
            return self.convert_and_resize(image, size)
        pictures = image if isinstance(image, (list, tuple)) else [image]
        return torch.stack([self.convert_and_resize(picture, size) for picture in pictures])

    def convert_and_resize(self, image: Picture, size: int) -> Tensor:
        """Convert one picture [H, W, C], or a batch [B, H, W, C], and resize it with antialiasing to size × size."""
        if isinstance(image, Image.Image):
            image = np.asarray(image)
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(image.astype(np.float32) / (255.0 if image.dtype == np.uint8 else 1.0))
        pixels = image if image.ndim == 4 else image[None]
        pixels = F.interpolate(
            pixels.permute(0, 3, 1, 2), (size, size), mode="bilinear", align_corners=False, antialias=True
        ).permute(0, 2, 3, 1)
        return pixels if image.ndim == 4 else pixels[0]


class DINOSingleImageTokenizer(BaseModule):
    """A picture to the tokens of a ViT, the class token first."""

    @dataclass
    class Config(BaseModule.Config):
        pretrained_model_name_or_path: str = "facebook/dino-vitb16"  # names the sizes only; the weights are our own
        enable_gradient_checkpointing: bool = False

    cfg: Config

    def configure(self, folder: Path | None = None) -> None:
        self.model = ViT(find_vit_config(self.cfg.pretrained_model_name_or_path, folder))

    def forward(self, images: Tensor) -> Tensor:
        """RGB pictures [B, 3, H, W] in [0, 1] to tokens [B, 1 + patches, hidden]."""
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        pixels = (images - mean) / std
        if self.training and self.cfg.enable_gradient_checkpointing:
            return checkpoint(self.model, pixels, use_reentrant=False)
        return self.model(pixels)
