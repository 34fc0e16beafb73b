"""A cloud of 3D Gaussians on an object's surface: what the picture shows in its own colours, the rest in the field's.

Every Gaussian lies on the surface that the mesh has too, so there is no second layer where the picture's part and the
field's meet: it is one even covering of one surface, and each Gaussian knows which of the two it is from. They are
discs, flat along the normal, as wide as the gaps to their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from .depth import field_depth, resize_picture
from .errors import DIF3DError
from .field import Field
from .isosurface import Surface
from .occupancy import Occupancy
from .pointcloud import back_project
from .projection import Photo, matched_exposure, project

COUNT = 50_000  # Gaussians wanted: fine enough for an object that fills a screen

_FACING = 0.35  # cosine between the normal and the way to the camera; on flatter surfaces pixels lie too far apart
_APART = 0.72  # of the spacing: no two Gaussians are nearer; random ones then come to about one a square of the spacing
_DRAWN = 6  # random points drawn for each Gaussian wanted: enough that few gaps are left to fill
_NEIGHBOURS = 8
_WIDTH = 0.66  # standard deviation over the spread of the neighbours: discs of 1.6 of them leave no pinholes
_FLATNESS = 0.15  # standard deviation along the normal over the smaller one across
_SURE, _UNSURE = 0.99, 0.6  # opacity of what the picture shows, and the least opacity of what the field only guesses


@dataclass(frozen=True)
class GaussianCloud:
    """`n` Gaussians in the field frame.

    Attributes:
        position: [n, 3] float32.
        scale: standard deviations along the Gaussians' own axes, [n, 3] float32; the last is along the normal.
        rotation: unit quaternions, w first, from their own axes to the field's, [n, 4] float32.
        opacity: [n] float32 in [0, 1].
        color: [n, 3] float32, sRGB in [0, 1].
        observed: whether the picture shows it and gives its colour, [n] bool.
    """

    position: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    opacity: np.ndarray
    color: np.ndarray
    observed: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    @property
    def normals(self) -> np.ndarray:
        """The Gaussians' last axes: unit normals of the surface [n, 3]."""
        return rotations(self.rotation).as_matrix()[:, :, 2].astype(np.float32)


def cover_surface(
    field: Field,
    surface: Surface,
    photo: Photo | None,
    threshold: float = 25.0,
    occupancy: Occupancy | None = None,
    count: int = COUNT,
    seed: int = 0,
) -> GaussianCloud:
    """Cover a surface with Gaussians.

    The pixels of the picture that show the surface well enough come first. What they leave is filled with points drawn
    evenly over the surface, hidden side, rim and the gaps between pixels alike.

    Args:
        field: gives the depth at the pixels, the colours where the picture shows nothing, and the opacity there.
        surface: of this field at density `threshold`.
        photo: the picture; None leaves the whole surface to the field.
        threshold: density at the surface.
        occupancy: the field's occupancy where it is known already.
        count: Gaussians wanted, within a fifth.
        seed: of the random points.

    Raises:
        DIF3DError: the surface has no area.
    """
    corners = surface.vertices[surface.faces].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    if not areas.sum() > 0:
        raise DIF3DError("The surface has no area, so there is nothing to cover with Gaussians.")
    spacing = float(np.sqrt(areas.sum() / count))
    points, normals = _draw(surface, areas, _DRAWN * count, np.random.default_rng(seed))
    first = 0
    pixels = None if photo is None else _pixel_points(field, surface, photo, spacing, threshold, occupancy)
    if pixels is not None and len(pixels):
        away, nearest = cKDTree(points).query(pixels, workers=-1)
        sight = photo.camera.camera_to_world[:3, 3].numpy() - pixels
        facing = (normals[nearest] * sight).sum(axis=1) > _FACING * np.linalg.norm(sight, axis=1)
        taken = facing & (away < spacing)  # the field may have specks that the surface was cleaned of
        first = int(taken.sum())
        points = np.concatenate([pixels[taken], points])
        normals = np.concatenate([normals[nearest[taken]], normals])
    # Two sides of a thin wall do not crowd each other: there, normals keep points apart.
    kept = spread_out(np.concatenate([points, normals * (spacing / 2)], axis=1), _APART * spacing, first)
    points, normals = points[kept], normals[kept]
    color = field.color(torch.from_numpy(points)).cpu().numpy()
    opacity = _confidence(field, points - 2 * spacing * normals)
    observed = np.zeros(len(points), dtype=bool)
    if photo is not None:
        seen, trust = project(photo, surface, points, normals)
        color = matched_exposure(color, seen, trust)
        color = color + (seen - color) * trust[:, None]
        observed = trust > 0.5
        opacity[observed] = _SURE
    scale, rotation = _discs(points, normals, spacing)
    return GaussianCloud(
        points, scale, rotation, opacity.astype(np.float32), np.clip(color, 0, 1).astype(np.float32), observed
    )


