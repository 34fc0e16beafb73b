"""Extraction: the fast path against the dense one, closed meshes, specks, and what is said when there is no surface."""

import math

import numpy as np
import pytest
import torch
import trimesh
from fields import RADIUS, ball, plate, random_field, shape_field, slab_field
from scipy.spatial import cKDTree

from dif3d_blender.engine import isosurface
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.occupancy import Occupancy

CASES = {
    "ball": lambda: shape_field(ball()),
    "two balls that touch": lambda: shape_field(ball((-0.3, 0.1, 0.0), 0.3), ball((0.3, 0.1, 0.0), 0.3)),
    "two balls that nearly touch": lambda: shape_field(ball((0, -0.31, 0), 0.3), ball((0, 0.31, 0), 0.3)),
    "plate as thin as a texel": lambda: shape_field(plate(0.03, 0.06)),
    "plate and a ball through it": lambda: shape_field(plate(-0.1), ball(radius=0.35)),
    "slab thinner than a cell": lambda: slab_field(0.013, 0.05),
    "ball that sticks out of the box": lambda: shape_field(ball((0.7, 0.7, 0.0), 0.4)),
    "everything inside": lambda: shape_field(ball(radius=3.0)),
    "the same everywhere": lambda: shape_field((torch.ones(32, 32),) * 3),
    "speck": lambda: shape_field(ball((0.3, -0.2, 0.1), 0.07)),
    "random 1": lambda: random_field(1),
    "random 2": lambda: random_field(2, texels=30),
    "random 3": lambda: random_field(3, texels=40, reduction="mean"),
}


def mesh_of(surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def assert_same_surface(fast, dense) -> None:
    assert len(fast.vertices) == len(dense.vertices)
    for one, other in ((fast, dense), (dense, fast)):
        assert cKDTree(one.vertices).query(other.vertices)[0].max() < 1e-4
    assert len(fast.faces) == len(dense.faces)
    middles = [mesh_of(surface).triangles_center for surface in (fast, dense)]
    assert cKDTree(middles[0]).query(middles[1])[0].max() < 1e-4


@pytest.mark.parametrize("as_original", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_fast_equals_dense(name, as_original):
    field = CASES[name]()
    if name in ("everything inside", "the same everywhere") and as_original:
        pytest.skip("an open surface round everything is empty")
    for resolution in (31, 64):
        fast = extract_surface(field, resolution, as_original=as_original)
        assert_same_surface(fast, extract_surface(field, resolution, as_original=as_original, dense=True))


@pytest.mark.parametrize("name", CASES)
def test_closed_surfaces_are_closed_and_face_outward(name):
    surface = extract_surface(CASES[name](), 48)
    mesh = mesh_of(surface)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert surface.vertices.dtype == np.float32
    assert surface.faces.dtype == np.int32
    assert len(np.unique(surface.faces)) == len(surface.vertices)
    assert np.abs(surface.vertices).max() < RADIUS * 1.001


def test_known_volumes():
    whole = 4 / 3 * math.pi * 0.5**3
    assert mesh_of(extract_surface(shape_field(ball()), 64)).volume == pytest.approx(whole, rel=0.02)
    box = (2 * RADIUS) ** 3
    assert mesh_of(extract_surface(shape_field(ball(radius=3.0)), 20)).volume == pytest.approx(box, rel=0.01)


def test_vertices_lie_on_the_surface_not_at_the_lattice():
    """Density rises by powers of ten from sample to sample; interpolated as it is, it puts them at the emptier one."""
    field = shape_field(ball(texels=64))
    field._rest[-1].weight.data[0] *= 12
    field._rest[-1].bias.data[0] = math.log(25) + 1

    def roughness(**how):
        mesh = mesh_of(extract_surface(field, 48, **how))
        return np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.5).max(), mesh.face_adjacency_angles.max()

    error, crease = roughness()
    error_of_original, crease_of_original = roughness(as_original=True)
    assert error < 0.005 < 2 * RADIUS / 47 / 3 < error_of_original
    assert crease < 0.3 * crease_of_original


@pytest.mark.parametrize("thickness", [0.02, 0.01, 0.004])
def test_slabs_far_thinner_than_the_occupancys_cells_are_found(thickness):
    """The decoder can make parts thinner than a texel (0.054 here); the slope on either side gives them away."""
    line = torch.linspace(-RADIUS, RADIUS, 64)
    for height in line[[3, 10, 31, 40]].tolist():  # at a sample of the lattice, or the dense path misses it too
        field = slab_field(height, thickness)
        fast = extract_surface(field, 64, as_original=True)
        assert_same_surface(fast, extract_surface(field, 64, as_original=True, dense=True))


def test_hollow_is_found():
    """A cavity has a surface of its own that faces into it."""
    field = shape_field(ball(radius=0.6))
    field._rest[-1].weight.data[0] *= -1  # matter outside the ball, a hollow inside
    field._rest[-1].bias.data[0] = math.log(25) + 1
    surface = extract_surface(field, 48)
    assert_same_surface(surface, extract_surface(field, 48, dense=True))
    hollow = 4 / 3 * math.pi * 0.6**3
    assert mesh_of(surface).volume == pytest.approx((2 * RADIUS) ** 3 - hollow, rel=0.03)


def test_normals_point_to_lower_density():
    field = shape_field(ball((0.1, 0.0, -0.1)))
    surface = extract_surface(field, 64)
    away = surface.vertices - np.array([0.1, 0.0, -0.1], dtype=np.float32)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert (surface.normals * away).sum(axis=1).min() > 0.97
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-5)


