"""DIF3D's notebook API: `Runtime` and `Timer`, over the functions that the pipeline is made of.

runtime = Runtime()
runtime.set_variables(input_path="input/", output_path="output/")
runtime.initilize()
runtime.img_process()
runtime.modelRun()
runtime.render()
runtime.export_mesh()
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..messages import Job
from .depth import field_depth
from .errors import DIF3DError
from .export import check_mesh_format, export_mesh, save_turntable
from .field import Field
from .files import find_pictures
from .gaussian import Gaussian
from .isosurface import extract_surface
from .occupancy import Occupancy
from .pipeline import choose_device
from .precision import choose_precision
from .rendering import each_view
from .tsr import TSR
from .weights import PUBLISHED, find_model

logger = logging.getLogger("dif3d")


class Timer:
    """Measures and logs how long named tasks take."""

    def __init__(self) -> None:
        self.items: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Begin a task. One that was begun before begins anew."""
        _wait_for_gpu()
        self.items[name] = time.perf_counter()
        logger.info("%s ...", name)

    def end(self, name: str) -> float:
        """End a task and return its milliseconds.

        Raises:
            DIF3DError: no task of that name has begun.
        """
        if name not in self.items:
            begun = ", ".join(map(repr, self.items)) or "none"
            raise DIF3DError(f"Timer: {name!r} was not started. Running now: {begun}.")
        _wait_for_gpu()
        milliseconds = (time.perf_counter() - self.items.pop(name)) * 1000.0
        logger.info("%s finished in %.2fms.", name, milliseconds)
        return milliseconds


