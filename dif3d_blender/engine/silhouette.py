"""What the picture's outline tells of the field: nothing stands outside it, something stands everywhere inside it.

The network leaves matter where the picture shows none, and loses thin parts (legs, handles, antennas) of which it is
not sure how deep they lie. The mask knows both. Outside the outline the density is taken away. Where a ray inside it
finds no surface, the mask's own shape is added, blown up to its local width, at the depth that the network holds
likeliest. Where the network is sure, nothing is added.

Compare space carving (Kutulakos and Seitz 2000), which only takes away, and inflation of drawn outlines (Igarashi et
al. 1999, "Teddy"), which knows no depth.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from .cameras import Camera, rays_intersect_bbox
from .field import Correction, Field

_SIZE = 96  # pixels a side of the maps: finer than the planes of the embedded model, coarse enough to be quick
_SAMPLES = 64  # along each ray
_SOLID = 6.0  # log of density over the threshold that nothing needs to exceed: so the rim lies where the mask has it
_EMPTY = -16.0  # log of density over the threshold below which nothing is seen
_SURE = 4.8  # log of density over the threshold from which the network's word counts alone
_OUTSIDE = 60.0  # log of density that is taken away for each unit of coverage below one half
_NEIGHBOURS = 9  # pixels across which the width of a part is looked for
_WIDTHS = (3, 6, 12, 24, 48)  # standard deviations, in pixels, of the neighbourhoods that depths are taken from
_DOUBT = 0.3  # weight at which a neighbourhood counts half beside a wider one


def silhouette_correction(field: Field, camera: Camera, mask: Tensor, threshold: float = 25.0) -> Correction:
    """Return the correction of `field` that gives it the outline of the picture.

    Args:
        field: the field to correct.
        camera: the camera that took the picture.
        mask: coverage [H, W] in [0, 1], square, row 0 at the top.
        threshold: density at the surface.
    """
    level = math.log(threshold)
    coverage = F.interpolate(mask[None, None].float(), (_SIZE, _SIZE), mode="bilinear", antialias=True)[0, 0]
    origins, directions = (rays.reshape(-1, 3) for rays in camera.rays(_SIZE, _SIZE))
    densest, along = _densest_points(field, origins, directions)
    inside = coverage > 0.5
    # Both overlap by a pixel: between what the network ends with and what is added there must be no slit.
    sure = torch.from_numpy(ndimage.minimum_filter(((densest - level) / _SURE).clamp(0, 1).numpy(), 3))
    pixel = 2 * math.tan(math.radians(camera.fovy_deg) / 2) * camera.distance / _SIZE  # width of a pixel at the origin
    # Parts are continued upright, not along the picture: legs stand, however far down the camera looks.
    toward = F.normalize(camera.camera_to_world[:2, 2], dim=0)  # the camera, seen from above
    start, step = origins[:, :2] @ toward, directions[:, :2] @ toward
    place = _smooth((start + along * step).view(_SIZE, _SIZE), (densest - level).clamp(-_SOLID, _SURE).exp() * inside)
    depth = (place.flatten() - start) / step * (directions @ -camera.camera_to_world[:3, 2])
    thickness = _half_widths(inside) * pixel
    maps = torch.stack([coverage, sure, depth.view(_SIZE, _SIZE), thickness])[None].to(
        field.device
    )  # [1, 4, rows, columns]

    def correct(points: Tensor, density: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
        spots, distance = camera.see(points)
        here = F.grid_sample(maps, spots[None, None], padding_mode="border", align_corners=False)[0, :, 0]  # [4, N]
        log = (density.clamp_min(1e-30).log() - level).clamp(_EMPTY, _SOLID)
        off_centre = (distance - here[2]) / here[3].clamp_min(pixel)  # thinner, and a ray's samples would miss it
        inflated = (_SURE * (1 - off_centre.square())).clamp_min(_EMPTY)  # crosses the threshold at the local width
        log = torch.maximum(log, inflated - 2 * _SURE * here[1])  # gone where the network is half sure
        return (log - _OUTSIDE * (0.5 - here[0]).clamp_min(0) + level).exp(), color

    return correct


def is_outline(mask: np.ndarray) -> bool:
    """Whether a mask [H, W] says anything: whether there is a subject, and something beside it."""
    return 0.001 < float((mask > 0.5).mean()) < 0.95


def shrink_mask(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] as small as the correction needs it: [96, 96] float16, under 20 kB."""
    size = (_SIZE, _SIZE)
    small = F.interpolate(torch.from_numpy(mask)[None, None].float(), size, mode="bilinear", antialias=True)
    return small[0, 0].numpy().astype(np.float16)


def _densest_points(field: Field, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the highest density along each of the picture's rays [S², 3], [S, S], and where along it, [S²]."""
    origins, directions = origins.to(field.device), directions.to(field.device)
    near, far, hits = rays_intersect_bbox(origins, directions, field.radius)
    middles = (torch.arange(_SAMPLES, device=field.device) + 0.5) / _SAMPLES
    along = near + (far - near) * middles
    points = origins[:, None] + along[..., None] * directions[:, None]
    density = torch.full((len(origins), _SAMPLES), 1e-13, device=field.device)
    density[hits] = field.density(points[hits])[..., 0].clamp_min(1e-13)
    # The middle of what is densest, not its first sample: solid matter is dense all through.
    weight = (density.log().clamp_max(math.log(25.0) + _SOLID)).softmax(dim=1)
    return density.amax(1).log().view(_SIZE, _SIZE).cpu(), (weight * along).sum(1).cpu()


def _smooth(values: Tensor, weights: Tensor) -> Tensor:
    """Means of `values` [S, S] by `weights`, near where they are sure, over ever wider neighbourhoods where not.

    As push-pull fills gaps (Gortler et al. 1996): a leg of which nothing is known hangs where its body is.
    """
    values, weights = values.double().numpy(), weights.double().numpy() + 1e-9
    mean = None
    for width in reversed(_WIDTHS):
        known = ndimage.gaussian_filter(weights, width)
        here = ndimage.gaussian_filter(values * weights, width) / known
        mean = here if mean is None else mean + (here - mean) * known / (known + _DOUBT)
    return torch.from_numpy(mean).float()


def _half_widths(inside: Tensor) -> Tensor:
    """Half the thickness, in pixels, that makes each part of a mask [S, S] as deep as it is wide, round in section."""
    to_edge = ndimage.distance_transform_edt(np.pad(inside.numpy(), 1))[1:-1, 1:-1]
    radius = ndimage.maximum_filter(to_edge, _NEIGHBOURS)  # of the part that the pixel belongs to
    return torch.from_numpy(np.sqrt(np.maximum(to_edge * (2 * radius - to_edge), 0.0))).float()
