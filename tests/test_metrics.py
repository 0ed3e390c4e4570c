"""Each measure against a twin written with plain loops, and what each refuses."""

import itertools
import time

import numpy as np
import pytest

from thesislib.metrics import matching, statistics
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    average_precision,
    box_iou,
    fit_box_calibration,
)

DTYPES = (np.float32, np.float64)


def random_boxes(rng, count, dtype=np.float32, size=100):
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, size, (count, 2))], axis=1).astype(dtype)


def iou_twin(a, b):
    a, b = [float(v) for v in a], [float(v) for v in b]
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    covered = areas - width * height
    return width * height / covered if covered > 0 else 0.0


def match_twin(boxes, scores, truth):
    matched, iou = [-1] * len(boxes), [0.0] * len(boxes)
    taken = set()
    for detection in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        best, best_iou = -1, 0.0
        for face in range(len(truth)):
            overlap = iou_twin(boxes[detection], truth[face])
            if face not in taken and overlap > best_iou:
                best, best_iou = face, overlap
        if best >= 0:
            taken.add(best)
            matched[detection], iou[detection] = best, best_iou
    return matched, iou


def random_photos(rng, count, dtype=np.float32):
    people = ["ann", "bob", "cat"]
    photos, predictions, truths = [], [], []
    for photo in range(count):
        faces, detections = int(rng.integers(1, 4)), int(rng.integers(0, 5))
        photos.append(f"{photo}.jpg")
        predictions.append(
            {
                "boxes": random_boxes(rng, detections, dtype),
                # Few different scores, so that there are ties.
                "scores": rng.choice([0.25, 0.5, 0.75], detections).astype(dtype),
                "identities": [str(one) for one in rng.choice(people, detections)],
            }
        )
        truths.append(
            {
                "boxes": random_boxes(rng, faces, dtype),
                "identities": [str(one) for one in rng.choice(people, faces)],
            }
        )
    return photos, predictions, truths


NO_DETECTION = {"boxes": [], "scores": [], "identities": []}
ANN = {"boxes": [[0, 0, 10, 10]], "identities": ["ann"]}
ANN_AND_BOB = {"boxes": [[0, 0, 10, 10], [50, 0, 60, 10]], "identities": ["ann", "bob"]}


# box_iou


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_iou_is_the_loop(dtype):
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 17, dtype), random_boxes(rng, 9, dtype)
    expected = [[iou_twin(one, other) for other in b] for one in a]
    np.testing.assert_allclose(box_iou(a, b), expected, rtol=1e-12)


def test_box_iou_of_none_and_of_boxes_without_area():
    assert box_iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]]) == 0


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
        ("boxes", lambda: matching.match_greedy(boxes, scores, good)),
        ("truth", lambda: matching.match_greedy(good, [0.5], boxes)),
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


# match_greedy


@pytest.mark.parametrize("dtype", DTYPES)
def test_match_greedy_is_the_loop(dtype):
    rng = np.random.default_rng(1)
    for _ in range(200):
        boxes = random_boxes(rng, int(rng.integers(0, 7)), dtype)
        truth = random_boxes(rng, int(rng.integers(0, 5)), dtype)
        scores = rng.choice([0.2, 0.4, 0.6], len(boxes)).astype(dtype)
        matched, iou = matching.match_greedy(boxes, scores, truth)
        expected, expected_iou = match_twin(boxes, scores, truth)
        assert matched.tolist() == expected
        np.testing.assert_allclose(iou, expected_iou, rtol=1e-12)


def test_match_greedy_keeps_the_order_of_equals():
    box = [0, 0, 10, 10]
    assert matching.match_greedy([box, box], [0.5, 0.5], [box])[0].tolist() == [0, -1]
    assert matching.match_greedy([box], [0.5], [box, box])[0].tolist() == [0]


def test_match_greedy_refuses_bad_scores():
    box = [[0, 0, 10, 10]]
    with pytest.raises(ValueError, match=r"^scores: 2 entries, but boxes has 1"):
        matching.match_greedy(box, [0.5, 0.5], box)
    with pytest.raises(ValueError, match=r"^scores: NaN"):
        matching.match_greedy(box, [np.nan], box)
    with pytest.raises(ValueError, match=r"^scores: expected one dimension"):
        matching.match_greedy(box, [[0.5]], box)


