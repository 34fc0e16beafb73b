"""A turntable: a camera rig that goes round an object as the engine's renderer does, and its frames by Blender.

Frame k of both shows the same view: the same azimuth, elevation, distance and field of view (`engine.cameras`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..engine.errors import DIF3DError
from ..engine.files import atomic_path
from .restoring import kept
from .scene import placement_of

RIG = "dif3d_turntable"  # custom property of the rig's pivot: how many frames one turn has
CAMERA = "dif3d_turntable_camera"  # marks the rig's camera: the artist may parent others to the pivot
FPS = 30
_SHOWN = ("MESH", "CURVE", "SURFACE", "META", "FONT", "POINTCLOUD", "VOLUME", "CURVES", "GREASEPENCIL", "GPENCIL")


@dataclass(frozen=True)
class View:
    """Where the cameras stand, in units of the field frame: those of `rendering.render_views`."""

    elevation_deg: float = 0.0
    distance: float = 1.9
    fovy_deg: float = 40.0


@dataclass(frozen=True)
class Look:
    """How frames are rendered: with which engine ("EEVEE", "CYCLES" or "WORKBENCH"), how large, on what ground."""

    engine: str = "EEVEE"
    size: int = 256  # pixels a side
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)  # sRGB; None is transparent
    samples: int = 32  # of Cycles
    alone: bool = True  # nothing but the object and the lights


def find_rig(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The pivot of the rig that goes round `obj`."""
    return next((child for child in obj.children if RIG in child), None)


def add_rig(obj: bpy.types.Object, frames: int, view: View = View()) -> bpy.types.Object:
    """Let a camera go round an object in `frames` keyed frames; return the pivot. A former rig is replaced.

    The rig is a child of the object and follows it.

    Raises:
        DIF3DError: the object is no result of ours, or there are no frames.
    """
    if frames < 1:
        raise DIF3DError("A turntable needs one frame or more.")
    placement = placement_of(obj)
    remove_rig(obj)
    camera = bpy.data.cameras.new(f"{obj.name} Turntable")
    camera.sensor_fit, camera.angle = "VERTICAL", math.radians(view.fovy_deg)
    camera.sensor_height = camera.sensor_width
    camera.angle = math.radians(view.fovy_deg)
    distance, elevation = view.distance * placement.scale, math.radians(view.elevation_deg)
    camera.clip_start, camera.clip_end = distance / 1000, distance * 100
    pivot = bpy.data.objects.new(f"{obj.name} Turntable", None)
    stand = bpy.data.objects.new(f"{obj.name} Turntable Camera", camera)
    stand[CAMERA] = True
    pivot.empty_display_size = 0.1 * placement.scale
    pivot.parent, pivot.location = obj, (0, 0, -placement.lowest * placement.scale)
    stand.parent = pivot
    stand.location = (0, -distance * math.cos(elevation), distance * math.sin(elevation))
    stand.rotation_euler = (math.pi / 2 - elevation, 0, 0)
    for collection in obj.users_collection:
        collection.objects.link(pivot)
        collection.objects.link(stand)
    for number in range(frames):
        pivot.rotation_euler.z = 2 * math.pi * number / frames
        pivot.keyframe_insert("rotation_euler", index=2, frame=number + 1)
    pivot[RIG] = frames
    return pivot


def remove_rig(obj: bpy.types.Object) -> None:
    """Take the rig of an object out of the file, with its camera and keys. What the artist parented to it stays."""
    pivot = find_rig(obj)
    if pivot is None:
        return
    camera = _camera_of(pivot)
    ours = [pivot] if camera is None else [pivot, camera]
    for child in [child for one in ours for child in one.children if child not in ours]:
        place = child.matrix_world.copy()
        child.parent = None
        child.matrix_world = place
    parts = [pivot.animation_data and pivot.animation_data.action, camera and camera.data]
    bpy.data.batch_remove(ours)
    bpy.data.batch_remove([block for block in parts if block is not None and not block.users])


def _camera_of(pivot: bpy.types.Object) -> bpy.types.Object | None:
    """The camera of a rig; None where the artist deleted it."""
    return next((child for child in pivot.children if CAMERA in child), None)


