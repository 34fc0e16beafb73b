"""How good a model is on objects it has not seen, and two baselines that need no learning."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dif3d_blender.engine.tsr import TSR

from .network import inside_logit
from .pictures import FRAME_HALF_WIDTH, RADIUS, Pose, field_distance, lattice
from .shapes import ShapeBatch


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boolean occupancies [B, N]: [B]. Two empty ones are equal: 1."""
    union = (first | second).sum(1)
    return torch.where(
        union > 0, (first & second).sum(1) / union.clamp_min(1), torch.ones_like(union, dtype=torch.float)
    )


def true_occupancy(shapes: ShapeBatch, pose: Pose, cells: int) -> Tensor:
    """Whether each cell centre of the field's box is inside: bool [B, cells³], x slowest."""
    points = lattice(cells, pose.scale.device)[None] * RADIUS
    return field_distance(points.expand(len(shapes), -1, -1), shapes, pose) < 0


@torch.no_grad()
def predicted_occupancy(model: TSR, pictures: Tensor, cells: int) -> Tensor:
    """What the model says for the same cells from pictures [B, S, S, 3]: bool [B, cells³]."""
    device = pictures.device
    points = lattice(cells, device) * RADIUS
    codes = model(pictures, device).float()
    raw = [model.renderer.query_triplane(model.decoder, points, code)["density"][:, 0] for code in codes]
    return inside_logit(torch.stack(raw)) > 0


def inflated_silhouette(masks: Tensor, cells: int) -> Tensor:
    """The silhouette blown up to its own width: every horizontal run of mask pixels becomes a disc. bool [B, cells³].

    Masks [B, S, S] are coverage in [0, 1], seen level from azimuth 0 as the frame of a picture defines (no
    perspective). It is right for whatever was turned on a lathe, and a strong guess for the rest.
    """
    batch, size, _ = masks.shape
    solid = masks > 0.5
    column = torch.arange(size, device=masks.device).expand_as(solid)
    edge = torch.where(solid, -1, column)
    left = edge.cummax(-1).values  # the last empty pixel at or before each
    right = torch.where(solid, size, column).flip(-1).cummin(-1).values.flip(-1)
    to_world = 2 * FRAME_HALF_WIDTH / size
    middle = ((left + right) / 2 + 0.5 - size / 2) * to_world
    half = (right - left - 1) / 2 * to_world
    discs = torch.stack([middle, half, solid.float()], 1)  # B, 3, row, column

    x, y, z = (lattice(cells, masks.device) * RADIUS).unbind(-1)
    where = torch.stack([y, -z], -1)[None, None] / FRAME_HALF_WIDTH
    sampled = F.grid_sample(discs, where.expand(batch, -1, -1, -1), mode="nearest", align_corners=False)[:, :, 0]
    middle, half, solid_at = sampled.unbind(1)
    return (solid_at > 0.5) & (x.square() + (y - middle).square() <= half.square())


def mean_shape(occupancies: Tensor) -> Tensor:
    """The one occupancy [N] nearest to all of `occupancies` [B, N]: their mean, cut where the mean IoU is best."""
    mean = occupancies.float().mean(0)
    levels = torch.linspace(0.05, 0.6, 12, device=mean.device)
    scores = torch.stack([iou(occupancies, (mean > level).expand_as(occupancies)).mean() for level in levels])
    return mean > levels[scores.argmax()]
