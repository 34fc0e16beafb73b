"""Depth maps: from one picture by GLPN, or from a field's own view; checked, scaled, saved, shown.

GLPN: Kim et al., "Global-Local Path Networks for Monocular Depth Estimation with Vertical CutDepth", 2022. A depth map
holds distances along the camera's optical axis; what is not known is NaN.
"""

from __future__ import annotations

import pickle  # for the name of an exception of torch.load(weights_only=True); nothing is unpickled here
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from PIL import Image
from scipy.ndimage import map_coordinates
from torch import Tensor

from .cameras import Camera, rays_intersect_bbox
from .errors import DIF3DError
from .export import save_array, save_png
from .field import Field
from .occupancy import Occupancy

PUBLISHED = "vinvino02/glpn-nyu"
LONGEST_SIDE = 512  # pixels; GLPN was trained on 480 × 640
MULTIPLE = 32  # GLPN halves the picture five times

_RAY_SAMPLES = 128  # steps through the occupied box, under half a texel each; the bisection after it refines 128-fold
_EDGE = 0.02  # in the field's units: a larger step within a pixel is an edge
_RAYS = 1 << 15  # rays whose samples are looked up together
_AT_ONCE = 8  # samples of a ray that are decoded together


class DepthUnavailable(DIF3DError):
    """There is no usable depth from this source; the message says why. Another source may have one."""


@dataclass(frozen=True)
class Glpn:
    """A loaded GLPN: transformers' `GLPNImageProcessor` and `GLPNForDepthEstimation`, and the model's name."""

    processor: object
    model: torch.nn.Module
    label: str


def load_glpn(name: str | Path = PUBLISHED, device: str = "cpu", allow_network: bool = False) -> Glpn:
    """Load a GLPN from a folder, the Hugging Face cache or, if `allow_network`, the hub.

    Raises:
        DepthUnavailable: not on this machine, or its files are broken.
    """
    if not Path(name).is_dir() and not allow_network and not _is_cached(str(name)):
        raise DepthUnavailable(f"The depth model {name} is not on this machine, and downloading is not allowed.")
    from safetensors import SafetensorError
    from transformers import GLPNForDepthEstimation, GLPNImageProcessor  # slow to import

    local = not allow_network or Path(name).is_dir()
    try:
        processor = GLPNImageProcessor.from_pretrained(name, local_files_only=local)
        model, loading = GLPNForDepthEstimation.from_pretrained(
            name, local_files_only=local, weights_only=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError, pickle.UnpicklingError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DepthUnavailable(f"The depth model {name} can't be used: {first_line.rstrip('.')}.") from error
    if loading["missing_keys"]:
        some = ", ".join(sorted(loading["missing_keys"])[:3])
        raise DepthUnavailable(f"The depth model {name} can't be used: its file lacks tensors ({some} …).")
    return Glpn(processor, model.to(device).eval(), str(name))


def _is_cached(name: str) -> bool:
    """Whether a Hugging Face repository's settings are in the cache; a path or another name never is."""
    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def depth_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) for GLPN: multiples of 32, at most 512, the aspect kept as far as these allow."""
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return tuple(max(MULTIPLE, MULTIPLE * round(side * scale / MULTIPLE)) for side in (height, width))


def resize_picture(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float32 [H, W, 3] or [H, W], values in [0, 1], at `size` (height, width)."""
    channels = image[..., None] if image.ndim == 2 else image
    target = (size[1], size[0])
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(channels[..., c], dtype=np.float32)).resize(target, Image.LANCZOS)
        )
        for c in range(channels.shape[2])
    ]
    result = np.clip(np.stack(resized, axis=2), 0.0, 1.0)
    return result[..., 0] if image.ndim == 2 else result


@torch.inference_mode()
def estimate_depth(image: np.ndarray, glpn: Glpn) -> np.ndarray:
    """Return GLPN's depth of a picture in metres.

    Args:
        image: [H, W, 3] sRGB in [0, 1], of any size.
        glpn: what `load_glpn` gave.

    Returns:
        float32 [h, w], where (h, w) is `depth_size(H, W)`.
    """
    pixels = np.round(resize_picture(image, depth_size(*image.shape[:2])) * 255.0).astype(np.uint8)
    inputs = glpn.processor(images=Image.fromarray(pixels), return_tensors="pt").to(glpn.model.device)
    return glpn.model(**inputs).predicted_depth[0].float().cpu().numpy()


