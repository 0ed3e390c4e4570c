"""Closed-set and open-set identification, of given faces and in whole photos."""

import itertools
import math

import naive
import numpy as np
import pandas as pd
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.identification import (
    cumulative_match,
    fnir_at_fpir,
    joint_open_set,
    open_set,
    tpir_at_fpipi,
)


def naive_search(embeddings, names, gallery, copies=None):
    """For each probe: whether mated, the mate's score, the best other's, the mate's rank."""
    copies = [0] * len(names) if copies is None else copies
    enrolled = sorted({(n, c) for n, c, g in zip(names, copies, gallery, strict=True) if g})
    found = []
    for probe in range(len(names)):
        if gallery[probe]:
            continue
        scores = {}
        for person in enrolled:
            scores[person] = max(
                naive.cosine(embeddings[probe], embeddings[row])
                for row in range(len(names))
                if gallery[row] and (names[row], copies[row]) == person
            )
        own = (names[probe], copies[probe])
        others = [score for person, score in scores.items() if person[0] != own[0]]
        mate = scores.get(own)
        rank = None if mate is None else 1 + sum(score >= mate for score in others)
        found.append((mate is not None, mate, max(others, default=-math.inf), rank))
    return found, len(enrolled)


def gallery_cases(closed, seed=9, count=10):
    rng = np.random.default_rng(seed)
    for dtype, ties, copied in itertools.product(naive.DTYPES, (False, True), (False, True)):
        for _ in range(count):
            embeddings, names = naive.on_axes(rng, ties)
            enrolled = set(sorted(set(names))[:: 1 if closed else 2])
            seen, gallery = {}, []
            for name in names:
                # One photo per person is enrolled, of some two; the rest are probes.
                limit = 2 if name == "person 2" else 1
                seen[name] = seen.get(name, 0) + 1
                gallery.append(name in enrolled and seen[name] <= limit)
            gallery, copies = np.array(gallery), None
            embeddings = embeddings.astype(dtype)
            if copied:
                together = np.concatenate([embeddings, gallery[:, None]], axis=1)
                together, names, copies = naive.random_copies(rng, together, names)
                embeddings, gallery = together[:, :-1], together[:, -1] == 1
            yield embeddings, names, gallery, copies


def test_cumulative_match_is_the_loop():
    for embeddings, names, gallery, copies in gallery_cases(closed=True):
        found, enrolled = naive_search(embeddings, names, gallery, copies)
        expected = [
            sum(rank <= most for *_, rank in found) / len(found) for most in range(1, enrolled + 1)
        ]
        result = cumulative_match(embeddings, names, gallery, copies=copies)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_open_set_is_the_loop():
    compared = 0
    for embeddings, names, gallery, copies in gallery_cases(closed=False):
        found, _ = naive_search(embeddings, names, gallery, copies)
        mated = [one for one in found if one[0]]
        others = [one for one in found if not one[0]]
        if not mated or not others:
            continue
        compared += 1
        curve = open_set(embeddings, names, gallery, copies=copies)
        assert (curve.mated_probes, curve.non_mated_probes) == (len(mated), len(others))
        assert curve.rank_one == sum(rank == 1 for *_, rank in mated) / len(mated)
        scores = {one[2] for one in others} | {one[1] for one in mated if one[3] == 1}
        thresholds = [math.inf, *sorted(scores, reverse=True)]
        np.testing.assert_allclose(curve.threshold, thresholds, atol=2e-12)
        fpir = [sum(s[2] >= t for s in others) / len(others) for t in thresholds]
        fnir = [sum(m[3] > 1 or m[1] < t for m in mated) / len(mated) for t in thresholds]
        np.testing.assert_allclose(curve.fpir, fpir, atol=1e-12)
        np.testing.assert_allclose(curve.fnir, fnir, atol=1e-12)
        for limit in (0.01, 0.1, 0.5, 1.0):
            best = min(
                (miss, alarm) for miss, alarm in zip(fnir, fpir, strict=True) if alarm <= limit
            )
            point = fnir_at_fpir(curve, limit, min_expected_errors=0)
            assert (point.fnir, point.fpir) == pytest.approx(best, abs=1e-12)
    assert compared > 70


@given(strategies.people(min_people=4), st.data())
def test_curves_run_one_way_and_do_not_depend_on_order(people, data):
    embeddings, names = people
    first = np.array([names.index(name) == row for row, name in enumerate(names)])
    enrolled = first & np.isin(names, ["person 0", "person 1"])
    closed = np.isin(names, ["person 0", "person 1"])
    embeddings_2, names_2, order = strategies.permuted(data.draw, embeddings, names)

    cmc = cumulative_match(embeddings[closed], np.array(names)[closed], enrolled[closed])
    assert (np.diff(cmc) >= 0).all() and ((cmc >= 0) & (cmc <= 1)).all() and len(cmc) == 2

    curve = open_set(embeddings, names, enrolled)
    assert (np.diff(curve.fpir) >= 0).all() and (np.diff(curve.fnir) <= 0).all()
    assert (curve.fpir[0], curve.fnir[0]) == (0, 1)
    assert curve.fnir[-1] == pytest.approx(1 - curve.rank_one)
    other = open_set(embeddings_2, names_2, enrolled[order])
    np.testing.assert_array_equal(other.fpir, curve.fpir)
    np.testing.assert_array_equal(other.fnir, curve.fnir)


