"""The picture's own pixels in a field, so that frames by the NeRF renderer show what the mesh shows.

`projection` paints points of a surface; this paints the space round it. What the picture's camera sees takes the
pixel's colour. Behind that, and where the surface turns away, the field's own colour comes back, in the picture's
exposure.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from .cameras import Camera
from .depth import field_depth, resize_picture
from .field import Correction, Field
from .occupancy import Occupancy
from .pointcloud import back_project
from .projection import Photo, exposure, inner_colors, trust_in

_SIZE = 512  # pixels a side of the maps: finer than frames of the usual size
_BEHIND, _HIDDEN = 0.03, 0.08  # under the seen surface: up to where a pixel's colour holds, and where it has ended
_LEAST_COSINE = 0.3  # that a surface's normal is taken to have to the line of sight
_PROBES, _PROBE_SIZE = 12, 96  # samples under the seen surface, and pixels a side, that tell how thick the subject is
_DEEPEST = 2 * _HIDDEN / _LEAST_COSINE  # how thick a part need be known at most
_SEAM = 1 / 64  # of the picture's side: how far the seam is smoothed
_CLIFF = 8.0  # slope toward the camera from which two pixels show two surfaces, not one


def picture_correction(
    field: Field, photo: Photo, threshold: float = 25.0, occupancy: Occupancy | None = None
) -> Correction:
    """Return the correction of `field` that gives it the picture's colours where the picture shows it.

    Args:
        field: the field to correct.
        photo: the picture.
        threshold: density at the surface.
        occupancy: the field's occupancy where it is known already.
    """
    occupancy = occupancy or Occupancy(field)
    size = min(_SIZE, len(photo.picture))
    depth = field_depth(field, photo.camera, size, size, threshold, occupancy)
    known = np.isfinite(depth)
    if not known.any():
        return lambda points, density, color: (density, color)
    small = Photo(resize_picture(photo.picture, (size, size)), resize_picture(photo.mask, (size, size)), photo.camera)
    colors, distance = inner_colors(small)
    cosine = _cosine(depth, photo.camera.fovy_deg)
    trust = trust_in(cosine, distance / size)

    sample = known & (trust > 0.5)
    scale = np.ones(3)
    if sample.any():
        cloud = back_project(depth, colors, sample, photo.camera)
        scale = exposure(field.color(torch.from_numpy(cloud.points)).cpu().numpy(), cloud.colors)
    # What scales linear light by s scales sRGB by nearly s^(1/2.2), at a fraction of the work.
    gain = torch.from_numpy(scale ** (1 / 2.2)).float().to(field.device)
    half = torch.from_numpy(_half_thickness(field, photo.camera, threshold, occupancy))[None, None]
    half = F.interpolate(half, (size, size), mode="bilinear")[0, 0].numpy()
    depth = _filled(depth, known)
    # The seam of front and back runs along the middle of the subject; smoothly, or it would be toothed by each pixel's
    # own error in depth.
    middle, half = (ndimage.gaussian_filter(values, size * _SEAM) for values in (depth + half, half))
    layers = np.dstack([colors, trust, depth, cosine, half, middle])
    maps = torch.from_numpy(layers).float().permute(2, 0, 1)[None].to(field.device)

    def correct(points: Tensor, density: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
        spots, along = photo.camera.see(points)
        here = F.grid_sample(maps, spots[None, None], padding_mode="border", align_corners=False)[0, :, 0]  # [8, N]
        # Measured across the surface, not along the line of sight: where the two are nearly parallel, a ray's samples
        # would leave and meet the picture's colours in turns, and a frame would be striped. But what lies beyond the
        # middle of the subject is its back.
        behind = along - here[4]
        under = (behind * here[5].clamp_min(_LEAST_COSINE) - _BEHIND) / (_HIDDEN - _BEHIND)
        beyond = 2 * (along - here[7]) / here[6]
        share = here[3] * (1 - torch.maximum(under, beyond).clamp(0, 1)) * (spots.abs().amax(dim=1) < 1)
        return density, torch.lerp((color * gain).clamp_max(1), here[:3].T, share[:, None])

    return correct


def _half_thickness(field: Field, camera: Camera, threshold: float, occupancy: Occupancy) -> np.ndarray:
    """Half the way from where each line of sight enters the subject to where it first leaves it again, [S, S].

    At least `_BEHIND`; where nothing is seen, that of the nearest pixel.
    """
    depth = field_depth(field, camera, _PROBE_SIZE, _PROBE_SIZE, threshold, occupancy)
    known = np.isfinite(depth)
    steps = _DEEPEST * (torch.arange(_PROBES) + 1) / _PROBES
    origins, directions = (rays.reshape(-1, 3)[known.ravel()] for rays in camera.rays(_PROBE_SIZE, _PROBE_SIZE))
    along = torch.from_numpy(depth[known]) / (directions @ -camera.camera_to_world[:3, 2])
    points = origins[:, None] + (along[:, None] + steps)[..., None] * directions[:, None]
    inside = (field.density(points)[..., 0] > threshold).cpu()
    thickness = np.zeros_like(depth)
    thickness[known] = inside.long().cumprod(dim=1).sum(dim=1).numpy() * (_DEEPEST / _PROBES)
    return np.maximum(_filled(thickness, known) / 2, _BEHIND)


def _cosine(depth: np.ndarray, fovy_deg: float) -> np.ndarray:
    """The cosine of the angle between line of sight and surface at each pixel of a depth map [H, W], NaN where unknown.

    At edges in depth it is that of the nearest pixel that shows one surface.
    """
    pixel = 2 * math.tan(math.radians(fovy_deg) / 2) / len(depth) * depth
    slope = np.hypot(*np.gradient(depth)) / pixel
    return _filled(1 / np.hypot(1, slope), slope < _CLIFF)


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A map [H, W] with the nearest known value wherever it is not known; as it is where nothing is."""
    if not known.any():
        return values
    return values[tuple(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))]
