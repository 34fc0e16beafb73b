"""The engine as the process that it is: lines in, lines out, and gone when its parent is."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from dif3d_blender.messages import Failure, Job, Progress, Result, from_line, to_line


@pytest.fixture
def worker(repo_root):
    script = repo_root / "dif3d_blender" / "engine" / "worker.py"
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
    )
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def answer(worker, job):
    """The messages that a job gets, the last of them its end."""
    worker.stdin.write(to_line(job))
    worker.stdin.flush()
    messages = []
    while not messages or isinstance(messages[-1], Progress):
        messages.append(from_line(worker.stdout.readline()))
    return messages


def test_bad_jobs_fail_in_words_and_the_next_one_works(worker, model_folder, tmp_path):
    picture = tmp_path / "square.png"
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[8:32, 8:32] = (90, 120, 200, 255)
    Image.fromarray(pixels).save(picture)
    settings = {"model": str(model_folder), "device": "cpu", "resolution": 16, "frames": 0, "gaussians": False}

    worker.stdin.write("this is no job\n")
    bad = answer(worker, Job(str(tmp_path / "missing.png"), str(tmp_path / "bad"), "1", **settings))
    assert isinstance(bad[-1], Failure)
    assert bad[-1].job == "1"
    assert bad[-1].stage == "Opening the picture"
    assert "missing.png" in bad[-1].message
    assert not bad[-1].traceback

    good = answer(worker, Job(str(picture), str(tmp_path / "good"), "2", **settings))
    assert isinstance(good[-1], Result)
    assert all(message.job == "2" for message in good)


def test_it_ends_when_its_input_closes(worker):
    worker.stdin.close()
    assert worker.wait(timeout=10) == 0


def test_it_ends_in_the_middle_of_a_job(worker, model_folder, tmp_path):
    picture = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(picture)
    job = Job(str(picture), str(tmp_path / "out"), model=str(model_folder), background="keep", frames=2000, dense=True)
    worker.stdin.write(to_line(job))
    worker.stdin.flush()
    while (message := from_line(worker.stdout.readline())).stage != "Rendering frames":
        assert isinstance(message, Progress), message
    started = time.monotonic()
    worker.stdin.close()
    worker.wait(timeout=5)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "out" / "renderfiles").exists()
