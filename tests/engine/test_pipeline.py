"""One job from picture to files, with a tiny network: what is written, what is reported, what bad input gets."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dif3d_blender.engine import texture
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.pipeline import Pipeline, choose_device
from dif3d_blender.engine.unwrap import UnwrapError
from dif3d_blender.messages import Job


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A red disc on a transparent ground."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    y, x = np.mgrid[:64, :64]
    pixels[(x - 32) ** 2 + (y - 30) ** 2 < 20**2] = (200, 40, 30, 255)
    path = tmp_path_factory.mktemp("picture") / "disc.png"
    Image.fromarray(pixels).save(path)
    return path


def small_job(picture, output, model, **settings):
    defaults = {"resolution": 24, "frames": 2, "frame_size": 24, "gaussians": False, "device": "cpu"}
    return Job(str(picture), str(output), model=str(model), **defaults | settings)


def test_a_job_writes_everything_that_it_reports(picture, tmp_path, model_folder):
    progress = []
    result = Pipeline().run(small_job(picture, tmp_path / "out", model_folder), progress.append)

    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        *(f"arrays/{name}.npy" for name in ("vertices", "faces", "normals", "colors", "triplane", "outline")),
        "images/Removed_BG.png",
        "renderfiles/render_000.png",
        "renderfiles/render_001.png",
        "renderfiles/render.mp4",
        "3dfiles/mesh.glb",
        "report.json",
    }
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["model"] == str(model_folder)
    assert report["background"] == "alpha"
    assert set(report["files"]) == set(result.files)
    vertices = np.load(result.files["vertices"])
    assert report["counts"]["vertices"] == len(vertices) > 0
    cell = 2 * 0.87 / 23
    assert np.abs(vertices).max() <= 0.87 + 0.25 * cell  # smoothing swings a little outward at the corners of the box
    assert len(trimesh.load(result.files["mesh"], force="mesh").faces) == len(np.load(result.files["faces"]))

    fractions = [event.fraction for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] > 0.9
    assert list(report["seconds"]) == list(dict.fromkeys(event.stage for event in progress))


def test_a_stored_triplane_gives_the_same_mesh_without_the_picture(picture, tmp_path, model_folder):
    pipeline = Pipeline()
    first = pipeline.run(small_job(picture, tmp_path / "a", model_folder, frames=0), lambda _: None)
    again = small_job("gone.png", tmp_path / "b", model_folder, frames=0, code=first.files["triplane"])
    second = pipeline.run(again, lambda _: None)
    one, two = (np.load(result.files["vertices"]) for result in (first, second))
    assert abs(len(one) - len(two)) <= 0.02 * len(one)  # stored at 16 bit
    assert np.abs(one.mean(0) - two.mean(0)).max() < 0.01
    # the colours of what the picture shows come from the picture again: it lies beside the triplane
    reds = [np.load(result.files["colors"])[:, 0].max() for result in (first, second)]
    assert reds[1] == pytest.approx(reds[0], abs=0.05)
    assert Path(second.files["foreground"]).is_relative_to(tmp_path / "b")
    Path(first.files["foreground"]).unlink()
    third = pipeline.run(replace(again, output=str(tmp_path / "c")), lambda _: None)
    assert "foreground" not in third.files


def test_a_damaged_triplane_is_named(tmp_path, model_folder):
    (tmp_path / "triplane.npy").write_bytes(b"not an array")
    job = small_job("", tmp_path / "out", model_folder, code=str(tmp_path / "triplane.npy"))
    with pytest.raises(DIF3DError, match=r"triplane\.npy is missing or damaged"):
        Pipeline().run(job, lambda _: None)
    whole = io.BytesIO()
    np.save(whole, np.zeros((3, 99, 8, 8), np.float16))
    for damaged in (
        b"PK\x03\x04 an archive",
        whole.getvalue().replace(b"(3, 99, 8, 8)", b"(3, 99, 8, 8("),
        whole.getvalue().replace(b"(3, 99, 8, 8)", b"(3,9**9, 8,8)"),
        whole.getvalue()[:-2],
    ):
        (tmp_path / "triplane.npy").write_bytes(damaged)
        with pytest.raises(DIF3DError, match=r"triplane\.npy is missing or damaged"):
            Pipeline().run(job, lambda _: None)
    for shape in ((3, 99, 8, 8), (3, 5, 0, 0), (3, 5, 8, 9)):
        np.save(tmp_path / "triplane.npy", np.zeros(shape, np.float16))
        with pytest.raises(DIF3DError, match="does not fit the model"):
            Pipeline().run(job, lambda _: None)
    np.save(tmp_path / "triplane.npy", np.zeros((3, 5, 8, 8), np.float16))
    for outline in (np.array(["a"]), np.zeros((0, 0)), np.full((4, 4), np.nan)):
        np.save(tmp_path / "outline.npy", outline)
        with pytest.raises(DIF3DError, match=r"outline\.npy is damaged"):
            Pipeline().run(job, lambda _: None)


def test_bad_input_names_itself_and_writes_no_result(picture, tmp_path, model_folder):
    pipeline = Pipeline()

    def fails(words, **settings):
        job = small_job(settings.pop("picture", picture), tmp_path / "out", model_folder, **settings)
        with pytest.raises(DIF3DError, match=words):
            pipeline.run(job, lambda _: None)
        assert not (tmp_path / "out" / "report.json").exists()
        assert not (tmp_path / "out" / "3dfiles").exists()

    fails("no picture", picture=tmp_path / "nothing.png")
    fails("Unknown mesh format 'fbx'", mesh_format="fbx")
    fails("There is no surface at density 1e\\+09", threshold=1e9)
    fails("would take about", resolution=100_000)
    fails("device 'cuda:77' cannot be used", device="cuda:77")
    fails("device 'meta' is not one", device="meta")
    fails("device 'hpu' cannot be used", device="hpu")
    fails("threshold is 0", threshold=0)
    fails("size is inf", size=math.inf)
    fails("size is nan", size=math.nan)
    fails("frames is -1", frames=-1)
    fails("frame_size is 0", frame_size=0)
    fails("face_limit is 3; it must be 4 or more, or 0", face_limit=3)
    fails("texture is 8", texture=8)
    fails("foreground_ratio is 0", foreground_ratio=0)
    fails("needs the depth", fuse_depth=True)


def test_a_run_that_fails_leaves_no_folder_of_two_pictures(picture, tmp_path, model_folder):
    output = tmp_path / "out"
    first = Pipeline().run(small_job(picture, output, model_folder, frames=0), lambda _: None)
    with pytest.raises(DIF3DError, match="no picture"):  # before anything of it was written
        Pipeline().run(small_job(tmp_path / "nothing.png", output, model_folder), lambda _: None)
    assert all(Path(path).exists() for path in first.files.values())
    with Image.open(picture) as disc:
        disc.transpose(Image.Transpose.ROTATE_180).crop((0, 0, 64, 50)).save(tmp_path / "other.png")
    with pytest.raises(DIF3DError, match="would take about"):
        Pipeline().run(small_job(tmp_path / "other.png", output, model_folder, resolution=100_000), lambda _: None)
    assert not (output / "report.json").exists() and not Path(first.files["triplane"]).exists()


def test_an_output_folder_that_is_a_file_is_named(picture, tmp_path, model_folder):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DIF3DError, match="out"):
        Pipeline().run(small_job(picture, tmp_path / "out", model_folder), lambda _: None)
    assert (tmp_path / "out").read_text() == "in the way"


def test_a_picture_that_is_kept_whole_lends_no_outline(picture, tmp_path, model_folder):
    """Its border is the photograph's, not the subject's."""
    with Image.open(picture) as file:
        grey = Image.new("RGB", file.size, (127, 127, 127))
        grey.paste(file, mask=file.getchannel("A"))
    grey.save(tmp_path / "grey.png")
    job = small_job(tmp_path / "grey.png", tmp_path / "output", model_folder, background="keep", frames=0)
    stale = tmp_path / "output" / "arrays" / "outline.npy"
    stale.parent.mkdir(parents=True)
    stale.touch()
    Pipeline().run(job, [].append)
    report = json.loads((tmp_path / "output" / "report.json").read_text())
    assert any("no outline" in warning for warning in report["warnings"])
    assert "outline" not in report["files"] and not stale.exists()

    textured = replace(job, texture=64, face_limit=400)
    first = Pipeline().run(textured, [].append)
    again = replace(textured, code=first.files["triplane"], output=str(tmp_path / "again"))
    second = Pipeline().run(again, [].append)  # its picture lies beside the triplane
    assert first.report["texture"]["projected"] > 0
    assert second.report["texture"]["projected"] == pytest.approx(first.report["texture"]["projected"], rel=0.5)


def test_auto_takes_a_device_that_works():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(DIF3DError, match="'toaster' cannot be used"):
        choose_device("toaster")


def test_a_texture_comes_with_maps_uvs_and_a_smaller_mesh(picture, tmp_path, model_folder):
    job = small_job(picture, tmp_path / "out", model_folder, frames=0, texture=64, face_limit=400, mesh_format="obj")
    result = Pipeline().run(job, lambda _: None)
    faces, uv = np.load(result.files["faces"]), np.load(result.files["uv"])
    assert uv.shape == (len(faces), 3, 2) and len(faces) <= 400
    assert result.report["counts"]["faces"] == len(faces)
    assert result.report["texture"]["size"] == 64 and result.report["texture"]["projected"] > 0
    assert Image.open(result.files["base_color"]).size == Image.open(result.files["normal_map"]).size == (64, 64)
    assert (tmp_path / "out" / "3dfiles" / "mesh.mtl").exists()
    colors = np.load(result.files["colors"])  # of who reads no textures: they are the picture's as well
    plain = Pipeline().run(replace(job, output=str(tmp_path / "plain"), project=False), lambda _: None)
    assert np.abs(colors - np.load(plain.files["colors"])).max() > 0.1


def test_a_mesh_that_cannot_be_unwrapped_keeps_its_colours_and_says_so(picture, tmp_path, model_folder, monkeypatch):
    def too_slow(*_):
        raise UnwrapError("Unwrapping took too long.")

    monkeypatch.setattr(texture, "unwrap", too_slow)
    result = Pipeline().run(small_job(picture, tmp_path / "out", model_folder, frames=0, texture=64), lambda _: None)
    assert "uv" not in result.files and "base_color" not in result.files
    assert result.report["texture"] == {"size": 64, "unwrapped": False}
    limited = small_job(picture, tmp_path / "out", model_folder, frames=0, texture=64, face_limit=200)
    assert len(np.load(Pipeline().run(limited, lambda _: None).files["faces"])) <= 200
    assert any("Smart UV" in note for note in result.report["substitutions"])
