"""What the panel's buttons do; from Python as `bpy.ops.dif3d.*`."""

import contextlib
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..engine.errors import DIF3DError
from ..engine.files import PICTURE_SUFFIXES, is_folder
from ..messages import Job
from . import clipboard, environment, handlers, paths, picture, preferences, properties, scene, stored
from .baking import bake_texture
from .jobs import Task, why_not_now

_HIDDEN = {"HIDDEN", "SKIP_SAVE"}


class _Operator(bpy.types.Operator):
    """Turns our errors into reports. Subclasses implement `run`, which returns nothing."""

    bl_options = set()  # noqa: RUF012  Blender wants a set; what changes the file does so later, as an undo step of its own

    def execute(self, context):
        try:
            self.run(context)
        except DIF3DError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _can_start(context, cls) -> bool:
    """For `poll`: whether the engine can be given a job; says why not."""
    active = context.view_layer.objects.active
    if bpy.app.background and active is not None and active.mode != "OBJECT":  # the result would wait for ever
        mode = active.mode.replace("_", " ").title()
        cls.poll_message_set(f"{active.name} is in {mode} Mode. Call bpy.ops.object.mode_set(mode='OBJECT') first.")
        return False
    try:
        preferences.engine_python()
    except DIF3DError as error:
        cls.poll_message_set(str(error))
        return False
    return True


def _can_edit(context, cls) -> bool:
    """For `poll`: whether the mesh of the active object can be changed; says how to make it so."""
    if scene.is_editable(context.object):
        return True
    cls.poll_message_set(
        f"{context.object.name} is linked from another file. "
        "Make it local first (Object ▸ Relations ▸ Make Local ▸ Selected Objects and Data)."
    )
    return False


@contextlib.contextmanager
def _output_folder(name: str) -> Iterator[Path]:
    """A new folder for the result of that name, which the block submits a job for; gone where the job is refused."""
    folder = paths.new_output_folder(name, preferences.get().output)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _submit(task: Task, copy: picture.PackedCopy | picture.PixelCopy | None = None) -> Task:
    """Queue a task, which waits for the copy of its image."""
    jobs = handlers.jobs
    jobs.idle_limit = preferences.get().idle_minutes * 60.0
    jobs.submit(task, preferences.engine_python(), paths.log_path(), preferences.engine_variables(), copy)
    return task


def _see_to(operator: bpy.types.Operator, task: Task) -> None:
    """Look after a task that was submitted; without a window, run it to its end."""
    if not bpy.app.background:
        handlers.wake()
        return
    handlers.jobs.run_to_the_end()
    if task.state != "done":
        raise DIF3DError(task.message)
    for warning in task.result.report["warnings"]:
        operator.report({"WARNING"}, warning)
    operator.report({"INFO"}, f"{task.name}: {', '.join(task.objects) or task.job.output} in {task.took:.1f} s")


def _model_of(obj: bpy.types.Object) -> str:
    """The network that made an object. Where its folder is not on this machine, that of the preferences.

    The engine checks that network and triplane fit each other.
    """
    made_by = obj.get(scene.MODEL, "")
    named = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", made_by)  # "embedded" or a repository, not a folder
    return made_by if named or (made_by and is_folder(made_by)) else preferences.model_name()


def _new_task(context, job: Job, name: str, **more) -> Task:
    return Task(job, name, context.scene.name, bpy.data.filepath, handlers.jobs.session, **more)


