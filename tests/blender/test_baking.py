"""Vertex colours to a texture: against a slow reference, against Cycles, and on whole objects."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import baking, scene  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def fill_slowly(corners, colors, size):
    """The reference: every triangle, every texel."""
    texels = np.zeros((size, size, 4))
    for (a, b, c), shades in zip(corners.astype(float), colors, strict=True):
        to_uv = np.stack([b - a, c - a], axis=1)
        if abs(np.linalg.det(to_uv)) < 1e-12:
            continue
        for y in range(size):
            for x in range(size):
                u, v = np.linalg.solve(to_uv, np.array([x + 0.5, y + 0.5]) - a)
                if u >= 0 and v >= 0 and u + v <= 1:
                    texels[y, x] = *(shades[0] * (1 - u - v) + shades[1] * u + shades[2] * v), 1
    return texels


def test_filling_equals_the_reference():
    rng = np.random.default_rng(0)
    corners = np.concatenate([rng.uniform(-4, 28, (6, 3, 2)), rng.uniform(8, 14, (8, 3, 2)), np.full((1, 3, 2), 5.0)])
    colors = rng.random((15, 3, 3))
    covered = baking.fill_triangles(corners, colors, 24)[..., 3]
    np.testing.assert_array_equal(covered, fill_slowly(corners, colors, 24)[..., 3])
    for one in range(15):  # where triangles overlap, either may win; one at a time the colours must agree
        part = slice(one, one + 1)
        fast = baking.fill_triangles(corners[part], colors[part], 24)
        np.testing.assert_allclose(fast, fill_slowly(corners[part], colors[part], 24), atol=1e-5)


def test_dilation_draws_the_border_out_and_leaves_nothing_transparent():
    texels = np.zeros((16, 16, 4), np.float32)
    texels[8, 8] = 1, 0, 0, 1
    grown = baking.dilate(texels, 3)
    np.testing.assert_array_equal(grown[8, 5:12, :3], [[1, 0, 0]] * 7)
    np.testing.assert_array_equal(grown[0, 0], [0.5, 0.5, 0.5, 1])


def pixels(image):
    out = np.empty((image.size[1], image.size[0], 4), np.float32)
    image.pixels.foreach_get(out.ravel())
    return out


def baked_by_cycles(obj, size):
    """What Blender's own baking makes of the vertex colours."""
    image = bpy.data.images.new("cycles", size, size)
    material = obj.active_material
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image, material.node_tree.nodes.active = image, node
    render = bpy.context.scene
    render.render.engine, render.cycles.samples, render.cycles.device = "CYCLES", 1, "CPU"
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    bpy.ops.object.bake(type="DIFFUSE", pass_filter={"COLOR"}, margin=0, use_clear=True)
    material.node_tree.nodes.remove(node)
    return pixels(image)


def test_a_result_gets_a_packed_texture_like_the_one_that_cycles_bakes(make_result):
    (obj,) = scene.add_result(make_result(resolution=16), "thing").objects
    image = baking.bake_texture(obj, 128)
    assert image.packed_file is not None and tuple(image.size) == (128, 128)
    shader = next(n for n in obj.active_material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    assert shader.inputs["Base Color"].links[0].from_node.image is image
    color = next(n for n in obj.active_material.node_tree.nodes if n.type == "VERTEX_COLOR")
    obj.active_material.node_tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
    theirs, ours = baked_by_cycles(obj, 128), pixels(image)
    covered = theirs[..., 3] > 0
    assert covered.mean() > 0.2
    # at island borders a texel's centre may lie just outside for one of the two
    assert np.quantile(np.abs(theirs - ours)[covered].max(axis=-1), 0.97) < 0.03


def test_uvs_and_selection_of_the_artist_are_kept(make_result):
    (obj,) = scene.add_result(make_result(resolution=16), "thing").objects
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    baking.bake_texture(obj, 32)
    assert bpy.context.view_layer.objects.active == cube and cube.select_get() and not obj.select_get()
    before = [tuple(uv.vector) for uv in obj.data.uv_layers.active.uv[:20]]
    baking.bake_texture(obj, 32)
    assert [tuple(uv.vector) for uv in obj.data.uv_layers.active.uv[:20]] == before


def test_a_material_without_a_principled_shader_gets_the_texture_to_connect(make_result, tmp_path):
    (obj,) = scene.add_result(make_result(resolution=16), "thing").objects
    nodes = obj.active_material.node_tree.nodes
    nodes.remove(next(node for node in nodes if node.type == "BSDF_PRINCIPLED"))
    with pytest.raises(DIF3DError, match="no Principled BSDF"):
        baking.bake_texture(obj, 32)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    nodes = bpy.data.objects["thing"].active_material.node_tree.nodes
    assert [node.image.name for node in nodes if node.type == "TEX_IMAGE"] == ["thing Texture"]


def test_what_cannot_be_baked_says_why(make_result):
    (obj,) = scene.add_result(make_result(resolution=16), "thing").objects
    obj.hide_set(True)
    with pytest.raises(DIF3DError, match="must be visible"):
        baking.bake_texture(obj, 32)
    bpy.ops.mesh.primitive_cube_add()
    with pytest.raises(DIF3DError, match="no vertex colors"):
        baking.bake_texture(bpy.context.object, 32)
