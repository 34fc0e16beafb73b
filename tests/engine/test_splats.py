"""Files of Gaussian clouds, read back by the rules of their formats."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.gaussians import GaussianCloud
from dif3d_blender.engine.splats import SH_DC, save_gaussians, write_ply, write_splat_glb

LOW, HIGH, SIZE = -0.5, 0.5, 2.0
PLY_FRAME = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])  # x right, y down, z away from the viewer
GLB_FRAME = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # x right, y up, z toward the viewer


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    rotation = rng.normal(size=(301, 4))
    return GaussianCloud(
        *(rng.uniform(-0.5, 0.5, (301, 3)).astype(np.float32), rng.uniform(0.001, 0.02, (301, 3)).astype(np.float32)),
        (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).astype(np.float32),
        *(rng.uniform(0.5, 0.99, 301).astype(np.float32), rng.random((301, 3)).astype(np.float32)),
        rng.random(301) < 0.5,
    )


def read_ply(path):
    """Read a binary PLY of floats back: {name: column}."""
    raw = path.read_bytes()
    head, body = raw.split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
    names = [line.split()[-1] for line in lines if line.startswith("property float")]
    return dict(zip(names, np.frombuffer(body, "<f4").reshape(count, len(names)).T, strict=True))


def covariance(quaternion, scale):
    """Of Gaussians with these axes: [n, 3, 3]; quaternions w first."""
    axes = Rotation.from_quat(quaternion[:, [1, 2, 3, 0]]).as_matrix() * scale[:, None]
    return axes @ axes.transpose(0, 2, 1)


def check_shapes(cloud, frame, position, scale, rotation):
    """Positions and covariances are the cloud's own, turned to the file's frame, in metres from the floor."""
    expected = (cloud.position - [0, 0, LOW]) @ frame.T * SIZE / (HIGH - LOW)
    np.testing.assert_allclose(position, expected, atol=1e-5)
    expected = frame @ covariance(cloud.rotation, cloud.scale * SIZE / (HIGH - LOW)) @ frame.T
    np.testing.assert_allclose(covariance(rotation, scale), expected, atol=1e-4 * expected.max())


def test_ply_reads_back(tmp_path, cloud):
    write_ply(tmp_path / "cloud.ply", cloud, (LOW, HIGH), SIZE)
    read = read_ply(tmp_path / "cloud.ply")
    names = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
    assert " ".join(read) == names
    columns = {name: np.stack([read[key] for key in names.split() if key.startswith(name)], 1) for name in "nrs"}
    position = np.stack([read["x"], read["y"], read["z"]], axis=1)
    check_shapes(cloud, PLY_FRAME, position, np.exp(columns["s"]), columns["r"])
    np.testing.assert_allclose(columns["n"], cloud.normals @ PLY_FRAME.T, atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-read["opacity"])), cloud.opacity, atol=1e-5)
    color = np.stack([read[f"f_dc_{i}"] for i in range(3)], axis=1) * SH_DC + 0.5
    np.testing.assert_allclose(color, cloud.color, atol=1e-5)


def test_glb_reads_back(tmp_path, cloud):
    write_splat_glb(tmp_path / "cloud.glb", cloud, (LOW, HIGH), SIZE)
    raw = (tmp_path / "cloud.glb").read_bytes()
    length = int.from_bytes(raw[12:16], "little")
    tree, binary = json.loads(raw[20 : 20 + length]), raw[28 + length :]
    assert tree["extensionsUsed"] == ["KHR_gaussian_splatting"]
    (primitive,) = tree["meshes"][0]["primitives"]
    assert primitive["mode"] == 0, "points"
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
    }

    def read(name):
        accessor = tree["accessors"][primitive["attributes"][name]]
        view = tree["bufferViews"][accessor["bufferView"]]
        kind = {5126: np.dtype("<f4"), 5123: np.dtype("<u2")}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert accessor["count"] == len(cloud) and view["byteLength"] == len(cloud) * width * kind.itemsize
        assert view["byteOffset"] % 4 == 0
        return np.frombuffer(binary, kind, len(cloud) * width, view["byteOffset"]).reshape(-1, width)

    splats = "KHR_gaussian_splatting:"
    rotation = read(splats + "ROTATION")[:, [3, 0, 1, 2]]
    np.testing.assert_allclose(np.linalg.norm(rotation, axis=1), 1, atol=1e-6)
    check_shapes(cloud, GLB_FRAME, read("POSITION"), read(splats + "SCALE"), rotation)
    np.testing.assert_allclose(read(splats + "OPACITY")[:, 0], cloud.opacity)
    np.testing.assert_allclose(read(splats + "SH_DEGREE_0_COEF_0") * SH_DC + 0.5, cloud.color, atol=1e-5)
    linear = np.where(cloud.color < 0.04045, cloud.color / 12.92, ((cloud.color + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(read("COLOR_0") / 65535, np.c_[linear, cloud.opacity], atol=1e-5)


@pytest.mark.parametrize("write", [write_ply, write_splat_glb])
@pytest.mark.parametrize("key", ["position", "scale", "rotation", "opacity", "color"])
def test_what_is_not_finite_is_refused(tmp_path, cloud, write, key):
    broken = getattr(cloud, key).copy()
    broken[7] = np.nan
    with pytest.raises(DIF3DError, match="not finite"):
        write(tmp_path / "cloud", dataclasses.replace(cloud, **{key: broken}), (LOW, HIGH))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_ply, write_splat_glb])
def test_an_empty_cloud_is_refused(tmp_path, cloud, write):
    empty = GaussianCloud(**{key: value[:0] for key, value in cloud.__dict__.items()})
    with pytest.raises(DIF3DError, match="empty"):
        write(tmp_path / "cloud", empty, (LOW, HIGH))


def test_arrays_for_blender(tmp_path, cloud):
    paths = save_gaussians(tmp_path, cloud)
    assert sorted(paths) == sorted(f"gaussians_{key}" for key in cloud.__dict__)
    for name, path in paths.items():
        assert np.array_equal(np.load(path), getattr(cloud, name.removeprefix("gaussians_")))
