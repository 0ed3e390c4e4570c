"""What the heads of a pyramid learn from: faces assigned to the places that fit them best."""

from typing import Any

import torch
import torch.nn.functional as F
from torchvision.ops import box_iou, complete_box_iou_loss

from thesislib.models.pyramid import Places, decode_places

CENTRE_CELLS = 2.5  # a face's places lie within this many cells of its centre
MOST_PLACES = 10  # of a face, about
LANDMARK_BETA = 0.02  # of a face's size: below it the landmark loss is quadratic


def assign_dynamic(
    boxes: torch.Tensor, predicted: torch.Tensor, logits: torch.Tensor, at: Places
) -> torch.Tensor:
    """The face that each place is to find (SimOTA: YOLOX, Ge et al. 2021, section 2.1).

    A face's candidates are the places near its centre. It takes the k of lowest cost, where k is
    the sum of its ten highest IoUs, at least 1; the cost is the confidence's cross-entropy plus
    three times -log IoU. A place wanted by several faces goes to that of lowest cost.

    Args:
        boxes: float [F, 4] pixels.
        predicted: float [P, 4] pixels, what the places say now.
        logits: float [P], their confidence.
        at: the places.

    Returns:
        int64 [P]: a face, or -1.
    """
    count = len(at.centres)
    answer = torch.full((count,), -1, dtype=torch.int64, device=boxes.device)
    if not len(boxes):
        return answer
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = (middle[:, None] - at.centres).abs().amax(dim=2)  # [F, P]
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    # Of a size that the stride expects, within a factor of three; else the nearest size.
    ratio = (side[:, None] / at.sizes).log().abs()
    near = (offset < CENTRE_CELLS * at.strides) & (
        (ratio < 1.1) | (ratio <= ratio.amin(dim=1, keepdim=True) + 1e-6)
    )
    iou = box_iou(boxes, predicted)
    cost = F.softplus(-logits) - 3 * iou.clamp(min=1e-7).log() + 1e5 * ~near
    taken = torch.zeros_like(cost, dtype=torch.bool)
    top = (iou * near).topk(min(MOST_PLACES, count), dim=1).values.sum(dim=1)
    for face in range(len(boxes)):
        k = max(1, min(int(top[face]), int(near[face].sum())))
        taken[face, cost[face].topk(k, largest=False).indices] = True
    best = torch.where(taken, cost, torch.inf).argmin(dim=0)
    wanted = (taken & near).any(dim=0)
    answer[wanted] = best[wanted]
    return answer


def pyramid_loss(
    values: torch.Tensor, targets: list[dict[str, Any]], at: Places
) -> dict[str, torch.Tensor]:
    """Terms of a batch.

    Args:
        values: float [N, P, VALUES], of the heads.
        targets: per photo ``boxes`` float [F, 4] pixels, ``landmarks`` float [F, 5, 2] pixels, NaN
            where not known, and ``ignored`` float [I, 4], where nothing is to be learned.
        at: the places.

    Returns:
        ``confidence``: quality focal loss against the IoU (Li et al. 2020, equation 3);
        ``box``: complete IoU loss (Zheng et al. 2020); ``landmark``: smooth L1 in shares of the
        box's size; each over the number of places with a face.
    """
    boxes, points = decode_places(values.float(), at)
    logits = values[..., 4].float()
    wanted = torch.zeros_like(logits)
    weight = torch.ones_like(logits)
    losses = {"box": logits.sum() * 0, "landmark": logits.sum() * 0}
    positives, with_points = 0, 0
    for photo, target in enumerate(targets):
        truth = target["boxes"]
        with torch.no_grad():
            face = assign_dynamic(truth, boxes[photo], logits[photo], at)
            ignored = target["ignored"]
            if len(ignored):
                x, y = at.centres.unbind(1)
                inside = (
                    (x[:, None] > ignored[:, 0])
                    & (x[:, None] < ignored[:, 2])
                    & (y[:, None] > ignored[:, 1])
                    & (y[:, None] < ignored[:, 3])
                ).any(dim=1)
                weight[photo][inside & (face < 0)] = 0
        own = face >= 0
        if not own.any():
            continue
        found, true = boxes[photo][own], truth[face[own]]
        with torch.no_grad():
            wanted[photo][own] = _paired_iou(found, true)
        losses["box"] = losses["box"] + complete_box_iou_loss(found, true, reduction="sum")
        positives += int(own.sum())
        mark = target["landmarks"][face[own]]
        known = ~mark.isnan().any(dim=2).any(dim=1)
        if known.any():
            size = (true[:, 2:] - true[:, :2]).prod(dim=1).sqrt()[known]
            off = (points[photo][own][known] - mark[known]) / size[:, None, None]
            losses["landmark"] = losses["landmark"] + F.smooth_l1_loss(
                off, torch.zeros_like(off), reduction="sum", beta=LANDMARK_BETA
            )
            with_points += int(known.sum())
    modulation = (wanted - logits.sigmoid()).abs() ** 2
    bce = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return {
        "confidence": (modulation * bce * weight).sum() / max(1, positives),
        "box": losses["box"] / max(1, positives),
        "landmark": losses["landmark"] / max(1, with_points),
    }


def _paired_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """IoU of boxes [K, 4] with as many others, [K]."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    area = (one[:, 2:] - one[:, :2]).prod(dim=1) + (other[:, 2:] - other[:, :2]).prod(dim=1)
    return overlap / (area - overlap).clamp(min=1e-7)