def spread_out(points: np.ndarray, distance: float, first: int = 0) -> np.ndarray:
    """Choose points no two of which are nearer than `distance`, as many as possible.

    A point goes where an earlier one that stays is nearer; of the `first` points, all stay. (Dart throwing: Cook 1986.
    All points that no earlier point can push out are settled at once, which gives what going through them one by one
    gives.)

    Args:
        points: [n, d].
        distance: the least distance of two points that stay.
        first: how many at the start stay in any case.

    Returns:
        The numbers of those that stay, ascending.
    """
    fixed, free = points[:first], points[first:]
    alive = np.ones(len(free), dtype=bool)
    if first:
        alive = ~np.isfinite(cKDTree(fixed).query(free, distance_upper_bound=distance, workers=-1)[0])
    number = np.flatnonzero(alive)
    pairs = cKDTree(free[number]).query_pairs(distance, output_type="ndarray") if len(number) else np.empty((0, 2), int)
    undecided, stays = np.ones(len(number), dtype=bool), np.zeros(len(number), dtype=bool)
    while undecided.any():  # pairs (i, j) with i < j
        pushed = np.zeros(len(number), dtype=bool)
        pushed[pairs[:, 1]] = True
        settled = undecided & ~pushed
        stays |= settled
        undecided &= ~settled
        undecided[pairs[settled[pairs[:, 0]], 1]] = False
        pairs = pairs[undecided[pairs].all(axis=1)]
    return np.concatenate([np.arange(first), first + number[stays]])


def _pixel_points(
    field: Field, surface: Surface, photo: Photo, spacing: float, threshold: float, occupancy: Occupancy | None
) -> np.ndarray:
    """The points [n, 3] of the surface that the picture's pixels show, at pixels as wide as the spacing."""
    depths = (
        np.linalg.inv(photo.camera.camera_to_world.double().numpy())[2]
        @ np.c_[surface.vertices, np.ones(len(surface.vertices))].T
    )
    front = np.percentile(-depths, 20)  # about where the front is: pixels are smaller there than at the origin
    width = 2 * front * np.tan(np.radians(photo.camera.fovy_deg) / 2)
    size = int(np.clip(round(width / spacing), 1, max(photo.mask.shape)))
    depth = field_depth(field, photo.camera, size, size, threshold, occupancy)
    known = (resize_picture(photo.mask, (size, size)) > 0.98) & np.isfinite(depth)
    if not known.any():
        return np.empty((0, 3), dtype=np.float32)
    return back_project(depth, resize_picture(photo.picture, (size, size)), known, photo.camera).points


def _draw(surface: Surface, areas: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn evenly over a surface with face areas [m], and its unit normals there: both [count, 3] float32."""
    faces = surface.faces[rng.choice(len(areas), count, p=areas / areas.sum())]
    a, b = rng.random((2, count, 1))
    over = a + b > 1  # the other half of the parallelogram
    a, b = np.where(over, 1 - a, a), np.where(over, 1 - b, b)
    weights = np.stack([1 - a - b, a, b], axis=1)  # [count, 3, 1]
    normals = (surface.normals[faces] * weights).sum(axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    return (surface.vertices[faces] * weights).sum(axis=1).astype(np.float32), normals.astype(np.float32)


def _confidence(field: Field, beneath: np.ndarray) -> np.ndarray:
    """Opacity [n] where only the field speaks: the renderer's own for one of its steps at points [n, 3] beneath."""
    density = field.density(torch.from_numpy(beneath))[:, 0].cpu().numpy()
    return np.clip(1 - np.exp(-density / field.renderer.cfg.num_samples_per_ray), _UNSURE, _SURE)


def _discs(points: np.ndarray, normals: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Scales [n, 3] and rotations [n, 4] of discs across the normals, as wide as their neighbours lie apart."""
    if len(points) == 1:
        near = np.zeros((1, 1, 3))
    else:
        neighbours = min(_NEIGHBOURS + 1, len(points))
        _, index = cKDTree(np.concatenate([points, normals * (spacing / 2)], axis=1)).query(
            np.concatenate([points, normals * (spacing / 2)], axis=1), k=neighbours, workers=-1
        )
        near = (points[index[:, 1:]] - points[:, None]).astype(np.float64)  # [n, k, 3]
    normals = normals.astype(np.float64)
    # A frame across the normal (Duff et al. 2017, "Building an Orthonormal Basis, Revisited").
    x, y, z = normals.T
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b = x * y * a
    across = np.stack(
        [np.stack([1 + sign * x * x * a, sign * b, -sign * x], 1), np.stack([b, sign + y * y * a, -y], 1)], axis=2
    )  # [n, 3, 2]
    flat = near @ across  # [n, k, 2]
    spread, axes = np.linalg.eigh(flat.transpose(0, 2, 1) @ flat / flat.shape[1])
    width = np.clip(_WIDTH * np.sqrt(spread.clip(0)), 0.25 * spacing, 1.5 * spacing)  # [n, 2], the smaller first
    frame = np.concatenate([across @ axes, normals[:, :, None]], axis=2)
    frame[:, :, 0] *= np.sign(np.linalg.det(frame))[:, None]
    scale = np.concatenate([width, _FLATNESS * width[:, :1]], axis=1)
    return scale.astype(np.float32), Rotation.from_matrix(frame).as_quat()[:, [3, 0, 1, 2]].astype(np.float32)


def rotations(quaternions: np.ndarray) -> Rotation:
    """Quaternions [n, 4], w first, as rotations."""
    return Rotation.from_quat(np.asarray(quaternions, dtype=np.float64)[:, [1, 2, 3, 0]])
