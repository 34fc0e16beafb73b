"""DIF3D's first stage by its method names, with GLPN, without it, and with depths that are of no use."""

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw
from tiny_glpn import write_glpn

from dif3d_blender.engine import Gaussian, gaussian, pointcloud
from dif3d_blender.engine.depth import DepthUnavailable
from dif3d_blender.engine.errors import DIF3DError


@pytest.fixture
def picture(tmp_path):
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((40, 20, 160, 180), fill=(200, 90, 40, 255))
    image.save(tmp_path / "egg.png")
    return tmp_path / "egg.png"


@pytest.fixture(scope="module")
def glpn_folder(tmp_path_factory):
    return write_glpn(tmp_path_factory.mktemp("glpn"))


def front_of_egg(height, width):
    """The depth of a round front, in the field's units; NaN far outside."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.where(x**2 + y**2 < 0.95, 1.9 - 0.5 * np.sqrt(np.clip(1 - x**2 - y**2, 0, 1)), np.nan).astype(np.float32)


def run(stage, picture, output, **variables):
    stage.set_variables(picture, output, **variables)
    stage.gassuin_load()
    stage.pre_process()
    stage.depth_estimation()
    stage.dp_comparison_visual()
    stage.pointcloud()
    stage.post_process()


def test_with_glpn(picture, glpn_folder, tmp_path):
    stage = Gaussian(glpn_folder, nerf_depth=front_of_egg)
    run(stage, picture, tmp_path / "out", foreground_ratio=0.85, padding=16)
    side = 192  # 160 pixels tall at 0.85 make a square of 188; the nearest multiple of 32
    assert stage.depth_source == "glpn" and stage.depth_img.shape == (side - 32, side - 32)
    images, models = tmp_path / "out" / "images", tmp_path / "out" / "3dfiles"
    saved = np.load(images / "depth.npy")
    assert saved.dtype == np.float32 and np.array_equal(saved, stage.depth_img)
    millimetres = np.asarray(Image.open(images / "depth.png"))
    assert millimetres.max() > 255 and np.abs(millimetres / 1000 - saved).max() <= 0.0006
    assert Image.open(images / "depth_comparison.png").size == (2 * (side - 32), side - 32)
    assert Image.open(images / "Removed_BG.png").mode == "RGBA"
    assert {path.name for path in models.iterdir()} == {"pointcloud_raw.pcd", "pointcloud.pcd", "forfront_raw_mesh.obj"}
    assert len(stage.raw_pcd) == stage.inside.sum()
    eye = stage.camera.camera_to_world[:3, 3].numpy()
    along_axis = eye[0] - stage.raw_pcd.points[:, 0]
    assert np.isclose(np.median(along_axis), 1.9, atol=1e-3), "the subject's middle is at the box's"
    assert (((eye - stage.pcd.points) * stage.pcd.normals).sum(axis=1) >= 0).all()
    mesh = trimesh.load(models / "forfront_raw_mesh.obj", force="mesh")
    assert len(mesh.faces) > 1000 and np.isclose(np.ptp(mesh.vertices[:, 1]), 1.0)


def test_without_glpn_the_model_s_view_stands_in(picture, tmp_path):
    stage = Gaussian(tmp_path / "no-model", nerf_depth=front_of_egg)
    run(stage, picture, tmp_path / "out")
    assert stage.depth_source == "nerf"
    assert any(
        "no-model is not on this machine" in note and "front view is used instead" in note for note in stage.notes
    )
    assert np.array_equal(stage.depth_img, front_of_egg(192, 192)[16:-16, 16:-16], equal_nan=True)
    assert np.isclose(stage.raw_pcd.points[:, 0].max(), 0.5, atol=0.01), "field units stay as they are"


def test_without_any_depth_it_says_so(picture, tmp_path):
    stage = Gaussian(tmp_path / "no-model")
    stage.set_variables(picture, tmp_path / "out")
    stage.gassuin_load()
    stage.pre_process()
    with pytest.raises(DepthUnavailable, match=r"no-model is not on this machine.*2\.5D point cloud is left out"):
        stage.depth_estimation()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3.0])
def test_useless_glpn_depth_is_replaced(picture, glpn_folder, tmp_path, monkeypatch, bad):
    monkeypatch.setattr(gaussian, "estimate_depth", lambda image, glpn: np.full(image.shape[:2], bad, np.float32))
    stage = Gaussian(glpn_folder, nerf_depth=front_of_egg)
    stage.set_variables(picture, tmp_path / "out")
    stage.gassuin_load()
    stage.pre_process()
    stage.depth_estimation()
    assert stage.depth_source == "nerf"
    assert any("from GLPN" in note and "front view is used instead" in note for note in stage.notes)
    stage.nerf_depth = None
    with pytest.raises(DepthUnavailable, match="no other source of depth"):
        stage.depth_estimation()


def test_missing_parts_of_the_view_are_reported(picture, tmp_path):
    def half(height, width):
        depth = front_of_egg(height, width)
        depth[: height // 3] = np.nan
        return depth

    stage = Gaussian(nerf_depth=half)
    stage.set_variables(picture, tmp_path / "out")
    stage.pre_process()
    stage.depth_estimation()
    assert any("of the subject has no depth from the model's front view" in note for note in stage.notes)


def test_without_open3d_the_relief_stands_in(picture, tmp_path, monkeypatch):
    def missing(cloud):
        raise pointcloud.Open3DUnavailable("Open3D can't be loaded (libusb). sudo apt install libusb-1.0-0")

    monkeypatch.setattr(gaussian, "poisson_mesh", missing)
    stage = Gaussian(nerf_depth=front_of_egg)
    run(stage, picture, tmp_path / "out")
    assert any("apt install libusb-1.0-0" in note and "own triangles" in note for note in stage.notes)
    assert len(trimesh.load(tmp_path / "out" / "3dfiles" / "forfront_raw_mesh.obj", force="mesh").faces) > 1000


def test_steps_in_the_wrong_order_name_the_missing_one(picture, tmp_path):
    stage = Gaussian(nerf_depth=front_of_egg)
    for step, missing in (
        (stage.pre_process, "set_variables"),
        (stage.depth_estimation, "pre_process"),
        (stage.dp_comparison_visual, "depth_estimation"),
        (stage.pointcloud, "depth_estimation"),
        (stage.post_process, "pointcloud"),
    ):
        with pytest.raises(DIF3DError, match=rf"call {missing}\(\) first"):
            step()


def test_a_padding_that_leaves_nothing(picture, tmp_path):
    stage = Gaussian(nerf_depth=front_of_egg)
    stage.set_variables(picture, tmp_path / "out", padding=100)
    stage.pre_process()
    with pytest.raises(DIF3DError, match="padding of 100 pixels"):
        stage.depth_estimation()