class DIF3D_OT_generate(_Operator, properties.JobSettings):
    """Make a 3D model from a picture, beside Blender: keep working, it appears when it is done"""

    bl_idname = "dif3d.generate"
    bl_label = "Generate from Image"

    filepath: StringProperty(
        name="Picture",
        description="The picture; empty takes the one that the panel shows",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    image: StringProperty(
        name="Image",
        description="Name of an image of this .blend, instead of a file",
        options={"SKIP_SAVE"},
    )
    filter_image: BoolProperty(default=True, options=_HIDDEN)
    filter_folder: BoolProperty(default=True, options=_HIDDEN)

    @classmethod
    def poll(cls, context):
        return _can_start(context, cls)

    def invoke(self, context, _event):
        settings = context.scene.dif3d
        chosen = settings.image if settings.source == "image" else settings.filepath
        if self.filepath or self.image or chosen:
            return self.execute(context)
        for name, value in self.chosen(settings).items():  # the file browser shows them
            setattr(self, name, value)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context):
        settings = context.scene.dif3d
        image = bpy.data.images.get(self.image) if self.image else None
        if self.image and image is None:
            raise DIF3DError(f"There is no image {self.image!r} in this file.")
        if image is None and not self.filepath and settings.source == "image":
            image = settings.image
            if image is None:
                raise DIF3DError("Choose an image first.")
        name = Path(image.name if image else self.filepath or settings.filepath).stem
        source = None if image else picture.from_file(self.filepath or settings.filepath)
        model, chosen = preferences.model_name(), self.chosen(settings)
        if not (chosen["make_mesh"] or chosen["make_gaussians"] or chosen["make_frames"]):
            raise DIF3DError("Nothing to make: switch on mesh, Gaussians or frames.")
        texture = int(chosen["texture_size"]) if chosen["make_texture"] else 0
        with _output_folder(name) as output:
            source = source or picture.from_image(image, output)
            copy = None if isinstance(source, Path) else source
            job = Job(
                picture=str(source if copy is None else copy.path),
                output=str(output),
                id=handlers.jobs.new_id(),
                model=model,
                gaussians=chosen["make_gaussians"],
                frames=chosen["frame_count"] if chosen["make_frames"] else 0,
                texture=texture,
                allow_network=preferences.may_fetch(),
                **{key: chosen[key] for key in chosen if key in Job.__dataclass_fields__},
            )
            task = _submit(_new_task(context, job, name, make_mesh=chosen["make_mesh"], texture=texture), copy)
        _see_to(self, task)
        if self.filepath and not bpy.app.background:
            settings.filepath = self.filepath

    def chosen(self, settings) -> dict:
        """The settings of this call: those given, for the rest those of the scene."""
        given = {name for name in properties.SETTINGS if self.properties.is_property_set(name)}
        values = {name: getattr(self if name in given else settings, name) for name in properties.SETTINGS}
        if "quality" in given:
            resolution, precision = properties.PRESETS[self.quality]
            values |= {"resolution": resolution} if "resolution" not in given else {}
            values |= {"precision": precision} if "precision" not in given else {}
        return values


class _OnResult(_Operator, properties.JobSettings):
    """Base of what is done with an earlier result: its triplane is asked again, without a network pass."""

    @classmethod
    def poll(cls, context):
        obj = context.object
        if obj is None or scene.OUTPUT not in obj or not scene.is_result_mesh(obj):
            cls.poll_message_set("Select a mesh that Generate from Image made.")
            return False
        if not stored.is_stored(obj.data, Path(obj[scene.OUTPUT])):
            cls.poll_message_set(
                "The result's triplane is not in this file, and its folder is gone. Generate it again."
            )
            return False
        return _can_start(context, cls)

    def job(self, context, output: Path, **settings) -> Job:
        """A job on the triplane of the active object."""
        obj = context.object
        return Job(
            picture="",
            output=str(output),
            id=handlers.jobs.new_id(),
            model=_model_of(obj),
            allow_network=preferences.may_fetch(),
            code=str(stored.unpack(obj.data, Path(obj[scene.OUTPUT]), output)),
            device=context.scene.dif3d.device,
            chunk_size=context.scene.dif3d.chunk_size,
            gaussians=False,
            **settings,
        )

    def value(self, context, name: str):
        return getattr(self if self.properties.is_property_set(name) else context.scene.dif3d, name)


