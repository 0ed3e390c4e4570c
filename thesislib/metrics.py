"""The measures of the experiments, as pure functions over arrays and tables.

A photo's predictions are ``{"boxes": [N, 4], "scores": [N], "identities": [N]}`` and its truth is
``{"boxes": [M, 4], "identities": [M]}``; boxes are [x1, y1, x2, y2] pixels, identities strings.
:func:`photos_table` and :func:`faces_table` match the two once; the measures read their columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torchvision
from scipy.stats import binomtest

from thesislib import seeds


class BoxCalibration(NamedTuple):
    """What takes one system's boxes to another's framing of the face (see the fit below)."""

    dx: float  # shift of the centre, as a fraction of the detected width
    dy: float  # shift of the centre, as a fraction of the detected height
    sw: float  # true width / detected width
    sh: float  # true height / detected height


def _checked_boxes(name: str, boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape == (0,):  # no boxes, written as an empty list, which has no second axis
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: expected shape [N, 4], got {list(boxes.shape)}")
    if not np.isfinite(boxes).all():
        raise ValueError(f"{name}: NaN or infinite coordinates")
    inverted = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if inverted.any():
        row = int(inverted.argmax())
        raise ValueError(f"{name}: box {row} is inverted: {boxes[row].tolist()}")
    return boxes


def _checked_vector(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {list(values.shape)}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name}: NaN or infinite values")
    return values


def _checked_measured(name: str, values: np.ndarray) -> np.ndarray:
    values = _checked_vector(name, values)
    if len(values) == 0:
        raise ValueError(f"{name}: empty, and the measure of nothing is not defined")
    return values


def _same_length(name: str, values: Sequence, other: str, others: Sequence) -> None:
    if len(values) != len(others):
        raise ValueError(f"{name}: {len(values)} entries, but {other} has {len(others)}")


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area two boxes share over the area they cover together, for every pair.

    Computed in float64 by ``torchvision.ops.box_iou``. Two boxes that cover no area at all have
    an IoU of 0 (the ratio would be 0 / 0).

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
    a = torch.from_numpy(_checked_boxes("a", a))
    b = torch.from_numpy(_checked_boxes("b", b))
    return np.nan_to_num(torchvision.ops.box_iou(a, b).numpy(), nan=0.0)


def match_greedy(
    boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give each detection of one photo the ground-truth box it answers to.

    Detections are served from the highest score down; each takes, of the ground-truth boxes still
    free, the one of highest IoU, if that IoU is above 0. Equal scores are served, and equal IoUs
    chosen, in the order given (the project's protocol, Experiment 1). Unlike COCO's evaluation
    code, which matches anew at each threshold, no least IoU is asked for here: thresholds are
    applied to the result.

    Args:
        boxes: [N, 4] float detections, pixels.
        scores: [N] float, higher is surer.
        truth: [M, 4] float ground-truth boxes, pixels.

    Returns:
        Index into ``truth`` per detection, [N] int64, -1 for none; and the IoU with that box,
        [N] float64, 0 for none.

    Raises:
        ValueError: shapes that do not fit, NaN, inverted boxes; the argument is named.

    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    >>> match_greedy(boxes, np.array([0.8, 0.9, 0.7]), truth=np.array([[0, 0, 10, 10]]))
    (array([-1,  0, -1]), array([0. , 0.9, 0. ]))
    """
    boxes = _checked_boxes("boxes", boxes)
    truth = _checked_boxes("truth", truth)
    scores = _checked_vector("scores", scores)
    _same_length("scores", scores, "boxes", boxes)
    matched = np.full(len(boxes), -1, dtype=np.int64)
    iou = np.zeros(len(boxes))
    if len(truth) == 0:
        return matched, iou
    free = box_iou(boxes, truth)  # [N, M]; the column of a taken box is set to 0
    for detection in np.argsort(-scores, kind="stable"):
        best = free[detection].argmax()
        if free[detection, best] > 0:
            matched[detection], iou[detection] = best, free[detection, best]
            free[:, best] = 0
    return matched, iou


