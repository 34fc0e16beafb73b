"""The main path: one job (a picture, or a triplane from before) to the files of one output folder.

A `Pipeline` keeps its model between jobs, so that the second picture does not pay for loading. Every stage is a plain
function of another module; this one only puts them in order, tells how far it is, and writes the report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..messages import Job, Progress, Result, check_job
from .cameras import Camera
from .cleaning import clean_surface
from .coloring import picture_correction
from .depth import enlarge_depth, field_depth
from .errors import DIF3DError
from .export import (
    TextureMaps,
    check_mesh_format,
    export_mesh,
    save_array,
    save_maps,
    save_png,
    save_turntable,
)
from .field import Field
from .files import atomic_path, remove
from .foreground import GREY, cut_out, frame_subject, open_picture
from .fusion import fuse
from .gaussian import Gaussian
from .gaussians import cover_surface
from .isosurface import Surface, extract_surface
from .memory import peak_bytes
from .occupancy import Occupancy
from .projection import Photo, matched_exposure, project
from .registration import Registration, register
from .rendering import each_view
from .silhouette import is_outline, shrink_mask, silhouette_correction
from .splats import save_gaussians, write_ply, write_splat_glb
from .texture import USUAL_FACES, texture_mesh
from .tsr import TSR
from .unwrap import UnwrapError
from .weights import ModelFiles, find_model

REPORTED_PACKAGES = ("torch", "numpy", "transformers", "rembg", "open3d", "trimesh", "PyMCubes", "scikit-image")

# How long the stages take beside each other on a CPU, for the progress bar only.
_SHARES = {"Opening the picture": 3, "Loading the model": 6, "Seeing the object": 25}
_SHARES |= {"Matching the outline": 8, "Finding the surface": 20}
_SHARES |= {
    "Estimating depth": 25,
    "Making the texture": 40,
    "Writing the mesh": 6,
    "Fusing depth and field": 12,
    "Rendering frames": 40,
}


def choose_device(name: str) -> torch.device:
    """Return the device that `name` means: "auto" takes a GPU where torch can use one, else the CPU.

    Raises:
        DIF3DError: torch does not know it, or cannot use it here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # the last one where a device is torch's by a plug-in
        reason = str(error).splitlines()[0]
        raise DIF3DError(f"The device {name!r} cannot be used here ({reason}). Use auto, cpu, cuda or mps.") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise DIF3DError(f"The device {name!r} is not one that DIF3D knows. Use auto, cpu, cuda or mps.")
    return device


