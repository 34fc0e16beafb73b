"""Train the embedded model on objects that it makes itself.

    .venv/bin/python scripts/train_embedded.py [--hours 1] [--state training/] [--processes 1] [--from-release]
                                               [--release]

Everything is made on the device as it goes: objects (`embedded_model/templates/`), their pictures and their labelled
points. The loss is on points: whether they are inside, how far both solids overlap, and the colour at the surface; a
last phase adds rendered rays, so that NeRF frames are clean. The run saves every few minutes and goes on from there
when it is started again. `--release` writes the averaged weights at 16 bit into the extension; `--from-release` begins
a run with those and goes on counting the objects. `--overfit 64` trains on 64 fixed objects instead, in a folder of its
own, which must reach an IoU over 0.95: if it does not, the code is wrong, not the budget.

On a CPU torch compiles the object maker, for which it needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor
from torch.func import functional_call

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from embedded_model import metrics, network, pictures, templates
from embedded_model.pictures import Samples
from embedded_model.shapes import ShapeBatch

from dif3d_blender.engine.products import multiplies
from dif3d_blender.engine.tsr import TSR

RELEASE = ROOT / "dif3d_blender" / "engine" / "embedded"
HELD_OUT_SEED = 1_000_000_007  # no training batch uses a seed this high
HYBRID_SHARE = 0.2  # of the training objects: things with parts of other things
UNIFORM_POINTS, SURFACE_POINTS = 1280, 512
OVERFIT_POINTS = {"uniform_points": 5120, "surface_points": 1024}  # of each object: the objects are few
RENDER_SHARE = 0.05  # of the budget, at the end
RENDER_RAYS = 40


def make_batch(seed: int, count: int, device: str, hybrid_share: float = 0.0, **points) -> tuple[ShapeBatch, Samples]:
    """Objects and samples that depend on `seed` alone."""
    rng = np.random.default_rng(seed)
    drawn = [templates.make_shape(rng, templates.SEEN, hybrid_share=hybrid_share) for _ in range(count)]
    shapes = ShapeBatch.pack(drawn, device)
    generator = torch.Generator(device).manual_seed(seed)
    sizes = {"uniform_points": UNIFORM_POINTS, "surface_points": SURFACE_POINTS} | points
    with torch.no_grad():
        return shapes, pictures.make_samples(shapes, generator, network.PICTURE, **sizes)


def batches(first: int, count: int, device: str, rank: int, processes: int) -> Iterator[tuple[ShapeBatch, Samples]]:
    """Training batches from object number `first` on, without end: those of process `rank`.

    A batch's seed is the number of its first object, so that no later run of the same network meets an object again.
    """
    for seed in itertools.count(first + rank * count, processes * count):
        yield make_batch(seed, count, device, HYBRID_SHARE)


def mirror(samples: Samples) -> Samples:
    """The same batch seen in a mirror: other objects for the price of none."""
    flip = torch.tensor([1.0, -1.0, 1.0], device=samples.points.device)
    return replace(
        samples, pictures=samples.pictures.flip(2), points=samples.points * flip, surface=samples.surface * flip
    )


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention by two matrix products, two objects at a time.

    On CPUs torch's fused kernel computes bfloat16 attention at a fraction of the speed of its matrix products: forward
    and backward of this network took 89 ms an object and core with it and 55 ms so.
    """
    parts = zip(query.split(2), key.split(2), value.split(2), strict=True)
    scale = query.shape[-1] ** -0.5
    return torch.cat([((q * scale) @ k.transpose(-1, -2)).softmax(-1, dtype=q.dtype) @ v for q, k, v in parts])


def encode(model: TSR, pictures: Tensor, dtype: torch.dtype) -> Tensor:
    """Pictures [B, S, S, 3] to scene codes, with all that lies between in `dtype`; the weights themselves stay float32.

    Points and decoder are no part of it: there small differences count. torch's autocast would convert between the
    formats round every layer, which takes a tenth of the time.
    """
    weights = {name: value.to(dtype) for name, value in model.named_parameters() if not name.startswith("decoder.")}
    return functional_call(model, weights, (pictures.to(dtype), pictures.device)).float()


