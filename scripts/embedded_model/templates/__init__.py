"""What the objects are: things with a meaning (a chair, a mug, a dog), free compositions of parts, and hybrids.

The hidden side of an object can only be known from knowing what it is, so most objects are things. Every template draws
wide parameters from its maker's `rng`; lengths are in units of roughly half the object's size, the front is +x, up is
+z. `HELD_OUT` names templates that training never sees: they measure how far the model carries.
"""

from __future__ import annotations

import numpy as np

from ..shapes import Shape
from . import animals, buildings, furniture, household, plants_and_food, vehicles, vessels  # noqa: F401 (fill TEMPLATES)
from .free import composition, hybrid, resized, spot_on
from .maker import TEMPLATES, Maker, rotation

__all__ = [
    "FREE_SHARE",
    "HELD_OUT",
    "SEEN",
    "TEMPLATES",
    "Maker",
    "make_shape",
    "resized",
    "rotation",
    "spot_on",
]

FREE_SHARE = 0.25  # of the objects are free compositions
HELD_OUT = ("teapot", "bench", "bird", "rocket")
SEEN = tuple(sorted(name for name in TEMPLATES if name not in HELD_OUT))  # not in the order of the files


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
