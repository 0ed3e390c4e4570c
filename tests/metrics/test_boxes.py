"""IoU, average precision and box calibration."""

import naive
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    average_precision,
    box_iou,
    fit_box_calibration,
)

DTYPES = (np.float32, np.float64)


# box_iou


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_iou_is_the_loop(dtype):
    rng = np.random.default_rng(0)
    a, b = naive.random_boxes(rng, 17, dtype), naive.random_boxes(rng, 9, dtype)
    expected = [[naive.iou(one, other) for other in b] for one in a]
    np.testing.assert_allclose(box_iou(a, b), expected, rtol=1e-12)


def test_box_iou_of_none_and_of_boxes_without_area():
    assert box_iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]]) == 0


@given(strategies.boxes(), strategies.boxes())
def test_iou_is_symmetric_and_in_range(a, b):
    iou = box_iou(a, b)
    np.testing.assert_array_equal(iou, box_iou(b, a).T)
    assert ((iou >= 0) & (iou <= 1)).all()
    assert iou.shape == (len(a), len(b))


@given(
    strategies.boxes(),
    strategies.boxes(),
    st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)),
    st.sampled_from([0.25, 2.0, 8.0]),
)
def test_iou_does_not_depend_on_place_or_scale(a, b, shift, scale):
    shift = np.array([*shift, *shift])
    moved = box_iou(a * scale + shift, b * scale + shift)
    np.testing.assert_allclose(moved, box_iou(a, b), rtol=1e-12)


@given(strategies.boxes())
def test_iou_is_one_of_equal_boxes_alone(boxes):
    iou = box_iou(boxes, boxes)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    equal = (boxes[:, None] == boxes).all(axis=2) & (area > 0)
    np.testing.assert_array_equal(iou == 1, equal)


# average_precision


def naive_precision(predictions, truths, threshold):
    """COCO's matching and its 101-point mean, for one class."""
    detections = []
    for photo, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        taken = set()
        for i in np.argsort(-prediction["scores"], kind="stable"):
            best, best_iou = None, threshold
            for face, box in enumerate(truth["boxes"]):
                overlap = naive.iou(prediction["boxes"][i], box)
                if face not in taken and overlap >= best_iou:
                    best, best_iou = face, overlap
            taken.add(best)
            detections.append((-prediction["scores"][i], photo, best is not None))
    faces = sum(len(truth["boxes"]) for truth in truths)
    hits, points = 0, []
    for rank, (_, _, hit) in enumerate(sorted(detections), start=1):
        hits += hit
        points.append((hits / faces, hits / rank))
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        total += max((p for r, p in points if r >= recall - 1e-12), default=0.0)
    return total / 101


def near_photos(rng, count, dtype=np.float64):
    """Detections near the faces, and some elsewhere."""
    predictions, truths = [], []
    for _ in range(count):
        truth = naive.random_boxes(rng, int(rng.integers(0, 4)), dtype)
        near = truth + rng.normal(0, 4, truth.shape).astype(dtype)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        boxes = np.concatenate([near, naive.random_boxes(rng, int(rng.integers(0, 3)), dtype)])
        predictions.append({"boxes": boxes, "scores": rng.uniform(0, 1, len(boxes)).astype(dtype)})
        truths.append({"boxes": truth})
    return predictions, truths


@pytest.mark.parametrize("dtype", DTYPES)
def test_average_precision_is_the_loop(dtype):
    predictions, truths = near_photos(np.random.default_rng(5), 12, dtype)
    ap = average_precision(predictions, truths)
    assert 0.1 < ap["ap50"] < 1
    assert ap["ap50"] == pytest.approx(naive_precision(predictions, truths, 0.5), abs=1e-4)
    every = [naive_precision(predictions, truths, 0.5 + 0.05 * step) for step in range(10)]
    assert ap["ap50_95"] == pytest.approx(np.mean(every), abs=1e-4)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_average_precision_depends_on_the_order_of_scores_alone(seed):
    predictions, truths = near_photos(np.random.default_rng(seed), 4)
    truths[0] = naive.ANN  # so that there is a face
    ap = average_precision(predictions, truths)
    assert 0 <= ap["ap50_95"] <= ap["ap50"] <= 1
    doubled = [one | {"scores": one["scores"] / 2} for one in predictions]
    assert average_precision(doubled, truths) == ap
    perfect = [{"boxes": one["boxes"], "scores": np.ones(len(one["boxes"]))} for one in truths]
    assert average_precision(perfect, truths) == pytest.approx({"ap50": 1, "ap50_95": 1})


