"""Measures of boxes: IoU, average precision, and the calibration of one framing to another."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision
from numpy.typing import ArrayLike, NDArray

from thesislib.metrics.checks import check_same_length, checked_boxes, checked_vector


class BoxCalibration(NamedTuple):
    """Shift and scale from a detector's boxes to the annotators'; see ``fit_box_calibration``."""

    dx: float  # shift of the centre, as a fraction of the detected width
    dy: float  # shift of the centre, as a fraction of the detected height
    sw: float  # true width / detected width
    sh: float  # true height / detected height


def box_iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes.

    Computed in float64 by ``torchvision.ops.box_iou``. Two boxes without area have an IoU of 0
    (the ratio would be 0 / 0).

    Args:
        a: [N, 4] float boxes, pixels.
        b: [M, 4] float boxes, pixels.

    Returns:
        [N, M] float64 in 0–1.

    Raises:
        ValueError: not [N, 4], NaN or infinite, or x2 < x1 or y2 < y1; the argument is named.

    IoU(a, b) = |a ∩ b| / |a ∪ b| (Everingham et al. 2010, The PASCAL VOC challenge, section 4.2).

    >>> box_iou(np.array([[0, 0, 10, 10]]), np.array([[0, 0, 10, 5], [20, 20, 30, 30]]))
    array([[0.5, 0. ]])
    """
    pairs = torchvision.ops.box_iou(
        torch.tensor(checked_boxes("a", a)), torch.tensor(checked_boxes("b", b))
    )
    return np.nan_to_num(pairs.numpy(), nan=0.0)


