"""A surface made fit for use: without specks, smoothed, and with no more faces than wanted."""

from __future__ import annotations

import fast_simplification
import numpy as np
from scipy import sparse

from .errors import DIF3DError
from .isosurface import Surface

# Taubin 1995, "A Signal Processing Approach to Fair Surface Design": each step inward is followed by a slightly longer
# one outward, so that noise goes and the shape does not shrink.
_INWARD, _OUTWARD = 0.5, -0.53


def clean_surface(surface: Surface, speck_share: float = 0.01, smoothing: int = 0, face_limit: int = 0) -> Surface:
    """Remove specks, smooth and decimate a closed surface.

    It stays closed, but for one that is so tangled that no decimation to the face limit leaves it so.

    Args:
        surface: what to clean.
        speck_share: pieces whose area is less than this share of the largest piece's are removed; 0 keeps all.
        smoothing: pairs of smoothing steps (Taubin 1995); they keep the volume of each surface.
        face_limit: decimate to at most this many faces (quadric error metrics), as far as pieces and holes
            allow; 0 keeps all.

    Raises:
        DIF3DError: a negative setting, or a face limit under 4.
    """
    if speck_share < 0 or smoothing < 0 or face_limit < 0 or 0 < face_limit < 4:
        raise DIF3DError(
            f"A mesh cannot be cleaned with speck_share {speck_share:g}, smoothing {smoothing} and face_limit "
            f"{face_limit}: none may be negative, and the smallest closed mesh has 4 faces."
        )
    if speck_share:
        surface = _without_specks(surface, speck_share)
    if smoothing:
        surface = _smoothed(surface, smoothing)
    if face_limit and len(surface.faces) > face_limit:
        surface = _decimated(surface, face_limit)
    return surface


def is_closed(faces: np.ndarray) -> bool:
    """Whether each edge of faces [m, 3] borders exactly two of them, in opposite directions."""
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64)
    count = int(edges.max()) + 1 if len(edges) else 1
    forward = np.sort(edges[:, 0] * count + edges[:, 1])
    backward = np.sort(edges[:, 1] * count + edges[:, 0])
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def _without_specks(surface: Surface, share: float) -> Surface:
    corners = surface.vertices[surface.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    pieces, label = sparse.csgraph.connected_components(_links(surface), directed=False)
    of_face = label[surface.faces[:, 0]]
    areas = np.bincount(of_face, area, minlength=pieces)
    return _compact(surface.vertices, surface.faces[areas[of_face] >= share * areas.max()])


def _smoothed(surface: Surface, steps: int) -> Surface:
    links = _links(surface)
    mean = sparse.diags_array(1 / np.maximum(links.sum(axis=1), 1)) @ links
    vertices = surface.vertices.astype(np.float64)
    for _ in range(steps):
        for share in (_INWARD, _OUTWARD):
            vertices += share * (mean @ vertices - vertices)
    before, after = _volume(surface.vertices, surface.faces), _volume(vertices, surface.faces)
    middle = vertices.mean(axis=0)
    if before * after > 0:
        vertices = middle + (vertices - middle) * (before / after) ** (1 / 3)
    return Surface(vertices.astype(np.float32), surface.faces)


def _decimated(surface: Surface, face_limit: int) -> Surface:
    # Collapsing edges can fold a surface onto itself. Fewer faces, or a more patient collapse, may not.
    was_closed = is_closed(surface.faces)
    results = []
    for share, aggressiveness in ((1.0, 5), (1.0, 4), (0.9, 5), (0.8, 5), (0.6, 5), (1.0, 10)):
        vertices, faces = fast_simplification.simplify(
            surface.vertices, surface.faces, target_count=int(share * face_limit), agg=aggressiveness
        )
        results.append(_compact(vertices.astype(np.float32), faces))
        if len(faces) <= face_limit and (is_closed(faces) or not was_closed):
            return results[-1]
    return min(results, key=lambda result: abs(len(result.faces) - face_limit))


def _links(surface: Surface) -> sparse.csr_array:
    """Which vertices share an edge, [n, n] of ones and zeros."""
    ends = surface.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    count = len(surface.vertices)
    links = sparse.csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    links = links + links.T
    links.data[:] = 1.0
    return links


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """The volume inside a closed surface, by the divergence theorem."""
    a, b, c = vertices[faces].astype(np.float64).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _compact(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    """A surface of those vertices only that its faces use."""
    used, numbers = np.unique(faces, return_inverse=True)
    return Surface(vertices[used], numbers.reshape(-1, 3).astype(np.int32))
