"""Matrix products and attention by the fastest means that torch has for them on this machine.

On x86 CPUs torch hands float32 products to MKL, which on AMD processors leaves vector width unused; oneDNN, which torch
carries too, does not. With the same float32 arithmetic it is 1.2 times as fast at the sizes of this network on a Zen 4,
and was 2.1 to 2.7 times as fast on another EPYC with AVX-512. torch's own attention on CPUs uses MKL as well, and no
16-bit products: by oneDNN it is 1.5 to 1.9 times as fast in bfloat16. In float32 now the one and now the other is
faster, so that both are tried.

`torch.backends.mkldnn.flags(enabled=False)` switches all of it off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ACTIVATIONS = {nn.ReLU: "relu", nn.SiLU: "swish"}  # as oneDNN names them
_ALIKE = 256  # rows of a product are filled up to a multiple of so many
_WORTH_TRYING = 1 << 31  # products of an attention from which it is found out which way is faster
_ROWS = 512  # queries whose scores are computed together: few enough to stay in the cache


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`, in the format of its weight where that is a 16-bit one.

    Where the device has no products of that format, a 16-bit weight is widened when it is used, one layer at a time: it
    still takes half the memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if not multiplies(weight.dtype, weight.device):
            weight, bias = weight.float(), None if bias is None else bias.float()
        return linear(x.to(weight.dtype), weight, bias)


def multiplies(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` has products of its own in `dtype`. Elsewhere they are emulated, up to 50 times as slow."""
    if dtype == torch.float32:
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return dtype == torch.bfloat16 and _cpu_multiplies_bfloat16()
    return dtype == torch.float16


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·weightᵀ + bias for x [..., inputs] and weight [outputs, inputs], as `torch.nn.functional.linear`."""
    if x.dtype == torch.float32 and _by_onednn(x, weight):
        return _onednn_linear(x, weight, bias)
    return F.linear(x, weight, bias)  # which is by oneDNN for bfloat16


def run_layers(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What `torch.nn.Sequential(*layers)` makes of x [N, inputs]; an activation takes no pass of its own."""
    count = len(x)
    if _by_onednn(x, x):  # which makes and keeps a program for each number of rows that it meets
        x = F.pad(x, (0, 0, 0, -count % _ALIKE))
    position = 0
    while position < len(layers):
        layer, *following = layers[position : position + 2]
        activation = _ACTIVATIONS.get(type(following[0])) if following else None
        if activation and isinstance(layer, nn.Linear) and x.dtype == torch.float32 and _by_onednn(x, layer.weight):
            x = _onednn_linear(x, layer.weight, layer.bias, activation)
            position += 2
        else:
            x = layer(x)
            position += 1
    return x[:count]


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017), as `torch.nn.functional.scaled_dot_product_attention`.

    Args:
        query: [B, heads, N, channels].
        key: [B, heads, M, channels].
        value: [B, heads, M, channels].

    Returns:
        [B, heads, N, channels].
    """
    able = query.dtype in (torch.float32, torch.bfloat16) and _by_onednn(query, key)
    large = query.dtype == torch.float32 and query.numel() * key.shape[2] >= _WORTH_TRYING
    if not able or (large and not _onednn_attends_faster()):
        return F.scaled_dot_product_attention(query, key, value)
    return _attention_by_products(query, key, value)


def _attention_by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    batch, heads, count, channels = query.shape
    query = (query * channels**-0.5).contiguous()
    out = torch.empty_like(query)  # each head's rows together: joining the heads later is quicker than scattering here
    for item in range(batch):
        for head in range(heads):
            keys, values = key[item, head].contiguous(), value[item, head].T.contiguous()
            for start in range(0, count, _ROWS):
                rows = slice(start, start + _ROWS)
                weights = linear(query[item, head, rows], keys, None).softmax(dim=-1)
                out[item, head, rows] = linear(weights, values, None)
    return out


@cache
def _onednn_attends_faster() -> bool:
    """Whether float32 attention is quicker by oneDNN's products than by torch's own here.

    It depends on how wide the processor multiplies, and no name tells. So it is tried, once, in a tenth of a second.
    """
    tokens = torch.rand(3, 1, 8, 1024, 64)
    best = {}
    for way in (_attention_by_products, F.scaled_dot_product_attention):
        for _ in range(3):  # the first one prepares
            started = time.perf_counter()
            way(*tokens)
            best[way] = min(best.get(way, math.inf), time.perf_counter() - started)
    return best[_attention_by_products] < best[F.scaled_dot_product_attention]


def _onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, activation, [], "")


def _by_onednn(x: Tensor, other: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == other.dtype
        and not torch.is_grad_enabled()  # its products have no gradient
        and torch.backends.mkldnn.enabled
        and _has_onednn()
    )


@cache
def _cpu_multiplies_bfloat16() -> bool:
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@cache
def _has_onednn() -> bool:
    """Whether this torch carries oneDNN's product and it computes what it should."""
    if not torch.backends.mkldnn.is_available() or not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    x, weight, bias = torch.arange(6.0).view(1, 2, 3), torch.arange(12.0).view(4, 3), torch.ones(4)
    try:
        product = _onednn_linear(x, weight, bias)
    except (AttributeError, RuntimeError):  # the operator is torch's own and may be missing or change
        return False
    return torch.allclose(product, F.linear(x, weight, bias))
