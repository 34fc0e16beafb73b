"""A field to a triangle mesh: the surface where its density is a given threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .errors import DIF3DError
from .field import Field

try:
    import mcubes
except ImportError:  # PyMCubes has no wheel for Python 3.13 and newer
    mcubes = None
    from skimage.measure import marching_cubes


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in the field frame: vertices [n, 3] float32, faces [m, 3] int32 that are turned outward."""

    vertices: np.ndarray
    faces: np.ndarray


def extract_surface(field: Field, resolution: int = 256, threshold: float = 25.0, closed: bool = True) -> Surface:
    """Extract the surface of `field` where its density is `threshold`.

    Args:
        field: what to extract.
        resolution: samples along each axis of the box.
        threshold: density at the surface.
        closed: close the surface where the object meets the box.

    Raises:
        DIF3DError: no surface at that threshold.
    """
    line = torch.linspace(-field.radius, field.radius, resolution)
    density = torch.empty(resolution, resolution, resolution)
    for index, x in enumerate(line):
        plane = torch.stack(torch.meshgrid(x[None], line, line, indexing="ij"), dim=-1)
        density[index] = field.density(plane)[0, ..., 0].cpu()
    low, high = density.min().item(), density.max().item()
    if not low <= threshold <= high:
        raise DIF3DError(
            f"The model shows no surface at density {threshold:g}: its density ranges from {low:.3g} to {high:.3g}."
        )
    vertices, faces = march(density.numpy(), threshold)
    vertices = vertices * np.float32(2 * field.radius / (resolution - 1)) - np.float32(field.radius)
    return Surface(vertices, faces)


def march(density: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Marching cubes over density samples [nx, ny, nz]: vertices in units of samples, faces turned to lower density."""
    if mcubes is not None:
        vertices, faces = mcubes.marching_cubes(density, threshold)
    else:
        vertices, faces, _, _ = marching_cubes(density, threshold, gradient_direction="ascent")
    return vertices.astype(np.float32), faces.astype(np.int32)
