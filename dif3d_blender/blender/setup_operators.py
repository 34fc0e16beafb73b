"""Operators that set the engine up: its environment, its models, its memory."""

import bpy
from bpy.props import EnumProperty

from ..engine.errors import DIF3DError
from . import environment, handlers, models, paths, preferences
from .operators import _Operator

_MODELS = [(model.key, model.label, f"From {model.source}") for model in models.MODELS.values()]


def _may_go_online(cls) -> bool:
    """For `poll`: whether Blender's preferences allow network access; says how to allow it."""
    if not bpy.app.online_access:
        cls.poll_message_set("Allow Online Access in Preferences ▸ System ▸ Network first.")
    return bpy.app.online_access


class DIF3D_OT_install_engine(_Operator):
    """Make a Python environment for the engine and fetch its packages. Blender itself is not changed"""

    bl_idname = "dif3d.install_engine"
    bl_label = "Install Engine"

    @classmethod
    def poll(cls, context):
        if handlers.installation.running:
            cls.poll_message_set("It is being installed.")
            return False
        return _may_go_online(cls)

    def run(self, context):
        folder, requirements, cache = paths.environment_folder(), paths.requirements_path(), paths.downloads_folder()

        def install(report, stopper):
            python = environment.find_python()
            return environment.create_environment(folder, requirements, python, report, cache=cache, stopper=stopper)

        preferences.get().python_source = "installed"  # what is wanted now, even where another one was chosen
        handlers.installation.start(install)
        handlers.wake()


class DIF3D_OT_cancel_installation(_Operator):
    """Stop the installation. What was fetched is kept: installing again goes on from there"""

    bl_idname = "dif3d.cancel_installation"
    bl_label = "Cancel Installation"

    def run(self, context):
        handlers.installation.stop()


class DIF3D_OT_remove_engine(_Operator):
    """Delete the engine's environment and what was fetched for it. Models and results stay"""

    bl_idname = "dif3d.remove_engine"
    bl_label = "Remove Engine"

    @classmethod
    def poll(cls, context):
        if handlers.jobs.busy:
            cls.poll_message_set("The engine is working. Cancel its jobs first.")
            return False
        try:
            there = paths.environment_folder().exists()
        except DIF3DError as error:  # our folder cannot be written
            cls.poll_message_set(str(error))
            return False
        if handlers.installation.running or not there:
            cls.poll_message_set("The engine is not installed, or is being installed or removed.")
            return False
        return True

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context):
        handlers.jobs.release(wait=1.0)  # it runs from there
        folders = paths.environment_folder(), paths.downloads_folder()
        handlers.installation.start(lambda report, stopper: environment.remove_environment(*folders, report))
        handlers.wake()


class DIF3D_OT_download_model(_Operator):
    """Fetch a larger model. A download that broke off goes on where it stopped"""

    bl_idname = "dif3d.download_model"
    bl_label = "Download"

    model: EnumProperty(name="Model", description="Which model", items=_MODELS)

    @classmethod
    def poll(cls, context):
        if handlers.download.running:
            cls.poll_message_set("Another model is being fetched.")
            return False
        return _may_go_online(cls)

    def run(self, context):
        model, folder = models.MODELS[self.model], paths.models_folder()
        handlers.download.start(lambda report, stopper: models.download(model, folder, report, stopper))
        handlers.wake()


class DIF3D_OT_cancel_download(_Operator):
    """Stop the download. What was fetched is kept"""

    bl_idname = "dif3d.cancel_download"
    bl_label = "Cancel Download"

    def run(self, context):
        handlers.download.stop()


class DIF3D_OT_remove_model(_Operator):
    """Delete a model that was downloaded"""

    bl_idname = "dif3d.remove_model"
    bl_label = "Remove Model"

    model: EnumProperty(name="Model", description="Which model", items=_MODELS)

    @classmethod
    def poll(cls, context):
        if handlers.jobs.busy:
            cls.poll_message_set("The engine is working. Cancel its jobs first.")
        return not handlers.jobs.busy

    def run(self, context):
        handlers.jobs.release(wait=1.0)  # it may hold the file open
        models.remove(models.MODELS[self.model], paths.models_folder())


class DIF3D_OT_free_memory(_Operator):
    """End the idle engine, so that its memory on the GPU is free. The next job starts it again"""

    bl_idname = "dif3d.free_memory"
    bl_label = "Free GPU Memory"

    @classmethod
    def poll(cls, context):
        if handlers.jobs.busy:
            cls.poll_message_set("The engine is working. Cancel its jobs first.")
            return False
        if not handlers.jobs.warm:
            cls.poll_message_set("The engine is not running: its memory is free already.")
            return False
        return True

    def run(self, context):
        handlers.jobs.release()


_classes = (
    DIF3D_OT_install_engine,
    DIF3D_OT_cancel_installation,
    DIF3D_OT_remove_engine,
    DIF3D_OT_download_model,
    DIF3D_OT_cancel_download,
    DIF3D_OT_remove_model,
    DIF3D_OT_free_memory,
)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