def average_precision(
    predictions: Sequence[Mapping[str, Any]], truths: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Average precision of face detection; all faces are one class, identities are ignored.

    torchmetrics' ``MeanAveragePrecision`` with faster-coco-eval: the area under the
    precision–recall curve at 101 recalls, at most 100 detections per photo (Lin et al. 2014,
    Microsoft COCO, and its evaluation code).

    Args:
        predictions: [P] mappings with ``boxes`` [N, 4] float pixels and ``scores`` [N] float.
        truths: [P] mappings with ``boxes`` [M, 4] float pixels, and where some faces are neither
            to be found nor a mistake to be found, ``ignored`` [M] bool (COCO's crowds).

    Returns:
        ``ap50`` at an IoU of 0.5, and ``ap50_95``, the mean over 0.5, 0.55, ..., 0.95; in 0–1.

    Raises:
        ValueError: lengths that differ, no ground-truth face at all, NaN, inverted boxes.

    >>> prediction = {"boxes": [[0, 0, 10, 8.2]], "scores": [0.9]}
    >>> ap = average_precision([prediction], [{"boxes": [[0, 0, 10, 10]]}])
    >>> ap["ap50"], round(ap["ap50_95"], 2)
    (1.0, 0.7)
    """
    # Seconds to import, and no other measure needs it.
    from torchmetrics.detection import MeanAveragePrecision

    check_same_length("predictions", predictions, "truths", truths)
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        sync_on_compute=False,  # each process has all photos already
    )
    faces = 0
    for prediction, truth in zip(predictions, truths, strict=True):
        boxes = checked_boxes("predictions", prediction["boxes"])
        scores = checked_vector("predictions", np.asarray(prediction["scores"], dtype=np.float64))
        true_boxes = checked_boxes("truths", truth["boxes"])
        check_same_length("predictions", scores, "its boxes", boxes)
        ignored = np.asarray(truth.get("ignored", np.zeros(len(true_boxes))), dtype=bool)
        check_same_length("ignored", ignored, "its boxes", true_boxes)
        faces += int((~ignored).sum())
        metric.update(
            [
                {
                    "boxes": torch.from_numpy(boxes),
                    "scores": torch.from_numpy(scores),
                    "labels": torch.zeros(len(boxes), dtype=torch.int64),
                }
            ],
            [
                {
                    "boxes": torch.from_numpy(true_boxes),
                    "labels": torch.zeros(len(true_boxes), dtype=torch.int64),
                    "iscrowd": torch.from_numpy(ignored.astype(np.int64)),
                }
            ],
        )
    if faces == 0:
        raise ValueError("truths: no face in any photo, and the precision is not defined")
    result = metric.compute()
    return {"ap50": float(result["map_50"]), "ap50_95": float(result["map"])}


def _centres_and_sizes(
    boxes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]  # [N, 2] each


def fit_box_calibration(detected: ArrayLike, truth: ArrayLike) -> BoxCalibration:
    """Fit the shift and scale that take a detector's boxes to the annotators' framing of a face.

    Detectors disagree on how much forehead and ear belongs to a face, and IoU punishes that as if
    the face were missed. Each of the four numbers is the median over the pairs, so that a
    minority of wrong pairs does not move it. Fit it on the training split alone.

    Args:
        detected: [N, 4] float detections, pixels, with width and height above 0.
        truth: [N, 4] float, the ground-truth box matched to each.

    Returns:
        ``(dx, dy, sw, sh)``: dx = median((true centre x - detected centre x) / detected width),
        sw = median(true width / detected width), and likewise for y and height.

    Raises:
        ValueError: no pairs, lengths that differ, NaN, inverted or empty boxes.

    >>> fit_box_calibration(np.array([[0, 0, 10, 10]]), np.array([[0, 5, 10, 25]]))
    BoxCalibration(dx=0.0, dy=1.0, sw=1.0, sh=2.0)
    """
    detections = checked_boxes("detected", detected)
    true_boxes = checked_boxes("truth", truth)
    check_same_length("truth", true_boxes, "detected", detections)
    if len(detections) == 0:
        raise ValueError("detected: empty, and there is nothing to fit to")
    centre, size = _centres_and_sizes(detections)
    if (size == 0).any():
        row = int((size == 0).any(axis=1).argmax())
        raise ValueError(f"detected: box {row} has no area: {detections[row].tolist()}")
    true_centre, true_size = _centres_and_sizes(true_boxes)
    shift = np.median((true_centre - centre) / size, axis=0)
    scale = np.median(true_size / size, axis=0)
    return BoxCalibration(float(shift[0]), float(shift[1]), float(scale[0]), float(scale[1]))


def apply_box_calibration(boxes: ArrayLike, calibration: BoxCalibration) -> NDArray[np.float32]:
    """Shift and scale boxes as fitted by ``fit_box_calibration``.

    Args:
        boxes: [N, 4] float, pixels.
        calibration: ``(dx, dy, sw, sh)``, the scales above 0.

    Returns:
        [N, 4] float32, pixels; they may reach beyond the photo.

    Raises:
        ValueError: not [N, 4], NaN, inverted boxes, or a scale that is not above 0.

    centre' = centre + (dx, dy) * size and size' = (sw, sh) * size.

    >>> apply_box_calibration(np.array([[0, 0, 10, 10]]), BoxCalibration(0, 1, 1, 2))
    array([[ 0.,  5., 10., 25.]], dtype=float32)
    """
    array = checked_boxes("boxes", boxes)
    dx, dy, sw, sh = calibration
    if not (np.isfinite(calibration).all() and sw > 0 and sh > 0):
        raise ValueError(f"calibration: expected finite numbers, scales above 0, got {calibration}")
    centre, size = _centres_and_sizes(array)
    centre = centre + np.array([dx, dy]) * size
    half = np.array([sw, sh]) * size / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def inverse_box_calibration(calibration: BoxCalibration) -> BoxCalibration:
    """The way back: from the annotators' framing of a face to the detector's.

    >>> inverse_box_calibration(BoxCalibration(0.0, 1.0, 1.0, 2.0))
    BoxCalibration(dx=-0.0, dy=-0.5, sw=1.0, sh=0.5)
    """
    dx, dy, sw, sh = calibration
    return BoxCalibration(-dx / sw, -dy / sh, 1 / sw, 1 / sh)