# faces_table and photos_table


@pytest.mark.parametrize("dtype", DTYPES)
def test_faces_table_is_the_loop(dtype):
    photos, predictions, truths = random_photos(np.random.default_rng(2), 60, dtype)
    table = matching.faces_table(photos, predictions, truths)
    row = 0
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        scores = prediction["scores"].tolist()
        matched, iou = match_twin(prediction["boxes"], scores, truth["boxes"])
        for face, identity in enumerate(truth["identities"]):
            got = table.loc[row]
            row += 1
            assert (got["photo"], got["identity"]) == (photo, identity)
            true_box = got[["true_x1", "true_y1", "true_x2", "true_y2"]].to_numpy(np.float32)
            np.testing.assert_array_equal(true_box, truth["boxes"][face].astype(np.float32))
            box = got[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
            if face not in matched:
                assert (got["predicted_identity"], got["iou"]) == ("", 0)
                assert not got["found"] and not got["top"]
                assert np.isnan(got["score"]) and np.isnan(box).all()
                continue
            detection = matched.index(face)
            assert got["found"]
            assert got["predicted_identity"] == prediction["identities"][detection]
            assert got["score"] == scores[detection]
            assert got["iou"] == pytest.approx(iou[detection], rel=1e-12)
            assert got["top"] == (detection == scores.index(max(scores)))
            np.testing.assert_array_equal(box, prediction["boxes"][detection].astype(np.float32))
    assert row == len(table)


@pytest.mark.parametrize("dtype", DTYPES)
def test_photos_table_is_the_loop(dtype):
    photos, predictions, truths = random_photos(np.random.default_rng(3), 100, dtype)
    table = matching.photos_table(photos, predictions, truths)
    assert table["photo"].tolist() == photos
    for got, prediction, truth in zip(table.itertuples(), predictions, truths, strict=True):
        scores = prediction["scores"].tolist()
        identity = truth["identities"][0] if len(truth["identities"]) == 1 else ""
        predicted, score, best = "", None, 0.0
        if scores:
            top = scores.index(max(scores))
            predicted, score = prediction["identities"][top], scores[top]
            for box, one in zip(truth["boxes"], truth["identities"], strict=True):
                overlap = iou_twin(prediction["boxes"][top], box)
                if overlap > best:
                    best, identity = overlap, one
        assert (got.identity, got.predicted_identity) == (identity, predicted)
        assert np.isnan(got.score) if score is None else got.score == score
        assert got.iou == pytest.approx(best, rel=1e-12)
        assert got.correct == (bool(scores) and predicted == identity)


def test_photos_table_where_the_detection_is_of_no_face():
    beside = {"boxes": [[200, 200, 210, 210]], "scores": [0.9], "identities": ["ann"]}
    table = matching.photos_table(
        ["one", "two", "none"], [beside, beside, NO_DETECTION], [ANN, ANN_AND_BOB, ANN_AND_BOB]
    )
    assert table["identity"].tolist() == ["ann", "", ""]
    assert table["correct"].tolist() == [True, False, False]
    assert table["iou"].tolist() == [0, 0, 0]


def test_tables_of_nothing_have_their_columns_and_types():
    for build in (matching.faces_table, matching.photos_table):
        full, empty = build(["a"], [NO_DETECTION], [ANN]), build([], [], [])
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    without_face = {"boxes": [], "identities": []}
    assert len(matching.faces_table(["a"], [NO_DETECTION], [without_face])) == 0
    with pytest.raises(ValueError, match=r"^truths: photo 'a' has no face"):
        matching.photos_table(["a"], [NO_DETECTION], [without_face])


@pytest.mark.parametrize("build", [matching.faces_table, matching.photos_table])
def test_tables_refuse_what_does_not_fit(build):
    with pytest.raises(ValueError, match=r"^predictions: 0 entries, but photos has 1"):
        build(["a"], [], [ANN])
    with pytest.raises(ValueError, match=r"^truths: 2 entries, but photos has 1"):
        build(["a"], [NO_DETECTION], [ANN, ANN])
    with pytest.raises(ValueError, match=r"^photos: 'a' is listed twice"):
        build(["a", "a"], [NO_DETECTION] * 2, [ANN] * 2)
    with pytest.raises(ValueError, match=r"^truths: photo 'a' has 1 boxes and 2 identities"):
        build(["a"], [NO_DETECTION], [ANN | {"identities": ["ann", "bob"]}])
    with pytest.raises(ValueError, match=r"^predictions: photo 'a' has 0 boxes and 1 identities"):
        build(["a"], [NO_DETECTION | {"identities": ["ann"]}], [ANN])
    with pytest.raises(ValueError, match=r"^photo 'a': boxes: box 0 is inverted"):
        build(["a"], [ANN | {"boxes": [[1, 1, 0, 0]], "scores": [0.5]}], [ANN])


# The measures that read the tables


@pytest.mark.parametrize("dtype", DTYPES)
def test_shares_and_means_are_the_loops(dtype):
    rng = np.random.default_rng(4)
    photos, predictions, truths = random_photos(rng, 80, dtype)
    table = matching.photos_table(photos, predictions, truths)
    iou = table["iou"].to_numpy(dtype)
    right, total, found = 0, 0.0, []
    for correct, one in zip(table["correct"], iou.tolist(), strict=True):
        right += bool(correct)
        total += one
        found += [one] if one > 0 else []
    assert matching.accuracy(table["correct"]) == pytest.approx(right / 80)
    assert matching.mean_iou(iou) == pytest.approx(total / 80, rel=1e-6)
    assert matching.mean_iou_found(iou) == pytest.approx(sum(found) / len(found), rel=1e-6)
    faces = matching.faces_table(photos, predictions, truths)
    for threshold in (0.1, 0.5, 0.75):
        count = 0
        for face in faces.itertuples():
            count += face.iou >= threshold and face.identity == face.predicted_identity
        assert matching.joint_accuracy(faces, threshold) == pytest.approx(count / len(faces))


def test_joint_accuracy_counts_an_iou_at_the_threshold():
    prediction = {"boxes": [[0, 0, 10, 5]], "scores": [0.9], "identities": ["ann"]}
    assert matching.joint_accuracy(matching.faces_table(["a"], [prediction], [ANN]), 0.5) == 1


def test_measures_of_nothing_are_refused():
    none = np.zeros(0)
    for name, call in (
        ("correct", lambda: matching.accuracy(none)),
        ("iou", lambda: matching.mean_iou(none)),
        ("iou", lambda: matching.mean_iou_found(none)),
        ("faces", lambda: matching.joint_accuracy(matching.faces_table([], [], []), 0.5)),
        ("values", lambda: statistics.bootstrap_interval(none, seed=0)),
        ("correct_a", lambda: statistics.mcnemar_exact(none, none)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: empty"):
            call()
    with pytest.raises(ValueError, match=r"^iou: no face was found"):
        matching.mean_iou_found(np.zeros(3))


def test_measures_refuse_nan_shape_and_threshold():
    with pytest.raises(ValueError, match=r"^iou: NaN"):
        matching.mean_iou([0.5, np.nan])
    with pytest.raises(ValueError, match=r"^iou: NaN"):
        matching.mean_iou_found([0.5, np.nan])
    with pytest.raises(ValueError, match=r"^correct: expected one dimension, got shape \[1, 2\]"):
        matching.accuracy([[True, False]])
    faces = matching.faces_table(["a"], [NO_DETECTION], [ANN])
    for threshold in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"^threshold: expected above 0 and at most 1"):
            matching.joint_accuracy(faces, threshold)


# average_precision


def precision_twin(predictions, truths, threshold):
    """COCO's matching and its 101-point mean, for one class."""
    detections = []
    for photo, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        taken = set()
        for i in np.argsort(-prediction["scores"], kind="stable"):
            best, best_iou = None, threshold
            for face, box in enumerate(truth["boxes"]):
                overlap = iou_twin(prediction["boxes"][i], box)
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_average_precision_is_the_loop(dtype):
    rng = np.random.default_rng(5)
    predictions, truths = [], []
    for _ in range(12):
        truth = random_boxes(rng, int(rng.integers(0, 4)), dtype)
        near = truth + rng.normal(0, 4, truth.shape).astype(dtype)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        boxes = np.concatenate([near, random_boxes(rng, int(rng.integers(0, 3)), dtype)])
        predictions.append({"boxes": boxes, "scores": rng.uniform(0, 1, len(boxes)).astype(dtype)})
        truths.append({"boxes": truth})
    ap = average_precision(predictions, truths)
    assert 0.1 < ap["ap50"] < 1
    assert ap["ap50"] == pytest.approx(precision_twin(predictions, truths, 0.5), abs=1e-4)
    every = [precision_twin(predictions, truths, 0.5 + 0.05 * step) for step in range(10)]
    assert ap["ap50_95"] == pytest.approx(np.mean(every), abs=1e-4)


def test_average_precision_without_detections_and_without_faces():
    none = {"boxes": [], "scores": []}
    assert average_precision([none], [ANN]) == {"ap50": 0, "ap50_95": 0}
    for predictions, truths in (([], []), ([none], [{"boxes": []}])):
        with pytest.raises(ValueError, match=r"^truths: no face in any photo"):
            average_precision(predictions, truths)


def test_average_precision_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"^predictions: 0 entries, but truths has 1"):
        average_precision([], [ANN])
    with pytest.raises(ValueError, match=r"^predictions: 2 entries, but its boxes has 1"):
        average_precision([{"boxes": ANN["boxes"], "scores": [0.5, 0.4]}], [ANN])
    with pytest.raises(ValueError, match=r"^predictions: NaN"):
        average_precision([{"boxes": ANN["boxes"], "scores": [np.nan]}], [ANN])


# bootstrap_interval


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_of_the_mean_is_the_loop(dtype, grouped):
    # With n below the rows computed at a time both draw the same photos, so they agree exactly.
    rng = np.random.default_rng(6)
    values = rng.uniform(0, 1, 60).astype(dtype)
    groups = rng.choice(["a", "b", "c", "d", "e", "f"], 60) if grouped else None
    fast = statistics.bootstrap_interval(values, groups=groups, n=300, seed=1)
    slow = statistics.bootstrap_interval(values, lambda v: sum(v) / len(v), groups, n=300, seed=1)
    assert fast == pytest.approx(slow, rel=1e-5)
    assert fast[0] < values.mean() < fast[1]


def test_bootstrap_draws_the_faces_of_a_photo_together():
    # Each photo is all right or all wrong: 10 photos of 50 faces know no more than 10 photos do.
    values = np.repeat([True, False] * 5, 50)
    together = statistics.bootstrap_interval(values, groups=np.repeat(np.arange(10), 50), seed=0)
    apart = statistics.bootstrap_interval(values, seed=0)
    assert np.diff(together) > 4 * np.diff(apart)
    assert together == pytest.approx(statistics.bootstrap_interval(values[::50], seed=0))


def test_bootstrap_depends_on_seed_and_level():
    values = np.random.default_rng(7).uniform(0, 1, 40)
    interval = statistics.bootstrap_interval(values, seed=0)
    assert interval == statistics.bootstrap_interval(values, seed=0)
    assert interval != statistics.bootstrap_interval(values, seed=1)
    narrow = statistics.bootstrap_interval(values, level=0.5, seed=0)
    assert interval[0] < narrow[0] < narrow[1] < interval[1]
    assert statistics.bootstrap_interval([1, 1, 1], seed=0) == (1, 1)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(200):
        low, high = statistics.bootstrap_interval(rng.random(100) < 0.7, n=400, seed=trial)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_of_many_photos_fits_in_memory_and_of_a_thousand_is_quick():
    values = np.random.default_rng(9).random(1000)
    seconds = []
    for _ in range(3):  # the quickest of three: others may be at work on this machine
        start = time.perf_counter()
        statistics.bootstrap_interval(values, seed=0)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2
    # More photos than are drawn at a time, so that the draws come in several parts.
    low, high = statistics.bootstrap_interval(np.tile([0.0, 1.0], 50_000), n=100, seed=0)
    assert 0.49 < low < 0.5 < high < 0.51


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [0.5, np.nan]}, "^values: NaN"),
        ({"values": [[0.5]]}, "^values: expected one dimension"),
        ({"groups": ["a"]}, "^groups: 1 entries, but values has 2"),
        ({"n": 0}, "^n: expected at least 1, got 0"),
        ({"level": 1}, "^level: expected above 0 and below 1, got 1"),
    ],
)
def test_bootstrap_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        statistics.bootstrap_interval(**({"values": [0.5, 1.0], "seed": 0} | arguments))


