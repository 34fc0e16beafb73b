"""What every part of the network stands on: modules built from checked settings, and the care of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

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


class Kept:
    """A result of a module's weights alone, kept from one call to the next for as long as none of them changes."""

    def __init__(self) -> None:
        self._weights: list[nn.Parameter] = []  # held, so that no other tensor gets the identity of one of them
        self._state: list[tuple[int, int, int]] = []
        self._result: Tensor | None = None

    def get(self, module: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
        """Return what `compute` returns, which must depend on nothing but the weights of `module`.

        Nothing is kept in training, while gradients are recorded, or where changes cannot be told: tensors made in
        torch's inference mode do not count them.
        """
        weights = list(module.parameters())
        if module.training or torch.is_grad_enabled() or any(weight.is_inference() for weight in weights):
            self.__init__()
            return compute()
        # A weight can be changed in place, be moved to other memory, or be another tensor than before.
        state = [(id(weight), weight._version, weight.data_ptr()) for weight in weights]
        if self._result is None or state != self._state:
            self._weights, self._state, self._result = weights, state, compute()
        return self._result


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