class TurntableRender:
    """Renders the frames of a rig, one at a time. Between two the scene is the artist's own: it may be saved then.

    `notes` tells what was not done as asked.
    """

    def __init__(self, scene: bpy.types.Scene, obj: bpy.types.Object, folder: Path, look: Look) -> None:
        pivot = find_rig(obj)
        if pivot is None:
            raise DIF3DError(f"{obj.name} has no turntable. Add one first.")
        if obj.hide_render or not any(_is_rendered(obj, layer.layer_collection) for layer in scene.view_layers):
            raise DIF3DError(
                f"{obj.name} or its collection is hidden in renders, or not in this scene. Show it in renders first."
            )
        self.frames: int = pivot[RIG]
        self.notes: list[str] = []
        self._scene, self._obj, self._folder, self._look = scene, obj, folder, look
        self._camera = _camera_of(pivot)
        if self._camera is None:
            raise DIF3DError(f"The turntable of {obj.name} has lost its camera. Add it again.")
        self._engine, self._denoise = self._choose_engine(), True

    def render(self, number: int) -> Path:
        """Render frame `number`, from 0, as FOLDER/render_000.png …; return its path. The scene is as before then."""
        path = self._folder / f"render_{number:03d}.png"
        with _kept(self._scene), self._alone(), atomic_path(path) as temporary:
            self._set_up()
            self._scene.frame_set(number + 1)
            self._scene.render.filepath = str(temporary)
            try:
                self._render_still()
            except RuntimeError as error:
                raise DIF3DError(f"Blender could not render the turntable: {str(error).strip()}") from error
            if not temporary.exists():
                raise DIF3DError(f"Blender rendered nothing into {self._folder}. Choose Cycles, or another folder.")
            if self._look.background is not None:
                _lay_on(temporary, self._look.background)
        return path

    def _render_still(self) -> None:
        try:
            bpy.ops.render.render(write_still=True, scene=self._scene.name)
        except RuntimeError as error:
            if "denoise" not in str(error) or not self._scene.cycles.use_denoising:
                raise
            self._scene.cycles.use_denoising = self._denoise = False
            self.notes.append("This Blender was built without OpenImageDenoise: the frames are not denoised.")
            bpy.ops.render.render(write_still=True, scene=self._scene.name)

    def write_video(self) -> Path | None:
        """Join the frames to FOLDER/render.mp4; None, and a note, where nothing here can."""
        paths = [self._folder / f"render_{number:03d}.png" for number in range(self.frames)]
        path = self._folder / "render.mp4"
        try:
            if bpy.app.build_options.codec_ffmpeg:
                _encode(paths, path, self._look.size)
            else:
                from ..engine.export import Image, save_video  # needs imageio-ffmpeg, which few Blenders have

                save_video((Image.open(frame) for frame in paths), path, FPS)
        except (DIF3DError, ImportError, RuntimeError) as error:
            self.notes.append(f"No video was written: {error}")
            return None
        return path

    def _choose_engine(self) -> str:
        engine = self._look.engine
        if engine != "CYCLES" and _has_gpu():
            return _engine_name(engine)
        if not hasattr(self._scene, "cycles"):
            raise DIF3DError(
                "Rendering this needs Cycles. Enable the add-on Cycles Render Engine in Blender's preferences."
            )
        if engine == "CYCLES":
            return engine
        label = {"WORKBENCH": "Workbench"}.get(engine, engine)
        self.notes.append(f"{label} needs a graphics card, which is not here: Cycles on the CPU was used.")
        return "CYCLES"

    def _set_up(self) -> None:
        scene, look = self._scene, self._look
        render, image = scene.render, scene.render.image_settings
        render.engine = self._engine
        if self._engine == "CYCLES":
            scene.cycles.device, scene.cycles.samples = "CPU", look.samples
            scene.cycles.use_denoising = scene.cycles.use_denoising and self._denoise
        if self._engine == "BLENDER_WORKBENCH":  # it looks at no material's nodes
            scene.display.shading.color_type = "TEXTURE" if self._obj.data.uv_layers else "VERTEX"
        scene.camera = self._camera
        render.resolution_x = render.resolution_y = look.size
        render.resolution_percentage, render.pixel_aspect_x, render.pixel_aspect_y = 100, 1.0, 1.0
        render.use_border = render.use_compositing = render.use_sequencer = render.use_multiview = False
        render.film_transparent = True
        render.use_file_extension = False
        if hasattr(image, "media_type"):
            image.media_type = "IMAGE"
        image.file_format, image.color_mode, image.color_depth = "PNG", "RGBA", "8"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        others = [
            other
            for other in self._scene.objects
            if self._look.alone and other != self._obj and not other.hide_render
            if other.type in _SHOWN or other.is_instancer  # an empty that shows a collection
        ]
        for other in others:
            other.hide_render = True
        try:
            yield
        finally:
            for other in others:
                other.hide_render = False