def point_loss(model: TSR, codes: Tensor, samples: Samples) -> dict[str, Tensor]:
    """Cross-entropy of "inside" at the labelled points, the overlap of the solids, and the colour error of the surface.

    The overlap is 1 less the IoU of probabilities, over the box (Rahman and Wang 2016, "Optimizing Intersection-Over-
    Union in Deep Neural Networks"): a thin part weighs as much in a thin object as a thick one in a thick object, where
    cross-entropy alone would rather leave a thin part out than put it where it might not be.
    """
    positions = torch.cat([samples.points, samples.surface], 1)
    outputs = [model.renderer.query_triplane(model.decoder, p, c) for p, c in zip(positions, codes, strict=True)]
    count = samples.points.shape[1]
    raw = torch.stack([out["density"][:count, 0] for out in outputs])
    color = torch.stack([out["color"][count:] for out in outputs])
    logit = network.inside_logit(raw)
    probable = logit.sigmoid() * samples.shares
    both = (samples.inside * probable).sum(1)
    either = (samples.inside * samples.shares + probable).sum(1) - both
    return {
        "inside": F.binary_cross_entropy_with_logits(logit, samples.inside),
        "overlap": (1 - both / either.clamp_min(1e-6)).mean(),
        "color": 0.5 * F.smooth_l1_loss(color, samples.colors, beta=0.1),
    }


def render_loss(model: TSR, codes: Tensor, shapes: ShapeBatch, samples: Samples, generator: torch.Generator) -> Tensor:
    """Rays from cameras all round, rendered, against the object's unlit colour on white."""
    device = codes.device
    azimuth = 2 * torch.pi * torch.rand(len(codes), generator=generator, device=device)
    origin, direction = pictures.orbit_rays(samples.pose, network.PICTURE, azimuth)
    pick = torch.randint(direction.shape[1], (RENDER_RAYS,), generator=generator, device=device)
    direction = direction[:, pick]
    with torch.no_grad():
        hit, coverage = pictures.trace(shapes, samples.pose, origin, direction, network.PICTURE)
        color = pictures.surface_color(samples.pose.to_object(hit), shapes.tensors)
        target = color * coverage[..., None] + 1 - coverage[..., None]
    rendered = model.renderer(model.decoder, codes, origin[:, None].expand_as(direction), direction)
    return F.smooth_l1_loss(rendered, target, beta=0.1)


def evaluate(model: TSR, count: int, device: str, cells: int = 40) -> dict[str, float]:
    """Mean IoU on `count` held-out objects, beside the baselines on the same objects: to watch a run with.

    `scripts/evaluate.py` measures a finished model, on other objects.
    """
    model.eval()
    scores: dict[str, list[Tensor]] = {"model": [], "inflated silhouette": [], "mean shape": []}
    training = [make_batch(seed, 32, device) for seed in range(8)]
    mean = metrics.mean_shape(torch.cat([metrics.true_occupancy(s, b.pose, cells) for s, b in training]))
    for start in range(0, count, 25):
        shapes, batch = make_batch(HELD_OUT_SEED + start, min(25, count - start), device)
        truth = metrics.true_occupancy(shapes, batch.pose, cells)
        scores["model"].append(metrics.iou(truth, metrics.predicted_occupancy(model, batch.pictures, cells)))
        scores["inflated silhouette"].append(metrics.iou(truth, metrics.inflated_silhouette(batch.masks, cells)))
        scores["mean shape"].append(metrics.iou(truth, mean.expand_as(truth)))
    return {name: torch.cat(values).mean().item() for name, values in scores.items()}


