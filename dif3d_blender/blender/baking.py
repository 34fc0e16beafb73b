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
from .colors import to_srgb

MARGIN = 8  # texels by which colours are drawn out over the borders of UV islands, against seams
_AT_ONCE = 1 << 21  # texels that are looked at together


def bake_texture(obj: bpy.types.Object, size: int) -> bpy.types.Image:
    """Give a mesh object a texture of `size`² texels that shows its vertex colours; return the image, packed.

    UVs that the mesh has are used; else it is unwrapped by Smart UV Project.

    Raises:
        DIF3DError: the object has no colours or faces, or cannot be unwrapped where it is.
    """
    mesh = obj.data
    if mesh.color_attributes.active_color is None:
        raise DIF3DError(f"{obj.name} has no vertex colours to bake.")
    if not mesh.polygons:
        raise DIF3DError(f"{obj.name} has no faces to bake.")
    if not mesh.uv_layers:
        _unwrap(obj)
    uv, colors = _corners(mesh, mesh.color_attributes.active_color)  # looked up late: new layers move the old ones
    texels = dilate(fill_triangles(uv * size, colors, size), MARGIN)
    texels[..., :3] = to_srgb(texels[..., :3])
    image = bpy.data.images.new(f"{obj.name} Texture", size, size)
    image.pixels.foreach_set(texels.ravel())
    image.update()
    image.pack()
    _show(obj, image)
    return image


def fill_triangles(corners: np.ndarray, colors: np.ndarray, size: int) -> np.ndarray:
    """Fill triangles with the blend of their corners' colours.

    Args:
        corners: [n, 3, 2] in texels; the first row of the result is at the bottom. Texel i reaches from i to i + 1.
        colors: [n, 3, 3].
        size: of the square result.

    Returns:
        float32 [size, size, 4]; the last channel is 1 where a triangle covers the texel's centre, else all are 0.
    """
    texels = np.zeros((size, size, 4), np.float32)
    low = np.floor(corners.min(axis=1)).astype(np.int32)
    spans = (np.ceil(corners.max(axis=1)).astype(np.int32) - low).max(axis=1)
    steps = np.ceil(np.log2(np.maximum(spans, 1))).astype(int)  # triangles of like size are done together
    for step in np.unique(steps):
        width = 2 ** int(step)
        alike = np.flatnonzero(steps == step)
        for start in range(0, len(alike), max(1, _AT_ONCE // width**2)):
            some = alike[start : start + max(1, _AT_ONCE // width**2)]
            _fill_alike(texels, corners[some], colors[some], low[some], width)
    return texels


def _fill_alike(texels: np.ndarray, corners: np.ndarray, colors: np.ndarray, low: np.ndarray, width: int) -> None:
    """Fill triangles whose boxes begin at `low` [n, 2] and are at most `width` texels wide and high."""
    size = len(texels)
    offsets = np.arange(width)
    x = low[:, 0, None, None] + offsets[None, None, :]  # [n, 1, width]
    y = low[:, 1, None, None] + offsets[None, :, None]  # [n, width, 1]
    a, b, c = (corners[:, i, :, None, None] for i in range(3))  # each [n, 2, 1, 1]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):  # triangles without area cover no centre
        px, py = x + 0.5, y + 0.5
        wb = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (py - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
        wc = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (b[:, 1] - a[:, 1]) * (px - a[:, 0])) / area
        inside = (wb >= 0) & (wc >= 0) & (wb + wc <= 1)
    inside &= (x >= 0) & (x < size) & (y >= 0) & (y < size)
    n, row, column = np.nonzero(inside)
    wb, wc = wb[inside][:, None], wc[inside][:, None]
    blended = colors[n, 0] * (1 - wb - wc) + colors[n, 1] * wb + colors[n, 2] * wc
    texels[low[n, 1] + row, low[n, 0] + column, :3] = blended
    texels[low[n, 1] + row, low[n, 0] + column, 3] = 1


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


def _unwrap(obj: bpy.types.Object) -> None:
    """Smart UV Project on the whole mesh; the artist's selection of objects is as before."""
    layer = bpy.context.view_layer
    if bpy.context.scene not in obj.users_scene or obj.hide_get() or obj.mode != "OBJECT":
        raise DIF3DError(f"{obj.name} must be visible in this scene, in Object Mode, to be unwrapped.")
    selected, active = [other for other in layer.objects if other.select_get()], layer.objects.active
    for other in selected:
        other.select_set(False)
    obj.select_set(True)
    layer.objects.active = obj
    try:
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(angle_limit=math.radians(66), island_margin=0.002)
        bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        obj.select_set(False)
        for other in selected:
            other.select_set(True)
        layer.objects.active = active


def _show(obj: bpy.types.Object, image: bpy.types.Image) -> None:
    """Let the object's material take its base colour from the image."""
    material = obj.active_material
    shader = next((node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
    if shader is None:
        raise DIF3DError(
            f"The material {material.name} has no Principled BSDF; the texture {image.name} is in the file."
        )
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    node.location = shader.location + Vector((-300, -250))
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
