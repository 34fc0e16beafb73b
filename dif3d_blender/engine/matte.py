"""Cutting a subject out of a plain or nearly plain background, with no model and no network.

The background is a smooth function of the position (a flat colour, a gradient, a vignette) that the picture's border
shows. Whatever differs from it is subject, except soft shadows on it; the rim gets a soft alpha and its own colour
back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .errors import DIF3DError

_FIT_SAMPLES = 20_000  # pixels that the background model is fitted to: more change nothing and cost time
_DIFFERENT = 0.03  # least colour distance that is called different, in sRGB units: about what the eye tells apart
_GRAIN = 0.01  # from this noise on, the picture is smoothed before it is told apart
_NOISY = 0.06  # a border that strays from its own smooth model by more than this is not a plain background
_SHADOW = 0.35  # a soft shadow leaves at least this much of the background's brightness
_SLOPE = 15.0  # a soft shadow changes by less than this per picture side; edges of things are far steeper
_OPEN = 0.25  # share of a shadow's outline that lies against the background


class NotPlain(DIF3DError):
    """The picture's border shows no plain background, or nothing stands out from it."""


@dataclass(frozen=True)
class Matte:
    """`alpha` [H, W] in [0, 1] and the subject's own colours `color` [H, W, 3], sRGB in [0, 1], free of background."""

    alpha: np.ndarray
    color: np.ndarray


def plain_matte(rgb: np.ndarray) -> Matte:
    """Return the matte of a picture with a plain or nearly plain background.

    Args:
        rgb: float32 [H, W, 3], sRGB in [0, 1].

    Raises:
        NotPlain: the border shows no plain background, the subject covers the whole border, or there is no subject.
    """
    border = _border(*rgb.shape[:2])
    background, noise = _fit_background(rgb, border)
    calm = (
        rgb if noise < _GRAIN else ndimage.median_filter(rgb, (3, 3, 1))
    )  # decides what is where; colours stay `rgb`'s
    behind = border
    for degree in (2, 2, 3):  # what is now known to be background says more about it than the border alone
        background, noise = _fit_background(calm, behind, degree)
        distance = _length(calm - background)
        threshold = max(_DIFFERENT, 4.0 * noise)
        behind = _connected(distance < threshold, border)
    behind = _with_soft_shadows(calm, background, noise, behind)
    behind |= _holes(calm, background, (distance < threshold) & ~behind, noise, np.count_nonzero(~behind))
    subject = _without_specks(~behind)
    if subject.sum() < max(16, 5e-4 * subject.size):
        raise NotPlain("Nothing in the picture stands out from its background, so there is no subject to cut out.")
    alpha, color = _soften(rgb, background, subject)
    return Matte(alpha, color)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Scalar products along the last axis; numpy's sums are slow over an axis as short as three."""
    return np.einsum("...c,...c->...", one, other)


def _length(vectors: np.ndarray) -> np.ndarray:
    """Lengths along the last axis."""
    return np.sqrt(_dot(vectors, vectors))


def _border(height: int, width: int) -> np.ndarray:
    """Return the mask of the picture's border, about 1.5% of its size deep."""
    depth = max(1, round(0.015 * min(height, width)))
    mask = np.ones((height, width), dtype=bool)
    mask[depth:-depth, depth:-depth] = False
    return mask


def _fit_background(rgb: np.ndarray, known: np.ndarray, degree: int = 2) -> tuple[np.ndarray, float]:
    """Fit a polynomial of the position to the colours at `known`; return it everywhere, and the noise about it.

    Iteratively reweighted least squares with Cauchy weights: a subject that crosses part of the border does not pull
    it. The first weights come from the median colour, not from the mean, which lies between background and subject.
    """
    height, width = known.shape
    rows, columns = np.nonzero(known)
    step = max(1, len(rows) // _FIT_SAMPLES)
    rows, columns = rows[::step], columns[::step]
    target = rgb[rows, columns].astype(np.float64)
    y, x = _powers(rows / height, degree), _powers(columns / width, degree)
    design = np.stack([y[:, i] * x[:, j] for i, j in _terms(degree)], axis=1)
    residual = _length(target - np.median(target, axis=0))
    for _ in range(20):
        scale = max(1.4826 * np.median(residual), 2e-3)
        weights = 1.0 / (1.0 + (residual / (2.0 * scale)) ** 2)
        weighted = design * weights[:, None]
        coefficients = np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=None)[0]
        residual = _length(target - design @ coefficients)
    noise = float(1.4826 * np.median(residual))
    if noise > _NOISY or np.mean(residual < max(2 * _DIFFERENT, 4.0 * noise)) < 0.6:
        raise NotPlain(
            "The picture's border shows no plain background. Give a picture with a plain background and some of it on "
            "every side, or one whose background is transparent."
        )
    powers = np.zeros((degree + 1, degree + 1, 3))
    powers[tuple(zip(*_terms(degree), strict=True))] = coefficients
    rows = np.einsum("ijc,wj->iwc", powers, _powers(np.arange(width) / width, degree)).reshape(degree + 1, -1)
    model = _powers(np.arange(height) / height, degree).astype(np.float32) @ rows.astype(np.float32)
    return np.clip(model, 0.0, 1.0, out=model).reshape(height, width, 3), noise


def _terms(degree: int) -> list[tuple[int, int]]:
    """Return the exponents (i, j) of the terms y^i·x^j with i + j ≤ degree."""
    return [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]


def _powers(position: np.ndarray, degree: int) -> np.ndarray:
    """Return the powers 0 … degree of positions [n] in [0, 1], [n, degree + 1]; centred, so nearly orthogonal."""
    return (2.0 * position[:, None] - 1.0) ** np.arange(degree + 1)