@torch.no_grad()
def field_depth(
    field: Field, camera: Camera, height: int, width: int, threshold: float = 25.0, occupancy: Occupancy | None = None
) -> np.ndarray:
    """Return how far a camera sees the surface of a field at density `threshold`.

    Args:
        field: what to look at.
        camera: where from.
        height: of the depth map, in pixels.
        width: of the depth map, in pixels.
        threshold: density at the surface.
        occupancy: the field's occupancy where it is known already.

    Returns:
        float32 [height, width], distances along the optical axis in the field's units, NaN where there is nothing.
    """
    occupancy = occupancy or Occupancy(field)
    occupied = occupancy.above(threshold)
    origins, directions = (rays.reshape(-1, 3).to(field.device) for rays in camera.rays(height, width))
    near, far, hits = rays_intersect_bbox(origins, directions, _bounds(occupancy, occupied), valid_thresh=0.0)
    along = torch.full((len(origins),), torch.nan, device=field.device)
    for rays in hits.nonzero()[:, 0].split(_RAYS):
        along[rays] = _first_crossing(
            field, occupancy, occupied, origins[rays], directions[rays], near[rays], far[rays], threshold
        )
    forward = -camera.camera_to_world[:3, 2].to(field.device)
    return (along * (directions @ forward)).view(height, width).float().cpu().numpy()


