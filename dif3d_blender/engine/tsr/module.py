"""The base of every part of the network: a module that is built from a checked set of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from ..errors import DIF3DError
from ..memory import release_pages


def normal_parameter(*shape: int, std: float) -> nn.Parameter:
    """Return a parameter of normally distributed values; of none on the meta device, where only shapes count."""
    values = torch.empty(shape)
    if not values.is_meta:  # there, torch would import its whole compiler to do nothing: a second of loading
        values.normal_(std=std)
    return nn.Parameter(values)


def release_weights(module: nn.Module) -> None:
    """Give back the memory of weights that were just used and are mapped from the model's file (`release_pages`).

    A picture is seen layer by layer, so that no more than one layer's weights need be in memory. While gradients are
    recorded they all do: they are used again on the way back.
    """
    if not torch.is_grad_enabled():
        release_pages(module.parameters())


class BaseModule(nn.Module):
    """A `torch.nn.Module` with a `Config` dataclass of settings and a `configure()` that builds it from them.

    Args:
        cfg: the settings, as a mapping (a `dict` or a node of a `config.yaml`). `${…}` references are resolved.
        kwargs: handed to `configure`.

    Raises:
        DIF3DError: a setting is unknown, missing or of the wrong type.
    """

    @dataclass
    class Config:
        pass

    cfg: Config

    def __init__(self, cfg: Mapping[str, Any] | DictConfig | None = None, **kwargs: Any) -> None:
        super().__init__()
        try:
            self.cfg = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(self.Config), cfg or {}))
        except OmegaConfBaseException as error:
            setting = f" at {error.full_key!r}" if error.full_key else ""
            raise DIF3DError(
                f"The model's settings do not fit {type(self).__name__}{setting}: {str(error).splitlines()[0]}. "
                "Check the model's config.yaml."
            ) from error
        self.configure(**kwargs)

    def configure(self, **kwargs: Any) -> None:
        """Build the sub-modules from `self.cfg`."""
        raise NotImplementedError
