"""A leaner mesh of a result, and the colours of one mesh on the UVs of another: Blender's own remeshers and baking."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, IntProperty
from mathutils import Matrix, Vector

from ..engine.errors import DIF3DError
from .baking import unwrap
from .colors import use_nodes
from .operators import _Operator
from .restoring import kept, selected

REACH = 0.03  # of the source's size: how far from the target's surface the source's may lie
MARGIN = 16  # texels by which colours are drawn out over the borders of UV islands
_ENLARGED = 1024.0  # times, for QuadriFlow, which takes no edge under a tenth of a millimetre; a power of two is exact
_BAKE = [
    "use_selected_to_active",
    "use_cage",
    "cage_extrusion",
    "max_ray_distance",
    "margin",
    "margin_type",
    "use_clear",
    "target",
    "normal_space",
    "normal_r",
    "normal_g",
    "normal_b",
    "view_from",
]


def bake_from(source: bpy.types.Object, target: bpy.types.Object, size: int) -> bpy.types.Image:
    """Give `target` a material with the colours of `source`, and its surface as a normal map; return the colours.

    Each texel looks along its normal for the source, by Cycles on the CPU. The images are `size`² texels, and packed.

    Raises:
        DIF3DError: the target has no UVs or faces, one of them is hidden or not in this scene, or Cycles is disabled.
    """
    scene = bpy.context.scene
    if not hasattr(scene, "cycles"):
        raise DIF3DError("Baking needs Cycles. Enable the add-on Cycles Render Engine in Blender's preferences.")
    for obj in (source, target):
        if obj.type != "MESH" or not obj.data.polygons:
            raise DIF3DError(f"{obj.name} has no faces.")
        if obj.name not in bpy.context.view_layer.objects or not obj.visible_get() or obj.hide_render:
            raise DIF3DError(f"{obj.name} is hidden in the viewport or in renders. Show it to bake.")
        if obj.mode != "OBJECT":
            raise DIF3DError(f"{obj.name} must be in Object Mode.")
    if not target.data.uv_layers:
        raise DIF3DError(f"{target.name} has no UVs. Unwrap it (UV ▸ Smart UV Project) and bake again.")
    extent = (source.matrix_world.to_3x3() @ (Vector(source.bound_box[6]) - Vector(source.bound_box[0]))).length
    color = bpy.data.images.new(f"{target.name} Base Color", size, size)
    normal = bpy.data.images.new(f"{target.name} Normal", size, size, is_data=True)
    material, nodes = _material(target, color, normal)
    former = list(target.data.materials)
    target.data.materials.clear()
    target.data.materials.append(material)
    indices = [polygon.material_index for polygon in target.data.polygons]
    target.data.polygons.foreach_set("material_index", [0] * len(indices))
    settings = scene.render.bake
    try:
        with (
            selected(target, source),
            kept(
                (scene.render, ("engine",)), (scene.cycles, ("device", "samples", "use_denoising")), (settings, _BAKE)
            ),
        ):
            scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 1
            scene.cycles.use_denoising = False  # it would smear, and some Blenders are built without it
            settings.use_selected_to_active, settings.use_cage, settings.use_clear = True, False, True
            settings.cage_extrusion, settings.max_ray_distance = REACH * extent, 2 * REACH * extent
            settings.margin, settings.margin_type, settings.target = MARGIN, "EXTEND", "IMAGE_TEXTURES"
            settings.normal_space = "TANGENT"
            settings.normal_r, settings.normal_g, settings.normal_b = "POS_X", "POS_Y", "POS_Z"
            for kind, passes, node in (("DIFFUSE", {"COLOR"}, nodes[0]), ("NORMAL", set(), nodes[1])):
                material.node_tree.nodes.active = node
                bpy.ops.object.bake(type=kind, pass_filter=passes)
    except RuntimeError as error:
        target.data.materials.clear()
        for one in former:
            target.data.materials.append(one)
        target.data.polygons.foreach_set("material_index", indices)
        bpy.data.materials.remove(material)
        bpy.data.batch_remove([color, normal])
        raise DIF3DError(f"Cycles could not bake {target.name}: {str(error).strip()}") from error
    _connect(material, nodes)
    color.pack()
    normal.pack()
    return color


def retopologize(obj: bpy.types.Object, method: str, face_limit: int, size: int) -> tuple[bpy.types.Object, list[str]]:
    """Make a lean copy of a mesh object, unwrap it, and bake the object's colours and detail onto it.

    The object itself stays, hidden.

    Args:
        obj: what to copy.
        method: "QUAD" (QuadriFlow), "VOXEL", or "DECIMATE".
        face_limit: of the copy, about.
        size: of the images, in texels.

    Returns:
        The copy, and notes on what was not done as asked.

    Raises:
        DIF3DError: as `bake_from`; nothing is left then.
    """
    if obj.mode != "OBJECT" or obj.name not in bpy.context.view_layer.objects or not obj.visible_get():
        raise DIF3DError(f"{obj.name} must be visible in this scene, in Object Mode.")
    lean = bpy.data.objects.new(f"{obj.name} Lean", _plain_copy(obj))
    lean.matrix_world = obj.matrix_world
    for collection in obj.users_collection:
        collection.objects.link(lean)
    notes = []
    try:
        quads = method == "QUAD" and _quads(lean, face_limit)
        if method != "DECIMATE" and not quads:
            _voxels(lean, face_limit)
        if method == "QUAD" and not quads:
            notes.append("QuadriFlow needs a closed mesh without folds: it was rebuilt from voxels first.")
            quads = _quads(lean, face_limit)
            if not quads:
                notes.append("QuadriFlow could not take that either: it was decimated to triangles.")
        if not quads:
            _decimate(lean, face_limit)
        if not lean.data.polygons:
            raise DIF3DError(f"Nothing was left of {obj.name}. Choose another method or a higher face limit.")
        unwrap(lean)
        for polygon in lean.data.polygons:
            polygon.use_smooth = True
        bake_from(obj, lean, size)
    except BaseException:
        mesh = lean.data
        bpy.data.objects.remove(lean)
        bpy.data.meshes.remove(mesh)
        raise
    obj.hide_set(True)
    obj.hide_render = True
    return lean, notes


def _plain_copy(obj: bpy.types.Object) -> bpy.types.Mesh:
    """The object's mesh as its modifiers leave it, without UVs, colours, materials and custom properties."""
    mesh = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    mesh.name = f"{obj.name} Lean"
    mesh.materials.clear()
    for layer in list(mesh.uv_layers):
        mesh.uv_layers.remove(layer)
    for attribute in list(mesh.color_attributes):
        mesh.color_attributes.remove(attribute)
    for key in list(mesh.keys()):
        del mesh[key]
    return mesh


