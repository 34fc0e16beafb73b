"""Devices, tools, toys and clothes."""

from __future__ import annotations

import numpy as np

from .. import shapes
from .maker import Maker, rotation, template


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
    m.cone((0, 0.75 * w, h), 0.05, 0.05, 0.04)
    lens, long = h * m.u(0.6, 0.9), m.u(0.05, 0.3)
    m.cone((d + long * 0.8, m.u(-0.2, 0.2), 0), lens, lens * m.u(0.85, 1), long, turn=rotation("y", 90))
    at = m.parts[-1].position
    m.paint(m.hue(0.5, 0.7, (0.2, 0.7), (0.05, 0.5)), 0)
    m.cone(at + [long * 0.8, 0, 0], lens * 0.7, lens * 0.7, long * 0.4, turn=rotation("y", 90))


@template
def book(m: Maker) -> None:
    w, h = m.u(0.4, 0.6), m.u(0.5, 0.75)
    top = 0.0
    for _ in range(int(m.rng.integers(1, 5))):
        thick = m.u(0.04, 0.12)
        z, turn = top + thick, rotation("z", m.u(-25, 25))
        top = z + thick + 0.03
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
    z = h - 0.2 + m.u(0.02, 0.08)
    m.rod((-0.15, -w, z), (-0.15, w, z), 0.075, blend=0.04)
    m.cone((-0.13, w * 0.9, z - 0.06), 0.15, 0.11, 0.09, mirrored=True, blend=0.03)


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
def candle(m: Maker) -> None:
    r, h = m.u(0.12, 0.35), m.u(0.35, 0.7)
    m.cone((0, 0, 0), r, r * m.u(0.85, 1), h, 0.02)
    if m.chance(0.6):
        m.paint(patterned=0)
        m.cone((0, 0, -h), r * m.u(1.5, 2.4), r * m.u(1.3, 1.8), 0.05, 0.02)
    m.paint(m.hue(0.08, 0.15, (0.6, 1), (0.9, 1)), 0)
    m.blob((0, 0, h + 0.1), (0.06, 0.06, 0.12), 2, 1.5)


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
def hat(m: Maker) -> None:
    r, h = m.u(0.35, 0.5), m.u(0.15, 0.5)
    brim = r + m.u(0.15, 0.45)
    m.cone((0, 0, -0.2), brim, brim, 0.03)
    m.cone((0, 0, h - 0.2), r, r * m.u(0.05, 1), h, 0.03)
    m.paint(patterned=0)
    m.cone((0, 0, -0.1), r * 1.02, r * 1.0, 0.06)


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
            m.cone((0, 0.45 + 0.13 * k, 0), r, r, 0.07, 0.03, turn=rotation("x", 90), mirrored=True)


@template
def axe(m: Maker) -> None:
    """An axe, a pickaxe or a spade."""
    m.paint(m.wood(), 0)
    m.rod((0, 0, -0.85), (0, 0, 0.7), m.u(0.045, 0.08))
    m.paint(m.hue(value=(0.3, 0.9), saturation=(0, 0.4)), 0)
    kind = m.rng.integers(3)
    if kind == 0:
        double = m.chance(0.3)
        m.box((0, 0.08, 0.5), (0.06, 0.16, 0.12), mirrored=double)
        m.blob((0, 0.34, 0.5), (0.05, m.u(0.14, 0.22), m.u(0.22, 0.36)), 2, 4, mirrored=double)
    elif kind == 1:
        m.rod((0, 0, 0.62), (0, m.u(0.4, 0.6), m.u(0.4, 0.55)), 0.08, 0.03, mirrored=True)
    else:
        m.blob((0, 0, 0.72), (0.05, m.u(0.18, 0.28), m.u(0.25, 0.35)), 2, m.u(2, 6))
        m.rod((0, -0.15, -0.85), (0, 0.15, -0.85), 0.05)


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
