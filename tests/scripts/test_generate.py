"""The command line as a person uses it: a process, its words, its exit status, and the .blend that it leaves."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy", exc_type=ImportError)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, repo_root):
    """A tiny network whose field crosses the threshold somewhere."""
    sys.path.insert(0, str(repo_root / "tests" / "engine"))
    from crossing_model import crossing_model

    return crossing_model(tmp_path_factory.mktemp("model"))


def generate(repo_root, *arguments):
    command = [sys.executable, str(repo_root / "scripts" / "generate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def picture(tmp_path):
    pixels = np.zeros((48, 48, 4), np.uint8)
    pixels[6:42, 12:36] = (30, 160, 90, 255)
    path = tmp_path / "green thing.png"
    Image.fromarray(pixels).save(path)
    return path


def test_pictures_become_scenes_and_a_bad_one_sets_the_status(repo_root, tmp_path, picture, model_folder):
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:80])
    options = ["--model", model_folder, "--resolution", 20, "--frames", 0, "--no-gaussians", "--size", 2]
    run = generate(repo_root, tmp_path / "broken.png", picture, "--output", tmp_path / "out", *options)

    assert run.returncode == 1, run.stderr
    assert "broken.png is damaged or incomplete" in run.stderr
    assert "Traceback" not in run.stderr
    assert "scene.blend" in run.stdout
    assert not (tmp_path / "out" / "broken" / "scene.blend").exists()

    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "out" / "green thing" / "scene.blend"))
    obj = bpy.data.objects["green thing"]
    corners = np.array([obj.matrix_world @ vertex.co for vertex in obj.data.vertices])
    assert np.isclose(corners[:, 2].min(), 0, atol=1e-5)
    assert np.isclose(corners[:, 2].max(), 2, atol=1e-4)
    vertices = np.load(tmp_path / "out" / "green thing" / "arrays" / "vertices.npy")
    assert len(vertices) == len(corners)
    # Field x (toward the camera) is Blender's −Y, field y its X.
    assert np.corrcoef(vertices[:, 0], -corners[:, 1])[0, 1] > 0.999
    assert np.corrcoef(vertices[:, 1], corners[:, 0])[0, 1] > 0.999
    colors = np.load(tmp_path / "out" / "green thing" / "arrays" / "colors.npy")
    stored = np.empty(4 * len(corners), np.float32)
    obj.data.color_attributes.active_color.data.foreach_get("color_srgb", stored)
    assert np.abs(stored.reshape(-1, 4)[:, :3] - colors).max() < 2 / 255
    assert any(node.type == "VERTEX_COLOR" for node in obj.data.materials[0].node_tree.nodes)


def test_wrong_options_are_refused_before_anything_is_done(repo_root, tmp_path, picture):
    for arguments, words in (
        (["--resolution", "1"], "resolution is 1; it must be 2 or more"),
        (["--mesh-format", "fbx"], "invalid choice: 'fbx'"),
        (["--size", "-1"], "size is -1.0; it must be more than 0"),
    ):
        run = generate(repo_root, picture, "--output", tmp_path / "out", *arguments)
        assert run.returncode == 2
        assert words in run.stderr
    assert not (tmp_path / "out").exists()
