"""The engine as a process of its own: started, fed, followed, stopped.

Nothing here imports `bpy`: the extension's timer and the headless script use it alike. Its threads wait: one on the
engine's standard output, others on a process that is to end or on a picture that is made; none touches Blender's data.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..engine.errors import DIF3DError
from ..messages import Failure, Job, Progress, Result, from_line, to_line

WORKER = Path(__file__).resolve().parent.parent / "engine" / "worker.py"
CANCELLED = "cancelled"  # the `stage` of the Failure of a job that was cancelled
TAIL_LINES = 30
LOG_LIMIT = 1_000_000  # bytes; a longer log is begun anew when the engine starts
GRACE = 0.4  # seconds between asking the process to end and killing it
NICENESS = 5  # of the engine: it computes on every core, and Blender must stay fluent beside it


class EngineProcess:
    """One engine at a time, and the jobs that wait for it.

    The process starts with the first job and stays warm for the next. Each job that was submitted ends with exactly
    one `Result` or `Failure` among the events, whatever happens to the process. A process that was cancelled or that
    died is replaced when a further job waits.

    The worker ends by itself when its standard input closes, so a parent that is killed leaves nothing behind.
    """

    def __init__(
        self,
        python: str | Path,
        log_path: str | Path,
        worker: str | Path = WORKER,
        environment: Mapping[str, str] | None = None,
    ):
        """
        Args:
            python: the interpreter that has the engine's packages.
            log_path: takes the engine's standard error and the tracebacks of failed jobs; created when missing.
            worker: the script that the interpreter runs.
            environment: variables to set for it, besides those of this process.
        """
        self.python = Path(python)
        self.log_path = Path(log_path)
        self.worker = Path(worker)
        self.environment = dict(environment or {})
        self._process: subprocess.Popen | None = None
        self._threads: list[threading.Thread] = []
        self._current: Job | None = None
        self._stage = ""
        self._warm = False  # whether the process was there before the current job and has not answered it yet
        self._log_start = 0  # where in the log the current job's lines begin
        self._waiting: collections.deque[Job] = collections.deque()
        self._unready: set[str] = set()  # ids of jobs whose picture is still being made
        self._events: queue.SimpleQueue[Progress | Result | Failure] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether an engine process is alive, busy or warm."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def current(self) -> Job | None:
        """The job that the engine works on."""
        return self._current

    @property
    def waiting(self) -> tuple[Job, ...]:
        """The jobs that come after it, in order."""
        return tuple(self._waiting)

    @property
    def busy(self) -> bool:
        return self._current is not None or bool(self._waiting)

    @property
    def ending(self) -> bool:
        """Whether what was cancelled or released may still be alive, and write into its folder."""
        work = (_end.__name__, self._make_ready.__name__)
        return any(thread.is_alive() for thread in self._threads if thread.name.endswith(work))

    def submit(self, job: Job, prepare: Callable[[], None] | None = None) -> None:
        """Queue `job`; it starts at once where the engine is free. Never blocks on the engine's work.

        Args:
            job: what to do.
            prepare: makes what the job reads, such as its picture, in a thread of its own, before the job can start.
                What it raises as DIF3DError is the job's `Failure`.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("submit() after close()")
            self._waiting.append(job)
            if prepare is not None:
                self._unready.add(job.id)
                self._in_thread(self._make_ready, job, prepare)
            self._next()

    def events(self) -> list[Progress | Result | Failure]:
        """What happened since the last call, in order. Returns at once."""
        drained = []
        with contextlib.suppress(queue.Empty):
            while True:
                drained.append(self._events.get_nowait())
        return drained

    def follow(self) -> Iterator[Progress | Result | Failure]:
        """Yield events as they come until no job is left: for callers that have nothing else to do."""
        while self.busy or not self._events.empty():
            with contextlib.suppress(queue.Empty):
                yield self._events.get(timeout=0.2)

    def cancel(self, job_id: str | None = None) -> None:
        """Cancel the job of that id, or all of them. Each ends with a `Failure` of stage `CANCELLED`.

        A waiting job is dropped; the current one is stopped by ending the process group, which also gives its memory
        back. Returns at once; the process is gone within half a second (`wait_stopped` waits for it).
        """
        with self._lock:
            for job in [job for job in self._waiting if job_id in (None, job.id)]:
                self._waiting.remove(job)
                self._events.put(Failure(job.id, CANCELLED, "Cancelled."))
            if self._current is not None and job_id in (None, self._current.id):
                cancelled, self._current = self._current, None
                self._retire()
                self._events.put(Failure(cancelled.id, CANCELLED, "Cancelled."))
                self._next()

    def release(self) -> None:
        """End an idle engine, so that its memory is free; the next job starts it again. A busy engine is left alone."""
        with self._lock:
            if not self.busy:
                self._retire()

    def wait_stopped(self, timeout: float = 1.0) -> bool:
        """Wait until no process of a cancelled or closed engine is left; return whether that is so."""
        deadline = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Cancel everything, end the process and the thread. Takes at most a second."""
        with self._lock:
            self._closed = True
        self.cancel()
        with self._lock:
            self._retire()
        self.wait_stopped(1.0)

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the log that belong to the last job; empty where there are none."""
        return _tail(self.log_path, self._log_start, lines)

    def _next(self) -> None:
        """Hand the next waiting job to the engine, starting one where none runs. Called with the lock held."""
        while self._current is None and self._waiting and self._waiting[0].id not in self._unready:
            job = self._waiting.popleft()
            self._current, self._stage = job, "Starting the engine"
            try:
                self._warm = self.running
                if not self._warm:
                    self._start()
                self._log_start = _size(self.log_path)
                self._process.stdin.write(to_line(job).encode())
                self._process.stdin.flush()
            except (BrokenPipeError, ConnectionResetError):
                return  # it died this moment: the thread that follows it reports that, and goes on with the next job
            except OSError as error:
                self._current = None
                self._events.put(Failure(job.id, self._stage, self._explain_start(error)))

    def _start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        if _size(self.log_path) > LOG_LIMIT:
            self.log_path.unlink()
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")}
        environment |= {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | self.environment
        group = own_group()
        if os.name == "nt":
            group["creationflags"] |= subprocess.BELOW_NORMAL_PRIORITY_CLASS
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.python), str(self.worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                **group,
            )
        _step_back(self._process)
        self._in_thread(self._read, self._process)

    def _in_thread(self, function: Callable, *args) -> None:
        thread = threading.Thread(target=function, args=args, name=f"dif3d-engine{function.__name__}", daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _make_ready(self, job: Job, prepare: Callable[[], None]) -> None:
        """A thread: make what a waiting job reads, and let it start."""
        failure = None
        try:
            prepare()
        except DIF3DError as error:
            failure = Failure(job.id, "Preparing the picture", str(error))
        except Exception as error:  # a bug of ours: the job must end all the same
            message = f"{type(error).__name__}: {error}"
            failure = Failure(job.id, "Preparing the picture", message, traceback.format_exc())
        with self._lock:
            self._unready.discard(job.id)
            if failure is not None and job in self._waiting:  # else it was cancelled meanwhile
                self._waiting.remove(job)
                self._events.put(failure)
            if not self._closed:
                self._next()

    def _read(self, process: subprocess.Popen) -> None:
        """The thread: turn the engine's lines into events until the process ends, then say why it ended."""
        with process.stdout as lines:
            for line in lines:
                self._take(process, line.decode("utf-8", "replace"))
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()
        with self._lock:
            if process is not self._process:
                return  # cancelled or released: nobody waits for it
            self._process = None
            job, self._current = self._current, None
            if job is not None and self._warm:  # it died while nobody needed it: the job deserves a fresh one
                self._waiting.appendleft(job)
            elif job is not None:
                message, tail = explain_death(process.returncode, self.log_tail()), self.log_tail()
                self._events.put(Failure(job.id, self._stage, message, tail))
            if not self._closed:
                self._next()

    def _take(self, process: subprocess.Popen, line: str) -> None:
        try:
            message = from_line(line)
        except ValueError:
            self._log(line)  # something that a library printed
            return
        with self._lock:
            if process is not self._process or self._current is None:
                return  # of a job that was cancelled meanwhile
            if isinstance(message, Job) or message.job != self._current.id:
                return
            self._warm = False
            if isinstance(message, Progress):
                self._stage = message.stage
                self._events.put(message)
                return
            if isinstance(message, Failure) and message.traceback:
                self._log(message.traceback)
            self._current = None
            self._events.put(message)
            if not self._closed:
                self._next()

    def _retire(self) -> None:
        """Part with the process: ask it to end, and kill it where it does not. Called with the lock held; at once."""
        process, self._process = self._process, None
        if process is not None:
            self._in_thread(_end, process)

    def _log(self, text: str) -> None:
        with contextlib.suppress(OSError), self.log_path.open("a", encoding="utf-8") as log:
            log.write(text if text.endswith("\n") else text + "\n")

    def _explain_start(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"There is no Python interpreter at {self.python}. Install the engine, or choose another Python."
        if isinstance(error, PermissionError) and not os.access(self.python, os.X_OK):
            return f"{self.python} cannot be run as a program. Install the engine, or choose another Python."
        return f"The engine could not be started with {self.python}: {error}"


def explain_death(returncode: int, log_tail: str) -> str:
    """Say in words for an artist why an engine process ended before its job did.

    Args:
        returncode: as `Popen.returncode`: negative for a signal on POSIX.
        log_tail: the last lines that the process wrote.
    """
    for line in reversed(log_tail.splitlines()):
        if line.startswith(("ModuleNotFoundError:", "ImportError:")):
            return (
                f"The engine's Python lacks something it needs ({line.split(':', 1)[1].strip()}). "
                "Install the engine again, or choose a Python that has its packages."
            )
        if line.startswith("No Python at"):  # an environment's own launcher, on Windows
            return (
                "The Python that the engine was made from is gone: Blender was moved or updated. "
                "Remove the engine in the preferences and install it again."
            )
        if line.startswith("MemoryError") or "out of memory" in line.lower():
            return "The engine ran out of memory. Choose a lower resolution, or close other programs, and try again."
    killed = -signal.SIGKILL if hasattr(signal, "SIGKILL") else None
    if returncode in (killed, 137):
        return (
            "The engine was killed by the system, most likely because memory ran out. "
            "Choose a lower resolution, or close other programs, and try again."
        )
    if returncode < 0:
        name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else f"signal {-returncode}"
        return f"The engine crashed ({name}). Try again; the log says more."
    return f"The engine stopped before the job was done (exit status {returncode}). Try again; the log says more."


def end_group(process: subprocess.Popen, force: bool) -> None:
    """End a process that was started with `own_group()`, and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "nt":
            subprocess.run(
                ["taskkill", "/PID", str(process.pid), "/T", "/F"],
                capture_output=True,
                check=False,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
        else:
            os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)


def _step_back(process: subprocess.Popen) -> None:
    """Let other programs go first where cores are short; where none is busy, the engine is as fast as ever."""
    if os.name == "nt":
        return  # it was started so
    with contextlib.suppress(OSError):  # it may have ended already: the thread that follows it says so
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        # most Linux desktops weigh sessions against each other, not processes, and the engine has one of its own
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS))


def _end(process: subprocess.Popen) -> None:
    end_group(process, force=False)
    with contextlib.suppress(OSError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    end_group(process, force=True)  # the process, or what it started and left behind
    process.wait()


def own_group() -> dict:
    """Arguments for `Popen` that make the process the head of a group of its own, without a console window."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(path: Path, start: int, lines: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(start, _size(path) - 64_000))
        return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
