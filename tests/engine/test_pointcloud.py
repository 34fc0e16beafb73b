"""Clouds and 2.5D meshes of shapes whose geometry is known."""

import sys

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from dif3d_blender.engine import pointcloud
from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.pointcloud import PointCloud

RADIUS, SIZE = 0.5, 96


def ball_seen_by(camera, size=SIZE, padding=0):
    """Depth [h, w] along the axis, colours and mask of a ball round the origin, without `padding` pixels of rim."""
    origins, directions = (rays.double().numpy() for rays in camera.rays(size, size))
    half = (origins * directions).sum(axis=2)
    root = half**2 - (origins**2).sum(axis=2) + RADIUS**2
    mask = root > 0
    along = -half - np.sqrt(np.maximum(root, 0))
    depth = np.where(mask, along * -(directions @ camera.camera_to_world[:3, 2].double().numpy()), np.nan)
    points = origins + along[..., None] * directions
    colors = np.where(mask[..., None], points + 0.5, 0.0)
    inner = slice(padding, size - padding)
    return depth[inner, inner].astype(np.float32), colors[inner, inner], mask[inner, inner]


CAMERAS = [Camera(), Camera(elevation_deg=20, azimuth_deg=-10, distance=2.3, fovy_deg=32)]


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("padding", [0, 16])
def test_points_lie_on_what_was_seen(camera, padding):
    cloud = pointcloud.back_project(*ball_seen_by(camera, padding=padding), camera, padding)
    assert len(cloud) > 1000
    assert np.abs(np.linalg.norm(cloud.points, axis=1) - RADIUS).max() < 1e-5
    assert np.abs(cloud.colors - (cloud.points + 0.5)).max() < 1e-5, "each point has its own pixel's colour"


def test_points_without_depth_are_left_out():
    camera = Camera()
    depth, colors, mask = ball_seen_by(camera)
    rows = np.flatnonzero(mask.any(axis=1))
    depth[rows[5]], depth[rows[6]], depth[rows[7]] = np.nan, np.inf, -1.0
    cloud = pointcloud.back_project(depth, colors, mask, camera)
    assert len(cloud) == mask.sum() - mask[rows[5:8]].sum() and np.isfinite(cloud.points).all()
    with pytest.raises(DIF3DError, match=r"no 2\.5D point cloud"):
        pointcloud.back_project(depth * np.nan, colors, mask, camera)
    with pytest.raises(DIF3DError, match=r"no 2\.5D point cloud"):
        pointcloud.back_project(depth, colors, np.zeros_like(mask), camera)


def test_outliers_go_and_the_rest_stays():
    camera = Camera()
    cloud = pointcloud.back_project(*ball_seen_by(camera), camera)
    stray = np.random.default_rng(0).uniform(-0.85, 0.85, (40, 3)).astype(np.float32)
    stray = stray[np.abs(np.linalg.norm(stray, axis=1) - RADIUS) > 0.15]
    both = PointCloud(np.concatenate([cloud.points, stray]), np.concatenate([cloud.colors, stray]))
    kept = pointcloud.remove_outliers(both)
    assert (np.abs(np.linalg.norm(kept.points, axis=1) - RADIUS) < 1e-4).all()
    assert len(kept) > 0.95 * len(cloud)


def test_outliers_are_those_of_open3d():
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(0, 0.1, (800, 3)), rng.uniform(-1, 1, (50, 3))]).astype(np.float32)
    ours = pointcloud.remove_outliers(PointCloud(points, points), neighbours=20, ratio=1.0)
    reference = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    _, kept = reference.remove_statistical_outlier(nb_neighbors=21, std_ratio=1.0)  # it counts the point itself
    assert abs(len(ours) - len(kept)) <= 3


def test_normals_point_out_and_to_the_camera():
    camera = Camera(elevation_deg=15)
    cloud = pointcloud.back_project(*ball_seen_by(camera), camera)
    eye = camera.camera_to_world[:3, 3].numpy()
    normals = pointcloud.with_normals(cloud, eye).normals
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (((eye - cloud.points) * normals).sum(axis=1) >= 0).all()
    cosine = (normals * cloud.points / RADIUS).sum(axis=1)
    assert np.median(cosine) > 0.999 and (cosine > 0.95).mean() > 0.95
    with pytest.raises(DIF3DError, match="too small"):
        pointcloud.with_normals(cloud[:2], eye)


