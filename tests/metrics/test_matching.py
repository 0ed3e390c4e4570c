"""Matching of detections to faces, and the tables made of it."""

import naive
import numpy as np
import pandas as pd
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from thesislib.metrics.boxes import box_iou
from thesislib.metrics.matching import faces_table, jointly_correct, match_greedy, photos_table

DTYPES = (np.float32, np.float64)


# match_greedy


@pytest.mark.parametrize("dtype", DTYPES)
def test_match_greedy_is_the_loop(dtype):
    rng = np.random.default_rng(1)
    for _ in range(100):
        boxes = naive.random_boxes(rng, int(rng.integers(0, 7)), dtype)
        truth = naive.random_boxes(rng, int(rng.integers(0, 5)), dtype)
        scores = rng.choice([0.2, 0.4, 0.6], len(boxes)).astype(dtype)
        matched, iou = match_greedy(boxes, scores, truth)
        expected, expected_iou = naive.match(boxes, scores, truth)
        assert matched.tolist() == expected
        np.testing.assert_allclose(iou, expected_iou, rtol=1e-12)


def test_match_greedy_keeps_the_order_of_equals():
    box = [0, 0, 10, 10]
    assert match_greedy([box, box], [0.5, 0.5], [box])[0].tolist() == [0, -1]
    assert match_greedy([box], [0.5], [box, box])[0].tolist() == [0]


@given(strategies.boxes(), strategies.boxes(), st.data())
def test_matches_are_one_to_one_and_none_is_left_that_could_be(boxes, truth, data):
    scores = data.draw(
        st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=len(boxes), max_size=len(boxes))
    )
    matched, iou = match_greedy(boxes, scores, truth)
    taken = matched[matched >= 0]
    assert len(set(taken)) == len(taken)
    overlap = box_iou(boxes, truth)
    for detection, face in enumerate(matched):
        assert iou[detection] == (overlap[detection, face] if face >= 0 else 0)
        assert (iou[detection] > 0) == (face >= 0)
    free = np.setdiff1d(np.arange(len(truth)), taken)
    assert (overlap[np.ix_(matched < 0, free)] == 0).all()


@given(strategies.boxes(), strategies.boxes(), st.data())
def test_matches_do_not_depend_on_the_order_of_detections(boxes, truth, data):
    scores = np.linspace(0.1, 0.9, len(boxes))
    order = np.array(data.draw(st.permutations(range(len(boxes)))), dtype=int)
    matched, iou = match_greedy(boxes, scores, truth)
    other, other_iou = match_greedy(boxes[order], scores[order], truth)
    np.testing.assert_array_equal(other, matched[order])
    np.testing.assert_array_equal(other_iou, iou[order])


def test_match_greedy_refuses_bad_scores():
    box = [[0, 0, 10, 10]]
    with pytest.raises(ValueError, match=r"^scores: 2 entries, but boxes has 1"):
        match_greedy(box, [0.5, 0.5], box)
    with pytest.raises(ValueError, match=r"^scores: NaN"):
        match_greedy(box, [np.nan], box)
    with pytest.raises(ValueError, match=r"^scores: expected one dimension"):
        match_greedy(box, [[0.5]], box)


# faces_table and photos_table


@pytest.mark.parametrize("dtype", DTYPES)
def test_faces_table_is_the_loop(dtype):
    photos, predictions, truths = naive.random_photos(np.random.default_rng(2), 40, dtype)
    table = faces_table(photos, predictions, truths)
    row = 0
    for photo, prediction, truth in zip(photos, predictions, truths, strict=True):
        scores = prediction["scores"].tolist()
        matched, iou = naive.match(prediction["boxes"], scores, truth["boxes"])
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
    people = ("ann", "bob", "cat", "")
    photos, predictions, truths = naive.random_photos(np.random.default_rng(3), 150, dtype, people)
    table = photos_table(photos, predictions, truths)
    assert table["photo"].tolist() == photos
    assert 0 < table["correct"].sum() < table["known"].sum() < len(table)
    for got, prediction, truth in zip(table.itertuples(), predictions, truths, strict=True):
        scores = prediction["scores"].tolist()
        identity = truth["identities"][0] if len(truth["identities"]) == 1 else ""
        predicted, score, best = "", None, 0.0
        if scores:
            top = scores.index(max(scores))
            predicted, score = prediction["identities"][top], scores[top]
            for box, one in zip(truth["boxes"], truth["identities"], strict=True):
                overlap = naive.iou(prediction["boxes"][top], box)
                if overlap > best:
                    best, identity = overlap, one
        assert (got.identity, got.predicted_identity) == (identity, predicted)
        assert np.isnan(got.score) if score is None else got.score == score
        assert got.iou == pytest.approx(best, rel=1e-12)
        assert got.correct == (bool(scores) and predicted == identity != "")
        assert got.known == any(one != "" for one in truth["identities"])


def test_photos_table_where_the_detection_overlaps_no_face():
    beside = {"boxes": [[200, 200, 210, 210]], "scores": [0.9], "identities": ["ann"]}
    table = photos_table(
        ["one", "two", "none"],
        [beside, beside, naive.NO_DETECTION],
        [naive.ANN, naive.ANN_AND_BOB, naive.ANN_AND_BOB],
    )
    assert table["identity"].tolist() == ["ann", "", ""]
    assert table["correct"].tolist() == [True, False, False]
    assert table["iou"].tolist() == [0, 0, 0]


