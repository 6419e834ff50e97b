"""Training targets and losses.

- Task-aligned assignment: TOOD, Feng et al. 2021 (alignment t = score^alpha * IoU^beta).
- Complete-IoU loss: Zheng et al. 2020. Distribution focal loss: Li et al. 2020.

Shapes: N images, A anchor points, M label slots (class -1: empty), C classes. Boxes are x0, y0, x1,
y1 in pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from model import BINS
from torch import Tensor

ALPHA, BETA, TOP_K = 1.0, 6, 13  # the values of the TOOD paper
WEIGHTS = {"score": 1.0, "box": 4.0, "bins": 1.0}
SMALLEST_REACH = 5.0  # pixels: an object smaller than a cell still reaches the nearest cell centre


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes that broadcast against each other, (..., 4) x (..., 4) -> (...)."""
    wh = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(
        min=0
    )
    inter = wh[..., 0] * wh[..., 1]
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inter / (area_a + area_b - inter + 1e-7)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less a centre-distance and an aspect term, (K, 4) x (K, 4) -> (K,)."""
    iou = pair_iou(a, b)
    outer = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    shift = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]).pow(2).sum(1) / 4
    wh_a, wh_b = (a[:, 2:] - a[:, :2]).clamp(min=1e-4), (b[:, 2:] - b[:, :2]).clamp(min=1e-4)
    aspect = (4 / math.pi**2) * (
        torch.atan(wh_a[:, 0] / wh_a[:, 1]) - torch.atan(wh_b[:, 0] / wh_b[:, 1])
    ).pow(2)
    with torch.no_grad():
        trade = aspect / (1 - iou + aspect + 1e-7)
    return iou - shift / (outer.pow(2).sum(1) + 1e-7) - trade * aspect


@torch.no_grad()
def assign(
    scores: Tensor, boxes: Tensor, points: Tensor, gt_boxes: Tensor, gt_classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Which label each anchor point learns, (N, A) int64 or -1, and how well aligned it is, (N, A)
    in 0..1.
    """
    n, m = gt_classes.shape
    centre, reach = (
        (gt_boxes[..., :2] + gt_boxes[..., 2:]) / 2,
        (gt_boxes[..., 2:] - gt_boxes[..., :2]) / 2,
    )
    away = (points[None, None] - centre[:, :, None]).abs() < reach.clamp(min=SMALLEST_REACH)[
        :, :, None
    ]
    inside = away.all(3) & (gt_classes >= 0)[..., None]  # (N, M, A)
    iou = pair_iou(gt_boxes[:, :, None], boxes[:, None])
    score = scores.transpose(1, 2).gather(
        1, gt_classes.clamp(min=0)[..., None].expand(n, m, scores.shape[1])
    )
    aligned = score.pow(ALPHA) * iou.pow(BETA) * inside
    best, where = aligned.topk(TOP_K, 2)
    chosen = torch.zeros_like(inside).scatter_(2, where, best > 1e-12)
    # At the start no box overlaps its label enough for t > 0; the point nearest to the centre keeps
    # every label alive.
    distance = (
        (points[None, None] - centre[:, :, None]).pow(2).sum(3).masked_fill(~inside, math.inf)
    )
    chosen.scatter_(2, distance.argmin(2, keepdim=True), True)
    chosen &= inside
    # A point of two labels goes to the label that it overlaps most.
    owner = torch.where(chosen, iou, -1.0).argmax(1)
    chosen &= F.one_hot(owner, m).transpose(1, 2).bool()
    aligned, iou = aligned * chosen, iou * chosen
    quality = (aligned / (aligned.amax(2, keepdim=True) + 1e-12) * iou.amax(2, keepdim=True)).amax(
        1
    )
    return torch.where(chosen.any(1), owner, -1), quality


def detection_loss(
    raw: Tensor, points: Tensor, strides: Tensor, gt_boxes: Tensor, gt_classes: Tensor
) -> dict[str, Tensor]:
    """Weighted loss terms from raw head maps (N, 4 * BINS + C, A) and padded labels (N, M, 4), (N,
    M).
    """
    raw = raw.float().transpose(1, 2)
    logits, bins = raw[..., 4 * BINS :], raw[..., : 4 * BINS].unflatten(2, (4, BINS))
    sides = (bins.softmax(3) * torch.arange(BINS, device=raw.device)).sum(3) * strides
    boxes = torch.cat((points - sides[..., :2], points + sides[..., 2:]), 2)
    owner, quality = assign(logits.detach().sigmoid(), boxes.detach(), points, gt_boxes, gt_classes)
    positive = owner >= 0
    total = quality.sum().clamp(min=1.0)
    image, anchor = positive.nonzero(as_tuple=True)
    label = owner[image, anchor]
    target = torch.zeros_like(logits)
    target[image, anchor, gt_classes[image, label]] = quality[image, anchor]
    score_loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / total
    weight, goal = quality[image, anchor], gt_boxes[image, label]
    box_loss = ((1 - complete_iou(boxes[image, anchor], goal)) * weight).sum() / total
    p, s = points[anchor], strides[anchor]
    distance = (torch.cat((p - goal[:, :2], goal[:, 2:] - p), 1) / s).clamp(0, BINS - 1.01)
    low = distance.long()
    log_p = bins[image, anchor].log_softmax(2)  # (K, 4, BINS)
    upper = distance - low
    per_side = -(
        log_p.gather(2, low[..., None])[..., 0] * (1 - upper)
        + log_p.gather(2, low[..., None] + 1)[..., 0] * upper
    )
    bins_loss = (per_side.mean(1) * weight).sum() / total
    return {
        "score": WEIGHTS["score"] * score_loss,
        "box": WEIGHTS["box"] * box_loss,
        "bins": WEIGHTS["bins"] * bins_loss,
    }
