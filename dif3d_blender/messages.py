"""The messages that Blender (or a script) and the engine process exchange: JSON, one message a line.

A parent writes `Job` lines to the engine's standard input; the engine answers on standard output with `Progress` lines
and, for each job, exactly one `Result` or `Failure`. Arrays never travel in messages: a result names files. Nothing is
ever unpickled. This module imports the standard library only: Blender's Python and the engine's both load it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from .engine.errors import DIF3DError


@dataclass(frozen=True)
class Job:
    """One picture to turn into one output folder. Paths are absolute; every other field has the default of the CLI."""

    picture: str
    output: str  # the picture's own output folder; created when missing
    id: str = "0"
    model: str = "auto"  # auto | embedded | a Hugging Face repository name | a folder
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    precision: str = "auto"  # auto | float32 | bfloat16 | float16
    background: str = "auto"  # auto | keep | rembg | plain: how the subject is cut out
    foreground_ratio: float = 0.85  # longest side of the subject over the side of the square
    resolution: int = 256  # marching-cubes samples along each axis
    threshold: float = 25.0  # density at the surface
    chunk_size: int = 0  # points a decoder call; 0 lets the engine choose from free memory
    padding: int = 16  # pixels cropped from each side of the depth map
    mesh_format: str = "glb"  # glb | obj | ply | stl
    smoothing: int = 10  # pairs of steps that take the ridges of the samples off and keep the volume; 0 for none
    face_limit: int = 0  # decimate the mesh to this many faces; 0 keeps all
    frames: int = 30  # turntable frames by the NeRF renderer; 0 for none
    frame_size: int = 256  # pixels, square
    gaussians: bool = True  # depth, 2.5D point cloud and Gaussian cloud
    fuse_depth: bool = False  # GLPN's depth moves the seen surface; no gain was measured (docs/fusion.md)
    texture: int = 0  # texture size in texels; 0 keeps vertex colours only
    project: bool = True  # mesh, texture and frames take the picture's own pixels where its camera saw the surface
    size: float = 1.0  # height of the exported mesh in metres
    allow_network: bool = False  # models may be fetched only when this is set
    dense: bool = False  # use the slow reference paths
    code: str = (
        ""  # a triplane.npy of the same model: the field is asked again, no picture and no network pass is needed
    )


_LEAST = {"resolution": 2, "chunk_size": 0, "padding": 0, "smoothing": 0, "frames": 0, "frame_size": 1}
_LEAST_BUT_NONE = {"face_limit": 4, "texture": 64}  # where 0 means none


def check_job(job: Job) -> None:
    """Look at a job's numbers before any work is done.

    Raises:
        DIF3DError: one of them is of no use; the message names it.
    """
    for name, least in _LEAST.items():
        if getattr(job, name) < least:
            raise DIF3DError(f"{name} is {getattr(job, name)}; it must be {least} or more.")
    for name, least in _LEAST_BUT_NONE.items():
        if getattr(job, name) != 0 and getattr(job, name) < least:
            raise DIF3DError(f"{name} is {getattr(job, name)}; it must be {least} or more, or 0 for none.")
    for name in ("threshold", "size"):
        if not 0 < getattr(job, name) < math.inf:
            raise DIF3DError(f"{name} is {getattr(job, name)}; it must be more than 0.")
    if not 0 < job.foreground_ratio <= 1:
        raise DIF3DError(f"foreground_ratio is {job.foreground_ratio}; it must be more than 0 and at most 1.")
    if job.fuse_depth and not job.gaussians:
        raise DIF3DError("fuse_depth needs the depth, which is left out with the Gaussians.")


@dataclass(frozen=True)
class Progress:
    """How far a job is: `fraction` in [0, 1] over the whole job, `stage` a few words for people."""

    job: str
    stage: str
    fraction: float
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """A finished job. `files` maps what was made (mesh, gaussians, video, report, vertices, …) to absolute paths."""

    job: str
    output: str
    files: dict[str, str] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)  # what report.json holds


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result. `message` says what was wrong and what to do, in words for an artist."""

    job: str
    stage: str
    message: str
    traceback: str = ""  # for the log; empty where the error was expected (bad input)


Message = Job | Progress | Result | Failure
_TYPES = {cls.__name__: cls for cls in (Job, Progress, Result, Failure)}


def to_line(message: Message) -> str:
    """Return `message` as one line of JSON, with its newline."""
    return json.dumps({"type": type(message).__name__, **dataclasses.asdict(message)}) + "\n"


def from_line(line: str) -> Message:
    """Return the message that `line` holds.

    Raises:
        ValueError: the line is not JSON, its type is unknown, or its fields do not fit that type.
    """
    try:
        fields = json.loads(line)
        cls = _TYPES[fields.pop("type")]
        return cls(**fields)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a message of the engine: {line[:200]!r} ({error})") from error
