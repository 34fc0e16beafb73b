"""Plants and food."""

from __future__ import annotations

import math

import numpy as np

from .maker import Maker, rotation, template


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
        m.blob((0, 0, 0.7 * size - 0.3 + m.u(0, 0.1)), (size, size, size * m.u(0.8, 1.3)))
        for _ in range(int(m.rng.integers(0, 4))):
            m.blob((m.u(-0.3, 0.3), m.u(-0.3, 0.3), m.u(-0.1, 0.4)), (0.3, 0.3, 0.3), blend=0.05)


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
def pineapple(m: Maker) -> None:
    m.paint(m.hue(0.06, 0.14, (0.5, 0.9), (0.5, 0.95)), 0.7)
    r = m.u(0.3, 0.42)
    m.blob((0, 0, -0.25), (r, r, m.u(0.45, 0.6)), 2, m.u(2, 2.6))
    m.paint(m.green(), 0)
    for k in range(int(m.rng.integers(4, 8))):
        turn = rotation("z", 137.5 * k) @ rotation("y", m.u(10, 50))
        m.blob(np.array([0, 0, 0.25]) + turn @ np.array([0, 0, 0.2]), (0.03, 0.1, 0.28), turn=turn)


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
