"""From the regression head's raw outputs to boxes; exported graphs trace the same function."""

from typing import NamedTuple

import torch
from torchvision.ops import nms

from thesislib.models.anchors import cell_centres, decode_boxes


class Detections(NamedTuple):
    """Faces found in a batch of N photos, by photo, highest score first; D in all."""

    photo: torch.Tensor  # int64 [D], 0 to N - 1
    place: torch.Tensor  # int64 [D], index into the A x rows x columns places, flattened
    boxes: torch.Tensor  # float [D, 4], pixels of the network's input
    scores: torch.Tensor  # float [D], 0 to 1
    # float [D, 5, 2], pixels of the network's input; None from heads that find none
    landmarks: torch.Tensor | None = None


@torch.library.custom_op("thesislib::suppress", mutates_args=())
def suppress(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, threshold: float, most: int
) -> torch.Tensor:
    """Non-maximum suppression, photo by photo; in ONNX one NonMaxSuppression.

    Args:
        boxes: float [N, M, 4].
        scores: float [N, M].
        iou: IoU above which the box of the lower score is dropped.
        threshold: boxes with scores up to this one are dropped.
        most: boxes kept in a photo.

    Returns:
        int64 [D, 2]: photo and box, by photo, highest score first.
    """
    found = []
    for photo, (own, score) in enumerate(zip(boxes, scores, strict=True)):
        alive = (score > threshold).nonzero()[:, 0]
        kept = alive[nms(own[alive], score[alive], iou)[:most]]
        found.append(torch.stack([torch.full_like(kept, photo), kept], dim=1))
    return torch.cat(found)


@suppress.register_fake
def _(
    boxes: torch.Tensor, scores: torch.Tensor, iou: float, threshold: float, most: int
) -> torch.Tensor:
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(), 2), dtype=torch.int64)


def decode(
    regression: torch.Tensor,
    anchors: torch.Tensor,
    cell: int,
    size: tuple[int, int],
    score_threshold: float | torch.Tensor,
    nms_iou: float,
    max_detections: int,
) -> Detections:
    """Detections of a batch.

    Args:
        regression: float [N, A, 5, rows, columns]: four regression targets and the confidence
            logit of every anchor of every cell.
        anchors: float [A, 2], width and height in pixels.
        cell: side of a cell in pixels.
        size: height and width of the photos without padding, in pixels; boxes are cut there.
        score_threshold: detections with scores up to this one are dropped; a tensor in an exported
            graph, which is told it with the photos.
        nms_iou: IoU above which the detection of the lower score is dropped.
        max_detections: detections kept in a photo.
    """
    boxes, scores = cell_boxes(regression, anchors, cell)
    flat = (boxes.flatten(1, 3), scores.flatten(1))
    return kept(*flat, size, score_threshold, nms_iou, max_detections)


def cell_boxes(
    regression: torch.Tensor, anchors: torch.Tensor, cell: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What every anchor of every cell says, before any is dropped.

    Args:
        regression, anchors, cell: see :func:`decode`.

    Returns:
        boxes float [N, A, rows, columns, 4], pixels, and scores float [N, A, rows, columns].
    """
    centres = cell_centres(regression.shape[-2:], cell, regression.device)
    codes = regression[:, :, :4].permute(0, 1, 3, 4, 2)  # [N, A, rows, columns, 4]
    boxes = decode_boxes(codes, centres, anchors[:, None, None], cell)
    return boxes, regression[:, :, 4].sigmoid()


def kept(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    size: tuple[int, int],
    score_threshold: float | torch.Tensor,
    nms_iou: float,
    max_detections: int,
) -> Detections:
    """The boxes of all M places of N photos that stay: cut at the photo's edge, one per face.

    Args:
        boxes: float [N, M, 4] pixels.
        scores: float [N, M], 0 to 1.
        size, score_threshold, nms_iou, max_detections: see :func:`decode`.
    """
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(dim=2)
    boxes = torch.stack(
        [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=2
    )
    wanted = (boxes[..., 2:] > boxes[..., :2]).all(dim=2) & (scores > score_threshold)
    found = torch.ops.thesislib.suppress(
        boxes, torch.where(wanted, scores, -1.0), nms_iou, 0.0, max_detections
    )
    photo, place = found.unbind(dim=1)
    return Detections(photo, place, boxes[photo, place], scores[photo, place])
