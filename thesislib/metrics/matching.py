"""The measures of the experiments, as pure functions over arrays and tables.

A photo's predictions are ``{"boxes": [N, 4], "scores": [N], "identities": [N]}`` and its truth is
``{"boxes": [M, 4], "identities": [M]}``; boxes are [x1, y1, x2, y2] pixels, identities strings.
:func:`photos_table` and :func:`faces_table` match the two once; the measures read their columns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import checked_boxes, checked_measured, checked_vector, same_length


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
    boxes = checked_boxes("boxes", boxes)
    truth = checked_boxes("truth", truth)
    scores = checked_vector("scores", scores)
    same_length("scores", scores, "boxes", boxes)
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
    same_length("predictions", predictions, "photos", photos)
    same_length("truths", truths, "photos", photos)
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
    return float(checked_measured("correct", correct).mean())


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
    return float(checked_measured("iou", iou).mean())


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
    iou = checked_measured("iou", iou)
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
    return float(checked_measured("faces", jointly_correct(faces, threshold)).mean())


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
    identity = checked_vector("identity", identity)
    predicted = checked_vector("predicted", predicted)
    same_length("predicted", predicted, "identity", identity)
    pairs = pd.DataFrame({"identity": identity, "predicted_identity": predicted}).astype("str")
    wrong = (identity != predicted) & (identity != "") & (predicted != "")
    counts = pairs[wrong].value_counts(sort=False).rename("count").reset_index()
    # By hand rather than by value_counts, which leaves the order of equal counts open.
    order = ["count", "identity", "predicted_identity"]
    return counts.sort_values(order, ascending=[False, True, True], ignore_index=True)
