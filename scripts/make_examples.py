"""Make the pictures in examples/: objects of the embedded model's own templates, at a size that people use.

    .venv/bin/python scripts/make_examples.py [--sheet FILE]

The seeds were chosen by eye from contact sheets (`--sheet`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from embedded_model import pictures, templates
from embedded_model.shapes import Shape, ShapeBatch, surface_color

from dif3d_blender.engine.export import save_png

SIZE, SUPERSAMPLING = 512, 2
ALL_RAYS = ((72, 1.0),)
# name: template, seed, background (None for transparent)
EXAMPLES = {
    "snowman": ("snowman", 1, None),
    "mug": ("mug", 3, None),
    "teapot": ("teapot", 1, None),
    "car": ("car", 1, (0.93, 0.92, 0.9)),
    "teddy": ("teddy", 6, None),
}


def make_example(template: str, seed: int) -> Shape:
    maker = templates.Maker(np.random.default_rng(seed))
    templates.TEMPLATES[template](maker)
    return Shape(maker.parts, template, maker.twist, maker.bend, gloss=0.4)


@torch.no_grad()
def take_picture(shape: Shape, seed: int, size: int, yaw_range: float = 0.8) -> np.ndarray:
    """A picture of an object turned by ±yaw_range radians, lit at random: RGBA [size, size, 4] in [0, 1]."""
    shapes = ShapeBatch.pack([shape])
    generator = torch.Generator().manual_seed(seed)
    pose = pictures.frame(shapes, generator, yaw_range=yaw_range)
    origin, direction = pictures.rays(pose, size)
    hit, coverage = pictures.trace(shapes, pose, origin, direction, size, ALL_RAYS)
    color = surface_color(pose.to_object(hit), shapes.tensors)
    normal = pictures.normals(hit, shapes, pose)
    shaded = pictures.shade(color, normal, direction, shapes.tensors["gloss"], pose, generator)
    return torch.cat([shaded, coverage[..., None]], -1).view(size, size, 4).numpy()


def smaller(picture: np.ndarray) -> np.ndarray:
    """Average squares of pixels, by their coverage: the outline becomes smooth."""
    side = len(picture) // SUPERSAMPLING
    tiles = picture.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, 4)
    alpha = tiles[..., 3:]
    color = (tiles[..., :3] * alpha).sum((1, 3)) / alpha.sum((1, 3)).clip(1e-6)
    return np.concatenate([color, alpha.mean((1, 3))], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of eight seeds of each example instead")
    options = parser.parse_args()
    torch.compiler.set_stance("force_eager")  # compiling would take longer than the pictures
    if options.sheet:
        rows = [
            np.concatenate([take_picture(make_example(template, seed), seed, 128) for seed in range(8)], 1)
            for template, _, _ in EXAMPLES.values()
        ]
        sheet = np.concatenate(rows)
        save_png(options.sheet, sheet[..., :3] * sheet[..., 3:] + 1 - sheet[..., 3:])
        return
    for name, (template, seed, background) in EXAMPLES.items():
        picture = smaller(take_picture(make_example(template, seed), seed, SIZE * SUPERSAMPLING))
        if background is not None:
            picture = picture[..., :3] * picture[..., 3:] + np.array(background) * (1 - picture[..., 3:])
        save_png(ROOT / "examples" / f"{name}.png", Image.fromarray((picture * 255).round().astype(np.uint8)))


if __name__ == "__main__":
    main()
