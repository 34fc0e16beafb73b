"""Where the project's things are, and its virtual environment. For the other scripts; the standard library only."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dif3d_blender.blender import environment
from dif3d_blender.engine.errors import DIF3DError

ENVIRONMENT = ROOT / ".venv"
REQUIREMENTS = ROOT / "vendor_requirements.txt"
EXAMPLES = ROOT / "examples"

# Blender as a Python module, and what the tests need. One environment holds all: on Python 3.11 the engine's packages
# are pinned to versions that run with the numpy 1 that this bpy is built against. Python 3.12 has no bpy.
EXTRA = (
    'bpy==5.0.1; python_version == "3.11"',
    'bpy==5.2.*; python_version == "3.13"',
    "pytest",
    "ruff",
    "nbclient",
    "nbformat",
    "ipykernel",
)


def ensure_environment() -> Path:
    """Make the project's `.venv` on the first run; return its interpreter.

    Raises:
        DIF3DError: it cannot be made; the message says why.
    """
    if environment.is_ready(ENVIRONMENT, REQUIREMENTS, EXTRA):
        return environment.python_in(ENVIRONMENT)
    print(f"Setting up {ENVIRONMENT} (once; a few minutes, about 4 GB on disk)", flush=True)
    bar = ProgressBar()
    python = environment.create_environment(
        ENVIRONMENT, REQUIREMENTS, environment.find_python(), lambda stage, done: bar.show(stage, done), EXTRA
    )
    bar.end()
    return python


class ProgressBar:
    """A line that is rewritten on a terminal; elsewhere a new line for each stage."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._stage = ""

    def show(self, stage: str, fraction: float, detail: str = "") -> None:
        if self._on_terminal:
            filled = round(24 * fraction)
            text = f"[{'█' * filled}{'·' * (24 - filled)}] {100 * fraction:3.0f}%  {stage} {detail}"
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{text[:width]:<{width}}", end="", flush=True)
        elif stage != self._stage:
            print(f"  {100 * fraction:3.0f}%  {stage}", flush=True)
        self._stage = stage

    def end(self) -> None:
        if self._on_terminal and self._stage:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{'':<{width}}\r", end="", flush=True)
        self._stage = ""


__all__ = ["ENVIRONMENT", "EXAMPLES", "REQUIREMENTS", "ROOT", "DIF3DError", "ProgressBar", "ensure_environment"]