# mcnemar_exact


def test_mcnemar_is_the_count_of_all_coin_tosses():
    rng = np.random.default_rng(10)
    for _ in range(20):
        a, b = rng.random(12) < 0.5, rng.random(12) < 0.7
        only_a = sum(x and not y for x, y in zip(a, b, strict=True))
        tosses = only_a + sum(y and not x for x, y in zip(a, b, strict=True))
        distance, extreme = abs(2 * only_a - tosses), 0
        for toss in itertools.product([0, 1], repeat=int(tosses)):
            extreme += abs(2 * sum(toss) - tosses) >= distance
        assert statistics.mcnemar_exact(a, b) == pytest.approx(extreme / 2**tosses)
        assert statistics.mcnemar_exact(a, b) == statistics.mcnemar_exact(b, a)


def test_mcnemar_of_systems_right_on_the_same_photos():
    assert statistics.mcnemar_exact([True, False], [True, False]) == 1


def test_mcnemar_refuses_other_photos():
    with pytest.raises(ValueError, match=r"^correct_b: 1 entries, but correct_a has 2"):
        statistics.mcnemar_exact([True, False], [True])


def test_the_thesis_accuracies_differ_at_no_overlap_of_mistakes():
    photo = np.arange(651)
    joint = photo >= 12  # 639 right
    for shared in range(13):
        two_stage = (photo < 12 - shared) | (photo >= 28 - shared)
        assert two_stage.sum() == 635
        assert statistics.mcnemar_exact(joint, two_stage) > 0.05