def test_few_of_the_dense_paths_queries():
    field = shape_field(ball(radius=0.35, texels=64))
    extract_surface(field, 256)
    assert field.queries < 0.05 * 256**3


def test_occupancy_can_be_shared():
    field = random_field(4)
    occupancy = Occupancy(field)
    known = field.queries
    shared = extract_surface(field, 40, occupancy=occupancy)
    assert field.queries - known < known
    assert_same_surface(shared, extract_surface(field, 40))


def test_a_surface_between_the_samples_asks_for_more_of_them():
    field = slab_field(0.1, 0.02)
    with pytest.raises(DIF3DError, match="choose a higher resolution"):
        extract_surface(field, 8)
    assert len(extract_surface(field, 200).faces)


@pytest.mark.parametrize("library", ["PyMCubes", "scikit-image"])
def test_no_surface_says_the_range_and_a_threshold_that_works(library, monkeypatch):
    if library == "scikit-image":
        monkeypatch.setattr(isosurface, "mcubes", None)
    field = shape_field(ball(radius=0.4))
    for dense in (False, True):
        with pytest.raises(DIF3DError, match="ranges from") as caught:
            extract_surface(field, 32, threshold=1e6, dense=dense)
        suggested = float(str(caught.value).split("threshold of ")[1].rstrip("."))
        assert len(extract_surface(field, 32, threshold=suggested).faces) > 0


def test_flat_field_gets_other_advice():
    field = shape_field(ball(radius=0.4))
    field._table.zero_()
    field._bias = torch.zeros_like(field._bias)
    with pytest.raises(DIF3DError, match="another picture"):
        extract_surface(field, 32, threshold=100.0)


@pytest.mark.parametrize("dense", [False, True])
def test_a_resolution_that_does_not_fit_says_how_much_it_would_take(dense):
    with pytest.raises(DIF3DError, match=r"5000\d samples along each axis would take about [\d.]+ GB"):
        extract_surface(random_field(), 50_000, dense=dense)


@pytest.mark.parametrize(("resolution", "threshold"), [(1, 25.0), (0, 25.0), (32, 0.0), (32, -1.0), (32, math.nan)])
def test_settings_without_meaning_are_refused(resolution, threshold):
    with pytest.raises(DIF3DError):
        extract_surface(random_field(), resolution, threshold)


def test_scikit_image_serves_where_pymcubes_has_no_wheel(monkeypatch):
    """The same vertices and equally many faces; ambiguous cells may only be cut along another diagonal."""
    field = random_field(2, texels=30)
    usual = extract_surface(field, 40)
    monkeypatch.setattr(isosurface, "mcubes", None)
    isosurface._cases.cache_clear()
    try:
        other, dense = extract_surface(field, 40), extract_surface(field, 40, dense=True)
    finally:
        isosurface._cases.cache_clear()
    assert_same_surface(other, dense)
    assert len(other.faces) == len(usual.faces)
    assert cKDTree(other.vertices).query(usual.vertices)[0].max() < 1e-4
    assert mesh_of(other).is_watertight
    assert mesh_of(other).volume == pytest.approx(mesh_of(usual).volume, rel=1e-3)
    assert mesh_of(other).body_count == mesh_of(usual).body_count


def test_cases_of_one_cell_are_complementary():
    """Each case of marching cubes uses exactly the edges whose ends differ."""
    triangles, edges = isosurface._cases()
    for case in range(256):
        inside = [case >> bit & 1 for bit in range(8)]
        cut = set()
        for number, (x, y, z, axis) in enumerate(edges.tolist()):
            start = 4 * x + 2 * y + z
            if inside[start] != inside[start + (4, 2, 1)[axis]]:
                cut.add(number)
        assert set(triangles[case][triangles[case] >= 0].tolist()) == cut


def test_sides_of_boxes_are_those_of_all_their_points():
    """A box that is told to lie on one side has no point on the other."""
    for seed, cells in ((1, 0.8), (2, 0.3), (5, 0.3)):
        field = random_field(seed, texels=30)
        occupancy = Occupancy(field)
        low = (torch.rand(3000, 3) * 2 - 1) * 0.95 * RADIUS
        high = low + torch.rand(3000, 3) * cells * 2 * RADIUS / 60
        sides = occupancy.sides(low, high, 1.0)
        assert not occupancy.sides(low, low + 3 * 2 * RADIUS / 60, 1.0).any()  # too wide to be judged
        told = [(sides == side).float().mean() for side in (-1, 1)]
        assert min(told) > 0.005
        for _ in range(10):
            inside = field.density(low + (high - low) * torch.rand(3000, 3))[:, 0] > 1.0
            wrong = (inside & (sides < 0)) | (~inside & (sides > 0))
            assert wrong.float().mean() < 0.002  # how the decoder bends within a texel is estimated, not known


def test_occupancy_lattice_spans_the_box():
    for texels in (5, 48, 60):
        field = random_field(texels=texels)
        occupancy = Occupancy(field)
        assert occupancy.lines[0] == -RADIUS
        assert occupancy.lines[-1] == pytest.approx(RADIUS)
        assert (occupancy.lines.diff() > 0).all()
        points = (torch.rand(1000) * 2 - 1) * RADIUS
        cell = occupancy.cell_of(points)
        assert (occupancy.lines[cell] <= points + 1e-6).all()
        assert (points <= occupancy.lines[cell + 1] + 1e-6).all()