def test_photos_of_unknown_people_alone_are_not_in_the_accuracy():
    prediction = {"boxes": [[0, 0, 10, 10]], "scores": [0.9], "identities": ["ann"]}
    nobody = prediction | {"identities": [""]}
    unknown = naive.ANN | {"identities": [""]}
    # The detection lies on the first face, of an unknown person; ann stands beside.
    both = naive.ANN_AND_BOB | {"identities": ["", "ann"]}
    table = photos_table(
        ["known", "unknown", "unnamed", "missed", "both"],
        [prediction, prediction, nobody, naive.NO_DETECTION, prediction],
        [naive.ANN, unknown, unknown, unknown, both],
    )
    assert table["known"].tolist() == [True, False, False, False, True]
    assert table["correct"].tolist() == [True, False, False, False, False]
    assert table["correct"][table["known"]].mean() == 0.5


@given(st.integers(0, 2**32 - 1))
def test_tables_agree_with_each_other(seed):
    rng = np.random.default_rng(seed)
    arguments = naive.random_photos(rng, 4, people=("ann", "bob", ""))
    faces, photos = faces_table(*arguments), photos_table(*arguments)
    assert not (photos["correct"] & ~photos["known"]).any()
    assert photos["known"].tolist() == [
        (faces["identity"][faces["photo"] == photo] != "").any() for photo in photos["photo"]
    ]
    # A top-scoring detection on a face is the one that the photo's row is about.
    top = faces[faces["top"]].merge(photos, on="photo", suffixes=("", "_of_photo"))
    for column in ("identity", "predicted_identity", "score", "iou"):
        assert top[column].tolist() == top[f"{column}_of_photo"].tolist()
    assert len(top) == (photos["iou"] > 0).sum()
    assert (faces["found"] == (faces["iou"] > 0)).all()


def test_tables_keep_every_name_as_it_is():
    boxes = [[20 * at, 0, 20 * at + 10, 10] for at in range(len(naive.ODD_NAMES))]
    names = list(naive.ODD_NAMES)
    truth = {"boxes": boxes, "identities": names}
    prediction = truth | {"scores": np.linspace(0.9, 0.1, len(names))}
    faces = faces_table(["001"], [prediction], [truth])
    photos = photos_table(["NA"], [prediction], [truth])
    assert faces["identity"].tolist() == faces["predicted_identity"].tolist() == names
    assert photos.loc[0, ["photo", "identity"]].tolist() == ["NA", "001"]
    for table in (faces, photos):
        assert (table.dtypes[["photo", "identity", "predicted_identity"]] == "str").all()
        assert not table.isna().any(axis=None)
    assert jointly_correct(faces, 0.5).all()


def test_tables_of_nothing_have_their_columns_and_types():
    for build in (faces_table, photos_table):
        full, empty = build(["a"], [naive.NO_DETECTION], [naive.ANN]), build([], [], [])
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    without_face = {"boxes": [], "identities": []}
    assert len(faces_table(["a"], [naive.NO_DETECTION], [without_face])) == 0
    with pytest.raises(ValueError, match=r"^truths: photo 'a' has no face"):
        photos_table(["a"], [naive.NO_DETECTION], [without_face])


@pytest.mark.parametrize("build", [faces_table, photos_table])
def test_tables_refuse_what_does_not_fit(build):
    none, ann = naive.NO_DETECTION, naive.ANN
    with pytest.raises(ValueError, match=r"^predictions: 0 entries, but photos has 1"):
        build(["a"], [], [ann])
    with pytest.raises(ValueError, match=r"^truths: 2 entries, but photos has 1"):
        build(["a"], [none], [ann, ann])
    with pytest.raises(ValueError, match=r"^photos: 'a' is listed twice"):
        build(["a", "a"], [none] * 2, [ann] * 2)
    with pytest.raises(ValueError, match=r"^truths: photo 'a' has 1 boxes and 2 identities"):
        build(["a"], [none], [ann | {"identities": ["ann", "bob"]}])
    with pytest.raises(ValueError, match=r"^predictions: photo 'a' has 0 boxes and 1 identities"):
        build(["a"], [none | {"identities": ["ann"]}], [ann])
    with pytest.raises(ValueError, match=r"^photo 'a': boxes: box 0 is inverted"):
        build(["a"], [ann | {"boxes": [[1, 1, 0, 0]], "scores": [0.5]}], [ann])
    for wrong in (1, None, np.nan):
        with pytest.raises(ValueError, match=r"^truths: photo 'a' has an identity that is no text"):
            build(["a"], [none], [ann | {"identities": [wrong]}])


# jointly_correct


def test_jointly_correct_is_the_loop():
    people = ("ann", "bob", "cat", "")
    faces = faces_table(*naive.random_photos(np.random.default_rng(4), 300, people=people))
    for threshold in (0.1, 0.5, 0.75):
        expected = [
            face.identity == face.predicted_identity != "" and face.iou >= threshold
            for face in faces.itertuples()
        ]
        assert 0 < sum(expected) < len(faces)
        assert jointly_correct(faces, threshold).tolist() == expected


def test_jointly_correct_counts_an_iou_at_the_threshold():
    prediction = {"boxes": [[0, 0, 10, 5]], "scores": [0.9], "identities": ["ann"]}
    faces = faces_table(["a"], [prediction], [naive.ANN])
    assert jointly_correct(faces, 0.5).tolist() == [True]


def test_a_face_of_an_unknown_person_is_never_jointly_correct():
    faces = pd.DataFrame({"identity": ["", ""], "predicted_identity": ["", "ann"], "iou": 0.9})
    assert jointly_correct(faces, 0.5).tolist() == [False, False]


def test_jointly_correct_refuses_other_thresholds():
    faces = faces_table(["a"], [naive.NO_DETECTION], [naive.ANN])
    for threshold in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"^threshold: expected above 0 and at most 1"):
            jointly_correct(faces, threshold)