def enlarge_depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a depth map [h, w] at [height, width]: linear on surfaces, nearest at edges and beside what is unknown."""
    rows, columns = (
        (np.arange(size) + 0.5) * (known / size) - 0.5 for size, known in zip((height, width), depth.shape, strict=True)
    )
    places = np.meshgrid(rows, columns, indexing="ij")
    nearest = map_coordinates(depth, places, order=0, mode="nearest", prefilter=False)
    linear = map_coordinates(depth, places, order=1, mode="nearest", prefilter=False)
    smooth = np.abs(linear - nearest) < _EDGE  # false where either is not known
    return np.where(smooth, linear, nearest).astype(np.float32)


def _bounds(occupancy: Occupancy, occupied: Tensor) -> Tensor:
    """The box [3, 2] round the cells `occupied` [G − 1]³; of no size where there are none."""
    bounds = occupancy.lines.new_zeros(3, 2)
    for axis in range(3):
        cells = occupied.movedim(axis, 0).flatten(1).any(dim=1).nonzero()[:, 0]
        if len(cells):
            bounds[axis] = occupancy.lines[torch.stack([cells[0], cells[-1] + 1])]
    return bounds / 0.999  # `rays_intersect_bbox` tightens the box by as much


def _first_crossing(
    field: Field,
    occupancy: Occupancy,
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    threshold: float,
) -> Tensor:
    """Where rays [N, 3] first reach the threshold between `near` and `far` [N, 1]: distances [N], NaN where nowhere.

    Only samples in occupied cells are decoded, front to back, until one lies inside; then bisection.
    """

    def density(chosen: Tensor, distances: Tensor) -> Tensor:
        return field.density(origins[chosen] + distances[:, None] * directions[chosen])[:, 0]

    steps = torch.arange(_RAY_SAMPLES, device=origins.device) / (_RAY_SAMPLES - 1)
    distances = near * (1 - steps) + far * steps  # [N, samples]
    points = origins[:, None] + distances[..., None] * directions[:, None]
    wanted = occupancy.lookup(occupied, points)
    found = torch.full((len(origins),), _RAY_SAMPLES, dtype=torch.long, device=origins.device)
    going = wanted.any(dim=1).nonzero()[:, 0]  # the rays that may still meet the surface
    turn = torch.where(wanted, wanted.cumsum(dim=1, dtype=torch.int16) - 1, -1)[going]  # of a sample among those wanted
    first = 0
    while len(going):
        row, sample = ((turn >= first) & (turn < first + _AT_ONCE)).nonzero().unbind(dim=1)
        inside = density(going[row], distances[going[row], sample]) >= threshold
        found.scatter_reduce_(0, going[row[inside]], sample[inside], "amin")
        first += _AT_ONCE
        left = (found[going] == _RAY_SAMPLES) & (turn.amax(dim=1) >= first)
        going, turn = going[left], turn[left]
    surface = (found < _RAY_SAMPLES).nonzero()[:, 0]
    upper = distances[surface, found[surface]]
    lower = distances[surface, (found[surface] - 1).clamp_min(0)]
    for _ in range(7):
        middle = (lower + upper) / 2
        inside = density(surface, middle) >= threshold
        lower, upper = torch.where(inside, lower, middle), torch.where(inside, middle, upper)
    result = torch.full((len(origins),), torch.nan, device=origins.device)
    result[surface] = upper
    return result


def crop_padding(array: np.ndarray, padding: int) -> np.ndarray:
    """Return [h − 2·padding, w − 2·padding, …]: the map without its rim, where depth networks are unreliable.

    Raises:
        DIF3DError: nothing would be left.
    """
    if padding < 0 or 2 * padding >= min(array.shape[:2]):
        raise DIF3DError(
            f"A padding of {padding} pixels on each side leaves nothing of a depth map of {array.shape[1]}×"
            f"{array.shape[0]}. Choose one from 0 to {(min(array.shape[:2]) - 1) // 2}."
        )
    return array[padding : array.shape[0] - padding, padding : array.shape[1] - padding]


def check_depth(depth: np.ndarray, mask: np.ndarray, source: str) -> str:
    """Say how good a depth map [h, w] is over the subject `mask` [h, w] (bool).

    Returns:
        A sentence for the report where a noticeable part is not known, else nothing.

    Raises:
        DIF3DError: the mask is empty.
        DepthUnavailable: the depth is not finite, not positive or constant there.
    """
    if not mask.any():
        raise DIF3DError("The subject's mask is empty after cropping, so it has no depth. Lower the padding.")
    inside = depth[mask]
    known = np.isfinite(inside) & (inside > 0)
    if known.mean() < 0.1:
        raise DepthUnavailable(f"The depth from {source} is missing, not finite or not positive over the subject.")
    inside = inside[known]
    if inside.max() - inside.min() <= 1e-4 * np.median(inside):
        raise DepthUnavailable(f"The depth from {source} is the same everywhere on the subject.")
    unknown = 1.0 - known.mean()
    return f"{unknown:.0%} of the subject has no depth from {source} and was left out." if unknown > 0.01 else ""


def to_distance(depth: np.ndarray, mask: np.ndarray, distance: float) -> np.ndarray:
    """Scale a metric depth so that its median over the subject is `distance`: the camera's, in the field frame.

    A monocular network can't know how large a thing is; the field's box says it. The shape is scaled alike in all
    directions.
    """
    return (depth * (distance / np.nanmedian(depth[mask]))).astype(np.float32)


# ----------------------------------------------------------------------------------------------------------- pictures

# Far to near: dark violet to pale yellow, of steadily growing lightness, so that it reads in grey too.
_COLORS = (
    np.array([[24, 10, 60], [85, 20, 120], [160, 40, 125], [220, 75, 95], [250, 145, 70], [252, 235, 165]]) / 255.0
)


def color_depth(depth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return a depth map [h, w] as a picture, uint8 [h, w, 3]: near is bright, what is not known is grey.

    The colours span the depths inside `mask`, without the extreme hundredths.
    """
    known = np.isfinite(depth)
    spanned = depth[known & mask] if mask is not None and (known & mask).any() else depth[known]
    near, far = np.percentile(spanned, [1, 99]) if spanned.size else (0.0, 1.0)
    height = np.clip((far - np.where(known, depth, far)) / max(far - near, 1e-6), 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_COLORS))
    picture = np.stack([np.interp(height, steps, _COLORS[:, c]) for c in range(3)], axis=2)
    picture[~known] = 0.5
    return np.round(picture * 255.0).astype(np.uint8)


def save_depth(folder: Path | str, depth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, Path]:
    """Write `depth.npy` (float32, as it is), `depth.png` (16 bits, millimetres, 0 = not known), `depth_color.png`.

    Returns:
        The paths under "depth", "depth_png" and "depth_color".
    """
    folder = Path(folder)
    paths = {
        "depth": folder / "depth.npy",
        "depth_png": folder / "depth.png",
        "depth_color": folder / "depth_color.png",
    }
    save_array(paths["depth"], depth.astype(np.float32))
    millimetres = np.clip(np.round(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0), 0, 65535)
    save_png(paths["depth_png"], millimetres.astype(np.uint16))
    save_png(paths["depth_color"], color_depth(depth, mask))
    return paths


def save_comparison(path: Path | str, image: np.ndarray, depth: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Write the picture [h, w, 3] (sRGB in [0, 1]) and the coloured depth [h, w] side by side."""
    picture = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    save_png(path, np.concatenate([picture, color_depth(depth, mask)], axis=1))
