"""The engine as the process that it is: lines in, lines out, and gone when its parent is."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from dif3d_blender.blender.engine_process import EngineProcess
from dif3d_blender.engine import worker as engine_worker
from dif3d_blender.messages import Failure, Job, Progress, Result, from_line, to_line

ROOT = Path(__file__).resolve().parents[2]


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


def run_with(tmp_path, before, name):
    """A script that is the worker after some other lines."""
    script = tmp_path / name
    worker_path = ROOT / "dif3d_blender" / "engine" / "worker.py"
    script.write_text(
        f"import runpy, subprocess, sys\n{before}\nrunpy.run_path({str(worker_path)!r}, run_name='__main__')\n"
    )
    return script


def test_what_it_started_ends_with_it(tmp_path):
    sleep = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\nprint(child.pid, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, str(run_with(tmp_path, sleep, "with_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = psutil.Process(int(process.stdout.readline()))
    assert child.is_running()
    process.stdin.close()
    assert process.wait(timeout=20) == 0
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive
    process.stdout.close()


def test_a_gpu_that_is_gone_is_said_and_the_next_job_gets_a_fresh_engine(tmp_path):
    """Only the error can be pretended here: the engine's own pipeline is replaced by one that raises it."""
    broken = (
        "import types\n"
        "class Pipeline:\n"
        "    def run(self, job, report):\n"
        "        import os\n"
        "        open(job.picture, 'a').write(f'{os.getpid()} ')\n"
        "        raise RuntimeError('CUDA error: unspecified launch failure\\nCUDA kernel errors come late')\n"
        "module = types.ModuleType('dif3d_blender.engine.pipeline')\n"
        "module.Pipeline = Pipeline\n"
        "sys.modules[module.__name__] = module\n"
    )
    script, pids = run_with(tmp_path, broken, "broken.py"), tmp_path / "pids"
    with EngineProcess(sys.executable, tmp_path / "log", script) as engine:
        for id in ("1", "2"):
            engine.submit(Job(str(pids), str(tmp_path / id), id))
        ended = list(engine.follow())
    assert [failure.job for failure in ended] == ["1", "2"]
    for failure in ended:
        assert "GPU stopped answering (CUDA error: unspecified launch failure)" in failure.message
        assert "set the device to CPU" in failure.message and "Traceback" in failure.traceback
    assert len(set(pids.read_text().split())) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "The disk of /tmp/x is full. Make room"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), "not enough memory."),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), "not enough memory."),
        (ModuleNotFoundError("No module named 'einops'"), "Install the engine again"),
        (ZeroDivisionError("division by zero"), "The log says more"),
    ],
)
def test_errors_in_words(error, words):
    failure = engine_worker._failure(Failure, Job("picture", "output", "7"), "Writing the mesh", error)
    assert words in failure.message and type(error).__name__ in failure.traceback and failure.job == "7"
