"""The panel and the buttons of the turntable."""

import shutil

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, PointerProperty

from ..engine.errors import DIF3DError
from . import paths, preferences, scene, turntable
from .operators import _Operator


class DIF3D_PG_turntable(bpy.types.PropertyGroup):
    """What the turntable's panel shows; one for each scene."""

    engine: EnumProperty(
        name="Engine",
        description="What renders the frames. Without a graphics card, Cycles on the CPU takes the place of the others",
        items=(
            ("EEVEE", "EEVEE", "Fast, on the graphics card"),
            ("CYCLES", "Cycles", "Path tracing on the CPU: works everywhere"),
            ("WORKBENCH", "Workbench", "As the Solid view, on the graphics card"),
        ),
        default=turntable.Look.engine,
    )
    transparent: BoolProperty(name="Transparent", description="Leave the background transparent", default=False)
    color: FloatVectorProperty(
        name="Background",
        description="Color behind the object",
        subtype="COLOR_GAMMA",
        size=3,
        min=0,
        max=1,
        default=turntable.Look.background,
    )
    alone: BoolProperty(
        name="Only This Object",
        description="Leave everything but the object and the lights out of the frames",
        default=turntable.Look.alone,
    )
    samples: IntProperty(
        name="Samples", description="Of Cycles, for each pixel", default=turntable.Look.samples, min=1, soft_max=512
    )
    elevation: FloatProperty(
        name="Elevation",
        description="Degrees that the camera stands above the object's middle",
        default=turntable.View.elevation_deg,
        min=-85,
        max=85,
    )
    distance: FloatProperty(
        name="Distance",
        description="Of the camera, in units of the engine: the object fits into a box of 1.74",
        default=turntable.View.distance,
        min=1,
        soft_max=5,
    )
    field_of_view: FloatProperty(
        name="Field of View",
        description="Degrees that the camera sees from top to bottom",
        default=turntable.View.fovy_deg,
        min=5,
        max=120,
    )


class _OnTurntable(_Operator):
    @classmethod
    def poll(cls, context):
        if context.object is None or turntable.find_rig(context.object) is None:
            cls.poll_message_set("Select an object that has a turntable.")
            return False
        return True


