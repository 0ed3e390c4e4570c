"""What a net looks at: scores of cells before suppression, receptive fields, and what is missed
when a part of the photo is covered."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from thesislib.data.transforms import scaled_photo
from thesislib.metrics.boxes import box_iou
from thesislib.models.anchors import anchor_boxes
from thesislib.models.decode import cell_boxes, decode
from thesislib.models.joint import JointNet

_COVER = 127  # grey
_LEAST_SCORE = 0.25  # below it a face counts as not found


class Cells(NamedTuple):
    """What the grid says of a photo, before and after suppression.

    Attributes:
        photo: uint8 [H, W, 3], at the net's input.
        cell: side of a cell, pixels.
        anchors: float [A, rows, columns, 4], the anchors as boxes, pixels.
        scores: float [A, rows, columns], 0 to 1, that there is a face.
        boxes: float [A, rows, columns, 4], where it would be, pixels.
        kept: int64 [D], index into the flattened places: what is left after suppression.
        field: float [H, W], 0 to 1: how much each pixel moves the features of the best cell.
    """

    photo: NDArray[np.uint8]
    cell: int
    anchors: NDArray[np.float32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    kept: NDArray[np.int64]
    field: NDArray[np.float32]


def cells_of(net: JointNet, photo: np.ndarray, score_threshold: float = 0.5) -> Cells:
    """Look at a photo cell by cell.

    The receptive field is the absolute gradient of a cell's features, summed, with respect to the
    photo (Luo et al. 2016, Understanding the effective receptive field).

    Args:
        net: that reads embeddings at the cell.
        photo: uint8 [H, W, 3] RGB.
        score_threshold: of what is kept.

    Raises:
        ValueError: a net without a grid.
    """
    if net.embedding_source != "grid":
        raise ValueError(f"embedding_source={net.embedding_source!r}: expected 'grid'")
    net.eval()
    scaled = scaled_photo(photo, net.input_px, net.device)[None]
    size = (scaled.shape[-2], scaled.shape[-1])
    pixels = (scaled.float() / 255).requires_grad_()
    features = net.pool(net.features(pixels))
    with torch.no_grad():
        regression = net(scaled).regression.float()
        boxes, scores = cell_boxes(regression, net.anchors, net.cell)
        limits = (score_threshold, net.nms_iou, net.max_detections)
        place = decode(regression, net.anchors, net.cell, size, *limits).place
    _, row, column = np.unravel_index(int(scores[0].argmax()), scores.shape[1:])
    (gradient,) = torch.autograd.grad(features[0, :, row, column].abs().sum(), pixels)
    field = gradient[0].abs().sum(dim=0)
    return Cells(
        scaled[0].permute(1, 2, 0).cpu().numpy(),
        net.cell,
        anchor_boxes(net.anchors, regression.shape[-2:], net.cell).cpu().numpy(),
        scores[0].cpu().numpy(),
        boxes[0].cpu().numpy(),
        place.cpu().numpy(),
        (field / field.max().clamp(min=1e-12)).cpu().numpy(),
    )


class Missed(NamedTuple):
    """What a net loses when a part of a photo is covered.

    Attributes:
        name: float [H, W], by how much the probability of the right name falls (0 to 1) when a
            square there is covered, on average over the squares that cover a pixel.
        score: float [H, W], likewise, of the score of the face's box; 0 where it is not found.
    """

    name: NDArray[np.float64]
    score: NDArray[np.float64]


def occlusion(
    net: JointNet, photo: np.ndarray, box: np.ndarray, name: str, side: int, step: int
) -> Missed:
    """Cover a photo square by square, and see what the net misses (Zeiler & Fergus 2014,
    Visualizing and understanding convolutional networks, section 4.2).

    Args:
        net: any joint net.
        photo: uint8 [H, W, 3] RGB.
        box: float [4] of a face, pixels.
        name: of the person, one of the net's.
        side: of the grey square, pixels.
        step: from one square to the next, pixels.

    Raises:
        ValueError: a name that the net does not know, or a side or step below 1.
    """
    if name not in net.identities:
        raise ValueError(f"name: the net does not know {name!r}")
    if side < 1 or step < 1:
        raise ValueError(f"side and step: expected at least 1, got {side} and {step}")
    own = net.identities.index(name)
    corners = list(_corners(photo.shape[0], photo.shape[1], side, step))
    changed = [photo]
    for top, left in corners:
        changed.append(photo.copy())
        changed[-1][top : top + side, left : left + side] = _COVER
    whole, *rest = _of_face(net, changed, box, own)
    lost, covered = np.zeros((2, *photo.shape[:2])), np.zeros(photo.shape[:2])
    for (top, left), left_over in zip(corners, rest, strict=True):
        square = (slice(top, top + side), slice(left, left + side))
        lost[(slice(None), *square)] += np.maximum(whole - left_over, 0)[:, None, None]
        covered[square] += 1
    of_name, of_score = lost / np.maximum(covered, 1)
    return Missed(of_name, of_score)


def _corners(height: int, width: int, side: int, step: int) -> Iterator[tuple[int, int]]:
    """Squares that cover all of a photo, the last ones at its edge."""
    for top in sorted({*range(0, max(1, height - side), step), max(0, height - side)}):
        for left in sorted({*range(0, max(1, width - side), step), max(0, width - side)}):
            yield top, left


def _of_face(
    net: JointNet, photos: list[np.ndarray], box: np.ndarray, own: int
) -> NDArray[np.float64]:
    """Of each photo the probability of a name at a box, and the score of what is found there."""
    vectors = np.concatenate(
        net.embeddings_at(photos, [np.asarray(box, np.float32)[None]] * len(photos))
    )
    with torch.inference_mode():
        logits = net.classifier.at(torch.from_numpy(vectors).to(net.device))
        probability = logits.softmax(dim=1)[:, own].cpu().numpy()
    scores = []
    for faces in net.predict_arrays(photos, _LEAST_SCORE):
        near = [face.score for face in faces if box_iou(face.box[None], box[None])[0, 0] >= 0.5]
        scores.append(max(near, default=0.0))
    return np.stack([probability, scores], axis=1)


def share_within(values: NDArray[np.float64], box: np.ndarray) -> float:
    """Share of a map that lies within a box, 0 to 1; NaN of a map of zeros."""
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]] + 0.5
    x1, y1, x2, y2 = box
    within = (columns >= x1) & (columns <= x2) & (rows >= y1) & (rows <= y2)
    total = float(values.sum())
    return float(values[within].sum()) / total if total > 0 else float("nan")
