"""Vessels: what holds liquids, flowers or fruit."""

from __future__ import annotations

import math

from .maker import Maker, rotation, template


@template
def mug(m: Maker) -> None:
    r, h = m.u(0.3, 0.5), m.u(0.35, 0.65)
    m.hollow((0, 0, 0), [r * m.u(0.75, 1), r, r * m.u(0.95, 1.1)], h, m.u(0.03, 0.07))
    inside = m.parts.pop()  # the handle goes on before the inside is carved out
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
    m.parts.append(inside)


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


@template
def pitcher(m: Maker) -> None:
    r, h = m.u(0.28, 0.42), m.u(0.5, 0.8)
    m.hollow((0, 0, 0), [r * m.u(0.6, 0.9), r, r * m.u(0.8, 1), r * m.u(0.5, 0.8), r * m.u(0.6, 0.95)], h, 0.04)
    inside = m.parts.pop()
    m.blob((r * 0.75, 0, h * 0.92), (r * 0.4, r * 0.25, 0.07), turn=rotation("y", -25), blend=0.05)
    m.ring(
        (-r * 1.05, 0, h * 0.2),
        h * m.u(0.3, 0.45),
        m.u(0.035, 0.06),
        h * 0.12,
        turn=rotation("x", 90) @ rotation("z", 90),
        blend=0.03,
    )
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
    inside = m.parts.pop()
    m.paint()
    if m.chance(0.6):
        m.ring((0, 0, h + m.u(0, 0.1)), min(r, 1.8 * h), 0.025, turn=rotation("x", m.u(20, 90)))
    m.parts.append(inside)
    m.ring((0, 0, h * 0.95), r, 0.035)


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
        m.ring((0, 0, h), min(r * 0.97, 1.8 * h), 0.04, turn=rotation("x", 90))