def make_optimizers(model: TSR, rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) for the matrices within the transformers, AdamW for everything else.

    Muon's steps are scaled to the size of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM Training"), so that one
    rate serves both.
    """
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        within = ".encoder.layer." in name or ".transformer_blocks." in name
        (matrices if within and parameter.ndim == 2 else others).append(parameter)
    return (
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.02),
    )


class FixedObjects:
    """A few objects, each with its one picture and ever new points: what `--overfit` trains on."""

    def __init__(self, count: int, device: str):
        rng, self.device = np.random.default_rng(0), device
        self.shapes = [templates.make_shape(rng, templates.SEEN) for _ in range(count)]
        with torch.no_grad():
            generator = torch.Generator(device).manual_seed(0)
            taken = pictures.take_pictures(ShapeBatch.pack(self.shapes, device), generator, network.PICTURE)
        self.pose, self.pictures, self.masks = taken

    @torch.no_grad()
    def draw(self, count: int, seed: int) -> tuple[ShapeBatch, Samples]:
        """`count` of the objects. Points drawn once would be learnt one by one, and not the surface between them."""
        objects = torch.randperm(len(self.shapes), generator=torch.Generator().manual_seed(seed))[:count]
        shapes = ShapeBatch.pack([self.shapes[number] for number in objects], self.device)
        generator, pose = torch.Generator(self.device).manual_seed(seed), self.pose[objects]
        labels = pictures.label_points(shapes, pose, generator, **OVERFIT_POINTS)
        return shapes, Samples(pictures=self.pictures[objects], masks=self.masks[objects], pose=pose, **labels)

    def iou(self, model: TSR) -> float:
        model.eval()
        truth = metrics.true_occupancy(ShapeBatch.pack(self.shapes, self.device), self.pose, 40)
        return metrics.iou(truth, metrics.predicted_occupancy(model, self.pictures, 40)).mean().item()


class Run:
    """One training run: the network, its average, the optimizers, and how far it is. Saved whole, resumed whole."""

    def __init__(self, folder: Path, device: str, rate: float, from_release: bool = False):
        self.folder, self.device = folder, device
        self.model = network.build(folder).to(device)
        self.path = folder / "state.pt"
        self.progress = {"steps": 0, "objects": 0, "seconds": 0.0}
        if from_release and not self.path.exists():
            self._load_release()
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizers = make_optimizers(self.model, rate)
        if self.path.exists():
            state = torch.load(self.path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(values)
            self.progress = state["progress"]
            print(f"resumed from {self.path}: {self.progress}", flush=True)

    def _load_release(self) -> None:
        with safe_open(RELEASE / "model.safetensors", "pt", self.device) as file:
            self.model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            self.progress["objects"] = int(file.metadata()["objects"])
        network.sharpen(self.model, 1 / network.RELEASE_GAIN)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": self.progress,
        }
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").replace(self.path)

    def learn(self, losses: dict[str, Tensor]) -> None:
        """One step down the sum of `losses`, averaged over all processes."""
        self.model.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        if torch.distributed.is_initialized():
            gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
            mean = torch.cat([gradient.flatten() for gradient in gradients])
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
            for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        keep = min(0.999, 1 - 1 / (10 + self.progress["steps"] / 5))
        for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)

    def release(self, folder: Path) -> None:
        """Write the averaged weights at 16 bit, sharpened, with their settings, as a model folder."""
        network.write_settings(folder)
        model = copy.deepcopy(self.average)
        network.sharpen(model, network.RELEASE_GAIN)
        tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
        path = folder / "model.safetensors"
        path.with_suffix(".tmp").write_bytes(serialize(tensors, {"objects": str(self.progress["objects"])}))
        path.with_suffix(".tmp").replace(path)


def learning_rate(rate: float, done: float, steps: int) -> float:
    """Warm up over 100 steps, hold, then fall as a half cosine over the last 60% of the budget."""
    fall = max(0.0, (done - 0.4) / 0.6)
    return rate * min(1.0, (steps + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


def train(rank: int, options: argparse.Namespace, meeting_place: str) -> None:
    """Process `rank` of the run: makes its share of every batch and learns from it. The first one saves and reports."""
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.processes > 1:
        torch.distributed.init_process_group("gloo", init_method=meeting_place, rank=rank, world_size=options.processes)
    half = multiplies(torch.bfloat16, torch.device(options.device))
    if half and options.device == "cpu":
        F.scaled_dot_product_attention = plain_attention
    run = Run(options.state, options.device, options.rate, options.from_release)
    budget = options.hours * 3600
    fixed = FixedObjects(options.overfit, options.device) if options.overfit else None
    share = options.batch // options.processes
    ahead = batches(run.progress["objects"], share, options.device, rank, options.processes)
    log = (options.state / "log.jsonl").open("a", encoding="utf-8")

    def report(line: dict) -> None:
        print(json.dumps(line | run.progress), file=log, flush=True)
        print(line | run.progress, flush=True)

    last_save = window_start = time.monotonic()
    window_objects, sums = 0, {}
    while run.progress["seconds"] < budget:
        started = time.monotonic()
        done, step = run.progress["seconds"] / budget, run.progress["steps"]
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(options.rate, done, step)
        seed = step * options.processes + rank
        shapes, batch = fixed.draw(share, seed) if fixed else next(ahead)
        run.model.train()
        rendering = done > 1 - RENDER_SHARE and not fixed
        if not rendering and step % 2 and not fixed:
            batch = mirror(batch)
        codes = encode(run.model, batch.pictures, torch.bfloat16 if half else torch.float32)
        losses = point_loss(run.model, codes, batch)
        if rendering:
            generator = torch.Generator(options.device).manual_seed(seed)
            losses["render"] = render_loss(run.model, codes, shapes, batch, generator)
        run.learn(losses)

        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        window_objects += options.batch
        run.progress["steps"] += 1
        run.progress["objects"] += options.batch
        run.progress["seconds"] += agreed(time.monotonic() - started)
        if rank > 0:
            continue
        if run.progress["steps"] % 50 == 0:
            rate = window_objects / (time.monotonic() - window_start)
            report({k: round(v / 50, 4) for k, v in sums.items()} | {"objects/s": round(rate, 1)})
            sums, window_objects, window_start = {}, 0, time.monotonic()
        if time.monotonic() - last_save > 60 * options.save_minutes:
            run.save()
            report({"held-out": fixed.iou(run.average) if fixed else evaluate(run.average, 50, options.device)})
            last_save = window_start = time.monotonic()
            window_objects = 0
    if rank > 0:
        return
    run.save()
    if fixed:
        print("IoU on the training objects:", fixed.iou(run.average))
        return
    if options.release:
        run.release(RELEASE)
    report({"held-out": evaluate(run.average, 100, options.device)})


def agreed(seconds: float) -> float:
    """The first process's measure of time, in every process: the schedule must be the same in all."""
    if not torch.distributed.is_initialized():
        return seconds
    clock = torch.tensor(seconds, dtype=torch.float64)
    torch.distributed.broadcast(clock, 0)
    return clock.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="budget of the whole run, resumed parts included")
    parser.add_argument("--state", type=Path, default=ROOT / "training", help="folder of the run's state and log")
    parser.add_argument("--batch", type=int, default=32, help="objects a step, of all processes together")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=1, help="that share each batch: on a CPU, as many as cores")
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--overfit", type=int, default=0, metavar="N", help="train on N fixed objects, as a check")
    parser.add_argument(
        "--from-release", action="store_true", help="begin with the released weights, where there is no state yet"
    )
    parser.add_argument("--release", action="store_true", help="write the model into the extension at the end")
    options = parser.parse_args()
    if options.batch % options.processes:
        parser.error(f"--batch {options.batch} cannot be shared evenly by --processes {options.processes}.")

    if options.overfit:
        if options.release or options.from_release:
            parser.error("--overfit checks the code: it begins with random weights, and nothing of it is released.")
        options.state /= f"overfit-{options.overfit}"

    options.state.mkdir(parents=True, exist_ok=True)
    if options.processes == 1:
        train(0, options, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting_place = (Path(folder) / "processes").as_uri()
        torch.multiprocessing.spawn(train, (options, meeting_place), nprocs=options.processes)


if __name__ == "__main__":
    main()
