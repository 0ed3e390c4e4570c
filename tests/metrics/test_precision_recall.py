"""Average precision and its interval, against torchmetrics and samples that are written out."""

import numpy as np
import pandas as pd
import pytest

from thesislib.metrics.boxes import average_precision, box_iou
from thesislib.metrics.matching import match_at
from thesislib.metrics.precision_recall import (
    average_precision_interval,
    average_precision_of,
    detections_right,
)


def scenes(rng, photos=20):
    names, predictions, truths = [], [], []
    for at in range(photos):
        corner = rng.uniform(0, 60, size=(rng.integers(0, 4), 2))
        true = np.concatenate([corner, corner + 30], axis=1)
        near = true + rng.normal(scale=6, size=true.shape)
        more = rng.uniform(0, 60, size=(rng.integers(0, 3), 2))
        boxes = np.concatenate([near, near[:1], np.concatenate([more, more + 25], axis=1)])
        names.append(f"{at}.png")
        scores = rng.uniform(size=len(boxes))
        prediction = {"boxes": boxes, "scores": scores, "identities": [""] * len(boxes)}
        predictions.append(prediction)
        truths.append({"boxes": true, "identities": [""] * len(true)})
    return names, predictions, truths


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_average_precision_of_torchmetrics(seed):
    names, predictions, truths = scenes(np.random.default_rng(seed))
    table = detections_right(names, predictions, truths)
    faces = sum(len(truth["boxes"]) for truth in truths)
    (own,) = average_precision_of(table["score"], table["right"], np.ones((1, len(table))), [faces])
    assert own == pytest.approx(average_precision(predictions, truths)["ap50"], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_copies(seed):
    """A sample in which photos count several times is the one in which they stand several times."""
    rng = np.random.default_rng(seed)
    names, predictions, truths = scenes(rng)
    table = detections_right(names, predictions, truths)
    times = rng.integers(0, 3, size=len(names))
    place = table["photo"].map({name: at for at, name in enumerate(names)}).to_numpy()
    counts = np.array([len(truth["boxes"]) for truth in truths])
    (own,) = average_precision_of(
        table["score"], table["right"], times[place][None], [times @ counts]
    )
    copied = [at for at in range(len(names)) for _ in range(times[at])]
    written = average_precision([predictions[at] for at in copied], [truths[at] for at in copied])
    assert own == pytest.approx(written["ap50"], abs=1e-6)


def test_the_interval_is_that_of_samples_of_people_one_by_one():
    rng = np.random.default_rng(3)
    names, predictions, truths = scenes(rng, photos=24)
    table = detections_right(names, predictions, truths)
    units = {name: f"p{at % 6}" for at, name in enumerate(names)}
    faces = {name: len(truth["boxes"]) for name, truth in zip(names, truths, strict=True)}
    low, high = average_precision_interval(table, units, faces, draws=4000, seed=0)
    sampled = []
    for _ in range(1500):
        chosen = rng.integers(6, size=6)
        at = [i for person in chosen for i in range(len(names)) if i % 6 == person]
        sampled.append(
            average_precision_of(
                np.concatenate([predictions[i]["scores"] for i in at]),
                np.concatenate(
                    [
                        match_at(
                            box_iou(predictions[i]["boxes"], truths[i]["boxes"]),
                            predictions[i]["scores"],
                            0.5,
                        )
                        >= 0
                        for i in at
                    ]
                ),
                np.ones((1, sum(len(predictions[i]["scores"]) for i in at))),
                [sum(len(truths[i]["boxes"]) for i in at)],
            )[0]
        )
    expected = np.quantile(sampled, [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)
    assert average_precision_interval(table, units, faces, draws=4000, seed=0) == (low, high)


def test_a_face_is_taken_once_and_by_a_box_that_is_good_enough():
    assert match_at(np.empty((0, 2)), [], 0.5).tolist() == []
    assert match_at(np.empty((2, 0)), [1, 2], 0.5).tolist() == [-1, -1]
    # The better scored box overlaps too little to take the face from the other.
    assert match_at([[0.4], [0.9]], [0.9, 0.1], 0.5).tolist() == [-1, 0]
    assert match_at([[0.6], [0.9]], [0.9, 0.1], 0.5).tolist() == [0, -1]
    with pytest.raises(ValueError, match="scores"):
        match_at([[0.4], [0.9]], [0.9], 0.5)


def test_detections_on_no_face_are_told_too():
    prediction = {"boxes": [[0, 0, 10, 10], [50, 0, 60, 10]], "scores": [0.2, 0.9]}
    prediction["identities"] = ["ann", "bob"]
    truth = {"boxes": [[0, 0, 10, 9]], "identities": ["ann"]}
    table = detections_right(["a.png"], [prediction], [truth])
    assert table[["predicted_identity", "right"]].values.tolist() == [["bob", False], ["ann", True]]


@pytest.mark.parametrize("empty", ["one unit", "no face"])
def test_where_nothing_varies_there_is_no_interval(empty):
    table = pd.DataFrame({"photo": ["a", "b"], "score": [0.5, 0.4], "right": [True, False]})
    units = {"a": "p", "b": "p" if empty == "one unit" else "q"}
    faces = {"a": 0 if empty == "no face" else 1, "b": 0}
    assert np.isnan(average_precision_interval(table, units, faces, seed=0)).all()
