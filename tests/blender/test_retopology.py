"""Lean copies with the colours of the original, and what the artist had set stays as it was."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import retopology, scene  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture
def thing(make_result):
    (obj,) = scene.add_result(make_result(resolution=24), "thing").objects
    return obj


def pixels(image):
    out = np.empty((image.size[1], image.size[0], 4), np.float32)
    image.pixels.foreach_get(out.ravel())
    return out


def colors_at_faces(obj, image):
    """The texture's colour at the middle of each face [n, 3], and where that is in the world [n, 3]."""
    texels, layer = pixels(image), obj.data.uv_layers.active.uv
    spots = np.array([np.mean([layer[i].vector for i in p.loop_indices], axis=0) for p in obj.data.polygons])
    column, row = (spots * len(texels)).astype(int).clip(0, len(texels) - 1).T
    return texels[row, column, :3], np.array([obj.matrix_world @ p.center for p in obj.data.polygons])


def original_colors(obj, places):
    """The vertex colours (sRGB) of an object nearest to places of the world."""
    colors = np.array([item.color_srgb[:3] for item in obj.data.color_attributes.active_color.data])
    vertices = np.array([obj.matrix_world @ v.co for v in obj.data.vertices])
    return colors[np.linalg.norm(places[:, None] - vertices, axis=2).argmin(axis=1)]


@pytest.mark.parametrize("method", ["QUAD", "VOXEL", "DECIMATE"])
def test_a_lean_copy_has_the_colours_of_the_original(thing, method):
    shown = bpy.context.scene
    thing.location.x = 2
    bpy.context.view_layer.update()
    shown.render.engine, shown.cycles.samples, shown.render.bake.margin = "BLENDER_WORKBENCH", 77, 3
    lean, notes = retopology.retopologize(thing, method, 300, 128)
    assert not notes
    assert 100 < len(lean.data.polygons) <= 450  # QuadriFlow takes the number as advice
    if method == "QUAD":
        assert all(len(polygon.vertices) == 4 for polygon in lean.data.polygons)
    (image,) = (
        node.image
        for node in lean.active_material.node_tree.nodes
        if node.type == "TEX_IMAGE" and node.image.name.endswith("Base Color")
    )
    found, places = colors_at_faces(lean, image)
    assert np.abs(found - original_colors(thing, places)).mean() < 0.04
    assert image.packed_file and thing.hide_get()
    assert (shown.render.engine, shown.cycles.samples, shown.render.bake.margin) == ("BLENDER_WORKBENCH", 77, 3)


def test_what_quadriflow_cannot_take_is_rebuilt_from_voxels_first_and_it_is_said(thing):
    bpy.context.view_layer.objects.active = thing
    mesh = thing.data
    open_mesh = bpy.data.meshes.new("three faces at an edge")
    open_mesh.from_pydata(
        [v.co[:] for v in mesh.vertices] + [(0, 0, 3)],
        [],
        [list(p.vertices) for p in mesh.polygons] + [[*mesh.polygons[0].vertices[:2], len(mesh.vertices)]],
    )
    thing.data = open_mesh
    lean, notes = retopology.retopologize(thing, "QUAD", 300, 32)
    assert notes == ["QuadriFlow needs a closed mesh without folds: it was rebuilt from voxels first."]
    assert 50 < len(lean.data.polygons) < 450
    assert all(len(polygon.vertices) == 4 for polygon in lean.data.polygons)


def test_what_cannot_be_baked_says_why_and_leaves_nothing(thing):
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    with pytest.raises(DIF3DError, match="has no UVs"):
        retopology.bake_from(thing, cube, 32)
    cube.data.uv_layers.new()
    before = len(bpy.data.images), len(bpy.data.materials), len(bpy.data.objects)
    thing.hide_render = True
    with pytest.raises(DIF3DError, match="thing is hidden"):
        retopology.bake_from(thing, cube, 32)
    with pytest.raises(DIF3DError, match="thing is hidden"):
        retopology.retopologize(thing, "DECIMATE", 100, 32)
    assert (len(bpy.data.images), len(bpy.data.materials), len(bpy.data.objects)) == before
