"""Boxes that no measure takes, refused by the argument's name."""

import numpy as np
import pytest

from thesislib.metrics.boxes import (
    apply_box_calibration,
    average_precision,
    box_iou,
    fit_box_calibration,
)
from thesislib.metrics.matching import match_greedy


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((3, 5)), r"expected shape \[N, 4\], got \[3, 5\]"),
        (np.zeros(4), r"expected shape \[N, 4\], got \[4\]"),
        ([[0, 0, np.nan, 1]], "NaN or infinite"),
        ([[0, 0, np.inf, 1]], "NaN or infinite"),
        ([[0, 0, 1, 1], [0, 5, 1, 4]], "box 1 is inverted"),
    ],
)
def test_bad_boxes_are_refused_by_name(boxes, message):
    good = np.array([[0.0, 0.0, 1.0, 1.0]])
    scores = np.zeros(len(boxes))
    for name, call in (
        ("a", lambda: box_iou(boxes, good)),
        ("b", lambda: box_iou(good, boxes)),
        ("boxes", lambda: match_greedy(boxes, scores, good)),
        ("truth", lambda: match_greedy(good, [0.5], boxes)),
        ("detected", lambda: fit_box_calibration(boxes, good)),
        ("truth", lambda: fit_box_calibration(good, boxes)),
        ("boxes", lambda: apply_box_calibration(boxes, (0, 0, 1, 1))),
        (
            "predictions",
            lambda: average_precision([{"boxes": boxes, "scores": scores}], [{"boxes": good}]),
        ),
        (
            "truths",
            lambda: average_precision([{"boxes": good, "scores": [0.5]}], [{"boxes": boxes}]),
        ),
    ):
        with pytest.raises(ValueError, match=f"^{name}: {message}"):
            call()
