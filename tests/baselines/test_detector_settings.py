"""The detector is set on training photos: what each setting finds, and which is chosen."""

import numpy as np
import pandas as pd
import pytest
import torch

from thesislib.baselines.detector_settings import (
    THRESHOLDS,
    DetectorSettings,
    choose,
    framing_of,
    operating_points,
)
from thesislib.data.columns import BOX
from thesislib.data.loading import Photo
from thesislib.metrics.boxes import apply_box_calibration, box_iou


def photos(count, rng):
    made = []
    for at in range(count):
        left = torch.from_numpy(rng.integers(0, 20, size=(1 + at % 2, 2))).float()
        left[1:, 0] += 60
        boxes = torch.cat([left, left + 30], dim=1)
        made.append(Photo(f"{at}.png", boxes, torch.zeros(len(boxes), dtype=torch.long), (120, 80)))
    return made


def detections(shown, rng):
    rows = []
    for photo in shown:
        for box in photo.boxes.numpy():
            rows.append([photo.name, rng.uniform(-1, 1), *(box + rng.normal(scale=4, size=4))])
        for _ in range(rng.integers(3)):
            x, y = rng.uniform(0, 80, size=2)
            rows.append([photo.name, rng.uniform(-1, 0.5), x, y, x + 30, y + 30])
    return pd.DataFrame(rows, columns=["photo", "score", *BOX])


@pytest.mark.parametrize("seed", range(5))
def test_points_are_those_of_a_search_at_each_threshold(seed):
    rng = np.random.default_rng(seed)
    shown = photos(12, rng)
    searched = {0: detections(shown, rng), 1: detections(shown, rng)}
    table = operating_points(searched, shown)
    assert len(table) == 2 * len(THRESHOLDS)
    for row in table.itertuples():
        found = searched[row.upsampling]
        framing = framing_of(found[found["score"] > 0], shown)
        hits = wrong = 0
        for photo in shown:
            own = found[(found["photo"] == photo.name) & (found["score"] > row.threshold)]
            free = list(range(len(photo.boxes)))
            for _, one in own.sort_values("score", ascending=False).iterrows():
                moved = apply_box_calibration(one[BOX].to_numpy(float)[None], framing)
                overlap = [box_iou(moved, photo.boxes[at : at + 1].numpy())[0, 0] for at in free]
                if overlap and max(overlap) >= 0.5:
                    hits += 1
                    free.pop(int(np.argmax(overlap)))
                else:
                    wrong += 1
        assert row.recall_50 == pytest.approx(hits / sum(len(photo.boxes) for photo in shown))
        assert row.false_boxes == pytest.approx(wrong / len(shown))


def points(*rows):
    return pd.DataFrame(rows, columns=["upsampling", "threshold", "recall_50", "false_boxes"])


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([(0, -1.0, 0.9, 0.3), (0, 0.0, 0.8, 0.1), (1, 0.1, 0.7, 0.0)], (0, 0.0)),
        ([(0, 0.0, 0.8, 0.1), (1, 0.0, 0.9, 0.1)], (1, 0.0)),
        ([(1, 0.2, 0.9, 0.0), (0, -0.2, 0.9, 0.1), (0, 0.1, 0.9, 0.1)], (0, 0.1)),
        ([(0, -1.0, 0.9, 0.9), (0, 0.5, 0.5, 0.2)], (0, 0.5)),
    ],
    ids=["within the budget", "most faces", "the quickest", "fewest where none is within"],
)
def test_most_faces_with_few_false_boxes(rows, chosen):
    assert choose(points(*rows)) == DetectorSettings(*chosen)


def test_where_nothing_is_found_boxes_stay_as_they_are():
    empty = pd.DataFrame(columns=["photo", "score", *BOX])
    shown = photos(3, np.random.default_rng(0))
    assert framing_of(empty, shown) == (0, 0, 1, 1)
    table = operating_points({0: empty}, shown)
    assert not table["recall_50"].any() and not table["false_boxes"].any()
