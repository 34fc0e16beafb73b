"""Triangles to texels in numpy alone, without any OpenGL: for textures and depth maps. Blender loads it too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_AT_ONCE = 1 << 21  # texels that are looked at together


def fill_triangles(corners: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Fill triangles with the blend of their corners' values.

    Args:
        corners: [n, 3, 2] in texels; the first row of the result is at 0. Texel i reaches from i to i + 1.
        values: [n, 3, C].
        size: of the square result.

    Returns:
        float32 [size, size, C + 1]; the last channel is 1 where a triangle covers the texel's centre, else all are 0.
    """
    texels = np.zeros((size, size, values.shape[2] + 1), np.float32)
    for triangle, row, column, weights in covered_texels(corners, size):
        texels[row, column, :-1] = np.einsum("ni,nic->nc", weights, values[triangle])
        texels[row, column, -1] = 1
    return texels


def nearest_depths(corners: np.ndarray, depths: np.ndarray, size: int) -> np.ndarray:
    """The z-buffer of triangles seen in perspective: depth [size, size] of the nearest, inf where there is none.

    Args:
        corners: [n, 3, 2] in pixels.
        depths: [n, 3], along the camera's axis, over 0. Their inverse is linear in the picture.
        size: of the square result.
    """
    nearness = np.zeros((size, size), np.float32)
    inverse = 1 / depths
    for triangle, row, column, weights in covered_texels(corners, size):
        np.maximum.at(nearness, (row, column), (weights * inverse[triangle]).sum(axis=1))
    with np.errstate(divide="ignore"):
        return 1 / nearness


def covered_texels(corners: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield which texels of a square the triangles [n, 3, 2] cover, in batches of triangles of like size.

    Each batch: the triangles' numbers, the texels' rows and columns, all [k], and barycentric weights [k, 3]. A texel
    is covered where its centre lies in the triangle or on its edge; triangles without area cover none.
    """
    low = np.floor(corners.min(axis=1)).clip(0, size).astype(np.int32)
    high = np.ceil(corners.max(axis=1)).clip(0, size).astype(np.int32)  # what lies outside the square costs nothing
    spans = (high - low).max(axis=1)
    on_square = (high > low).all(axis=1)
    steps = np.ceil(np.log2(np.maximum(spans, 1))).astype(int)
    for step in np.unique(steps[on_square]):
        width = 2 ** int(step)
        alike = np.flatnonzero(on_square & (steps == step))
        count = max(1, _AT_ONCE // width**2)
        for start in range(0, len(alike), count):
            some = alike[start : start + count]
            yield _covered_by_alike(some, corners[some], low[some], width, size)


def _covered_by_alike(
    numbers: np.ndarray, corners: np.ndarray, low: np.ndarray, width: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `covered_texels`, for triangles whose boxes begin at `low` [n, 2] and are at most `width` wide and high."""
    offsets = np.arange(width)
    x = low[:, 0, None, None] + offsets[None, None, :]  # [n, 1, width]
    y = low[:, 1, None, None] + offsets[None, :, None]  # [n, width, 1]
    a, b, c = (corners[:, i, :, None, None] for i in range(3))  # each [n, 2, 1, 1]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        px, py = x + 0.5, y + 0.5
        wb = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (py - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
        wc = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (b[:, 1] - a[:, 1]) * (px - a[:, 0])) / area
        inside = (wb >= 0) & (wc >= 0) & (wb + wc <= 1)
    inside &= (x < size) & (y < size)
    n, row, column = np.nonzero(inside)
    wb, wc = wb[inside], wc[inside]
    return numbers[n], low[n, 1] + row, low[n, 0] + column, np.stack([1 - wb - wc, wb, wc], axis=1)
