"""The picture's own pixels on the surface: where the camera that took it sees a point, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from .cameras import Camera
from .isosurface import Surface
from .srgb import linear_to_srgb, srgb_to_linear
from .triangles import nearest_depths

_GRAZING, _FACING = 0.0, 0.2  # cosine to the line of sight up to which a pixel is not trusted, and from which it is
_BUFFER_SIZE = 1024  # pixels a side of the z-buffer
_SLACK = 0.012  # of depth: a texel this far behind the nearest surface is still seen
_RIM = 0.75  # coverage below which a pixel may hold background
_RIM_SHARE = 1 / 256  # of the picture's side: pixels so near the outline are mixed; the next ones are taken instead
_REACH_SHARE = 1 / 40  # of the picture's side: how far outside those a point of the surface may land
_FEWEST = 16  # colours that tell an exposure


@dataclass(frozen=True)
class Photo:
    """A framed picture [H, H, 3] in sRGB, its mask [H, H] in [0, 1], and the camera that took it."""

    picture: np.ndarray
    mask: np.ndarray
    camera: Camera


def project(photo: Photo, surface: Surface, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the picture shows at points of the surface.

    A point is seen where nothing of the surface lies before it (z-buffer) and it faces the camera. Pixels at the rim of
    the subject are mixed with the background: in their place the nearest ones inside are taken.

    Args:
        photo: the picture.
        surface: what may hide the points.
        points: [N, 3] in the field frame.
        normals: [N, 3], unit vectors.

    Returns:
        Colours [N, 3], sRGB, and how far each is to be trusted [N]: 0 where the picture does not show the point.
    """
    size = len(photo.picture)
    corners, depths = _see(photo.camera, surface.vertices)
    nearest = nearest_depths((corners * _BUFFER_SIZE)[surface.faces], depths[surface.faces], _BUFFER_SIZE)
    spots, depths = _see(photo.camera, points)
    inside = (spots >= 0).all(axis=1) & (spots < 1).all(axis=1)
    spots = spots.clip(0, 1 - 1e-6)
    column, row = (spots * _BUFFER_SIZE).astype(np.int64).T
    seen = inside & (depths <= nearest[row, column] + _SLACK + 3 * _pixel(photo.camera, _BUFFER_SIZE))

    position = photo.camera.camera_to_world[:3, 3].numpy()
    sight = position - points
    cosine = np.einsum("nc,nc->n", sight, normals) / np.linalg.norm(sight, axis=1)

    colors, distance = inner_colors(photo)
    column, row = (spots * size - 0.5).T
    at = np.round(row).astype(np.int64).clip(0, size - 1), np.round(column).astype(np.int64).clip(0, size - 1)
    trust = trust_in(cosine, distance[at] / size)
    values = np.stack(
        [ndimage.map_coordinates(colors[..., c], (row, column), order=1, mode="nearest") for c in range(3)], axis=1
    )
    return values, np.where(seen, trust, 0.0)


def trust_in(cosine: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """How far pixels are to be trusted, 0 to 1.

    Args:
        cosine: of the angle between the surface's normal there and the line of sight.
        distance: how far off the pixel is that was taken in their place (`inner_colors`), in shares of the picture.
    """
    turned = _smoothstep((cosine - _GRAZING) / (_FACING - _GRAZING))
    return turned * _smoothstep(2 - 2 * distance / _REACH_SHARE)


def matched_exposure(colors: np.ndarray, wanted: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Scale colours [N, 3] in linear light, a channel at a time, so that where it is known they match what is wanted.

    Args:
        colors: sRGB, of the field.
        wanted: sRGB [N, 3], of the picture.
        trust: [N]; what is under one half is not looked at. The scale stays between one half and two.
    """
    known = trust > 0.5
    scale = exposure(colors[known], wanted[known])
    return linear_to_srgb(srgb_to_linear(colors) * scale).astype(np.float32)


def exposure(colors: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The scale [3] of linear light, one half to two, that takes the mean of sRGB colours [N, 3] to that of others."""
    if len(colors) < _FEWEST:
        return np.ones(3)
    have, want = (srgb_to_linear(values).mean(axis=0) for values in (colors, wanted))
    return (want / have.clip(1e-4)).clip(0.5, 2.0)


def _see(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a camera sees points [N, 3]: (x, y) [N, 2], 0 to 1 from the upper left, and depths along its axis [N]."""
    spots, depths = camera.see(torch.from_numpy(np.asarray(points, dtype=np.float64)))
    return (spots.numpy() + 1) / 2, depths.numpy()


def _pixel(camera: Camera, size: int) -> float:
    """The width of a pixel at the origin."""
    return 2 * math.tan(math.radians(camera.fovy_deg) / 2) * camera.distance / size


def inner_colors(photo: Photo) -> tuple[np.ndarray, np.ndarray]:
    """The picture with every pixel that is not safely the subject's replaced by the nearest that is; how far that was.

    Where the subject is so thin that no pixel is safe, those that are not mostly background count as safe.
    """
    subject = photo.mask > _RIM
    safe = ndimage.distance_transform_edt(np.pad(subject, 1))[1:-1, 1:-1] > max(1.0, _RIM_SHARE * len(subject))
    # thin parts: what is far from every safe pixel keeps its own
    far = subject & (ndimage.distance_transform_edt(~safe) > 0.02 * len(subject)) if safe.any() else subject
    safe |= far & (photo.mask > 0.99)
    if not safe.any():
        return photo.picture, np.full(subject.shape, np.inf)
    distance, (row, column) = ndimage.distance_transform_edt(~safe, return_indices=True)
    return photo.picture[row, column], distance


def _smoothstep(value: np.ndarray) -> np.ndarray:
    value = value.clip(0, 1)
    return value * value * (3 - 2 * value)
