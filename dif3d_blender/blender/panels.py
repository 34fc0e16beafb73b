"""3D View ▸ Sidebar ▸ DIF3D."""

from pathlib import Path

import bpy

from . import EXTENSION, handlers, jobs, picture, preferences, scene
from .preferences import draw_text


class _Panel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DIF3D"


class DIF3D_PT_main(_Panel, bpy.types.Panel):
    bl_label = "Generate from Image"

    def draw(self, context):
        layout, settings = self.layout, context.scene.dif3d
        layout.row().prop(settings, "source", expand=True)
        row = layout.row(align=True)
        if settings.source == "file":
            row.prop(settings, "filepath", text="")
        else:
            row.template_ID(settings, "image", open="image.open")
        row.operator("dif3d.paste_picture", text="", icon="PASTEDOWN")
        icon = picture.preview_icon(settings)
        if icon:
            layout.template_icon(icon, scale=6)
        grid = layout.grid_flow(columns=2, row_major=True, even_columns=True, align=True)
        for name in ("make_mesh", "make_gaussians", "make_frames", "make_texture"):
            grid.prop(settings, name, toggle=True)
        layout.row().prop(settings, "quality", expand=True)
        button = layout.row()
        button.scale_y = 1.6
        button.operator("dif3d.generate", icon="MESH_MONKEY")
        try:
            preferences.engine_python()
        except preferences.DIF3DError as error:
            _draw_setup(layout, str(error))
        for task in handlers.jobs.tasks:
            if task.active:
                _draw_running(layout.box(), task)
        for task in handlers.jobs.told:
            _draw_ended(layout.box(), task)


class DIF3D_PT_settings(_Panel, bpy.types.Panel):
    bl_label = "Settings"
    bl_parent_id = "DIF3D_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context):
        layout, settings = self.layout, context.scene.dif3d
        layout.use_property_split, layout.use_property_decorate = True, False
        for group in (
            ("resolution", "threshold", "smoothing", "face_limit", "size"),
            ("background", "foreground_ratio", "project"),
            ("device", "precision", "chunk_size"),
        ):
            column = layout.column(align=True)
            for name in group:
                column.prop(settings, name)
        column = layout.column(align=True)
        column.active = settings.make_frames
        column.prop(settings, "frame_count")
        column.prop(settings, "frame_size")
        column = layout.column()
        column.active = settings.make_texture
        column.prop(settings, "texture_size")


class DIF3D_PT_result(_Panel, bpy.types.Panel):
    bl_label = "Result"
    bl_parent_id = "DIF3D_PT_main"

    @classmethod
    def poll(cls, context):
        return context.object is not None and scene.OUTPUT in context.object

    def draw(self, context):
        layout, obj = self.layout, context.object
        layout.label(text=obj.name, icon="OBJECT_DATA")
        if obj.type == "MESH":
            layout.label(text=f"{len(obj.data.vertices):,} vertices, {len(obj.data.polygons):,} faces")
        column = layout.column(align=True)
        column.operator("dif3d.remesh", icon="MOD_REMESH")
        column.operator("dif3d.frames", icon="RENDER_ANIMATION")
        column.operator("dif3d.bake", icon="TEXTURE")
        layout.operator("dif3d.open_folder", icon="FILE_FOLDER").folder = obj[scene.OUTPUT]


def _draw_setup(layout, message: str) -> None:
    """What is shown in place of jobs while the engine cannot be started."""
    box = layout.box()
    draw_text(box, message, "ERROR")
    installation = handlers.installation
    if installation.running:
        box.progress(factor=installation.fraction, text=installation.stage[:42])
        box.operator("dif3d.cancel_installation", icon="CANCEL")
    else:
        if installation.error:
            draw_text(box, installation.error, "ERROR")
        box.operator("dif3d.install_engine", icon="IMPORT")
    box.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = EXTENSION


def _draw_running(box, task: jobs.Task) -> None:
    row = box.row()
    row.label(text=task.name, icon="SORTTIME")
    row.operator("dif3d.cancel", icon="CANCEL").id = task.job.id
    if task.state == "waiting":
        box.label(text="Waiting for its turn")
    elif task.state == "ready":
        box.label(text=f"Done; it {jobs.why_not_now() or 'is being added'}")
    else:
        box.progress(factor=task.fraction, text=f"{task.stage}  {task.fraction:.0%}")
        left = task.time_left
        if left is not None:
            box.label(text=f"About {duration(left)} left")


def _draw_ended(box, task: jobs.Task) -> None:
    icon = {"done": "CHECKMARK", "kept": "INFO", "cancelled": "CANCEL"}.get(task.state, "ERROR")
    row = box.row()
    words = {"done": f"done in {duration(task.took)}", "kept": "kept on disk", "cancelled": "cancelled"}
    row.label(text=f"{task.name}: {words.get(task.state, 'failed')}", icon=icon)
    row.operator("dif3d.dismiss", text="", icon="X", emboss=False).id = task.job.id
    if task.state in ("failed", "kept"):
        draw_text(box, task.message)
    if task.state == "failed":
        box.operator("dif3d.show_log", icon="TEXT").id = task.job.id
    elif task.state == "kept":
        box.operator("dif3d.import_kept", icon="IMPORT").id = task.job.id
    if task.result is not None:
        for line in summary(task.result.report):
            draw_text(box, line, "DOT")
        if not task.objects:  # those have the button in their own panel
            box.operator("dif3d.open_folder", icon="FILE_FOLDER").folder = task.job.output


def summary(report: dict) -> list[str]:
    """The lines of a report that an artist wants to read: what was made, by what, and what was replaced by what."""
    counts = report["counts"]
    return [
        f"{counts['vertices']:,} vertices, {counts['faces']:,} faces",
        f"Model: {Path(report['model']).name}, on {report['device']}",
        *report["substitutions"],
        *report["warnings"],
    ]


def duration(seconds: float) -> str:
    """A time in words: 8 s, 2 min 5 s, 1 h 12 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


_classes = (DIF3D_PT_main, DIF3D_PT_settings, DIF3D_PT_result)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
