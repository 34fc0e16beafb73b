"""Pictures of many objects at once, and the labelled points that go with them.

A picture is taken by a camera at azimuth 0 that looks at the origin, as the published network expects: the object is
turned by a random yaw, raised to a random elevation, and moved and scaled until its outline is centred and its longest
side fills `FILL` of the square, exactly as `foreground.frame_subject` frames a real picture. So wherever the picture
shows the subject, the camera that took it is known up to its elevation and field of view: at distance
`FRAME_HALF_WIDTH / tan(fov / 2)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from .shapes import ShapeBatch, compiled_measure, surface_color

RADIUS = 0.87  # the box of the field is [-RADIUS, RADIUS]³
FRAME_HALF_WIDTH = 1.9 * math.tan(math.radians(20.0))  # half width of the picture at the origin: distance 1.9, 40° wide
FILL = 0.85  # longest side of the subject over the side of the picture
GREY = 0.5  # the background that the network sees
QUARTER = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about z


@dataclass
class Pose:
    """Where the objects are and how they are seen, for `B` objects.

    A point of the field frame is `scale · (turn @ object point) + shift`; the camera looks at the origin from
    `distance`, raised by `elevation` (radians), azimuth 0.
    """

    turn: Tensor  # B, 3, 3
    scale: Tensor  # B
    shift: Tensor  # B, 3
    elevation: Tensor  # B
    fov: Tensor  # B, radians

    def __getitem__(self, objects: Tensor) -> Pose:
        return Pose(*(getattr(self, field.name)[objects] for field in fields(self)))

    @property
    def distance(self) -> Tensor:
        return FRAME_HALF_WIDTH / torch.tan(self.fov / 2)

    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Right, up and backward unit vectors of the camera in the field frame, each [B, 3]."""
        zero, one = torch.zeros_like(self.elevation), torch.ones_like(self.elevation)
        cos, sin = torch.cos(self.elevation), torch.sin(self.elevation)
        return (
            torch.stack([zero, one, zero], -1),
            torch.stack([-sin, zero, cos], -1),
            torch.stack([cos, zero, sin], -1),
        )

    def to_object(self, points: Tensor) -> Tensor:
        """Points [B, N, 3] of the field frame in the object frame."""
        return ((points - self.shift[:, None]) / self.scale[:, None, None]) @ self.turn


def field_distance(points: Tensor, shapes: ShapeBatch, pose: Pose) -> Tensor:
    """Signed distance [B, N] of field-frame points [B, N, 3], in the units of the field frame."""
    return compiled_measure(pose.to_object(points), shapes.tensors) * pose.scale[:, None]


def lattice(size: int, device) -> Tensor:
    """Centres [size³, 3] of the cells of [-1, 1]³."""
    line = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)


