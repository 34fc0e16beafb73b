"""Objects as signed distances, many at a time.

An object is a list of parts (`Part`): a primitive in its own frame, joined to the parts before it by a smooth union or
a smooth subtraction, optionally mirrored at the object's plane y = 0; the whole may be bent and twisted. `ShapeBatch`
packs many objects into one padded tape, grouped by kind of primitive, so that one fused program measures any number of
points against all of them, on CPU or GPU: `measure` is the reference, `compiled_measure` the same through
`torch.compile` (4 to 10 times as fast on a CPU).

Object frame: z up, x toward the front of the object, y to its left-right symmetry; parts lie roughly within [-1, 1]³.
Distances are lower bounds where a formula is not exact (superquadrics, lathes, bent objects), which sphere tracing
allows. Formulas after I. Quilez, "Distance functions", and A. Barr, "Superquadrics and angle-preserving
transformations" (1981), derived anew here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

BOX, SUPERQUADRIC, CONE, TORUS, CAPSULE, LATHE = range(6)
SIZES = 8  # numbers that describe a primitive
SLOTS = 20  # parts an object may have
FAR = 8.0  # the distance of an empty slot
SOLID, STRIPES, CHECKS, NOISE, TWO_TONE = range(5)


@dataclass
class Part:
    """One primitive of an object.

    Attributes:
        kind: BOX, SUPERQUADRIC, CONE, TORUS, CAPSULE or LATHE.
        size: up to `SIZES` numbers; the functions `box` … `lathe` below say what they mean.
        position: centre in the object frame.
        rotation: [3, 3], columns are the part's axes in the object frame.
        color, second_color: sRGB in [0, 1]; the second is used by patterns.
        pattern, pattern_scale: SOLID … TWO_TONE, and periods per unit length.
        blend: radius of the smooth union or subtraction with the parts before it.
        subtract: carve this part out of the parts before it.
        mirrored: the part and its mirror image at y = 0.
        radius: a sphere of this radius about `position` holds the part.
    """

    kind: int
    size: tuple[float, ...]
    position: np.ndarray
    rotation: np.ndarray
    radius: float
    color: np.ndarray
    second_color: np.ndarray
    pattern: int = SOLID
    pattern_scale: float = 6.0
    blend: float = 0.01
    subtract: bool = False
    mirrored: bool = False


@dataclass
class Shape:
    """An object: parts in the order in which they are joined, and how the whole is deformed."""

    parts: list[Part]
    name: str
    twist: float = 0.0  # radians about z per unit of z
    bend: float = 0.0  # x moves by bend · z²
    gloss: float = 0.2  # strength of the highlight in its pictures
    extent: float = field(init=False)  # a sphere of this radius about the origin holds the object

    def __post_init__(self) -> None:
        if len(self.parts) > SLOTS:
            raise ValueError(f"{self.name}: {len(self.parts)} parts, but a shape holds {SLOTS}")
        reach = max(float(np.linalg.norm(p.position)) + p.radius for p in self.parts if not p.subtract)
        self.extent = reach + abs(self.bend) * reach**2


# Each takes points [n, k, 3] in the part's frame and sizes [n, 1, SIZES]; each returns distances [n, k].


def box(p: Tensor, s: Tensor) -> Tensor:
    """Half sides s0 s1 s2, edges rounded by s3."""
    q = p.abs() - (s[..., :3] - s[..., 3:4])
    outside = q.clamp_min(0).square().sum(-1).add(1e-12).sqrt()
    return outside + q.amax(-1).clamp_max(0) - s[..., 3]


def superquadric(p: Tensor, s: Tensor) -> Tensor:
    """Half axes s0 s1 s2, exponents s3 (across), s4 (along z): 2 is an ellipsoid, 6 nearly a box, 1.2 nearly a diamond.

    The gauge f(p) is homogeneous of degree 1, so (1 − 1/f)·|p| is the distance along the ray to the centre. The true
    distance is shorter by the cosine to the surface normal, for which the ratio of the half axes stands in.
    """
    q = p.abs() / s[..., :3] + 1e-4
    across, along = s[..., 3], s[..., 4]
    ring = (q[..., 0].pow(across) + q[..., 1].pow(across)).pow(along / across)
    gauge = (ring + q[..., 2].pow(along)).pow(1 / along)
    length = p.square().sum(-1).add(1e-8).sqrt()
    slack = s[..., :3].amin(-1) / s[..., :3].amax(-1)
    return (1 - 1 / gauge) * length * slack.clamp_min(0.35).sqrt()


def cone(p: Tensor, s: Tensor) -> Tensor:
    """Frustum about z: radius s0 at −s2, s1 at +s2, edges rounded by s3. Equal radii make a cylinder."""
    r = p[..., :2].square().sum(-1).add(1e-12).sqrt()
    half = s[..., 2] - s[..., 3]
    slope = (s[..., 1] - s[..., 0]) / (2 * s[..., 2])
    wall = (r - (0.5 * (s[..., 0] + s[..., 1]) + slope * p[..., 2]) + s[..., 3]) / (1 + slope.square()).sqrt()
    cap = p[..., 2].abs() - half
    outside = (wall.clamp_min(0).square() + cap.clamp_min(0).square() + 1e-12).sqrt()
    return outside + torch.maximum(wall, cap).clamp_max(0) - s[..., 3]


def torus(p: Tensor, s: Tensor) -> Tensor:
    """Ring about z: radius s0, thickness s1, stretched by s2 along x."""
    x = p[..., 0] - p[..., 0].clamp(-s[..., 2], s[..., 2])
    ring = (x.square() + p[..., 1].square() + 1e-12).sqrt() - s[..., 0]
    return (ring.square() + p[..., 2].square() + 1e-12).sqrt() - s[..., 1]


def capsule(p: Tensor, s: Tensor) -> Tensor:
    """Along z from −s2 to +s2, radius s0 at the lower end, s1 at the upper."""
    t = ((p[..., 2] + s[..., 2]) / (2 * s[..., 2])).clamp(0, 1)
    z = p[..., 2] - (2 * t - 1) * s[..., 2]
    radius = s[..., 0] + (s[..., 1] - s[..., 0]) * t
    slope = (s[..., 1] - s[..., 0]) / (2 * s[..., 2])
    return ((p[..., :2].square().sum(-1) + z.square() + 1e-12).sqrt() - radius) / (1 + slope.square()).sqrt()


def lathe(p: Tensor, s: Tensor) -> Tensor:
    """Turned about z from −s7 to +s7: radii s0 … s6 at seven equal steps from bottom to top, straight between them."""
    r = p[..., :2].square().sum(-1).add(1e-12).sqrt()
    u = ((p[..., 2] / s[..., 7] + 1) * 3).clamp(0, 6)
    radius, steepest = torch.zeros_like(r), torch.zeros_like(s[..., 0])
    for k in range(7):
        radius = radius + s[..., k] * (1 - (u - k).abs()).clamp_min(0)
        if k < 6:
            steepest = torch.maximum(steepest, (s[..., k + 1] - s[..., k]).abs())
    wall = (r - radius) / (1 + (3 * steepest / s[..., 7]).square()).sqrt()
    cap = p[..., 2].abs() - s[..., 7]
    outside = (wall.clamp_min(0).square() + cap.clamp_min(0).square() + 1e-12).sqrt()
    return outside + torch.maximum(wall, cap).clamp_max(0)


PRIMITIVES = (box, superquadric, cone, torus, capsule, lathe)


class ShapeBatch:
    """`B` objects as tensors on one device. Build it with `ShapeBatch.pack(shapes, device)`."""

    def __init__(self, tensors: dict[str, Tensor]):
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors["blend"])

    @classmethod
    def pack(cls, shapes: list[Shape], device: str | torch.device = "cpu") -> ShapeBatch:
        """Pack `shapes`. Every kind gets at least two entries (fillers go to a slot that is never read), so that one
        compiled program serves every batch."""
        count = len(shapes)
        blend = np.full((count, SLOTS + 1), 0.01, np.float32)
        sign = np.ones((count, SLOTS + 1), np.float32)
        color = np.zeros((count, SLOTS + 1, 6), np.float32)
        pattern = np.zeros((count, SLOTS + 1, 2), np.float32)
        frame = np.zeros((count, SLOTS + 1, 12), np.float32)
        rows: list[list[tuple]] = [[] for _ in PRIMITIVES]
        for b, shape in enumerate(shapes):
            for slot, part in enumerate(shape.parts):
                blend[b, slot] = max(part.blend, 1e-3)
                sign[b, slot] = -1 if part.subtract else 1
                color[b, slot] = [*part.color, *part.second_color]
                pattern[b, slot] = part.pattern, part.pattern_scale
                frame[b, slot] = [*part.rotation.ravel(), *part.position]
                size = [*part.size, *[0.0] * (SIZES - len(part.size))]
                rows[part.kind].append((b, slot, size, float(part.mirrored)))
        tensors = {
            "blend": blend,
            "sign": sign,
            "color": color,
            "pattern": pattern,
            "frame": frame,
            "deform": np.array([(s.twist, s.bend) for s in shapes], np.float32),
            "gloss": np.array([s.gloss for s in shapes], np.float32),
            "extent": np.array([s.extent for s in shapes], np.float32),
        }
        for kind, entries in enumerate(rows):
            entries = entries + [(0, SLOTS, [0.1] * SIZES, 0.0)] * max(0, 2 - len(entries))
            tensors[f"object{kind}"] = np.array([e[0] for e in entries])
            tensors[f"slot{kind}"] = np.array([e[1] for e in entries])
            tensors[f"size{kind}"] = np.array([e[2] for e in entries], np.float32)
            tensors[f"mirror{kind}"] = np.array([e[3] for e in entries], np.float32)
        return cls({name: torch.from_numpy(array).to(device) for name, array in tensors.items()})


def deform(points: Tensor, deformation: Tensor) -> Tensor:
    """Undo twist and bend: points [B, N, 3] of the deformed object to the straight one, deformation [B, 2]."""
    x, y, z = points.unbind(-1)
    twist, bend = deformation[:, None, 0], deformation[:, None, 1]
    x = x - bend * z * z
    cos, sin = torch.cos(twist * z), torch.sin(twist * z)
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z], -1)


def part_distances(points: Tensor, tape: dict[str, Tensor]) -> Tensor:
    """Distance of points [B, N, 3] (object frame) to every part alone: [B, SLOTS, N], `FAR` in empty slots."""
    batch, count, _ = points.shape
    straight = deform(points, tape["deform"])
    distances = points.new_full((batch, SLOTS + 1, count), FAR)
    for kind, primitive in enumerate(PRIMITIVES):
        owner, slot = tape[f"object{kind}"], tape[f"slot{kind}"]
        frame = tape["frame"][owner, slot]  # n, 12
        p = straight[owner]  # n, N, 3
        mirrored = tape[f"mirror{kind}"][:, None]
        y = torch.where(mirrored > 0, p[..., 1].abs(), p[..., 1])
        x, y, z = p[..., 0] - frame[:, None, 9], y - frame[:, None, 10], p[..., 2] - frame[:, None, 11]
        local = torch.stack(
            [x * frame[:, None, k] + y * frame[:, None, 3 + k] + z * frame[:, None, 6 + k] for k in range(3)], -1
        )
        distances[owner, slot] = primitive(local, tape[f"size{kind}"][:, None])
    return distances[:, :SLOTS]


def join(distances: Tensor, tape: dict[str, Tensor]) -> Tensor:
    """Join parts [B, SLOTS, N] in order: polynomial smooth union and subtraction (Quilez). Returns [B, N]."""
    total = distances.new_full((distances.shape[0], distances.shape[2]), FAR)
    for slot in range(SLOTS):
        d, k, sign = distances[:, slot], tape["blend"][:, slot, None], tape["sign"][:, slot, None]
        # Union: the smooth minimum of total and d. Subtraction: minus the smooth minimum of −total and d.
        a = sign * total
        h = (0.5 + 0.5 * (a - d) / k).clamp(0, 1)
        total = sign * (a + (d - a) * h - k * h * (1 - h))
    return total


def measure(points: Tensor, tape: dict[str, Tensor]) -> Tensor:
    """Signed distance (negative inside) of points [B, N, 3] in the object frame to the `B` objects of a tape: [B, N].

    The slow, clear reference of `compiled_measure`. Bent and twisted objects return a bound: the distance is divided by
    how much the deformation can stretch space.
    """
    stretch = 1 + 0.7 * tape["deform"].abs().sum(-1, keepdim=True)
    return join(part_distances(points, tape), tape) / stretch


compiled_measure = torch.compile(measure, dynamic=True)


def hash_noise(cells: Tensor) -> Tensor:
    """A pseudo-random number in [0, 1) for each integer cell [..., 3] (the classic sine hash)."""
    value = torch.sin(cells[..., 0] * 12.9898 + cells[..., 1] * 78.233 + cells[..., 2] * 37.719) * 43758.5453
    return value - value.floor()


def surface_color(points: Tensor, tape: dict[str, Tensor]) -> Tensor:
    """Colour [B, N, 3], sRGB in [0, 1], of points [B, N, 3] at the surface: that of the nearest uncarved part."""
    distances = part_distances(points, tape)
    carved = tape["sign"][:, :SLOTS, None] < 0
    nearest = distances.masked_fill(carved, FAR).abs().argmin(1)  # B, N
    owner = torch.arange(len(points), device=points.device)[:, None]
    color, pattern, frame = (tape[name][owner, nearest] for name in ("color", "pattern", "frame"))
    local = deform(points, tape["deform"]) - frame[..., 9:]
    kind, scale = pattern[..., 0], pattern[..., 1]
    scaled = local * scale[..., None]
    cells = (scaled + 1e-3).floor()
    second = torch.where(kind == STRIPES, (scaled[..., 2].floor() % 2), torch.zeros_like(kind))
    second = torch.where(kind == CHECKS, cells.sum(-1) % 2, second)
    second = torch.where(kind == NOISE, hash_noise(cells), second)
    second = torch.where(kind == TWO_TONE, (local[..., 2] > 0).float(), second)
    return color[..., :3] + (color[..., 3:] - color[..., :3]) * second[..., None]
