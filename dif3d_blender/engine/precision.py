"""In which number format the network's large layers compute.

Only the weights of the image tokenizer's and transformer's linear layers change format: they are 99 % of a model. What
is added up (the residual stream, norms, scene codes) and the decoder stay float32, so that 16-bit scene codes differ
from float32 ones by well under two percent.
"""

from __future__ import annotations

import torch
from torch import nn

from .errors import DIF3DError
from .products import Linear, multiplies

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LARGE = 50_000_000  # parameters from which 16-bit weights pay: below, the picture is seen in a second anyway


def choose_precision(name: str, device: torch.device | str, parameters: int) -> torch.dtype:
    """Return the format for a model of so many parameters on `device`.

    Args:
        name: "float32", "bfloat16", "float16", or "auto": bfloat16 for a large model where the device multiplies it
            faster than float32, else float32.
        device: where the model will run.
        parameters: how many the model has.

    Raises:
        DIF3DError: the name is not known.
    """
    if name == "auto":
        pays = parameters >= _LARGE and multiplies(torch.bfloat16, torch.device(device))
        return torch.bfloat16 if pays else torch.float32
    try:
        return _DTYPES[name]
    except KeyError:
        raise DIF3DError(f"The precision {name!r} is not known. Choose auto, {', '.join(_DTYPES)}.") from None


def large_weights(model: nn.Module) -> set[str]:
    """Return the names of those parameters of a `TSR` that take another format."""
    return {
        f"{module_name}.{name}"
        for module_name, module in model.named_modules()
        if isinstance(module, Linear) and not module_name.startswith("decoder.")
        for name, _ in module.named_parameters(recurse=False)
    }
