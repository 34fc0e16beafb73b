"""Furniture."""

from __future__ import annotations

from .maker import Maker, rotation, template


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
