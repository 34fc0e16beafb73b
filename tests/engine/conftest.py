"""Models that several tests of the engine use."""

import math

import numpy as np
import pytest
import torch
from tiny_models import settings, write_model

from dif3d_blender.engine.field import Field


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny network whose field, random as it is, crosses the threshold."""
    folder = tmp_path_factory.mktemp("model")
    network = write_model(folder)
    with torch.no_grad():
        code = network([np.full((40, 40, 3), 0.5, dtype=np.float32)], "cpu")[0]
        points = torch.rand(2000, 3) * 1.7 - 0.85
        raw = Field(code, network.decoder, network.renderer).density(points).log().median().item()
    bias = network.renderer.cfg.density_bias + math.log(25) - raw  # half of the box lies inside
    write_model(folder, settings(renderer={"density_bias": bias}))
    return folder