class Pipeline:
    """Runs jobs. The model of the last job stays loaded for the next."""

    def __init__(self) -> None:
        self._model: TSR | None = None
        self._loaded: tuple[ModelFiles, torch.device, str] | None = None

    def run(self, job: Job, report: Callable[[Progress], None]) -> Result:
        """Do `job` and return what it made.

        Args:
            job: what to do; its `output` folder is created.
            report: is called with the progress, often.

        Raises:
            DIF3DError: something the user can act on. No file is left half-written.
        """
        check_job(job)
        check_mesh_format(job.mesh_format)
        stages = _Stages(job, report)
        output = Path(job.output)
        facts: dict[str, Any] = {"picture": job.picture, "warnings": [], "substitutions": []}
        files: dict[str, str] = {}

        with stages("Loading the model"):
            model, found, device = self._load(job, facts)
        if job.code:
            code, mask = _read_code(Path(job.code), model)
            code, picture = code.to(device), _stored_picture(Path(job.code), output, files)
        else:
            with stages("Opening the picture"):
                picture, mask = _prepare_picture(job, output, facts, files)
            with stages("Seeing the object"), torch.no_grad():
                code = model([picture], device)[0]
        field = Field(code, model.decoder, model.renderer, job.chunk_size, dense=job.dense)
        with stages("Matching the outline"):
            field, found_camera = _match_outline(job, output, field, mask, facts, files)
        view = None
        if picture is not None:
            view = Photo(picture, _subject_of(picture) if mask is None else _fit(mask, picture), found_camera.camera)
        if job.gaussians and not job.code:
            with stages("Estimating depth"):
                field = _estimate_depth(job, output, field, view, facts, files)
        with stages("Finding the surface"):
            occupancy = None if job.dense else Occupancy(field)
            surface = extract_surface(field, job.resolution, job.threshold, occupancy=occupancy, dense=job.dense)
            # A texture keeps the fine surface for its normal map, and decimates by itself.
            surface = clean_surface(surface, smoothing=job.smoothing, face_limit=0 if job.texture else job.face_limit)
        photo, shown, maps = view if job.project else None, surface, None
        if job.texture:
            with stages("Making the texture"):
                shown, maps = _make_texture(job, field, surface, photo, facts)
        with stages("Writing the mesh"):
            colors = _vertex_colors(field, shown, photo)
            _write_mesh(job, output, shown, colors, code, maps, files)
        if job.gaussians:
            with stages("Fusing depth and field"):
                _write_gaussians(job, output, field, occupancy, surface, view, facts, files)
        if job.frames:
            with stages("Rendering frames") as progress:
                _write_frames(job, output, field, occupancy, photo, progress, facts, files)

        facts["warnings"] += field.warnings
        facts |= {
            "model": found.label,
            "device": str(device),
            "precision": str(model.dtype).removeprefix("torch."),
            "peak_memory_gb": round(peak_bytes(device) / 1e9, 2),
            "seconds": {name: round(seconds, 2) for name, seconds in stages.seconds.items()},
            "counts": {"vertices": len(shown.vertices), "faces": len(shown.faces), "queries": field.queries},
            "settings": {name: getattr(job, name) for name in ("resolution", "threshold", "foreground_ratio", "size")},
            "versions": _versions(),
        }
        files["report"] = str(output / "report.json")
        with atomic_path(files["report"]) as temporary:
            temporary.write_text(json.dumps(facts | {"files": files}, indent=2) + "\n", encoding="utf-8")
        return Result(job.id, str(output), files, facts)

    def _load(self, job: Job, facts: dict[str, Any]) -> tuple[TSR, ModelFiles, torch.device]:
        device = choose_device(job.device)
        found = find_model(job.model, job.allow_network)
        if self._loaded != (found, device, job.precision):
            self._model = self._loaded = None  # the old one's memory first
            self._model = TSR.from_files(found, job.precision, device)
            self._loaded = (found, device, job.precision)
        if job.model == "auto" and found.label == "embedded":
            facts["substitutions"].append(
                "The published TripoSR weights are not on this machine: the embedded model was used. To fetch them: "
                "Download in the extension's preferences, or --model stabilityai/TripoSR --allow-network."
            )
        return self._model, found, device


