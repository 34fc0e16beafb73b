"""Clouds of points on what one camera sees: from a depth map to points, normals and a 2.5D mesh, in the field frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from .cameras import Camera
from .errors import DIF3DError
from .files import atomic_path

_FEWEST = 50  # points; fewer make no surface
_STEEPEST = 8.0  # a triangle of the relief with an edge of more than this many pixels bridges a gap in depth


@dataclass(frozen=True)
class PointCloud:
    """Points [n, 3] in the field frame, colours [n, 3] (sRGB in [0, 1]) and, where known, unit normals [n, 3]."""

    points: np.ndarray
    colors: np.ndarray
    normals: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: np.ndarray) -> PointCloud:
        """The points that an index or mask array chooses."""
        normals = None if self.normals is None else self.normals[chosen]
        return PointCloud(self.points[chosen], self.colors[chosen], normals)


@dataclass(frozen=True)
class ColoredMesh:
    """Vertices [n, 3] in the field frame, faces [m, 3], colours [n, 3] (sRGB in [0, 1])."""

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


class Open3DUnavailable(DIF3DError):
    """Open3D is missing or can't be loaded; the message says what to install."""


def back_project(
    depth: np.ndarray, colors: np.ndarray, mask: np.ndarray, camera: Camera, padding: int = 0
) -> PointCloud:
    """Turn a depth map into points.

    Args:
        depth: [h, w], distances along the optical axis in the field's units.
        colors: [h, w, 3], sRGB in [0, 1].
        mask: [h, w] bool, where the subject is. Pixels of unknown depth (not finite or not positive) are left out.
        camera: the one that the picture was taken with; its field of view spans the picture before the crop.
        padding: pixels that were cropped from each side of the camera's picture.

    Raises:
        DIF3DError: no pixel is left.
    """
    positions = _positions(depth, camera, padding)
    chosen = mask & np.isfinite(depth) & (depth > 0)
    if not chosen.any():
        raise DIF3DError(
            "The depth map has no usable pixel inside the subject's mask, so there is no 2.5D point cloud. The model "
            "is made without it."
        )
    return PointCloud(positions[chosen].astype(np.float32), colors[chosen].astype(np.float32))


def _positions(depth: np.ndarray, camera: Camera, padding: int) -> np.ndarray:
    """Return the points [h, w, 3] that the pixels of a depth map show."""
    height, width = depth.shape[0] + 2 * padding, depth.shape[1] + 2 * padding
    origins, directions = (rays.double().numpy() for rays in camera.rays(height, width))
    inner = (slice(padding, height - padding), slice(padding, width - padding))
    forward = -camera.camera_to_world[:3, 2].double().numpy()
    along = depth / (directions[inner] @ forward)  # from a distance along the axis to one along the ray
    return origins[inner] + along[..., None] * directions[inner]


def remove_outliers(cloud: PointCloud, neighbours: int = 20, ratio: float = 2.0) -> PointCloud:
    """Drop points that lie far from others, by the statistics of all.

    A point goes when its mean distance to its `neighbours` nearest is more than `ratio` standard deviations above the
    mean of all (Rusu et al., "Towards 3D point cloud based object maps for household environments", 2008).
    """
    if len(cloud) <= neighbours:
        return cloud
    distances, _ = cKDTree(cloud.points).query(cloud.points, k=neighbours + 1, workers=-1)
    mean = distances[:, 1:].mean(axis=1)
    return cloud[mean <= mean.mean() + ratio * mean.std()]


def with_normals(cloud: PointCloud, viewpoint: np.ndarray, neighbours: int = 24) -> PointCloud:
    """Return the cloud with the normals of planes through each point's neighbours, turned toward `viewpoint` [3]."""
    if len(cloud) < 3:
        raise DIF3DError(f"A cloud of {len(cloud)} points has no normals: the subject is too small.")
    count = min(neighbours, len(cloud))
    _, indices = cKDTree(cloud.points).query(cloud.points, k=count, workers=-1)
    normals = np.empty((len(cloud), 3), dtype=np.float32)
    for start in range(0, len(cloud), 50_000):  # the neighbourhoods of all points at once would take gigabytes
        near = cloud.points[indices[start : start + 50_000]].astype(np.float64)
        near -= near.mean(axis=1, keepdims=True)
        _, axes = np.linalg.eigh(near.transpose(0, 2, 1) @ near)
        normals[start : start + 50_000] = axes[:, :, 0]  # the direction of least spread
    away = ((np.asarray(viewpoint) - cloud.points) * normals).sum(axis=1) < 0
    normals[away] *= -1
    return PointCloud(cloud.points, cloud.colors, normals)


