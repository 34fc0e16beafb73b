"""Mesh and Gaussians of an example picture by Blender: they must look the same from all around."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bpy")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import compare_gaussians  # noqa: E402

from dif3d_blender.engine import pipeline  # noqa: E402
from dif3d_blender.messages import Job  # noqa: E402


def test_gaussians_look_like_the_mesh_from_eight_cameras(tmp_path, monkeypatch):
    cover = pipeline.cover_surface  # a sixth of them is enough for pictures so small, and quicker
    monkeypatch.setattr(pipeline, "cover_surface", lambda *arguments: cover(*arguments, count=8000))
    picture = ROOT / "examples" / "snowman.png"
    job = Job(str(picture), str(tmp_path), model="embedded", resolution=128, frames=0)
    drawn = compare_gaussians.render_all(pipeline.Pipeline().run(job, lambda _: None), 96)
    assert drawn["mesh"].shape == (8, 96, 96, 4)
    assert (drawn["mesh"][..., 3] > 0.5).mean((1, 2)).min() > 0.05, "the object is in every picture"
    iou, psnr = compare_gaussians.compare(drawn["mesh"], drawn["gaussians"])
    assert iou >= 0.95
    assert psnr >= 22
    front, back = drawn["tinted"][0], drawn["tinted"][4]
    warm = [(p[..., 0] > p[..., 2])[p[..., 3] > 0.5].mean() for p in (front, back)]
    assert warm[0] > 0.7 and warm[1] < 0.3, "the picture shows the front"


def test_what_differs_scores_low():
    first = np.zeros((8, 16, 16, 4), np.float32)
    first[:, 4:12, 4:12] = 1.0
    other = np.roll(first, 4, axis=1)
    other[..., :3] *= 0.5
    iou, psnr = compare_gaussians.compare(first, other)
    assert iou == pytest.approx(1 / 3)
    assert psnr == pytest.approx(-10 * np.log10(0.25))
