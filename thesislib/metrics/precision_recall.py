"""Average precision with an interval: which detections are right, in samples of people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from thesislib import seeds
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import check_same_length, checked_vector
from thesislib.metrics.matching import match_at

# Rounded as torchmetrics has them: 2 of 5 faces are not quite a recall of 0.4.
_RECALLS = torch.linspace(0, 1, 101).double().numpy()
_BLOCK = 2**22  # weights of detections computed at a time: 32 MB
MOST = 100  # detections of a photo that count


def detections_right(
    photos: Sequence[str],
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
    iou: float = 0.5,
) -> pd.DataFrame:
    """All detections of photos, those on no face included, and which of them are right.

    Args:
        photos: [P] names.
        predictions: [P] mappings with ``boxes`` [N, 4] float pixels, ``scores`` [N] float and
            ``identities`` [N] str; the best :data:`MOST` of a photo count.
        truths: [P] mappings with ``boxes`` [M, 4] float pixels.
        iou: least IoU with a face, see :func:`thesislib.metrics.matching.match_at`.

    Returns:
        ``photo, score, x1, y1, x2, y2, predicted_identity, right``, in the order of photos, of
        each the best first.

    Raises:
        ValueError: lengths that differ, NaN, inverted boxes.
    """
    check_same_length("predictions", predictions, "photos", photos)
    check_same_length("truths", truths, "photos", photos)
    rows: list[list[Any]] = []
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        scores = np.asarray(prediction["scores"], dtype=np.float64)
        order = np.argsort(-scores, kind="stable")[:MOST]
        boxes = np.asarray(prediction["boxes"], dtype=np.float64).reshape(-1, 4)[order]
        matched = match_at(box_iou(boxes, truth["boxes"]), scores[order], iou)
        names = [prediction["identities"][at] for at in order]
        told = zip(scores[order].tolist(), boxes.tolist(), names, matched >= 0, strict=True)
        rows += [[photo, score, *box, name, bool(right)] for score, box, name, right in told]
    columns = ["photo", "score", "x1", "y1", "x2", "y2", "predicted_identity", "right"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(
        {"score": float, "right": bool, "photo": "str", "predicted_identity": "str"}
    )


def average_precision_of(
    scores: ArrayLike, right: ArrayLike, weights: ArrayLike, faces: ArrayLike
) -> NDArray[np.float64]:
    """Average precision of weighted detections: of samples in which some count several times.

    Args:
        scores: [D] float.
        right: [D] bool.
        weights: [B, D] float, how often each detection is in each of B samples.
        faces: [B] float, faces that each sample has to find, above 0.

    Returns:
        [B] float64 in 0-1: the mean over 101 recalls of the highest precision reached at that
        recall or a higher one (Lin et al. 2014, Microsoft COCO, evaluation code).

    >>> average_precision_of([0.9, 0.8, 0.7], [True, False, True], [[1, 1, 1], [1, 0, 1]], [2, 2])
    array([0.8349835, 1.       ])
    """
    score = checked_vector("scores", scores)
    hit, weight = np.asarray(right, dtype=bool), np.asarray(weights, dtype=np.float64)
    total = np.asarray(faces, dtype=np.float64)
    if not len(score):
        return np.zeros(len(total))
    order = np.argsort(-score, kind="stable")
    weight, hit = weight[:, order], hit[order]
    found = np.cumsum(weight * hit, axis=1)
    given = np.cumsum(weight, axis=1)
    precision = np.divide(found, given, out=np.zeros_like(found), where=given > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / total[:, None]
    values = np.zeros(len(total))
    for sample in range(len(total)):
        at = np.searchsorted(recall[sample], _RECALLS)
        reached = at < len(order)
        values[sample] = precision[sample][at[reached]].sum() / len(_RECALLS)
    return values


def average_precision_interval(
    detections: pd.DataFrame,
    units: Mapping[str, str],
    faces: Mapping[str, int],
    draws: int = 2000,
    level: float = 0.95,
    *,
    seed: int,
) -> tuple[float, float]:
    """Bootstrap interval of average precision, in which whole people are drawn with their photos.

    Args:
        detections: from :func:`detections_right`.
        units: by photo, who is drawn with it.
        faces: by photo, the faces in it; the same photos.
        draws, level: see :func:`thesislib.metrics.statistics.bootstrap_interval`.
        seed: of the draws.

    Returns:
        lower and upper end in 0-1; NaN and NaN where one unit alone is there, or none with a face.

    Percentiles (Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 13.3) over
    samples of units. Samples without any face are left out.
    """
    names = sorted(set(units.values()))
    place = {name: at for at, name in enumerate(names)}
    held = np.zeros(len(names))
    for photo, count in faces.items():
        held[place[units[photo]]] += count
    if len(names) < 2 or not held.any():
        return np.nan, np.nan
    unit = detections["photo"].map(lambda photo: place[units[photo]]).to_numpy(int)
    rng, values = seeds.generator(seed, "average_precision"), []
    block = max(1, _BLOCK // max(1, len(unit), len(names)))
    for start in range(0, draws, block):
        drawn = rng.multinomial(
            len(names), np.full(len(names), 1 / len(names)), size=min(block, draws - start)
        ).astype(np.float64)
        there = drawn @ held > 0
        drawn = drawn[there]
        values.append(
            average_precision_of(
                detections["score"].to_numpy(),
                detections["right"].to_numpy(),
                drawn[:, unit],
                drawn @ held,
            )
        )
    low, high = np.quantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
