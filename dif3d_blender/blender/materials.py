"""The material of a result that came with a texture: its maps as packed images, the rest as values to edit."""

from __future__ import annotations

from pathlib import Path

import bpy
from mathutils import Vector

from ..engine.errors import DIF3DError
from ..messages import Result
from .colors import use_nodes

UV_MAP = "UVMap"
ROUGHNESS, SPECULAR = 0.8, 0.2  # a guess that suits most things: the picture's own highlights are in the base colour


def has_texture(result: Result) -> bool:
    """Whether the engine made a texture for `result`."""
    return all(name in result.files for name in ("uv", "base_color", "normal_map"))


def textured_material(name: str, result: Result) -> bpy.types.Material:
    """A Principled material with the base colour and the normal map of `result`, both packed into the file.

    Raises:
        DIF3DError: a map is missing or damaged.
    """
    base_color = _load(f"{name} Base Color", result.files["base_color"], "sRGB")
    normal_map = _load(f"{name} Normal", result.files["normal_map"], "Non-Color")
    material = bpy.data.materials.new(name)
    use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = ROUGHNESS
    shader.inputs["Metallic"].default_value = 0.0
    shader.inputs["Specular IOR Level"].default_value = SPECULAR
    color = nodes.new("ShaderNodeTexImage")
    color.image, color.extension = base_color, "EXTEND"
    color.location = shader.location + Vector((-320, 100))
    bump = nodes.new("ShaderNodeTexImage")
    bump.image, bump.extension = normal_map, "EXTEND"
    bump.location = shader.location + Vector((-560, -260))
    turned = nodes.new("ShaderNodeNormalMap")
    turned.uv_map = UV_MAP
    turned.location = shader.location + Vector((-240, -260))
    links.new(color.outputs["Color"], shader.inputs["Base Color"])
    links.new(bump.outputs["Color"], turned.inputs["Color"])
    links.new(turned.outputs["Normal"], shader.inputs["Normal"])
    nodes.active = color  # the one that Solid views show
    return material


def _load(name: str, path: str, color_space: str) -> bpy.types.Image:
    try:
        image = bpy.data.images.load(path)
        image.name, image.colorspace_settings.name = name, color_space
        image.pack()
    except RuntimeError as error:
        raise DIF3DError(
            f"{Path(path)} is missing or damaged ({str(error).strip()}). Generate the object again."
        ) from error
    if image.size[0] == 0:
        raise DIF3DError(f"{Path(path)} is damaged. Generate the object again.")
    return image
