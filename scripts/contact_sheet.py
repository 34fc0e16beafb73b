"""Make a contact sheet: pictures, and their models from four sides, as a job makes them.

    .venv/bin/python scripts/contact_sheet.py FILE [PICTURE…] [--model embedded]

Without pictures: 24 objects that training never saw, twelve of the templates that it knows and twelve of those that it
does not, apart from the objects of `evaluate.py`. Each picture is followed by frames of the NeRF renderer from the
front, from the right, from behind and from the left.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from embedded_model import templates
from evaluate import TABLE_SEED
from make_examples import SUPERSAMPLING, smaller, take_picture

from dif3d_blender.engine.files import atomic_path
from dif3d_blender.engine.foreground import cut_out, frame_subject, open_picture
from dif3d_blender.engine.pipeline import Pipeline
from dif3d_blender.messages import Job

SHEET_SEED = TABLE_SEED + 500_000
MANY = 8  # pictures; more are shown smaller, two with their models side by side
TILES = {1: 224, 2: 160}  # pixels a side, for one and for two columns
GAP = 12  # pixels between the columns


def held_out_pictures(folder: Path) -> list[Path]:
    """Pictures of 24 objects, written into `folder`."""
    torch.compiler.set_stance("force_eager")  # compiling would take longer than the pictures
    paths = []
    for number in range(24):
        names, free_share = (templates.SEEN, templates.FREE_SHARE) if number < 12 else (templates.HELD_OUT, 0.0)
        seed = SHEET_SEED + number
        shape = templates.make_shape(np.random.default_rng(seed), names, free_share)
        picture = smaller(take_picture(shape, seed, 256 * SUPERSAMPLING, yaw_range=math.pi))
        paths.append(folder / f"{number:02}.png")
        Image.fromarray((picture * 255).round().astype(np.uint8)).save(paths[-1])
    return paths


def row(pipeline: Pipeline, picture: Path, model: str, tile: int, folder: Path) -> np.ndarray:
    """A picture and the four frames of its model: [tile, 5 · tile, 3], uint8."""
    job = Job(
        str(picture),
        str(folder / picture.stem),
        model=model,
        frames=4,
        frame_size=tile,
        resolution=128,
        gaussians=False,
    )
    result = pipeline.run(job, lambda progress: None)
    framed, mask = frame_subject(cut_out(open_picture(picture)).image)
    seen = framed * mask[..., None] + 1 - mask[..., None]
    tiles = [Image.fromarray((seen * 255).round().astype(np.uint8)).resize((tile, tile))]
    tiles += [Image.open(path) for path in sorted(Path(result.output, "renderfiles").glob("render_*.png"))]
    return np.concatenate([np.asarray(one.convert("RGB")) for one in tiles], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the sheet to write (.png or .jpg)")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    pipeline = Pipeline()
    with tempfile.TemporaryDirectory() as folder:
        paths = options.pictures or held_out_pictures(Path(folder))
        columns = 2 if len(paths) > MANY else 1
        tile = TILES[columns]
        rows = [row(pipeline, path, options.model, tile, Path(folder)) for path in paths]
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % columns)
    gap = np.full((tile, GAP, 3), 255, np.uint8)
    lines = [
        np.concatenate([part for one in rows[i : i + columns] for part in (one, gap)][:-1], axis=1)
        for i in range(0, len(rows), columns)
    ]
    with atomic_path(options.file) as temporary:
        Image.fromarray(np.concatenate(lines)).save(temporary, quality=88)


if __name__ == "__main__":
    main()
