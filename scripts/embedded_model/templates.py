"""What the objects are: things with a meaning (a chair, a mug, a dog), and free compositions of parts.

The hidden side of an object can only be known from knowing what it is, so most objects are things. Every template draws
wide parameters from `rng`; lengths are in units of roughly half the object's size, the front is +x, up is +z.
`HELD_OUT` names templates that training never sees: they measure how far the model carries.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import shapes
from .shapes import Part, Shape

Template = Callable[["Maker"], None]
TEMPLATES: dict[str, Template] = {}
FREE_SHARE = 0.25  # of the objects are free compositions
HELD_OUT = ("teapot", "bench", "bird", "rocket")


def template(function: Template) -> Template:
    TEMPLATES[function.__name__] = function
    return function


def rotation(axis: str, degrees: float) -> np.ndarray:
    """Rotation matrix about a coordinate axis, counter-clockwise seen from its tip."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def along(direction: np.ndarray) -> np.ndarray:
    """A rotation that takes z to `direction`."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1, 0] if abs(z[1]) < 0.9 else [1.0, 0, 0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], 1)


class Maker:
    """Collects the parts of one object; the methods are the vocabulary of the templates."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.parts: list[Part] = []
        self.twist = self.bend = 0.0
        self.paint()

    # -- chance ------------------------------------------------------------------------------------------------------
    def u(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def hue(self, low: float = 0.0, high: float = 1.0, saturation=(0.15, 0.95), value=(0.25, 0.98)) -> np.ndarray:
        """A colour of a hue between low and high (turns); one in six is a grey, as many things are."""
        s = 0.0 if (low, high) == (0.0, 1.0) and self.chance(0.17) else self.u(*saturation)
        return np.array(colorsys.hsv_to_rgb(self.u(low, high) % 1, s, self.u(*value)))

    def wood(self) -> np.ndarray:
        return self.hue(0.05, 0.11, (0.35, 0.8), (0.25, 0.85))

    def green(self) -> np.ndarray:
        return self.hue(0.2, 0.42, (0.4, 0.9), (0.25, 0.75))

    def paint(self, color: np.ndarray | None = None, patterned: float = 0.12) -> None:
        """Choose the material of the parts that follow."""
        self.color = self.hue() if color is None else color
        self.second = self.hue()
        self.pattern = int(self.rng.integers(1, 5)) if self.chance(patterned) else shapes.SOLID
        self.scale = self.u(3, 9)

    # -- parts -------------------------------------------------------------------------------------------------------
    def add(self, kind, size, radius, at, turn=None, blend=0.01, subtract=False, mirrored=False) -> None:
        self.parts.append(
            Part(
                kind, tuple(size), np.asarray(at, float), np.eye(3) if turn is None else turn, radius,
                self.color, self.second, self.pattern, self.scale, blend, subtract, mirrored,
            )
        )  # fmt: skip

    def box(self, at, half, round_=0.02, **how) -> None:
        half = np.maximum(half, 0.012)
        self.add(shapes.BOX, (*half, min(round_, 0.9 * min(half))), float(np.linalg.norm(half)), at, **how)

    def blob(self, at, half, across=2.0, along_=2.0, **how) -> None:
        self.add(shapes.SUPERQUADRIC, (*half, across, along_), float(np.linalg.norm(half)), at, **how)

    def cone(self, at, low, high, half, round_=0.01, **how) -> None:
        low, high = max(low, 0.004), max(high, 0.004)
        edge = min(round_, 0.5 * half, 0.5 * max(low, high))
        self.add(shapes.CONE, (low, high, half, edge), math.hypot(max(low, high), half), at, **how)

    def rod(self, start, end, radius, end_radius=None, **how) -> None:
        """A capsule from `start` to `end`."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        end_radius = radius if end_radius is None else end_radius
        half = max(np.linalg.norm(end - start) / 2, 1e-3)
        turn = along(end - start) if half > 1e-3 else None
        size = (radius, end_radius, half)
        self.add(shapes.CAPSULE, size, half + max(radius, end_radius), (start + end) / 2, turn, **how)

    def ring(self, at, radius, thickness, stretch=0.0, turn=None, **how) -> None:
        self.add(shapes.TORUS, (radius, thickness, stretch), radius + thickness + stretch, at, turn, **how)

    def lathe(self, at, radii, half, **how) -> None:
        radii = np.interp(np.linspace(0, 1, 7), np.linspace(0, 1, len(radii)), np.maximum(radii, 0.004))
        self.add(shapes.LATHE, (*radii, half), math.hypot(max(radii), half), at, **how)

    def hollow(self, at, radii, half, wall, floor=0.08, **how) -> None:
        """An open vessel: a lathe with a smaller one carved out of its top."""
        radii = np.interp(np.linspace(0, 1, 7), np.linspace(0, 1, len(radii)), radii)
        self.lathe(at, radii, half, **how)
        inner = np.maximum(radii - wall, 0.02)
        self.lathe(
            (at[0], at[1], at[2] + floor * half + 0.02), inner, half * (1 - floor / 2), subtract=True, blend=0.005
        )

    def legs(self, x, y, top, bottom, radius, splay=0.0, square=False) -> None:
        for side in (x, -x):
            if square:
                self.box((side, y, (top + bottom) / 2), (radius, radius, (top - bottom) / 2), mirrored=True)
            else:
                self.rod(
                    (side, y, top), (side * (1 + splay), y * (1 + splay), bottom), radius, radius * 0.8, mirrored=True
                )


# -- furniture ---------------------------------------------------------------------------------------------------------
@template
def chair(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.6) else None)
    w, d, seat, leg = m.u(0.32, 0.5), m.u(0.32, 0.48), m.u(-0.15, 0.1), m.u(0.025, 0.06)
    thick, back = m.u(0.03, 0.09), m.u(0.45, 0.85)
    m.legs(d - leg, w - leg, seat, -0.8, leg, m.u(0, 0.2), m.chance(0.5))
    m.box((0, 0, seat), (d, w, thick), m.u(0.01, 0.05))
    lean, style = m.u(0, 0.15), m.rng.integers(3)
    if style == 0:
        m.box(
            (-d + 0.03 - lean / 2, 0, seat + back / 2),
            (m.u(0.025, 0.06), w, back / 2),
            0.03,
            turn=rotation("y", -8 * lean * 10),
        )
    else:
        m.rod((-d + leg, w - leg, seat), (-d - lean, w - leg, seat + back), leg, mirrored=True)
        bars = m.rng.integers(2, 5)
        for k in range(bars):
            z = seat + back * (0.35 + 0.65 * k / (bars - 1))
            m.box((-d + leg - lean * (z - seat) / back, 0, z), (0.025, w - leg, m.u(0.03, 0.07)))
    if m.chance(0.35):
        m.rod((-d, w, seat + 0.3), (d * 0.9, w, seat + 0.3), leg, mirrored=True)
        m.rod((d * 0.9, w, seat + 0.3), (d * 0.9, w, seat), leg, mirrored=True)


@template
def table(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.6) else None)
    w, d, top, leg, thick = m.u(0.5, 0.95), m.u(0.35, 0.7), m.u(0.1, 0.5), m.u(0.03, 0.08), m.u(0.025, 0.07)
    round_top = m.chance(0.35)
    if round_top:
        m.cone((0, 0, top), w, w, thick, 0.02)
    else:
        m.box((0, 0, top), (d, w, thick), 0.02)
    if m.chance(0.25):
        m.cone((0, 0, (top - 0.6) / 2), leg * 1.4, leg, (top + 0.6) / 2)
        m.cone((0, 0, -0.6), 0.5 * w, 0.3 * w, 0.04)
    else:
        inset = 0.68 if round_top else 0.92
        m.legs((w if round_top else d) * inset - leg, w * inset - leg, top, -0.6, leg, m.u(0, 0.15), m.chance(0.5))
        if m.chance(0.3):
            m.box((0, 0, top - 0.12), (d * 0.85, w * 0.85, 0.06))


@template
def stool(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.5) else None)
    r, leg, top = m.u(0.3, 0.45), m.u(0.03, 0.06), m.u(0.1, 0.5)
    m.cone((0, 0, top), r, r * m.u(0.9, 1.05), m.u(0.04, 0.12), 0.04)
    m.legs(r * 0.65, r * 0.65, top, -0.7, leg, m.u(0.1, 0.5))
    if m.chance(0.5):
        m.ring((0, 0, m.u(-0.4, -0.1)), r * 0.95, 0.025)


@template
def bench(m: Maker) -> None:
    m.paint(m.wood())
    w, d = m.u(0.7, 0.95), m.u(0.2, 0.32)
    m.box((0, 0, 0), (d, w, m.u(0.03, 0.06)))
    m.box((0, w * 0.8, -0.25), (d * 0.85, 0.05, 0.25), mirrored=True)
    if m.chance(0.6):
        m.box((-d, 0, 0.35), (0.03, w, m.u(0.1, 0.2)), turn=rotation("y", -8))
        m.box((-d, w * 0.8, 0.2), (0.03, 0.04, 0.25), mirrored=True)


@template
def sofa(m: Maker) -> None:
    w, d, back, arm = m.u(0.5, 0.95), m.u(0.35, 0.5), m.u(0.3, 0.6), m.u(0.08, 0.16)
    soft = m.u(0.03, 0.08)
    m.box((0, 0, -0.2), (d, w, m.u(0.14, 0.2)), soft, blend=0.02)
    m.box((-d + 0.08, 0, back / 2 - 0.15), (0.1, w, back / 2 + 0.1), soft, blend=0.02)
    m.box((0, w, 0), (d, arm, m.u(0.2, 0.32)), soft, blend=0.02, mirrored=True)
    m.legs(d * 0.8, w * 0.9, -0.3, -0.45, 0.04)
    if m.chance(0.5):
        m.paint()
        m.box((0.02, w * 0.48, 0.02), (d * 0.75, w * 0.42, 0.09), 0.06, mirrored=True)


@template
def bed(m: Maker) -> None:
    m.paint(m.wood())
    w, d = m.u(0.4, 0.65), m.u(0.75, 0.95)
    m.box((0, 0, -0.25), (d, w, 0.09))
    m.box((-d, 0, 0.02), (0.04, w, m.u(0.25, 0.45)), 0.03)
    m.legs(d * 0.95, w * 0.9, -0.25, -0.45, 0.05, square=True)
    m.paint()
    m.box((0.02, 0, -0.1), (d * 0.95, w * 0.96, 0.12), 0.06)
    m.paint(m.hue(value=(0.8, 1), saturation=(0, 0.2)))
    m.box((-d * 0.75, w * 0.45, 0.05), (0.16, w * 0.38, 0.07), 0.05, mirrored=True)


@template
def cabinet(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.5) else None)
    w, d, h = m.u(0.3, 0.7), m.u(0.2, 0.4), m.u(0.35, 0.85)
    m.box((0, 0, 0), (d, w, h), 0.02)
    rows, columns = int(m.rng.integers(1, 5)), m.chance(0.5)
    if m.chance(0.35):  # an open shelf
        for k in range(rows):
            z = h * (2 * (k + 0.5) / rows - 1)
            m.box((0.1, 0, z), (d, w * 0.9, h / rows * 0.8), subtract=True, blend=0.005)
    else:
        m.paint()
        for k in range(rows):
            z = h * (2 * (k + 0.5) / rows - 1)
            m.box(
                (d, w * 0.47 if columns else 0, z),
                (0.025, w * (0.42 if columns else 0.88), h / rows * 0.85),
                mirrored=columns,
            )
    m.paint(patterned=0)
    m.legs(d * 0.8, w * 0.85, -h, -h - m.u(0.03, 0.2), 0.04)


@template
def lamp(m: Maker) -> None:
    m.paint()
    h = m.u(0.4, 0.8)
    m.cone((0, 0, -h), m.u(0.2, 0.4), m.u(0.1, 0.25), m.u(0.03, 0.07), 0.02)
    if m.chance(0.4):
        m.lathe((0, 0, -0.2), m.rng.uniform(0.05, 0.25, 6), h * 0.85)
    else:
        m.rod((0, 0, -h), (0, 0, h * 0.6), m.u(0.025, 0.05))
    m.paint(m.hue(value=(0.6, 1)))
    low, high, tall = m.u(0.3, 0.5), m.u(0.12, 0.4), m.u(0.16, 0.32)
    if m.chance(0.3):
        m.blob((0, 0, h * 0.7), (low * 0.8, low * 0.8, tall))
    else:
        m.cone((0, 0, h * 0.7), low, min(high, low), tall)
        m.cone((0, 0, h * 0.7 - 0.08), low - 0.03, max(min(high, low) - 0.05, 0.03), tall, subtract=True)


# -- vessels -----------------------------------------------------------------------------------------------------------
@template
def mug(m: Maker) -> None:
    r, h = m.u(0.3, 0.5), m.u(0.35, 0.65)
    m.hollow((0, 0, 0), [r * m.u(0.75, 1), r, r * m.u(0.95, 1.1)], h, m.u(0.03, 0.07))
    body = m.parts.pop()  # the handle goes on before the inside is carved out
    if m.chance(0.3):
        m.paint()
    tall = h * m.u(0.4, 0.65)
    m.ring(
        (0, r + 0.02, m.u(-0.1, 0.1)),
        tall * m.u(0.6, 1),
        m.u(0.035, 0.07),
        tall * 0.3,
        turn=rotation("y", 90),
        blend=0.03,
    )
    m.parts.append(body)


@template
def bottle(m: Maker) -> None:
    r, h = m.u(0.18, 0.36), m.u(0.6, 0.95)
    neck, shoulder = r * m.u(0.22, 0.5), m.u(0.5, 0.95)
    m.lathe((0, 0, 0), [r * 0.96, r, r, r * m.u(0.9, 1), r * shoulder, neck, neck], h)
    m.paint()
    m.cone((0, 0, h), neck * 1.15, neck * 1.1, m.u(0.04, 0.1))
    if m.chance(0.5):
        m.paint()
        m.cone((0, 0, -h * m.u(0.1, 0.35)), r * 1.02, r * 1.02, h * m.u(0.15, 0.3))


@template
def vase(m: Maker) -> None:
    m.hollow((0, 0, 0), m.rng.uniform(0.15, 0.5, int(m.rng.integers(3, 7))), m.u(0.5, 0.85), m.u(0.03, 0.06), 0.15)
    if m.chance(0.35):
        inside = m.parts.pop()
        m.ring((0, 0.35, 0.15), 0.2, 0.035, turn=rotation("y", 90), mirrored=True, blend=0.03)
        m.parts.append(inside)


@template
def bowl(m: Maker) -> None:
    r, h = m.u(0.6, 0.9), m.u(0.2, 0.42)
    m.hollow((0, 0, 0), [r * m.u(0.3, 0.55), r * 0.8, r], h, m.u(0.04, 0.08), 0.15)
    if m.chance(0.6):
        for _ in range(int(m.rng.integers(1, 6))):
            m.paint()
            size, angle, out = m.u(0.12, 0.28), m.u(0, 6.3), m.u(0, r * 0.5)
            m.blob((out * math.cos(angle), out * math.sin(angle), h * m.u(0.2, 0.9)), (size, size, size))


@template
def pot(m: Maker) -> None:
    """A cooking pot or a barrel."""
    r, h = m.u(0.4, 0.65), m.u(0.25, 0.6)
    m.lathe((0, 0, 0), [r * m.u(0.8, 1), r * m.u(1, 1.12), r], h)
    if m.chance(0.6):
        m.paint()
        m.cone((0, 0, h + 0.03), r * 1.03, r * m.u(0.4, 1), 0.05, 0.02)
        m.blob((0, 0, h + 0.13), (0.07, 0.07, 0.07))
        m.ring((0, r + 0.05, h * 0.4), 0.1, 0.03, turn=rotation("x", m.u(0, 20)), mirrored=True)
    else:
        for z in (-0.6, 0.0, 0.6):
            m.paint(m.hue(value=(0.1, 0.5)), 0)
            m.ring((0, 0, z * h), r * 1.02, 0.03)


@template
def teapot(m: Maker) -> None:
    r, squash = m.u(0.42, 0.55), m.u(0.75, 1.05)
    m.lathe((0, 0, 0), [r * 0.6, r * 0.95, r * 1.02, r * 0.9, r * 0.55], r * squash)
    m.rod((0, r * 0.8, -0.12), (0, r * 1.75, r * 0.7), 0.12, 0.05, blend=0.06)
    m.ring((0, -r * 1.15, 0.05), r * 0.45, 0.045, 0, turn=rotation("y", 90), blend=0.04)
    m.lathe((0, 0, r * squash), [r * 0.58, r * 0.5, r * 0.1], 0.09)
    m.blob((0, 0, r * squash + 0.13), (0.07, 0.07, 0.07))


@template
def goblet(m: Maker) -> None:
    r, h = m.u(0.25, 0.45), m.u(0.25, 0.45)
    m.cone((0, 0, -0.75), r * m.u(0.7, 1.1), 0.06, 0.04)
    m.rod((0, 0, -0.75), (0, 0, 0), m.u(0.03, 0.06), blend=0.05)
    m.hollow((0, 0, h), [r * m.u(0.2, 0.5), r, r * m.u(0.75, 1.05)], h, 0.035, 0.1)


# -- vehicles ----------------------------------------------------------------------------------------------------------
def wheels(m: Maker, x: float, y: float, z: float, radius: float, width: float) -> None:
    m.paint(m.hue(value=(0.05, 0.25), saturation=(0, 0.2)), 0)
    for side in (x, -x):
        m.cone((side, y, z), radius, radius, width, 0.03, turn=rotation("x", 90), mirrored=True)
    m.paint(m.hue(value=(0.6, 0.95), saturation=(0, 0.3)), 0)
    for side in (x, -x):
        m.cone(
            (side, y + width * 0.6, z), radius * 0.55, radius * 0.55, width * 0.6, turn=rotation("x", 90), mirrored=True
        )


@template
def car(m: Maker) -> None:
    length, w, h, wheel = m.u(0.75, 0.95), m.u(0.3, 0.42), m.u(0.12, 0.2), m.u(0.13, 0.2)
    soft = m.u(0.03, 0.1)
    m.box((0, 0, 0), (length, w, h), soft, blend=0.04)
    body = (m.color, m.second)
    if m.chance(0.75):
        m.paint(m.hue(0.5, 0.65, (0.1, 0.5), (0.2, 0.7)), 0)
        cabin = length * m.u(0.4, 0.62)
        m.blob((m.u(-0.25, 0), 0, h + 0.12), (cabin, w * 0.88, m.u(0.2, 0.32)), 5, m.u(2.2, 5), blend=0.03)
        m.color, m.second = body
        m.box((m.u(-0.2, -0.05), 0, h + m.u(0.24, 0.34)), (cabin * 0.65, w * 0.75, 0.03))
    wheels(m, length * 0.62, w * 0.9, -h, wheel, 0.07)
    m.paint(m.hue(0.1, 0.17, (0.1, 0.6), (0.85, 1)), 0)
    m.blob((length, w * 0.68, 0.04), (0.04, 0.08, 0.06), mirrored=True)


@template
def truck(m: Maker) -> None:
    w, bed_h = m.u(0.28, 0.36), m.u(0.2, 0.42)
    m.box((0.62, 0, 0.1), (0.26, w, m.u(0.28, 0.36)), 0.05)
    cabin = m.color
    m.paint(m.hue(0.5, 0.65, (0.1, 0.5), (0.3, 0.8)), 0)
    m.box((0.8, 0, 0.22), (0.1, w * 0.88, 0.1), 0.03)
    m.paint()
    if m.chance(0.6):
        m.box((-0.25, 0, bed_h - 0.08), (0.58, w * 1.05, bed_h), 0.02)
    else:
        m.cone((-0.25, 0, 0.2), w, w, 0.58, turn=rotation("y", 90))
    m.paint(cabin * 0.5, 0)
    m.box((0, 0, -0.18), (0.85, w * 0.8, 0.05))
    wheels(m, 0.6, w * 0.9, -0.25, m.u(0.13, 0.18), 0.07)


@template
def boat(m: Maker) -> None:
    w = m.u(0.22, 0.38)
    m.blob((0, 0, 0), (0.9, w, m.u(0.25, 0.4)), m.u(1.6, 2.2), 2.2)
    m.box((0, 0, 0.35), (1, 0.6, 0.32), subtract=True)
    if m.chance(0.5):
        m.paint(m.wood())
        m.rod((0.05, 0, 0), (0.05, 0, 1.2), 0.03)
        m.paint(m.hue(value=(0.75, 1)))
        m.box((-0.22, 0, 0.6), (m.u(0.2, 0.35), 0.015, m.u(0.3, 0.45)))
    else:
        m.paint()
        m.box((-0.1, 0, 0.15), (0.35, w * 0.6, 0.16), 0.03)
        m.cone((-0.2, 0, 0.4), 0.09, 0.09, 0.16)


@template
def plane(m: Maker) -> None:
    r, span = m.u(0.1, 0.17), m.u(0.6, 0.95)
    m.rod((-0.85, 0, 0.06), (0.75, 0, 0), r * 0.45, r, blend=0.04)
    if m.chance(0.5):
        m.paint()
    sweep = m.u(-0.35, 0.1)
    m.blob(
        (0.1 + sweep / 2, span / 2, m.pick(-0.04, 0.1)),
        (m.u(0.14, 0.24), span / 2 + 0.05, 0.035),
        3,
        2,
        turn=rotation("z", -math.degrees(math.atan2(sweep, span))),
        mirrored=True,
        blend=0.03,
    )
    m.blob((-0.78, 0.15, 0.08), (0.1, 0.24, 0.025), 3, 2, mirrored=True)
    m.blob((-0.8, 0, 0.22), (0.12, 0.025, 0.22), 3, 2)
    m.paint(patterned=0)
    if m.chance(0.5):
        m.rod((0.05, span * 0.45, -0.1), (0.3, span * 0.45, -0.1), 0.07, mirrored=True)
    else:
        m.box((0.78 + r, 0, 0), (0.015, 0.03, 0.3), turn=rotation("x", m.u(0, 90)))


@template
def rocket(m: Maker) -> None:
    r = m.u(0.16, 0.28)
    m.lathe((0, 0, 0), [r * 0.7, r, r, r, r * 0.8, r * 0.5, 0.01], 0.85)
    m.paint()
    for k in range(int(m.rng.integers(3, 5))):
        turn = rotation("z", 90 * k)
        m.box(turn @ np.array([r + 0.08, 0, -0.7]), (0.14, 0.02, 0.2), turn=turn @ rotation("y", 25))
    m.paint(m.hue(0.5, 0.6), 0)
    m.blob((r * 0.95, 0, 0.25), (0.06, 0.1, 0.1))


@template
def train(m: Maker) -> None:
    r = m.u(0.22, 0.3)
    m.cone((0.2, 0, 0.1), r, r, 0.5, turn=rotation("y", 90))
    m.box((-0.5, 0, 0.22), (0.25, r * 1.1, 0.35), 0.03)
    m.paint()
    m.box((-0.5, 0, 0.6), (0.3, r * 1.25, 0.04))
    m.cone((0.5, 0, 0.45), 0.07, m.u(0.07, 0.13), 0.18)
    m.box((0, 0, -0.17), (0.8, r, 0.06))
    wheels(m, 0.4, r, -0.25, m.u(0.12, 0.18), 0.05)


# -- buildings ---------------------------------------------------------------------------------------------------------
@template
def house(m: Maker) -> None:
    m.paint(m.hue(value=(0.6, 1)))
    w, d, h = m.u(0.45, 0.7), m.u(0.4, 0.65), m.u(0.25, 0.5)
    m.box((0, 0, 0), (d, w, h), 0.005)
    m.paint(m.hue(0, 0.12) if m.chance(0.6) else None)
    roof, over = m.u(0.3, 0.6), 0.08
    if m.chance(0.75):  # two slabs
        angle = math.atan2(roof, w)
        slope = math.hypot(roof, w) / 2 + over
        m.box(
            (0, w / 2, h + roof / 2 + 0.01),
            (d + over, slope, 0.035),
            turn=rotation("x", -math.degrees(angle)),
            mirrored=True,
        )
        m.paint(m.hue(value=(0.5, 1)), 0)
        m.box(
            (0, w / 2 - 0.1, h + roof / 2 - 0.12),
            (d, slope * 0.8, 0.12),
            turn=rotation("x", -math.degrees(angle)),
            mirrored=True,
        )
    else:
        m.cone((0, 0, h + roof / 2), max(w, d) * 1.3, 0.02, roof / 2)
    if m.chance(0.5):
        m.paint(m.hue(0, 0.08))
        m.box((-d * 0.3, w * 0.45, h + roof * 0.7), (0.07, 0.07, roof * 0.5))
    m.paint(m.wood())
    m.box((d, m.u(-0.2, 0.2), -h + 0.2), (0.02, 0.1, 0.2))
    m.paint(m.hue(0.5, 0.62, (0.2, 0.6), (0.4, 1)), 0)
    m.box((d, w * 0.6, 0.05), (0.02, 0.1, 0.1), mirrored=True)
    m.box((0, w, 0.05), (0.12, 0.02, 0.1), mirrored=True)


@template
def tower(m: Maker) -> None:
    r, h = m.u(0.18, 0.35), m.u(0.55, 0.8)
    square = m.chance(0.5)
    if square:
        m.box((0, 0, -0.1), (r, r, h), 0.01)
    else:
        m.cone((0, 0, -0.1), r * m.u(1, 1.3), r, h)
    m.paint()
    z = h - 0.1
    if m.chance(0.6):
        m.cone((0, 0, z + 0.2), r * m.u(1.15, 1.5), 0.02, m.u(0.18, 0.3))
    else:
        m.cone((0, 0, z + 0.03), r * 1.25, r * 1.25, 0.08)
        m.box((r * 1.1, r * 0.6, z + 0.14), (0.07, 0.09, 0.07), mirrored=True)
        m.box((-r * 1.1, r * 0.6, z + 0.14), (0.07, 0.09, 0.07), mirrored=True)
    m.paint(m.hue(value=(0.05, 0.5)), 0)
    for k in range(int(m.rng.integers(1, 4))):
        m.box((r, 0, -h + 0.3 + 0.4 * k), (0.06, 0.06, 0.1))


# -- plants and food ---------------------------------------------------------------------------------------------------
@template
def tree(m: Maker) -> None:
    m.paint(m.wood(), 0)
    r = m.u(0.05, 0.11)
    m.rod((0, 0, -0.85), (m.u(-0.1, 0.1), m.u(-0.1, 0.1), 0.1), r * 1.2, r * 0.8)
    m.paint(m.green() if m.chance(0.75) else m.hue(0.9, 1.15), 0.25)
    for _ in range(int(m.rng.integers(1, 8))):
        size, spread = m.u(0.22, 0.5), 0.35
        m.blob(
            (m.u(-spread, spread), m.u(-spread, spread), m.u(0.05, 0.55)),
            (size, size, size * m.u(0.7, 1.1)),
            blend=0.05,
        )


@template
def fir(m: Maker) -> None:
    m.paint(m.wood(), 0)
    m.cone((0, 0, -0.75), 0.09, 0.08, 0.2)
    m.paint(m.green(), 0.1)
    tiers, r = int(m.rng.integers(1, 5)), m.u(0.35, 0.55)
    for k in range(tiers):
        f = k / tiers
        m.cone(
            (0, 0, -0.35 + 1.1 * f + 0.1),
            r * (1 - 0.75 * f),
            0.02 + (0.05 if k < tiers - 1 else 0),
            0.65 / tiers + 0.15,
        )


@template
def cactus(m: Maker) -> None:
    m.paint(m.wood())
    m.cone((0, 0, -0.7), m.u(0.2, 0.3), m.u(0.3, 0.4), 0.2)
    m.paint(m.green(), 0.3)
    r = m.u(0.13, 0.24)
    m.rod((0, 0, -0.5), (0, 0, m.u(0.3, 0.75)), r)
    for side in (1, -1):
        if m.chance(0.7):
            z, out = m.u(-0.3, 0.2), r + m.u(0.15, 0.25)
            m.rod((0, 0, z), (0, side * out, z + 0.05), r * 0.6, blend=0.03)
            m.rod((0, side * out, z + 0.05), (0, side * out, z + m.u(0.25, 0.45)), r * 0.6, blend=0.03)


@template
def mushroom(m: Maker) -> None:
    m.paint(patterned=0.4)
    r, h = m.u(0.45, 0.75), m.u(0.25, 0.5)
    m.blob((0, 0, 0.15), (r, r, h))
    m.box((0, 0, 0.15 - h), (1, 1, h * 0.85), subtract=True)
    m.paint(m.hue(0.08, 0.15, (0.05, 0.4), (0.7, 1)), 0)
    m.cone((0, 0, -0.35), m.u(0.14, 0.25), m.u(0.1, 0.2), 0.5, 0.05)


@template
def flower(m: Maker) -> None:
    m.paint(m.hue(0, 0.1))
    m.cone((0, 0, -0.65), m.u(0.18, 0.28), m.u(0.28, 0.38), 0.2)
    m.paint(m.green(), 0)
    m.rod((0, 0, -0.5), (0, 0, 0.4), 0.035)
    m.blob((0, 0.2, -0.15), (0.08, 0.22, 0.03), turn=rotation("x", 30), mirrored=True)
    m.paint(m.hue(), 0)
    petals, r = int(m.rng.integers(5, 9)), m.u(0.2, 0.3)
    tilt = m.u(0, 60)
    for k in range(petals):
        turn = rotation("z", 360 * k / petals) @ rotation("y", -tilt)
        m.blob(np.array([0, 0, 0.45]) + turn @ np.array([r, 0, 0]), (r * 0.75, r * 0.42, 0.05), turn=turn)
    m.paint(m.hue(0.1, 0.17, value=(0.5, 1)), 0)
    m.blob((0, 0, 0.47), (0.13, 0.13, 0.09))


@template
def fruit(m: Maker) -> None:
    kind = m.rng.integers(4)
    m.paint(m.hue(-0.05, 0.35, (0.6, 0.95), (0.6, 1)), 0.15)
    r = m.u(0.5, 0.75)
    if kind == 0:
        m.blob((0, 0, 0), (r, r, r * m.u(0.8, 1.1)))
    elif kind == 1:  # pear
        m.lathe((0, 0, 0), [r * 0.5, r, r * 0.95, r * 0.65, r * 0.45, r * 0.35, 0.05], 0.75)
    elif kind == 2:  # banana, carrot
        m.rod((0, 0, -0.7), (0, 0, 0.7), m.u(0.12, 0.2), m.u(0.06, 0.18))
        m.bend = m.u(-0.6, 0.6)
    else:  # pumpkin
        for k in range(4):
            turn = rotation("z", 45 * k)
            m.blob((0, 0, 0), (r, r * 0.45, r * 0.75), turn=turn, blend=0.06)
    m.paint(m.green() if m.chance(0.5) else m.wood(), 0)
    if kind != 2:
        m.rod((0, 0, r * 0.6), (m.u(-0.1, 0.1), 0.05, r * 0.6 + m.u(0.2, 0.35)), 0.035)
        if m.chance(0.4):
            m.blob((0, 0.15, r + 0.08), (0.07, 0.16, 0.02), turn=rotation("x", 20))


@template
def burger(m: Maker) -> None:
    r, z = m.u(0.6, 0.8), -0.4
    m.paint(m.hue(0.07, 0.1, (0.5, 0.8), (0.6, 0.9)), 0)
    bun = (m.color, m.second)
    m.cone((0, 0, z), r * 0.95, r, 0.1, 0.06)
    for _ in range(int(m.rng.integers(2, 6))):
        z += 0.13
        m.paint(
            m.pick(
                m.hue(0.02, 0.06, (0.5, 0.8), (0.2, 0.4)),
                m.green(),
                m.hue(0.12, 0.15, (0.7, 1), (0.8, 1)),
                m.hue(-0.02, 0.02, (0.7, 1), (0.6, 0.9)),
            ),
            0,
        )
        if m.chance(0.3):
            m.box((0, 0, z), (r * 0.8, r * 0.8, 0.03), turn=rotation("z", m.u(0, 90)))
        else:
            m.cone((0, 0, z), r * m.u(0.95, 1.08), r * m.u(0.95, 1.08), m.u(0.04, 0.09), 0.03)
    m.color, m.second = bun
    m.blob((0, 0, z + 0.08), (r, r, m.u(0.3, 0.5)))


@template
def cake(m: Maker) -> None:
    z, r = -0.5, m.u(0.5, 0.75)
    for _ in range(int(m.rng.integers(1, 4))):
        h = m.u(0.14, 0.28)
        m.paint()
        m.cone((0, 0, z + h), r, r * m.u(0.9, 1), h, 0.04)
        z += 2 * h
        r *= m.u(0.6, 0.85)
    for _ in range(int(m.rng.integers(0, 6))):
        m.paint()
        angle = m.u(0, 6.3)
        m.rod(
            (r * 0.7 * math.cos(angle), r * 0.7 * math.sin(angle), z),
            (r * 0.7 * math.cos(angle), r * 0.7 * math.sin(angle), z + 0.2),
            0.03,
        )


@template
def ice_cream(m: Maker) -> None:
    m.paint(m.hue(0.07, 0.11, (0.4, 0.7), (0.6, 0.9)), 0.4)
    r = m.u(0.25, 0.36)
    m.cone((0, 0, -0.4), 0.03, r, 0.5)
    z = 0.15
    for _ in range(int(m.rng.integers(1, 4))):
        m.paint()
        m.blob((0, 0, z), (r * 1.1, r * 1.1, r), blend=0.02)
        z += r * 1.1


# -- animals and figures -----------------------------------------------------------------------------------------------
@template
def quadruped(m: Maker) -> None:
    m.paint(m.hue(0.02, 0.12, (0.1, 0.8), (0.2, 0.95)) if m.chance(0.7) else None, 0.2)
    length, r, leg, thin = m.u(0.35, 0.6), m.u(0.15, 0.3), m.u(0.25, 0.65), m.u(0.04, 0.1)
    m.blob((0, 0, 0), (length, r, r * m.u(0.9, 1.15)), 2.4, 2.2)
    for side in (length * 0.72, -length * 0.72):
        m.rod(
            (side, r * 0.6, -r * 0.3),
            (side + m.u(-0.06, 0.06), r * 0.65, -r - leg),
            thin * 1.4,
            thin,
            mirrored=True,
            blend=0.05,
        )
    neck, head = m.u(0.1, 0.55), m.u(0.12, 0.26)
    top = np.array([length + m.u(0.02, 0.25), 0, r * 0.6 + neck])
    m.rod((length * 0.75, 0, r * 0.3), top, r * 0.6, head * 0.65, blend=0.08)
    m.blob(top, (head * m.u(1, 1.3), head * 0.8, head * 0.85), blend=0.04)
    m.rod(
        top + [head * 0.6, 0, -0.03], top + [head * m.u(1.1, 1.9), 0, -head * 0.4], head * 0.5, head * 0.35, blend=0.03
    )
    ear = m.u(0.08, 0.35)
    m.rod(
        top + [-0.02, head * 0.5, head * 0.5],
        top + [-0.05, head * m.u(0.6, 1.2), head * 0.4 + ear],
        0.06,
        0.025,
        mirrored=True,
    )
    m.rod(
        (-length * 0.9, 0, r * 0.3),
        (-length - m.u(0.1, 0.4), 0, m.u(-0.3, 0.5)),
        m.u(0.03, 0.07),
        m.u(0.02, 0.08),
        blend=0.03,
    )
    m.paint(m.hue(value=(0.02, 0.15)), 0)
    m.blob(top + [head * 0.75, head * 0.5, head * 0.25], (0.035, 0.035, 0.035), mirrored=True)
    if m.chance(0.25):
        m.paint(m.hue(value=(0.6, 1)), 0)
        m.rod(top + [0, head * 0.3, head * 0.6], top + [0.05, head * 0.8, head * 0.6 + 0.3], 0.04, 0.015, mirrored=True)


@template
def bird(m: Maker) -> None:
    r, leg = m.u(0.22, 0.36), m.u(0.1, 0.5)
    m.blob((0, 0, 0), (r * 1.5, r, r), turn=rotation("y", -m.u(0, 35)))
    m.blob((r * 1.1, 0, r * 1.1), (r * 0.6, r * 0.55, r * 0.6), blend=0.08)
    m.blob((-0.05, r, 0.02), (r * 1.2, 0.05, r * 0.6), turn=rotation("y", -20), mirrored=True)
    m.blob((-r * 1.8, 0, 0), (r * 0.8, r * 0.4, 0.05), turn=rotation("y", -10))
    m.paint(m.hue(0.05, 0.14, (0.6, 1), (0.6, 1)), 0)
    m.cone((r * 1.85, 0, r * 1.05), 0.07, 0.01, 0.14, turn=rotation("y", 95))
    m.rod((0, r * 0.4, -r * 0.7), (0.05, r * 0.4, -r - leg), 0.03, mirrored=True)


@template
def fish(m: Maker) -> None:
    h = m.u(0.25, 0.45)
    m.blob((0.1, 0, 0), (0.6, m.u(0.12, 0.24), h), 2, m.u(1.5, 2.2))
    if m.chance(0.5):
        m.paint()
    m.blob((-0.65, 0, 0.1), (0.24, 0.025, 0.12), turn=rotation("y", 35))
    m.blob((-0.65, 0, -0.1), (0.24, 0.025, 0.12), turn=rotation("y", -35))
    m.blob((0.05, 0, h), (0.25, 0.02, 0.16))
    m.blob((0.15, 0.2, -0.08), (0.14, 0.14, 0.025), turn=rotation("x", -35), mirrored=True)
    m.paint(m.hue(value=(0.02, 0.2)), 0)
    m.blob((0.48, 0.12, 0.08), (0.045, 0.045, 0.045), mirrored=True)


@template
def figure(m: Maker) -> None:
    skin = m.hue(0.03, 0.1, (0.2, 0.7), (0.35, 1))
    head, hip, shoulder = m.u(0.13, 0.3), m.u(-0.25, 0), m.u(0.3, 0.48)
    wide, limb = m.u(0.14, 0.3), m.u(0.05, 0.1)
    m.paint()
    m.blob((0, 0, (hip + shoulder) / 2), (wide * 0.7, wide, (shoulder - hip) / 2 + 0.1), 2.5, m.u(2, 3.5))
    out = m.u(0.02, 0.55)
    hand = np.array([m.u(-0.1, 0.25), wide + out, shoulder - 0.15 - (0.5 - out * 0.8) * m.u(0.7, 1)])
    m.rod((0, wide * 0.9, shoulder - 0.05), hand, limb, limb * 0.8, mirrored=True, blend=0.03)
    m.paint()
    stance = m.u(0.06, 0.2)
    m.rod((0, wide * 0.5, hip), (0, stance + wide * 0.3, -0.85), limb * 1.3, limb, mirrored=True, blend=0.03)
    m.paint(m.hue(value=(0.1, 0.5)), 0)
    m.blob((0.06, stance + wide * 0.3, -0.88), (0.14, 0.08, 0.06), mirrored=True)
    if m.chance(0.7):  # hair, cut away from the face before the head is added
        m.paint(m.hue(value=(0.05, 0.5)), 0)
        m.blob((-0.04, 0, shoulder + head * 1.2), (head * 0.95, head * 0.95, head * 0.85))
        m.box((head, 0, shoulder + head * 0.75), (head * 0.6, head, head * 0.55), subtract=True)
    m.paint(skin, 0)
    m.blob((0, 0, shoulder + head * 0.95), (head * 0.9, head * 0.85, head))
    m.blob(hand, (limb, limb, limb), mirrored=True)
    m.paint(m.hue(value=(0.02, 0.2)), 0)
    m.blob((head * 0.85, head * 0.35, shoulder + head * 1.05), (0.03, 0.03, 0.03), mirrored=True)


@template
def robot(m: Maker) -> None:
    head, w, h = m.u(0.2, 0.42), m.u(0.18, 0.35), m.u(0.18, 0.35)
    square = m.pick(2.2, 3.5, 7)
    m.blob((0, 0, -0.1), (w * 0.8, w, h), square, square)
    m.blob((0, 0, h + head * 0.75), (head * m.u(0.75, 1), head * m.u(1, 1.4), head * 0.8), square, square)
    m.paint()
    limb = m.u(0.05, 0.1)
    m.rod((0, w, 0.05), (m.u(0, 0.2), w + m.u(0.08, 0.35), m.u(-0.4, 0.15)), limb, mirrored=True)
    m.rod((0, w * 0.5, -h), (0, w * 0.55, -h - m.u(0.15, 0.45)), limb * 1.2, mirrored=True)
    m.paint(m.hue(0.45, 0.65, value=(0.3, 1)), 0)
    m.blob((head * 0.85, head * 0.5, h + head * 0.8), (head * 0.2, head * 0.24, head * 0.24), mirrored=True)
    if m.chance(0.6):
        m.rod((0, head * 0.4, h + head * 1.4), (0, head * m.u(0.4, 1), h + head * 1.4 + 0.22), 0.025, mirrored=True)
    if m.chance(0.4):
        m.paint()
        m.cone((0, head * 1.15, h + head * 0.75), head * 0.4, head * 0.4, 0.07, turn=rotation("x", 90), mirrored=True)


@template
def snowman(m: Maker) -> None:
    m.paint(m.hue(value=(0.8, 1), saturation=(0, 0.15)), 0)
    r, z = m.u(0.36, 0.5), -0.5
    for _ in range(m.pick(2, 3, 3)):
        m.blob((0, 0, z), (r, r, r * 0.95), blend=0.03)
        z, r, last = z + r * 1.4, r * m.u(0.65, 0.8), (z, r)
    z, r = last
    m.paint(m.hue(0.04, 0.09, (0.8, 1), (0.8, 1)), 0)
    m.cone((r + 0.1, 0, z), 0.05, 0.01, 0.13, turn=rotation("y", 90))
    m.paint(m.hue(value=(0.02, 0.15)), 0)
    m.blob((r * 0.9, r * 0.35, z + 0.08), (0.04, 0.04, 0.04), mirrored=True)
    if m.chance(0.6):
        m.paint()
        m.cone((0, 0, z + r * 0.8), r * 1.1, r * 1.1, 0.025)
        m.cone((0, 0, z + r * 1.1), r * 0.7, r * 0.65, 0.18)
    if m.chance(0.5):
        m.paint(m.wood(), 0)
        m.rod((0, 0.3, 0), (0, 0.75, m.u(0.1, 0.4)), 0.025, mirrored=True)


@template
def teddy(m: Maker) -> None:
    m.paint(m.hue(0.04, 0.12, (0.2, 0.8), (0.3, 0.9)) if m.chance(0.7) else None, 0)
    r, head = m.u(0.3, 0.4), m.u(0.26, 0.38)
    z = r + head * 0.7 - 0.2
    m.blob((0, 0, -0.2), (r * 0.9, r, r * 1.1), blend=0.03)
    m.blob((0.02, 0, z), (head * 0.9, head, head * 0.9), blend=0.03)
    m.blob((0, head * 0.75, z + head * 0.7), (0.07, head * 0.35, head * m.u(0.35, 1)), mirrored=True, blend=0.02)
    m.rod((0, r * 0.8, 0.05), (m.u(0, 0.25), r + 0.2, m.u(-0.25, 0.15)), 0.12, mirrored=True, blend=0.04)
    m.rod((0.1, r * 0.5, -0.45), (m.u(0.1, 0.45), r * 0.7, -0.55), 0.14, mirrored=True, blend=0.04)
    m.paint(m.hue(value=(0.7, 1)), 0)
    m.blob((head * 0.75, 0, z - head * 0.2), (head * 0.35, head * 0.42, head * 0.33))
    m.paint(m.hue(value=(0.02, 0.15)), 0)
    m.blob((head * 0.8, head * 0.4, z + head * 0.2), (0.045, 0.045, 0.045), mirrored=True)


# -- tools and toys ----------------------------------------------------------------------------------------------------
@template
def hammer(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.6) else None, 0.1)
    m.rod((0, 0, -0.8), (0, 0, 0.55), m.u(0.05, 0.09))
    m.paint(m.hue(value=(0.3, 0.8), saturation=(0, 0.4)))
    if m.chance(0.5):
        m.cone((0, 0, 0.6), m.u(0.1, 0.18), m.u(0.1, 0.18), m.u(0.25, 0.4), turn=rotation("x", 90))
    else:
        m.box((0, m.u(0, 0.2), 0.6), (0.04, m.u(0.15, 0.3), m.u(0.1, 0.2)))


@template
def sword(m: Maker) -> None:
    m.paint(m.hue(value=(0.6, 0.95), saturation=(0, 0.3)), 0)
    m.blob((0, 0, 0.25), (0.03, m.u(0.06, 0.12), 0.7), 2, m.u(3, 8))
    m.paint()
    m.box((0, 0, -0.45), (0.05, m.u(0.2, 0.34), 0.04))
    m.rod((0, 0, -0.45), (0, 0, -0.8), 0.05)
    m.blob((0, 0, -0.85), (0.08, 0.08, 0.08))


@template
def chess_piece(m: Maker) -> None:
    m.paint(patterned=0)
    r = m.u(0.3, 0.42)
    m.cone((0, 0, -0.75), r, r * 0.9, 0.1, 0.04)
    m.lathe((0, 0, -0.15), [r * 0.8, r * m.u(0.4, 0.6), r * m.u(0.3, 0.5), r * m.u(0.3, 0.5), r * m.u(0.4, 0.7)], 0.55)
    m.blob((0, 0, 0.55), (r * m.u(0.5, 0.75),) * 3)
    if m.chance(0.4):
        m.box((0, 0, 0.9), (0.03, 0.04, 0.14))
        m.box((0, 0, 0.92), (0.03, 0.12, 0.035))


@template
def hat(m: Maker) -> None:
    r, h = m.u(0.35, 0.5), m.u(0.15, 0.5)
    brim = r + m.u(0.15, 0.45)
    m.cone((0, 0, -0.2), brim, brim, 0.03)
    m.cone((0, 0, h - 0.2), r, r * m.u(0.05, 1), h, 0.03)
    m.paint(patterned=0)
    m.cone((0, 0, -0.1), r * 1.02, r * 1.0, 0.06)


@template
def guitar(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.5) else None, 0)
    r, thick = m.u(0.26, 0.36), m.u(0.05, 0.1)
    m.blob((0, 0, -0.5), (thick, r, r * 0.95), 6, 2, blend=0.05)
    m.blob((0, 0, -0.18), (thick, r * 0.75, r * 0.7), 6, 2, blend=0.08)
    m.paint(m.hue(value=(0.1, 0.4)), 0)
    m.box((thick, 0, 0.35), (0.025, 0.045, 0.6))
    m.box((thick * 0.8, 0, 0.92), (0.025, 0.08, 0.11))
    m.cone((thick, 0, -0.25), 0.09, 0.09, 0.01, turn=rotation("y", 90))


@template
def gift(m: Maker) -> None:
    s = (m.u(0.35, 0.6), m.u(0.35, 0.6), m.u(0.3, 0.6))
    m.box((0, 0, 0), s, 0.01)
    m.paint(patterned=0)
    m.box((0, 0, 0), (s[0] + 0.012, 0.07, s[2] + 0.012))
    m.box((0, 0, 0), (0.07, s[1] + 0.012, s[2] + 0.012))
    m.ring((0, 0.14, s[2] + 0.08), 0.1, 0.035, 0.05, turn=rotation("y", 90), mirrored=True)


@template
def die_or_ball(m: Maker) -> None:
    m.paint(patterned=0.5)
    e = m.pick(2.0, 2.0, 3.0, 6.0)
    r = m.u(0.5, 0.7)
    m.blob((0, 0, 0), (r * m.u(0.8, 1.2), r * m.u(0.8, 1.2), r), e, e)


@template
def pitcher(m: Maker) -> None:
    r, h = m.u(0.28, 0.42), m.u(0.5, 0.8)
    m.hollow((0, 0, 0), [r * m.u(0.6, 0.9), r, r * m.u(0.8, 1), r * m.u(0.5, 0.8), r * m.u(0.6, 0.95)], h, 0.04)
    inside = m.parts.pop()
    m.blob((r * 0.75, 0, h * 0.92), (r * 0.4, r * 0.25, 0.07), turn=rotation("y", -25), blend=0.05)
    m.ring((-r * 1.05, 0, h * 0.2), h * m.u(0.3, 0.45), m.u(0.035, 0.06), h * 0.12, turn=rotation("x", 90), blend=0.03)
    m.parts.append(inside)


@template
def watering_can(m: Maker) -> None:
    r, h = m.u(0.34, 0.46), m.u(0.28, 0.42)
    m.cone((0, 0, 0), r, r * m.u(0.75, 1), h, 0.03)
    spout = m.u(0.35, 0.6)
    m.rod((r * 0.8, 0, -h * 0.5), (r + spout, 0, h + m.u(0, 0.2)), 0.07, 0.05, blend=0.04)
    m.cone((r + spout + 0.04, 0, h + 0.12), 0.06, 0.13, 0.06, turn=rotation("y", 50))
    if m.chance(0.5):
        m.paint()
    m.ring((m.u(-0.5, 0) * r, 0, h), r * m.u(0.6, 0.8), 0.04, turn=rotation("x", 90), blend=0.02)


@template
def frying_pan(m: Maker) -> None:
    m.paint(m.hue(value=(0.05, 0.5)))
    r, h = m.u(0.45, 0.6), m.u(0.08, 0.2)
    m.hollow((0.3, 0, 0), [r * 0.85, r], h, 0.04, 0.3)
    inside = m.parts.pop()
    if m.chance(0.5):
        m.paint(m.wood())
    m.rod((0.35 - r, 0, h * 0.6), (-0.2 - r - m.u(0, 0.3), 0, h + m.u(0, 0.12)), m.u(0.035, 0.06), blend=0.02)
    m.parts.append(inside)


@template
def bucket(m: Maker) -> None:
    r, h = m.u(0.38, 0.55), m.u(0.35, 0.6)
    m.hollow((0, 0, 0), [r * m.u(0.65, 0.9), r], h, m.u(0.03, 0.06))
    m.paint()
    m.ring((0, 0, h * 0.95), r, 0.035)
    if m.chance(0.6):
        m.ring((0, 0, h + m.u(0, 0.1)), r, 0.025, turn=rotation("x", m.u(20, 90)))


@template
def basket_or_drum(m: Maker) -> None:
    r, h = m.u(0.45, 0.65), m.u(0.25, 0.5)
    m.paint(patterned=0.5)
    m.cone((0, 0, 0), r * m.u(0.8, 1), r, h, 0.02)
    m.paint()
    m.ring((0, 0, h), r, 0.05)
    m.paint(m.hue(value=(0.5, 1)))
    m.blob((0, 0, h), (r * 0.92, r * 0.92, m.u(0.02, 0.3)))
    if m.chance(0.4):
        m.ring((0, 0, h), r * 0.97, 0.04, turn=rotation("x", 90))


@template
def candle(m: Maker) -> None:
    r, h = m.u(0.12, 0.35), m.u(0.35, 0.7)
    m.cone((0, 0, 0), r, r * m.u(0.85, 1), h, 0.02)
    if m.chance(0.6):
        m.paint(patterned=0)
        m.cone((0, 0, -h), r * m.u(1.5, 2.4), r * m.u(1.3, 1.8), 0.05, 0.02)
    m.paint(m.hue(0.08, 0.15, (0.6, 1), (0.9, 1)), 0)
    m.blob((0, 0, h + 0.14), (0.06, 0.06, 0.12), 2, 1.5)


# -- devices and household ---------------------------------------------------------------------------------------------
@template
def monitor(m: Maker) -> None:
    """A television or a computer's screen."""
    m.paint(m.hue(value=(0.05, 0.9), saturation=(0, 0.3)), 0)
    w, h, thick = m.u(0.5, 0.9), m.u(0.35, 0.55), m.u(0.03, 0.3)
    m.box((0, 0, 0.2), (thick, w, h), 0.03)
    body = m.color
    m.paint(m.hue(value=(0.02, 0.9)), 0.2)
    m.box((thick, 0, 0.22), (0.02, w * 0.9, h * 0.85))
    m.color, m.pattern = body, shapes.SOLID
    if m.chance(0.7):
        m.box((0, 0, -h), (0.05, m.u(0.05, 0.2), 0.25))
        m.box((0, 0, -h - 0.02), (m.u(0.15, 0.3), m.u(0.2, 0.45), 0.03))
    else:
        m.rod((0, w * 0.6, 0.2 - h), (0.15, w * 0.7, 0.05 - h), 0.04, mirrored=True)


@template
def camera(m: Maker) -> None:
    m.paint(m.hue(value=(0.05, 0.5)), 0.1)
    w, h, d = m.u(0.5, 0.7), m.u(0.3, 0.45), m.u(0.15, 0.28)
    m.box((0, 0, 0), (d, w, h), m.u(0.03, 0.1))
    m.box((0, m.u(-0.2, 0.2), h), (d * 0.7, w * 0.3, m.u(0.05, 0.14)), 0.03)
    m.paint(patterned=0)
    m.cone((d, w, h), 0.05, 0.05, 0.04)
    lens, long = h * m.u(0.6, 0.9), m.u(0.05, 0.3)
    m.cone((d + long * 0.8, m.u(-0.2, 0.2), 0), lens, lens * m.u(0.85, 1), long, turn=rotation("y", 90))
    at = m.parts[-1].position
    m.paint(m.hue(0.5, 0.7, (0.2, 0.7), (0.05, 0.5)), 0)
    m.cone(at + [long * 0.8, 0, 0], lens * 0.7, lens * 0.7, long * 0.4, turn=rotation("y", 90))


@template
def book(m: Maker) -> None:
    w, h = m.u(0.4, 0.6), m.u(0.5, 0.75)
    for k in range(int(m.rng.integers(1, 5))):
        thick = m.u(0.04, 0.12)
        z, turn = (0.26 * k, rotation("z", m.u(-25, 25)))
        m.paint(m.hue(value=(0.85, 1), saturation=(0, 0.1)), 0)
        m.box((0, 0, z), (w * 0.96, h * 0.97, thick), turn=turn)
        m.paint(patterned=0.1)
        m.box((0, 0, z + thick), (w, h, 0.02), turn=turn)
        m.box((0, 0, z - thick), (w, h, 0.02), turn=turn)
        m.box(turn @ np.array([-w, 0, 0]) + [0, 0, z], (0.02, h, thick), turn=turn)


@template
def clock(m: Maker) -> None:
    r, thick = m.u(0.5, 0.7), m.u(0.06, 0.25)
    if m.chance(0.7):
        m.cone((0, 0, 0), r, r, thick, 0.03, turn=rotation("y", 90))
    else:
        m.box((0, 0, 0), (thick, r, r), 0.04)
    m.paint(m.hue(value=(0.8, 1), saturation=(0, 0.2)), 0)
    m.cone((thick, 0, 0), r * 0.85, r * 0.85, 0.02, turn=rotation("y", 90))
    m.paint(m.hue(value=(0, 0.4)), 0)
    for long in (0.4, 0.65):
        turn = rotation("x", m.u(0, 360))
        m.box(turn @ np.array([0, 0, r * long / 2]) + [thick + 0.03, 0, 0], (0.012, 0.03, r * long / 2), turn=turn)
    m.paint(patterned=0)
    if m.chance(0.6):  # an alarm clock
        m.rod((0, r * 0.5, -r * 0.7), (0, r * 0.7, -r - 0.15), 0.06, mirrored=True)
        m.blob((0, r * 0.55, r * 0.95), (0.16, 0.2, 0.14), turn=rotation("x", -30), mirrored=True)


@template
def telephone(m: Maker) -> None:
    w, h = m.u(0.4, 0.55), m.u(0.12, 0.25)
    m.blob((0, 0, -0.2), (m.u(0.4, 0.55), w, h), 5, m.u(2.2, 4))
    body = m.color
    m.paint(patterned=0)
    m.cone((0.25, 0, -0.2 + h * 0.7), 0.22, 0.18, 0.08, turn=rotation("y", 25))
    if m.chance(0.6):
        m.color = body
    z = h + m.u(-0.05, 0.08)
    m.rod((-0.15, -w, z), (-0.15, w, z), 0.075, blend=0.04)
    m.cone((-0.13, w, z - 0.08), 0.15, 0.11, 0.09, mirrored=True, blend=0.03)


@template
def bell(m: Maker) -> None:
    m.paint(m.hue(0.08, 0.16, (0.3, 0.9), (0.4, 1)) if m.chance(0.6) else None, 0)
    r, h = m.u(0.4, 0.6), m.u(0.4, 0.6)
    m.lathe((0, 0, 0), [r, r * 0.85, r * m.u(0.6, 0.75), r * m.u(0.5, 0.65), r * m.u(0.5, 0.6), r * 0.45, r * 0.2], h)
    if m.chance(0.5):
        m.ring((0, 0, h + 0.1), 0.11, 0.04, turn=rotation("x", 90))
    else:
        m.paint(m.wood(), 0)
        m.lathe((0, 0, h + 0.25), [0.06, 0.1, 0.06, 0.12], 0.28)
    m.paint(patterned=0)
    m.blob((0, 0, -h - 0.02), (0.12, 0.12, 0.12))


@template
def umbrella(m: Maker) -> None:
    r, h = m.u(0.65, 0.9), m.u(0.25, 0.5)
    m.paint(patterned=0.4)
    m.blob((0, 0, 0.2), (r, r, h))
    m.blob((0, 0, 0.12), (r * 0.94, r * 0.94, h * 0.94), subtract=True)
    m.box((0, 0, 0.2 - 1.0), (1.2, 1.2, 1.0), subtract=True)
    m.paint(patterned=0)
    m.rod((0, 0, 0.3 + h), (0, 0, -0.75), m.u(0.03, 0.05))
    if m.chance(0.5):
        m.ring((0.12, 0, -0.75), 0.12, 0.035, turn=rotation("x", 90))
        m.box((0.12, 0, -0.63), (0.16, 0.1, 0.12), subtract=True)
        m.rod((0, 0, 0), (0, 0, -0.75), 0.035)
    else:
        m.cone((0, 0, -0.78), m.u(0.2, 0.4), 0.15, 0.05)


@template
def shoe(m: Maker) -> None:
    """A shoe or a boot."""
    long, w, tall = m.u(0.55, 0.75), m.u(0.2, 0.27), m.u(0.2, 0.75)
    m.blob((0.1, 0, -0.2), (long, w, m.u(0.15, 0.22)), 2.6, 2.2)
    m.rod((-long * 0.45, 0, -0.15), (-long * m.u(0.45, 0.6), 0, tall), w * 0.95, w * m.u(0.85, 1.05), blend=0.12)
    top = m.parts[-1].position
    m.cone((top[0] - 0.03, 0, tall + 0.3), w * 0.8, w * 0.8, 0.35, subtract=True)
    m.paint()
    m.blob((0.08, 0, -0.38), (long * 1.04, w * 1.08, m.u(0.04, 0.08)), 3, 6)
    if m.chance(0.5):
        m.box((-long * 0.6, 0, -0.46), (long * 0.3, w * 0.85, m.u(0.05, 0.14)))


@template
def chest(m: Maker) -> None:
    m.paint(m.wood() if m.chance(0.7) else None, 0.2)
    w, d, h = m.u(0.5, 0.75), m.u(0.3, 0.45), m.u(0.2, 0.32)
    m.box((0, 0, -0.15), (d, w, h), 0.02)
    vaulted = m.chance(0.7)
    if vaulted:
        m.cone((0, 0, h - 0.15), d, d, w, 0.02, turn=rotation("x", 90))
    else:
        m.box((0, 0, h - 0.1), (d * 1.05, w * 1.05, 0.06), 0.02)
    m.paint(m.hue(0.08, 0.15, (0.2, 0.9), (0.3, 0.9)), 0)
    m.box((0, w * 0.7, -0.15), (d + 0.02, 0.05, h + 0.02), mirrored=True)
    if vaulted:
        m.cone((0, w * 0.7, h - 0.15), d + 0.02, d + 0.02, 0.05, turn=rotation("x", 90), mirrored=True)
    m.box((d, 0, h - 0.2), (0.04, 0.09, 0.11))


@template
def dumbbell(m: Maker) -> None:
    m.paint(m.hue(value=(0.3, 0.8), saturation=(0, 0.3)), 0)
    m.rod((0, -0.6, 0), (0, 0.6, 0), m.u(0.05, 0.1))
    m.paint()
    if m.chance(0.5):
        r = m.u(0.22, 0.4)
        m.blob((0, 0.6, 0), (r, r, r), m.pick(2, 6), 2, mirrored=True)
    else:
        for k in range(int(m.rng.integers(1, 4))):
            r = m.u(0.25, 0.45) * (1 - 0.2 * k)
            m.cone((0, 0.45 + 0.16 * k, 0), r, r, 0.07, 0.03, turn=rotation("x", 90), mirrored=True)


@template
def axe(m: Maker) -> None:
    """An axe, a pickaxe or a spade."""
    m.paint(m.wood(), 0)
    m.rod((0, 0, -0.85), (0, 0, 0.7), m.u(0.045, 0.08))
    m.paint(m.hue(value=(0.3, 0.9), saturation=(0, 0.4)), 0)
    kind = m.rng.integers(3)
    if kind == 0:
        m.box((0, 0.08, 0.5), (0.06, 0.16, 0.12))
        m.blob((0, 0.34, 0.5), (0.05, m.u(0.14, 0.22), m.u(0.22, 0.36)), 2, 4, mirrored=m.chance(0.3))
    elif kind == 1:
        m.rod((0, 0, 0.62), (0, m.u(0.4, 0.6), m.u(0.4, 0.55)), 0.08, 0.03, mirrored=True)
    else:
        m.blob((0, 0, 0.72), (0.05, m.u(0.18, 0.28), m.u(0.25, 0.35)), 2, m.u(2, 6))
        m.rod((0, -0.15, -0.85), (0, 0.15, -0.85), 0.05)


@template
def pencil(m: Maker) -> None:
    """A pencil, a brush or a crayon, upright or leaning."""
    r = m.u(0.07, 0.16)
    turn = rotation("x", m.u(-50, 50))
    up = turn[:, 2]
    m.cone((0, 0, 0), r, r, 0.65, turn=turn)
    m.paint(m.wood(), 0)
    m.cone(up * 0.75, r, r * m.u(0.1, 0.5), 0.12, turn=turn)
    m.paint(patterned=0)
    m.blob(up * 0.86, (r * 0.35, r * 0.35, 0.07), turn=turn)
    if m.chance(0.5):
        m.cone(up * -0.7, r * 1.02, r * 1.02, 0.09, 0.03, turn=turn)


# -- more that moves ---------------------------------------------------------------------------------------------------
@template
def helicopter(m: Maker) -> None:
    r = m.u(0.24, 0.34)
    m.blob((0.2, 0, 0), (m.u(0.38, 0.5), r, r * m.u(0.9, 1.1)))
    m.rod((-0.1, 0, 0.08), (-0.9, 0, 0.14), r * 0.4, 0.05, blend=0.08)
    m.blob((-0.88, 0, 0.22), (0.1, 0.025, 0.18))
    m.paint(m.hue(0.5, 0.65, (0.1, 0.6), (0.2, 0.9)), 0)
    m.blob((0.38, 0, 0.05), (r * 1.05, r * 0.9, r * 0.75))
    m.paint(m.hue(value=(0.1, 0.7)), 0)
    m.cone((0.15, 0, r + 0.06), 0.05, 0.05, 0.1)
    turn = rotation("z", m.u(0, 180))
    m.box((0.15, 0, r + 0.16), (0.85, 0.045, 0.015), turn=turn)
    if m.chance(0.6):
        m.box((0.15, 0, r + 0.16), (0.045, 0.85, 0.015), turn=turn)
    m.rod((-0.25, r * 0.8, -r - 0.14), (0.6, r * 0.8, -r - 0.14), 0.03, mirrored=True)
    m.rod((0.15, r * 0.6, -r * 0.6), (0.15, r * 0.8, -r - 0.14), 0.03, mirrored=True)


@template
def tank(m: Maker) -> None:
    m.paint(m.hue(0.1, 0.35, (0.1, 0.6), (0.25, 0.7)) if m.chance(0.6) else None)
    w = m.u(0.3, 0.42)
    m.box((0, 0, 0), (0.72, w, m.u(0.12, 0.2)), 0.04)
    m.paint(m.hue(value=(0.1, 0.4), saturation=(0, 0.3)), 0.3)
    m.blob((0, w, -0.14), (0.75, 0.11, 0.16), 6, 2.5, mirrored=True)
    m.color = m.parts[0].color
    m.cone((m.u(-0.2, 0.05), 0, 0.26), w * 0.9, w * 0.7, 0.13, 0.04)
    turret = m.parts[-1].position
    aim = rotation("z", m.u(-40, 40)) @ np.array([1.0, 0, 0])
    m.rod(turret + aim * w * 0.6, turret + aim * m.u(0.7, 0.95) + [0, 0, m.u(0, 0.2)], 0.05)


@template
def submarine(m: Maker) -> None:
    r = m.u(0.2, 0.32)
    m.blob((0, 0, 0), (0.85, r, r), 2, m.u(2, 2.6))
    m.box((0.1, 0, r + 0.08), (m.u(0.12, 0.22), r * 0.4, m.u(0.12, 0.2)), 0.04, blend=0.03)
    m.rod((0.12, 0, r), (0.12, 0, r + 0.4), 0.03)
    m.paint()
    m.blob((-0.75, r * 0.7, 0), (0.12, 0.18, 0.025), mirrored=True)
    m.blob((-0.75, 0, 0), (0.12, 0.025, r * 1.4))
    m.paint(m.hue(0.1, 0.6), 0)
    for k in range(int(m.rng.integers(1, 4))):
        m.blob((0.4 - 0.3 * k, r * 0.92, 0.05), (0.08, 0.05, 0.08), mirrored=True)


@template
def motorcycle(m: Maker) -> None:
    r = m.u(0.24, 0.32)
    m.paint(m.hue(value=(0.05, 0.3)), 0)
    m.ring((0.55, 0, -0.3), r - 0.06, m.u(0.06, 0.09), turn=rotation("x", 90))
    m.ring((-0.55, 0, -0.3), r - 0.06, m.u(0.06, 0.1), turn=rotation("x", 90))
    m.paint(m.hue(value=(0.4, 0.9)), 0)
    m.cone((0.55, 0, -0.3), r * 0.3, r * 0.3, 0.06, turn=rotation("x", 90))
    m.cone((-0.55, 0, -0.3), r * 0.3, r * 0.3, 0.06, turn=rotation("x", 90))
    m.rod((0.55, 0.07, -0.3), (0.36, 0.07, 0.3), 0.035, mirrored=True)
    m.rod((0.36, -0.3, 0.34), (0.36, 0.3, 0.34), 0.03)
    m.box((-0.05, 0, -0.2), (0.2, 0.12, 0.17), 0.04)
    m.rod((-0.55, 0.09, -0.3), (0, 0.06, -0.2), 0.04, mirrored=True)
    m.paint()
    m.blob((0.12, 0, 0.12), (0.26, 0.14, 0.13), blend=0.03)
    m.blob((-0.62, 0, 0.02), (0.2, 0.1, 0.05), turn=rotation("y", 20))
    m.paint(m.hue(value=(0.05, 0.4)), 0)
    m.blob((-0.32, 0, 0.1), (0.3, 0.13, 0.07), blend=0.03)


@template
def flying_saucer(m: Maker) -> None:
    r, h = m.u(0.7, 0.9), m.u(0.1, 0.25)
    m.blob((0, 0, 0), (r, r, h))
    m.paint(m.hue(0.3, 0.7, (0.2, 0.7), (0.5, 1)), 0)
    m.blob((0, 0, h * 0.7), (r * 0.45, r * 0.45, m.u(0.2, 0.35)))
    m.paint(patterned=0)
    for k in range(6):
        m.blob((0.75 * r * math.cos(1.05 * k), 0.75 * r * math.sin(1.05 * k), h * 0.6), (0.06, 0.06, 0.06))
    if m.chance(0.6):
        m.rod((0.3, 0.2, -h * 0.7), (0.45, 0.35, -h - 0.3), 0.035, mirrored=True)
        m.rod((-0.3, 0.2, -h * 0.7), (-0.45, 0.35, -h - 0.3), 0.035, mirrored=True)


# -- more buildings, plants and food -----------------------------------------------------------------------------------
@template
def windmill(m: Maker) -> None:
    r, h = m.u(0.25, 0.38), m.u(0.5, 0.65)
    m.cone((0, 0, -0.25), r, r * m.u(0.6, 0.8), h)
    m.paint()
    m.cone((0, 0, h - 0.1), r * 0.85, 0.03, 0.17)
    m.paint(m.wood())
    at, turn = np.array([r * 0.95, 0, h - 0.35]), rotation("x", m.u(0, 90))
    m.rod(at - [0.25, 0, 0], at, 0.05)
    for k in range(4):
        arm = turn @ rotation("x", 90 * k)
        m.box(at + arm @ np.array([0.02, 0.03, 0.38]), (0.02, m.u(0.07, 0.11), 0.36), turn=arm)
    m.paint(m.hue(value=(0.1, 0.6)), 0)
    m.box((r * 0.9, 0, -h - 0.05), (0.1, 0.1, 0.18))


@template
def castle(m: Maker) -> None:
    m.paint(m.hue(0.05, 0.15, (0.05, 0.4), (0.4, 0.9)) if m.chance(0.6) else None)
    w, h = m.u(0.4, 0.55), m.u(0.2, 0.35)
    m.box((0, 0, -0.25), (w, w, h), 0.005)
    r, tall = m.u(0.13, 0.2), h + m.u(0.1, 0.25)
    for side in (w, -w):
        m.cone((side, w, tall - h - 0.25), r, r, tall, mirrored=True)
    keep = m.chance(0.6)
    if keep:
        m.box((-0.05, 0, h - 0.1), (w * 0.4, w * 0.4, m.u(0.2, 0.4)), 0.005)
    m.paint()
    for side in (w, -w):
        m.cone((side, w, 2 * tall - h - 0.15), r * 1.25, 0.01, m.u(0.1, 0.22), mirrored=True)
    m.paint(m.wood(), 0)
    m.box((w, 0, -0.32), (0.04, 0.13, h * 0.65))


@template
def tent(m: Maker) -> None:
    w, d, h = m.u(0.5, 0.75), m.u(0.5, 0.85), m.u(0.5, 0.75)
    m.paint(patterned=0.3)
    if m.chance(0.6):
        slope, angle = math.hypot(w, h) / 2, math.degrees(math.atan2(h, w))
        m.box((0, w / 2, h / 2 - 0.3), (d, slope, 0.03), turn=rotation("x", -angle), mirrored=True)
        m.box((0, w / 2 - 0.12, h / 2 - 0.4), (d * 0.9, slope * 0.8, 0.13), turn=rotation("x", -angle), mirrored=True)
        m.box((0, 0, -0.32 - 0.5), (1.2, 1.2, 0.5), subtract=True)
    else:
        m.cone((0, 0, h / 2 - 0.3), w, 0.03, h / 2 + 0.05)
    m.paint(m.hue(value=(0.05, 0.5)), 0)
    m.cone((d * 0.8, 0, -0.1), 0.18, 0.02, 0.22)


@template
def bush_or_palm(m: Maker) -> None:
    if m.chance(0.5):
        m.paint(m.wood(), 0.3)
        m.rod((0, 0, -0.8), (m.u(-0.15, 0.15), 0, 0.3), 0.09, 0.06)
        top = np.array([m.parts[-1].position[0] * 2, 0, 0.32])
        m.paint(m.green(), 0)
        leaves, droop = int(m.rng.integers(5, 9)), m.u(0, 40)
        for k in range(leaves):
            turn = rotation("z", 360 * k / leaves) @ rotation("y", droop + m.u(-15, 15))
            m.blob(top + turn @ np.array([0.36, 0, 0]), (0.4, 0.11, 0.03), turn=turn)
    else:
        m.paint(m.hue(value=(0.3, 0.9)), 0.2)
        r = m.u(0.25, 0.4)
        m.cone((0, 0, -0.55), r * 0.75, r, 0.25)
        m.paint(m.green(), 0.25)
        size = m.u(0.35, 0.6)
        m.blob((0, 0, m.u(0, 0.2)), (size, size, size * m.u(0.8, 1.3)))
        for _ in range(int(m.rng.integers(0, 4))):
            m.blob((m.u(-0.3, 0.3), m.u(-0.3, 0.3), m.u(-0.1, 0.4)), (0.3, 0.3, 0.3), blend=0.05)


@template
def pineapple(m: Maker) -> None:
    m.paint(m.hue(0.06, 0.14, (0.5, 0.9), (0.5, 0.95)), 0.7)
    r = m.u(0.3, 0.42)
    m.blob((0, 0, -0.25), (r, r, m.u(0.45, 0.6)), 2, m.u(2, 2.6))
    m.paint(m.green(), 0)
    for k in range(int(m.rng.integers(4, 8))):
        turn = rotation("z", 137.5 * k) @ rotation("y", m.u(10, 50))
        m.blob(np.array([0, 0, 0.25]) + turn @ np.array([0, 0, 0.2]), (0.03, 0.1, 0.28), turn=turn)


@template
def doughnut(m: Maker) -> None:
    m.paint(m.hue(0.06, 0.1, (0.4, 0.7), (0.5, 0.9)), 0)
    r, thick = m.u(0.42, 0.55), m.u(0.16, 0.27)
    m.ring((0, 0, 0), r, thick)
    m.paint(patterned=0.2)
    m.ring((0, 0, thick * 0.3), r, thick * 0.9)
    for _ in range(int(m.rng.integers(0, 7))):
        m.paint(patterned=0)
        angle = m.u(0, 6.3)
        m.blob((r * math.cos(angle), r * math.sin(angle), thick * 1.2), (0.06, 0.03, 0.03), turn=rotation("z", angle))


# -- more animals ------------------------------------------------------------------------------------------------------
@template
def turtle(m: Maker) -> None:
    m.paint(m.green() if m.chance(0.5) else None, 0.4)
    r, h = m.u(0.42, 0.55), m.u(0.25, 0.4)
    m.blob((0, 0, 0), (r * m.u(1, 1.25), r, h))
    m.box((0, 0, -0.55), (1, 1, 0.45), subtract=True, blend=0.03)
    m.paint(patterned=0)
    m.blob((0, 0, -0.08), (r * 1.05, r * 0.95, 0.08))
    for side in (r * 0.8, -r * 0.8):
        m.rod((side * 0.8, r * 0.5, -0.1), (side * 1.1, r * 0.85, -0.28), 0.1, 0.09, mirrored=True)
    head = m.u(0.13, 0.2)
    m.rod((r * 0.8, 0, -0.05), (r + 0.25, 0, m.u(0.02, 0.25)), head * 0.6, head * 0.7, blend=0.04)
    at = np.array([r + 0.32, 0, m.u(0.05, 0.25)])
    m.blob(at, (head * 1.2, head, head), blend=0.04)
    m.paint(m.hue(value=(0, 0.2)), 0)
    m.blob(at + [head * 0.7, head * 0.6, head * 0.4], (0.035, 0.035, 0.035), mirrored=True)


@template
def rabbit(m: Maker) -> None:
    """A sitting animal with ears: rabbit, cat, mouse."""
    m.paint(m.hue(0.02, 0.12, (0, 0.6), (0.3, 1)) if m.chance(0.75) else None, 0.1)
    r, head = m.u(0.28, 0.38), m.u(0.2, 0.3)
    m.blob((-0.05, 0, -0.25), (r, r * 0.95, r * m.u(1.1, 1.4)), blend=0.05)
    z = -0.25 + r + head
    m.blob((0.08, 0, z), (head * 1.1, head, head * 0.95), blend=0.06)
    ear = m.u(0.1, 0.45)
    m.blob((0.02, head * m.u(0.4, 0.8), z + head * 0.7 + ear), (0.05, m.u(0.07, 0.13), ear), blend=0.02, mirrored=True)
    m.blob((0.1, r * 0.75, -0.5), (0.22, 0.14, 0.16), mirrored=True, blend=0.04)
    m.rod((r * 0.6, r * 0.35, -0.15), (r * 0.8, r * 0.35, -0.6), 0.08, 0.07, mirrored=True, blend=0.04)
    if m.chance(0.5):
        m.blob((-r - 0.05, 0, -0.45), (0.12, 0.12, 0.12), blend=0.03)
    else:
        m.rod((-r, 0, -0.5), (-r - 0.3, 0, m.u(-0.4, 0.2)), 0.06, 0.04, blend=0.03)
    m.paint(m.hue(value=(0, 0.25)), 0)
    m.blob((0.08 + head * 0.95, head * 0.45, z + head * 0.2), (0.045, 0.045, 0.045), mirrored=True)
    m.blob((0.08 + head * 1.1, 0, z - head * 0.1), (0.04, 0.05, 0.035))


@template
def dinosaur(m: Maker) -> None:
    m.paint(m.hue(0.1, 0.55, (0.3, 0.9), (0.3, 0.9)), 0.25)
    r, up = m.u(0.2, 0.3), m.u(0.2, 0.6)
    m.blob((0, 0, 0), (r * 1.5, r, r * 1.1), turn=rotation("y", -m.u(0, 45)), blend=0.04)
    m.rod((-r, 0, 0), (-m.u(0.75, 0.95), 0, m.u(-0.4, 0.1)), r * 0.7, 0.04, blend=0.08)
    top = np.array([r + m.u(0.1, 0.3), 0, up])
    m.rod((r * 0.8, 0, r * 0.3), top, r * 0.6, r * 0.4, blend=0.08)
    m.blob(top + [0.1, 0, 0.02], (m.u(0.18, 0.28), 0.12, 0.11), blend=0.04)
    if m.chance(0.5):  # on two legs
        m.rod((0, r * 0.7, -0.1), (0.05, r * 0.8, -0.6), 0.13, 0.07, mirrored=True, blend=0.05)
        m.rod((0.05, r * 0.8, -0.62), (0.2, r * 0.8, -0.62), 0.07, mirrored=True)
        m.rod((r, r * 0.6, 0.05), (r + 0.15, r * 0.7, -0.1), 0.05, mirrored=True)
    else:
        for x in (r, -r):
            m.rod((x, r * 0.6, -0.1), (x, r * 0.75, -0.5), 0.1, 0.08, mirrored=True, blend=0.04)
    m.paint(patterned=0)
    for k in range(int(m.rng.integers(0, 5))):
        m.cone((0.15 - 0.2 * k, 0, r * 1.1 - 0.06 * k), 0.09, 0.01, 0.09)
    m.paint(m.hue(value=(0, 0.2)), 0)
    m.blob(top + [0.2, 0.1, 0.08], (0.035, 0.035, 0.035), mirrored=True)


@template
def octopus(m: Maker) -> None:
    """A head on many legs: octopus, spider, jellyfish."""
    r = m.u(0.3, 0.42)
    m.blob((0, 0, 0.15), (r, r, r * m.u(0.9, 1.4)), blend=0.06)
    limb, out, drop = m.u(0.05, 0.09), m.u(0.3, 0.5), m.u(0.25, 0.5)
    for k in range(4):
        angle = math.radians(22 + 45 * k)
        side = np.array([math.cos(angle), math.sin(angle), 0])
        knee = side * (r * 0.6 + out * 0.6) + [0, 0, m.u(-0.2, 0.15)]
        m.rod(side * r * 0.5, knee, limb * 1.2, limb, mirrored=True, blend=0.05)
        m.rod(knee, side * (r * 0.6 + out) - [0, 0, drop], limb, limb * 0.6, mirrored=True, blend=0.03)
    m.paint(m.hue(value=(0.8, 1), saturation=(0, 0.1)), 0)
    m.blob((r * 0.85, r * 0.4, 0.2), (0.08, 0.09, 0.1), mirrored=True)
    m.paint(m.hue(value=(0, 0.2)), 0)
    m.blob((r * 0.85 + 0.06, r * 0.4, 0.2), (0.04, 0.045, 0.05), mirrored=True)


@template
def snail(m: Maker) -> None:
    m.paint(m.hue(0.05, 0.25, (0.1, 0.6), (0.4, 0.9)), 0)
    w = m.u(0.12, 0.18)
    m.blob((0, 0, -0.35), (m.u(0.7, 0.85), w, 0.13), 2.2, 2.2)
    m.rod((0.55, 0, -0.3), (0.7, 0, m.u(-0.05, 0.15)), w * 0.8, w * 0.7, blend=0.08)
    m.rod((0.7, 0.05, 0), (0.85, 0.13, m.u(0.25, 0.4)), 0.03, mirrored=True)
    m.paint(patterned=0.3)
    r, thick = m.u(0.3, 0.42), m.u(0.14, 0.22)
    m.cone((-0.12, 0, r - 0.28), r, r, thick, 0.1, turn=rotation("x", 90))
    m.paint(patterned=0)
    m.cone((-0.12, 0, r - 0.28), r * 0.65, r * 0.65, thick + 0.06, 0.06, turn=rotation("x", 90))
    m.cone((-0.1, 0, r - 0.28), r * 0.32, r * 0.32, thick + 0.11, 0.05, turn=rotation("x", 90))


# -- free compositions -------------------------------------------------------------------------------------------------
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
    """The part at `factor` times its size, moved to `at`."""
    lengths = 3 if part.kind == shapes.SUPERQUADRIC else len(part.size)  # its last two numbers are exponents
    size = (*(factor * s for s in part.size[:lengths]), *part.size[lengths:])
    return replace(part, size=size, radius=factor * part.radius, position=at)


def hybrid(m: Maker, names: tuple[str, ...]) -> None:
    """A thing that lost some parts and grew some of another: what is remembered of either would complete it wrongly."""
    TEMPLATES[names[m.rng.integers(len(names))]](m)
    m.parts = [part for k, part in enumerate(m.parts) if k == 0 or not m.chance(0.2)]
    donor = Maker(m.rng)
    TEMPLATES[names[m.rng.integers(len(names))]](donor)
    grafts = [part for part in donor.parts if not part.subtract][: shapes.SLOTS - len(m.parts)]
    grafts = grafts[: int(m.rng.integers(1, 6))]
    if not grafts:
        return
    stock, factor = m.pick(*m.parts), m.u(0.35, 0.9)
    direction = m.rng.normal(size=3) * [1, m.pick(0, 1), 1]
    at = stock.position + stock.radius * m.u(0.3, 0.9) * direction / np.linalg.norm(direction)
    root = grafts[0].position
    m.parts += [resized(part, factor, at + factor * (part.position - root)) for part in grafts]


def make_shape(
    rng: np.random.Generator, names: tuple[str, ...], free_share: float = FREE_SHARE, hybrid_share: float = 0.0
) -> Shape:
    """Draw an object: one of the templates `names`, or with the given probabilities a free composition or a hybrid."""
    maker, draw = Maker(rng), rng.random()
    if draw < free_share:
        name = "composition"
        composition(maker)
    elif draw < free_share + hybrid_share:
        name = "hybrid"
        hybrid(maker, names)
    else:
        name = names[rng.integers(len(names))]
        TEMPLATES[name](maker)
    return Shape(maker.parts, name, maker.twist, maker.bend, float(rng.uniform(0, 0.6)))


SEEN = tuple(name for name in TEMPLATES if name not in HELD_OUT)