def frame(shapes: ShapeBatch, generator: torch.Generator, yaw_range: float = math.pi, cells: int = 28) -> Pose:
    """Choose a view of each object at random and frame it: yaw ±yaw_range, elevation −10…40°, field of view 30…50°."""
    tape = shapes.tensors
    batch, device = len(shapes), tape["blend"].device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator, device=device)

    yaw = uniform(-yaw_range, yaw_range)
    cos, sin, zero, one = (
        torch.cos(yaw),
        torch.sin(yaw),
        torch.zeros(batch, device=device),
        torch.ones(batch, device=device),
    )
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).view(batch, 3, 3)
    pose = Pose(
        turn, one, torch.zeros(batch, 3, device=device), torch.deg2rad(uniform(-10, 40)), torch.deg2rad(uniform(30, 50))
    )

    # The cells that the object touches stand for it; their projection is centred and scaled, which converges in four
    # rounds. What is seen end-on and deeper than the box would hold is turned by a quarter.
    grid = lattice(cells, device)[None] * tape["extent"][:, None, None]
    touched = compiled_measure(grid, tape) < (0.6 / cells) * tape["extent"][:, None]
    points = grid @ turn.transpose(1, 2)
    extents = points.abs().mul(touched[..., None]).amax(1)  # B, 3
    deep = extents[:, 0] > 1.35 * extents[:, 1:].amax(1)
    turn = torch.where(deep[:, None, None], QUARTER.to(device) @ turn, turn)
    pose.turn, points = turn, grid @ turn.transpose(1, 2)
    right, up, back = pose.axes()
    far = torch.tensor(1e6, device=device)
    half_fill = FILL * FRAME_HALF_WIDTH * uniform(0.97, 1.03)
    u0, v0, w0 = ((points @ axis[:, :, None])[..., 0] for axis in (right, up, back))
    scale, shift = one / tape["extent"], torch.zeros(batch, 3, device=device)

    def middle(values: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.where(touched, values, far).amin(1)
        high = torch.where(touched, values, -far).amax(1)
        return (low + high) / 2, (high - low) / 2

    for _ in range(4):
        depth = pose.distance[:, None] - (w0 * scale[:, None] + shift[:, 2:])
        perspective = pose.distance[:, None] / depth.clamp_min(0.2)
        u_mid, u_half = middle((u0 * scale[:, None] + shift[:, :1]) * perspective)
        v_mid, v_half = middle((v0 * scale[:, None] + shift[:, 1:2]) * perspective)
        grow = half_fill / torch.maximum(u_half, v_half).clamp_min(1e-3)
        w_mid, _ = middle(w0 * scale[:, None])
        scale = scale * grow
        shift = torch.stack([(shift[:, 0] - u_mid) * grow, (shift[:, 1] - v_mid) * grow, -w_mid * grow], -1)
    pose.scale = scale
    pose.shift = shift[:, :1] * right + shift[:, 1:2] * up + shift[:, 2:] * back
    return pose


def rays(pose: Pose, size: int) -> tuple[Tensor, Tensor]:
    """Origins [B, 3] and unit directions [B, size², 3] of the pixels, row by row from the top left."""
    device = pose.scale.device
    line = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    v, u = torch.meshgrid(-line, line, indexing="ij")
    right, up, back = pose.axes()
    tan = torch.tan(pose.fov / 2)[:, None, None]
    offsets = u.reshape(1, -1, 1) * right[:, None] + v.reshape(1, -1, 1) * up[:, None]
    return back * pose.distance[:, None], F.normalize(offsets * tan - back[:, None], dim=-1)


def orbit_rays(pose: Pose, size: int, azimuth: Tensor) -> tuple[Tensor, Tensor]:
    """The rays of the same camera moved round the z axis by `azimuth` [B] radians."""
    origin, direction = rays(pose, size)
    cos, sin, zero = torch.cos(azimuth), torch.sin(azimuth), torch.zeros_like(azimuth)
    turn = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, zero + 1], -1).view(-1, 3, 3)
    return (origin[:, None] @ turn)[:, 0], direction @ turn


# (steps, share of the rays) of each round of sphere tracing: most rays hit or leave within the first steps.
QUICK_ROUNDS = ((8, 1.0), (8, 0.4), (12, 0.15))


def trace(
    shapes: ShapeBatch, pose: Pose, origin: Tensor, direction: Tensor, size: int, rounds=QUICK_ROUNDS
) -> tuple[Tensor, Tensor]:
    """Sphere-trace rays from origins [B, 3] along unit directions [B, N, 3], which are pixels of a picture `size` wide.

    Returns hit points [B, N, 3] and coverage [B, N] in [0, 1]: soft at the outline, by the closest that a missing ray
    comes to the surface, over the width of a pixel there.
    """
    reach = (pose.scale * shapes.tensors["extent"] + pose.shift.norm(dim=-1)).clamp_max(1.5)
    t = (pose.distance - reach).clamp_min(0.1)[:, None].expand(direction.shape[:2]).clone()
    end = (pose.distance + reach)[:, None]
    pixel = 2 * torch.tan(pose.fov / 2)[:, None] / size  # width of a pixel at unit distance
    miss = torch.full_like(t, 1e3)  # the closest so far, in pixels
    d = t
    for steps, share in rounds:
        # The rays still under way that came closest go on: a fixed share of all, so that tensors keep one shape.
        waiting = torch.where((t < end) & (d > 1e-4), -miss, -1e6)
        rays_on = waiting.topk(max(1, int(share * t.shape[1])), dim=1).indices
        along = torch.gather(direction, 1, rays_on[..., None].expand(-1, -1, 3))
        t_on, miss_on = t.gather(1, rays_on), miss.gather(1, rays_on)
        for _ in range(steps):
            d_on = field_distance(origin[:, None] + t_on[..., None] * along, shapes, pose)
            miss_on = torch.minimum(miss_on, d_on / (pixel * t_on))
            t_on = torch.where(t_on < end, t_on + d_on, t_on)
        t, miss = t.scatter(1, rays_on, t_on), miss.scatter(1, rays_on, miss_on)
        d = torch.zeros_like(t).scatter(1, rays_on, d_on)
    hit = origin[:, None] + t[..., None] * direction
    coverage = torch.where(t < end, (miss < 0.05).float(), (0.5 - miss).clamp(0, 0.5))
    return hit, coverage