def poisson_mesh(cloud: PointCloud, depth: int = 8) -> ColoredMesh:
    """Reconstruct the surface of a cloud with normals by Open3D (Kazhdan and Hoppe, "Screened Poisson Surface
    Reconstruction", 2013), cut back to where there are points.

    Raises:
        Open3DUnavailable: Open3D is missing or can't be loaded.
        DIF3DError: too few points for a surface.
    """
    o3d = import_open3d()
    if cloud.normals is None or len(cloud) < _FEWEST:
        raise DIF3DError(
            f"A cloud of {len(cloud)} points is too small for a surface (at least {_FEWEST}, with normals)."
        )
    source = o3d.geometry.PointCloud()
    source.points = o3d.utility.Vector3dVector(cloud.points.astype(np.float64))
    source.normals = o3d.utility.Vector3dVector(cloud.normals.astype(np.float64))
    source.colors = o3d.utility.Vector3dVector(cloud.colors.astype(np.float64))
    # One thread: with several, Open3D's solver now and then ends the whole process ("Failed to close loop").
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(source, depth=depth, n_threads=1)
    # Poisson closes every surface; what it made up beyond the rim lies far from all points.
    tree = cKDTree(cloud.points)
    spacing = np.median(tree.query(cloud.points[:: max(1, len(cloud) // 2000)], k=2)[0][:, 1])
    cell = 1.1 * np.ptp(cloud.points, axis=0).max() / 2**depth
    distance, _ = tree.query(np.asarray(mesh.vertices), workers=-1)
    mesh.remove_vertices_by_mask(distance > 2.5 * max(spacing, cell))
    if len(mesh.triangles) == 0:
        raise DIF3DError("Poisson reconstruction found no surface in the point cloud.")
    colors = np.clip(np.asarray(mesh.vertex_colors), 0.0, 1.0)
    return ColoredMesh(
        np.asarray(mesh.vertices).astype(np.float32),
        np.asarray(mesh.triangles).astype(np.int32),
        colors.astype(np.float32),
    )


def relief_mesh(
    depth: np.ndarray, colors: np.ndarray, mask: np.ndarray, camera: Camera, padding: int = 0
) -> ColoredMesh:
    """Return the depth map's own triangles: neighbouring pixels joined wherever no gap in depth lies between them.

    Arguments as for `back_project`. It needs no library, but is rougher than Poisson's.

    Raises:
        DIF3DError: no two neighbouring pixels belong together.
    """
    known = mask & np.isfinite(depth) & (depth > 0)
    height, width = depth.shape
    positions = _positions(np.where(known, depth, np.nan), camera, padding).reshape(-1, 3)
    number = np.arange(height * width).reshape(height, width)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])  # turned to the camera
    faces = faces[known.ravel()[faces].all(axis=1)]
    corners = positions[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    pixel = depth.ravel()[faces].mean(axis=1) * 2 * np.tan(np.radians(camera.fovy_deg) / 2) / (height + 2 * padding)
    faces = faces[longest < _STEEPEST * pixel]
    if len(faces) == 0:
        raise DIF3DError("The depth map is too small or too broken for a 2.5D mesh.")
    used, faces = np.unique(faces, return_inverse=True)
    return ColoredMesh(
        positions[used].astype(np.float32),
        faces.reshape(-1, 3).astype(np.int32),
        colors.reshape(-1, 3)[used].astype(np.float32),
    )


def import_open3d():
    """Return the open3d module.

    Raises:
        Open3DUnavailable: it is not installed, or a system library that it needs is missing.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise Open3DUnavailable("Open3D is not installed (pip install open3d; Python 3.11 to 3.13).") from error
    except (ImportError, OSError) as error:
        raise Open3DUnavailable(
            f"Open3D can't be loaded ({error}). On Debian or Ubuntu: sudo apt install libusb-1.0-0 libgl1 libgomp1"
        ) from error
    return open3d


def write_pcd(path: Path | str, cloud: PointCloud) -> None:
    """Write a cloud as a binary PCD file, version 0.7 (pointclouds.org/documentation/tutorials/pcd_file_format.html).

    Points stay in the field frame. Colours are packed as 0x00RRGGBB into the bits of a float, as the format's readers
    expect.
    """
    names, columns = ["x", "y", "z"], [cloud.points]
    if cloud.normals is not None:
        names, columns = [*names, "normal_x", "normal_y", "normal_z"], [*columns, cloud.normals]
    red, green, blue = np.round(np.clip(cloud.colors, 0.0, 1.0) * 255.0).astype(np.uint32).T
    packed = (red << 16 | green << 8 | blue).view(np.float32)[:, None]
    names, columns = [*names, "rgb"], [*columns, packed]
    rows = np.concatenate([np.asarray(column, dtype="<f4") for column in columns], axis=1)
    count = len(names)
    header = "\n".join(
        [
            "# .PCD v0.7 - Point Cloud Data file format",
            "VERSION 0.7",
            f"FIELDS {' '.join(names)}",
            f"SIZE {' '.join(['4'] * count)}",
            f"TYPE {' '.join(['F'] * count)}",
            f"COUNT {' '.join(['1'] * count)}",
            f"WIDTH {len(rows)}",
            "HEIGHT 1",
            "VIEWPOINT 0 0 0 1 0 0 0",
            f"POINTS {len(rows)}",
            "DATA binary\n",
        ]
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode() + rows.tobytes())
