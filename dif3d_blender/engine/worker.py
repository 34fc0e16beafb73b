"""The engine process: `Job` lines on standard input, `Progress`, `Result` and `Failure` lines on standard output.

Run it by its path with the engine's Python; nothing needs to be installed or on `sys.path`. It ends when its input
closes, so that a parent that is gone leaves nothing behind, even in the middle of a job.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import queue
import sys
import threading
import traceback
from pathlib import Path

# Threads that wait for work sleep instead of spinning: the artist's Blender needs the cores too, and where they are
# taken, spinning threads make torch many times slower. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PACKAGE = Path(__file__).resolve().parent.parent


def _load_package() -> None:
    """Import our package under its own name, wherever it lies: as an extension its folder has a name of Blender's."""
    spec = importlib.util.spec_from_file_location(
        "dif3d_blender", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Answer jobs until the input ends."""
    from dif3d_blender.messages import Failure, Job, Message, from_line, to_line

    # Libraries print what they like. Only messages may reach the parent, so they get the real standard output, and
    # whatever else is written there goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def answer(message: Message) -> None:
        answers.write(to_line(message))

    jobs: queue.Queue[Job] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                job = from_line(line)
                if not isinstance(job, Job):
                    raise ValueError(f"the engine takes jobs, not a {type(job).__name__}")
                jobs.put(job)
            except ValueError as error:
                print(f"ignored: {error}", file=sys.stderr)
        # The parent closed the pipe or is gone: whatever runs is of no use to anyone.
        _end_with_children()

    threading.Thread(target=listen, daemon=True).start()

    pipeline = None
    while True:
        job = jobs.get()
        stage = "Starting the engine"

        def report(progress) -> None:
            nonlocal stage
            stage = progress.stage
            answer(progress)

        try:
            if pipeline is None:  # torch takes seconds to import: only now, so that a failure belongs to a job
                from dif3d_blender.engine.pipeline import Pipeline

                pipeline = Pipeline()
            answer(pipeline.run(job, report))
        except Exception as error:  # the process must live on for the next job; every error reaches the user or the log
            answer(_failure(Failure, job, stage, error))
            if _gpu_is_gone(error):  # nothing that this process asks of it will work again; a fresh one may
                _end_with_children()


def _end_with_children() -> None:
    """End at once, whatever the other threads do, and with it the processes that were started here."""
    with contextlib.suppress(ImportError):
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    os._exit(0)


def _gpu_is_gone(error: Exception) -> bool:
    """Whether the driver failed, as when a GPU is reset, unplugged, or lost in a computer's sleep."""
    return any(words in str(error) for words in ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "NVML"))


def _failure(failure_type, job, stage: str, error: Exception):
    """Put an error into words: ours as they are, lack of memory as advice, anything else with its traceback."""
    from dif3d_blender.engine.errors import DIF3DError

    trace = "".join(traceback.format_exception(error))
    if isinstance(error, DIF3DError):
        return failure_type(job.id, stage, str(error))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" of {error.filename}" if error.filename else ""
        return failure_type(job.id, stage, f"The disk{where} is full. Make room, and try again.", trace)
    if isinstance(error, ImportError):
        advice = "Install the engine again, or choose a Python that has its packages."
        return failure_type(job.id, stage, f"The engine's Python lacks something it needs ({error}). {advice}", trace)
    from dif3d_blender.engine.memory import is_out_of_memory  # which needs what an ImportError is about

    if is_out_of_memory(error):
        advice = "Choose a lower resolution or a smaller chunk size, or close other programs."
        return failure_type(job.id, stage, f"There was not enough memory. {advice}", trace)
    if _gpu_is_gone(error):
        what = str(error).strip().splitlines()[0]
        advice = "Try again; if it stays so, restart the computer, or set the device to CPU."
        return failure_type(job.id, stage, f"The GPU stopped answering ({what}). {advice}", trace)
    return failure_type(
        job.id, stage, f"Something went wrong ({type(error).__name__}: {error}). The log says more.", trace
    )


if __name__ == "__main__":
    _load_package()
    main()