def test_embeddings_that_are_all_equal_identify_nobody():
    embeddings, rows = np.ones((40, 3)), np.arange(40)
    names = [f"person {i // 4}" for i in range(40)]
    gallery = rows % 4 == 0
    assert cumulative_match(embeddings, names, gallery).tolist() == [0] * 9 + [1]
    assert open_set(embeddings, names, gallery & (rows < 20)).rank_one == 0


def test_a_fpir_is_supported_from_ten_false_positives_on():
    rng = np.random.default_rng(0)
    names = ["ann", "bob", "ann", "bob", *(f"stranger {i}" for i in range(100))]
    gallery = np.arange(104) < 2
    curve = open_set(rng.normal(size=(104, 4)), names, gallery)
    assert fnir_at_fpir(curve, 0.1).non_mated_probes == 100
    message = "^fpir: 0.01 x 100 non-mated probes = 1 expected errors, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        fnir_at_fpir(curve, 0.01)
    with pytest.raises(ValueError, match=r"^fpir: expected above 0 and at most 1, got 0$"):
        fnir_at_fpir(curve, 0)


@pytest.mark.parametrize(
    ("identities", "gallery", "error", "message"),
    [
        (["a", "b", "a", "c"], [1, 1, 0], ValueError, r"expected \[4\] bool"),
        (["a", "b", "a", "c"], [1, 1, 0, 0], ValueError, r"expected \[4\] bool"),
        (["a", "b", "a", "c"], [True] * 4, NotSupportedError, "there is no probe photo"),
        (["a", "b", "a", "c"], [False] * 4, NotSupportedError, "there is no gallery photo"),
        (["a", "b", "a", "c"], [True, False, False, False], NotSupportedError, "one person"),
    ],
)
def test_bad_galleries_are_refused(identities, gallery, error, message):
    for measure in (cumulative_match, open_set):
        with pytest.raises(error, match=f"^gallery: {message}"):
            measure(naive.FOUR[0], identities, gallery)


def test_probes_of_the_wrong_kind_are_refused():
    names, gallery = ["a", "b", "a", "c"], [True, True, False, False]
    message = "^gallery: the person of the probe in row 3 is not enrolled$"
    with pytest.raises(ValueError, match=message):
        cumulative_match(naive.FOUR[0], names, gallery)
    for names, what in ((["a", "b", "c", "c"], "is"), (["a", "b", "a", "b"], "is not")):
        message = f"^gallery: there is no probe whose person {what} enrolled$"
        with pytest.raises(NotSupportedError, match=message):
            open_set(naive.FOUR[0], names, gallery)


# Joint open set


def random_detections(rng, photos):
    rows = []
    for photo in range(photos):
        for identity in ("ann", "bob", "cat"):
            if rng.random() < 0.6:
                predicted = str(rng.choice([identity, "ann", "bob", ""]))
                score = rng.choice([0.2, 0.5, 0.6, 0.9])
                rows.append((f"{photo}.jpg", score, predicted, rng.random(), identity))
        for _ in range(int(rng.integers(0, 4))):
            predicted = str(rng.choice(["ann", "bob", "cat", ""]))
            iou = float(rng.choice([0.0, 0.3, 0.8]))
            rows.append((f"{photo}.jpg", rng.choice([0.2, 0.5, 0.6, 0.9]), predicted, iou, ""))
    columns = ["photo", "score", "predicted_identity", "iou", "identity"]
    return pd.DataFrame(rows, columns=columns)


