"""Turn pictures into 3D models, headless.

    python3 scripts/generate.py [PICTURE…] [--output DIR] [options]
    blender -b --python scripts/generate.py -- [PICTURE…] [--output DIR] [options]

Each picture gets a folder of its own below DIR, with a mesh, turntable frames and a video, and a scene.blend that shows
the object. The first run sets up everything that is needed in the project's `.venv`. Nothing is sent anywhere, and
nothing else is fetched unless you allow it (--allow-network). A picture that fails does not stop the others; the exit
status is then 1, or what Blender's --python-exit-code says.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender does not

from project import ENVIRONMENT, EXAMPLES, DIF3DError, ProgressBar, ensure_environment

from dif3d_blender.blender.engine_process import EngineProcess
from dif3d_blender.engine import files
from dif3d_blender.messages import Failure, Job, Progress, Result, check_job

DEFAULT_EXAMPLE = EXAMPLES / "snowman.png"
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Job)}


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="generate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(name: str, **how) -> None:
        default = _DEFAULTS[name.removeprefix("--").replace("-", "_")]
        help_text = how.pop("help") + ("" if isinstance(default, bool) else f" (default: {default})")
        parser.add_argument(name, default=default, help=help_text, **how)

    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="files, or folders of pictures")
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="(default: output)")
    add("--model", help="auto, embedded, a Hugging Face repository, or a folder")
    add("--device", help="auto, cpu, cuda or mps")
    add("--precision", choices=("auto", "float32", "bfloat16", "float16"), help="of the network")
    add("--background", choices=("auto", "keep", "rembg", "plain"), help="how the subject is cut out")
    add("--foreground-ratio", type=float, help="longest side of the subject over the side of the square")
    add("--resolution", type=int, help="marching-cubes samples along each axis")
    add("--threshold", type=float, help="density at the surface")
    add("--chunk-size", type=int, help="points a decoder call; 0 chooses")
    add("--padding", type=int, help="pixels cropped from each side of the depth map")
    add("--mesh-format", choices=("glb", "obj", "ply", "stl"), help="of the exported mesh")
    add("--smoothing", type=int, help="steps that smooth the mesh and keep its volume; 0 for none")
    add("--face-limit", type=int, help="decimate to this many faces; 0 keeps all")
    add("--frames", type=int, help="turntable frames; 0 for none")
    add("--frame-size", type=int, help="pixels a side")
    add("--texture", type=int, metavar="TEXELS", help="side of a texture with normal map, such as 2048; 0 for none")
    parser.add_argument("--no-project", dest="project", action="store_false", help="the model's own colours only")
    add("--size", type=float, help="height of the object in metres")
    add("--allow-network", action="store_true", help="allow models to be fetched")
    add("--dense", action="store_true", help="use the slow reference paths")
    add("--fuse-depth", action="store_true", help="let GLPN's depth correct the surface that the picture shows")
    parser.add_argument("--no-gaussians", dest="gaussians", action="store_false", help="no depth, points and Gaussians")
    options = parser.parse_args(arguments)
    try:
        check_job(Job(**_settings(options), picture="", output=""))
    except DIF3DError as error:
        parser.error(str(error))
    return options


def find_pictures(named: list[Path]) -> list[Path]:
    """The pictures to do: files as named (missing ones too: they fail by themselves), folders by their contents."""
    if not named:
        return [DEFAULT_EXAMPLE]
    pictures: list[Path] = []
    for path in named:
        pictures += files.find_pictures(path) if path.is_dir() else [path]
    return pictures


def _settings(options: argparse.Namespace) -> dict:
    """The options that are a job's own."""
    return {name: value for name, value in vars(options).items() if name in _DEFAULTS and name != "output"}


def make_jobs(pictures: list[Path], options: argparse.Namespace) -> list[Job]:
    """One job a picture, each with an output folder named after the picture."""
    jobs, used = [], set()
    for picture in pictures:
        name = picture.stem
        count = 1
        while name in used:
            count += 1
            name = f"{picture.stem}_{count}"
        used.add(name)
        output = (options.output / name).resolve()
        jobs.append(Job(**_settings(options), picture=str(picture.resolve()), output=str(output), id=str(len(jobs))))
    return jobs