def _prepare_picture(
    job: Job, output: Path, facts: dict[str, Any], files: dict[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Open, cut out and frame the picture: float32 [H, W, 3] on mid-grey, and its mask [H, W].

    Writes it as `images/Removed_BG.png`.
    """
    cut = cut_out(open_picture(job.picture), job.background, job.allow_network)
    # From here on the folder is this run's. Should it fail, no one takes another picture's triplane for this one's.
    for name in ("report.json", "arrays/triplane.npy", "arrays/outline.npy"):
        remove(output / name)
    facts["background"] = cut.method
    facts["substitutions"] += [cut.note] if cut.method == "plain" else []
    facts["warnings"] += [cut.note] if cut.method == "whole" else []
    facts["warnings"] += [cut.warning] if cut.warning else []
    picture, mask = frame_subject(cut.image, job.foreground_ratio)
    files["foreground"] = str(output / "images" / "Removed_BG.png")
    save_png(files["foreground"], picture)
    return picture, mask


def _vertex_colors(field: Field, surface: Surface, photo: Photo | None) -> np.ndarray:
    """Colours [n, 3] of the surface's vertices: the picture's where it shows them, the field's elsewhere."""
    colors = field.color(torch.from_numpy(surface.vertices)).cpu().numpy()
    if photo is None:
        return colors
    seen, trust = project(photo, surface, surface.vertices, surface.normals)
    colors = matched_exposure(colors, seen, trust)
    return (colors + (seen - colors) * trust[:, None]).astype(np.float32)


def _match_outline(
    job: Job, output: Path, field: Field, mask: np.ndarray | None, facts: dict[str, Any], files: dict[str, str]
) -> tuple[Field, Registration]:
    """Find the picture's camera by its mask [H, W], and give the field that outline.

    The mask is kept beside the triplane, so that both can be asked again. Without one, the field stays as it is.
    """
    if mask is None or facts.get("background") == "whole" or not is_outline(mask):
        if not job.code:
            facts["warnings"].append("The subject has no outline in the picture that could help the model.")
        return field, Registration(Camera(), 0.0)
    occupancy = Occupancy(field)
    if occupancy.density.max() <= job.threshold:
        return field, Registration(Camera(), 0.0)  # no surface: extraction will say so, and what to do
    before = register(field, mask, occupancy, job.threshold)
    field = field.corrected(silhouette_correction(field, before.camera, torch.from_numpy(mask), job.threshold))
    facts["registration"] = dataclasses.asdict(before)
    files["outline"] = str(output / "arrays" / "outline.npy")
    save_array(files["outline"], shrink_mask(mask))
    return field, before


def _estimate_depth(
    job: Job,
    output: Path,
    field: Field,
    view: Photo,
    facts: dict[str, Any],
    files: dict[str, str],
) -> Field:
    """Find the picture's depth and make the 2.5D files; return the field as depth corrects it."""
    occupancy = Occupancy(field)

    def nerf_depth(height: int, width: int) -> np.ndarray:
        # Half the size shows all that the field holds, at a quarter of the time.
        half = field_depth(field, view.camera, -(-height // 2), -(-width // 2), job.threshold, occupancy)
        return enlarge_depth(half, height, width)

    estimate = Gaussian(
        device=str(field.device),
        allow_network=job.allow_network,
        nerf_depth=nerf_depth,
        camera=view.camera,
    )
    estimate.set_variables(job.picture, output, job.foreground_ratio, job.padding)
    estimate.use_picture(view.picture, view.mask)
    estimate.make_all()
    facts["substitutions"] += estimate.notes
    if job.fuse_depth:
        field, facts["fusion"] = fuse(field, estimate, job.threshold)
    files.update({name: str(path) for name, path in estimate.files.items()})
    return field


def _write_gaussians(
    job: Job,
    output: Path,
    field: Field,
    occupancy: Occupancy | None,
    surface: Surface,
    view: Photo | None,
    facts: dict[str, Any],
    files: dict[str, str],
) -> None:
    cloud = cover_surface(field, surface, view, job.threshold, occupancy)
    files.update({name: str(path) for name, path in save_gaussians(output / "arrays", cloud).items()})
    files["gaussians"] = str(output / "3dfiles" / "gaussians.ply")
    files["gaussians_glb"] = str(output / "3dfiles" / "gaussians.glb")
    height = float(surface.vertices[:, 2].min()), float(surface.vertices[:, 2].max())
    write_ply(files["gaussians"], cloud, height, job.size)
    write_splat_glb(files["gaussians_glb"], cloud, height, job.size)
    facts["gaussians"] = {"count": len(cloud), "observed": int(cloud.observed.sum())}
    if view is None:
        facts["substitutions"].append(
            "Made from a stored result, without its picture: all Gaussians are the model's own."
        )


def _read_code(path: Path, model: TSR) -> tuple[torch.Tensor, np.ndarray | None]:
    """Read what an earlier job left: a scene code [3, C, H, W], and the outline [S, S] beside it where there is one.

    Raises:
        DIF3DError: the code is missing, damaged, or of a model with other sizes.
    """
    code = _read_array(path)
    channels = model.post_processor.cfg.out_channels
    fitting = code.ndim == 4 and code.shape[:2] == (3, channels) and code.shape[2] == code.shape[3] > 0
    if not fitting or code.dtype.kind != "f" or not np.isfinite(code).all():
        raise DIF3DError(
            f"The stored result {path} ({list(code.shape)}) does not fit the model. Choose the model that made it."
        )
    outline = path.with_name("outline.npy")
    if not outline.is_file():
        return torch.from_numpy(code.astype(np.float32)), None
    mask = _read_array(outline)
    if mask.ndim != 2 or mask.size == 0 or mask.dtype.kind != "f" or not np.isfinite(mask).all():
        raise DIF3DError(f"The stored outline {outline} is damaged. Remove it, or generate the object again.")
    return torch.from_numpy(code.astype(np.float32)), mask.astype(np.float32)


def _stored_picture(code: Path, output: Path, files: dict[str, str]) -> np.ndarray | None:
    """The framed picture [H, H, 3] beside a stored triplane, which is kept beside the new one too; None without one."""
    path, kept = code.parent.parent / "images" / "Removed_BG.png", output / "images" / "Removed_BG.png"
    if not path.is_file():
        return None
    picture = np.asarray(open_picture(path).convert("RGB"), np.float32) / 255
    if path != kept:
        save_png(kept, picture)
    files["foreground"] = str(kept)
    return picture


def _subject_of(picture: np.ndarray) -> np.ndarray:
    """The mask [H, W] of a framed picture whose outline was not worth keeping: all but the grey that it lies on."""
    return (np.round(picture * 255) != round(GREY * 255)).any(axis=2).astype(np.float32)


def _fit(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A mask in the size of its picture; the stored one is smaller."""
    if mask.shape == picture.shape[:2]:
        return mask
    return np.asarray(Image.fromarray(mask).resize(picture.shape[1::-1], Image.Resampling.BILINEAR))


def _read_array(path: Path) -> np.ndarray:
    try:
        return np.array(np.lib.format.open_memmap(path, mode="r"))  # which reads no more than the file has
    # The header is parsed as a piece of Python: what is wrong with it can be of any kind.
    except Exception as error:
        raise DIF3DError(
            f"The stored result {path} is missing or damaged ({error}). Generate the object again."
        ) from error


def _make_texture(
    job: Job, field: Field, surface: Surface, photo: Photo | None, facts: dict[str, Any]
) -> tuple[Surface, TextureMaps | None]:
    """The mesh to show, with as few faces as a textured one has, and its maps; None where it cannot be unwrapped."""
    try:
        made = texture_mesh(field, surface, job.texture, job.face_limit, photo)
    except UnwrapError as error:
        facts["substitutions"].append(
            f"{error} The mesh keeps its vertex colours; Blender unwraps it (Smart UV) and bakes them."
        )
        facts["texture"] = {"size": job.texture, "unwrapped": False}
        return clean_surface(surface, speck_share=0.0, face_limit=job.face_limit or USUAL_FACES), None
    facts["substitutions"] += made.notes
    if job.project and photo is None:
        facts["substitutions"].append(
            "Made from a stored result, without its picture: the texture is all the model's own."
        )
    facts["texture"] = {"size": len(made.maps.base_color), "unwrapped": True, "projected": round(made.projected, 3)}
    return made.surface, made.maps


def _write_mesh(
    job: Job,
    output: Path,
    surface: Surface,
    colors: np.ndarray,
    code: torch.Tensor,
    maps: TextureMaps | None,
    files: dict[str, str],
) -> None:
    arrays = {"vertices": surface.vertices, "faces": surface.faces, "normals": surface.normals, "colors": colors}
    arrays["triplane"] = code.cpu().numpy().astype(np.float16)
    if maps is not None:
        arrays["uv"] = maps.uv
        files.update({name: str(path) for name, path in save_maps(output / "3dfiles", maps).items()})
    for name, array in arrays.items():
        files[name] = str(output / "arrays" / f"{name}.npy")
        save_array(files[name], array)
    files["mesh"] = str(output / "3dfiles" / f"mesh.{job.mesh_format}")
    export_mesh(files["mesh"], surface.vertices, surface.faces, colors, surface.normals, job.size, maps)


def _write_frames(
    job: Job,
    output: Path,
    field: Field,
    occupancy: Occupancy | None,
    photo: Photo | None,
    progress: Callable[[float, str], None],
    facts: dict[str, Any],
    files: dict[str, str],
) -> None:
    if photo is not None:
        field = field.corrected(picture_correction(field, photo, job.threshold, occupancy))
        occupancy = None  # its colours are those of before
    views = each_view(
        field,
        job.frames,
        height=job.frame_size,
        width=job.frame_size,
        occupancy=occupancy,
        dense=job.dense,
        progress=lambda done: progress(done, f"{round(done * job.frames)} of {job.frames}"),
    )
    pictures = (view.cpu().numpy() for view in views)
    paths, video = save_turntable(output / "renderfiles", pictures, facts["warnings"])
    files["frames"] = str(paths[0])
    if video is not None:
        files["video"] = str(video)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in REPORTED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


class _Stages:
    """The stages of one job: how far it is, and how long each took."""

    def __init__(self, job: Job, report: Callable[[Progress], None]) -> None:
        self._job, self._report = job, report
        skipped = {"Opening the picture", "Seeing the object"} if job.code else set()
        skipped |= set() if job.frames else {"Rendering frames"}
        skipped |= set() if job.texture else {"Making the texture"}
        skipped |= set() if job.gaussians else {"Fusing depth and field"}
        skipped |= set() if job.gaussians and not job.code else {"Estimating depth"}
        self._shares = {name: share for name, share in _SHARES.items() if name not in skipped}
        self._done = 0.0
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[float, str], None]]:
        share = self._shares[name] / sum(self._shares.values())

        def progress(fraction: float, detail: str = "") -> None:
            self._report(Progress(self._job.id, name, min(1.0, self._done + share * fraction), detail))

        progress(0.0)
        started = time.monotonic()
        yield progress
        self.seconds[name] = time.monotonic() - started
        self._done += share