def normals(points: Tensor, shapes: ShapeBatch, pose: Pose, step: float = 4e-3) -> Tensor:
    """Outward unit normals [B, N, 3] by the tetrahedron of differences (Quilez): four distances a point."""
    corners = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], device=points.device)
    near = points[:, :, None] + step * corners
    batch, count = points.shape[:2]
    d = field_distance(near.reshape(batch, -1, 3), shapes, pose).view(batch, count, 4, 1)
    return F.normalize((d * corners).sum(2), dim=-1)


def shade(
    albedo: Tensor, normal: Tensor, view: Tensor, gloss: Tensor, pose: Pose, generator: torch.Generator
) -> Tensor:
    """Light the surface: ambient light from above, three random lamps (soft to hard), a highlight. sRGB, [B, N, 3]."""
    batch, device = len(albedo), albedo.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    ambient = 0.35 + 0.4 * rand(batch, 1, 1) + 0.15 * normal[..., 2:]
    light = ambient * torch.ones_like(albedo)
    highlight = torch.zeros_like(albedo)
    right, up, back = pose.axes()
    for _ in range(3):
        side = 2 * rand(batch, 3, 1) - 1
        lamp = F.normalize(
            side[:, 0] * right + (side[:, 1] * 0.7 + 0.5) * up + (0.3 + side[:, 2].abs()) * back, dim=-1
        )[:, None]
        tint = 1 - 0.15 * rand(batch, 1, 3)
        power = 0.6 * rand(batch, 1, 1).square()
        wrap = 0.6 * rand(batch, 1, 1)  # 0: hard, 0.6: soft
        cosine = (normal * lamp).sum(-1, keepdim=True)
        light = light + power * tint * ((cosine + wrap) / (1 + wrap)).clamp_min(0)
        half = F.normalize(lamp - view, dim=-1)
        shine = 10 + 60 * rand(batch, 1, 1)
        highlight = highlight + power * gloss[:, None, None] * (normal * half).sum(-1, keepdim=True).clamp_min(0).pow(
            shine
        )
    return (albedo * light + highlight).clamp(0, 1)


