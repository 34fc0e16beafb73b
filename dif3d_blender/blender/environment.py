"""The engine's Python environment: made, checked, measured.

Nothing here imports `bpy`, and the standard library is all it needs: the extension's "Install engine" and the scripts'
first run are the same function. Blender's own packages are never touched: an environment is a folder of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..engine.errors import DIF3DError
from ..engine.files import is_file
from .engine_process import end_group, own_group

OLDEST, NEWEST = (3, 11), (3, 14)  # Python versions that the engine's packages have wheels for
OPTIONAL = frozenset({"open3d", "rembg", "onnxruntime", "imageio", "imageio-ffmpeg", "xatlas", "fast-simplification"})
"""Packages without which the engine still makes a mesh; what needs them is left out, and the report says so."""

STAMP = "dif3d.json"  # in the environment's folder, written last: what was installed
UNFINISHED = "dif3d.unfinished"  # there while pip moves files into place
LOG = "dif3d-setup.log"
SPACE = {"cuda": 12e9, "cpu": 5e9, "apple": 4e9}  # bytes: what is unpacked, and the archives beside it
_IMPATIENT = ("--retries", "1", "--timeout", "15")  # options of pip for what can be done without
PACKAGES = 110  # about as many come with vendor_requirements.txt; for the progress bar only

Report = Callable[[str, float], None]  # what is being done, in words; fraction done in [0, 1]


class Stopped(DIF3DError):
    """The installation or download was cancelled."""


class Stopper:
    """A hand on an installation or download that runs in another thread."""

    def __init__(self) -> None:
        self.stopped = False
        self._process: subprocess.Popen | None = None

    def stop(self) -> None:
        """End what runs, which then raises `Stopped`. What was downloaded so far is used by the next attempt."""
        self.stopped = True
        if self._process is not None and self._process.poll() is None:  # else its number may be another's by now
            end_group(self._process, force=True)

    def watch(self, process: subprocess.Popen) -> None:
        self._process = process
        if self.stopped:
            self.stop()

    def check(self) -> None:
        if self.stopped:
            raise Stopped("Cancelled. Trying again goes on where it stopped.")


def python_in(folder: str | Path) -> Path:
    """Where the interpreter of the environment in `folder` is."""
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_ready(folder: str | Path, requirements: str | Path, extra: Sequence[str] = ()) -> bool:
    """Whether `create_environment` finished there for these very requirements, and its interpreter still exists."""
    return read_stamp(folder).get("requirements") == _digest(requirements, extra) and python_in(folder).exists()


def create_environment(
    folder: str | Path,
    requirements: str | Path,
    python: str | Path,
    progress: Report,
    extra: Sequence[str] = (),
    cache: str | Path | None = None,
    stopper: Stopper | None = None,
) -> Path:
    """Make a virtual environment with the packages of `requirements`; return its interpreter.

    Does nothing where that was done before for the same requirements. An interrupted installation is resumed: finished
    downloads come from pip's cache.

    Args:
        folder: the environment's folder; created, and emptied where an installation broke off half way.
        requirements: a requirements file.
        python: the interpreter that the environment is made from.
        progress: called with a line for people and the fraction done.
        extra: further requirements, as pip takes them.
        cache: folder for pip's downloads, removed after success; pip's usual one where it is not given.
        stopper: lets another thread cancel.

    Raises:
        Stopped: the stopper was used.
        DIF3DError: an unfit interpreter, no network, no space, a folder that cannot be written, a package that does not
            exist for this system; the message says which, and what to do.
    """
    folder, stopper = Path(folder), stopper or Stopper()
    if is_ready(folder, requirements, extra):
        return python_in(folder)
    progress("Looking at the machine", 0.0)
    version = check_version(python)
    build = torch_build()
    _check_space(folder, build)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            for old in (STAMP, LOG):
                (folder / old).unlink(missing_ok=True)
            if (folder / UNFINISHED).exists() or not _is_environment(folder, version):
                progress("Making the environment", 0.01)
                _make_venv(folder, python, stopper)
            _install(_Pip(folder, cache, progress, stopper), requirements, extra, build)
            progress("Checking", 0.98)
            missing = check_interpreter(python_in(folder), requirements)
            if needed := [name for name in missing if name not in OPTIONAL]:
                raise DIF3DError(f"Installed, but still missing: {', '.join(needed)}. Remove the engine and try again.")
            stamp = {"requirements": _digest(requirements, extra), "bytes": size_on_disk(folder), "missing": missing}
            temporary = folder / (STAMP + ".tmp")
            temporary.write_text(json.dumps(stamp), encoding="utf-8")
            temporary.replace(folder / STAMP)
    except OSError as error:
        raise DIF3DError(f"The engine's environment could not be written to {folder}: {error}.") from error
    if cache is not None:
        shutil.rmtree(cache, ignore_errors=True)
    progress("Ready", 1.0)
    return python_in(folder)


def _install(pip: _Pip, requirements: str | Path, extra: Sequence[str], build: str) -> None:
    # newer versions resume a download that broke off; without a network this must not take long
    pip.install(["--upgrade", "pip", *_IMPATIENT], "Updating pip", 0.02, 0.03, required=False)
    lines = _requirement_lines(requirements)
    torch = next((line for line in lines if _name(line) == "torch"), None)
    if torch and build != "apple" and not pip.has_own_index():
        pip.install_for_gpu(torch, f"Installing torch ({build})", 0.03, 0.3)
    needed = [line for line in lines if _name(line) not in OPTIONAL]
    pip.install([*needed, *extra], "Installing packages", 0.3, 0.8)
    optional = [line for line in lines if _name(line) in OPTIONAL]
    for number, line in enumerate(optional):  # one by one: some have no build for some systems and Pythons
        start, step = 0.8 + 0.18 * number / len(optional), 0.18 / len(optional)
        pip.install([line, *needed, *extra], f"Installing {_name(line)}", start, start + step, required=False)


def _beside(folder: Path, kind: str) -> Path:
    """A file of the installation into `folder` that must not lie in it, because making the environment empties it."""
    return (
        Path(tempfile.gettempdir()) / f"dif3d-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.{kind}"
    )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep a second installation out of the same folder. The system frees the lock of a process that was killed."""
    with _beside(folder, "lock").open("a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DIF3DError(f"Another installation into {folder} is running. Try again when it is done.") from error
        yield


def remove_environment(folder: str | Path, cache: str | Path, progress: Report) -> None:
    """Delete an environment, whole or half made, and what was fetched for it.

    Raises:
        DIF3DError: something of it cannot be deleted; it counts as not installed then.
    """
    progress("Removing the engine", 0.0)
    try:
        (Path(folder) / STAMP).unlink(missing_ok=True)
        for part, done in ((folder, 0.9), (cache, 1.0)):
            if Path(part).exists():
                # Windows deletes files with long paths only by this form of their names.
                shutil.rmtree(f"\\\\?\\{Path(part).resolve()}" if os.name == "nt" else part)
            progress("Removing the engine", done)
    except OSError as error:
        raise DIF3DError(f"{folder} could not be removed: {error}. Close what uses it and try again.") from error


def find_python() -> Path:
    """Return an interpreter that an environment can be made from: the running one, else the newest fit one on the PATH.

    Raises:
        DIF3DError: there is none.
    """
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] + ["python3", "python"]
    for candidate in [sys.executable, *(shutil.which(name) for name in names)]:
        if not candidate:
            continue
        with contextlib.suppress(DIF3DError):
            check_version(candidate)
            if _runs(candidate, "import venv"):
                return Path(candidate)
    raise DIF3DError(
        f"No Python {_dots(OLDEST)} to {_dots(NEWEST)} was found on this machine. Install one (from python.org, or "
        "with your system's package manager) and choose it as the engine's Python."
    )


