"""A result's arrays as Blender objects, and a whole scene of them as a .blend.

Arrays come in the field frame (x toward the input camera, y right, z up; docs/architecture.md) and become objects that
stand on the floor and face Blender's front view. They go into data-blocks by `foreach_set` from memory-mapped files: a
mesh of 300,000 vertices takes a third of a second.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from ..engine.errors import DIF3DError
from ..engine.files import atomic_path
from ..messages import Result
from . import stored
from .baking import bake_texture
from .colors import COLOR, color_material, rgba, use_nodes
from .gaussians import add_gaussians
from .materials import UV_MAP, has_texture, textured_material

OUTPUT = "dif3d_output"  # custom properties of an object: the folder it came from,
MODEL = "dif3d_model"  # the network that made it,
SIZE = "dif3d_size"  # the height in metres that it was given
SCALE, LOWEST = "dif3d_scale", "dif3d_lowest"  # of its mesh: the `Placement` that made it from the field frame
GAP = 0.15  # metres between objects that stand in a row


@dataclass(frozen=True)
class Placement:
    """From the field frame to Blender's: (X, Y, Z) = (y, −x, z − lowest) · scale."""

    scale: float
    lowest: float

    @classmethod
    def of(cls, vertices: np.ndarray, size: float) -> Placement:
        """The placement that makes the object with these field-frame vertices [n, 3] `size` metres tall.

        An object without any height gets its longest side that long instead.
        """
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        extent = float(high[2] - low[2]) or float((high - low).max()) or 1.0
        return cls(size / extent, float(low[2]))

    def points(self, points: np.ndarray) -> np.ndarray:
        """Field-frame points [n, 3] as Blender's, float32."""
        placed = np.empty(points.shape, np.float32)
        placed[:, 0] = points[:, 1] * self.scale
        placed[:, 1] = points[:, 0] * -self.scale
        placed[:, 2] = (points[:, 2] - self.lowest) * self.scale
        return placed


def add_result(
    result: Result,
    name: str,
    size: float = 1.0,
    scene: bpy.types.Scene | None = None,
    mesh: bool = True,
) -> bpy.types.Collection:
    """Make a collection with the objects of `result`, linked into `scene`.

    It stands at the origin, or to the right of what stands there from earlier results. Nothing is left in the file
    when it fails.

    Args:
        result: names the arrays (docs/architecture.md).
        name: for the collection and its objects.
        size: height of the mesh in metres.
        scene: the scene that asked; the active one where it is not given.
        mesh: whether the mesh is wanted. Gaussians are added where the result has them, hidden beside a mesh.

    Raises:
        DIF3DError: an array is missing, is damaged, or does not fit the others.
    """
    arrays = load_arrays(result)
    with _nothing_left_on_failure():
        scene = scene or bpy.context.scene
        collection = bpy.data.collections.new(name)
        scene.collection.children.link(collection)
        placement = Placement.of(arrays["vertices"], size)
        objects = []
        if mesh:
            material = textured_material(name, result) if has_texture(result) else color_material(name)
            objects.append(new_mesh_object(name, arrays, placement, material))
            stored.pack(objects[0].data, Path(result.output))
            collection.objects.link(objects[0])
        if "gaussians_position" in arrays:
            material = color_material(f"{name} Gaussians", radiant=True)
            objects.append(add_gaussians(f"{name} Gaussians", arrays, placement, collection, material))
            _hide(objects[-1], scene, mesh)
        place = _free_place(scene, arrays["vertices"], placement)
        for obj in objects:
            obj[OUTPUT], obj[MODEL], obj[SIZE] = result.output, result.report["model"], size
            obj.location.x = place
    return collection


def renew(obj: bpy.types.Object, result: Result, size: float) -> None:
    """Put the mesh of `result` in place of the one that `obj` has; its place and its modifiers stay, its shape keys go.

    Its material stays too, but where one of the two meshes has a texture: that belongs to its UVs.

    Raises:
        DIF3DError: an array is missing, is damaged, or does not fit the others; the object is as it was.
    """
    arrays = load_arrays(result)
    with _nothing_left_on_failure():
        material = textured_material(obj.name, result) if has_texture(result) else None
        if material is None and obj.data.uv_layers:
            material = color_material(obj.name)
    if obj.data.shape_keys:  # they hold the places of the old mesh's vertices
        obj.shape_key_clear()
    fill_mesh(obj.data, arrays, Placement.of(arrays["vertices"], size))
    if material is not None:
        obj.data.materials.clear()
        obj.data.materials.append(material)
    stored.pack(obj.data, Path(result.output))
    obj[OUTPUT], obj[SIZE] = result.output, size


