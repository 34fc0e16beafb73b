"""Depth, 2.5D and Gaussians of whole jobs, with tiny networks: what is written and said, and what bad input gets."""

import numpy as np
import pytest
from PIL import Image
from tiny_glpn import write_glpn

from dif3d_blender.engine import gaussian, pipeline, pointcloud
from dif3d_blender.engine.depth import load_glpn
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.pipeline import Pipeline
from dif3d_blender.messages import Job

GAUSSIANS = {f"gaussians_{key}" for key in ("position", "scale", "rotation", "opacity", "color", "observed")}
RELIEF = {"depth", "depth_png", "depth_color", "depth_comparison", "pointcloud_raw", "pointcloud", "forfront_raw_mesh"}


@pytest.fixture(autouse=True)
def no_published_glpn(monkeypatch, tmp_path):
    """As on a machine without GLPN's weights, whatever this one has; and few Gaussians."""
    use_glpn(monkeypatch, tmp_path / "no-glpn")
    cover = pipeline.cover_surface
    monkeypatch.setattr(pipeline, "cover_surface", lambda *arguments: cover(*arguments, count=500))


def use_glpn(monkeypatch, folder):
    monkeypatch.setattr(gaussian, "load_glpn", lambda published, *settings: load_glpn(folder, *settings))


def disc(alpha_where=lambda x, y: x**2 + y**2 < 0.4):
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[alpha_where(x, y)] = (200, 40, 30, 255)
    return Image.fromarray(pixels)


def run(image, folder, model, **settings):
    image.save(folder / "picture.png")
    settings = {"resolution": 24, "frames": 0, "device": "cpu"} | settings
    return Pipeline().run(Job(str(folder / "picture.png"), str(folder / "out"), model=str(model), **settings), print)


def said(result):
    return " ".join(result.report["substitutions"] + result.report["warnings"])


def test_all_files_of_depth_and_gaussians(tmp_path, model_folder):
    result = run(disc(), tmp_path, model_folder)
    assert GAUSSIANS | RELIEF | {"gaussians", "gaussians_glb"} <= set(result.files)
    positions = np.load(result.files["gaussians_position"])
    observed = np.load(result.files["gaussians_observed"])
    assert result.report["gaussians"] == {"count": len(positions), "observed": int(observed.sum())}
    assert 0 < observed.sum() < len(positions)
    assert "no-glpn is not on this machine" in said(result)
    assert "front view is used instead" in said(result)
    assert np.load(result.files["depth"]).shape == (32, 32), "a square of 64, cropped by the padding"
    assert "fusion" not in result.report


def test_glpn_is_used_and_fused_where_it_is(tmp_path, model_folder, monkeypatch):
    use_glpn(monkeypatch, write_glpn(tmp_path / "glpn"))
    result = run(disc(), tmp_path, model_folder, fuse_depth=True, padding=8)
    assert np.load(result.files["depth"]).shape == (48, 48)
    assert "front view is used instead" not in said(result)
    assert "fused" in result.report["fusion"], "random tensors: most likely not, but it is said"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.nan, "missing, not finite or not positive"),
        (np.inf, "missing, not finite or not positive"),
        (2.0, "the same everywhere"),
    ],
)
def test_useless_depth_is_named_with_its_fallback(tmp_path, model_folder, monkeypatch, bad, words):
    use_glpn(monkeypatch, write_glpn(tmp_path / "glpn"))
    monkeypatch.setattr(gaussian, "estimate_depth", lambda image, glpn: np.full(image.shape[:2], bad, np.float32))
    result = run(disc(), tmp_path, model_folder, fuse_depth=True)
    assert words in said(result) and "front view is used instead" in said(result)
    assert "nothing to fuse" in result.report["fusion"]
    assert set(result.files) >= GAUSSIANS | RELIEF


def test_broken_glpn_files_are_named_with_their_fallback(tmp_path, model_folder, monkeypatch):
    folder = write_glpn(tmp_path / "broken-glpn")
    (folder / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(DIF3DError, match="broken-glpn can't be used"):
        load_glpn(folder)
    use_glpn(monkeypatch, folder)
    result = run(disc(), tmp_path, model_folder)
    assert "broken-glpn can't be used" in said(result) and "front view is used instead" in said(result)
    assert set(result.files) >= GAUSSIANS | RELIEF


def test_a_padding_that_crops_the_subject_away(tmp_path, model_folder):
    result = run(disc(), tmp_path, model_folder, padding=48)
    assert "padding of 48 pixels on each side leaves nothing" in said(result)
    assert "Left out: the depth map" in said(result)
    assert set(result.files) >= GAUSSIANS and not RELIEF & set(result.files)


def test_an_empty_mask_is_named(tmp_path, model_folder):
    with pytest.raises(DIF3DError, match="transparent"):
        run(disc(lambda x, y: x > 2), tmp_path, model_folder)
    stage = gaussian.Gaussian(nerf_depth=lambda height, width: np.ones((height, width), np.float32))
    stage.set_variables(tmp_path / "picture.png", tmp_path / "out")
    stage.use_picture(np.full((96, 96, 3), 0.5), np.zeros((96, 96)))
    stage.make_all()
    assert "mask is empty" in " ".join(stage.notes)


def test_a_subject_one_pixel_wide(tmp_path, model_folder):
    line = np.zeros((96, 96), bool)
    line[10:80, 40] = True
    result = run(disc(lambda x, y: line), tmp_path, model_folder, resolution=128)
    assert set(result.files) >= GAUSSIANS


def test_a_picture_one_pixel_wide(tmp_path, model_folder):
    with pytest.raises(DIF3DError, match="1×96"):
        run(disc().crop((40, 0, 41, 96)), tmp_path, model_folder)
    stage = gaussian.Gaussian(nerf_depth=lambda height, width: np.ones((height, width), np.float32))
    stage.set_variables(tmp_path / "picture.png", tmp_path / "out")
    stage.use_picture(np.full((96, 1, 3), 0.5), np.ones((96, 1)))
    stage.make_all()
    assert "leaves nothing of a depth map of 32×96" in " ".join(stage.notes)


def test_without_open3d_it_says_what_to_install(tmp_path, model_folder, monkeypatch):
    def missing():
        raise pointcloud.Open3DUnavailable("Open3D is not installed")

    monkeypatch.setattr(pointcloud, "import_open3d", missing)
    result = run(disc(), tmp_path, model_folder)
    assert "Open3D is not installed" in said(result) and "own triangles instead of Poisson's" in said(result)
    assert set(result.files) >= RELIEF