def _checked_photos(
    photos: Sequence[str], predictions: Sequence[Mapping], truths: Sequence[Mapping]
) -> None:
    _same_length("predictions", predictions, "photos", photos)
    _same_length("truths", truths, "photos", photos)
    if len(set(photos)) != len(photos):
        twice = next(photo for photo in photos if list(photos).count(photo) > 1)
        raise ValueError(f"photos: {twice!r} is listed twice")
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        for name, one in (("predictions", prediction), ("truths", truth)):
            if len(one["identities"]) != len(one["boxes"]):
                raise ValueError(
                    f"{name}: photo {photo!r} has {len(one['boxes'])} boxes "
                    f"and {len(one['identities'])} identities"
                )


def faces_table(
    photos: Sequence[str], predictions: Sequence[Mapping], truths: Sequence[Mapping]
) -> pd.DataFrame:
    """One row a ground-truth face, with the detection :func:`match_greedy` gave it.

    Args:
        photos: [P] names, each once.
        predictions: [P] mappings with ``boxes`` [N, 4] float pixels, ``scores`` [N] float,
            ``identities`` [N] str; N may be 0.
        truths: [P] mappings with ``boxes`` [M, 4] float pixels, ``identities`` [M] str; M may be
            0, then the photo has no row.

    Returns:
        Columns ``photo, identity, predicted_identity`` (str), ``score, iou`` (float64),
        ``x1, y1, x2, y2`` (the detection) and ``true_x1 ... true_y2`` (float32 pixels), ``found``
        (bool: some detection was matched, whatever its IoU), ``top`` (bool: it was the photo's
        top-scoring one). A face not found has ``predicted_identity`` "", ``iou`` 0, ``score`` and
        box NaN. Faces keep the order given.

    Raises:
        ValueError: lengths that do not fit, a photo listed twice, or boxes and scores that
            :func:`match_greedy` refuses.

    Matching as in the project's protocol for Experiment 1.

    >>> prediction = {"boxes": [[0, 0, 10, 9]], "scores": [0.9], "identities": ["ann"]}
    >>> truth = {"boxes": [[0, 0, 10, 10], [50, 0, 60, 10]], "identities": ["ann", "bob"]}
    >>> faces = faces_table(["party.jpg"], [prediction], [truth])
    >>> faces[["identity", "predicted_identity", "iou", "found", "top"]]
      identity predicted_identity  iou  found    top
    0      ann                ann  0.9   True   True
    1      bob                     0.0  False  False
    """
    _checked_photos(photos, predictions, truths)
    names, identities, predicted = [], [], []
    score, iou, found, top = [], [], [], []
    boxes, true_boxes = [], []
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        matched, overlap = _matched(photo, prediction, truth)
        scores = np.asarray(prediction["scores"])
        for face, identity in enumerate(truth["identities"]):
            detection = int((matched == face).argmax()) if (matched == face).any() else None
            hit = detection is not None
            names.append(photo)
            identities.append(identity)
            predicted.append(prediction["identities"][detection] if hit else "")
            score.append(scores[detection] if hit else np.nan)
            iou.append(overlap[detection] if hit else 0.0)
            boxes.append(prediction["boxes"][detection] if hit else [np.nan] * 4)
            true_boxes.append(truth["boxes"][face])
            found.append(hit)
            top.append(hit and detection == scores.argmax())
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    true_boxes = np.array(true_boxes, dtype=np.float32).reshape(-1, 4)
    corners = ("x1", "y1", "x2", "y2")
    return pd.DataFrame(
        {
            "photo": pd.Series(names, dtype="str"),
            "identity": pd.Series(identities, dtype="str"),
            "predicted_identity": pd.Series(predicted, dtype="str"),
            "score": np.array(score, dtype=np.float64),
            "iou": np.array(iou, dtype=np.float64),
            **dict(zip(corners, boxes.T, strict=True)),
            **{f"true_{corner}": true_boxes[:, i] for i, corner in enumerate(corners)},
            "found": np.array(found, dtype=bool),
            "top": np.array(top, dtype=bool),
        }
    )


