"""Whole photos, open set: against loops, with misses, strangers and company."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from clusters import clusters
from conftest import face

from thesislib import seeds
from thesislib.data.schema import read_dataset
from thesislib.experiments.embedding_measures import enrolled
from thesislib.experiments.groups import Group
from thesislib.experiments.open_set import (
    _interval,
    faces_of_photos,
    open_set_detections,
    open_set_in_photos,
)
from thesislib.faces import Face
from thesislib.metrics import identification
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import NotSupportedError

TRUTH = np.array([5.0, 4, 25, 24])


def seen(boxes, vectors):
    """Faces as a net finds them, each with a lower score than the one before."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return [
        Face(np.array(box, np.float32), 0.9 - 0.1 * at, "", 0.5, unit[at].astype(np.float32))
        for at, box in enumerate(boxes)
    ]


def looked_at(folder_of, people):
    """People of four photos each, what a net finds in them, and who is enrolled.

    In every third photo there is a second detection, in two photos none.
    """
    rows = [face(f"p{who}_{at}.png", f"p{who:02}") for who in range(people) for at in range(4)]
    group = Group.of(read_dataset(folder_of(rows)))
    vectors, _ = clusters(people=people, photos=4, spread=0.5)
    rng = np.random.default_rng(2)
    found = []
    for at, vector in enumerate(vectors):
        boxes = [[5, 4, 25, 24], [28, 6, 44, 22]] if at % 3 == 0 else [[6, 5, 26, 24]]
        boxes = [] if at in (7, 14) else boxes
        found.append(seen(boxes, np.stack([vector, rng.normal(size=8)])))
    return group, found, enrolled(group.identities, group.sessions, seed=0)


def test_detections_against_loops(write_dataset):
    group, found, gallery = looked_at(write_dataset, 6)
    table = open_set_detections(group, found, gallery)
    names = group.identities
    wanted = []
    for at in range(24):
        if gallery[at]:
            continue
        for detection in found[at]:
            best, who = -2.0, ""
            for other in range(24):
                if gallery[other] and found[other]:
                    cosine = float(found[other][0].embedding @ detection.embedding)
                    if cosine > best:
                        best, who = cosine, names[other]
            iou = box_iou(detection.box[None], TRUTH[None])[0, 0]
            known = names[at] in set(names[gallery]) and iou >= 0.5
            wanted.append((best, who, iou, names[at] if known else "", names[at]))
    assert len(table) == len(wanted) > 12
    for row, (score, who, iou, identity, unit) in zip(table.itertuples(), wanted, strict=True):
        assert row.score == pytest.approx(score, abs=1e-6)
        assert (row.predicted_identity, row.identity, row.unit) == (who, identity, unit)
        assert row.iou == pytest.approx(iou, abs=1e-6)


def test_a_missed_face_counts_against_the_rate(write_dataset):
    with pytest.raises(NotSupportedError, match="6 probes of enrolled people"):
        open_set_in_photos(*looked_at(lambda rows: write_dataset(rows, "few"), 6), 0, 10)
    group, found, gallery = looked_at(write_dataset, 12)
    numbers, curve = open_set_in_photos(group, found, gallery, seed=0, draws=10)
    assert numbers.empty  # 36 probes cannot tell 0.1 false positives per photo
    known = np.isin(group.identities, group.identities[gallery]) & ~gallery
    detections = open_set_detections(group, found, gallery)
    right = (detections["identity"] != "") & (
        detections["identity"] == detections["predicted_identity"]
    )
    blind = [[] if at in np.flatnonzero(known)[:2] else one for at, one in enumerate(found)]
    _, lower = open_set_in_photos(group, blind, gallery, seed=0, draws=10)
    assert curve["y"].max() == pytest.approx(right.sum() / known.sum())
    assert lower["y"].max() < curve["y"].max()
    assert curve["supported"].iloc[0] == 10 / (~gallery).sum()