def _is_rendered(obj: bpy.types.Object, layer: bpy.types.LayerCollection) -> bool:
    """Whether a collection of a view layer, or one below it, lets renders show an object."""
    if layer.collection.hide_render:
        return False  # nor do those below
    here = not layer.exclude and obj in layer.collection.objects.values()
    return here or any(_is_rendered(obj, child) for child in layer.children)


def _engine_name(engine: str) -> str:
    if engine == "EEVEE":
        return "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"
    return {"WORKBENCH": "BLENDER_WORKBENCH"}.get(engine, engine)


def _has_gpu() -> bool:
    import gpu

    try:
        return not bpy.app.background or bool(gpu.platform.renderer_get())
    except SystemError:  # "GPU functions for drawing are not available in background mode"
        return False


_RENDER = [
    "engine",
    "resolution_x",
    "resolution_y",
    "resolution_percentage",
    "pixel_aspect_x",
    "pixel_aspect_y",
    "use_border",
    "use_compositing",
    "use_sequencer",
    "use_multiview",
    "film_transparent",
    "use_file_extension",
    "filepath",
]
_IMAGE = ("media_type", "file_format", "color_mode", "color_depth")  # in this order: the first limits the second


@contextlib.contextmanager
def _kept(scene: bpy.types.Scene) -> Iterator[None]:
    """Put the scene's camera, frame and render settings back at the end."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    settings = [(scene.render, _RENDER), (scene.render.image_settings, _IMAGE), (scene, ("camera",))]
    settings.append((scene.display.shading, ("color_type",)))
    if hasattr(scene, "cycles"):
        settings.append((scene.cycles, ("device", "samples", "use_denoising")))
    with kept(*settings):
        try:
            yield
        finally:
            scene.frame_set(frame, subframe=subframe)


def _lay_on(path: Path, color: tuple[float, float, float]) -> None:
    """Lay a PNG with transparency on a colour."""
    image = bpy.data.images.load(str(path))
    try:
        pixels = np.empty((image.size[1], image.size[0], 4), np.float32)
        image.pixels.foreach_get(pixels.ravel())
        pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] + np.array(color, np.float32) * (1 - pixels[..., 3:])
        pixels[..., 3] = 1
        image.pixels.foreach_set(pixels.ravel())
        image.file_format = "PNG"
        image.save()
    finally:
        bpy.data.images.remove(image)


def _encode(frames: list[Path], path: Path, size: int) -> None:
    """Join pictures to an H.264 MP4 by Blender's own FFmpeg, in a scene of its own."""
    scene = bpy.data.scenes.new("DIF3D video")
    try:
        editor = scene.sequence_editor_create()
        strips = editor.strips if hasattr(editor, "strips") else editor.sequences
        strip = strips.new_image("frames", str(frames[0]), channel=1, frame_start=1)
        for frame in frames[1:]:
            strip.elements.append(frame.name)
        if hasattr(strip, "frame_final_duration"):
            strip.frame_final_duration = len(frames)
        render = scene.render
        render.resolution_x = render.resolution_y = size + size % 2  # yuv420p needs even sides
        render.resolution_percentage, render.fps, render.fps_base = 100, FPS, 1.0
        scene.frame_start, scene.frame_end = 1, len(frames)
        scene.view_settings.view_transform = "Standard"  # the frames are finished pictures
        if hasattr(render.image_settings, "media_type"):
            render.image_settings.media_type = "VIDEO"
        render.image_settings.file_format = "FFMPEG"
        render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
        render.ffmpeg.constant_rate_factor, render.ffmpeg.audio_codec = "HIGH", "NONE"
        render.use_file_extension = False
        with atomic_path(path) as temporary:
            render.filepath = str(temporary)
            bpy.ops.render.render(animation=True, scene=scene.name)
            if not temporary.exists() or not temporary.stat().st_size:
                raise DIF3DError("Blender's FFmpeg wrote nothing.")
    finally:
        bpy.data.scenes.remove(scene)
