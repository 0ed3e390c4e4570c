"""Matching of detections to ground-truth faces, and the tables that the measures read.

A photo's prediction is ``{"boxes": [N, 4], "scores": [N], "identities": [N]}`` and its truth is
``{"boxes": [M, 4], "identities": [M]}``; boxes are [x1, y1, x2, y2] pixels, identities strings,
"" for somebody whose name is not known. ``photos_table`` and ``faces_table`` match the two; every
measure of Experiment 1 but average precision is a mean over their columns:

- accuracy: ``photos["correct"][photos["known"]]``
- mean IoU: ``photos["iou"]``; of found faces: ``photos["iou"][photos["iou"] > 0]``
- joint accuracy: ``jointly_correct(faces, 0.5)[faces["identity"] != ""]``
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import check_same_length, checked_boxes, checked_vector

_CORNERS = ("x1", "y1", "x2", "y2")
_PHOTO_COLUMNS = (
    ("photo", "identity", "predicted_identity"),
    ("score", "iou"),
    ("correct", "known"),
)


def match_greedy(
    boxes: ArrayLike, scores: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Match the detections of one photo to its ground-truth boxes, each to one at most.

    In order of falling score, each detection is matched to the ground-truth box of highest IoU
    among those not matched yet, if that IoU is above 0. Ties, of scores or of IoUs, are broken by
    the order given (the project's protocol, Experiment 1). COCO's evaluation code matches anew
    for each IoU threshold; here there is one matching, and thresholds are applied to its IoUs.

    Args:
        boxes: [N, 4] float detections, pixels.
        scores: [N] float, higher is more confident.
        truth: [M, 4] float ground-truth boxes, pixels.

    Returns:
        Index into ``truth`` per detection, [N] int64, -1 for none; and the IoU with that box,
        [N] float64, 0 for none.

    Raises:
        ValueError: lengths that differ, NaN, inverted boxes; the argument is named.

    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    >>> match_greedy(boxes, np.array([0.8, 0.9, 0.7]), truth=np.array([[0, 0, 10, 10]]))
    (array([-1,  0, -1]), array([0. , 0.9, 0. ]))
    """
    detections = checked_boxes("boxes", boxes)
    true_boxes = checked_boxes("truth", truth)
    confidence = checked_vector("scores", scores)
    check_same_length("scores", confidence, "boxes", detections)
    matched = np.full(len(detections), -1, dtype=np.int64)
    iou = np.zeros(len(detections))
    if len(true_boxes) == 0:
        return matched, iou
    free = box_iou(detections, true_boxes)  # [N, M]; the column of a matched box is set to 0
    for detection in np.argsort(-confidence, kind="stable"):
        best = free[detection].argmax()
        if free[detection, best] > 0:
            matched[detection], iou[detection] = best, free[detection, best]
            free[:, best] = 0
    return matched, iou


