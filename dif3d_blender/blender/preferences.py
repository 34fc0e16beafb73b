"""The extension's preferences: which Python runs the engine, which model it uses, where results go."""

import textwrap
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..engine.errors import DIF3DError
from ..engine.files import is_file, is_folder
from . import EXTENSION, environment, handlers, models, paths

EMBEDDED = paths.PACKAGE / "engine" / "embedded"


def get() -> "DIF3D_AP_preferences":
    return bpy.context.preferences.addons[EXTENSION].preferences


def engine_python() -> Path:
    """The interpreter that the engine runs in.

    Raises:
        DIF3DError: the engine is not installed, or the chosen interpreter is not there.
    """
    preferences = get()
    if preferences.python_source == "existing":
        if not preferences.python:
            raise DIF3DError("Choose the Python of the engine in the preferences.")
        python = Path(bpy.path.abspath(preferences.python))
        if not is_file(python):
            raise DIF3DError(f"There is no Python interpreter at {python}. Choose another one in the preferences.")
        return python
    if not environment.is_ready(paths.environment_folder(), paths.requirements_path()):
        raise DIF3DError(
            "The engine is not installed yet. Install it in the preferences, or choose a Python that has it."
        )
    return environment.python_in(paths.environment_folder())


def engine_variables() -> dict[str, str]:
    """Environment variables of the engine: where rembg finds its model, where we have it."""
    folder = paths.models_folder()
    return {"U2NET_HOME": str(folder / models.REMBG.key)} if models.REMBG.is_in(folder) else {}


def model_name() -> str:
    """The model of a job, as `messages.Job.model` takes it.

    Raises:
        DIF3DError: a folder is to be used, and it is not there.
    """
    preferences = get()
    if preferences.model == "folder":
        folder = Path(bpy.path.abspath(preferences.model_folder)) if preferences.model_folder else None
        if folder is None or not is_folder(folder):
            raise DIF3DError(f"There is no model folder at {folder or '(none chosen)'}. Choose one in the preferences.")
        return str(folder)
    if preferences.model == "auto" and models.TRIPOSR.is_in(paths.models_folder()):
        return str(paths.models_folder() / models.TRIPOSR.key)
    return preferences.model


def may_fetch() -> bool:
    """Whether a job may fetch models."""
    return get().fetch_models and bpy.app.online_access


def _inspect(preferences, _context) -> None:
    """Look at once at the interpreter that was chosen, beside the main thread."""
    python, requirements = bpy.path.abspath(preferences.python), paths.requirements_path()
    if python:
        handlers.inspection.restart(lambda report, stopper: environment.check_interpreter(python, requirements))
        handlers.wake()


def _forget_engine(_preferences, _context) -> None:
    handlers.jobs.release()


class DIF3D_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = EXTENSION

    python_source: EnumProperty(
        name="Engine",
        description="The Python that the engine runs in. Blender's own Python is never changed",
        items=(
            ("installed", "Install Engine", "An environment of its own, made by the extension"),
            (
                "existing",
                "Use Existing Python",
                "An interpreter that has the packages: conda, a virtual environment, ComfyUI's",
            ),
        ),
        default="installed",
        update=_forget_engine,
    )
    python: StringProperty(
        name="Python",
        description="Path of the interpreter that runs the engine",
        subtype="FILE_PATH",
        update=_inspect,
    )
    model: EnumProperty(
        name="Model",
        description="The network that makes the model from the picture",
        items=(
            ("auto", "Automatic", "TripoSR where it is on this machine, else the model that comes with the extension"),
            ("embedded", "Embedded", "The small model that comes with the extension"),
            ("folder", "Folder", "A folder with config.yaml and model.ckpt or model.safetensors"),
        ),
        default="auto",
    )
    model_folder: StringProperty(
        name="Model Folder",
        description="Folder that holds config.yaml and the tensors of a model",
        subtype="DIR_PATH",
    )
    output: StringProperty(
        name="Results",
        description="Folder for results, each in a folder of its own. Empty: Blender's folder for this extension, "
        "which Blender deletes with it when it is uninstalled",
        subtype="DIR_PATH",
    )
    fetch_models: BoolProperty(
        name="Fetch Models When Needed",
        description="Let a job fetch a smaller model that it could use and that is not on this machine (background "
        "removal, depth), where Blender's online access is allowed",
        default=False,
    )
    idle_minutes: IntProperty(
        name="End Idle Engine After",
        description="Minutes after which an engine without work is ended and gives its memory back; 0 keeps it",
        default=10,
        min=0,
        max=1440,
    )

    def draw(self, _context):
        try:
            self._draw()
        except DIF3DError as error:  # our folder cannot be written
            draw_text(self.layout, str(error), "ERROR")

    def _draw(self):
        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "python_source", expand=True)
        box = layout.box()
        if self.python_source == "installed":
            _draw_installation(box)
        else:
            self._draw_existing(box)
        layout.separator()
        layout.prop(self, "model")
        if self.model == "folder":
            layout.prop(self, "model_folder")
        _draw_models(layout.box())
        layout.prop(self, "fetch_models")
        layout.separator()
        layout.prop(self, "output", placeholder=str(paths.user_folder("results")))
        layout.prop(self, "idle_minutes")
        layout.operator("dif3d.free_memory", icon="TRASH")

    def _draw_existing(self, box):
        box.prop(self, "python")
        inspection = handlers.inspection
        if inspection.running:
            box.label(text="Looking at it…", icon="SORTTIME")
        elif inspection.error:
            draw_text(box, inspection.error, "ERROR")
        elif inspection.result is not None and self.python:
            needed = [name for name in inspection.result if name not in environment.OPTIONAL]
            optional = [name for name in inspection.result if name in environment.OPTIONAL]
            if needed:
                draw_text(box, f"It lacks {', '.join(needed)}. Install them there, or choose another one.", "ERROR")
            else:
                box.label(text="It has what the engine needs.", icon="CHECKMARK")
            _draw_missing(box, optional)