def _quads(obj: bpy.types.Object, faces: int) -> bool:
    """Rebuild the mesh from about that many quads; False, and the mesh as it was, where QuadriFlow does not take it."""
    before = len(obj.data.vertices)
    obj.data.transform(Matrix.Scale(_ENLARGED, 4))
    with selected(obj):
        try:
            done = bpy.ops.object.quadriflow_remesh(mode="FACES", target_faces=faces, use_mesh_symmetry=False)
        except RuntimeError:  # its own report: not manifold
            done = {"CANCELLED"}
    obj.data.transform(Matrix.Scale(1 / _ENLARGED, 4))
    # Blender 4.3 says that it is finished when it did nothing.
    return done == {"FINISHED"} and len(obj.data.vertices) not in (0, before)


def _voxels(obj: bpy.types.Object, faces: int) -> None:
    """Rebuild the surface from voxels, so small that decimation still has something to choose from."""
    area = sum(polygon.area for polygon in obj.data.polygons)
    obj.data.remesh_voxel_size = max((area / max(faces, 1) / 2) ** 0.5, 1e-4)
    with selected(obj):
        bpy.ops.object.voxel_remesh()


def _decimate(obj: bpy.types.Object, faces: int) -> None:
    triangles = sum(len(polygon.vertices) - 2 for polygon in obj.data.polygons)
    if triangles <= faces:
        return
    modifier = obj.modifiers.new("Decimate", "DECIMATE")
    modifier.ratio, modifier.use_collapse_triangulate = faces / triangles, True
    before = obj.data
    after = bpy.data.meshes.new_from_object(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    obj.modifiers.clear()
    obj.data = after
    after.name = before.name
    bpy.data.meshes.remove(before)


def _material(target, color, normal) -> tuple[bpy.types.Material, list[bpy.types.Node]]:
    """A new Principled material, and its two image nodes, not connected: baking must not read what it writes."""
    material = bpy.data.materials.new(target.name)
    use_nodes(material)
    shader = _shader(material)
    shader.inputs["Roughness"].default_value, shader.inputs["Specular IOR Level"].default_value = 0.8, 0.2
    nodes = []
    for image, place in ((color, (-320, 100)), (normal, (-560, -260))):
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image, node.location = image, shader.location + Vector(place)
        nodes.append(node)
    return material, nodes


def _connect(material: bpy.types.Material, nodes: list[bpy.types.Node]) -> None:
    shader, tree = _shader(material), material.node_tree
    turned = tree.nodes.new("ShaderNodeNormalMap")
    turned.location = shader.location + Vector((-240, -260))
    tree.links.new(nodes[0].outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(nodes[1].outputs["Color"], turned.inputs["Color"])
    tree.links.new(turned.outputs["Normal"], shader.inputs["Normal"])
    tree.nodes.active = nodes[0]


def _shader(material: bpy.types.Material) -> bpy.types.Node:
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


class DIF3D_OT_bake_from(_Operator):
    """Bake the colors and the detail of the other selected mesh onto the UVs of the active one, by Cycles"""

    bl_idname = "dif3d.bake_from"
    bl_label = "Bake Selected to Active"
    bl_options = {"UNDO"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        meshes = [obj for obj in context.selected_objects if obj.type == "MESH"]
        if len(meshes) != 2 or context.object not in meshes:
            cls.poll_message_set("Select the mesh that has the colors, then your own mesh, which gets them.")
            return False
        return True

    def run(self, context):
        source = next(obj for obj in context.selected_objects if obj.type == "MESH" and obj != context.object)
        image = bake_from(source, context.object, int(context.scene.dif3d.texture_size))
        self.report({"INFO"}, f"Baked {image.name} from {source.name}")


class DIF3D_OT_retopologize(_Operator):
    """Make a leaner copy of the selected mesh, unwrapped, with its colors and detail baked onto it"""

    bl_idname = "dif3d.retopologize"
    bl_label = "Retopologize"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    method: EnumProperty(
        name="Method",
        description="How the new faces are found",
        items=(
            ("QUAD", "Quads", "QuadriFlow: quads that follow the shape. An open mesh is rebuilt from voxels first"),
            ("VOXEL", "Voxels", "Rebuilt from voxels, then decimated: takes any mesh"),
            ("DECIMATE", "Decimate", "The mesh's own triangles, fewer of them"),
        ),
        default="QUAD",
    )
    faces: IntProperty(
        name="Faces", description="How many the copy gets, about", default=5000, min=20, soft_max=100_000
    )

    @classmethod
    def poll(cls, context):
        if context.object is None or context.object.type != "MESH" or context.object.mode != "OBJECT":
            cls.poll_message_set("Select a mesh, in Object Mode.")
            return False
        return True

    def run(self, context):
        size = int(context.scene.dif3d.texture_size)
        lean, notes = retopologize(context.object, self.method, self.faces, size)
        for obj in context.selected_objects:
            obj.select_set(False)
        lean.select_set(True)
        context.view_layer.objects.active = lean
        for note in notes:
            self.report({"WARNING"}, note)
        self.report({"INFO"}, f"{lean.name}: {len(lean.data.polygons):,} faces")


class DIF3D_PT_retopology(bpy.types.Panel):
    bl_label = "Retopology"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DIF3D"
    bl_parent_id = "DIF3D_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        return context.object is not None and context.object.type == "MESH"

    def draw(self, context):
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(context.scene.dif3d, "texture_size")
        layout.operator_menu_enum("dif3d.retopologize", "method", icon="MOD_REMESH")
        layout.operator("dif3d.bake_from", icon="TEXTURE")


_classes = (DIF3D_OT_bake_from, DIF3D_OT_retopologize, DIF3D_PT_retopology)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
