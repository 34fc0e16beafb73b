"""Cameras and rays in the field frame: x toward the camera of azimuth 0, y right, z up.

The conventions are those of the published network (OpenGL cameras: x right, y up, looking along −z), so that a picture
rendered here and one rendered by the original show the same thing pixel for pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


def get_ray_directions(
    height: int,
    width: int,
    focal: float | tuple[float, float],
    principal: tuple[float, float] | None = None,
    use_pixel_centers: bool = True,
    normalize: bool = True,
) -> Tensor:
    """Return the direction of each pixel's ray in camera coordinates, [height, width, 3].

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        focal: focal length in pixels, one number or (horizontal, vertical).
        principal: the principal point in pixels (x, y); the middle of the picture when left out.
        use_pixel_centers: rays go through the middle of the pixels, not through their upper left corners.
        normalize: make each direction of unit length.
    """
    fx, fy = (focal, focal) if isinstance(focal, (int, float)) else focal
    cx, cy = principal if principal is not None else (width / 2, height / 2)
    offset = 0.5 if use_pixel_centers else 0.0
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32) + offset,
        torch.arange(width, dtype=torch.float32) + offset,
        indexing="ij",
    )
    directions = torch.stack([(x - cx) / fx, -(y - cy) / fy, -torch.ones_like(x)], dim=-1)
    return F.normalize(directions, dim=-1) if normalize else directions


def get_rays(directions: Tensor, c2w: Tensor, keepdim: bool = False, normalize: bool = False) -> tuple[Tensor, Tensor]:
    """Turn camera directions into world rays.

    Args:
        directions: [N, 3], [H, W, 3] or [B, H, W, 3] directions in camera coordinates.
        c2w: camera-to-world matrices, [4, 4] or [B, 4, 4] (for [N, 3] directions B is N or 1).
        keepdim: keep the picture's shape; else both results are flattened to [rays, 3].
        normalize: make each direction of unit length.

    Returns:
        Origins and directions, both [..., 3], where [H, W, 3] directions and B cameras make [B, H, W, 3].
    """
    if directions.shape[-1] != 3 or directions.ndim not in (2, 3, 4):
        raise ValueError(f"directions must be [N, 3], [H, W, 3] or [B, H, W, 3], not {list(directions.shape)}")
    if directions.ndim == 3 and c2w.ndim == 3:
        directions = directions[None]
    if c2w.ndim == 3:  # one matrix a ray or one a picture: line its axes up with those of the directions
        c2w = c2w.reshape(c2w.shape[0], *[1] * (directions.ndim - 2), 4, 4)
    rays_d = (directions[..., None, :] * c2w[..., :3, :3]).sum(dim=-1)
    rays_o = c2w[..., :3, 3].expand(rays_d.shape)
    if normalize:
        rays_d = F.normalize(rays_d, dim=-1)
    if not keepdim:
        rays_o, rays_d = rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)
    return rays_o, rays_d


def get_spherical_cameras(
    n_views: int, elevation_deg: float, camera_distance: float, fovy_deg: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Return the rays of `n_views` cameras on a circle round the z axis that look at the origin.

    The first camera is at azimuth 0 (on +x); the others follow at equal angles from +x toward +y.

    Args:
        n_views: number of cameras.
        elevation_deg: degrees above the xy plane, in (−90, 90).
        camera_distance: distance from the origin.
        fovy_deg: vertical field of view in degrees.
        height: of each picture, in pixels.
        width: of each picture, in pixels.

    Returns:
        Origins and unit directions, both [n_views, height, width, 3].
    """
    azimuth = torch.linspace(0.0, 360.0, n_views + 1)[:n_views] * math.pi / 180
    elevation = torch.full_like(azimuth, elevation_deg * math.pi / 180)
    c2w = _looking_at_origin(azimuth, elevation, camera_distance)
    focal = 0.5 * height / math.tan(0.5 * math.radians(fovy_deg))
    return get_rays(get_ray_directions(height, width, focal), c2w, keepdim=True, normalize=True)