class DIF3D_OT_remesh(_OnResult):
    """Make the mesh of the selected result anew, with the panel's resolution, threshold and face limit.
    What has a texture gets a new one"""

    bl_idname = "dif3d.remesh"
    bl_label = "Re-mesh"

    @classmethod
    def poll(cls, context):
        return super().poll(context) and _can_edit(context, cls)

    def run(self, context):
        obj = context.object
        names = ("resolution", "threshold", "smoothing", "face_limit", "project")
        wanted = {name: self.value(context, name) for name in names}
        size = self.size if self.properties.is_property_set("size") else obj[scene.SIZE]
        texture = int(self.value(context, "texture_size")) if obj.data.uv_layers else 0
        sources = {obj[scene.OUTPUT]}
        with _output_folder(obj.name) as output:
            job = self.job(context, output, frames=0, size=size, texture=texture, **wanted)
            task = _submit(_new_task(context, job, obj.name, target=obj.name, sources=sources, texture=texture))
        _see_to(self, task)


class DIF3D_OT_frames(_OnResult):
    """Render a turntable of the selected result with the engine's own renderer, as pictures and as a video"""

    bl_idname = "dif3d.frames"
    bl_label = "Render Frames"

    def run(self, context):
        obj = context.object
        count, size = self.value(context, "frame_count"), self.value(context, "frame_size")
        project = self.value(context, "project")
        with _output_folder(f"{obj.name}-frames") as output:
            job = self.job(context, output, frames=count, frame_size=size, project=project)
            task = _submit(_new_task(context, job, f"{obj.name} frames", make_mesh=False))
        _see_to(self, task)