def test_average_precision_without_detections_and_without_faces():
    none = {"boxes": [], "scores": []}
    assert average_precision([none], [naive.ANN]) == {"ap50": 0, "ap50_95": 0}
    for predictions, truths in (([], []), ([none], [{"boxes": []}])):
        with pytest.raises(ValueError, match=r"^truths: no face in any photo"):
            average_precision(predictions, truths)


def test_average_precision_refuses_what_does_not_fit():
    boxes = naive.ANN["boxes"]
    with pytest.raises(ValueError, match=r"^predictions: 0 entries, but truths has 1"):
        average_precision([], [naive.ANN])
    with pytest.raises(ValueError, match=r"^predictions: 2 entries, but its boxes has 1"):
        average_precision([{"boxes": boxes, "scores": [0.5, 0.4]}], [naive.ANN])
    with pytest.raises(ValueError, match=r"^predictions: NaN"):
        average_precision([{"boxes": boxes, "scores": [np.nan]}], [naive.ANN])


# Box calibration


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_calibration_is_the_loop(dtype):
    rng = np.random.default_rng(11)
    detected, truth = naive.random_boxes(rng, 31, dtype), naive.random_boxes(rng, 31, dtype)
    columns = [[], [], [], []]
    for d, t in zip(detected.astype(float), truth.astype(float), strict=True):
        width, height = d[2] - d[0], d[3] - d[1]
        columns[0].append(((t[0] + t[2]) / 2 - (d[0] + d[2]) / 2) / width)
        columns[1].append(((t[1] + t[3]) / 2 - (d[1] + d[3]) / 2) / height)
        columns[2].append((t[2] - t[0]) / width)
        columns[3].append((t[3] - t[1]) / height)
    calibration = fit_box_calibration(detected, truth)
    assert calibration == pytest.approx([sorted(column)[15] for column in columns])
    applied = apply_box_calibration(detected, calibration)
    assert applied.dtype == np.float32
    for got, d in zip(applied, detected.astype(float), strict=True):
        width, height = d[2] - d[0], d[3] - d[1]
        x = (d[0] + d[2]) / 2 + calibration.dx * width
        y = (d[1] + d[3]) / 2 + calibration.dy * height
        width, height = calibration.sw * width, calibration.sh * height
        expected = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_box_calibration_finds_what_was_done_in_spite_of_wrong_pairs():
    detected = naive.random_boxes(np.random.default_rng(12), 50, np.float64)
    true = BoxCalibration(0.1, -0.2, 0.8, 1.3)
    truth = apply_box_calibration(detected, true)
    truth[:10] = [0, 0, 1, 1]
    assert fit_box_calibration(detected, truth) == pytest.approx(true, abs=1e-4)
    assert apply_box_calibration(np.zeros((0, 4)), true).shape == (0, 4)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.5, 2), st.floats(0.5, 2)),
)
def test_box_calibration_is_recovered(seed, numbers):
    detected = naive.random_boxes(np.random.default_rng(seed), 5, np.float64)
    calibration = BoxCalibration(*numbers)
    found = fit_box_calibration(detected, apply_box_calibration(detected, calibration))
    assert found == pytest.approx(calibration, abs=1e-4)


def test_box_calibration_refuses():
    box = [[0, 0, 10, 10]]
    with pytest.raises(ValueError, match=r"^truth: 2 entries, but detected has 1"):
        fit_box_calibration(box, box * 2)
    with pytest.raises(ValueError, match=r"^detected: empty"):
        fit_box_calibration([], [])
    with pytest.raises(ValueError, match=r"^detected: box 1 has no area"):
        fit_box_calibration([*box, [0, 0, 0, 5]], box * 2)
    for calibration in ((0, 0, 0, 1), (0, np.nan, 1, 1)):
        with pytest.raises(ValueError, match=r"^calibration: expected finite numbers"):
            apply_box_calibration(box, calibration)
