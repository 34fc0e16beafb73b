"""DIF3D's notebook API: its README's example, the order of steps, several pictures, and `Timer`."""

import logging
import re
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageDraw

from dif3d_blender.engine import Runtime, Timer, runtime
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.foreground import load_subject

SMALL = {"padding": 4, "mc_resolution": 16}  # for pictures of 32 pixels


def draw(path, color, size=32):
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((0.2 * size, 0.1 * size, 0.8 * size, 0.9 * size), fill=color)
    image.save(path)
    return path


@pytest.fixture
def ready(model_folder, tmp_path):
    """A runtime with low settings and one picture."""
    started = Runtime()
    started.set_variables(
        input_path=draw(tmp_path / "egg.png", (220, 120, 60, 255)),
        output_path=tmp_path / "output",
        pretrained_model=model_folder,
        **SMALL,
    )
    return started


def test_the_readme_s_example(model_folder, tmp_path, monkeypatch):
    """Word for word but for the pictures, the model and the resolution."""
    monkeypatch.chdir(tmp_path)
    Path("input").mkdir()
    draw(Path("input") / "egg.png", (220, 120, 60, 255), size=96)
    runtime = Runtime()
    runtime.set_variables(
        input_path="input/",
        output_path="output/",
        pretrained_model=str(model_folder),
        chunk_size=8192,
        padding=16,
        foreground_ratio=0.85,
        mc_resolution=32,
        model_save_format="obj",
    )
    runtime.initilize()
    runtime.img_process()
    runtime.modelRun()
    runtime.render(n_views=3, size=32)
    runtime.export_mesh()
    written = {path.relative_to("output").as_posix() for path in Path("output").rglob("*.*")}
    assert written == {
        "images/Removed_BG.png",
        "images/depth.npy",
        "images/depth.png",
        "images/depth_color.png",
        "images/depth_comparison.png",
        "3dfiles/pointcloud_raw.pcd",
        "3dfiles/pointcloud.pcd",
        "3dfiles/forfront_raw_mesh.obj",
        "3dfiles/mesh.obj",
        "renderfiles/render_000.png",
        "renderfiles/render_001.png",
        "renderfiles/render_002.png",
        "renderfiles/render.mp4",
    }
    mesh = trimesh.load("output/3dfiles/mesh.obj", force="mesh")
    assert len(mesh.faces) > 100 and np.isclose(np.ptp(mesh.vertices[:, 1]), 1.0)
    assert next(imageio_ffmpeg.read_frames("output/renderfiles/render.mp4"))["fps"] == 30
    assert runtime.scene_codes.shape[:2] == (1, 3)


def test_the_defaults_are_dif3d_s():
    import inspect

    defaults = {name: value.default for name, value in inspect.signature(Runtime.set_variables).parameters.items()}
    del defaults["self"]
    assert defaults.pop("precision") == "auto"  # ours: DIF3D knew float32 only
    assert defaults == {
        "input_path": "input/",
        "output_path": "output/",
        "pretrained_model": "stabilityai/TripoSR",
        "chunk_size": 8192,
        "padding": 16,
        "foreground_ratio": 0.85,
        "mc_resolution": 256,
        "model_save_format": "obj",
    }


def test_steps_in_the_wrong_order_name_the_missing_one(ready):
    with pytest.raises(DIF3DError, match=r"call set_variables\(\) before initilize\(\)"):
        Runtime().initialize()
    with pytest.raises(DIF3DError, match=r"call initilize\(\) before img_process\(\)"):
        ready.img_process()
    ready.initialize()
    with pytest.raises(DIF3DError, match=r"call img_process\(\) before modelRun\(\)"):
        ready.modelRun()
    ready.img_process()
    for step in (ready.render, ready.export_mesh):
        with pytest.raises(DIF3DError, match=r"call modelRun\(\) before"):
            step()
    ready.modelRun()
    ready.export_mesh()
    ready.img_process()  # from here on again
    with pytest.raises(DIF3DError, match=r"call modelRun\(\) before"):
        ready.export_mesh()


def test_several_pictures_and_a_bad_one(model_folder, tmp_path, caplog):
    folder = tmp_path / "input"
    folder.mkdir()
    draw(folder / "egg.png", (220, 120, 60, 255))
    draw(folder / "egg.webp", (60, 120, 220, 255))
    draw(folder / "plum.png", (120, 40, 120, 255))
    (folder / "broken.png").write_bytes(b"no picture")
    several = Runtime()
    several.set_variables(folder, tmp_path / "output", model_folder, model_save_format="glb", **SMALL)
    several.initilize()
    with caplog.at_level(logging.INFO, logger="dif3d"):
        several.img_process()
    several.modelRun()
    paths = several.export_mesh()
    assert [path.parent.parent.name for path in paths] == ["egg.png", "egg.webp", "plum"]
    assert all(path.is_file() for path in paths)
    assert len(several.scene_codes) == 3
    assert "broken.png is left out" in caplog.text
    assert "not a picture" in several.notes[folder / "broken.png"][0]


