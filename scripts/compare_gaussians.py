"""Compare the Gaussians of an object with its mesh: both by Blender, from the same eight cameras.

    .venv/bin/python scripts/compare_gaussians.py [PICTURE…] [--sheet FILE] [--resolution 160]

Each picture (default: those in examples/) is made into an object. Mesh and Gaussians are then drawn by Cycles without
light, as plain colour, from eight cameras around the object. The table that is printed gives the mean IoU of the two
silhouettes, and the mean PSNR in dB over the pixels that both cover. The sheet shows, three rows a picture, what three
of the cameras see: the mesh, the Gaussians, and the Gaussians once more with those that the picture shows in orange and
those that the field alone tells in blue.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dif3d_blender.blender.colors import color_material, rgba
from dif3d_blender.blender.scene import COLOR, add_result
from dif3d_blender.blender.turntable import Look, TurntableRender, View, add_rig
from dif3d_blender.engine.files import atomic_path
from dif3d_blender.engine.pipeline import Pipeline
from dif3d_blender.messages import Job, Result

CAMERAS = 8
SHOWN = (1, 3, 6)  # of these cameras, on the sheet
OBSERVED, INFERRED = (1.0, 0.55, 0.15), (0.25, 0.5, 1.0)  # sRGB


def render_all(result: Result, size: int) -> dict[str, np.ndarray]:
    """A result as "mesh", "gaussians" and "tinted" Gaussians from all cameras: RGBA [8, size, size, 4] in [0, 1]."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"  # the colours as they are
    scene.cycles.use_denoising = False  # there is no noise without light
    scene.render.use_persistent_data = True
    mesh, cloud = add_result(result, "object").objects
    mesh.data.materials[0] = color_material("plain", radiant=True)
    cloud.hide_render = False
    pivot = add_rig(mesh, CAMERAS, View(elevation_deg=15.0, distance=2.2))  # so far that all of it is seen
    drawn = {"mesh": _render(scene, mesh, size)}
    pivot.parent = cloud  # which stands where the mesh stands
    drawn["gaussians"] = _render(scene, cloud, size)
    colors, observed = np.load(result.files["gaussians_color"]), np.load(result.files["gaussians_observed"])
    tint = np.where(observed[:, None], OBSERVED, INFERRED)
    tinted = tint * (0.3 + 0.7 * colors.mean(axis=1, keepdims=True))
    cloud.data.attributes[COLOR].data.foreach_set("color_srgb", rgba(tinted).ravel())
    return drawn | {"tinted": _render(scene, cloud, size)}


def _render(scene: bpy.types.Scene, obj: bpy.types.Object, size: int) -> np.ndarray:
    look = Look("CYCLES", size, background=None, samples=16)
    with tempfile.TemporaryDirectory(prefix="dif3d-compare-") as folder:
        turntable = TurntableRender(scene, obj, Path(folder), look)
        pictures = [np.asarray(Image.open(turntable.render(k)), np.float32) for k in range(turntable.frames)]
    return np.stack(pictures) / 255


def compare(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Mean IoU of the silhouettes, and mean PSNR (dB) where both cover the pixel, of RGBA pictures [n, H, W, 4]."""
    one, other = first[..., 3] > 0.5, second[..., 3] > 0.5
    iou = (one & other).sum((1, 2)) / (one | other).sum((1, 2))
    square = np.square(first[..., :3] - second[..., :3]).mean(axis=3)
    both = (first[..., 3] > 0.99) & (second[..., 3] > 0.99)
    psnr = [-10 * np.log10(max(error[where].mean(), 1e-10)) for error, where in zip(square, both, strict=True)]
    return float(iou.mean()), float(np.mean(psnr))


def sheet_of(drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Three rows of what the shown cameras see, on white: [3 · size, 3 · size, 3]."""
    rows = [np.concatenate(list(drawn[way][list(SHOWN)]), axis=1) for way in ("mesh", "gaussians", "tinted")]
    pixels = np.concatenate(rows)
    return pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this file, such as sheet.jpg")
    parser.add_argument("--model", default=Job.model)
    parser.add_argument("--resolution", type=int, default=160, help="samples along each axis of the mesh")
    parser.add_argument("--size", type=int, default=192, help="pixels a side of what is rendered")
    settings = parser.parse_args()
    pipeline, sheets = Pipeline(), []
    print("| picture | silhouette IoU | colour PSNR (dB) |\n| --- | --- | --- |", flush=True)
    for path in settings.pictures or sorted((ROOT / "examples").glob("*.png")):
        with tempfile.TemporaryDirectory(prefix="dif3d-compare-") as folder:
            job = Job(str(path.resolve()), folder, model=settings.model, resolution=settings.resolution, frames=0)
            drawn = render_all(pipeline.run(job, lambda _: None), settings.size)
        iou, psnr = compare(drawn["mesh"], drawn["gaussians"])
        sheets.append(sheet_of(drawn))
        print(f"| {path.stem} | {iou:.3f} | {psnr:.1f} |", flush=True)
    if settings.sheet:
        sheet = Image.fromarray((np.concatenate(sheets, axis=1).clip(0, 1) * 255).round().astype(np.uint8))
        with atomic_path(settings.sheet) as temporary:
            sheet.save(temporary, quality=90)


if __name__ == "__main__":
    main()
