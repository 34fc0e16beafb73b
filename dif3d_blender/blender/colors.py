"""The colour attribute that every object of ours has, and the material that shows it."""

import bpy
import numpy as np
from mathutils import Vector

COLOR = "Color"  # name of the colour attribute


def rgba(colors: np.ndarray) -> np.ndarray:
    """sRGB colours [n, 3] as float32 [n, 4] in [0, 1], for the `color_srgb` of a byte colour attribute."""
    opaque = np.ones((len(colors), 4), np.float32)
    opaque[:, :3] = np.clip(np.nan_to_num(colors), 0, 1)
    return opaque


def color_material(name: str, radiant: bool = False) -> bpy.types.Material:
    """A material that shows the colour attribute: as base colour, or as light of its own (`radiant`).

    Gaussians are radiant: their colours are what the camera saw, and small flat ellipsoids would shade each other.
    """
    material = bpy.data.materials.new(name)
    use_nodes(material)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.8
    shader.inputs["Specular IOR Level"].default_value = 0.2
    attribute = nodes.new("ShaderNodeVertexColor")
    attribute.layer_name = COLOR
    attribute.location = shader.location + Vector((-300, 0))
    links.new(attribute.outputs["Color"], shader.inputs["Emission Color" if radiant else "Base Color"])
    if radiant:
        shader.inputs["Base Color"].default_value = (0, 0, 0, 1)
        shader.inputs["Specular IOR Level"].default_value = 0
        shader.inputs["Emission Strength"].default_value = 1
    return material


def use_nodes(block: bpy.types.Material | bpy.types.World) -> None:
    if bpy.app.version < (5, 0):  # later versions always do
        block.use_nodes = True
