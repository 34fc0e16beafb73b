"""Vehicles."""

from __future__ import annotations

import math

import numpy as np

from .maker import Maker, rotation, template


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
    hull = (m.color, m.second, m.pattern)
    m.paint(m.hue(value=(0.1, 0.4), saturation=(0, 0.3)), 0.3)
    m.blob((0, w, -0.14), (0.75, 0.11, 0.16), 6, 2.5, mirrored=True)
    m.color, m.second, m.pattern = hull
    m.cone((m.u(-0.2, 0.05), 0, 0.22), w * 0.9, w * 0.7, 0.13, 0.04)
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
    m.rod((0.36, -0.3, 0.32), (0.36, 0.3, 0.32), 0.03)
    m.rod((0.38, 0, 0.26), (0, 0, -0.1), 0.05)
    m.box((-0.05, 0, -0.2), (0.2, 0.12, 0.17), 0.04)
    m.rod((-0.55, 0.09, -0.3), (0, 0.06, -0.2), 0.04, mirrored=True)
    m.paint()
    m.blob((0.12, 0, 0.09), (0.26, 0.14, 0.13), blend=0.03)
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
