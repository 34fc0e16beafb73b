"""DIF3D's "Utils", under the names that DIF3D gives them.

What belongs to another concern lives in that concern's module and is offered here by its DIF3D name; those names are
resolved when first asked for, because some of their modules import this one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .cameras import get_ray_directions, get_rays, get_spherical_cameras, rays_intersect_bbox

_HOME = {
    "BaseModule": ".tsr.module",
    "ImagePreprocessor": ".tsr.image_tokenizer",
    "remove_background": ".foreground",
    "resize_foreground": ".foreground",
    "save_video": ".export",
    "to_gradio_3d_orientation": ".export",
}
__all__ = [  # noqa: F822  (the names of _HOME are resolved by __getattr__)
    "BaseModule",
    "ImagePreprocessor",
    "chunk_batch",
    "get_activation",
    "get_ray_directions",
    "get_rays",
    "get_spherical_cameras",
    "rays_intersect_bbox",
    "remove_background",
    "resize_foreground",
    "save_video",
    "scale_tensor",
    "to_gradio_3d_orientation",
]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def chunk_batch(func: Callable, chunk_size: int, *args: Any, **kwargs: Any) -> Any:
    """Call `func` on slices of at most `chunk_size` rows and join what it returns.

    Every tensor among the arguments is sliced along its first axis, which must be equally long in all of them; the rest
    is passed as it is. `func` returns a tensor, or a tuple, list or dict of tensors (None is allowed where every call
    gives None); the same is returned, joined along the first axis. A `chunk_size` of 0 makes one call.

    Raises:
        ValueError: no tensor among the arguments.
        TypeError: `func` returned something that cannot be joined.
    """
    if chunk_size <= 0:
        return func(*args, **kwargs)
    tensors = [arg for arg in [*args, *kwargs.values()] if isinstance(arg, Tensor)]
    if not tensors:
        raise ValueError("chunk_batch needs a tensor among its arguments: there is nothing to slice")

    def cut(arg: Any, start: int) -> Any:
        return arg[start : start + chunk_size] if isinstance(arg, Tensor) else arg

    starts = range(0, max(1, tensors[0].shape[0]), chunk_size)  # an empty batch still makes one call, for the shape
    parts = [func(*[cut(a, s) for a in args], **{k: cut(a, s) for k, a in kwargs.items()}) for s in starts]
    return _join(parts)


def _join(parts: list) -> Any:
    first = parts[0]
    if first is None and all(part is None for part in parts):
        return None
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts]) for key in first}
    if isinstance(first, (tuple, list)):
        return type(first)(_join(list(column)) for column in zip(*parts, strict=True))
    raise TypeError(f"chunk_batch joins tensors, tuples, lists and dicts of them, not {type(first).__name__}")


def scale_tensor(
    dat: Tensor, inp_scale: tuple[float, float] | Tensor | None, tgt_scale: tuple[float, float] | Tensor | None
) -> Tensor:
    """Map `dat` linearly so that the interval `inp_scale` becomes `tgt_scale` ((0, 1) where None)."""
    low, high = (0, 1) if inp_scale is None else inp_scale
    to_low, to_high = (0, 1) if tgt_scale is None else tgt_scale
    return (dat - low) / (high - low) * (to_high - to_low) + to_low


class _TruncatedExp(torch.autograd.Function):
    """exp whose gradient stops growing at x = 15, so that one dense sample cannot throw a training run."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.clamp(max=15).exp()


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "exp": torch.exp,
    "trunc_exp": _TruncatedExp.apply,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
}


def get_activation(name: str | None) -> Callable[[Tensor], Tensor]:
    """Return the activation function of that name; None and "none" give the identity.

    Raises:
        ValueError: the name is not known.
    """
    try:
        return _ACTIVATIONS["none" if name is None else name.lower()]
    except KeyError:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(sorted(_ACTIVATIONS))}") from None
