"""Results to build objects from, made by the pretending engine."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def make_result(tmp_path):
    """make_result(name, resolution, gaussians): a Result with resolution² vertices, in a folder of that name."""
    import fake_worker

    from dif3d_blender.messages import Job

    def make(name="thing", resolution=20, gaussians=False):
        job = Job("none.png", str(tmp_path / name), model="ok", resolution=resolution, gaussians=gaussians)
        return fake_worker.write_result(job)

    return make
