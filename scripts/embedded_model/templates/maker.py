"""The vocabulary of the templates: chances, colours, and parts of one object that is being made."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np

from .. import shapes
from ..shapes import Part


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


Template = Callable[[Maker], None]
TEMPLATES: dict[str, Template] = {}


def template(function: Template) -> Template:
    """Make a function a template: it adds the parts of a thing of its name to a maker."""
    TEMPLATES[function.__name__] = function
    return function
