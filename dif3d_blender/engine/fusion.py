"""Depth and NeRF made one: an estimated depth, brought to the field's scale, corrects the field where the picture sees.

A monocular depth is right about relief but knows neither scale nor offset; the field knows both and the hidden side.
So the depth is fitted to the field's own, and the field's surface is then moved onto it, in a band that fades with the
distance from it. Depth that does not agree with the field is refused: then the field stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter
from torch import Tensor

from .cameras import Camera
from .depth import DepthUnavailable, crop_padding, field_depth
from .field import Correction, Field
from .gaussian import Gaussian

_FEWEST = 64  # pixels to fit a scale and a shift to
_ROUNDS = 5
_KEPT = 0.8  # share of the pixels that each round goes on with
_INLIER = 0.04  # in the field's units: as far as the field's own front may be off
_LEAST_AGREEMENT = 0.5  # share of the subject's pixels within `_INLIER`
_FURTHEST = 0.12  # the surface is moved no further than this, in the field's units
_BAND = 0.06  # standard deviation of the fading, in the field's units
_STEEPNESS = 60.0  # of the log density across the moved surface, per unit
_CLIFF = 0.08  # a step between neighbouring pixels that is an edge and no relief
_RIM = 0.04  # of the picture's width: from the outline inward the correction grows from nothing to whole


def fuse(field: Field, estimate: Gaussian, threshold: float = 25.0) -> tuple[Field, str]:
    """Correct a field by the depth that was estimated for its picture.

    Args:
        field: the field.
        estimate: with its depth estimated and the registered camera.
        threshold: density at the surface.

    Returns:
        The field, corrected where there is a depth besides the field's own that agrees with it, and a sentence for the
        report.
    """
    if estimate.depth_img is None or estimate.depth_source != "glpn":
        return field, "There is no depth besides the model's own, so there was nothing to fuse."
    height, width = (side + 2 * estimate.pad for side in estimate.depth_img.shape)
    reference = crop_padding(field_depth(field, estimate.camera, height, width, threshold), estimate.pad)
    try:
        fit = fit_scale_shift(estimate.depth_img, reference, estimate.inside)
    except DepthUnavailable as reason:
        return field, str(reason)
    correction = depth_correction(
        fit(estimate.depth_img), reference, estimate.inside, estimate.camera, threshold, estimate.pad
    )
    note = (
        f"GLPN's depth was fused with the model: scale {fit.scale:.3g}, agreement {fit.agreement:.0%}, median "
        f"difference {fit.residual:.3f}."
    )
    return field.corrected(correction), note


@dataclass(frozen=True)
class DepthFit:
    """`scale · depth + shift` is a distance in the field's units. `residual` is the median error, `agreement` the share
    of pixels that agree with the field."""

    scale: float
    shift: float
    residual: float
    agreement: float

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        return (self.scale * depth + self.shift).astype(np.float32)


def fit_scale_shift(depth: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> DepthFit:
    """Fit an estimated depth to the field's own inside the eroded mask.

    Median on median and mean deviation on mean deviation (Ranftl et al., "Towards Robust Monocular Depth Estimation",
    2020), again and again without the pixels that fit worst. Unlike least squares, this does not flatten the relief
    where the field's own is wrong.

    Args:
        depth: estimated, [h, w], of any scale and offset.
        reference: the field's, [h, w], in its units, NaN where it has nothing.
        mask: the subject, [h, w] bool.

    Raises:
        DepthUnavailable: too few pixels to compare, a constant depth, far and near exchanged, or too little agreement.
    """
    inner = binary_erosion(mask, iterations=max(1, min(mask.shape) // 100))
    both = inner & np.isfinite(depth) & np.isfinite(reference)
    x, y = depth[both].astype(np.float64), reference[both].astype(np.float64)
    if len(x) < _FEWEST:
        raise DepthUnavailable("The estimated depth and the model's overlap in too few pixels to be fused.")
    if np.ptp(x) <= 1e-6 * max(abs(x).max(), 1e-12):
        raise DepthUnavailable("The estimated depth is the same everywhere, so it can't be fused.")
    if np.ptp(y) < 1e-6:
        raise DepthUnavailable("The model's front is flat toward the camera, so no depth can be scaled to it.")
    kept = np.ones(len(x), dtype=bool)
    for _ in range(_ROUNDS):
        middle_x, middle_y = np.median(x[kept]), np.median(y[kept])
        scale = np.abs(y[kept] - middle_y).mean() / max(np.abs(x[kept] - middle_x).mean(), 1e-12)
        shift = middle_y - scale * middle_x
        error = np.abs(scale * x + shift - y)
        kept = error <= np.quantile(error, _KEPT)
    slope = ((x[kept] - x[kept].mean()) * (y[kept] - y[kept].mean())).sum()
    if not slope > 0:
        raise DepthUnavailable(
            "The estimated depth takes near for far where the model has relief, so it was not fused."
        )
    fit = DepthFit(float(scale), float(shift), float(np.median(error)), float((error < _INLIER).mean()))
    if fit.agreement < _LEAST_AGREEMENT:
        raise DepthUnavailable(
            f"The estimated depth agrees with the model on only {fit.agreement:.0%} of the subject, so it was not "
            f"fused."
        )
    return fit


def depth_correction(
    depth: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray,
    camera: Camera,
    threshold: float = 25.0,
    padding: int = 0,
) -> Correction:
    """Return the correction that moves the seen surface of a field onto a depth.

    Along a pixel's ray, with s the way beyond the depth and w = exp(−s²/2·band²), the logarithm of the density over the
    threshold becomes (1 − w)·(what it was) + w·steepness·s. Between the old surface and the new one w is whole, so
    that the old one does not stay behind. Toward the outline, and at edges in depth, where a pixel's depth is of no
    one surface, the correction fades.

    Args:
        depth: distances along the optical axis in the field's units, [h, w].
        reference: the field's own, [h, w], NaN where it has nothing.
        mask: the subject, [h, w] bool.
        camera: of the picture before the crop.
        threshold: density at the surface.
        padding: pixels that were cropped from each side of the camera's picture.
    """
    full = np.array(depth.shape) + 2 * padding
    offset = np.clip(np.where(mask, depth - reference, np.nan), -_FURTHEST, _FURTHEST)
    known = np.isfinite(offset)
    edge = np.zeros_like(mask)
    for map_ in (depth, reference):
        for axis in (0, 1):
            step = np.abs(np.diff(np.where(known, map_, np.nan), axis=axis))
            cliff = ~(step < _CLIFF * 128 / full.max())
            edge |= np.pad(cliff, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
            edge |= np.pad(cliff, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    trust = np.clip(distance_transform_edt(known & ~edge) / (_RIM * full.max()), 0.0, 1.0)
    if not known.any():
        trust = np.zeros(depth.shape)
    # Unknown pixels take the nearest known ones' values, so that nothing is mixed with nothing at the outline.
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True) if known.any() else None
    old = reference[tuple(nearest)] if nearest is not None else np.zeros_like(depth)
    shift = offset[tuple(nearest)] if nearest is not None else np.zeros_like(depth)
    shift = gaussian_filter(shift * trust, full.max() / 256)
    maps = np.pad(np.stack([old, old + shift, trust]), [(0, 0), (padding, padding), (padding, padding)], mode="edge")
    maps[2] = np.pad(trust, padding)
    stack = torch.from_numpy(maps.astype(np.float32))[None]
    level = math.log(threshold)

    def correct(points: Tensor, density: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
        spots, distance = camera.see(points)
        sampled = F.grid_sample(stack.to(points.device), spots[None, None], padding_mode="border", align_corners=False)
        before, now, share = sampled[0, :, 0]
        beyond = distance - now  # the way past the new surface
        outside = torch.maximum(torch.minimum(before, now) - distance, distance - torch.maximum(before, now)).clamp_min(
            0
        )  # the way out of what lies between old and new surface
        weight = share * torch.exp(-0.5 * (outside / _BAND).square())
        log = density.clamp_min(1e-30).log() - level
        return ((1 - weight) * log + weight * _STEEPNESS * beyond + level).exp(), color

    return correct