def run_jobs(python: Path, jobs: list[Job]) -> list[Result | Failure]:
    """Run the jobs one after the other in one engine process, showing how far they are."""
    outcomes: list[Result | Failure] = []
    bar = ProgressBar()
    with (
        tempfile.TemporaryDirectory(prefix="dif3d-") as folder,
        EngineProcess(python, Path(folder) / "engine.log") as engine,
    ):
        for job in jobs:
            started = time.monotonic()
            print(f"{Path(job.picture).name}", flush=True)
            engine.submit(job)
            for event in engine.follow():
                if isinstance(event, Progress):
                    bar.show(event.stage, event.fraction, event.detail)
                    continue
                bar.end()
                outcomes.append(finish(event, job))
                if isinstance(outcomes[-1], Failure):
                    print(f"  Failed ({event.stage}): {outcomes[-1].message}", file=sys.stderr, flush=True)
                    if event.traceback if isinstance(event, Failure) else False:
                        print(engine.log_tail(), file=sys.stderr, flush=True)
                else:
                    describe(event, time.monotonic() - started)
    return outcomes


def finish(event: Result | Failure, job: Job) -> Result | Failure:
    """Write the scene of a result; where this Python has no Blender, say so and go on without."""
    if isinstance(event, Failure):
        return event
    try:
        from dif3d_blender.blender import scene
    except ImportError as error:
        if error.name == "bpy":
            running = f"{sys.version_info[0]}.{sys.version_info[1]}"
            event.report["warnings"].append(
                f"No scene.blend was written: there is no Blender module for Python {running}. To have one, delete "
                f"{ENVIRONMENT} and run this with Python 3.11 or 3.13."
            )
            return event
        event.report["warnings"].append(
            f"No scene.blend was written: Blender's Python module does not load here ({error}). On Debian and Ubuntu: "
            "apt install libx11-6 libxrender1 libxxf86vm1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1 libegl1"
        )
        return event
    path = Path(job.output) / "scene.blend"
    try:
        with quiet():
            scene.save_scene(path, [event], job.size)
    except DIF3DError as error:
        return Failure(job.id, "Writing the scene", str(error))
    event.files["scene"] = str(path)
    return event


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Blender's own lines off the terminal: it names the temporary file that it saves."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def describe(result: Result, seconds: float) -> None:
    """Say what was made, where, and what was not as asked."""
    counts = result.report["counts"]
    print(f"  Done in {seconds:.1f} s with the {result.report['model']} model on {result.report['device']}:", end=" ")
    print(f"{counts['vertices']:,} vertices, {counts['faces']:,} faces.")
    for note in result.report["substitutions"] + result.report["warnings"]:
        print(f"  Note: {note}")
    print(f"  Wrote {result.output}:")
    for kind in (
        "scene",
        "mesh",
        "base_color",
        "normal_map",
        "gaussians",
        "video",
        "frames",
        "foreground",
        "depth",
        "report",
    ):
        if kind in result.files:
            print(f"    {Path(result.files[kind]).relative_to(result.output)}")
    sys.stdout.flush()


def main() -> int:
    arguments = sys.argv[1:]
    if "bpy" in sys.modules:  # `blender -b --python generate.py -- …`: what comes before is Blender's
        arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    options = parse_arguments(arguments)
    try:
        pictures = find_pictures(options.pictures)
        python = ensure_environment()
    except DIF3DError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    if "bpy" not in sys.modules and Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        return subprocess.run([str(python), __file__, *arguments], check=False).returncode
    outcomes = run_jobs(python, make_jobs(pictures, options))
    return 1 if any(isinstance(outcome, Failure) for outcome in outcomes) else 0


def exit_status(status: int) -> int:
    """`status`, or in place of 1 what the user told Blender to exit with when a script fails."""
    if status == 1 and "--python-exit-code" in sys.argv:
        return int(sys.argv[sys.argv.index("--python-exit-code") + 1])
    return status


if __name__ == "__main__":
    try:
        status = exit_status(main())
    except KeyboardInterrupt:
        status = 130
    # In a real Blender, a script that merely ends leaves status 0; in `-b` mode nothing is left to do anyway.
    if status or "bpy" not in sys.modules:
        sys.exit(status)
