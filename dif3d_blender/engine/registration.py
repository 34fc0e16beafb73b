"""The camera that took the picture, found by laying the field's silhouette over the picture's mask.

A picture that was framed (`foreground.frame_subject`) tells nothing of how high the camera stood or how wide it saw;
the network puts the object upright into the box all the same. So elevation and field of view are searched, and a small
azimuth for what the network turned; the distance follows from the framing, which keeps the picture's width at the
origin the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .cameras import Camera, rays_intersect_bbox
from .errors import DIF3DError
from .field import Field
from .occupancy import Occupancy

HALF_WIDTH = Camera().distance * math.tan(math.radians(Camera().fovy_deg) / 2)  # of the picture, at the origin

_ELEVATIONS, _AZIMUTHS, _FOVS = (-10.0, 40.0), (-15.0, 15.0), (30.0, 50.0)  # degrees, what is searched
_COARSE_SIZE, _FINE_SIZE = 32, 64  # pixels a side of the silhouettes
_STEPS = (5.0, 2.5, 1.25)  # degrees of the refinement
_PRIOR = 0.02  # how much IoU one usual deviation from the usual camera costs: silhouettes that are wrong mislead
_USUAL = ((15.0, 14.0), (0.0, 5.0), (40.0, 6.0))  # elevation, azimuth, field of view: middle and deviation, degrees


@dataclass(frozen=True)
class Registration:
    """The camera of the input view, and the IoU of the field's silhouette from there and the picture's mask."""

    camera: Camera
    silhouette_iou: float


def framed_camera(elevation_deg: float, azimuth_deg: float = 0.0, fovy_deg: float = 40.0) -> Camera:
    """The camera with this field of view that sees as much at the origin as the usual one."""
    distance = HALF_WIDTH / math.tan(math.radians(fovy_deg) / 2)
    return Camera(elevation_deg, azimuth_deg, distance, fovy_deg)


@torch.no_grad()
def register(
    field: Field, mask: np.ndarray, occupancy: Occupancy | None = None, threshold: float = 25.0
) -> Registration:
    """Find the camera from which the field's silhouette fits the mask best.

    Args:
        field: what the network saw.
        mask: coverage of the framed picture [H, W] in [0, 1], square, row 0 at the top.
        occupancy: the field's occupancy where it is known already.
        threshold: density at the surface.

    Raises:
        DIF3DError: the mask is empty.
    """
    if mask.ndim != 2 or not (mask > 0.5).any():
        raise DIF3DError("The subject's mask is empty, so the camera of the picture can't be found.")
    silhouette = Silhouette(occupancy or Occupancy(field), threshold)
    coverage = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32)).to(field.device)
    coarse, fine = (_resized(coverage, size) for size in (_COARSE_SIZE, _FINE_SIZE))
    candidates = [
        (elevation, azimuth, fov)
        for elevation in np.arange(_ELEVATIONS[0], _ELEVATIONS[1] + 1, 10.0)
        for azimuth in (-8.0, 0.0, 8.0)
        for fov in (32.0, 40.0, 48.0)
    ]
    best = max(candidates, key=lambda view: _score(silhouette, view, coarse))
    score = _score(silhouette, best, fine)
    for step in _STEPS:
        improved = True
        while improved:
            improved = False
            for axis, side in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)):
                view = list(best)
                low, high = (_ELEVATIONS, _AZIMUTHS, _FOVS)[axis]
                view[axis] = float(np.clip(view[axis] + side * step, low, high))
                moved = _score(silhouette, tuple(view), fine)
                if moved > score + 1e-6:
                    best, score, improved = tuple(view), moved, True
    camera = framed_camera(*map(float, best))
    return Registration(camera, soft_iou(silhouette(camera, _FINE_SIZE), fine))


class Silhouette:
    """Silhouettes of a field by the samples of its occupancy alone, a few milliseconds each.

    Args:
        occupancy: of the field.
        threshold: density at the surface.
    """

    def __init__(self, occupancy: Occupancy, threshold: float) -> None:
        inner = occupancy.density[1:-1, 1:-1, 1:-1].clamp(1e-12, 1e12)  # evenly spaced, unlike the outermost
        self._inside = (inner.log() - math.log(threshold)).permute(2, 1, 0)[None, None].contiguous()  # [1, 1, z, y, x]
        lines = occupancy.lines[1:-1]
        self._reach = lines[-1].item()
        solid = (inner >= threshold).nonzero()  # rays need to look nowhere else
        if len(solid):
            low, high = lines[solid.amin(0)] - occupancy.cell, lines[solid.amax(0)] + occupancy.cell
        else:
            low, high = lines[[0, 0, 0]], lines[[-1, -1, -1]]
        self._bounds = torch.stack([low, high], dim=1)  # [3, 2]
        self._share = (high - low).max().item() / (2 * self._reach)  # of the lattice

    def __call__(self, camera: Camera, size: int) -> Tensor:
        """Where the rays of a picture [size, size] meet the surface: 0 or 1."""
        device = self._inside.device
        origins, directions = (rays.reshape(-1, 3).to(device) for rays in camera.rays(size, size))
        near, far, hits = rays_intersect_bbox(origins, directions, self._bounds)
        count = math.ceil(size * self._share)
        middles = (torch.arange(count, device=device) + 0.5) / count
        depths = near[hits] + (far - near)[hits] * middles
        points = origins[hits, None] + depths[..., None] * directions[hits, None]
        spots = points[None, None] / self._reach
        log = F.grid_sample(self._inside, spots, padding_mode="border", align_corners=True)
        picture = torch.zeros(size * size, device=device)
        picture[hits] = (log[0, 0, 0].amax(dim=1) >= 0).float()
        return picture.view(size, size)


def soft_iou(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two coverages of one shape, values in [0, 1]. Two empty ones are equal: 1."""
    union = torch.maximum(first, second).sum()
    return (torch.minimum(first, second).sum() / union).item() if union > 0 else 1.0


def _score(silhouette: Silhouette, view: tuple[float, float, float], coverage: Tensor) -> float:
    deviation = sum(((value - middle) / usual) ** 2 for value, (middle, usual) in zip(view, _USUAL, strict=True))
    return soft_iou(silhouette(framed_camera(*map(float, view)), len(coverage)), coverage) - _PRIOR * deviation


def _resized(coverage: Tensor, size: int) -> Tensor:
    return F.interpolate(coverage[None, None], (size, size), mode="bilinear", antialias=True)[0, 0]
