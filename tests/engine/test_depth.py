"""Depth maps: GLPN by transformers' own classes at a tiny size, the field's own view, and what goes wrong."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_glpn import write_glpn

from dif3d_blender.engine import depth
from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.errors import DIF3DError


class Ball:
    """A field whose density falls off smoothly from its centre, as a stand-in for a network's."""

    device = torch.device("cpu")
    radius = 0.87
    plane_size = 32

    def __init__(self, centre=(0.1, -0.2, 0.15), size=0.4):
        self.centre, self.size = torch.tensor(centre), size

    def density(self, points):
        distance = (points - self.centre).norm(dim=-1, keepdim=True)
        return 25.0 * torch.exp(20.0 * (self.size - distance))  # 25 on the ball's surface

    def lattice(self, x, y, z):
        x, y, z = torch.broadcast_tensors(x[:, :, None, None], y[:, None, :, None], z[:, None, None, :])
        points = torch.stack([x, y, z], dim=-1)
        return self.density(points)[..., 0], torch.zeros_like(points)


def ball_depth(ball, camera, height, width):
    """Where rays hit the ball, by the quadratic formula."""
    origins, directions = (rays.double() for rays in camera.rays(height, width))
    offset = origins - ball.centre
    half = (offset * directions).sum(dim=-1)
    root = half**2 - (offset**2).sum(dim=-1) + ball.size**2
    along = torch.where(root >= 0, -half - root.clamp_min(0).sqrt(), torch.nan)
    return (along * -(directions @ camera.camera_to_world[:3, 2].double())).numpy()


@pytest.mark.parametrize("camera", [Camera(), Camera(elevation_deg=25, azimuth_deg=-8, distance=2.2, fovy_deg=33)])
def test_field_depth_is_the_surface_s(camera):
    ball = Ball()
    found, wanted = depth.field_depth(ball, camera, 60, 48), ball_depth(ball, camera, 60, 48)
    assert found.shape == (60, 48) and found.dtype == np.float32
    assert (np.isnan(found) != np.isnan(wanted)).mean() < 0.01
    assert np.nanmax(np.abs(found - wanted)) < 2e-3 and np.nanmean(np.abs(found - wanted)) < 1e-4


def test_field_depth_of_a_network(shared):
    """The same as looking at many samples of every ray."""
    from dif3d_blender.engine import TSR
    from dif3d_blender.engine.field import Field

    model = TSR.from_pretrained(shared / "reference" / "fitted")
    with np.load(shared / "reference" / "fitted" / "golden.npz") as golden:
        code = torch.from_numpy(golden["scene_codes"]).reshape(-1, *golden["scene_codes"].shape[-4:])[0]
    field = Field(code, model.decoder, model.renderer)
    camera, size, samples = Camera(elevation_deg=10), 16, 500
    found = depth.field_depth(field, camera, size, size)

    origins, directions = camera.rays(size, size)
    along = torch.linspace(1.0, 2.8, samples)
    points = origins[:, :, None] + along[:, None] * directions[:, :, None]
    inside = (field.density(points)[..., 0] >= 25) & (points.abs() < 0.869).all(dim=-1)
    wanted = torch.where(inside.any(dim=-1), along[inside.float().argmax(dim=-1)], torch.nan)
    wanted = wanted * -(directions @ camera.camera_to_world[:3, 2])
    both = np.isfinite(found) & np.isfinite(wanted.numpy())
    assert both.sum() > 30 and (np.isfinite(found) != np.isfinite(wanted.numpy())).sum() <= 2
    assert np.median(np.abs(found - wanted.numpy())[both]) < 1.8 / samples
    assert (np.abs(found - wanted.numpy())[both] < 2 * 1.8 / samples).mean() > 0.95


# ---------------------------------------------------------------------------------------------------------------- GLPN


@pytest.fixture(scope="module")
def glpn_folder(tmp_path_factory):
    return write_glpn(tmp_path_factory.mktemp("glpn"))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (512, 512)),
        ((600, 900), (352, 512)),
        ((100, 90), (96, 96)),
        ((1, 300), (32, 288)),
        ((40, 40), (32, 32)),
    ],
)
def test_sizes_are_multiples_of_32_of_the_same_aspect(size, expected):
    assert depth.depth_size(*size) == expected


def test_glpn_from_a_folder(glpn_folder):
    from transformers import GLPNForDepthEstimation

    glpn = depth.load_glpn(glpn_folder)
    image = np.random.default_rng(0).random((70, 130, 3)).astype(np.float32)
    found = depth.estimate_depth(image, glpn)
    assert found.shape == (64, 128) and found.dtype == np.float32 and np.isfinite(found).all()

    pixels = depth.resize_picture(image, (64, 128))  # the reference: the network itself, by hand
    pixels = torch.from_numpy(np.round(pixels * 255) / 255).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        wanted = GLPNForDepthEstimation.from_pretrained(glpn_folder).eval()(pixels).predicted_depth[0].numpy()
    assert np.abs(found - wanted).max() < 1e-4


