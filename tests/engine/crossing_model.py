"""A tiny network that has a surface: for the tests of whatever comes after the network."""

import math
from pathlib import Path

import numpy as np
import torch
from tiny_models import settings, write_model

from dif3d_blender.engine.field import Field


def crossing_model(folder: Path) -> Path:
    """Write a tiny network to `folder` whose field, random as it is, crosses the threshold; return the folder."""
    network = write_model(folder)
    with torch.no_grad():
        code = network([np.full((40, 40, 3), 0.5, dtype=np.float32)], "cpu")[0]
        points = torch.rand(2000, 3) * 1.7 - 0.85
        raw = Field(code, network.decoder, network.renderer).density(points).log().median().item()
    bias = network.renderer.cfg.density_bias + math.log(25) - raw  # half of the box lies inside
    write_model(folder, settings(renderer={"density_bias": bias}))
    return folder
