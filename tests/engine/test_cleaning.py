"""Surfaces made fit for use: specks, smoothing, face limits, and that they stay closed."""

import numpy as np
import pytest
import trimesh
from fields import ball, random_field, shape_field

from dif3d_blender.engine.cleaning import clean_surface, is_closed
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.isosurface import Surface, extract_surface


def mesh_of(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


@pytest.fixture(scope="module")
def ball_and_speck() -> Surface:
    return extract_surface(shape_field(ball((0.2, 0, 0), 0.45), ball((-0.7, 0.5, 0.5), 0.08)), 64)


def test_specks_go_and_the_rest_stays(ball_and_speck):
    assert mesh_of(ball_and_speck).body_count == 2
    cleaned = clean_surface(ball_and_speck, speck_share=0.1)
    assert mesh_of(cleaned).body_count == 1
    assert cleaned.vertices[:, 0].min() > -0.4
    assert is_closed(cleaned.faces)
    kept = clean_surface(ball_and_speck, speck_share=0.001)
    assert mesh_of(kept).body_count == 2
    everything = clean_surface(ball_and_speck, speck_share=0)
    assert np.array_equal(everything.faces, ball_and_speck.faces)


def test_smoothing_takes_noise_and_keeps_the_volume(ball_and_speck):
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.004, size=ball_and_speck.vertices.shape).astype(np.float32)
    rough = Surface(ball_and_speck.vertices + noise, ball_and_speck.faces)
    smooth = clean_surface(rough, speck_share=0, smoothing=10)
    angle = [np.abs(mesh_of(surface).face_adjacency_angles).mean() for surface in (rough, smooth)]
    assert angle[1] < 0.5 * angle[0]
    assert mesh_of(smooth).volume == pytest.approx(mesh_of(rough).volume, rel=1e-3)


@pytest.mark.parametrize("limit", [4000, 1000, 200])
def test_decimation_keeps_the_limit_the_shape_and_closure(limit):
    surface = extract_surface(shape_field(ball()), 64)
    assert len(surface.faces) > 4000
    small = clean_surface(surface, face_limit=limit)
    assert len(small.faces) <= limit
    assert len(small.faces) > 0.5 * limit
    assert mesh_of(small).is_watertight
    assert mesh_of(small).volume == pytest.approx(mesh_of(surface).volume, rel=0.03)
    assert (np.linalg.norm(small.vertices, axis=1) - 0.5).__abs__().max() < 0.03
    assert len(np.unique(small.faces)) == len(small.vertices)
    assert small.faces.dtype == np.int32


def test_nothing_is_done_below_the_limit():
    surface = extract_surface(shape_field(ball()), 24)
    assert clean_surface(surface, speck_share=0, face_limit=len(surface.faces)) is surface


def test_tangled_surfaces_keep_the_limit():
    surface = extract_surface(random_field(2, texels=30), 40)
    assert len(clean_surface(surface, face_limit=1000).faces) <= 1000


def test_closure_is_told():
    box = trimesh.creation.box()
    assert is_closed(box.faces)
    assert not is_closed(box.faces[1:])
    assert not is_closed(np.concatenate([box.faces, box.faces[:1]]))
    flipped = box.faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not is_closed(flipped)


@pytest.mark.parametrize("settings", [{"speck_share": -1}, {"smoothing": -1}, {"face_limit": -1}, {"face_limit": 3}])
def test_settings_without_meaning_are_refused(ball_and_speck, settings):
    with pytest.raises(DIF3DError, match=next(iter(settings))):
        clean_surface(ball_and_speck, **settings)
