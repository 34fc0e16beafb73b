"""Animals and figures."""

from __future__ import annotations

import math

import numpy as np

from .maker import Maker, rotation, template


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
    m.blob((0.02, head * m.u(0.4, 0.7), z + head * 0.6 + ear), (0.05, m.u(0.07, 0.13), ear), blend=0.02, mirrored=True)
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
