"""16-bit weights: when they are chosen, what they change, and the copy that is kept beside a large file."""

import os

import pytest
import torch
from tiny_models import write_model

from dif3d_blender.engine import TSR, precision, products, weights
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.precision import choose_precision, large_weights


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_model(tmp_path)
    monkeypatch.setattr(weights, "_WORTH_CONVERTING", 0)  # every file counts as large
    return tmp_path


def encode(model):
    torch.manual_seed(0)
    with torch.no_grad():
        return model(torch.rand(1, 30, 30, 3), "cpu")


def test_auto_takes_bfloat16_only_where_it_pays(monkeypatch):
    for able, parameters, expected in (
        (True, 419_000_000, torch.bfloat16),
        (True, 2_000_000, torch.float32),
        (False, 419_000_000, torch.float32),
    ):
        monkeypatch.setattr(precision, "multiplies", lambda dtype, device, able=able: able)
        assert choose_precision("auto", "cpu", parameters) == expected


def test_names_are_taken_as_they_are():
    assert choose_precision("float16", "cpu", 1) == torch.float16
    assert choose_precision("float32", "cpu", 10**9) == torch.float32
    with pytest.raises(DIF3DError, match="float8"):
        choose_precision("float8", "cpu", 1)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_only_the_large_layers_change(folder, name):
    full, half = TSR.from_pretrained(folder), TSR.from_pretrained(folder, precision=name)
    large = large_weights(half)
    assert half.dtype == getattr(torch, name)
    for parameter_name, parameter in half.named_parameters():
        assert (parameter.dtype == half.dtype) == (parameter_name in large), parameter_name
    assert not any(n.startswith("decoder") or "norm" in n or "embeddings" in n for n in large)
    codes = encode(half)
    assert codes.dtype == torch.float32
    difference = (codes - encode(full)).square().mean().sqrt() / encode(full).square().mean().sqrt()
    assert 0 < difference < 0.02


@pytest.mark.parametrize("able", [True, False])
def test_a_cpu_without_16_bit_products_widens_the_weights(folder, monkeypatch, able):
    monkeypatch.setattr(products, "_cpu_multiplies_bfloat16", lambda: able)
    expected, codes = encode(TSR.from_pretrained(folder)), encode(TSR.from_pretrained(folder, precision="bfloat16"))
    difference = (codes - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0 < difference < 0.02


def test_references_within_two_percent(shared):
    for name in ("random", "fitted"):
        folder = shared / "reference" / name
        full, half = (encode(TSR.from_pretrained(folder, precision=p)) for p in ("float32", "bfloat16"))
        assert (full - half).square().mean().sqrt() < 0.02 * full.square().mean().sqrt()


def test_a_copy_is_kept_and_used(folder, monkeypatch):
    first = encode(TSR.from_pretrained(folder, precision="bfloat16"))
    copy = folder / "model.bfloat16.safetensors"
    assert copy.stat().st_mode & 0o777 == (folder / "model.ckpt").stat().st_mode & 0o777
    read = []
    monkeypatch.setattr(weights, "read_tensors", lambda path: read.append(path))
    assert torch.equal(encode(TSR.from_pretrained(folder, precision="bfloat16")), first)
    assert not read
    assert sorted(path.name for path in folder.iterdir()) == sorted(["config.yaml", "model.ckpt", copy.name, "vit"])


def test_a_copy_of_another_file_or_a_broken_one_is_replaced(folder):
    encode(TSR.from_pretrained(folder, precision="bfloat16"))
    copy = folder / "model.bfloat16.safetensors"
    tensors = torch.load(folder / "model.ckpt", weights_only=True)
    tensors["tokenizer.embeddings"] += 1
    torch.save(tensors, folder / "model.ckpt")
    os.utime(folder / "model.ckpt", (1, 1))
    changed = encode(TSR.from_pretrained(folder, precision="bfloat16"))
    expected = encode(TSR.from_pretrained(folder))
    assert torch.allclose(changed, expected, atol=0.1)
    copy.write_bytes(copy.read_bytes()[:100])
    assert torch.equal(encode(TSR.from_pretrained(folder, precision="bfloat16")), changed)
    assert copy.stat().st_size > 100


def test_small_files_get_no_copy_and_an_unwritable_folder_is_no_error(folder, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "save_file", full_disk)
    expected = encode(TSR.from_pretrained(folder, precision="bfloat16"))
    monkeypatch.setattr(weights, "_WORTH_CONVERTING", 10**9)
    assert torch.equal(encode(TSR.from_pretrained(folder, precision="bfloat16")), expected)
    assert not list(folder.glob("*.safetensors"))


def test_a_file_that_does_not_fit_is_still_named(folder):
    torch.save({}, folder / "model.ckpt")
    with pytest.raises(DIF3DError, match="missing"):
        TSR.from_pretrained(folder, precision="bfloat16")