@dataclass(frozen=True)
class Camera:
    """One camera that looks at the origin with z up. The defaults are the view that the published network expects."""

    elevation_deg: float = 0.0  # above the xy plane, in (−90, 90)
    azimuth_deg: float = 0.0  # from +x toward +y
    distance: float = 1.9  # from the origin
    fovy_deg: float = 40.0  # vertical field of view

    @cached_property
    def camera_to_world(self) -> Tensor:
        """The pose, [4, 4]: columns right, up, backward, position."""
        azimuth = torch.tensor([math.radians(self.azimuth_deg)])
        elevation = torch.tensor([math.radians(self.elevation_deg)])
        return _looking_at_origin(azimuth, elevation, self.distance)[0]

    @cached_property
    def world_to_camera(self) -> Tensor:
        """The pose's inverse, [4, 4]."""
        return torch.linalg.inv(self.camera_to_world)

    def see(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where the camera sees points [N, 3].

        Returns:
            Places in a square picture as `grid_sample` reads it, (right, down) in [−1, 1], [N, 2]; and depths along the
            optical axis [N].
        """
        pose = self.world_to_camera.to(points)
        right, up, backward = (points @ pose[:3, :3].T + pose[:3, 3]).unbind(1)
        reach = (-backward * math.tan(math.radians(self.fovy_deg) / 2)).clamp_min(1e-6)
        return torch.stack([right / reach, -up / reach], dim=1), -backward

    def rays(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Origins and unit directions of the rays of a picture, both [height, width, 3]."""
        focal = 0.5 * height / math.tan(0.5 * math.radians(self.fovy_deg))
        origins, directions = get_rays(
            get_ray_directions(height, width, focal), self.camera_to_world, keepdim=True, normalize=True
        )
        return origins.expand_as(directions), directions


def _looking_at_origin(azimuth: Tensor, elevation: Tensor, distance: float) -> Tensor:
    """Camera-to-world matrices [n, 4, 4] of cameras at azimuths and elevations [n], in radians."""
    toward_camera = torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], dim=-1
    )
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(toward_camera)
    right = F.normalize(torch.linalg.cross(-toward_camera, up), dim=-1)
    up = torch.linalg.cross(right, -toward_camera)
    c2w = torch.zeros(len(azimuth), 4, 4)
    c2w[:, :3, :3] = torch.stack([right, up, toward_camera], dim=-1)
    c2w[:, :3, 3] = toward_camera * distance
    c2w[:, 3, 3] = 1.0
    return c2w


def rays_intersect_bbox(
    rays_o: Tensor, rays_d: Tensor, radius: float | Tensor, near: float = 0.0, valid_thresh: float = 0.01
) -> tuple[Tensor, Tensor, Tensor]:
    """Intersect rays with an axis-aligned box (the slab method: Kay and Kajiya 1986).

    The box is tightened to 0.999 of its size so that points on the ray between the two hits lie inside it.

    Args:
        rays_o: origins, [..., 3].
        rays_d: directions, [..., 3].
        radius: half the side of a cube round the origin, or a tensor [3, 2] of lower and upper bounds.
        near: no hit is nearer than this.
        valid_thresh: a ray that stays inside for less than this misses.

    Returns:
        t_near [..., 1], t_far [..., 1] (both 0 where the ray misses), and hits [...] (bool).
    """
    if not isinstance(radius, Tensor):
        radius = torch.tensor([[-radius, radius]] * 3, dtype=rays_o.dtype, device=rays_o.device)
    bounds = radius * (1.0 - 1.0e-3)
    safe = torch.where(rays_d.abs() < 1e-6, torch.full_like(rays_d, 1e-6), rays_d)
    to_upper, to_lower = (bounds[:, 1] - rays_o) / safe, (bounds[:, 0] - rays_o) / safe
    t_near = torch.minimum(to_upper, to_lower).amax(dim=-1).clamp_min(near)
    t_far = torch.maximum(to_upper, to_lower).amin(dim=-1)
    hits = t_far - t_near > valid_thresh
    t_near, t_far = t_near * hits, t_far * hits
    return t_near[..., None], t_far[..., None], hits
