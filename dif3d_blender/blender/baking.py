"""Vertex colours to a texture: unwrap where there are no UVs, fill the triangles, and show the image in the material.

The colour inside a triangle is what the renderer shows there: the blend of its corners' colours, in linear light. So
nothing needs to be rendered, and the artist's render settings are not touched.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Vector

from ..engine.errors import DIF3DError
from ..engine.srgb import linear_to_srgb
from ..engine.triangles import fill_triangles
from .colors import use_nodes
from .restoring import selected

MARGIN = 8  # texels by which colours are drawn out over the borders of UV islands, against seams


def bake_texture(obj: bpy.types.Object, size: int) -> bpy.types.Image:
    """Give a mesh object a texture of `size`² texels that shows its vertex colours; return the image, packed.

    UVs that the mesh has are used; else it is unwrapped by Smart UV Project.

    Raises:
        DIF3DError: the object has no colours or faces, or cannot be unwrapped where it is.
    """
    mesh = obj.data
    if mesh.color_attributes.active_color is None:
        raise DIF3DError(f"{obj.name} has no vertex colors to bake.")
    if not mesh.polygons:
        raise DIF3DError(f"{obj.name} has no faces to bake.")
    if not mesh.uv_layers:
        unwrap(obj)
    uv, colors = _corners(mesh, mesh.color_attributes.active_color)  # looked up late: new layers move the old ones
    texels = dilate(fill_triangles(uv * size, colors, size), MARGIN)
    texels[..., :3] = linear_to_srgb(texels[..., :3])
    image = bpy.data.images.new(f"{obj.name} Texture", size, size)
    image.pixels.foreach_set(texels.ravel())
    image.update()
    image.pack()
    _show(obj, image)
    return image


def dilate(texels: np.ndarray, distance: int) -> np.ndarray:
    """Draw colours out into empty texels, `distance` texels far; what is empty still becomes opaque grey."""
    for _ in range(distance):
        empty = texels[..., 3] == 0
        around = np.zeros_like(texels)
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            moved = np.roll(texels, shift, axis)
            edge = [slice(None), slice(None)]
            edge[axis] = 0 if shift == 1 else -1
            moved[tuple(edge)] = 0
            around += moved
        count = around[..., 3]
        grown = empty & (count > 0)
        texels[grown] = around[grown] / count[grown, None]
    texels[texels[..., 3] == 0] = (0.5, 0.5, 0.5, 1)
    return texels


def _corners(mesh: bpy.types.Mesh, attribute: bpy.types.Attribute) -> tuple[np.ndarray, np.ndarray]:
    """UV coordinates [n, 3, 2] and scene-linear colours [n, 3, 3] of the corners of the mesh's triangles."""
    mesh.calc_loop_triangles()
    loops = np.empty((len(mesh.loop_triangles), 3), np.int32)
    mesh.loop_triangles.foreach_get("loops", loops.ravel())
    uv = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uv.ravel())
    colors = np.empty((len(attribute.data), 4), np.float32)
    attribute.data.foreach_get("color", colors.ravel())
    if attribute.domain == "POINT":
        vertices = np.empty(len(mesh.loops), np.int32)
        mesh.attributes[".corner_vert"].data.foreach_get("value", vertices)
        colors = colors[vertices]
    return uv[loops], colors[loops][..., :3]


def unwrap(obj: bpy.types.Object) -> None:
    """Smart UV Project on the whole mesh; the artist's selection of objects is as before.

    Raises:
        DIF3DError: the object is hidden, of another scene, or not in Object Mode.
    """
    if bpy.context.scene not in obj.users_scene or obj.hide_get() or obj.mode != "OBJECT":
        raise DIF3DError(f"{obj.name} must be visible in this scene, in Object Mode, to be unwrapped.")
    with selected(obj):
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(angle_limit=math.radians(66), island_margin=0.002)
        bpy.ops.object.mode_set(mode="OBJECT")


def _show(obj: bpy.types.Object, image: bpy.types.Image) -> None:
    """Let the object's material take its base colour from the image."""
    material = obj.active_material
    use_nodes(material)
    shader = next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image  # connected or not, it keeps the image in the file
    if shader is None:
        raise DIF3DError(
            f"The material {material.name} has no Principled BSDF. {image.name} is a node of its own there: connect it."
        )
    node.location = shader.location + Vector((-300, -250))
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
