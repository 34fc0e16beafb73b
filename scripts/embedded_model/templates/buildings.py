"""Buildings."""

from __future__ import annotations

import math

import numpy as np

from .maker import Maker, rotation, template


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
    if m.chance(0.6):
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
        d = w
    m.paint(m.hue(value=(0.05, 0.5)), 0)
    m.cone((d * 0.8, 0, -0.1), 0.18, 0.02, 0.22)
