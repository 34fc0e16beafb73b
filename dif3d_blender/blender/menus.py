"""The operators in the 3D view's own menus, which is also where Blender's search (F3) finds them."""

import bpy


class DIF3D_MT_generate(bpy.types.Menu):
    bl_label = "DIF3D"

    def draw(self, context):
        layout = self.layout
        layout.operator("dif3d.generate", icon="MESH_MONKEY")
        layout.operator("dif3d.set_picture", text="Choose Picture…", icon="FILE_IMAGE").filepath = ""
        layout.operator("dif3d.paste_picture", icon="PASTEDOWN")
        layout.separator()
        layout.operator("dif3d.cancel", icon="CANCEL").id = ""
        layout.operator("dif3d.free_memory")


class DIF3D_MT_result(bpy.types.Menu):
    bl_label = "DIF3D"

    def draw(self, context):
        layout = self.layout
        for name in ("remesh", "frames", "bake"):
            layout.operator(f"dif3d.{name}")
        layout.separator()
        for name in ("add_turntable", "render_turntable", "remove_turntable"):
            layout.operator(f"dif3d.{name}")
        layout.separator()
        layout.operator_menu_enum("dif3d.retopologize", "method")
        layout.operator("dif3d.bake_from")


def _in_add_menu(menu, _context):
    menu.layout.separator()
    menu.layout.menu(DIF3D_MT_generate.__name__, icon="MESH_MONKEY")


def _in_object_menu(menu, _context):
    menu.layout.separator()
    menu.layout.menu(DIF3D_MT_result.__name__)


def register() -> None:
    bpy.utils.register_class(DIF3D_MT_generate)
    bpy.utils.register_class(DIF3D_MT_result)
    bpy.types.VIEW3D_MT_add.append(_in_add_menu)
    bpy.types.VIEW3D_MT_object.append(_in_object_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object.remove(_in_object_menu)
    bpy.types.VIEW3D_MT_add.remove(_in_add_menu)
    bpy.utils.unregister_class(DIF3D_MT_result)
    bpy.utils.unregister_class(DIF3D_MT_generate)