# Box calibration


@pytest.mark.parametrize("dtype", DTYPES)
def test_box_calibration_is_the_loop(dtype):
    rng = np.random.default_rng(11)
    detected, truth = random_boxes(rng, 31, dtype), random_boxes(rng, 31, dtype)
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
    detected = random_boxes(np.random.default_rng(12), 50, np.float64)
    true = BoxCalibration(0.1, -0.2, 0.8, 1.3)
    truth = apply_box_calibration(detected, true)
    truth[:10] = [0, 0, 1, 1]
    assert fit_box_calibration(detected, truth) == pytest.approx(true, abs=1e-4)
    assert apply_box_calibration(np.zeros((0, 4)), true).shape == (0, 4)


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


# confusion_counts


def test_confusion_counts_are_the_loop():
    rng = np.random.default_rng(13)
    identity = rng.choice(["", "ann", "bob", "cat"], 200)
    predicted = rng.choice(["", "ann", "bob", "cat"], 200)
    counts = {}
    for right, given in zip(identity.tolist(), predicted.tolist(), strict=True):
        if right and given and right != given:
            counts[right, given] = counts.get((right, given), 0) + 1
    expected = sorted((-count, *pair) for pair, count in counts.items())
    got = matching.confusion_counts(identity, predicted)
    assert [
        (-row["count"], row["identity"], row["predicted_identity"])
        for row in got.to_dict("records")
    ] == expected


def test_confusion_counts_of_none():
    for identity in ([], ["ann"]):
        table = matching.confusion_counts(identity, identity)
        assert table.columns.tolist() == ["identity", "predicted_identity", "count"]
        assert len(table) == 0
    with pytest.raises(ValueError, match=r"^predicted: 0 entries, but identity has 1"):
        matching.confusion_counts(["ann"], [])