def match_at(overlap: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Match detections to faces at one IoU threshold, as average precision counts them.

    In order of falling score, each detection takes the face of highest IoU among those not taken
    yet, if that IoU reaches the threshold (Lin et al. 2014, Microsoft COCO, evaluation code).
    :func:`match_greedy` has no threshold, so there a poor box may take a face from a good one.

    Args:
        overlap: [N, M] float IoU of each detection with each face.
        scores: [N] float.
        threshold: least IoU of a match, above 0.

    Returns:
        [N] int64, the face of each detection; -1 for none.

    Raises:
        ValueError: lengths that differ.

    >>> match_at([[0.6, 0.7], [0.3, 0.9]], [0.8, 0.5], 0.5)
    array([ 1, -1])
    """
    free = np.array(overlap, dtype=np.float64)
    confidence = checked_vector("scores", scores)
    check_same_length("scores", confidence, "overlap", free)
    matched = np.full(len(free), -1, dtype=np.int64)
    if free.size == 0:
        return matched
    for detection in np.argsort(-confidence, kind="stable"):
        best = free[detection].argmax()
        if free[detection, best] >= threshold:
            matched[detection] = best
            free[:, best] = -1.0
    return matched


def _check_texts(name: str, photo: str, identities: Iterable[Any]) -> None:
    for identity in identities:
        if not isinstance(identity, str):
            raise ValueError(
                f"{name}: photo {photo!r} has an identity that is no text: {identity!r}"
            )


def _check_photos(
    photos: Sequence[str],
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
) -> None:
    check_same_length("predictions", predictions, "photos", photos)
    check_same_length("truths", truths, "photos", photos)
    seen = set()
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        if photo in seen:
            raise ValueError(f"photos: {photo!r} is listed twice")
        seen.add(photo)
        for name, one in (("predictions", prediction), ("truths", truth)):
            if len(one["identities"]) != len(one["boxes"]):
                raise ValueError(
                    f"{name}: photo {photo!r} has {len(one['boxes'])} boxes "
                    f"and {len(one['identities'])} identities"
                )
            _check_texts(name, photo, one["identities"])


def _match_photo(
    photo: str, prediction: Mapping[str, Any], truth: Mapping[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        return match_greedy(prediction["boxes"], prediction["scores"], truth["boxes"])
    except ValueError as error:
        raise ValueError(f"photo {photo!r}: {error}") from None


def faces_table(
    photos: Sequence[str],
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """One row per ground-truth face, with the detection that ``match_greedy`` matched to it.

    Args:
        photos: [P] names, each once.
        predictions: [P] mappings with ``boxes`` [N, 4] float pixels, ``scores`` [N] float,
            ``identities`` [N] str; N may be 0.
        truths: [P] mappings with ``boxes`` [M, 4] float pixels, ``identities`` [M] str, "" for a
            person whose name is not known; M may be 0, then the photo has no row.

    Returns:
        Columns ``photo, identity, predicted_identity`` (str), ``score, iou`` (float64),
        ``x1, y1, x2, y2`` (the detection) and ``true_x1 ... true_y2`` (float32 pixels), ``found``
        (bool: a detection was matched, whatever its IoU), ``top`` (bool: that detection is the
        photo's top-scoring one). A face not found has ``predicted_identity`` "", ``iou`` 0,
        ``score`` and box NaN. Faces keep the order given.

    Raises:
        ValueError: lengths that differ, a photo listed twice, an identity that is no text, or
            boxes and scores that ``match_greedy`` refuses.

    Matching as in the project's protocol for Experiment 1.

    >>> prediction = {"boxes": [[0, 0, 10, 9]], "scores": [0.9], "identities": ["ann"]}
    >>> truth = {"boxes": [[0, 0, 10, 10], [50, 0, 60, 10]], "identities": ["ann", "bob"]}
    >>> faces = faces_table(["party.jpg"], [prediction], [truth])
    >>> faces[["identity", "predicted_identity", "iou", "found", "top"]]
      identity predicted_identity  iou  found    top
    0      ann                ann  0.9   True   True
    1      bob                     0.0  False  False
    """
    _check_photos(photos, predictions, truths)
    names, identities, predicted = [], [], []
    score, iou, found, top = [], [], [], []
    boxes, true_boxes = [], []
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        matched, overlap = _match_photo(photo, prediction, truth)
        scores = np.asarray(prediction["scores"])
        detection_of = {int(face): at for at, face in enumerate(matched) if face >= 0}
        for face, identity in enumerate(truth["identities"]):
            at = detection_of.get(face)
            names.append(photo)
            identities.append(identity)
            predicted.append("" if at is None else prediction["identities"][at])
            score.append(np.nan if at is None else float(scores[at]))
            iou.append(0.0 if at is None else float(overlap[at]))
            boxes.append([np.nan] * 4 if at is None else prediction["boxes"][at])
            true_boxes.append(truth["boxes"][face])
            found.append(at is not None)
            top.append(at is not None and at == scores.argmax())
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    true_corners = np.array(true_boxes, dtype=np.float32).reshape(-1, 4)
    return pd.DataFrame(
        {
            "photo": pd.Series(names, dtype="str"),
            "identity": pd.Series(identities, dtype="str"),
            "predicted_identity": pd.Series(predicted, dtype="str"),
            "score": np.array(score, dtype=np.float64),
            "iou": np.array(iou, dtype=np.float64),
            **{corner: corners[:, i] for i, corner in enumerate(_CORNERS)},
            **{f"true_{corner}": true_corners[:, i] for i, corner in enumerate(_CORNERS)},
            "found": np.array(found, dtype=bool),
            "top": np.array(top, dtype=bool),
        }
    )


def photos_table(
    photos: Sequence[str],
    predictions: Sequence[Mapping[str, Any]],
    truths: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """One row per photo, with its top-scoring detection: what the thesis measures.

    ``identity`` is that of the ground-truth face of highest IoU with the detection. If the
    detection overlaps no face, or there is none, it is the identity of the photo's only face, and
    "" in a photo of several, since none of them can be said to be meant.

    Accuracy is the share of ``correct`` among the ``known`` photos. A photo that shows only people
    whose names are not known has no right answer, so it is not ``known`` and not in the
    denominator. A photo that shows known and unknown people is: the system answers it with one
    face and one name, and where that face is of an unknown person, no name is right and the photo
    counts as wrong. Leaving such photos out instead would reward a system for looking at
    strangers. How well a system tells strangers from known people is measured by
    ``identification.joint_open_set``.

    Args:
        photos: [P] names, each once.
        predictions: [P] mappings, see ``faces_table``.
        truths: [P] mappings with at least one face each.

    Returns:
        Columns ``photo, identity, predicted_identity`` (str), ``score, iou`` (float64),
        ``correct`` (bool: the right identity, wherever the box lies), ``known`` (bool: at least
        one face of the photo has an identity). Without a detection ``predicted_identity`` is "",
        ``iou`` 0, ``score`` NaN and ``correct`` False.

    Raises:
        ValueError: a photo without a face, or what ``faces_table`` refuses.

    Accuracy and mean IoU as in the project's protocol for Experiment 1.

    >>> prediction = {"boxes": [[0, 0, 10, 9]], "scores": [0.9], "identities": ["ann"]}
    >>> none = {"boxes": [], "scores": [], "identities": []}
    >>> ann, unknown = ({"boxes": [[0, 0, 10, 10]], "identities": [who]} for who in ("ann", ""))
    >>> photos_table(["a", "b", "c"], [prediction, none, prediction], [ann, ann, unknown])
      photo identity predicted_identity  score  iou  correct  known
    0     a      ann                ann    0.9  0.9     True   True
    1     b      ann                       NaN  0.0    False   True
    2     c                         ann    0.9  0.9    False  False
    """
    _check_photos(photos, predictions, truths)
    rows = []
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        identities = list(truth["identities"])
        if not identities:
            raise ValueError(f"truths: photo {photo!r} has no face")
        matched, overlap = _match_photo(photo, prediction, truth)
        known = any(identity != "" for identity in identities)
        identity = identities[0] if len(identities) == 1 else ""
        if len(matched) == 0:
            rows.append((photo, identity, "", np.nan, 0.0, False, known))
            continue
        # The top-scoring detection is matched first, so to the face of highest IoU with it.
        scores = np.asarray(prediction["scores"])
        top = int(scores.argmax())
        if matched[top] >= 0:
            identity = identities[matched[top]]
        predicted = prediction["identities"][top]
        correct = predicted == identity and identity != ""
        rows.append((photo, identity, predicted, scores[top], overlap[top], correct, known))
    texts, numbers, flags = _PHOTO_COLUMNS
    table = pd.DataFrame(rows, columns=[*texts, *numbers, *flags])
    types = dict.fromkeys(texts, "str") | dict.fromkeys(numbers, "float64")
    return table.astype(types | dict.fromkeys(flags, "bool"))


def jointly_correct(faces: pd.DataFrame, threshold: float) -> NDArray[np.bool_]:
    """Which faces are both found with an IoU of at least ``threshold`` and rightly identified.

    Joint accuracy is the share of them among the faces whose ``identity`` is known, that is not
    ""; of the others none is ever right. It is the TPIR of the UCCS watch-list challenge with
    every face in the gallery and every score accepted (the project's protocol, Experiment 1).

    Args:
        faces: the columns ``identity, predicted_identity, iou`` of ``faces_table``.
        threshold: lowest IoU accepted, above 0 and at most 1; the project reports 0.5 and 0.75.

    Returns:
        [F] bool.

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
    right = (faces["identity"] == faces["predicted_identity"]) & (faces["identity"] != "")
    return (right & (faces["iou"] >= threshold)).to_numpy(dtype=bool)
