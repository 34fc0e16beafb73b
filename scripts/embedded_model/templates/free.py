"""Objects without a name: free compositions of parts, and hybrids of two things."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import shapes
from ..shapes import Part
from .maker import TEMPLATES, Maker, along, rotation


def composition(m: Maker) -> None:
    """Parts of any kind grown on one another, often mirrored and standing on the ground."""
    places = [np.zeros(3)]
    symmetric = m.chance(0.6)
    for k in range(int(m.rng.integers(1, 9))):
        if k and m.chance(0.6):
            m.paint()
        base = places[m.rng.integers(len(places))]
        size = m.u(0.3, 0.6) if k == 0 else m.u(0.08, 0.4)
        direction = m.rng.normal(size=3)
        at = np.zeros(3) if k == 0 else base + direction / np.linalg.norm(direction) * m.u(0.2, 0.5)
        if symmetric and m.chance(0.4):
            at[1] = 0
        upright = m.chance(0.6)
        turn = m.pick(np.eye(3), rotation("x", 90), rotation("y", 90)) if upright else along(m.rng.normal(size=3))
        how = {
            "turn": turn,
            "blend": m.pick(0.01, 0.04, 0.12),
            "mirrored": symmetric and abs(at[1]) > 0.05,
            "subtract": k > 0 and m.chance(0.12),
        }
        stretch = m.rng.uniform(0.4, 1.3, 3)
        kind = m.rng.integers(6)
        if kind == shapes.BOX:
            m.box(at, size * stretch, m.u(0.005, 0.1), **how)
        elif kind == shapes.SUPERQUADRIC:
            m.blob(at, size * stretch, m.u(1.4, 5), m.u(1.4, 5), **how)
        elif kind == shapes.CONE:
            m.cone(at, size * stretch[0], size * stretch[1], size * stretch[2] * 1.2, m.u(0.005, 0.05), **how)
        elif kind == shapes.TORUS:
            m.ring(at, size * 0.8, size * m.u(0.15, 0.35), m.pick(0, 0, 0.2), **how)
        elif kind == shapes.CAPSULE:
            how.pop("turn")
            m.rod(
                at - turn[:, 2] * size, at + turn[:, 2] * size, size * stretch[0] * 0.5, size * stretch[1] * 0.5, **how
            )
        else:
            m.lathe(at, m.rng.uniform(0.15, 1, int(m.rng.integers(3, 7))) * size, size * m.u(0.5, 1.4), **how)
        if not how["subtract"]:
            places.append(at)
    if m.chance(0.3):
        floor = min(p.position[2] - 0.6 * p.radius for p in m.parts if not p.subtract)
        m.box((0, 0, floor - 1.0), (2.0, 2.0, 1.0), 0.001, subtract=True)
    if m.chance(0.2):
        m.twist = m.u(-1.5, 1.5)
    if m.chance(0.2):
        m.bend = m.u(-0.5, 0.5)


def resized(part: Part, factor: float, at: np.ndarray) -> Part:
    """The part at `factor` times its size, its pattern and its blend too, moved to `at`."""
    lengths = 3 if part.kind == shapes.SUPERQUADRIC else len(part.size)  # its last two numbers are exponents
    return replace(
        part,
        size=(*(factor * s for s in part.size[:lengths]), *part.size[lengths:]),
        position=at,
        radius=factor * part.radius,
        pattern_scale=part.pattern_scale / factor,
        blend=factor * part.blend,
    )


def spot_on(part: Part, rng: np.random.Generator) -> np.ndarray:
    """A random point [3] inside the part, more than half of the way from its centre to its surface."""
    s, direction = part.size, rng.normal(size=3)
    if part.kind == shapes.TORUS:  # on the line that it follows: its centre is empty
        reach, direction[2] = (s[0] + s[2], s[0], 0), 0
        return part.position + part.rotation @ (direction / np.linalg.norm(direction) * reach)
    if part.kind in (shapes.BOX, shapes.SUPERQUADRIC):
        reach = s[:3]
    else:
        radius, half = (np.mean(s[:7]), s[7]) if part.kind == shapes.LATHE else (np.mean(s[:2]), s[2])
        reach = (radius, radius, half)
    return part.position + part.rotation @ (0.6 * direction / np.linalg.norm(direction) * reach)


def hybrid(m: Maker, names: tuple[str, ...]) -> None:
    """A thing that lost some parts and grew some of another: what is remembered of either would complete it wrongly."""
    TEMPLATES[names[m.rng.integers(len(names))]](m)
    m.parts = [part for k, part in enumerate(m.parts) if k == 0 or not m.chance(0.2)]
    donor = Maker(m.rng)
    TEMPLATES[names[m.rng.integers(len(names))]](donor)
    grafts = [part for part in donor.parts if not part.subtract][: shapes.SLOTS - len(m.parts)]
    if not grafts:
        return
    grafts = grafts[: int(m.rng.integers(1, 6))]
    stock, factor = m.pick(*(part for part in m.parts if not part.subtract)), m.u(0.35, 0.9)
    at, root = spot_on(stock, m.rng), grafts[0].position
    m.parts += [resized(part, factor, at + factor * (part.position - root)) for part in grafts]
