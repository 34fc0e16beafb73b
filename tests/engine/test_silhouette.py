"""A field that is told the outline has that outline, whatever it was before."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from dif3d_blender.engine import TSR
from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.depth import field_depth
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.foreground import frame_subject, open_picture
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.registration import register
from dif3d_blender.engine.silhouette import silhouette_correction
from dif3d_blender.engine.weights import find_model

CAMERA = Camera(elevation_deg=15.0, fovy_deg=35.0, distance=2.2)


@pytest.fixture(scope="module")
def field(model_folder):
    network = TSR.from_pretrained(model_folder)
    with torch.no_grad():
        code = network([np.full((40, 40, 3), 0.5, dtype=np.float32)], "cpu")[0]
    return Field(code, network.decoder, network.renderer)


def ring(size=64):
    """A mask with a hole, off the centre."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    radius = torch.hypot(x - size * 0.55, y - size * 0.45) / size
    return ((radius < 0.3) & (radius > 0.12)).float()


def outline(field, size=48):
    """Where rays meet the surface, [size, size]."""
    origins, directions = CAMERA.rays(size, size)
    depths = torch.linspace(CAMERA.distance - 1.2, CAMERA.distance + 1.2, 160)
    points = origins[..., None, :] + depths[:, None] * directions[..., None, :]
    inside = points.abs().amax(-1) < field.radius
    density = field.density(points.clamp(-field.radius, field.radius))[..., 0]
    return ((density > 25) & inside).any(-1)


def test_the_corrected_field_has_the_outline_of_the_mask(field):
    wanted = torch.nn.functional.interpolate(ring()[None, None], (48, 48), mode="area")[0, 0] > 0.5
    corrected = field.corrected(silhouette_correction(field, CAMERA, ring()))

    def iou(seen):
        return ((seen & wanted).sum() / (seen | wanted).sum()).item()

    assert iou(outline(field)) < 0.6
    assert iou(outline(corrected)) > 0.93


@torch.no_grad()
def test_no_slit_is_left_between_the_network_s_own_and_what_is_added(repo_root):
    """Frames from the front had white dashes along the outline of this one."""
    network = TSR.from_files(find_model("embedded"))
    picture, mask = frame_subject(open_picture(repo_root / "examples" / "teddy.png"))
    field = Field(network([picture], "cpu")[0], network.decoder, network.renderer)
    camera = register(field, mask).camera
    corrected = field.corrected(silhouette_correction(field, camera, torch.from_numpy(mask)))
    inside = ndimage.binary_erosion(np.asarray(Image.fromarray(mask).resize((256, 256))) > 0.5, iterations=2)
    holes = [np.isnan(field_depth(form, camera, 256, 256))[inside].mean() for form in (field, corrected)]
    assert holes[0] > 0.01
    assert holes[1] < 5e-4


def test_a_field_that_is_sure_and_fits_its_outline_is_left_alone(field):
    sure = field.corrected(lambda points, density, color: (25 * (density / 25).clamp(0.5, 1.5) ** 96, color))
    corrected = sure.corrected(silhouette_correction(sure, CAMERA, torch.ones(64, 64)))
    points = (torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.5
    before, after = sure.density(points)[:, 0], corrected.density(points)[:, 0]
    assert ((before > 25) == (after > 25)).float().mean() > 0.97
    assert field.corrections == ()  # the field itself is as it was


def test_all_forms_of_a_corrected_field_agree(field):
    corrected = field.corrected(silhouette_correction(field, CAMERA, ring()))
    line = torch.linspace(-0.5, 0.5, 7)
    lattice = corrected.lattice(line[None], line[None], line[None])[0][0]
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
    assert torch.allclose(lattice, corrected.density(points)[..., 0], rtol=1e-3, atol=1e-4)

    slow = Field(field.triplane, field.decoder, field.renderer, dense=True)
    slow = slow.corrected(silhouette_correction(field, CAMERA, ring()))
    assert torch.allclose(slow.density(points), corrected.density(points), rtol=1e-3, atol=1e-4)
    fast, dense = extract_surface(corrected, 24), extract_surface(corrected, 24, dense=True)
    assert abs(len(fast.vertices) - len(dense.vertices)) <= 0.02 * len(dense.vertices)
