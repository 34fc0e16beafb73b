"""DIF3D's "Utils": every helper by its name, and what each of them promises."""

import importlib

import pytest
import torch

from dif3d_blender.engine import utils
from dif3d_blender.engine.utils import chunk_batch, get_activation, scale_tensor


@pytest.mark.parametrize("name", utils.__all__)
def test_every_helper_is_there(name):
    assert callable(getattr(utils, name))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError):
        importlib.import_module("dif3d_blender.engine.utils").nonsense  # noqa: B018


@pytest.mark.parametrize("size", [0, 1, 3, 10, 100])
def test_chunked_calls_join_what_they_return(size):
    x, y = torch.arange(10.0), torch.arange(20.0).view(10, 2)
    seen = []

    def func(a, scale, b):
        seen.append(len(a))
        return {"sum": a[:, None] * scale + b, "pair": (a, [b]), "none": None}

    out = chunk_batch(func, size, x, 2.0, b=y)
    assert max(seen) <= (size or 10)
    assert torch.equal(out["sum"], x[:, None] * 2 + y)
    assert torch.equal(out["pair"][0], x)
    assert torch.equal(out["pair"][1][0], y)
    assert out["none"] is None


def test_chunked_calls_of_nothing():
    assert chunk_batch(lambda x: x + 1, 4, torch.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="tensor"):
        chunk_batch(lambda x: x, 4, 3)
    with pytest.raises(TypeError, match="str"):
        chunk_batch(lambda x: "text", 4, torch.zeros(5))


def test_scaling_maps_one_interval_to_the_other():
    points = torch.tensor([-0.87, 0.0, 0.87])
    assert torch.allclose(scale_tensor(points, (-0.87, 0.87), (-1, 1)), torch.tensor([-1.0, 0.0, 1.0]))
    assert torch.allclose(scale_tensor(points, (-0.87, 0.87), None), torch.tensor([0.0, 0.5, 1.0]))
    limits = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    assert torch.equal(scale_tensor(torch.tensor([[0.5, 0.5]]), None, limits), torch.tensor([[1.0, 3.0]]))


@pytest.mark.parametrize("name", ["exp", "trunc_exp", "sigmoid", "tanh", "softplus", "relu", "silu", "gelu", "Sigmoid"])
def test_activations_by_name(name):
    x = torch.linspace(-3, 3, 7)
    plain = {"trunc_exp": "exp"}.get(name, name.lower())
    reference = getattr(torch, plain, None) or getattr(torch.nn.functional, plain)
    assert torch.equal(get_activation(name)(x), reference(x))


def test_activation_names_that_mean_none_or_nothing():
    x = torch.randn(5)
    assert get_activation(None)(x) is x
    assert get_activation("none")(x) is x
    for name in ("interpolate", "linear_", "os"):  # names of torch.nn.functional that are no activations do not pass
        with pytest.raises(ValueError, match="unknown activation"):
            get_activation(name)


def test_truncated_exponential_bounds_its_gradient():
    x = torch.tensor([1.0, 40.0], requires_grad=True)
    get_activation("trunc_exp")(x).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([1.0, 15.0]).exp())