def check_version(python: str | Path) -> tuple[int, int]:
    """Return the (major, minor) version of an interpreter.

    Raises:
        DIF3DError: it is not there, is no Python, does not answer, or is too old or too new for the engine.
    """
    answer = _ask(python, "import sys; print(*sys.version_info[:2])")
    try:
        version = tuple(map(int, answer.split()))
        major, minor = version
    except ValueError as error:
        raise DIF3DError(f"{python} is not a Python interpreter: it answered {answer[:100]!r}.") from error
    if not OLDEST <= (major, minor) <= NEWEST:
        raise DIF3DError(f"{python} is Python {_dots(version)}; the engine needs {_dots(OLDEST)} to {_dots(NEWEST)}.")
    return major, minor


def check_interpreter(python: str | Path, requirements: str | Path) -> list[str]:
    """Return the names of the packages of `requirements` that an interpreter lacks (those in `OPTIONAL` among them).

    Only presence is asked for, not the version: an environment of the artist's own seldom has ours.

    Raises:
        DIF3DError: as `check_version`.
    """
    version = check_version(python)
    names = [_name(line) for line in _requirement_lines(requirements) if _applies(line, version)]
    code = (
        "import importlib.metadata, json, re, sys\n"
        "have = {re.sub('[-_.]+', '-', d.metadata['Name'] or '').lower() for d in importlib.metadata.distributions()}\n"
        "print(json.dumps([n for n in json.loads(sys.argv[1]) if n not in have and n + '-gpu' not in have]))\n"
    )
    return sorted(set(json.loads(_ask(python, code, json.dumps(names)))))