def _matched(photo: str, prediction: Mapping, truth: Mapping) -> tuple[np.ndarray, np.ndarray]:
    try:
        return match_greedy(prediction["boxes"], prediction["scores"], truth["boxes"])
    except ValueError as error:
        raise ValueError(f"photo {photo!r}: {error}") from None


def photos_table(
    photos: Sequence[str], predictions: Sequence[Mapping], truths: Sequence[Mapping]
) -> pd.DataFrame:
    """One row a photo, with its top-scoring detection: what the thesis measures.

    The photo's ``identity`` is that of the ground-truth face the detection overlaps most. Where
    it overlaps none, or there is no detection, it is the only face's; with several faces it is
    "", because no one of them was meant, and the photo counts as wrong.

    Args:
        photos: [P] names, each once.
        predictions: [P] mappings, see :func:`faces_table`.
        truths: [P] mappings with at least one face each.

    Returns:
        Columns ``photo, identity, predicted_identity`` (str), ``score, iou`` (float64),
        ``correct`` (bool: right identity, wherever the box lies). Without a detection
        ``predicted_identity`` is "", ``iou`` 0, ``score`` NaN and ``correct`` False.

    Raises:
        ValueError: a photo without a face, or what :func:`faces_table` refuses.

    >>> prediction = {"boxes": [[0, 0, 10, 9]], "scores": [0.9], "identities": ["ann"]}
    >>> none = {"boxes": [], "scores": [], "identities": []}
    >>> truth = {"boxes": [[0, 0, 10, 10]], "identities": ["ann"]}
    >>> photos_table(["a.jpg", "b.jpg"], [prediction, none], [truth, truth])
       photo identity predicted_identity  score  iou  correct
    0  a.jpg      ann                ann    0.9  0.9     True
    1  b.jpg      ann                       NaN  0.0    False
    """
    _checked_photos(photos, predictions, truths)
    rows = []
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        if len(truth["identities"]) == 0:
            raise ValueError(f"truths: photo {photo!r} has no face")
        matched, overlap = _matched(photo, prediction, truth)
        identity = truth["identities"][0] if len(truth["identities"]) == 1 else ""
        if len(matched) == 0:
            rows.append((photo, identity, "", np.nan, 0.0, False))
            continue
        # The top-scoring detection is served first, so its match is the face it overlaps most.
        scores = np.asarray(prediction["scores"])
        top = int(scores.argmax())
        if matched[top] >= 0:
            identity = truth["identities"][matched[top]]
        predicted = prediction["identities"][top]
        correct = predicted == identity and identity != ""
        rows.append((photo, identity, predicted, scores[top], overlap[top], correct))
    columns = ("photo", "identity", "predicted_identity", "score", "iou", "correct")
    table = pd.DataFrame(rows, columns=columns)
    texts = dict.fromkeys(columns[:3], "str")
    return table.astype(texts | {"score": np.float64, "iou": np.float64, "correct": bool})


def accuracy(correct: np.ndarray) -> float:
    """Share of photos whose top-scoring detection bears the right identity.

    Args:
        correct: [P] bool, the column of :func:`photos_table`; no detection is False.

    Raises:
        ValueError: no photos, or not one dimension.

    accuracy = photos right / photos (the thesis, Experiment 1).

    >>> accuracy([True, True, False, True])
    0.75
    """
    return float(_checked_measured("correct", correct).mean())


def mean_iou(iou: np.ndarray) -> float:
    """Mean IoU of the top-scoring detection over all photos, a photo without one being 0.

    Args:
        iou: [P] float in 0–1, the column of :func:`photos_table`.

    Raises:
        ValueError: no photos, NaN, or not one dimension.

    The thesis, Experiment 1; for found faces alone see :func:`mean_iou_found`.

    >>> mean_iou([0.9, 0.0, 0.6])
    0.5
    """
    return float(_checked_measured("iou", iou).mean())