# JPEG's example quantization table for luminance (ITU-T T.81, table K.1), and its 8 × 8 cosine transform, orthonormal.
JPEG_STEPS = torch.tensor(
    [
        [16.0, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
JPEG_COSINES = torch.cos(math.pi / 8 * torch.arange(8.0)[:, None] * (torch.arange(8.0) + 0.5)) / 2
JPEG_COSINES[0] /= math.sqrt(2)


def compress(picture: Tensor, coarseness: Tensor) -> Tensor:
    """What JPEG leaves of pictures [B, H, W, 3] in [0, 1]: blocks of 8 × 8, frequencies rounded to coarse steps.

    `coarseness` [B] scales the steps: 1 is a JPEG quality of 50, 0.2 one of 90, 0 leaves a picture as it is. Each
    channel is rounded by the luminance table; the formats' subsampled chroma is not imitated.
    """
    batch, height, width, _ = picture.shape
    cosines = JPEG_COSINES.to(picture.device)
    steps = JPEG_STEPS.to(picture.device) / 255 * coarseness[:, None, None, None, None, None].clamp_min(1e-3)
    blocks = picture.view(batch, height // 8, 8, width // 8, 8, 3).permute(0, 1, 3, 5, 2, 4)
    rounded = torch.round(cosines @ blocks @ cosines.T / steps) * steps
    return (cosines.T @ rounded @ cosines).permute(0, 1, 4, 2, 5, 3).reshape(picture.shape).clamp(0, 1)


def degrade(picture: Tensor, coverage: Tensor, generator: torch.Generator) -> Tensor:
    """What cameras and mattes do: exposure, noise, compression, a soft outline. [B, H, W, 3] on mid-grey, in [0, 1]."""
    batch, device = len(picture), picture.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    gain = 0.8 + 0.4 * rand(batch, 1, 1, 1)
    gamma = 0.8 + 0.45 * rand(batch, 1, 1, 1)
    picture = (picture * gain).clamp(1e-4, 1).pow(gamma)
    picture = picture + 0.02 * rand(batch, 1, 1, 1) * torch.randn(picture.shape, generator=generator, device=device)
    picture = compress(picture.clamp(0, 1), 1.2 * (rand(batch) - 0.5).clamp_min(0))
    alpha = coverage[..., None]
    picture = picture * alpha + GREY * (1 - alpha)
    soft = F.avg_pool2d(F.pad(picture.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate"), 3, 1).permute(0, 2, 3, 1)
    amount = 0.7 * (rand(batch, 1, 1, 1) - 0.4).clamp_min(0)
    return picture + (soft - picture) * amount


@dataclass
class Samples:
    """What the trainer sees of `B` objects. Colours are sRGB in [0, 1], points in the field frame."""

    pictures: Tensor  # B, S, S, 3 on mid-grey
    masks: Tensor  # B, S, S, coverage of the clean picture
    points: Tensor  # B, N, 3: uniform in the box, uniform in its middle, near the surface
    inside: Tensor  # B, N, float 0 or 1
    shares: Tensor  # B, N: the share of the box that each point stands for; 0 for those near the surface
    surface: Tensor  # B, M, 3, on the surface, seen or not
    colors: Tensor  # B, M, 3
    pose: Pose


def make_samples(
    shapes: ShapeBatch, generator: torch.Generator, picture_size: int, uniform_points: int, surface_points: int
) -> Samples:
    """Take a picture of every object and label points in its box."""
    pose, pictures, masks = take_pictures(shapes, generator, picture_size)
    labels = label_points(shapes, pose, generator, uniform_points, surface_points)
    return Samples(pictures=pictures, masks=masks, pose=pose, **labels)


def take_pictures(shapes: ShapeBatch, generator: torch.Generator, picture_size: int) -> tuple[Pose, Tensor, Tensor]:
    """Frame and photograph every object: poses, pictures [B, S, S, 3] and masks [B, S, S] (see `Samples`)."""
    pose = frame(shapes, generator)
    origin, view = rays(pose, picture_size)
    hit, coverage = trace(shapes, pose, origin, view, picture_size)
    normal = normals(hit, shapes, pose)
    albedo = surface_color(pose.to_object(hit), shapes.tensors)
    picture = shade(albedo, normal, view, shapes.tensors["gloss"], pose, generator)
    square = (len(shapes), picture_size, picture_size)
    masks = coverage.view(square)
    return pose, degrade(picture.view(*square, 3), masks, generator), masks


def label_points(
    shapes: ShapeBatch, pose: Pose, generator: torch.Generator, uniform_points: int, surface_points: int
) -> dict[str, Tensor]:
    """Draw points in the box and on the surface of every object: `Samples`' points, inside, shares, surface, colors."""
    batch, device = len(shapes), pose.scale.device
    cube = (2 * torch.rand(batch, uniform_points, 3, generator=generator, device=device) - 1) * RADIUS
    middle = torch.tensor([0.85, 0.7, 0.7], device=device)  # of the box: where the objects are
    cube[:, uniform_points // 3 :] *= middle
    # A point stands for as much of the box as points are rare there: a third lie anywhere, the others in the middle.
    in_middle = (cube.abs() < middle * RADIUS).all(-1)
    rarity = 1 / (1 / 3 + in_middle * (2 / 3) / middle.prod())
    distance = field_distance(cube, shapes, pose)
    # Points on the whole surface, hidden side too: the nearest of a fresh draw, walked down the distance.
    draw = (2 * torch.rand(batch, 3 * surface_points, 3, generator=generator, device=device) - 1) * 0.8
    near = field_distance(draw, shapes, pose).abs().topk(surface_points, dim=1, largest=False).indices
    surface = torch.gather(draw, 1, near[..., None].expand(-1, -1, 3))
    for _ in range(3):
        step = field_distance(surface, shapes, pose)[..., None] * normals(surface, shapes, pose)
        surface = (surface - step).clamp(-RADIUS, RADIUS)
    spread = torch.where(torch.rand(batch, surface_points, 1, generator=generator, device=device) < 0.5, 0.06, 0.02)
    close = surface + spread * torch.randn(surface.shape, generator=generator, device=device)
    close = close.clamp(-RADIUS, RADIUS)
    distance = torch.cat([distance, field_distance(close, shapes, pose)], 1)
    return {
        "points": torch.cat([cube, close], 1),
        "inside": (distance < 0).float(),
        "shares": F.pad(rarity / rarity.sum(1, keepdim=True), (0, surface_points)),
        "surface": surface,
        "colors": surface_color(pose.to_object(surface), shapes.tensors),
    }
