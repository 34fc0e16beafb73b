"""A texture and a normal map for a mesh, by asking the field what every texel shows.

The mesh is decimated and unwrapped; each texel's place on it is carried over to the surface it was made from, whose
colour and normal it gets. Where the picture shows that place, its own pixels are blended in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage, spatial

from .cleaning import clean_surface
from .errors import DIF3DError
from .export import TextureMaps
from .field import Field
from .isosurface import Surface
from .memory import free_bytes, in_gigabytes
from .projection import Photo, matched_exposure, project
from .triangles import fill_triangles
from .unwrap import TIME_LIMIT, unwrap

USUAL_FACES = 20_000  # that a textured mesh has where no limit was set: the rest of its detail goes into the normal map
_SMALLEST = 64  # texels a side
_TEXEL_BYTES = 200  # that baking needs at a time
_NEIGHBOURS = 3  # vertices of the fine surface that a texel's place is carried over by


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh with UVs and its two maps.

    Attributes:
        surface: the decimated mesh.
        normals: [n, 3] unit normals at its vertices; the normal map counts from them.
        maps: UVs and pictures.
        notes: what was not done as asked.
        projected: share of the texels that take something from the picture.
    """

    surface: Surface
    normals: np.ndarray
    maps: TextureMaps
    notes: tuple[str, ...] = ()
    projected: float = 0.0


def texture_mesh(
    field: Field,
    fine: Surface,
    size: int,
    face_limit: int = 0,
    photo: Photo | None = None,
    seconds: float = TIME_LIMIT,
) -> TexturedMesh:
    """Decimate and unwrap a surface, and bake its colours and normals.

    Args:
        field: knows the colours.
        fine: the surface that the field was meshed to.
        size: texels a side; halved where they do not fit into memory.
        face_limit: faces of the result; 0 chooses.
        photo: the picture, where its own pixels are wanted.
        seconds: how long unwrapping may take.

    Raises:
        DIF3DError: the size is under 64, or the mesh cannot be unwrapped (`unwrap`).
    """
    if size < _SMALLEST:
        raise DIF3DError(f"A texture of {size} texels a side is too small: the least is {_SMALLEST}.")
    notes = []
    fitting = _fitting_size(size)
    if fitting < size:
        needed = in_gigabytes(size * size * _TEXEL_BYTES)
        notes.append(f"A texture of {size} texels needs about {needed} of memory; {fitting} texels were made.")
    limit = face_limit or USUAL_FACES
    surface = clean_surface(fine, speck_share=0.0, face_limit=limit)
    if not face_limit and len(surface.faces) < len(fine.faces):
        notes.append(
            f"The mesh was reduced from {len(fine.faces):,} to {len(surface.faces):,} faces to be unwrapped; the "
            "normal map keeps its detail. Set a face limit to choose."
        )
    uv = unwrap(surface.vertices, surface.faces, seconds)
    return _bake(field, fine, surface, uv, fitting, photo, tuple(notes))


def _fitting_size(size: int) -> int:
    while size > _SMALLEST and size * size * _TEXEL_BYTES > free_bytes():
        size //= 2
    return size


def _bake(
    field: Field,
    fine: Surface,
    surface: Surface,
    uv: np.ndarray,
    size: int,
    photo: Photo | None,
    notes: tuple[str, ...],
) -> TexturedMesh:
    normals = surface.normals
    tangents = corner_tangents(surface, normals, uv)
    corners = np.concatenate([surface.vertices[surface.faces], normals[surface.faces], tangents], axis=2)
    filled = fill_triangles(uv * size, corners, size)
    covered = filled[..., -1] > 0
    texels = filled[covered]
    del filled
    points, detailed = _on_fine_surface(fine, texels[:, :3])
    colors = field.color(torch.from_numpy(points)).cpu().numpy()
    projected = 0.0
    if photo is not None:
        # the z-buffer and the places are those of the mesh that will be shown
        seen, trust = project(photo, surface, texels[:, :3], _unit(texels[:, 3:6]))
        colors = matched_exposure(colors, seen, trust)
        colors += trust[:, None].astype(np.float32) * (seen - colors)
        projected = float((trust > 0).mean())
    bent = _in_tangent_space(detailed, texels[:, 3:6], texels[:, 6:9], texels[:, 9])
    maps = TextureMaps(uv, tangents, _image(covered, colors), _image(covered, bent / 2 + 0.5))
    return TexturedMesh(surface, normals, maps, notes, projected)