def size_on_disk(folder: str | Path) -> int:
    """Bytes in a folder and below; links are not followed."""
    total, stack = 0, [str(folder)]
    while stack:
        with contextlib.suppress(OSError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def torch_build() -> str:
    """Which build of torch fits this machine: `apple`, `cuda` (an NVIDIA GPU answers) or `cpu`."""
    if platform.system() == "Darwin":
        return "apple"
    return "cuda" if _has_nvidia_gpu() else "cpu"


def _has_nvidia_gpu() -> bool:
    """Whether there is an NVIDIA GPU with its driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return False
    try:
        answer = subprocess.run([command, "-L"], capture_output=True, timeout=20, check=False, **own_group())
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.startswith(b"GPU ")


class _Pip:
    """pip inside the environment, told as progress."""

    def __init__(self, folder: Path, cache: str | Path | None, progress: Report, stopper: Stopper):
        self.folder, self.progress, self.stopper = folder, progress, stopper
        self.environment = _clean_environment()
        if cache is not None:
            self.environment |= {"PIP_CACHE_DIR": str(cache), "UV_CACHE_DIR": str(Path(cache) / "uv")}

    def has_own_index(self) -> bool:
        """Whether pip is configured to use an index other than the public one; then only that is asked."""
        result = subprocess.run(
            [str(python_in(self.folder)), "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            **own_group(),
        )
        return bool(re.search(r"(index-url|no-index|find-links)=", result.stdout.replace("_", "-")))

    def install(self, options: list[str], what: str, start: float, end: float, required: bool = True) -> None:
        """`pip install` with these options, from fraction `start` to `end` of the bar."""
        command = ["pip", "install", "--no-input", "--no-warn-script-location", "--disable-pip-version-check"]
        status, output = self._run([*command, "--progress-bar", "off", *options], what, start, end)
        if status != 0 and required:
            raise DIF3DError(explain_pip(output, self.folder))

    def install_for_gpu(self, requirement: str, what: str, start: float, end: float) -> None:
        """Install the build of a package of PyTorch's that fits this machine's GPU and driver.

        uv knows which there are and where. Where it cannot do it, pip installs the usual build afterwards: it works on
        any machine, but on Windows without CUDA, and on Linux with gigabytes of CUDA even where there is no GPU.
        """
        self.install(["uv", *_IMPATIENT], what, start, start, required=False)
        python = str(python_in(self.folder))
        command = ["uv", "pip", "install", "--no-progress", "--python", python, "--torch-backend", "auto", requirement]
        self._run(command, what, start, end)

    def _run(self, command: list[str], what: str, start: float, end: float) -> tuple[int, str]:
        """Run a module of the environment that installs packages; return its exit status and output."""
        seen = 0
        self.progress(what, start)

        def tell(line: str) -> None:
            nonlocal seen
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
            done = start + (end - start) * min(0.9, seen / PACKAGES)
            fetched = re.match(r"\s*Downloading (\S+?)(?:-\d\S*)? \((.+)\)", line)
            if fetched:
                self.progress(f"{what}: fetching {Path(fetched[1]).name.replace('_', '-')}, {fetched[2]}", done)
            elif line.startswith(("Installing collected packages", "Prepared ")):  # pip's words, and uv's
                (self.folder / UNFINISHED).touch()  # a half-copied package looks like a whole one to pip
                self.progress(f"{what}: unpacking", start + (end - start) * 0.92)
            elif line.startswith("Collecting "):
                self.progress(f"{what}: {line.split()[1]}", done)

        command = [str(python_in(self.folder)), "-m", *command]
        status, output = _run(command, self.folder / LOG, self.environment, self.stopper, tell)
        if status == 0:
            (self.folder / UNFINISHED).unlink(missing_ok=True)
        return status, output


def explain_pip(output: str, folder: str | Path) -> str:
    """Say in words for an artist why pip failed.

    Args:
        output: what pip printed.
        folder: the environment's folder, which also holds the log.
    """
    log = f"The log is {Path(folder) / LOG}."
    low = output.lower()
    if "no space left" in low or "errno 28" in low or "not enough space" in low:
        return f"The disk of {folder} is full. Make room and install again. {log}"
    if "certificate_verify_failed" in low or "certificate verify failed" in low:  # pip calls it a broken connection too
        advice = "If a proxy stands between, set PIP_CERT to the file with its certificate, and start Blender again."
        return f"The package index's certificate was not accepted. {advice} {log}"
    network = ("name resolution", "newconnectionerror", "getaddrinfo", "network is unreachable", "connection refused")
    network += ("proxyerror", "readtimeout", "connecttimeout", "connection aborted", "connection reset", "max retries")
    network += ("failed to establish", "connection broken", "timed out")
    if any(words in low for words in network):
        return (
            f"The packages could not be fetched: no connection to the package index. Go online and install again. {log}"
        )
    if "long path" in low or "winerror 206" in low:
        advice = "Switch on long paths in Windows (LongPathsEnabled in the registry), restart, and install again."
        return f"A file's path would be longer than the 260 letters that Windows allows here. {advice} {log}"
    unbuilt = re.search(r"Failed to build (?:installable wheels for )?'?([\w.-]+)", output)
    if unbuilt:
        return (
            f"There is no ready-made {unbuilt[1]} for this Python and system, and it could not be built here. "
            f"Choose another Python. {log}"
        )
    nothing = re.search(r"No matching distribution found for (\S+)", output)
    if nothing:
        return f"There is no {nothing[1]} for this Python on {platform.system()} {platform.machine()}. {log}"
    if "permission denied" in low or "read-only file system" in low:
        return f"{folder} cannot be written to. Choose another folder, or change its permissions. {log}"
    errors = [line for line in output.splitlines() if line.lower().startswith("error")] or output.splitlines()[-1:]
    return f"pip failed: {' '.join(errors)[:300]} {log}"


def _make_venv(folder: Path, python: str | Path, stopper: Stopper) -> None:
    """A fresh environment with pip in it, in place of what an installation that broke off left there."""
    if any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists() and not (folder / UNFINISHED).exists():
        raise DIF3DError(f"{folder} holds other files. Choose an empty folder for the engine.")
    log, environment = _beside(folder, "log"), _clean_environment()
    try:
        status, output = _run([str(python), "-m", "venv", "--clear", str(folder)], log, environment, stopper)
        if status == 0:
            return
        # Debian ships Python without ensurepip, but often with a pip that can install into another environment
        for command in (
            [str(python), "-m", "venv", "--clear", "--without-pip", str(folder)],
            [str(python), "-m", "pip", "--python", str(python_in(folder)), "install", "--no-input", "pip"],
        ):
            status, more = _run(command, log, environment, stopper)
            output += "\n" + more
            if status != 0:
                raise DIF3DError(explain_venv(output, python))
    finally:
        log.unlink(missing_ok=True)


def explain_venv(output: str, python: str | Path) -> str:
    """Say in words for an artist why an environment could not be made with `python`; `output` is what was printed."""
    if "no space left" in output.lower():
        return "The disk is full. Make room and install again."
    if "ensurepip" in output or "No module named" in output:
        version = ".".join(map(str, check_version(python)))
        return (
            f"{python} cannot make environments: it lacks venv or ensurepip. On Debian and Ubuntu: "
            f"apt install python{version}-venv. Or choose another Python."
        )
    return f"{python} could not make an environment: {' '.join(output.split())[-300:]}"


def _run(
    command: list[str],
    log: Path,
    environment: dict[str, str],
    stopper: Stopper,
    each: Callable[[str], None] = lambda line: None,
) -> tuple[int, str]:
    """Run a command in a group of its own; log its lines and hand them to `each`. Return exit status and output."""
    stopper.check()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        **own_group(),
    )
    stopper.watch(process)
    output = []
    try:
        with process.stdout as lines, log.open("a", encoding="utf-8") as file:
            file.write("$ " + " ".join(command) + "\n")
            for raw in lines:
                line = raw.decode("utf-8", "replace").rstrip()
                file.write(line + "\n")
                output.append(line)
                each(line)
        process.wait()
    finally:
        if process.poll() is None:  # the log could not be written, or `each` raised
            end_group(process, force=True)
            process.wait()
    stopper.check()
    return process.returncode, "\n".join(output)


def _clean_environment() -> dict[str, str]:
    """The process environment without what would point pip or Python at Blender's own packages."""
    dropped = (
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "__PYVENV_LAUNCHER__",
    )
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    return environment | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PIP_NO_COLOR": "1"}


def _ask(python: str | Path, code: str, *arguments: str) -> str:
    """What an interpreter prints for a snippet of code."""
    if not is_file(python):
        raise DIF3DError(f"There is no Python interpreter at {python}.")
    try:
        result = subprocess.run(
            [str(python), "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_clean_environment(),
            **own_group(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DIF3DError(f"{python} is not a Python interpreter that runs here: {error}.") from error
    if result.returncode != 0:
        raise DIF3DError(f"{python} is not a working Python interpreter: {result.stderr.strip()[-200:]}")
    return result.stdout


def _runs(python: str | Path, code: str) -> bool:
    try:
        _ask(python, code)
    except DIF3DError:
        return False
    return True


def _is_environment(folder: Path, version: tuple[int, int]) -> bool:
    """Whether `folder` holds an environment of that Python version whose interpreter and pip run."""
    python = python_in(folder)
    with contextlib.suppress(DIF3DError):
        return check_version(python) == version and _runs(python, "import pip")
    return False


def _check_space(folder: Path, build: str) -> None:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free, needed = shutil.disk_usage(existing).free + size_on_disk(folder), SPACE[build]
    if free < needed:
        raise DIF3DError(
            f"The engine needs about {needed / 1e9:.0f} GB, and the disk of {existing} has {free / 1e9:.1f} GB free. "
            "Make room and install again."
        )


def _requirement_lines(requirements: str | Path) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in Path(requirements).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def _applies(requirement: str, version: tuple[int, int]) -> bool:
    """Whether the marker of a requirement, if any, holds. Our file uses only `python_version <op> "X.Y"`."""
    marker = requirement.partition(";")[2].strip()
    if not marker:
        return True
    match = re.fullmatch(r'python_version\s*(<=|>=|==|!=|<|>)\s*"(\d+)\.(\d+)"', marker)
    if match is None:
        raise ValueError(f"cannot read the marker of {requirement!r}")
    sign, other = match[1], (int(match[2]), int(match[3]))
    return {
        "<": version < other,
        "<=": version <= other,
        ">": version > other,
        ">=": version >= other,
        "==": version == other,
        "!=": version != other,
    }[sign]


def _digest(requirements: str | Path, extra: Sequence[str]) -> str:
    lines = [*_requirement_lines(requirements), *extra]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_stamp(folder: str | Path) -> dict:
    """What was installed there: digest of the requirements, bytes on disk, and what is missing of `OPTIONAL`.

    Empty where nothing was installed.
    """
    try:
        return json.loads((Path(folder) / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _dots(version: Iterable[int]) -> str:
    return ".".join(map(str, version))