def naive_joint(table, known_faces, photos, threshold):
    right = wrong = another = 0
    for row in table.itertuples():
        if row.score < threshold or row.predicted_identity == "":
            continue
        if row.identity == "" or row.iou < 0.5:
            wrong += 1
        elif row.identity == row.predicted_identity:
            right += 1
        else:
            another += 1
    return right / known_faces, wrong / photos, another / known_faces


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_joint_open_set_is_the_loop(dtype):
    rng = np.random.default_rng(10)
    for _ in range(40):
        photos = int(rng.integers(1, 12))
        table = random_detections(rng, photos).astype({"score": dtype, "iou": dtype})
        curve = joint_open_set(table, known_faces=3 * photos, photos=photos)
        assert curve.threshold[0] == np.inf and (np.diff(curve.threshold) < 0).all()
        named = table.score[table.predicted_identity != ""]
        assert set(curve.threshold[1:]) == set(named.astype(np.float64))
        expected = [naive_joint(table, 3 * photos, photos, t) for t in curve.threshold]
        found = np.stack([curve.tpir, curve.fpipi, curve.taken_for_another], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        for limit in (0.1, 0.5, 2.0):
            best = max((tpir, -fpipi) for tpir, fpipi, _ in expected if fpipi <= limit)
            point = tpir_at_fpipi(curve, limit, min_expected_errors=0)
            assert (point.tpir, -point.fpipi) == pytest.approx(best, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_joint_curve_runs_one_way_and_does_not_depend_on_order(seed, photos):
    rng = np.random.default_rng(seed)
    table = random_detections(rng, photos).astype({"photo": "str", "identity": "str"})
    curve = joint_open_set(table, known_faces=3 * photos, photos=photos)
    for rate in (curve.tpir, curve.fpipi, curve.taken_for_another):
        assert rate[0] == 0 and (np.diff(rate) >= 0).all()
    assert (curve.tpir + curve.taken_for_another <= 1).all()
    other = joint_open_set(table.sample(frac=1, random_state=0), 3 * photos, photos)
    np.testing.assert_array_equal(np.stack(other[:4]), np.stack(curve[:4]))


def detections(**changes):
    columns = {
        "photo": ["a.jpg", "a.jpg", "b.jpg"],
        "score": [0.9, 0.8, 0.7],
        "predicted_identity": ["ann", "bob", "ann"],
        "iou": [0.9, 0.8, 0.7],
        "identity": ["ann", "", "ann"],
    }
    return pd.DataFrame(columns | changes)


def test_a_missed_face_counts_and_an_iou_of_a_half_is_enough():
    curve = joint_open_set(detections(iou=[0.5, 0.8, 0.499]), known_faces=4, photos=2)
    assert curve.tpir[-1] == 0.25
    assert curve.fpipi[-1] == 1.0  # the unknown person, and the face that is not covered enough
    none = detections().iloc[:0]
    curve = joint_open_set(none, known_faces=4, photos=2)
    assert (curve.tpir.tolist(), curve.fpipi.tolist()) == ([0], [0])


def test_every_name_is_text():
    names = list(naive.ODD_NAMES)
    columns = {"photo": names, "score": 0.5, "iou": 1.0}
    table = pd.DataFrame(columns | {"predicted_identity": names, "identity": names})
    assert joint_open_set(table, len(names), len(names)).tpir.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (detections().drop(columns="iou"), "^detections: column 'iou' is missing$"),
        (detections(score=[0.9, np.nan, 0.7]), "^detections: score of row 1 is nan$"),
        (detections(score=[0.9, 0.5, np.inf]), "^detections: score of row 2 is inf$"),
        (detections(iou=[0.9, 1.5, 0.7]), "^detections: iou of row 1 is 1.5$"),
        (detections(iou=[-0.1, 0.5, 0.7]), "^detections: iou of row 0 is -0.1$"),
        (detections(iou=[0.1, np.nan, 0.7]), "^detections: iou of row 1 is nan$"),
        (detections(identity=["ann", None, ""]), "^detections: identity of row 1 is no text$"),
        (detections(photo=["a.jpg", 5, "b.jpg"]), "^detections: photo of row 1 is no text$"),
        (
            detections(predicted_identity=["ann", "bob", np.nan]),
            "^detections: predicted_identity of row 2 is no text$",
        ),
        (
            detections(identity=["ann", "ann", ""]),
            "^detections: 'ann' of row 1 is found in 'a.jpg' already$",
        ),
        (
            detections(photo=["a.jpg", "b.jpg", "c.jpg"]),
            "^photos: 2, but detections has 3$",
        ),
        (
            detections(identity=["ann", "bob", "ann"]),
            "^known_faces: 2, but detections has 3$",
        ),
    ],
)
def test_bad_detections_are_refused_by_row(table, message):
    with pytest.raises(ValueError, match=message):
        joint_open_set(table, known_faces=2, photos=2)


def test_joint_open_set_needs_known_faces_photos_and_enough_of_them():
    with pytest.raises(NotSupportedError, match=r"^known_faces: there is no known face$"):
        joint_open_set(detections(), known_faces=0, photos=2)
    with pytest.raises(NotSupportedError, match=r"^photos: there is no photo$"):
        joint_open_set(detections(), known_faces=2, photos=0)
    curve = joint_open_set(detections(), known_faces=2, photos=99)
    message = "^fpipi: 0.1 x 99 photos = 9.9 expected errors, and at least 10 are needed$"
    with pytest.raises(NotSupportedError, match=message):
        tpir_at_fpipi(curve, 0.1)
    assert tpir_at_fpipi(curve._replace(photos=100), 0.1).photos == 100
    for fpipi in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^fpipi: expected above 0, got"):
            tpir_at_fpipi(curve, fpipi)