def test_only_bad_pictures_are_an_error(model_folder, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    hopeless = Runtime()
    hopeless.set_variables(tmp_path, tmp_path / "output", model_folder)
    hopeless.initilize()
    with pytest.raises(DIF3DError, match="none of the 2 pictures could be used"):
        hopeless.img_process()
    hopeless.set_variables(tmp_path / "a.png", tmp_path / "output", model_folder)
    hopeless.initilize()
    with pytest.raises(DIF3DError, match=r"a\.png is not a picture"):
        hopeless.img_process()


def test_a_picture_that_went_away_between_two_runs(ready):
    ready.initilize()
    ready.img_process()
    ready.modelRun()
    for views, size in ((0, 32), (3, 0)):
        with pytest.raises(DIF3DError, match="must be at least 1"):
            ready.render(views, size)
    ready._pictures[0].unlink()
    with pytest.raises(DIF3DError, match="no picture"):
        ready.img_process()
    assert not ready.timer.items
    with pytest.raises(DIF3DError, match=r"call img_process\(\) before modelRun"):
        ready.modelRun()


def test_only_what_the_network_sees_of_a_picture_is_kept(ready):
    draw(ready._pictures[0], (220, 120, 60, 255), size=900)
    ready.initilize()
    ready.img_process()
    (item,) = ready._items
    size = ready.model.cfg.cond_image_size
    assert item.picture.shape == (size, size, 3) and item.stage.image is None
    with torch.no_grad():
        whole = ready.model([load_subject(item.path, ratio=ready.foreground_ratio).picture], "cpu")[0]
    assert torch.allclose(item.scene_code, whole, atol=1e-5)


def test_depth_comes_from_the_front_view_where_glpn_is_missing(ready):
    ready.initilize()
    assert ready.premodel.glpn is None
    ready.img_process()
    (notes,) = ready.notes.values()
    assert any("front view is used instead" in note for note in notes)


def test_what_needs_depth_is_left_out_without_it(ready, monkeypatch):
    monkeypatch.setattr(
        runtime, "field_depth", lambda field, camera, height, width, *rest: np.full((height, width), 2.0)
    )
    ready.initilize()
    ready.img_process()
    ready.modelRun()
    ready.export_mesh()
    (notes,) = ready.notes.values()
    assert any("2.5D point cloud are left out" in note and "the same everywhere" in note for note in notes)
    assert [path.name for path in (ready.out_path / "3dfiles").iterdir()] == ["mesh.obj"]


def test_precision_and_what_the_field_warns_of(ready, monkeypatch):
    """Memory that runs out, which a field overcomes, is told with the picture's notes."""
    features = Field._features

    def short_of_memory(field, points):
        if len(points) > 1000:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return features(field, points)

    monkeypatch.setattr(Field, "_features", short_of_memory)
    ready.set_variables(ready._pictures[0], ready.out_path, ready.pretrained, precision="bfloat16", **SMALL)
    ready.initilize()
    ready.img_process()
    ready.modelRun()
    ready.export_mesh()
    assert ready.model.dtype == torch.bfloat16
    (notes,) = ready.notes.values()
    assert any("Memory ran out" in note for note in notes)


def test_values_that_are_of_no_use(ready, tmp_path):
    good = tmp_path / "egg.png"
    for wrong, words in (
        ({"input_path": tmp_path / "nothing"}, "no picture or folder"),
        ({"model_save_format": "fbx"}, "glb, obj, ply, stl"),
        ({"mc_resolution": 1}, "mc_resolution is 1"),
        ({"chunk_size": -1}, "chunk_size is -1"),
        ({"foreground_ratio": 1.5}, "foreground_ratio is 1.5"),
        ({"precision": "int4"}, "The precision 'int4' is not known"),
    ):
        with pytest.raises(DIF3DError, match=re.escape(words)):
            Runtime().set_variables(**{"input_path": good, "output_path": tmp_path, **wrong})
    ready.set_variables(good, tmp_path, tmp_path)
    with pytest.raises(DIF3DError, match=r"has no"):
        ready.initilize()


def test_timer():
    timer = Timer()
    timer.start("task")
    time.sleep(0.02)
    assert 15 < timer.end("task") < 2000
    with pytest.raises(DIF3DError, match=r"'task' was not started\. Running now: none"):
        timer.end("task")
    timer.start("one")
    with pytest.raises(DIF3DError, match="Running now: 'one'"):
        timer.end("two")
