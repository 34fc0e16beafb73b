"""A Gaussian cloud as a Blender object: points with attributes, drawn as coloured ellipsoids by Geometry Nodes.

Where Blender can make point clouds from Python it is one (5.1 and newer; 4.5 and 5.0 by converting a mesh); before, it
is a mesh of loose vertices with the same attributes, which the same node group turns into points.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..engine.errors import DIF3DError
from .colors import COLOR, rgba
from .restoring import selected

GROUP = "DIF3D Gaussians"
REQUIRED = {"position": 3, "scale": 3, "rotation": 4, "opacity": 1, "color": 3, "observed": 1}  # numbers a Gaussian
_TURN = np.array(
    [np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5)], np.float32
)  # field frame to Blender's: −90° around z; w first


def add_gaussians(
    name: str, arrays: dict[str, np.ndarray], placement, collection: bpy.types.Collection, material: bpy.types.Material
) -> bpy.types.Object:
    """Make an object of `arrays` in `collection`, which must be part of the scene that is shown.

    Args:
        name: of the object.
        arrays: `gaussians_position` [n, 3], `gaussians_scale` [n, 3] (standard deviations along the axes), both in the
            field frame; `gaussians_rotation` [n, 4] (quaternions, w first); `gaussians_opacity` [n] in [0, 1];
            `gaussians_color` [n, 3], sRGB; `gaussians_observed` [n], whether the picture shows it.
        placement: from the field frame to Blender's (`scene.Placement`).
        collection: takes the object.
        material: reads the colour attribute.

    Raises:
        DIF3DError: an array is missing or does not fit the others.
    """
    values = _checked(arrays)
    points = placement.points(values["position"])
    scale = np.asarray(values["scale"], np.float32) * np.float32(placement.scale)
    data, obj = _new_points(name, points, collection)
    attributes = {
        "radius": ("FLOAT", "value", scale.mean(axis=1)),
        "scale": ("FLOAT_VECTOR", "vector", scale),
        "rotation": ("QUATERNION", "value", turned(values["rotation"])),
        "opacity": ("FLOAT", "value", values["opacity"]),
        "observed": ("BOOLEAN", "value", values["observed"].astype(bool)),
        COLOR: ("BYTE_COLOR", "color_srgb", rgba(values["color"])),
    }
    for key, (kind, field, array) in attributes.items():
        attribute = data.attributes.get(key) or data.attributes.new(key, kind, "POINT")
        attribute.data.foreach_set(
            field, np.ascontiguousarray(array, bool if kind == "BOOLEAN" else np.float32).ravel()
        )
    data.materials.append(material)
    obj = _as_point_cloud(obj)
    modifier = obj.modifiers.new(GROUP, "NODES")
    modifier.node_group = _node_group()
    set_input(modifier, "Material", material)
    return obj


def turned(rotation: np.ndarray) -> np.ndarray:
    """Field-frame quaternions [n, 4] (w first) as Blender-frame ones."""
    w, x, y, z = np.moveaxis(np.asarray(rotation, np.float32), 1, 0)
    a, d = _TURN[0], _TURN[3]
    return np.stack([a * w - d * z, a * x - d * y, a * y + d * x, a * z + d * w], axis=1)


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    values = {}
    for key, width in REQUIRED.items():
        array = arrays.get(f"gaussians_{key}")
        if array is None or array.size != len(array) * width or len(array) != len(arrays["gaussians_position"]):
            raise DIF3DError(f"The Gaussian cloud has no usable {key}. Generate the object again.")
        values[key] = array
    if not all(np.isfinite(values[key]).all() for key in ("position", "scale", "rotation")):
        raise DIF3DError("The Gaussian cloud has numbers that are not finite. Generate the object again.")
    return values


def _new_points(name: str, points: np.ndarray, collection: bpy.types.Collection):
    """A point cloud where Blender can make one directly, else a mesh of loose vertices; with its object."""
    if "resize" in bpy.types.PointCloud.bl_rna.functions:
        data = bpy.data.pointclouds.new(name)
        data.resize(len(points))
    else:
        data = bpy.data.meshes.new(name)
        data.vertices.add(len(points))
    position = data.attributes.get("position") or data.attributes.new("position", "FLOAT_VECTOR", "POINT")
    position.data.foreach_set("vector", points.ravel())
    obj = bpy.data.objects.new(name, data)
    collection.objects.link(obj)
    return data, obj


def _as_point_cloud(obj: bpy.types.Object) -> bpy.types.Object:
    """Convert a mesh of vertices where this Blender can, and the object is in the scene that is shown."""
    targets = bpy.ops.object.convert.get_rna_type().properties["target"].enum_items
    if obj.type == "MESH" and "POINTCLOUD" in targets and bpy.context.scene in obj.users_scene:
        with selected(obj):
            bpy.ops.object.convert(target="POINTCLOUD")
    return obj


def _node_group() -> bpy.types.NodeTree:
    """The node group of the file that draws Gaussians; made when missing, or when its inputs got other names."""
    for group in bpy.data.node_groups:
        if group.type == "GEOMETRY" and group.name.startswith(GROUP) and "Material" in _inputs(group):
            return group
    group = bpy.data.node_groups.new(GROUP, "GeometryNodeTree")
    group.is_modifier = True
    socket = group.interface.new_socket
    socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    ellipsoids = socket("Ellipsoids", in_out="INPUT", socket_type="NodeSocketBool")
    ellipsoids.default_value, ellipsoids.description = True, "Draw ellipsoids; off draws points"
    size = socket("Size", in_out="INPUT", socket_type="NodeSocketFloat")
    size.default_value, size.min_value = 2.0, 0.0
    size.description = "Half axes of the ellipsoids in standard deviations"
    socket("Material", in_out="INPUT", socket_type="NodeSocketMaterial")

    def node(kind: str, column: int, row: int, **settings) -> bpy.types.Node:
        made = group.nodes.new(kind)
        made.location = column * 200, row * -180
        for key, value in settings.items():
            setattr(made, key, value)
        return made

    def named(attribute: str, kind: str, column: int, row: int) -> bpy.types.NodeSocket:
        made = node("GeometryNodeInputNamedAttribute", column, row, data_type=kind)
        made.inputs["Name"].default_value = attribute
        return made.outputs["Attribute"]

    link = group.links.new
    start = node("NodeGroupInput", 0, 0)
    parts = node("GeometryNodeSeparateComponents", 1, 0)
    link(start.outputs["Geometry"], parts.inputs[0])
    loose = node("GeometryNodeMeshToPoints", 2, 0)
    link(parts.outputs["Mesh"], loose.inputs["Mesh"])
    link(named("radius", "FLOAT", 1, 2), loose.inputs["Radius"])
    points = node("GeometryNodeJoinGeometry", 3, 0)
    link(loose.outputs[0], points.inputs[0])
    link(parts.outputs["Point Cloud"], points.inputs[0])

    ball = node("GeometryNodeMeshIcoSphere", 3, 2)
    ball.inputs["Subdivisions"].default_value = 1
    axes = node("ShaderNodeVectorMath", 3, 3, operation="SCALE")
    link(named("scale", "FLOAT_VECTOR", 2, 3), axes.inputs[0])
    link(start.outputs["Size"], axes.inputs["Scale"])
    instances = node("GeometryNodeInstanceOnPoints", 4, 1)
    link(points.outputs[0], instances.inputs["Points"])
    link(ball.outputs["Mesh"], instances.inputs["Instance"])
    link(named("rotation", "QUATERNION", 2, 4), instances.inputs["Rotation"])
    link(axes.outputs[0], instances.inputs["Scale"])
    whole = node("GeometryNodeRealizeInstances", 5, 1)
    link(instances.outputs[0], whole.inputs[0])
    smooth = node("GeometryNodeSetShadeSmooth", 6, 1)
    link(whole.outputs[0], smooth.inputs[0])

    choice = node("GeometryNodeSwitch", 7, 0, input_type="GEOMETRY")
    link(start.outputs["Ellipsoids"], choice.inputs["Switch"])
    link(points.outputs[0], choice.inputs["False"])
    link(smooth.outputs[0], choice.inputs["True"])
    colored = node("GeometryNodeSetMaterial", 8, 0)
    link(choice.outputs[0], colored.inputs["Geometry"])
    link(start.outputs["Material"], colored.inputs["Material"])
    end = node("NodeGroupOutput", 9, 0)
    link(colored.outputs[0], end.inputs[0])
    return group


def set_input(modifier: bpy.types.Modifier, name: str, value) -> None:
    """Set an input of a Geometry Nodes modifier by the name that the artist reads."""
    identifier = _inputs(modifier.node_group)[name]
    if hasattr(modifier, "properties"):  # Blender 5.2 and newer
        getattr(modifier.properties.inputs, identifier).value = value
    else:
        modifier[identifier] = value


def _inputs(group: bpy.types.NodeTree) -> dict[str, str]:
    """The identifiers of a node group's inputs, by the names that the artist reads."""
    items = group.interface.items_tree
    return {item.name: item.identifier for item in items if item.item_type == "SOCKET" and item.in_out == "INPUT"}
