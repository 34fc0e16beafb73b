"""Gaussian clouds as files: arrays for Blender, and the PLY and GLB that splat viewers and converters read.

The PLY's layout is that of Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023; the
GLB's is glTF 2.0 with the extension KHR_gaussian_splatting.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .errors import DIF3DError
from .export import Y_UP, save_array
from .files import atomic_path
from .gaussians import GaussianCloud, rotations
from .glb import GlbWriter

SH_DC = 0.28209479177387814  # the constant spherical harmonic, 1 / (2·√π)

# Rows give the axes of a splat PLY in the field's axes: x right, y down, z away from the viewer, as 3DGS trains them
# (COLMAP's cameras), so that viewers show the object upright with its front toward them.
_Y_DOWN = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], dtype=np.float64)
_PLY_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_SPLATS = "KHR_gaussian_splatting"


def save_gaussians(folder: Path | str, cloud: GaussianCloud) -> dict[str, Path]:
    """Write `gaussians_position.npy` … `gaussians_observed.npy` for Blender; return the paths by those names."""
    paths = {}
    for key in ("position", "scale", "rotation", "opacity", "color", "observed"):
        paths[f"gaussians_{key}"] = Path(folder) / f"gaussians_{key}.npy"
        save_array(paths[f"gaussians_{key}"], getattr(cloud, key))
    return paths


def write_ply(path: Path | str, cloud: GaussianCloud, height: tuple[float, float], size: float = 1.0) -> None:
    """Write a cloud as 3DGS writes its results.

    Binary little-endian PLY; the logarithm of the standard deviations, the logit of the opacity, colours as the
    constant spherical harmonic, quaternions w first. Axes: x right, y down, z away from the viewer, in metres.

    Args:
        path: the final name.
        cloud: at least one Gaussian.
        height: the mesh's lowest and highest z in the field frame.
        size: what that height becomes, in metres; the lowest point comes to y = 0.

    Raises:
        DIF3DError: the cloud is empty or not finite, or the folder can't be written.
    """
    position, scale, rotation = _placed(path, cloud, height, size, _Y_DOWN)
    opacity = np.clip(cloud.opacity.astype(np.float64), 1e-4, 1 - 1e-4)
    columns = [
        position,
        cloud.normals @ _Y_DOWN.T,
        _harmonic(cloud),
        np.log(opacity / (1 - opacity))[:, None],
        np.log(scale),
        rotation[:, [3, 0, 1, 2]],
    ]
    rows = np.concatenate(columns, axis=1).astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for name in _PLY_FIELDS] + ["end_header\n"]
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(header).encode() + rows.tobytes())


def write_splat_glb(path: Path | str, cloud: GaussianCloud, height: tuple[float, float], size: float = 1.0) -> None:
    """Write a cloud as a binary glTF with KHR_gaussian_splatting. Readers without it show coloured points.

    Arguments and errors as for `write_ply`. Axes: glTF's, as for the mesh. Standard deviations and opacities are stored
    as they are, quaternions w last.
    """
    position, scale, rotation = _placed(path, cloud, height, size, Y_UP)
    glb = GlbWriter()
    attributes = {
        "POSITION": glb.add_positions(position),
        "COLOR_0": glb.add_colors(cloud.color, cloud.opacity),
        f"{_SPLATS}:ROTATION": glb.add(rotation, "VEC4"),
        f"{_SPLATS}:SCALE": glb.add(scale, "VEC3"),
        f"{_SPLATS}:OPACITY": glb.add(np.clip(cloud.opacity, 0.0, 1.0), "SCALAR"),
        f"{_SPLATS}:SH_DEGREE_0_COEF_0": glb.add(_harmonic(cloud), "VEC3"),
    }
    splats = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    points = {"attributes": attributes, "mode": 0, "extensions": {_SPLATS: splats}}
    with atomic_path(path) as temporary:
        temporary.write_bytes(glb.bytes(points, extensionsUsed=[_SPLATS]))


def _placed(
    path: Path | str, cloud: GaussianCloud, height: tuple[float, float], size: float, frame: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [n, 3], standard deviations [n, 3], both in metres, and quaternions [n, 4] (w last) in a file's frame.

    Raises:
        DIF3DError: there are none, or not all numbers are finite.
    """
    arrays = (cloud.position, cloud.scale, cloud.rotation, cloud.opacity, cloud.color)
    if not len(cloud) or not all(np.isfinite(array).all() for array in arrays):
        raise DIF3DError(f"The Gaussian cloud is empty or has numbers that are not finite: {path} was not written.")
    low, high = height
    to_metres = size / ((high - low) or 1.0)
    position = (cloud.position.astype(np.float64) - [0, 0, low]) * to_metres @ frame.T
    scale = cloud.scale.astype(np.float64).clip(1e-12) * to_metres
    return position, scale, (Rotation.from_matrix(frame) * rotations(cloud.rotation)).as_quat()


def _harmonic(cloud: GaussianCloud) -> np.ndarray:
    """The colours [n, 3] as coefficients of the constant spherical harmonic."""
    return (cloud.color.astype(np.float64) - 0.5) / SH_DC