@pytest.mark.parametrize("camera", CAMERAS)
def test_relief_is_the_seen_side_turned_to_the_camera(camera):
    depth, colors, mask = ball_seen_by(camera, padding=8)
    mesh = pointcloud.relief_mesh(depth, colors, mask, camera, padding=8)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS).max() < 1e-5
    read = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    eye = camera.camera_to_world[:3, 3].numpy()
    assert (((eye - read.triangles_center) * read.face_normals).sum(axis=1) > 0).all()
    half = 2 * np.pi * RADIUS**2 * (1 - RADIUS / camera.distance)  # the cap that a point camera sees
    assert 0.75 * half < read.area < 1.02 * half
    assert np.abs(mesh.colors - (mesh.vertices + 0.5)).max() < 1e-5


def test_relief_does_not_bridge_gaps():
    depth = np.full((20, 20), 1.5, dtype=np.float32)
    depth[:, 10:] = 2.6
    mesh = pointcloud.relief_mesh(depth, np.zeros((20, 20, 3)), np.ones((20, 20), dtype=bool), Camera())
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).body_count == 2
    alone = np.zeros((20, 20), dtype=bool)
    alone[::2, ::2] = True
    with pytest.raises(DIF3DError, match="too small or too broken"):
        pointcloud.relief_mesh(depth, np.zeros((20, 20, 3)), alone, Camera())


def test_poisson_stays_where_the_points_are():
    pytest.importorskip("open3d", exc_type=ImportError)
    camera = Camera()
    cloud = pointcloud.back_project(*ball_seen_by(camera), camera)
    cloud = pointcloud.with_normals(cloud, camera.camera_to_world[:3, 3].numpy())
    mesh = pointcloud.poisson_mesh(cloud, depth=6)
    assert cKDTree(cloud.points).query(mesh.vertices)[0].max() < 0.1, "the made-up back is cut off"
    assert np.median(np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS)) < 0.005
    read = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert (read.face_normals * read.triangles_center).sum(axis=1).mean() > 0
    with pytest.raises(DIF3DError, match="too small for a surface"):
        pointcloud.poisson_mesh(cloud[:10])


def test_a_missing_open3d_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)  # makes the import fail as if it were not installed
    with pytest.raises(pointcloud.Open3DUnavailable, match="pip install open3d"):
        pointcloud.import_open3d()


def test_pcd_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    points, colors, normals = (rng.random((50, 3)).astype(np.float32) for _ in range(3))
    pointcloud.write_pcd(tmp_path / "cloud.pcd", PointCloud(points, colors, normals))
    header, rows = (tmp_path / "cloud.pcd").read_bytes().split(b"DATA binary\n", 1)
    assert b"FIELDS x y z normal_x normal_y normal_z rgb\n" in header and b"POINTS 50\n" in header
    table = np.frombuffer(rows, dtype="<f4").reshape(50, 7)
    packed = np.ascontiguousarray(table[:, 6]).view(np.uint32)
    assert np.array_equal(table[:, :3], points) and np.array_equal(table[:, 3:6], normals)
    channels = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    assert np.array_equal(channels, np.round(colors * 255))


def test_pcd_is_read_by_open3d(tmp_path):
    o3d = pytest.importorskip("open3d", exc_type=ImportError)
    rng = np.random.default_rng(0)
    cloud = PointCloud(*(rng.random((50, 3)).astype(np.float32) for _ in range(3)))
    pointcloud.write_pcd(tmp_path / "cloud.pcd", cloud)
    read = o3d.io.read_point_cloud(str(tmp_path / "cloud.pcd"))
    assert np.allclose(np.asarray(read.points), cloud.points)
    assert np.allclose(np.asarray(read.normals), cloud.normals)
    assert np.abs(np.asarray(read.colors) - cloud.colors).max() <= 0.5 / 255 + 1e-6