def test_known_people_taken_for_another_are_told_apart(write_dataset):
    group, found, gallery = looked_at(write_dataset, 48)
    vectors, _ = clusters(people=48, photos=4, spread=1.5)
    found = [
        seen([one.box for one in faces], vectors[at : at + 1].repeat(2, axis=0))
        for at, faces in enumerate(found)
    ]
    numbers, _ = open_set_in_photos(group, found, gallery, seed=0, draws=30)
    numbers = numbers.set_index("metric")
    detections = open_set_detections(group, found, gallery)
    known = np.isin(group.identities, group.identities[gallery]) & ~gallery
    point = identification.tpir_at_fpipi(
        identification.joint_open_set(detections, known.sum(), (~gallery).sum()), 0.1
    )
    row = numbers.loc["taken_for_another_at_fpipi_1e1"]
    assert row["value"] == point.taken_for_another > 0
    assert row["low"] <= row["value"] <= row["high"]
    assert numbers.loc["tpir_at_fpipi_1e1", "value"] == point.tpir
    assert (numbers["achieved"] == point.fpipi).all()
    assert (numbers["trials"] == 144).all()
    without = open_set_in_photos(group, found, gallery, seed=0, draws=0)[0]
    assert without[["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("decimals", [1, 6])
def test_intervals_are_those_of_samples_that_hold_copies(write_dataset, decimals):
    """Rounded to a decimal, many scores tie."""
    group, found, gallery = looked_at(write_dataset, 24)
    vectors, _ = clusters(people=24, photos=4, spread=1.5)
    found = [
        seen([one.box for one in faces], vectors[at : at + 1].repeat(2, axis=0))
        for at, faces in enumerate(found)
    ]
    detections = open_set_detections(group, found, gallery).round({"score": decimals})
    faces = faces_of_photos(group, gallery)
    probes = faces[faces["probe"]].groupby("photo", sort=False)
    probes = probes.agg(unit=("unit", "first"), known=("known", "sum"))
    units = probes["unit"].unique()
    rng, values = seeds.generator(3, "joint open set"), []
    for _ in range(40):
        parts, known, photos = [], 0, 0
        for copy, unit in enumerate(rng.choice(units, len(units))):
            own = detections[detections["unit"] == unit]
            parts.append(own.assign(photo=f"{copy} " + own["photo"]))
            known += probes["known"][probes["unit"] == unit].sum()
            photos += (probes["unit"] == unit).sum()
        curve = identification.joint_open_set(pd.concat(parts), known, photos)
        point = identification.tpir_at_fpipi(curve, 0.1, min_expected_errors=0)
        values.append((point.tpir, point.taken_for_another))
    value = np.mean(values, axis=0)  # so that nothing is shifted
    expected = np.quantile(values, [0.025, 0.975], axis=0)
    assert (expected[1] > expected[0]).all()
    ends = _interval(detections, probes, value, seed=3, draws=40)
    np.testing.assert_allclose(ends, expected, atol=1e-12)


def test_a_gallery_without_a_found_face_says_so(write_dataset):
    group, found, gallery = looked_at(write_dataset, 6)
    with pytest.raises(NotSupportedError, match="finds no face to enrol"):
        open_set_detections(group, [[] for _ in found], gallery)


# --- several faces per photo ------------------------------------------------------------------


@pytest.fixture
def company(write_dataset):
    """Ann (001) is enrolled from the first photo; in the third she stands beside a stranger."""
    left, right = (5, 4, 25, 24), (27, 4, 47, 24)
    rows = [
        face("0.png", "001", left, "1"),
        face("0.png", "NA", right, "1"),
        face("1.png", "Анна Ким", left, "1"),
        face("2.png", "001", left, "2"),
        face("2.png", "", right, "2"),
        face("3.png", "NA", left, "2"),
        face("3.png", "Анна Ким", right, "2"),
        face("4.png", "001", right, "2"),
    ]
    group = Group.of(read_dataset(write_dataset(rows)))
    gallery = np.array([True, False, False, False, False, False, False])
    axis = np.eye(4)
    found = [
        seen([left, right], axis[[0, 1]]),
        seen([left], axis[[2]]),
        seen([right, left], np.stack([axis[3], axis[0] + 0.1 * axis[1]])),
        seen([left, right], axis[[1, 2]] + 0.2 * axis[0]),
        seen([right], axis[[0]]),
    ]
    return group, found, gallery


def test_who_is_known_and_who_is_a_probe_in_company(company):
    group, _, gallery = company
    faces = faces_of_photos(group, gallery)
    assert faces["enrolled"].tolist() == [True] + [False] * 7
    assert faces["known"].tolist() == [name == "001" for name in faces["identity"]]
    assert faces["probe"].tolist() == [False, False] + [True] * 6
    # A photo of two known people is drawn by itself: it is nobody's alone.
    assert faces["unit"].tolist() == [
        "photo 0.png", "photo 0.png", "Анна Ким", "001", "001", "photo 3.png", "photo 3.png", "001",
    ]  # fmt: skip


def test_every_face_of_a_photo_is_matched_to_its_own(company):
    group, found, gallery = company
    table = open_set_detections(group, found, gallery)
    assert (table["predicted_identity"] == "001").all()
    assert table["photo"].tolist() == ["1.png", "2.png", "2.png", "3.png", "3.png", "4.png"]
    assert table["identity"].tolist() == ["", "", "001", "", "", "001"]
    assert table["iou"].tolist() == [1.0] * 6
    wanted = [0, 0, 1 / np.hypot(1, 0.1), 0.2 / np.hypot(1, 0.2), 0.2 / np.hypot(1, 0.2), 1]
    assert table["score"].tolist() == pytest.approx(wanted, abs=1e-6)


def test_in_company_known_faces_are_counted_not_photos(company, write_dataset):
    """Ten times the same, as other people: ten times two known faces in four photos."""
    group, found, gallery = company
    rows, many = [], []
    for copy in range(10):
        for _, row in group.dataset.table.iterrows():
            name = f"{copy} {row['identity']}" if row["identity"] else ""
            rows.append(row.to_dict() | {"photo": f"{copy}_{row['photo']}", "identity": name})
        turned = np.eye(40)[4 * copy : 4 * copy + 4]
        many += [
            [dataclasses.replace(one, embedding=one.embedding @ turned) for one in faces]
            for faces in found
        ]
    rows = pd.DataFrame(rows)
    group = Group.of(read_dataset(write_dataset(rows.to_dict("records"), "many")))
    numbers, curve = open_set_in_photos(group, many, np.tile(gallery, 10), seed=0, draws=5)
    assert numbers.empty and curve["y"].max() == 1  # 40 photos are too few for 0.1 per photo
    blind = [faces if at % 5 != 4 else [] for at, faces in enumerate(many)]
    _, curve = open_set_in_photos(group, blind, np.tile(gallery, 10), seed=0, draws=5)
    assert curve["y"].max() == 0.5