def load_arrays(result: Result) -> dict[str, np.ndarray]:
    """Return the arrays that `result` names, memory-mapped and checked against each other.

    Raises:
        DIF3DError: one is missing or damaged.
    """
    arrays = {}
    for key, path in result.files.items():
        if path.endswith(".npy") and Path(path).parent.name == "arrays":
            try:
                arrays[key] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DIF3DError(f"{path} is missing or damaged ({error}). Generate the object again.") from error
    check_mesh(arrays, result.output)
    return arrays


def check_mesh(arrays: dict[str, np.ndarray], where: str) -> None:
    """Raise `DIF3DError` where arrays would not make a mesh that Blender can hold."""
    for key in ("vertices", "faces"):
        if key not in arrays or arrays[key].ndim != 2 or arrays[key].shape[1] != 3 or not len(arrays[key]):
            raise DIF3DError(f"The result in {where} has no usable {key}. Generate the object again.")
    vertices, faces, colors = arrays["vertices"], arrays["faces"], arrays.get("colors")
    if not np.isfinite(vertices).all():
        raise DIF3DError(f"The result in {where} has vertices that are not finite numbers. Generate the object again.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise DIF3DError(f"The result in {where} has faces of vertices that do not exist. Generate the object again.")
    if colors is not None and colors.shape != vertices.shape:
        raise DIF3DError(f"The result in {where} has {len(colors)} colors for {len(vertices)} vertices.")
    uv = arrays.get("uv")
    if uv is not None and uv.shape != (*faces.shape, 2):
        raise DIF3DError(f"The result in {where} has {len(uv)} UV triangles for {len(faces)} faces.")


def new_mesh_object(
    name: str, arrays: dict[str, np.ndarray], placement: Placement, material: bpy.types.Material
) -> bpy.types.Object:
    """A mesh object with colours, UVs where there are some, and a material; not in any collection yet."""
    mesh = bpy.data.meshes.new(name)
    fill_mesh(mesh, arrays, placement)
    mesh.materials.append(material)
    return bpy.data.objects.new(name, mesh)


def is_result_mesh(obj: bpy.types.Object) -> bool:
    """Whether an object is a mesh that we made; a Gaussian cloud is none, even where Blender only has a mesh for it."""
    return obj.type == "MESH" and SCALE in obj.data


def placement_of(obj: bpy.types.Object) -> Placement:
    """From the field frame to the frame of an object that we made.

    Raises:
        DIF3DError: it is none.
    """
    if not is_result_mesh(obj):
        raise DIF3DError(f"{obj.name} is no mesh that Generate from Image made.")
    return Placement(obj.data[SCALE], obj.data[LOWEST])


def is_editable(obj: bpy.types.Object) -> bool:
    """Whether an object's mesh can be changed; Blender crashes where `fill_mesh` gets a linked one, or an override."""
    return obj.is_editable and obj.data.is_editable and obj.data.override_library is None


def fill_mesh(mesh: bpy.types.Mesh, arrays: dict[str, np.ndarray], placement: Placement) -> None:
    """Put `vertices` [n, 3], `faces` [m, 3], `colors` [n, 3] (sRGB) and `uv` [m, 3, 2] into `mesh`, for what it holds.

    The shading is smooth. Normals are left to Blender: custom ones would be wrong as soon as the artist moves a vertex.
    """
    faces = np.asarray(arrays["faces"])
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    corners = np.ascontiguousarray(faces[proper], np.int32).ravel()
    mesh.clear_geometry()
    mesh[SCALE], mesh[LOWEST] = placement.scale, placement.lowest
    mesh.vertices.add(len(arrays["vertices"]))
    mesh.attributes["position"].data.foreach_set("vector", placement.points(arrays["vertices"]).ravel())
    mesh.loops.add(len(corners))
    mesh.attributes[".corner_vert"].data.foreach_set("value", corners)
    mesh.polygons.add(len(corners) // 3)
    mesh.polygons.foreach_set("loop_start", np.arange(0, len(corners), 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    if "colors" in arrays:
        attribute = mesh.color_attributes.new(COLOR, "BYTE_COLOR", "POINT")
        attribute.data.foreach_set("color_srgb", rgba(arrays["colors"]).ravel())
        mesh.color_attributes.active_color = attribute
        mesh.color_attributes.render_color_index = mesh.color_attributes.find(COLOR)
    if "uv" in arrays:
        layer = mesh.uv_layers.get(UV_MAP) or mesh.uv_layers.new(name=UV_MAP, do_init=False)
        layer.uv.foreach_set("vector", np.ascontiguousarray(arrays["uv"][proper], np.float32).ravel())


def save_scene(path: str | Path, results: Sequence[Result], size: float = 1.0) -> None:
    """Write a .blend with the objects of `results` in a row, a camera, lights, and a view that shows their colours.

    For scripts: it begins with an empty file, so that what was open in this Blender is gone. Each object is named after
    its output folder.

    Args:
        path: the final name; an earlier file is replaced when the new one is whole.
        results: what the engine made.
        size: height of each object in metres.

    Raises:
        DIF3DError: a result is damaged, or the file cannot be written.
    """
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    objects = []
    for result in results:
        added = add_result(result, Path(result.output).name, size, scene).objects
        if not result.report.get("texture", {}).get("unwrapped", True):  # what the engine could not, Smart UV may
            bake_texture(added[0], result.report["texture"]["size"])
        objects += added
    _light_and_camera(scene, objects)
    show_colors(bpy.data.screens)
    for view in _views(bpy.data.screens):
        if view.region_3d is not None:
            view.region_3d.view_perspective = "CAMERA"
    bpy.context.view_layer.objects.active = objects[0]
    with atomic_path(path) as temporary:
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(temporary), check_existing=False, compress=True)
        except RuntimeError as error:  # Blender's own words: the folder is missing, read-only or full
            raise DIF3DError(f"Can't write {path}: {str(error).strip()} Choose another output folder.") from error


def bounds(objects: Sequence[bpy.types.Object]) -> tuple[Vector, Vector]:
    """The lowest and the highest corner of the box around some objects, in the scene's frame."""
    corners = [obj.matrix_basis @ Vector(corner) for obj in objects for corner in obj.bound_box]
    return Vector(map(min, zip(*corners, strict=True))), Vector(map(max, zip(*corners, strict=True)))


def _hide(obj: bpy.types.Object, scene: bpy.types.Scene, hidden: bool) -> None:
    """Hide an object in the viewports of its scene, as its eye in the outliner does, and in renders."""
    obj.hide_render = hidden
    for layer in scene.view_layers:
        obj.hide_set(hidden, view_layer=layer)


def _free_place(scene: bpy.types.Scene, vertices: np.ndarray, placement: Placement) -> float:
    """Where on the x axis an object of these vertices stands free of what earlier results left near the origin."""
    own_left, own_right = vertices[:, 1].min() * placement.scale, vertices[:, 1].max() * placement.scale
    others = [bounds([other]) for other in scene.objects if OUTPUT in other and other.parent is None]
    place = 0.0
    for low, high in sorted(others, key=lambda corners: corners[0].x):
        near = low.y < 1 and high.y > -1
        if near and place + own_left < high.x and place + own_right > low.x:
            place = high.x + GAP - own_left
    return float(place)


def _light_and_camera(scene: bpy.types.Scene, objects: Sequence[bpy.types.Object]) -> None:
    """A camera that sees all objects a little from the right and from above, a sun, and a bright grey world."""
    low, high = bounds(objects)
    centre, radius = (low + high) / 2, (high - low).length / 2
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    yaw, pitch = math.radians(20), math.radians(12)
    toward = Vector((math.sin(yaw) * math.cos(pitch), -math.cos(yaw) * math.cos(pitch), math.sin(pitch)))
    camera.rotation_euler = toward.to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    corners = [obj.matrix_basis @ Vector(corner) for obj in objects for corner in obj.bound_box]
    fitted, _ = camera.camera_fit_coords(
        bpy.context.evaluated_depsgraph_get(), [x for corner in corners for x in corner]
    )
    camera.location = Vector(fitted) + toward * (Vector(fitted) - centre).length * 0.1
    camera.data.clip_end = max(camera.data.clip_end, 10 * radius)

    light = bpy.data.lights.new("Sun", "SUN")
    light.energy, light.angle = 2.5, math.radians(10)
    sun = bpy.data.objects.new("Sun", light)
    sun.location = centre + Vector((-1, -1, 2)) * radius
    sun.rotation_euler = (math.radians(45), 0, math.radians(-30))

    world = bpy.data.worlds.new("World")
    use_nodes(world)
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
    scene.world = world
    scene.view_settings.view_transform = "Standard"  # the picture's colours, not a film's
    scene.collection.objects.link(sun)


def _views(screens: Iterable[bpy.types.Screen]) -> Iterator[bpy.types.SpaceView3D]:
    for screen in screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                yield area.spaces.active


def show_colors(screens: Iterable[bpy.types.Screen]) -> None:
    """Let 3D views in Solid mode show colour attributes, unless the artist chose other colours than the default."""
    for view in _views(screens):
        if view.shading.type == "SOLID" and view.shading.color_type == "MATERIAL":
            view.shading.color_type = "VERTEX"


@contextlib.contextmanager
def _nothing_left_on_failure() -> Iterator[None]:
    """Remove the data-blocks that were made inside when the block raises."""
    kinds = ("objects", "collections", "meshes", "pointclouds", "materials", "node_groups", "images")
    kinds = [getattr(bpy.data, kind) for kind in kinds if hasattr(bpy.data, kind)]
    before = [{block.as_pointer() for block in kind} for kind in kinds]
    try:
        yield
    except BaseException:
        new = [b for kind, known in zip(kinds, before, strict=True) for b in kind if b.as_pointer() not in known]
        bpy.data.batch_remove(new)
        raise
