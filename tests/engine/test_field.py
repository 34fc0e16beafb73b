"""The fast form of a field against the dense one, and what happens when memory runs out."""

import psutil
import pytest
import torch
from fields import RADIUS, random_field

from dif3d_blender.engine import memory, products
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.products import attention, linear, run_layers


def dense_twin(field: Field) -> Field:
    return Field(field.triplane, field.decoder, field.renderer, dense=True)


def assert_same(fast: torch.Tensor, dense: torch.Tensor) -> None:
    assert fast.shape == dense.shape
    assert torch.allclose(fast, dense, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", ["concat", "mean"])
@pytest.mark.parametrize("bias", [True, False])
def test_fast_form_equals_the_renderer(reduction, bias):
    field = random_field(texels=7, reduction=reduction, bias=bias)
    points = torch.cat(
        [
            (torch.rand(2000, 3) * 2 - 1) * RADIUS,
            torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 0, 1) for z in (-1, 1)]) * RADIUS,  # the border
            torch.rand(50, 3) * 0.001 + RADIUS,  # rounding takes points out of the box
        ]
    )
    for fast, dense in zip(field.query(points), dense_twin(field).query(points), strict=True):
        assert_same(fast, dense)


def test_texel_centres_and_shapes():
    field = random_field(texels=5)
    points = (torch.rand(3, 4, 3) * 2 - 1) * RADIUS
    density, color = field.query(points)
    assert density.shape == (3, 4, 1)
    assert color.shape == (3, 4, 3)
    assert (density >= 0).all()
    assert ((color >= 0) & (color <= 1)).all()
    assert torch.equal(field.density(points), density)
    assert torch.equal(field.color(points), color)
    assert field.query(points[:0])[0].shape == (0, 4, 1)


def test_lattices_equal_points():
    field = random_field()
    x, y, z = torch.rand(5, 3) - 0.5, torch.rand(5, 4) - 0.5, torch.rand(5, 2) - 0.5
    points = torch.stack(torch.broadcast_tensors(x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]), dim=-1)
    for form in (field, dense_twin(field)):
        density, color = form.lattice(x, y, z)
        assert_same(density, field.density(points)[..., 0])
        assert_same(color, field.color(points))


def test_chunk_size_changes_nothing_but_the_calls():
    points = (torch.rand(1000, 3) * 2 - 1) * RADIUS
    whole, parts = random_field(chunk_size=100_000), random_field(chunk_size=37)
    assert_same(parts.density(points), whole.density(points))
    x = torch.linspace(-0.5, 0.5, 5).expand(7, -1)
    for part, one in zip(parts.lattice(x, x, x), whole.lattice(x, x, x), strict=True):
        assert_same(part, one)
    assert parts.queries == whole.queries == 1000 + 7 * 125


def test_out_of_memory_is_retried_smaller_and_said(monkeypatch):
    field = random_field(chunk_size=4096)
    points = (torch.rand(5000, 3) * 2 - 1) * RADIUS
    expected = field.density(points)
    features, calls = field._features, []

    def short_of_memory(chunk):
        calls.append(len(chunk))
        if len(chunk) > 1000:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return features(chunk)

    monkeypatch.setattr(field, "_features", short_of_memory)
    assert torch.equal(field.density(points), expected)
    assert calls[:2] == [4096, 1024]
    assert field.chunk_size < 1000
    assert field.warnings
    assert all("Memory ran out" in warning for warning in field.warnings)
    assert field.corrected(lambda points, density, color: (density, color)).warnings == field.warnings
    assert field.queries == 10_000


def test_other_errors_and_hopeless_memory_are_raised(monkeypatch):
    def fail(message):
        def features(chunk):
            raise RuntimeError(message)

        return features

    for message in ("shapes do not fit", "can't allocate memory"):
        field = random_field()
        monkeypatch.setattr(field, "_features", fail(message))
        with pytest.raises(RuntimeError, match=message):
            field.density(torch.zeros(10, 3))


def test_peak_memory_is_at_least_what_is_held_now():
    held = torch.ones(10_000_000)
    now = psutil.Process().memory_info().rss
    assert held[-1] == 1
    assert 0.95 * now < memory.peak_bytes("cpu") < psutil.virtual_memory().total


def test_free_memory_is_a_sensible_number(tmp_path, monkeypatch):
    free = memory.free_bytes("cpu")
    assert free > 2**20
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    (tmp_path / "memory.stat").write_text("anon 1100000\ninactive_file 600000\nactive_file 300000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_bytes("cpu") == 3_900_000  # what was read of files is given up when it is needed
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes("cpu") > 2**20


@pytest.mark.parametrize("onednn_is_faster", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (300, 40), (600, 5)])
def test_attention_equals_torchs(queries, keys, onednn_is_faster, monkeypatch):
    monkeypatch.setattr(products, "_WORTH_TRYING", 0)
    monkeypatch.setattr(products, "_onednn_attends_faster", lambda: onednn_is_faster)
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, count, 3, 8).transpose(1, 2) for count in (queries, keys, keys))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    with torch.no_grad():
        assert torch.allclose(attention(query, key, value), expected, atol=1e-5)
        rounded = attention(query.bfloat16(), key.bfloat16(), value.bfloat16())
        assert torch.allclose(rounded.float(), expected, atol=0.05)
    assert attention(query.requires_grad_(), key, value).requires_grad


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (0, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_onednn_product_equals_torchs(shape, has_bias):
    x, weight, bias = torch.randn(shape), torch.randn(4, 3), torch.randn(4) if has_bias else None
    expected = torch.nn.functional.linear(x, weight, bias)
    with torch.no_grad():
        assert torch.allclose(linear(x, weight, bias), expected, atol=1e-5)
        across = x.transpose(0, -2).contiguous().transpose(0, -2)  # another memory layout
        assert torch.allclose(linear(across, weight, bias), expected, atol=1e-5)
    with_gradient = linear(x, weight.requires_grad_(), bias)
    assert with_gradient.requires_grad


@pytest.mark.parametrize("activation", [torch.nn.SiLU, torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("count", [0, 7])
def test_layers_with_their_activations_equal_torchs(activation, count):
    layers = torch.nn.Sequential(activation(), torch.nn.Linear(3, 5), activation(), torch.nn.Linear(5, 4, bias=False))
    x = torch.randn(count, 3)
    expected = layers(x)
    with torch.no_grad():
        assert torch.allclose(run_layers(list(layers), x), expected, atol=1e-5)
    assert run_layers(list(layers), x).requires_grad


def test_the_faster_attention_is_found_once():
    with torch.no_grad():
        assert products._onednn_attends_faster() in (True, False)
    assert products._onednn_attends_faster.cache_info().currsize == 1