class DIF3D_OT_bake(_Operator, properties.JobSettings):
    """Give the selected object a texture that shows its vertex colors; it is unwrapped where it has no UVs"""

    bl_idname = "dif3d.bake"
    bl_label = "Bake Texture"
    bl_options = {"UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        obj = context.object
        if obj is None or obj.type != "MESH" or obj.data.color_attributes.active_color is None:
            cls.poll_message_set("Select a mesh that has vertex colors.")
            return False
        if obj.mode != "OBJECT" or obj.active_material is None:
            cls.poll_message_set("The object needs a material, and to be in Object Mode.")
            return False
        return _can_edit(context, cls)

    def run(self, context):
        chosen = self if self.properties.is_property_set("texture_size") else context.scene.dif3d
        image = bake_texture(context.object, int(chosen.texture_size))
        self.report({"INFO"}, f"Baked {image.name}")


class DIF3D_OT_cancel(_Operator):
    """Stop the engine's work and throw away what it has so far"""

    bl_idname = "dif3d.cancel"
    bl_label = "Cancel"

    id: StringProperty(description="Number of the job; empty cancels all", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if not handlers.jobs.busy:
            cls.poll_message_set("Nothing is running.")
        return handlers.jobs.busy

    def run(self, context):
        handlers.jobs.cancel(self.id or None)


class DIF3D_OT_import_kept(_Operator):
    """Add a result to this file that was finished after its own file was closed"""

    bl_idname = "dif3d.import_kept"
    bl_label = "Add to This File"

    id: StringProperty(description="Number of the job", options={"SKIP_SAVE"})

    def run(self, context):
        task = next((task for task in handlers.jobs.tasks if task.job.id == self.id and task.state == "kept"), None)
        if task is None:
            raise DIF3DError("That result is not waiting any more.")
        if why := why_not_now():
            raise DIF3DError(f"{task.name} {why}. Press the button again then.")
        handlers.jobs.import_kept(task)
        if task.state != "done":
            raise DIF3DError(task.message)


class DIF3D_OT_dismiss(_Operator):
    """Do not show this message any more"""

    bl_idname = "dif3d.dismiss"
    bl_label = "Dismiss"

    id: StringProperty(description="Number of the job", options={"SKIP_SAVE"})

    def run(self, context):
        jobs = handlers.jobs
        jobs.tasks = [task for task in jobs.tasks if task.active or task.job.id != self.id]


class DIF3D_OT_set_picture(_Operator):
    """Take a picture from disk for Generate from Image"""

    bl_idname = "dif3d.set_picture"
    bl_label = "Generate 3D Model from Picture"
    bl_options = {"UNDO"}  # noqa: RUF012

    filepath: StringProperty(
        name="Picture", description="The picture to take", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_image: BoolProperty(default=True, options=_HIDDEN)
    filter_folder: BoolProperty(default=True, options=_HIDDEN)

    def invoke(self, context, _event):
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context):
        context.scene.dif3d.filepath = str(picture.from_file(self.filepath))
        show_panel(context)


class DIF3D_OT_paste_picture(_Operator):
    """Take the picture on the clipboard: an image, or the path of a file"""

    bl_idname = "dif3d.paste_picture"
    bl_label = "Paste Picture"
    bl_options = {"UNDO"}  # noqa: RUF012

    def run(self, context):
        pasted = clipboard.picture()
        if isinstance(pasted, Path):
            context.scene.dif3d.filepath = str(pasted)
        else:
            context.scene.dif3d.image = pasted


class DIF3D_OT_open_folder(_Operator):
    """Open the folder of a result"""

    bl_idname = "dif3d.open_folder"
    bl_label = "Open Folder"

    folder: StringProperty(description="The folder", subtype="DIR_PATH", options={"SKIP_SAVE"})

    def run(self, context):
        if not is_folder(self.folder):
            raise DIF3DError(f"{self.folder} is gone, or closed to you.")
        bpy.ops.wm.path_open(filepath=self.folder)


class DIF3D_OT_show_log(_Operator):
    """Show the last lines of the log"""

    bl_idname = "dif3d.show_log"
    bl_label = "Show Log"

    which: EnumProperty(
        name="Log",
        description="Whose log",
        items=(("engine", "Engine", "What the engine wrote"), ("installation", "Installation", "What pip wrote")),
        options={"SKIP_SAVE"},
    )
    id: StringProperty(description="Number of the job whose log it is", options={"SKIP_SAVE"})

    def invoke(self, context, _event):
        return context.window_manager.invoke_popup(self, width=900)

    def run(self, context):
        print(self.text())

    def path(self) -> Path:
        return paths.log_path() if self.which == "engine" else paths.environment_folder() / environment.LOG

    def text(self) -> str:
        for task in handlers.jobs.tasks:
            if task.job.id == self.id and task.log:
                return task.log
        path = self.path()
        return (path.read_text(encoding="utf-8", errors="replace") if path.exists() else "") or "The log is empty."

    def draw(self, context):
        column = self.layout.column(align=True)
        column.scale_y = 0.7
        for line in self.text().splitlines()[-30:]:
            for part in textwrap.wrap(line, 140) or [""]:
                column.label(text=part)
        self.layout.label(text=str(self.path()), icon="TEXT")


class DIF3D_FH_picture(bpy.types.FileHandler):
    """Pictures dropped into the 3D view"""

    bl_idname = "DIF3D_FH_picture"
    bl_label = "Generate 3D Model"
    bl_import_operator = DIF3D_OT_set_picture.bl_idname
    bl_file_extensions = ";".join(sorted(PICTURE_SUFFIXES))

    @classmethod
    def poll_drop(cls, context):
        return context.area is not None and context.area.type == "VIEW_3D"


def show_panel(context) -> None:
    """Open the sidebar of the 3D view at our panel."""
    area = context.area
    if area is None or area.type != "VIEW_3D":
        return
    area.spaces.active.show_region_ui = True
    wanted, tries = area.as_pointer(), iter(range(20))

    def choose_tab() -> float | None:  # a sidebar that was closed has no tabs before it is drawn
        areas = (area for window in bpy.context.window_manager.windows for area in window.screen.areas)
        here = next((area for area in areas if area.as_pointer() == wanted), None)
        for region in here.regions if here is not None else ():
            if region.type == "UI":
                try:
                    region.active_panel_category = "DIF3D"
                except (AttributeError, TypeError):
                    return 0.05 if next(tries, None) is not None else None
        return None

    bpy.app.timers.register(choose_tab)


_classes = (
    DIF3D_OT_generate,
    DIF3D_OT_remesh,
    DIF3D_OT_frames,
    DIF3D_OT_bake,
    DIF3D_OT_cancel,
    DIF3D_OT_import_kept,
    DIF3D_OT_dismiss,
    DIF3D_OT_set_picture,
    DIF3D_OT_paste_picture,
    DIF3D_OT_open_folder,
    DIF3D_OT_show_log,
    DIF3D_FH_picture,
)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
