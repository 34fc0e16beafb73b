"""Results to build objects from, made by the pretending engine."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]

import build_extension  # noqa: E402
from blenders import EMBEDDED, FAKE, SHARED  # noqa: E402


@pytest.fixture
def make_result(tmp_path):
    """make_result(name, resolution, gaussians): a Result with resolution² vertices, in a folder of that name."""
    import fake_worker

    from dif3d_blender.messages import Job

    def make(name="thing", resolution=20, gaussians=False):
        job = Job("none.png", str(tmp_path / name), model="ok", resolution=resolution, gaussians=gaussians)
        return fake_worker.write_result(job)

    return make


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    return build_extension.build(tmp_path_factory.mktemp("dist"), build_extension.members())


@pytest.fixture
def settings(tmp_path):
    """What the scripts inside Blender are told."""
    picture = tmp_path / "subject.png"
    write_picture(picture)
    if EMBEDDED.exists():
        model = "embedded"
    elif (SHARED / "reference" / "fitted").exists():
        model = str(SHARED / "reference" / "fitted")
    else:
        pytest.skip("no model: neither the embedded one nor ../shared/reference")
    return {"python": sys.executable, "model": model, "picture": str(picture), "worker": str(FAKE)}


def write_picture(path):
    """A ball on transparency."""
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    inside = x**2 + y**2 < 0.6
    light = np.clip(0.5 - 0.3 * x - 0.4 * y, 0, 1)
    color = np.stack([light, light * 0.4, light * 0.1, inside], -1)
    Image.fromarray((color * 255).astype(np.uint8)).save(path)
