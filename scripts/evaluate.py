"""Measure a model on held-out objects, beside two baselines that learned nothing.

    .venv/bin/python scripts/evaluate.py [MODEL] [--objects 500] [--outlined 40] [--json FILE]

MODEL is a model folder (default: the embedded model). The objects come from seeds that neither training nor the
monitoring of a training run uses: first from the templates that training sees, then from those it never sees. All
scores are in the field frame as the model leaves it: nothing is aligned first.

IoU: intersection over union of the solids, on a lattice of 40³ cells. F-score: harmonic mean of precision and recall of
surface points within 0.05. Chamfer: mean of both directions' mean distances. Colour: mean absolute error at the true
surface, sRGB. The baselines are the mean shape of 256 training objects, and the silhouette inflated to its own width
(every horizontal run of its pixels becomes a disc), given the mask itself.

`--outlined` objects of each are then measured as a job makes them too: with the camera found by registration, and the
picture's outline given to the field. The silhouette's IoU is from that camera, with the picture's mask.

The two groups are measured side by side, each by a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from embedded_model import metrics, network, pictures, templates
from embedded_model.shapes import Shape, ShapeBatch
from train_embedded import HELD_OUT_SEED, RELEASE, make_batch

from dif3d_blender.engine.depth import field_depth
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.field import Field
from dif3d_blender.engine.isosurface import extract_surface, march
from dif3d_blender.engine.registration import register, soft_iou
from dif3d_blender.engine.silhouette import silhouette_correction
from dif3d_blender.engine.tsr import TSR

TABLE_SEED = HELD_OUT_SEED + 1_000_000  # apart from the objects that a training run is watched with
GROUPS = {  # names of templates, share of free compositions among them, seed
    "seen by training": (templates.SEEN, templates.FREE_SHARE, TABLE_SEED),
    "left out of training": (templates.HELD_OUT, 0.0, TABLE_SEED + 100_000),
}
CELLS = 40
SURFACE_RESOLUTION = 72
SURFACE_POINTS = 4000
NEAR = 0.05


def surface_points(vertices: np.ndarray, faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`SURFACE_POINTS` points [n, 3] spread evenly over a mesh."""
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(faces), SURFACE_POINTS, p=area / area.sum())]
    a, b = rng.random((2, SURFACE_POINTS, 1))
    over = a + b > 1
    a, b = np.where(over, 1 - a, a), np.where(over, 1 - b, b)
    return chosen[:, 0] + a * (chosen[:, 1] - chosen[:, 0]) + b * (chosen[:, 2] - chosen[:, 0])


def true_surfaces(shapes: ShapeBatch, pose: pictures.Pose) -> list[tuple[np.ndarray, np.ndarray]]:
    """The objects' own surfaces: vertices and faces of each, in the field frame."""
    size, radius = SURFACE_RESOLUTION, pictures.RADIUS
    points = pictures.lattice(size, "cpu")[None].expand(len(shapes), -1, -1) * radius
    distance = pictures.field_distance(points, shapes, pose).view(-1, size, size, size)
    meshes = [march(np.ascontiguousarray(-d.numpy()), 0.0) for d in distance]
    return [(((v + 0.5) * (2 / size) - 1) * radius, f) for v, f in meshes]