def corner_tangents(surface: Surface, normals: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Tangents at the corners of faces [m, 3, 4]: along u, perpendicular to the normal; w is which way v runs.

    As MikkTSpace has it, by which Blender and glTF read normal maps (Mikkelsen 2008): a face's tangent is projected to
    the plane of the vertex and counts by the angle at that corner; corners that share vertex, UV and side share theirs.
    """
    faces = surface.faces
    p, n = surface.vertices[faces].astype(np.float64), normals[faces].astype(np.float64)
    e1, e2, d1, d2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0], uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    side = np.where(area < 0, -1.0, 1.0)
    along = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) * side[:, None]  # [m, 3]
    flat = _unit(along[:, None] - n * (n * along[:, None]).sum(axis=2, keepdims=True))
    before, after = (_unit(np.roll(p, shift, axis=1) - p) for shift in (1, -1))
    angle = np.arccos((before * after).sum(axis=2).clip(-1, 1))
    key = np.concatenate([faces.reshape(-1, 1), uv.reshape(-1, 2), np.repeat(side, 3)[:, None]], axis=1)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.ravel()
    weighted = (flat * angle[..., None]).reshape(-1, 3)
    sums = np.stack([np.bincount(group, weighted[:, axis]) for axis in range(3)], axis=1)[group].reshape(-1, 3, 3)
    shared = _unit(sums)
    lost = np.linalg.norm(shared, axis=2) < 0.5  # faces without area: anything perpendicular to the normal will do
    shared[lost] = _perpendicular(n[lost])
    return np.concatenate([shared, np.repeat(side, 3).reshape(-1, 3, 1)], axis=2).astype(np.float32)


def _on_fine_surface(fine: Surface, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of the fine surface near places [N, 3], and its unit normals there: both [N, 3] float32.

    The mean of the nearest vertices by inverse distance, which is where an interpolated normal belongs.
    """
    count = min(_NEIGHBOURS, len(fine.vertices))
    distance, near = spatial.cKDTree(fine.vertices).query(places, k=[*range(1, count + 1)])
    share = 1 / (distance + 1e-6)
    share = (share / share.sum(axis=1, keepdims=True)).astype(np.float32)
    points, normals = (np.einsum("nk,nkc->nc", share, values[near]) for values in (fine.vertices, fine.normals))
    return points.astype(np.float32), _unit(normals)


def _in_tangent_space(wanted: np.ndarray, normals: np.ndarray, tangents: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Normals [N, 3] in the frames of tangents, bitangents and normals that a renderer interpolates [N, 3]."""
    z = _unit(normals)
    x = _unit(tangents - z * (z * tangents).sum(axis=1, keepdims=True))
    y = np.cross(z, x) * np.sign(side)[:, None]
    bent = np.stack([(wanted * axis).sum(axis=1) for axis in (x, y, z)], axis=1)
    bent[bent[:, 2] <= 0.05] = (0.0, 0.0, 1.0)  # folded by the decimation: the mesh's own normal
    return _unit(bent)


def _image(covered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values [N, 3] in [0, 1] of the covered texels as a picture, row 0 at the top.

    Every other texel takes the nearest one's, as far as the picture goes: at no mip level does a seam show a ground.
    """
    picture = np.zeros((*covered.shape, 3), np.uint8)
    picture[covered] = np.round(values.clip(0, 1) * 255)
    if covered.any():
        row, column = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
        picture = picture[row, column]
    return np.ascontiguousarray(picture[::-1])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-20)


def _perpendicular(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors perpendicular to unit vectors [N, 3]."""
    axis = np.eye(3)[np.abs(vectors).argmin(axis=1)]
    return _unit(np.cross(vectors, axis))