def test_missing_and_broken_glpn_files(glpn_folder, tmp_path):
    def copy(name):
        folder = tmp_path / name
        folder.mkdir()
        for file in glpn_folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    truncated, settings, other, lacking = copy("truncated"), copy("settings"), copy("other"), copy("lacking")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    (settings / "config.json").write_text("{not json")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_sizes": [16, 16, 16, 16]}))
    from safetensors.torch import load_file, save_file

    tensors = load_file(lacking / "model.safetensors")
    save_file(
        {name: t for name, t in tensors.items() if "decoder" not in name},
        lacking / "model.safetensors",
        {"format": "pt"},
    )
    for name in (truncated, settings, other, lacking):
        with pytest.raises(depth.DepthUnavailable, match="can't be used") as raised:
            depth.load_glpn(name)
        assert str(name) in str(raised.value) and "\n" not in str(raised.value)
    for name in (tmp_path / "nothing", "nobody/no-such-model"):
        with pytest.raises(depth.DepthUnavailable, match="not on this machine, and downloading is not allowed"):
            depth.load_glpn(name)


# ---------------------------------------------------------------------------------------------------------- depth maps


def test_crop_padding():
    array = np.arange(48.0).reshape(6, 8)
    assert np.array_equal(depth.crop_padding(array, 2), array[2:4, 2:6])
    assert np.array_equal(depth.crop_padding(array, 0), array)
    for padding in (3, -1):
        with pytest.raises(DIF3DError, match="Choose one from 0 to 2"):
            depth.crop_padding(array, padding)


def test_useless_depth_is_named():
    good, mask = np.linspace(1, 2, 100, dtype=np.float32).reshape(10, 10), np.ones((10, 10), dtype=bool)
    assert depth.check_depth(good, mask, "here") == ""
    partly = good.copy()
    partly[0, :5] = np.nan
    assert depth.check_depth(partly, mask, "here") == "5% of the subject has no depth from here and was left out."
    for bad in (np.full_like(good, np.nan), np.full_like(good, np.inf), -good, np.zeros_like(good)):
        with pytest.raises(depth.DepthUnavailable, match="missing, not finite or not positive"):
            depth.check_depth(bad, mask, "here")
    with pytest.raises(depth.DepthUnavailable, match="the same everywhere"):
        depth.check_depth(np.full_like(good, 3.0), mask, "here")
    with pytest.raises(DIF3DError, match="mask is empty"):
        depth.check_depth(good, ~mask, "here")


def test_scaling_to_the_camera_s_distance():
    metres = np.array([[2.0, 4.0], [6.0, 100.0]])
    scaled = depth.to_distance(metres, np.array([[True, True], [True, False]]), 1.9)
    assert np.allclose(scaled, metres * 1.9 / 4)


def test_saved_depth_keeps_its_values(tmp_path):
    values = np.array([[0.5, 1.2345], [np.nan, 70.0]], dtype=np.float32)
    paths = depth.save_depth(tmp_path, values)
    assert np.array_equal(np.load(paths["depth"]), values, equal_nan=True)
    assert np.asarray(Image.open(paths["depth_png"])).tolist() == [[500, 1234], [0, 65535]]  # millimetres, no wrapping
    assert Image.open(paths["depth_color"]).mode == "RGB"


def test_coloured_depth_is_brighter_where_it_is_nearer():
    picture = depth.color_depth(np.linspace(1, 3, 50)[None].repeat(4, axis=0)).astype(float)
    lightness = picture @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[0]) <= 1e-9).all() and lightness[0, 0] > 2 * lightness[0, -1]


def test_comparison_shows_both(tmp_path):
    image = np.zeros((20, 30, 3))
    image[..., 0] = 1.0
    depth.save_comparison(tmp_path / "both.png", image, np.random.default_rng(0).random((20, 30)))
    picture = Image.open(tmp_path / "both.png")
    assert picture.size == (60, 20) and picture.getpixel((3, 3)) == (255, 0, 0)


def test_enlarged_depth_is_linear_on_surfaces_and_keeps_edges_and_unknowns():
    rows = np.mgrid[:16, :16][0].astype(np.float32)
    small = 1.5 + 0.004 * rows
    small[:, 8:] += 0.5
    small[:4] = np.nan
    large = depth.enlarge_depth(small, 32, 32)
    assert large.shape == (32, 32)
    assert np.array_equal(np.isnan(large), np.repeat(np.repeat(np.isnan(small), 2, 0), 2, 1))
    expected = 1.5 + 0.004 * ((np.arange(32) + 0.5) / 2 - 0.5)
    assert np.allclose(large[10:31, :15], expected[10:31, None], atol=1e-5)  # column 15 lies at the edge: nearest
    assert not ((large > 1.65) & (large < 1.95)).any()  # nothing floats between the two surfaces
