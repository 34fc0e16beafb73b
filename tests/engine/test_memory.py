"""Giving back the memory of mapped weights: what is given back, and that no value is ever lost."""

import mmap
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import settings, write_model

from dif3d_blender.engine import TSR
from dif3d_blender.engine.memory import release_pages
from dif3d_blender.engine.weights import read_tensors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells mapped pages apart")

SIZE = 1 << 22  # numbers: 16 MB


def mapped_bytes() -> int:
    """How much of the files that this process maps is in its memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE


@pytest.fixture
def mapped(tmp_path):
    torch.save({"weight": torch.arange(SIZE, dtype=torch.float32)}, tmp_path / "model.ckpt")
    return read_tensors(tmp_path / "model.ckpt")["weight"]


def test_mapped_tensors_leave_memory_and_are_read_again(mapped):
    total = mapped.sum()
    before = mapped_bytes()
    release_pages([mapped])
    assert before - mapped_bytes() > 0.9 * mapped.nbytes
    assert mapped.sum() == total
    assert torch.equal(mapped, torch.arange(SIZE, dtype=torch.float32))


def test_a_change_is_never_lost(mapped):
    mapped.data[SIZE // 2] = -1.0  # one that torch itself does not count
    release_pages([mapped])
    assert mapped[SIZE // 2] == -1.0
    assert mapped[-1] == SIZE - 1


def test_memory_of_its_own_stays():
    own = torch.arange(SIZE, dtype=torch.float32)
    shared = torch.arange(SIZE, dtype=torch.float32).share_memory_()
    release_pages([own, shared, torch.zeros(0), torch.zeros(3)])
    assert torch.equal(own, torch.arange(SIZE, dtype=torch.float32))
    assert torch.equal(shared, own)


def test_a_model_holds_no_layer_that_it_is_done_with(tmp_path):
    """Wide layers, so that the backbone is nearly all of the model; with gradients it stays."""
    backbone = {"num_attention_heads": 8, "attention_head_dim": 64, "num_layers": 3}
    write_model(tmp_path, settings(backbone=backbone))
    model = TSR.from_pretrained(tmp_path)
    size = sum(p.nbytes for p in model.backbone.transformer_blocks.parameters())
    picture = torch.full((8, 8, 3), 0.5)
    with torch.no_grad():
        model(picture, "cpu")  # what is read of libraries once
        before = mapped_bytes()
        first = model(picture, "cpu")
        assert mapped_bytes() - before < 0.1 * size
        assert torch.equal(model(picture, "cpu"), first)
    model(picture, "cpu").sum().backward()
    assert mapped_bytes() - before > 0.8 * size