def compare_surfaces(predicted: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """F-score at `NEAR` and Chamfer distance of two sets of surface points [n, 3]."""
    there, back = cKDTree(true).query(predicted)[0], cKDTree(predicted).query(true)[0]
    precision, recall = (there < NEAR).mean(), (back < NEAR).mean()
    return 2 * precision * recall / max(precision + recall, 1e-9), (there.mean() + back.mean()) / 2


def measure(
    model: TSR, names: tuple[str, ...], free_share: float, count: int, mean: Tensor, seed: int
) -> dict[str, dict[str, float]]:
    """Mean scores over `count` objects of the templates `names`, in all and for each template.

    `free_share` of the objects are free compositions instead.
    """
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rng = np.random.default_rng(seed)
    for start in range(0, count, 20):
        objects = [templates.make_shape(rng, names, free_share) for _ in range(min(20, count - start))]
        for label, values in score_batch(model, objects, mean, seed + start).items():
            for shape, value in zip(objects, values, strict=True):
                for group in ("all", shape.name):
                    scores[group][label].append(value)
        print(f"{names[0]} …: {start + len(objects)} of {count}", file=sys.stderr, flush=True)
    return {
        group: {label: float(np.mean(values)) for label, values in of_group.items()} | {"objects": len(of_group["IoU"])}
        for group, of_group in scores.items()
    }


@torch.no_grad()
def score_batch(model: TSR, objects: list[Shape], mean: Tensor, seed: int) -> dict[str, list[float]]:
    """The scores of each object, by name of score."""
    shapes = ShapeBatch.pack(objects)
    generator = torch.Generator().manual_seed(seed)
    samples = pictures.make_samples(shapes, generator, network.PICTURE, 256, 1024)
    truth = metrics.true_occupancy(shapes, samples.pose, CELLS)
    codes = model(samples.pictures, "cpu")
    rng = np.random.default_rng(seed)
    f_scores, chamfers, colors, solids = [], [], [], []
    cells = pictures.lattice(CELLS, "cpu") * pictures.RADIUS
    for code, surface, color, (vertices, faces) in zip(
        codes, samples.surface, samples.colors, true_surfaces(shapes, samples.pose), strict=True
    ):
        field = Field(code, model.decoder, model.renderer)
        solids.append(field.density(cells)[:, 0] > 25)
        colors.append((field.color(surface) - color).abs().mean().item())
        try:
            found = extract_surface(field, SURFACE_RESOLUTION)
        except DIF3DError:  # nothing there: as wrong as can be
            f_scores.append(0.0)
            chamfers.append(pictures.RADIUS)
            continue
        pair = surface_points(found.vertices, found.faces, rng), surface_points(vertices, faces, rng)
        f_score, chamfer = compare_surfaces(*pair)
        f_scores.append(f_score)
        chamfers.append(chamfer)
    return {
        "IoU": metrics.iou(truth, torch.stack(solids)).tolist(),
        "IoU, inflated silhouette": metrics.iou(truth, metrics.inflated_silhouette(samples.masks, CELLS)).tolist(),
        "IoU, mean shape": metrics.iou(truth, mean.expand_as(truth)).tolist(),
        "F-score": f_scores,
        "Chamfer": chamfers,
        "colour error": colors,
    }


@torch.no_grad()
def measure_outline(
    model: TSR, names: tuple[str, ...], free_share: float, count: int, seed: int
) -> dict[str, dict[str, float]]:
    """Mean IoU of solids and of silhouettes over `count` objects, by the network alone and with the outline's help."""
    rng = np.random.default_rng(seed)
    shapes = ShapeBatch.pack([templates.make_shape(rng, names, free_share) for _ in range(count)])
    pose, taken, masks = pictures.take_pictures(shapes, torch.Generator().manual_seed(seed), network.PICTURE)
    truth = metrics.true_occupancy(shapes, pose, CELLS)
    cells = pictures.lattice(CELLS, "cpu") * pictures.RADIUS
    scores = defaultdict(list)
    for picture, mask, solid in zip(taken, masks, truth, strict=True):
        field = Field(model([picture], "cpu")[0], model.decoder, model.renderer)
        camera = register(field, mask.numpy()).camera
        outlined = field.corrected(silhouette_correction(field, camera, mask))
        for label, form in (("network alone", field), ("with the outline", outlined)):
            found = form.density(cells)[:, 0] > 25
            seen = torch.from_numpy(np.isfinite(field_depth(form, camera, *mask.shape)))
            scores[label].append([metrics.iou(solid[None], found[None]).item(), soft_iou(seen.float(), mask)])
    means = {label: np.mean(values, axis=0) for label, values in scores.items()}
    return {
        label: {"IoU": float(solid), "silhouette IoU": float(seen), "objects": count}
        for label, (solid, seen) in means.items()
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """Results as a Markdown table, all objects first, then each group by its IoU."""
    labels = [label for label in next(iter(results.values())) if label != "objects"]
    lines = ["| objects | n | " + " | ".join(labels) + " |", "| --- " * (len(labels) + 2) + "|"]
    for group in sorted(results, key=lambda g: (g != "all", -results[g]["IoU"])):
        cells = [f"{results[group][label]:.3f}" for label in labels]
        lines.append(f"| {group.replace('_', ' ')} | {results[group]['objects']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_group(label: str, options: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """All tables of one group of `GROUPS`, by title."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // len(GROUPS)))
    names, free_share, seed = GROUPS[label]
    model = TSR.from_pretrained(options.model, weight_name="model.safetensors")
    training = [make_batch(seed, 32, "cpu") for seed in range(8)]
    mean = metrics.mean_shape(torch.cat([metrics.true_occupancy(s, b.pose, CELLS) for s, b in training]))
    tables = {label: measure(model, names, free_share, options.objects, mean, seed)}
    if options.outlined:
        tables[f"{label}, outlined"] = measure_outline(model, names, free_share, options.outlined, seed)
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=RELEASE)
    parser.add_argument("--objects", type=int, default=500, help="of each: seen and left-out templates")
    parser.add_argument("--outlined", type=int, default=40, help="of those: as a job makes them")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    results = {}
    with ProcessPoolExecutor(len(GROUPS), multiprocessing.get_context("spawn")) as pool:
        for tables in pool.map(measure_group, GROUPS, itertools.repeat(options)):
            for title, rows in tables.items():
                print(f"\nTemplates {title}:\n\n{table(rows)}", flush=True)
            results |= tables
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