class DIF3D_OT_add_turntable(_Operator):
    """Add a camera that goes round the selected result, as the engine's own frames see it"""

    bl_idname = "dif3d.add_turntable"
    bl_label = "Add Turntable"
    bl_options = {"UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        if context.object is None or not scene.is_result_mesh(context.object):
            cls.poll_message_set("Select a mesh that Generate from Image made.")
            return False
        return True

    def run(self, context):
        settings = context.scene.dif3d_turntable
        view = turntable.View(settings.elevation, settings.distance, settings.field_of_view)
        turntable.add_rig(context.object, context.scene.dif3d.frame_count, view)


class DIF3D_OT_remove_turntable(_OnTurntable):
    """Remove the turntable of the selected object"""

    bl_idname = "dif3d.remove_turntable"
    bl_label = "Remove Turntable"
    bl_options = {"UNDO"}  # noqa: RUF012

    def run(self, context):
        turntable.remove_rig(context.object)


class DIF3D_OT_render_turntable(_OnTurntable):
    """Render the turntable by Blender as pictures and a video; Escape stops it. Render settings stay as they are"""

    bl_idname = "dif3d.render_turntable"
    bl_label = "Render Turntable"

    done = None  # frames of the one that runs, of `total`, for the panel; None while none runs
    total = 0
    stop = False  # asked for by the panel

    @classmethod
    def poll(cls, context):
        if DIF3D_OT_render_turntable.done is not None:
            cls.poll_message_set("A turntable is being rendered.")
            return False
        return super().poll(context)

    def invoke(self, context, _event):
        if bpy.app.background:
            return self.execute(context)
        try:
            self._begin(context)
        except DIF3DError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        cls = DIF3D_OT_render_turntable
        cls.done, cls.total, cls.stop = 0, self._render.frames, False
        manager = context.window_manager
        manager.progress_begin(0, cls.total)
        self._timer = manager.event_timer_add(0.05, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        cls = DIF3D_OT_render_turntable
        if event.type == "ESC" or cls.stop:
            self.report({"INFO"}, "Stopped. The frames were thrown away")
            return self._end(context, {"CANCELLED"})
        if event.type != "TIMER":
            # The mouse can use the sidebar: it has the button that stops this. The scene must not change meanwhile.
            of_mouse = "MOUSE" in event.type or event.type.startswith("WHEEL")
            return {"PASS_THROUGH"} if of_mouse and _over_sidebar(context.area, event) else {"RUNNING_MODAL"}
        try:
            self._render.render(cls.done)
            cls.done += 1
            context.window_manager.progress_update(cls.done)
            context.workspace.status_text_set(f"Turntable: {cls.done} of {cls.total}. Escape stops")
            if context.area is not None:
                context.area.tag_redraw()
            if cls.done < cls.total:
                return {"RUNNING_MODAL"}
            self._finish()
        except (DIF3DError, RuntimeError, ReferenceError) as error:
            self.report({"ERROR"}, str(error))
            return self._end(context, {"CANCELLED"})
        return self._end(context, {"FINISHED"})

    def cancel(self, context):
        """Blender ends this: its window is closed, or another file is opened."""
        self._end(context, {"CANCELLED"})

    def run(self, context):
        self._begin(context)
        for number in range(self._render.frames):
            self._render.render(number)
        self._finish()

    def _begin(self, context) -> None:
        settings, obj = context.scene.dif3d_turntable, context.object
        look = turntable.Look(
            settings.engine,
            context.scene.dif3d.frame_size,
            None if settings.transparent else tuple(settings.color),
            settings.samples,
            settings.alone,
        )
        folder = paths.new_output_folder(f"{obj.name}-turntable", preferences.get().output)
        self._folder = folder / "renderfiles"
        try:
            self._render = turntable.TurntableRender(context.scene, obj, self._folder, look)
        except DIF3DError:
            folder.rmdir()
            raise

    def _finish(self) -> None:
        video = self._render.write_video()
        for note in self._render.notes:
            self.report({"WARNING"}, note)
        self.report({"INFO"}, f"Rendered {self._render.frames} frames{' and a video' if video else ''}: {self._folder}")

    def _end(self, context, answer):
        DIF3D_OT_render_turntable.done = None
        if answer == {"CANCELLED"}:
            shutil.rmtree(self._folder.parent, ignore_errors=True)
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        return answer


def _over_sidebar(area, event) -> bool:
    """Whether the mouse is over the sidebar of the area that the operator was started in."""
    return area is not None and any(
        region.type == "UI"
        and region.x <= event.mouse_x < region.x + region.width
        and region.y <= event.mouse_y < region.y + region.height
        for region in area.regions
    )


class DIF3D_OT_stop_turntable(bpy.types.Operator):
    """Stop rendering the turntable, and throw away the frames so far"""

    bl_idname = "dif3d.stop_turntable"
    bl_label = "Cancel"

    def execute(self, _context):
        DIF3D_OT_render_turntable.stop = True
        return {"FINISHED"}


class DIF3D_PT_turntable(bpy.types.Panel):
    bl_label = "Turntable"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DIF3D"
    bl_parent_id = "DIF3D_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        obj = context.object
        return obj is not None and scene.is_result_mesh(obj)

    def draw(self, context):
        layout, settings = self.layout, context.scene.dif3d_turntable
        layout.use_property_split, layout.use_property_decorate = True, False
        column = layout.column(align=True)
        column.prop(context.scene.dif3d, "frame_count")
        for name in ("elevation", "distance", "field_of_view"):
            column.prop(settings, name)
        running = DIF3D_OT_render_turntable
        row = layout.row(align=True)
        row.enabled = running.done is None
        row.operator("dif3d.add_turntable", icon="CON_FOLLOWPATH")
        row.operator("dif3d.remove_turntable", text="", icon="X")
        column = layout.column(align=True)
        column.prop(settings, "engine")
        column.prop(context.scene.dif3d, "frame_size")
        if settings.engine == "CYCLES":
            column.prop(settings, "samples")
        column.prop(settings, "transparent")
        if not settings.transparent:
            column.prop(settings, "color")
        column.prop(settings, "alone")
        if running.done is None:
            layout.operator("dif3d.render_turntable", icon="RENDER_ANIMATION")
            return
        layout.progress(factor=running.done / running.total, text=f"{running.done} of {running.total}")
        layout.operator("dif3d.stop_turntable", icon="CANCEL")


_classes = (
    DIF3D_PG_turntable,
    DIF3D_OT_add_turntable,
    DIF3D_OT_remove_turntable,
    DIF3D_OT_render_turntable,
    DIF3D_OT_stop_turntable,
    DIF3D_PT_turntable,
)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    bpy.types.Scene.dif3d_turntable = PointerProperty(type=DIF3D_PG_turntable)


def unregister() -> None:
    # Blender forgets an operator that runs, without a word to it.
    DIF3D_OT_render_turntable.done, DIF3D_OT_render_turntable.stop = None, False
    del bpy.types.Scene.dif3d_turntable
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
