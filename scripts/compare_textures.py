"""Compare what an object shows by vertex colours, by the field's texture, and by one with the picture's own pixels.

    .venv/bin/python scripts/compare_textures.py [PICTURE…] [--sheet FILE] [--texture 2048] [--face-limit 20000]

Each picture (default: those in examples/) is made into an object three times: a full mesh with the field's colours at
its vertices, and twice a decimated one with a texture, without and with the picture's own pixels. All three are drawn
without light by the camera that took the picture, and compared with it on mid-grey. The table that is printed gives
PSNR in dB over the pixels that subject and object both cover ("seen") and over the whole picture, whose outline counts
too. The sheet shows, a row a picture: the picture, the three objects as that camera sees them, and turned by 50°.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dif3d_blender.engine.cameras import Camera
from dif3d_blender.engine.depth import resize_picture
from dif3d_blender.engine.files import atomic_path
from dif3d_blender.engine.foreground import cut_out, frame_subject, open_picture
from dif3d_blender.engine.pipeline import Pipeline
from dif3d_blender.engine.triangles import covered_texels, nearest_depths
from dif3d_blender.messages import Job

SIZE, SUPERSAMPLING = 512, 2  # pixels a side that are compared; samples a pixel and axis
TURNED = 50.0  # degrees
GREY = 0.5
TILE = 192  # pixels a side of the sheet's pictures
WAYS = ("vertex colours", "field's texture", "with the picture")


@dataclass(frozen=True)
class Shown:
    """A mesh whose corners have places in a texture [m, 3, 2], (0, 0) at the bottom left, or colours [m, 3, 3]."""

    vertices: np.ndarray
    faces: np.ndarray
    corners: np.ndarray
    texture: np.ndarray | None  # [T, T, 3], row 0 at the top

    @classmethod
    def read(cls, files: dict[str, str]) -> Shown:
        """The mesh of a result, from the files that it names."""
        vertices, faces = np.load(files["vertices"]), np.load(files["faces"])
        if "uv" not in files:
            return cls(vertices, faces, np.load(files["colors"])[faces], None)
        return cls(vertices, faces, np.load(files["uv"]), np.asarray(Image.open(files["base_color"]), np.float32) / 255)

    def draw(self, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The mesh without light as a camera sees it: sRGB on mid-grey [size, size, 3], and coverage [size, size]."""
        fine = size * SUPERSAMPLING
        spots, depths = (part.numpy() for part in camera.see(torch.from_numpy(self.vertices)))
        corners, nearness = ((spots + 1) / 2 * fine)[self.faces], 1 / depths[self.faces]
        nearest = nearest_depths(corners, depths[self.faces], fine)
        values = np.zeros((fine, fine, self.corners.shape[2]), np.float32)
        for triangle, row, column, weights in covered_texels(corners, fine):
            weights = weights * nearness[triangle]  # linear in the picture
            front = 1 / weights.sum(axis=1) <= nearest[row, column] * (1 + 1e-6)
            weights = weights[front] / weights[front].sum(axis=1, keepdims=True)
            values[row[front], column[front]] = np.einsum("ni,nic->nc", weights, self.corners[triangle[front]])
        covered = np.isfinite(nearest)
        color = np.full((fine, fine, 3), GREY, np.float32)
        color[covered] = values[covered] if self.texture is None else _look_up(self.texture, values[covered])
        return _smaller(color), _smaller(covered[..., None].astype(np.float32))[..., 0]


def _look_up(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The colours [N, 3] of a texture at places [N, 2], between texels by bilinear interpolation."""
    size = len(texture)
    places = ((1 - uv[:, 1]) * size - 0.5, uv[:, 0] * size - 0.5)
    return np.stack(
        [ndimage.map_coordinates(texture[..., c], places, order=1, mode="nearest") for c in range(3)], axis=1
    )


def _smaller(samples: np.ndarray) -> np.ndarray:
    side = len(samples) // SUPERSAMPLING
    return samples.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, -1).mean(axis=(1, 3))


def psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of values in [0, 1], in dB."""
    return float(-10 * np.log10(np.square(found - wanted).mean()))


def compare(pipeline: Pipeline, path: Path, settings: argparse.Namespace) -> tuple[list[float], np.ndarray]:
    """PSNR of the three ways over what is seen, then over the whole [6]; and a row of the sheet [SIZE, 7 · SIZE, 3]."""
    picture, mask = frame_subject(cut_out(open_picture(path), "auto").image, Job.foreground_ratio)
    wanted, mask = (resize_picture(image, (SIZE, SIZE)) for image in (picture, mask))
    drawn, turned = [], []
    for way in WAYS:
        with tempfile.TemporaryDirectory(prefix="dif3d-compare-") as folder:
            job = Job(
                str(path.resolve()),
                folder,
                model=settings.model,
                frames=0,
                gaussians=False,
                texture=0 if way == "vertex colours" else settings.texture,
                face_limit=0 if way == "vertex colours" else settings.face_limit,
                project=way == "with the picture",
            )
            result = pipeline.run(job, lambda _: None)
            shown = Shown.read(result.files)
        camera = Camera(**result.report["registration"]["camera"])
        drawn.append(shown.draw(camera, SIZE))
        around = Camera(camera.elevation_deg, camera.azimuth_deg + TURNED, camera.distance, camera.fovy_deg)
        turned.append(shown.draw(around, SIZE)[0])
    seen = mask > 0.99
    for _, coverage in drawn:  # the same pixels for all
        seen &= coverage > 0.99
    scores = [psnr(color[seen], wanted[seen]) for color, _ in drawn] + [psnr(color, wanted) for color, _ in drawn]
    return scores, np.concatenate([wanted, *(color for color, _ in drawn), *turned], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this file, such as sheet.jpg")
    parser.add_argument("--model", default=Job.model)
    parser.add_argument("--texture", type=int, default=2048, metavar="TEXELS")
    parser.add_argument("--face-limit", type=int, default=20_000)
    settings = parser.parse_args()
    pipeline, rows = Pipeline(), []
    print("| picture | " + " | ".join(f"{what}: {way}" for what in ("seen", "whole") for way in WAYS) + " |")
    print("| --- " * 7 + "|", flush=True)
    for path in settings.pictures or sorted((ROOT / "examples").glob("*.png")):
        scores, row = compare(pipeline, path, settings)
        rows.append(row)
        print(f"| {path.stem} | " + " | ".join(f"{score:.1f}" for score in scores) + " |", flush=True)
    if settings.sheet:
        sheet = Image.fromarray((np.concatenate(rows).clip(0, 1) * 255).round().astype(np.uint8))
        with atomic_path(settings.sheet) as temporary:
            sheet.resize((7 * TILE, TILE * len(rows))).save(temporary, quality=85)


if __name__ == "__main__":
    main()
