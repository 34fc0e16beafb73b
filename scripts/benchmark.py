"""Measure the fast paths beside the slow ones they replace: time, decoder queries, peak memory, and that both agree.

    .venv/bin/python scripts/benchmark.py [--full FOLDER | --model NAME] [--device cpu|cuda] [--views 30] [--json FILE]

The embedded model is measured by default, in a minute or two. `--full FOLDER` takes a full-size checkpoint in the
published layout instead (config.yaml, model.ckpt); its reference alone takes minutes on a CPU.

Each way runs in a process of its own, so that peak memory and whole-process times are true:

* original: what the published program does, by our own slow paths: random initialisation before loading, torch's own
  float32 products, the decoder at every sample of the volume and of every ray, 8192 at a time. One view is rendered
  and counted as often as the others would take.
* float32: the fast paths.
* bfloat16: the same with 16-bit weights, read from the copy beside the checkpoint where it is large enough to have one.

Ratios are original over fast. On a machine that others use too, `--clock cpu` compares processor seconds instead of
wall-clock seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PICTURE = ROOT / "examples" / "snowman.png"
CHUNK = 8192  # points a decoder call of the original
WAYS = ("original", "float32", "bfloat16")
STEPS = {  # of the table: what each is called, and how many times as fast as the original it has to be
    "load": ("load the checkpoint", {"float32": 8, "bfloat16": 8}),
    "encode": ("picture → triplane", {"float32": 1.15, "bfloat16": 1.8}),
    "encode again": ("another picture → triplane", {"float32": 1.15, "bfloat16": 1.8}),
    "surface": ("surface", {"float32": 20, "bfloat16": 20}),
    "view": ("one NeRF view", {"float32": 20, "bfloat16": 20}),
    "views": ("all views", {"float32": 25, "bfloat16": 25}),
    "whole": ("picture to mesh and views, whole process", {"float32": 8, "bfloat16": 8}),
}


@dataclasses.dataclass
class Stage:
    """What one stage of one way took."""

    wall: float  # seconds
    cpu: float  # processor seconds
    peak: int  # bytes that the process had held at most when the stage ended
    queries: int = 0  # of the decoder


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded, a folder, or a Hugging Face repository")
    parser.add_argument("--full", metavar="FOLDER", help="the folder of a full-size checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--views", type=int, default=30, help="turntable frames of the whole path, 256 × 256")
    parser.add_argument("--resolution", type=int, default=256, help="of the surface")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.model = options.full or options.model
    if options.child:
        print(json.dumps({name: vars(stage) for name, stage in run_way(options.child, options).items()}))
        return 0

    with tempfile.TemporaryDirectory() as folder:
        if "bfloat16" in options.ways:
            run_child("bfloat16", [*arguments, "--views", "1"], folder)  # writes the copy, where one is worth it
        results = {way: run_child(way, arguments, folder) for way in options.ways}
        agreement = {way: compare(Path(folder), way) for way in options.ways if way != "original"}
    report = {
        "machine": describe_machine(options.device),
        "settings": {name: getattr(options, name) for name in ("model", "device", "views", "resolution", "clock")},
        "ways": {way: {name: vars(stage) for name, stage in stages.items()} for way, stages in results.items()},
        "agreement": agreement,
    }
    print(describe(report, results, options))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def run_child(way: str, arguments: list[str], folder: str) -> dict[str, Stage]:
    """Run one way in a process of its own and return its stages."""
    print(f"Measuring {way} …", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, *arguments, "--child", way, "--folder", folder]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: Stage(**values) for name, values in json.loads(told.splitlines()[-1]).items()}


def run_way(way: str, options: argparse.Namespace) -> dict[str, Stage]:
    """Go the whole path in this process, from the picture to the mesh and the views, and leave results to `compare`."""
    import numpy as np
    import psutil
    import torch

    from dif3d_blender.engine.field import Field
    from dif3d_blender.engine.foreground import cut_out, frame_subject, open_picture
    from dif3d_blender.engine.isosurface import extract_surface
    from dif3d_blender.engine.memory import peak_bytes
    from dif3d_blender.engine.occupancy import Occupancy
    from dif3d_blender.engine.rendering import render_views
    from dif3d_blender.engine.tsr import TSR
    from dif3d_blender.engine.tsr.module import Kept
    from dif3d_blender.engine.weights import find_model

    stages: dict[str, Stage] = {}
    device = torch.device(options.device)
    slow = way == "original"

    def measure(name: str, run: Callable[[], Any], times: int = 1, field: Field | None = None) -> Any:
        for _ in range(times):
            asked = field.queries if field else 0
            wall, cpu = time.perf_counter(), time.process_time()
            result = run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken = Stage(time.perf_counter() - wall, time.process_time() - cpu, peak_bytes(device))
            taken.queries = field.queries - asked if field else 0
            if name in stages:
                taken.peak = stages[name].peak  # what was held later is not the stage's
            if name not in stages or taken.wall < stages[name].wall:
                stages[name] = taken
        return result

    torch.set_grad_enabled(False)
    found = find_model(options.model, allow_network=False)
    picture, _ = frame_subject(cut_out(open_picture(PICTURE), "auto", allow_network=False).image, 0.85)
    if slow:
        compute_as_the_original()
        model = measure("load", lambda: load_as_the_original(found).to(device))
    else:
        model = measure("load", lambda: TSR.from_files(found, way, device))

    def encode_first() -> Any:
        model._begun = Kept()
        return model([picture], device)[0]

    code = measure("encode", encode_first)
    np.save(options.folder / f"{way}.codes.npy", code.cpu().numpy())
    field = Field(code, model.decoder, model.renderer, chunk_size=CHUNK if slow else 0, dense=slow)

    def surface(resolution: int) -> tuple[Any, Any]:
        occupancy = None if slow else Occupancy(field)
        result = extract_surface(field, resolution, as_original=True, occupancy=occupancy, dense=slow)
        return occupancy, result, field.color(torch.from_numpy(result.vertices))

    def views(count: int) -> Any:
        if not slow:
            return render_views(field, count, occupancy=occupancy)
        model.renderer.set_chunk_size(CHUNK)
        return torch.stack(model.render(code[None], count, return_type="pt")[0])

    occupancy, mesh, _ = measure("surface", lambda: surface(options.resolution), field=field)
    np.save(options.folder / f"{way}.vertices.npy", mesh.vertices)
    frames = measure("views", lambda: views(1 if slow else options.views), field=field)
    born = psutil.Process().create_time()
    stages["whole"] = Stage(time.time() - born, time.process_time(), peak_bytes(device), field.queries)
    measure("encode", encode_first, times=2)  # the aims are near each other: the best of three
    measure("encode again", lambda: model([picture], device), times=3)
    if slow:  # the views that were not rendered
        samples = 256 * 256 * model.renderer.cfg.num_samples_per_ray
        stages["view"] = dataclasses.replace(stages["views"], queries=samples)
        for name, times in (("views", options.views), ("whole", options.views - 1)):
            before = stages[name] if name == "whole" else Stage(0.0, 0.0, stages[name].peak)
            stages[name] = dataclasses.replace(
                before,
                wall=before.wall + stages["view"].wall * times,
                cpu=before.cpu + stages["view"].cpu * times,
                queries=before.queries + stages["view"].queries * times,
            )
    else:
        measure("surface", lambda: surface(options.resolution), times=2, field=field)
        measure("surface at twice the resolution", lambda: surface(2 * options.resolution), field=field)
        frames = measure("view", lambda: views(1), times=3, field=field)
    np.save(options.folder / f"{way}.view.npy", frames[0].cpu().numpy())
    return stages


def compute_as_the_original() -> None:
    """Switch the network's own ways off: torch's products, whole layers, the ViT's attention in steps, nothing kept."""
    import torch

    from dif3d_blender.engine.tsr import module, transformer, vit

    def attention_in_steps(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return scores.softmax(dim=-1) @ value

    torch.backends.mkldnn.enabled = False
    transformer._TOKENS = sys.maxsize
    module.Kept.get = lambda self, weights, compute: compute()
    vit.attention = attention_in_steps  # as transformers 4.35 does; the backbone's was always torch's fused one


def load_as_the_original(found: Any) -> Any:
    """Build the model with random values, read the whole checkpoint, and copy it over them."""
    import torch
    from safetensors.torch import load_file

    from dif3d_blender.engine.tsr import TSR
    from dif3d_blender.engine.weights import read_config

    model = TSR(read_config(found.config), folder=found.config.parent)
    if found.weights.suffix == ".safetensors":
        tensors = load_file(found.weights)
    else:
        tensors = torch.load(found.weights, map_location="cpu", weights_only=True)
    model.load_state_dict(tensors)
    return model.eval()


def compare(folder: Path, way: str) -> dict[str, float]:
    """How far one way's results are from the original's."""
    import numpy as np
    from scipy.spatial import cKDTree

    def load(name: str) -> list[np.ndarray]:
        return [np.load(folder / f"{which}.{name}.npy").astype(np.float64) for which in (way, "original")]

    if not (folder / "original.codes.npy").exists():
        return {}
    codes, expected = load("codes")
    vertices, true_vertices = load("vertices")
    view, true_view = load("view")
    return {
        "scene codes, RMS of the difference over RMS": float(
            ((codes - expected) ** 2).mean() ** 0.5 / (expected**2).mean() ** 0.5
        ),
        "surface, largest distance of vertices": float(
            max(cKDTree(a).query(b)[0].max() for a, b in ((vertices, true_vertices), (true_vertices, vertices)))
        ),
        "view, PSNR in dB": float(-10 * np.log10(max(((view - true_view) ** 2).mean(), 1e-12))),
    }


def describe_machine(device: str) -> dict[str, Any]:
    import psutil
    import torch

    able = torch.cpu.get_capabilities()
    machine = {
        "cpu": able.get("cpu_name") or platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "threads used": torch.get_num_threads(),
        "avx512_bf16": bool(able.get("avx512_bf16")),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load before": round(psutil.getloadavg()[0], 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.device(device).type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def describe(report: dict[str, Any], results: dict[str, dict[str, Stage]], options: argparse.Namespace) -> str:
    """The table, in Markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in report["machine"].items()), ""]
    lines.append(
        f"{options.model} on {options.device}, {options.clock} seconds; surface at {options.resolution}³, "
        f"{options.views} views of 256 × 256"
    )
    fast = [way for way in options.ways if way != "original"]
    reference = results.get("original", {})
    head = ["step", "original", *(column for way in fast for column in (way, "ratio")), "queries", "queries, fast"]
    lines += ["", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]

    def seconds(stage: Stage | None) -> str:
        return f"{getattr(stage, options.clock):.3g} s" if stage else "–"

    for name, (title, required) in STEPS.items():
        row = [title, seconds(reference.get(name))]
        for way in fast:
            stage = results[way][name]
            row.append(seconds(stage))
            if name not in reference:
                row.append("–")
                continue
            ratio = getattr(reference[name], options.clock) / getattr(stage, options.clock)
            row.append(f"{ratio:.3g}×" + (f" (≥ {required[way]:g})" if options.full else ""))
        for stages in (reference, results[fast[0]] if fast else {}):
            row.append(f"{stages[name].queries:,}" if name in stages and stages[name].queries else "–")
        lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    for way in fast:
        twice, once = results[way]["surface at twice the resolution"], results[way]["surface"]
        ratio = getattr(twice, options.clock) / getattr(once, options.clock)
        lines.append(f"{way}: surface at {2 * options.resolution}³ in {seconds(twice)}, {ratio:.2g} times as long")
    lines += ["", "Peak memory of the process when each stage ended, GB:", ""]
    names = ["load", "encode", "surface", "views"]
    lines += [f"| way | {' | '.join(names)} |", "|" + " --- |" * (len(names) + 1)]
    for way, stages in results.items():
        lines.append(f"| {way} | {' | '.join(f'{stages[name].peak / 1e9:.2f}' for name in names)} |")
    for way, differences in report["agreement"].items():
        listed = "; ".join(f"{name} {value:.3g}" for name, value in differences.items())
        lines += ["", f"{way} against original: {listed}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
