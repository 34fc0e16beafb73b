"""The engine as a process: every job ends in one event, and nothing is left behind, whatever happens to the process."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dif3d_blender.blender.engine_process import CANCELLED, NICENESS, EngineProcess, explain_death
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.messages import Failure, Job, Progress, Result

FAKE = Path(__file__).with_name("fake_worker.py")
ROOT = FAKE.parents[2]


@pytest.fixture
def engine(tmp_path):
    with EngineProcess(sys.executable, tmp_path / "engine.log", FAKE) as process:
        yield process


def job(tmp_path, behaviour="ok", id="1"):
    return Job(picture="none.png", output=str(tmp_path / f"out{id}"), id=id, model=behaviour, resolution=8)


def wait_for(engine, kind, stage=None, seconds=10):
    """Drain events until one of `kind` (and of that stage) is among them; return the first such."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in engine.events():
            if isinstance(event, kind) and (stage is None or event.stage == stage):
                return event
        time.sleep(0.01)
    raise AssertionError(f"no {kind} within {seconds} s")


def alive(pid):
    """Whether the process exists and is not a zombie that waits to be collected."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def in_group(group):
    """The living processes of a process group."""
    stats = [stat.read_text().rsplit(")", 1)[1].split() for stat in Path("/proc").glob("[0-9]*/stat") if stat.exists()]
    return [fields for fields in stats if fields[2] == str(group) and fields[0] != "Z"]


def test_a_job_runs_and_the_engine_stays_warm_for_the_next(engine, tmp_path):
    pids = []
    for id in ("1", "2"):
        engine.submit(job(tmp_path, id=id))
        events = list(engine.follow())
        assert [type(e) for e in events] == [Progress, Progress, Progress, Result]
        assert [e.fraction for e in events[:3]] == [0.1, 0.4, 0.9]
        assert events[-1].job == id and Path(events[-1].files["vertices"]).exists()
        pids.append(events[-1].report["pid"])
    assert pids[0] == pids[1] and engine.running
    engine.release()
    assert engine.wait_stopped() and not engine.running and not alive(pids[0])


def test_queued_jobs_run_in_order(engine, tmp_path):
    for id in "abc":
        engine.submit(job(tmp_path, id=id))
    assert [e.job for e in engine.follow() if isinstance(e, Result)] == ["a", "b", "c"]


def test_a_job_waits_for_what_it_reads_and_keeps_its_place(engine, tmp_path):
    ready, ran_in = threading.Event(), []

    def prepare():
        ran_in.append(threading.current_thread())
        ready.wait(10)

    engine.submit(job(tmp_path, id="a"), prepare)
    engine.submit(job(tmp_path, id="b"))
    assert [waiting.id for waiting in engine.waiting] == ["a", "b"] and engine.current is None and engine.busy
    ready.set()
    assert [e.job for e in engine.follow() if isinstance(e, Result)] == ["a", "b"]
    assert ran_in != [threading.main_thread()]


@pytest.mark.parametrize(("error", "words"), [(DIF3DError("No room."), "No room."), (KeyError("x"), "KeyError: 'x'")])
def test_a_job_whose_picture_cannot_be_made_fails_and_the_next_one_works(engine, tmp_path, error, words):
    def prepare():
        raise error

    engine.submit(job(tmp_path, id="a"), prepare)
    engine.submit(job(tmp_path, id="b"))
    ended = [e for e in engine.follow() if not isinstance(e, Progress)]
    assert [(e.job, type(e)) for e in ended] == [("a", Failure), ("b", Result)] and ended[0].message == words
    assert bool(ended[0].traceback) == (not isinstance(error, DIF3DError))


def test_a_job_can_be_cancelled_while_its_picture_is_made(engine, tmp_path):
    ready = threading.Event()
    engine.submit(job(tmp_path), lambda: ready.wait(10))
    engine.cancel()
    assert [(e.job, e.stage) for e in engine.events()] == [("1", CANCELLED)]
    assert not engine.busy and engine.ending, "its folder is still written to"
    ready.set()
    assert engine.wait_stopped() and not engine.ending and not engine.events() and not engine.running


@pytest.mark.skipif(os.name == "nt", reason="priorities are told when a process is made there")
def test_the_engine_lets_other_programs_go_first(engine, tmp_path):
    engine.submit(job(tmp_path, "slow"))
    wait_for(engine, Progress, "Thinking")
    own, pid = os.getpriority(os.PRIO_PROCESS, 0), engine._process.pid
    threads = [int(thread.name) for thread in Path(f"/proc/{pid}/task").glob("*")] or [pid]
    assert all(os.getpriority(os.PRIO_PROCESS, thread) == min(19, own + NICENESS) for thread in threads)


@pytest.mark.parametrize("behaviour", ["slow", "stubborn", "child"])
def test_cancel_leaves_no_process_within_a_second(engine, tmp_path, behaviour):
    engine.submit(job(tmp_path, behaviour))
    wait_for(engine, Progress, "Thinking")
    group = engine._process.pid
    assert len(in_group(group)) == (2 if behaviour == "child" else 1)
    began = time.monotonic()
    engine.cancel()
    assert time.monotonic() - began < 0.05, "cancel() must not keep Blender's main thread"
    assert engine.wait_stopped(1.0)
    while in_group(group) and time.monotonic() - began < 1.0:  # what was killed takes a moment to go
        time.sleep(0.01)
    assert time.monotonic() - began < 1.0
    assert not in_group(group)
    assert wait_for(engine, Failure).stage == CANCELLED
    engine.submit(job(tmp_path, id="2"))
    assert wait_for(engine, Result).job == "2"


def test_cancelling_one_job_keeps_the_others(engine, tmp_path):
    engine.submit(job(tmp_path, "slow", "1"))
    engine.submit(job(tmp_path, "ok", "2"))
    engine.submit(job(tmp_path, "ok", "3"))
    wait_for(engine, Progress)
    engine.cancel("2")
    engine.cancel("1")
    ended = [e for e in engine.follow() if not isinstance(e, Progress)]
    assert [(e.job, type(e)) for e in ended] == [("2", Failure), ("1", Failure), ("3", Result)]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("crash", "exit status 3"),
        ("kill", "memory"),
        ("memory", "ran out of memory"),
        ("missing", "No module named 'torch'"),
        ("fail", "Choose another one"),
        ("bug", "ValueError: 7"),
    ],
)
def test_a_job_that_goes_wrong_says_why_and_the_next_one_works(engine, tmp_path, behaviour, words):
    engine.submit(job(tmp_path, behaviour, "1"))
    engine.submit(job(tmp_path, "ok", "2"))
    ended = [e for e in engine.follow() if not isinstance(e, Progress)]
    assert [(e.job, type(e)) for e in ended] == [("1", Failure), ("2", Result)]
    assert words in ended[0].message


def test_a_crash_keeps_the_tail_of_the_log_and_the_stage(engine, tmp_path):
    engine.submit(job(tmp_path, "crash"))
    failure = wait_for(engine, Failure)
    assert failure.stage == "Reading the picture" and "something broke" in failure.traceback
    assert "something broke" in engine.log_tail()


def test_a_traceback_goes_to_the_log(engine, tmp_path):
    engine.submit(job(tmp_path, "bug"))
    wait_for(engine, Failure)
    assert "Traceback" in engine.log_tail()


def test_lines_that_are_no_messages_go_to_the_log(engine, tmp_path):
    engine.submit(job(tmp_path, "noisy"))
    events = list(engine.follow())
    assert isinstance(events[-1], Result) and all(e.job == "1" for e in events)
    assert "a library says hello" in engine.log_path.read_text()


def test_killed_from_outside_while_warm(engine, tmp_path):
    engine.submit(job(tmp_path))
    pid = wait_for(engine, Result).report["pid"]
    os.kill(pid, signal.SIGKILL)
    engine.submit(job(tmp_path, id="2"))  # perhaps before anybody has noticed
    assert wait_for(engine, (Result, Failure)).report["pid"] != pid


def test_a_missing_or_unfit_interpreter_is_named(tmp_path):
    for python, words in ((tmp_path / "nowhere" / "python", "no Python interpreter"), (FAKE, "cannot be run")):
        with EngineProcess(python, tmp_path / "engine.log", FAKE) as engine:
            engine.submit(job(tmp_path))
            failure = wait_for(engine, Failure)
            assert words in failure.message and str(python) in failure.message


def test_close_ends_a_busy_engine_and_refuses_more(engine, tmp_path):
    engine.submit(job(tmp_path, "stubborn"))
    wait_for(engine, Progress)
    pid, began = engine._process.pid, time.monotonic()
    engine.close()
    assert time.monotonic() - began < 1.0 and not alive(pid)
    with pytest.raises(RuntimeError):
        engine.submit(job(tmp_path))


def test_a_killed_parent_leaves_nothing_behind(tmp_path):
    script = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from dif3d_blender.blender.engine_process import EngineProcess\n"
        "from dif3d_blender.messages import Job\n"
        f"engine = EngineProcess(sys.executable, {str(tmp_path / 'log')!r}, {str(FAKE)!r})\n"
        f"engine.submit(Job('none.png', {str(tmp_path / 'out')!r}, model='slow'))\n"
        "while not engine.events(): time.sleep(0.01)\n"
        "print(engine._process.pid, flush=True)\n"
        "time.sleep(30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 2
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_a_long_log_is_begun_anew(engine, tmp_path):
    engine.log_path.write_bytes(b"old\n" * 500_000)
    engine.submit(job(tmp_path, "crash"))
    wait_for(engine, Failure)
    assert engine.log_path.stat().st_size < 10_000


def test_death_by_other_signals():
    assert "SIGSEGV" in explain_death(-signal.SIGSEGV, "")
    assert "exit status 1" in explain_death(1, "")
    assert "Blender was moved" in explain_death(103, "No Python at '/old/bin/python.exe'")
    assert "ran out of memory" in explain_death(1, "torch.OutOfMemoryError: CUDA out of memory. Tried …")