def mean_iou_found(iou: np.ndarray) -> float:
    """Mean IoU over the photos, or faces, that were found, that is with an IoU above 0.

    Args:
        iou: [P] float in 0–1, the column of :func:`photos_table` or :func:`faces_table`.

    Raises:
        ValueError: none was found, NaN, or not one dimension.

    Σ iou / |{iou > 0}|; it leaves misses out, so it is only read beside :func:`mean_iou`.

    >>> mean_iou_found([0.9, 0.0, 0.6])
    0.75
    """
    iou = _checked_measured("iou", iou)
    if not (iou > 0).any():
        raise ValueError("iou: no face was found, and the mean IoU of none is not defined")
    return float(iou[iou > 0].mean())


def jointly_correct(faces: pd.DataFrame, threshold: float) -> np.ndarray:
    """Which faces were both found with an IoU of at least ``threshold`` and rightly named.

    Args:
        faces: the columns ``identity, predicted_identity, iou`` of :func:`faces_table`.
        threshold: least IoU, above 0 and at most 1.

    Returns:
        [F] bool, for :func:`bootstrap_interval` and :func:`mcnemar_exact`.

    Raises:
        ValueError: ``threshold`` outside that range.

    >>> faces = pd.DataFrame(
    ...     {"identity": ["a", "b"], "predicted_identity": ["a", "b"], "iou": [0.8, 0.6]}
    ... )
    >>> jointly_correct(faces, 0.75)
    array([ True, False])
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected above 0 and at most 1, got {threshold}")
    right = faces["identity"] == faces["predicted_identity"]
    return (right & (faces["iou"] >= threshold)).to_numpy(dtype=bool)


def joint_accuracy(faces: pd.DataFrame, threshold: float) -> float:
    """Share of ground-truth faces found with an IoU of at least ``threshold`` and rightly named.

    Args:
        faces: the columns ``identity, predicted_identity, iou`` of :func:`faces_table`.
        threshold: least IoU, above 0 and at most 1; the project reports 0.5 and 0.75.

    Raises:
        ValueError: no faces, or ``threshold`` outside its range.

    |{IoU >= T and identity right}| / faces (the project's protocol, Experiment 1): the TPIR of the
    UCCS watch-list challenge with every face known and every score accepted.

    >>> faces = pd.DataFrame(
    ...     {"identity": ["a", "b"], "predicted_identity": ["a", "b"], "iou": [0.8, 0.6]}
    ... )
    >>> joint_accuracy(faces, 0.5), joint_accuracy(faces, 0.75)
    (1.0, 0.5)
    """
    return float(_checked_measured("faces", jointly_correct(faces, threshold)).mean())


def average_precision(
    predictions: Sequence[Mapping], truths: Sequence[Mapping]
) -> dict[str, float]:
    """Average precision of the boxes as face detections, whoever the faces belong to.

    torchmetrics' ``MeanAveragePrecision`` with faster-coco-eval: the area under the
    precision–recall curve at 101 recalls, at most 100 detections a photo (Lin et al. 2014,
    Microsoft COCO, and its evaluation code).

    Args:
        predictions: [P] mappings with ``boxes`` [N, 4] float pixels and ``scores`` [N] float.
        truths: [P] mappings with ``boxes`` [M, 4] float pixels.

    Returns:
        ``ap50`` at an IoU of 0.5, and ``ap50_95``, the mean over 0.5, 0.55, ..., 0.95; in 0–1.

    Raises:
        ValueError: lengths that do not fit, no ground-truth face at all, NaN, inverted boxes.

    >>> prediction = {"boxes": [[0, 0, 10, 8.2]], "scores": [0.9]}
    >>> ap = average_precision([prediction], [{"boxes": [[0, 0, 10, 10]]}])
    >>> ap["ap50"], round(ap["ap50_95"], 2)
    (1.0, 0.7)
    """
    # Seconds to import, and no other measure needs it.
    from torchmetrics.detection import MeanAveragePrecision

    _same_length("predictions", predictions, "truths", truths)
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    faces = 0
    for prediction, truth in zip(predictions, truths, strict=True):
        boxes = _checked_boxes("predictions", prediction["boxes"])
        scores = _checked_vector("predictions", np.asarray(prediction["scores"], dtype=np.float64))
        true_boxes = _checked_boxes("truths", truth["boxes"])
        _same_length("predictions", scores, "its boxes", boxes)
        faces += len(true_boxes)
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
                }
            ],
        )
    if faces == 0:
        raise ValueError("truths: no face in any photo, and the precision is not defined")
    result = metric.compute()
    return {"ap50": float(result["map_50"]), "ap50_95": float(result["map"])}


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    groups: np.ndarray | None = None,
    n: int = 2000,
    level: float = 0.95,
    *,
    seed: int,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic, photos being what is drawn.

    As many photos as there are get drawn with replacement, ``n`` times; the interval is what the
    middle ``level`` of the ``n`` statistics spans (Efron & Tibshirani 1993, An Introduction to
    the Bootstrap, section 13.3). Faces of one photo are drawn together, since they share its
    light and its blur. A share of exactly 0 or 1 gives an interval of no width: every draw of it
    is alike, and the interval then says too little.

    Args:
        values: [F] bool or float, one a photo or one a face.
        statistic: of a 1-D array of values. The mean is computed for all draws at once; anything
            else is called ``n`` times.
        groups: [F] the photo of each value; without it each value is a photo.
        n: number of draws.
        level: share of the draws within the interval, above 0 and below 1.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper end, in the statistic's unit.

    Raises:
        ValueError: no values, NaN, ``groups`` of another length, ``n`` or ``level`` out of range.

    >>> low, high = bootstrap_interval(np.arange(1000) < 900, seed=0)
    >>> round(low, 2), round(high, 2)
    (0.88, 0.92)
    """
    values = _checked_measured("values", values)
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {n}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected above 0 and below 1, got {level}")
    if groups is None:
        photo = np.arange(len(values))
    else:
        groups = _checked_vector("groups", groups)
        _same_length("groups", groups, "values", values)
        photo = pd.factorize(groups)[0]
    photos = int(photo.max()) + 1
    rng = seeds.generator(seed, "bootstrap")
    if statistic is np.mean:
        drawn = _bootstrap_means(values, photo, photos, n, rng)
    else:
        faces = [np.flatnonzero(photo == one) for one in range(photos)]
        drawn = [
            statistic(
                values[np.concatenate([faces[one] for one in rng.integers(photos, size=photos)])]
            )
            for _ in range(n)
        ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _bootstrap_means(
    values: np.ndarray, photo: np.ndarray, photos: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    sums = np.bincount(photo, weights=values)  # [photos]
    faces = np.bincount(photo)  # [photos]
    means = []
    rows = max(1, 2**22 // photos)  # draws at a time, so that many photos still fit in memory
    for start in range(0, n, rows):
        drawn = rng.integers(photos, size=(min(rows, n - start), photos))
        means.append(sums[drawn].sum(axis=1) / faces[drawn].sum(axis=1))
    return np.concatenate(means)


def mcnemar_exact(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """How likely two equally good systems differ this much on the same photos, by chance.

    Only photos that one system gets right and the other wrong tell them apart; were the systems
    equal, each such photo would be a toss of a fair coin. The two-sided exact binomial test of
    that (McNemar 1947; exact form: Agresti 2013, Categorical Data Analysis, section 11.1).

    Args:
        correct_a: [P] bool.
        correct_b: [P] bool, of the same photos in the same order.

    Returns:
        p in 0–1; 1 when the systems are right on the same photos.

    Raises:
        ValueError: no photos, or lengths that differ.

    The thesis's 639 against 635 right of 651 photos, with the photos it does not tell us: at one
    extreme every mistake of the better system is also one of the other, at the other extreme
    they share none. Neither is a difference at the 5 % level.

    >>> photo = np.arange(651)
    >>> joint = photo >= 12
    >>> mcnemar_exact(joint, photo >= 16)
    0.125
    >>> round(mcnemar_exact(joint, (photo < 12) | (photo >= 28)), 3)
    0.572
    """
    correct_a = _checked_measured("correct_a", correct_a).astype(bool)
    correct_b = _checked_measured("correct_b", correct_b).astype(bool)
    _same_length("correct_b", correct_b, "correct_a", correct_a)
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(binomtest(only_a, only_a + only_b).pvalue)


def _centres_and_sizes(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]  # [N, 2] each


def fit_box_calibration(detected: np.ndarray, truth: np.ndarray) -> BoxCalibration:
    """Four numbers that take a detector's framing of the face to the annotators'.

    Detectors disagree on how much forehead and ear belongs to a face, and IoU punishes that as if
    the face were missed. Each number is the median over the pairs, so that some wrong pairs do
    not move it. To be fitted on the training split alone.

    Args:
        detected: [N, 4] float detections, pixels, with width and height above 0.
        truth: [N, 4] float, the ground-truth box matched to each.

    Returns:
        ``(dx, dy, sw, sh)``: dx = median((true centre x - detected centre x) / detected width),
        sw = median(true width / detected width), and so for y and height.

    Raises:
        ValueError: no pairs, lengths that differ, NaN, inverted or empty boxes.

    >>> fit_box_calibration(np.array([[0, 0, 10, 10]]), np.array([[0, 5, 10, 25]]))
    BoxCalibration(dx=0.0, dy=1.0, sw=1.0, sh=2.0)
    """
    detected = _checked_boxes("detected", detected)
    truth = _checked_boxes("truth", truth)
    _same_length("truth", truth, "detected", detected)
    if len(detected) == 0:
        raise ValueError("detected: empty, and there is nothing to fit to")
    centre, size = _centres_and_sizes(detected)
    if (size == 0).any():
        row = int((size == 0).any(axis=1).argmax())
        raise ValueError(f"detected: box {row} has no area: {detected[row].tolist()}")
    true_centre, true_size = _centres_and_sizes(truth)
    shift = np.median((true_centre - centre) / size, axis=0)
    scale = np.median(true_size / size, axis=0)
    return BoxCalibration(float(shift[0]), float(shift[1]), float(scale[0]), float(scale[1]))


def apply_box_calibration(boxes: np.ndarray, calibration: BoxCalibration) -> np.ndarray:
    """Move and scale boxes as :func:`fit_box_calibration` found.

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
    boxes = _checked_boxes("boxes", boxes)
    dx, dy, sw, sh = calibration
    if not (np.isfinite(calibration).all() and sw > 0 and sh > 0):
        raise ValueError(f"calibration: expected finite numbers, scales above 0, got {calibration}")
    centre, size = _centres_and_sizes(boxes)
    centre = centre + np.array([dx, dy]) * size
    half = np.array([sw, sh]) * size / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def confusion_counts(identity: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Who was taken for whom, and how often.

    Faces not found (``predicted`` "") and detections of no face (``identity`` "") are left out:
    nobody was taken for anybody.

    Args:
        identity: [F] str, the right identities.
        predicted: [F] str, the identities given.

    Returns:
        Columns ``identity, predicted_identity`` (str), ``count`` (int64), one row a wrong pair,
        the most frequent first, equally frequent ones by name.

    Raises:
        ValueError: lengths that differ, or not one dimension.

    >>> confusion_counts(["ann", "bob", "bob", "cat"], ["ann", "ann", "ann", "bob"])
      identity predicted_identity  count
    0      bob                ann      2
    1      cat                bob      1
    """
    identity = _checked_vector("identity", identity)
    predicted = _checked_vector("predicted", predicted)
    _same_length("predicted", predicted, "identity", identity)
    pairs = pd.DataFrame({"identity": identity, "predicted_identity": predicted}).astype("str")
    wrong = (identity != predicted) & (identity != "") & (predicted != "")
    counts = pairs[wrong].value_counts(sort=False).rename("count").reset_index()
    # By hand rather than by value_counts, which leaves the order of equal counts open.
    order = ["count", "identity", "predicted_identity"]
    return counts.sort_values(order, ascending=[False, True, True], ignore_index=True)
