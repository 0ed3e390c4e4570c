"""What became of each face of photos of which the truth is known."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from thesislib.data.columns import BOX
from thesislib.data.names import plain_name
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.matching import match_at

RIGHT, WRONG, MISSED_NAME = "right name", "somebody else's name", "no name"
KEPT_OUT, LET_IN = "stranger, no name", "stranger, taken for somebody"
NO_FACE, NOT_FOUND = "no face", "not found"
OUTCOMES = (RIGHT, WRONG, MISSED_NAME, KEPT_OUT, LET_IN, NOT_FOUND, NO_FACE)
_IOU = 0.3  # detectors frame a face in different ways


def outcomes(found: pd.DataFrame, truth: pd.DataFrame, people: Collection[str]) -> pd.DataFrame:
    """Compare faces that were found and named with those that are there.

    Args:
        found: a row per face, ``photo, x1, y1, x2, y2, score, name`` ("" for nobody), as
            :meth:`thesislib.deploy.photo_faces.PhotoFaces.named` gives it.
        truth: a row per face, ``photo, x1, y1, x2, y2, name`` ("" where it is not known).
        people: who is enrolled; all others are strangers.

    Returns:
        a row per face found, in order, and then one per face not found: ``photo, name`` (found, or
        ""), ``true_name`` and ``outcome``, one of :data:`OUTCOMES`.
    """
    truth = truth.dropna(subset=BOX)  # photos without a face have a row, too
    truth = truth.assign(name=[plain_name(name) for name in truth["name"]])
    of_photo = dict(list(truth.groupby("photo", sort=False)))
    enrolled = {plain_name(name) for name in people}
    names = [plain_name(name) for name in found["name"]]
    told: dict[int, tuple] = {}
    missed = []
    for photo, places in found.groupby("photo", sort=False).indices.items():
        there = of_photo.pop(photo, truth[:0])
        own = found.iloc[places]
        overlap = box_iou(own[BOX].to_numpy(float), there[BOX].to_numpy(float))
        match = match_at(overlap, own["score"].to_numpy(float), _IOU)
        for place, at in zip(places, match, strict=True):
            true_name = there["name"].iloc[at] if at >= 0 else ""
            outcome = _outcome(names[place], true_name, enrolled) if at >= 0 else NO_FACE
            told[place] = (photo, names[place], true_name, outcome)
        left = np.setdiff1d(np.arange(len(there)), match)
        missed += [(photo, "", name, NOT_FOUND) for name in there["name"].iloc[left]]
    for photo, there in of_photo.items():
        missed += [(photo, "", name, NOT_FOUND) for name in there["name"]]
    rows = [told[place] for place in sorted(told)]
    return pd.DataFrame(rows + missed, columns=["photo", "name", "true_name", "outcome"])


def _outcome(name: str, true_name: str, people: Collection[str]) -> str:
    if true_name not in people:
        return LET_IN if name else KEPT_OUT
    if not name:
        return MISSED_NAME
    return RIGHT if name == true_name else WRONG