def _draw_installation(box) -> None:
    installation = handlers.installation
    folder = paths.environment_folder()
    if installation.running:
        box.progress(factor=installation.fraction, text=installation.stage[:80])
        box.operator("dif3d.cancel_installation", icon="CANCEL")
        return
    if installation.error:
        draw_text(box, installation.error, "ERROR")
    if environment.is_ready(folder, paths.requirements_path()):
        stamp = environment.read_stamp(folder)
        box.label(text=f"Installed: {stamp['bytes'] / 1e9:.1f} GB", icon="CHECKMARK")
        box.label(text=str(folder), icon="FILE_FOLDER")
        _draw_missing(box, stamp.get("missing", []))
        box.operator("dif3d.remove_engine", icon="TRASH")
    else:
        box.label(text="Needs about 5 GB of disk, 12 GB with CUDA, and a connection.", icon="INFO")
        row = box.row()
        row.operator("dif3d.install_engine", icon="IMPORT")
        if folder.exists():
            row.operator("dif3d.remove_engine", text="Remove What Was Fetched", icon="TRASH")
    if (folder / environment.LOG).exists():
        box.operator("dif3d.show_log", text="Show Installation Log", icon="TEXT").which = "installation"


def _draw_missing(box, packages: list[str]) -> None:
    """Name the optional packages that are not there."""
    if packages:
        draw_text(box, f"Without {', '.join(packages)} some results are left out, or made in another way.", "INFO")


def _draw_models(box) -> None:
    size = sum(file.stat().st_size for file in EMBEDDED.glob("*") if file.is_file())
    row = box.row()
    row.label(text=f"Embedded: comes with the extension, {size / 1e6:.0f} MB", icon="CHECKMARK")
    download, folder = handlers.download, paths.models_folder()
    for model in models.MODELS.values():
        here = model.is_in(folder)
        row = box.split(factor=0.75)
        about = row.column(align=True)
        about.scale_y = 0.8
        about.label(text=f"{model.label}: {model.size / 1e6:,.0f} MB", icon="CHECKMARK" if here else "BLANK1")
        about.label(text=f"from {model.source} ({model.license})", icon="BLANK1")
        name = "dif3d.remove_model" if here else "dif3d.download_model"
        row.operator(name, text="Remove" if here else "Download").model = model.key
    depth = (
        f"Depth (GLPN): the engine itself takes {models.DEPTH} from Hugging Face's cache of this machine, or fetches it"
    )
    draw_text(box, f"{depth} where that is allowed below. Without it, the model's own depth is used.", "BLANK1")
    if download.running:
        box.progress(factor=download.fraction, text=download.stage)
        box.operator("dif3d.cancel_download", icon="CANCEL")
    elif download.error:
        draw_text(box, download.error, "ERROR")


def draw_text(layout, text: str, icon: str = "NONE") -> None:
    """Write a long text as several labels that fit into the region; Blender's labels do not wrap."""
    width = bpy.context.region.width / bpy.context.preferences.system.ui_scale
    letters = (width - (60 if icon == "NONE" else 90)) / 6.2  # average width of a letter of Blender's font, in points
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, max(20, int(letters))) or [""]):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1")


def register() -> None:
    bpy.utils.register_class(DIF3D_AP_preferences)


def unregister() -> None:
    bpy.utils.unregister_class(DIF3D_AP_preferences)