def _wait_for_gpu() -> None:
    """Wait until the GPU has done what it was given: its work runs on after the call that started it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass
class _Item:
    """One picture on its way through the steps."""

    path: Path
    output: Path
    stage: Gaussian
    model: TSR
    device: torch.device
    chunk_size: int
    failure: str = ""
    has_depth: bool = False
    logged: int = 0  # notes of the stage that the log has already
    picture: torch.Tensor | None = None  # [S, S, 3], the subject on grey as large as the network sees it

    @functools.cached_property
    def scene_code(self) -> torch.Tensor:
        """The triplane [3, C, H, W]; computed when first asked for, be it by `modelRun` or for a depth map before."""
        with torch.no_grad():
            return self.model([self.picture], self.device)[0]

    @functools.cached_property
    def field(self) -> Field:
        field = Field(self.scene_code, self.model.decoder, self.model.renderer, self.chunk_size)
        field.warnings = self.stage.notes  # one list, so that what the field warns of is told with the rest
        return field

    @functools.cached_property
    def occupancy(self) -> Occupancy:
        return Occupancy(self.field)

    def front_depth(self, height: int, width: int) -> np.ndarray:
        return field_depth(self.field, self.stage.camera, height, width, Job.threshold, self.occupancy)


class Runtime:
    """DIF3D step by step, for one picture or a folder of pictures.

    Of several pictures each gets a folder of its own below the output folder. One that fails is reported and left out
    of the steps that follow; when none is left, the step raises.

    Args:
        allow_network: whether models may be downloaded. Left out, they may where `pretrained_model` names a Hugging
            Face repository, which asks for just that.

    Attributes:
        timer: the `Timer` of the steps.
        premodel: the `Gaussian` stage with its depth model.
        model: the loaded `TSR`.
        device: where it runs.
        scene_codes: the triplanes of the pictures, [B, 3, C, H, W].
        notes: for each picture's path, sentences on what was used, substituted or left out.
    """

    def __init__(self, allow_network: bool | None = None) -> None:
        self.timer = Timer()
        self.premodel: Gaussian | None = None
        self.model: TSR | None = None
        self._allow_network = allow_network
        self._items: list[_Item] = []
        self._done: set[str] = set()
        _show_log()

    def set_variables(
        self,
        input_path: str | Path = "input/",
        output_path: str | Path = "output/",
        pretrained_model: str | Path = PUBLISHED,
        chunk_size: int = 8192,
        padding: int = Job.padding,
        foreground_ratio: float = Job.foreground_ratio,
        mc_resolution: int = Job.resolution,
        model_save_format: str = "obj",
        precision: str = Job.precision,
    ) -> None:
        """Set what the steps use. Everything done before is forgotten, the loaded model too.

        Args:
            input_path: a picture, or a folder of pictures.
            output_path: where results go: `images/`, `renderfiles/` and `3dfiles/`.
            pretrained_model: "auto", "embedded", a folder, or a Hugging Face repository.
            chunk_size: points a decoder call; 0 chooses from free memory.
            padding: pixels cropped from each side of the depth map.
            foreground_ratio: longest side of the subject over the side of the square.
            mc_resolution: marching-cubes samples along each axis.
            model_save_format: glb, obj, ply or stl.
            precision: number format of the network's large layers: auto, float32, bfloat16 or float16.

        Raises:
            DIF3DError: there is no such picture or folder, or a value is of no use.
        """
        self._pictures = find_pictures(input_path)
        self.format = check_mesh_format(model_save_format)
        for name, value, least in (
            ("chunk_size", chunk_size, 0),
            ("padding", padding, 0),
            ("mc_resolution", mc_resolution, 2),
        ):
            if value < least:
                raise DIF3DError(f"{name} is {value}; it must be at least {least}.")
        if not 0.0 < foreground_ratio <= 1.0:
            raise DIF3DError(f"foreground_ratio is {foreground_ratio}; it must be more than 0 and at most 1.")
        self.out_path, self.pretrained = Path(output_path), str(pretrained_model)
        self.chunk_size, self.padding = chunk_size, padding
        self.foreground_ratio, self.mc_resolution = foreground_ratio, mc_resolution
        self.device = choose_device("auto")
        choose_precision(precision, self.device, 0)  # an unknown one is told now, not after the depth model has loaded
        self.precision = precision
        self.premodel = self.model = None
        self._items = []
        self._done = {"set_variables"}

    def initilize(self) -> None:
        """Load the depth model and the network. (The spelling is DIF3D's; `initialize` is the same.)

        Raises:
            DIF3DError: the network is not on this machine or its files are damaged.
        """
        self._need("set_variables", "initilize")
        network = self._allow_network
        if network is None:
            network = self.pretrained not in ("auto", "embedded") and not Path(self.pretrained).expanduser().is_dir()
        self.timer.start("Initializing pre-model (Gaussian model)")
        self.premodel = Gaussian(device=str(self.device), allow_network=network)
        self.premodel.gassuin_load()
        self.timer.end("Initializing pre-model (Gaussian model)")
        self.timer.start("Initializing TSR model")
        found = find_model(self.pretrained, network)
        self.model = TSR.from_files(found, self.precision, self.device)
        logger.info("The model is %s, on %s.", found.label, self.device)
        self.timer.end("Initializing TSR model")
        self._done = {"set_variables", "initilize"}

    initialize = initilize

    def img_process(self) -> None:
        """Cut out and frame the subjects and find their depth.

        Writes `images/Removed_BG.png`, `depth.npy`, `depth.png`, `depth_color.png` and `depth_comparison.png`.

        Raises:
            DIF3DError: no picture could be used.
        """
        self._need("initilize", "img_process")

        def process(item: _Item) -> None:
            item.stage.set_variables(item.path, item.output, self.foreground_ratio, self.padding)
            picture = item.stage.pre_process()
            # Of a folder of large pictures only what the network will see is kept.
            item.picture = self.model.image_processor(picture, self.model.cfg.cond_image_size)[0]
            with _optional(item, "The depth and the 2.5D point cloud are left out"):
                item.stage.depth_estimation()
                item.stage.dp_comparison_visual()
                item.has_depth = True
            item.stage.image = item.stage.mask = None

        self._items = [self._item(path) for path in self._pictures]
        self._done -= {"img_process", "modelRun"}
        self._run("img_process", "Processing images", process)

    def modelRun(self) -> None:
        """Run the network, and make the 2.5D point clouds and meshes of what the pictures show.

        Writes `3dfiles/pointcloud_raw.pcd`, `pointcloud.pcd` and `forfront_raw_mesh.obj`.

        Raises:
            DIF3DError: no picture is left.
        """
        self._need("img_process", "modelRun")

        def process(item: _Item) -> None:
            if item.has_depth:
                with _optional(item, "The 2.5D point cloud or its mesh is left out"):
                    item.stage.pointcloud()
                    item.stage.post_process()
            item.scene_code  # noqa: B018  (computes it where the depth did not need it)

        logger.info("please wait, this might take a few minutes ...")
        self._run("modelRun", "Running model", process)

    @property
    def scene_codes(self) -> torch.Tensor:
        self._need("modelRun", "scene_codes")
        return torch.stack([item.scene_code for item in self._good()])

    def render(self, n_views: int = Job.frames, size: int = Job.frame_size) -> None:
        """Render turntable frames: `renderfiles/render_000.png` … and `render.mp4`.

        Args:
            n_views: number of frames.
            size: pixels a side.

        Raises:
            DIF3DError: no picture is left, a folder can't be written, or a number is less than 1.
        """
        self._need("modelRun", "render")
        for name, value in (("n_views", n_views), ("size", size)):
            if value < 1:
                raise DIF3DError(f"{name} is {value}; it must be at least 1.")

        def process(item: _Item) -> None:
            views = each_view(item.field, n_views, height=size, width=size, occupancy=item.occupancy)
            save_turntable(item.output / "renderfiles", (view.cpu().numpy() for view in views), item.stage.notes)

        self._run("render", "Rendering", process)

    def export_mesh(self) -> list[Path]:
        """Extract the surfaces and write `3dfiles/mesh.FORMAT`; return the paths.

        Raises:
            DIF3DError: no surface, a resolution that does not fit in memory, or a folder that can't be written, for
                every picture.
        """
        self._need("modelRun", "export_mesh")

        def process(item: _Item) -> Path:
            surface = extract_surface(item.field, self.mc_resolution, Job.threshold, occupancy=item.occupancy)
            colors = item.field.color(torch.from_numpy(surface.vertices)).cpu().numpy()
            path = item.output / "3dfiles" / f"mesh.{self.format}"
            export_mesh(path, surface.vertices, surface.faces, colors, surface.normals, Job.size)
            return path

        return self._run("export_mesh", "Exporting mesh", process)

    @property
    def notes(self) -> dict[Path, list[str]]:
        return {item.path: [*item.stage.notes, *filter(None, [item.failure])] for item in self._items}

    def _item(self, path: Path) -> _Item:
        """A picture at its start, with a `Gaussian` stage that shares the loaded depth model."""
        stage = copy.copy(self.premodel)
        item = _Item(path, self._output_of(path), stage, self.model, self.device, self.chunk_size)
        stage.nerf_depth = item.front_depth
        return item

    def _output_of(self, path: Path) -> Path:
        """The output folder itself for one picture, else one below it by the picture's name."""
        if len(self._pictures) == 1:
            return self.out_path
        namesakes = [other for other in self._pictures if other.stem.casefold() == path.stem.casefold()]
        return self.out_path / (path.stem if len(namesakes) == 1 else path.name)

    def _good(self) -> list[_Item]:
        return [item for item in self._items if not item.failure]

    def _run(self, step: str, title: str, process: Callable[[_Item], Any]) -> list[Any]:
        """Do a step for the pictures that have not failed; return what it gave for each.

        An error of ours fails its picture only, unless there is but one.
        """
        results = []
        self.timer.start(title)
        try:
            for item in self._good():
                try:
                    results.append(process(item))
                    _log_notes(item)
                except DIF3DError as error:
                    if len(self._pictures) == 1:
                        raise
                    item.failure = str(error)
                    logger.error("%s is left out: %s", item.path.name, error)
        finally:
            self.timer.end(title)
        if not results:
            raise DIF3DError(f"{step}: none of the {len(self._items)} pictures could be used. {self._items[0].failure}")
        self._done.add(step)
        return results

    def _need(self, step: str, wanted_by: str) -> None:
        if step not in self._done:
            raise DIF3DError(f"Runtime: call {step}() before {wanted_by}().")


@contextlib.contextmanager
def _optional(item: _Item, consequence: str) -> Iterator[None]:
    """Go on where an error of ours ends the block, with a note of what the picture lacks for it."""
    try:
        yield
    except DIF3DError as error:
        item.stage.notes.append(f"{consequence}: {error}")


def _log_notes(item: _Item) -> None:
    """Log what the picture's notes have gained since the last time."""
    for note in item.stage.notes[item.logged :]:
        logger.info("%s: %s", item.path.name, note)
    item.logged = len(item.stage.notes)


def _show_log() -> None:
    """Show our log on the screen, as a notebook expects, unless the program has set up logging itself."""
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
