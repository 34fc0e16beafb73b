"""An engine that only pretends: it speaks `messages` and does what the job's `model` says, one word a behaviour.

ok        three steps of progress, then a mesh of resolution² vertices, a report and a result
slow      like ok, but its second step takes 30 seconds
stubborn  like slow, and it ignores being asked to end
child     like slow, with a child process of its own that sleeps
noisy     prints a line that is no message and one of a foreign job, then goes on like ok
crash     ends with an exit status in the middle of the job
kill      kills itself with SIGKILL in the middle, as the kernel does when memory runs out
memory    ends with a MemoryError
missing   ends as if a package were not installed
fail      an expected failure, with a message for the user
bug       an unexpected one, with a traceback
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dif3d_blender.messages import Failure, Progress, Result, from_line, to_line


def sphere(resolution):
    """A closed sphere of resolution² vertices in the field frame: vertices, faces, normals, colours (sRGB)."""
    n = resolution
    height, angle = np.meshgrid(np.linspace(-1, 1, n), np.linspace(0, 2 * np.pi, n, endpoint=False), indexing="ij")
    radius = np.sqrt(np.maximum(1 - height**2, 1e-4))
    normals = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(n - 1), np.arange(n), indexing="ij")
    a, b = row * n + column, row * n + (column + 1) % n
    faces = np.concatenate([np.stack([a, b, b + n], -1).reshape(-1, 3), np.stack([a, b + n, a + n], -1).reshape(-1, 3)])
    vertices = normals * (0.3, 0.4, 0.5)
    colors = np.where(normals[:, :1] > 0, (1.0, 0.5, 0.0), (0.0, 0.25, 1.0))
    return [x.astype(t) for x, t in zip((vertices, faces, normals, colors), ("f4", "i4", "f4", "f4"), strict=True)]


def gaussians(mesh):
    """A flat Gaussian at each vertex, its short axis along the normal."""
    n, normals = len(mesh["vertices"]), mesh["normals"]
    half = (normals + (0, 0, 1.0)) / 2  # the half turn around half the way from z to the normal takes z to the normal
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
    values = {
        "position": mesh["vertices"],
        "scale": np.tile((0.02, 0.02, 0.002), (n, 1)) * (20 / np.sqrt(n)),
        "rotation": np.concatenate([np.zeros((n, 1)), half], axis=1),
        "opacity": np.ones(n),
        "color": mesh["colors"],
        "observed": normals[:, 0] > 0,
    }
    return {f"gaussians_{key}": value.astype(bool if key == "observed" else "f4") for key, value in values.items()}


def write_result(job):
    """Write what the real engine leaves in `job.output`, and return its Result."""
    output = Path(job.output)
    (output / "arrays").mkdir(parents=True, exist_ok=True)
    files = {}
    arrays = dict(zip(("vertices", "faces", "normals", "colors"), sphere(job.resolution), strict=True))
    arrays["triplane"] = np.arange(3 * 4 * 8 * 8, dtype="f2").reshape(3, 4, 8, 8)
    if job.gaussians:
        arrays |= gaussians(arrays)
    for name, array in arrays.items():
        files[name] = str(output / "arrays" / f"{name}.npy")
        np.save(files[name], array)
    report = {
        "model": "fake",
        "device": "cpu",
        "counts": {"vertices": len(arrays["vertices"]), "faces": len(arrays["faces"])},
        "seconds": {"Thinking": 0.1},
        "substitutions": ["The foreground came from a plain-background matte: rembg's model is not installed."],
        "warnings": [],
        "pid": os.getpid(),
    }
    files["foreground"] = str(output / "images" / "Removed_BG.png")
    Path(files["foreground"]).parent.mkdir(exist_ok=True)
    Path(files["foreground"]).write_bytes(b"picture")
    files["report"] = str(output / "report.json")
    Path(files["report"]).write_text(json.dumps(report))
    return Result(job.id, str(output), files, report)


def send(message):
    sys.stdout.write(to_line(message))
    sys.stdout.flush()


def work(job):
    behaviour = job.model
    if behaviour == "noisy":
        print("a library says hello", flush=True)
        send(Progress("nobody", "Foreign", 0.5))
    send(Progress(job.id, "Reading the picture", 0.1))
    Path(job.output).mkdir(parents=True, exist_ok=True)
    (Path(job.output) / "half.tmp").write_text("begun")
    if behaviour == "crash":
        print("something broke", file=sys.stderr, flush=True)
        os._exit(3)
    if behaviour == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "memory":
        raise SystemExit("MemoryError: no room")
    if behaviour == "missing":
        raise SystemExit("ModuleNotFoundError: No module named 'torch'")
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    send(Progress(job.id, "Thinking", 0.4, "half way"))
    time.sleep(30 if behaviour in ("slow", "stubborn", "child") else 0.05)
    if behaviour == "busy":
        for step in range(100):
            send(Progress(job.id, "Working", 0.4 + step / 250))
            time.sleep(0.02)
    if behaviour == "fail":
        send(Failure(job.id, "Thinking", "The picture is empty. Choose another one."))
    elif behaviour == "bug":
        send(Failure(job.id, "Thinking", "ValueError: 7", "Traceback (most recent call last):\nValueError: 7"))
    else:
        send(Progress(job.id, "Writing", 0.9))
        (Path(job.output) / "half.tmp").unlink()
        send(write_result(job))


def main():
    jobs = []
    ready = threading.Condition()

    def read():
        for line in sys.stdin:
            with ready:
                jobs.append(from_line(line))
                ready.notify()
        os._exit(0)  # the parent is gone

    threading.Thread(target=read, daemon=True).start()
    while True:
        with ready:
            while not jobs:
                ready.wait()
            job = jobs.pop(0)
        work(job)


if __name__ == "__main__":
    main()