def _connected(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return the part of `mask` that touches `seeds`, side by side (diagonal steps would slip through thin edges)."""
    return ndimage.binary_propagation(mask & seeds, mask=mask)


def _with_soft_shadows(rgb: np.ndarray, background: np.ndarray, noise: float, behind: np.ndarray) -> np.ndarray:
    """Return `behind`, grown over soft shadows: the background's hue, darker, without an edge.

    Brightness and hue are separated as in Horprasert, Harwood and Davis, "A statistical approach for real-time robust
    background subtraction and shadow detection", 1999: the colour is k times the background's plus a rest.
    """
    power = np.maximum(_dot(background, background), 1e-4)
    k = _dot(rgb, background) / power
    rest = _length(rgb - k[..., None] * background)
    size = max(k.shape)
    smooth = ndimage.gaussian_filter(rgb, (max(1.0, 0.0015 * size),) * 2 + (0,))
    slope = np.sqrt(sum(_dot(step, step) for step in np.gradient(smooth, axis=(0, 1)))) * size
    soft = (k > _SHADOW) & (k < 1.05) & (rest < _DIFFERENT + 2.0 * noise) & (slope < _SLOPE + 3.0 * noise)
    return behind | _widely_open(_connected(behind | soft, behind) & ~behind, behind)


def _widely_open(grown: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Return the pieces of `grown` that meet `behind` along much of their outline.

    A shadow lies open to the background. Where pale shading of the subject was taken for one, it was entered through a
    gap in the outline; cutting off what is narrow shows it as a piece of its own.
    """
    radius = max(1, round(max(grown.shape) / 256))
    labels, count = ndimage.label(ndimage.binary_opening(grown, iterations=radius))
    outline = (labels > 0) & ~ndimage.binary_erosion(labels > 0, border_value=1)
    near_background = ndimage.binary_dilation(behind, iterations=radius + 1)
    lengths = np.bincount(labels[outline], minlength=count + 1)
    meeting = np.bincount(labels[outline & near_background], minlength=count + 1)
    wide = meeting >= _OPEN * np.maximum(lengths, 1)
    wide[0] = False
    return ndimage.binary_dilation(wide[labels], iterations=radius + 1) & grown


def _holes(
    rgb: np.ndarray, background: np.ndarray, enclosed: np.ndarray, noise: float, subject_area: int
) -> np.ndarray:
    """Return those of the `enclosed` parts through which the background shows, such as the inside of a handle.

    They must be about as near to it as its own noise: a subject whose shading passes through the background's colour is
    not. A saturated background is less likely to be met by chance; blown-out white and full black prove little (eyes,
    highlights), so there a hole must be large.
    """
    labels, count = ndimage.label(enclosed)
    if count == 0:
        return enclosed
    numbers = np.arange(1, count + 1)
    # Averaged over a few pixels, the ringing of JPEG vanishes and shading stays.
    distance = _length(ndimage.uniform_filter(rgb - background, (5, 5, 1)))
    part, shade = labels[enclosed], background[enclosed]
    typical = ndimage.median(distance[enclosed], part, numbers)
    levels = ndimage.mean(shade.mean(axis=1), part, numbers)
    saturation = ndimage.mean(np.ptp(shade, axis=1), part, numbers)
    clipped = (levels > 0.97) | (levels < 0.03)
    large = np.bincount(part, minlength=count + 1)[1:] > np.where(clipped, 0.01, 0.001) * subject_area
    return np.isin(labels, numbers[large & (typical < 0.01 + noise + 0.04 * saturation)])


def _without_specks(subject: np.ndarray) -> np.ndarray:
    """Return the subject without pieces smaller than a hundredth of its largest one: dust, noise, watermarks."""
    labels, count = ndimage.label(subject, structure=np.ones((3, 3)))
    if count == 0:
        return subject
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return (areas >= 0.01 * areas.max())[labels] & subject


def _soften(rgb: np.ndarray, background: np.ndarray, subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha [H, W] and colours [H, W, 3] with the background unmixed from the rim.

    A rim pixel is I = α·F + (1 − α)·B. B is known; F is the colour nearby that is least like the background.
    """
    reach = max(2, round(max(subject.shape) / 400))  # as wide as the blur of a picture that was scaled or compressed
    rim = subject & ~ndimage.binary_erosion(subject, iterations=reach, border_value=1)
    rows, columns = np.nonzero(rim)
    mixed, behind = rgb[rows, columns], background[rows, columns]
    best = np.zeros(len(rows), dtype=np.float32)
    front = mixed.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            y = np.clip(rows + dy, 0, subject.shape[0] - 1)
            x = np.clip(columns + dx, 0, subject.shape[1] - 1)
            candidate = rgb[y, x]
            contrast = _length(candidate - behind) * subject[y, x]
            better = contrast > best
            best[better], front[better] = contrast[better], candidate[better]
    toward = front - behind
    share = _dot(mixed - behind, toward) / np.maximum(_dot(toward, toward), 1e-6)
    # A pixel that is not on the line from B to F is no mixture of them: it is another colour of the subject.
    off_line = _length(mixed - behind - share[:, None] * toward)
    share = np.where(off_line > np.maximum(0.35 * best, 3.0 * _DIFFERENT), 1.0, np.clip(share, 0.0, 1.0))
    unmixed = (mixed - (1.0 - share[:, None]) * behind) / np.maximum(share[:, None], 0.05)
    alpha = subject.astype(np.float32)
    alpha[rows, columns] = share
    color = rgb.copy()
    color[rows, columns] = np.clip(share[:, None] * unmixed + (1.0 - share[:, None]) * front, 0.0, 1.0)
    return alpha, color
