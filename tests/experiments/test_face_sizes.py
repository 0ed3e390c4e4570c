"""Small faces: pictures, pairs and shares against loops, and a run that reads itself again."""

import numpy as np
import pandas as pd
import pytest
from conftest import face
from PIL import Image

from thesislib import paths, tables
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.deploy.closer_look import CloserLook
from thesislib.engine.checkpoint import save_net
from thesislib.engine.distil import new_student
from thesislib.experiments import face_sizes as module
from thesislib.experiments.face_sizes import face_at, measured, pairs_of, run, shrunk
from thesislib.faces import Face
from thesislib.models.joint import JointNet
from thesislib.profiles import PROFILES


@pytest.fixture
def folder(write_dataset):
    rows = [face(f"{who}{at}.png", who) for who in "abcdefghijkl" for at in (1, 2)]
    return write_dataset([*rows, face("alone.png", "m"), face("nobody.png", "")])


def test_a_face_gets_the_size_asked_for_in_the_middle():
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[10:30, 20:40] = 255
    picture, box = shrunk(photo, np.array([20.0, 10, 40, 30]), 10, 100)
    assert picture.shape == (100, 100, 3)
    np.testing.assert_allclose(box, [45, 45, 55, 55])
    assert picture[50, 50, 0] == 255 and (picture[0] == 127).all()
    assert (picture[50, 36:43] < 5).all()  # the photo's black, left of the face
    photo = np.zeros((70, 100, 3), np.uint8)
    photo[2:12, 2:12] = 255
    picture, box = shrunk(photo, np.array([2.0, 2, 12, 12]), 10, 48)
    np.testing.assert_allclose(box, [19, 19, 29, 29])  # of a face in a corner, too
    assert (picture[20:28, 20:28] == 255).all()


def test_pairs_are_two_photos_of_a_person(folder):
    pairs = pairs_of(read_dataset(folder), 11, seed=1)
    assert len(pairs) == 11
    for pair in pairs:
        assert pair.reference[0] == pair.probe[0] and pair.reference != pair.probe
    told = [(one.reference, one.probe) for one in pairs]
    for seed in (1, 2):
        again = pairs_of(read_dataset(folder), 11, seed)
        assert ([(one.reference, one.probe) for one in again] == told) is (seed == 1)


def test_of_a_photo_of_two_each_has_their_own_box(write_dataset):
    rows = []
    for who in "abcdefghij":
        rows += [face(f"{who}{at}.png", who, (1, 1, 9, 9)) for at in (1, 2)]
        rows += [face(f"{who}{at}.png", f"{who}{who}", (21, 1, 29, 9)) for at in (1, 2)]
    for pair in pairs_of(read_dataset(write_dataset(rows)), 20, seed=0):
        assert pair.box[0] == pair.reference_box[0] and pair.box[0] in (1, 21)
    lefts = [pair.box[0] for pair in pairs_of(read_dataset(write_dataset(rows)), 20, seed=0)]
    assert sorted(lefts) == [1] * 10 + [21] * 10


def test_too_few_people(write_dataset):
    few = write_dataset([face("a1.png", "a"), face("a2.png", "a")])
    with pytest.raises(DatasetError, match="1 people have two photos, and at least 10"):
        pairs_of(read_dataset(few), 10, seed=0)


def test_the_face_is_the_one_in_the_box():
    here, beside = (
        Face(np.float32(box), 0.9, embedding=np.float32([at]))
        for at, box in enumerate(([10, 10, 30, 30], [40, 10, 60, 30]))
    )
    assert face_at([beside, here], np.array([12.0, 8, 32, 28])) == [0]
    assert face_at([beside], np.array([12.0, 8, 32, 28])) is None
    assert face_at([], np.array([12.0, 8, 32, 28])) is None


def test_shares_against_a_loop():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(12, 4))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    probes = [None if at % 5 == 3 else one for at, one in enumerate(rng.permutation(known))]
    told = measured(np.float32(known), probes, 0.4)
    for at, probe in enumerate(probes):
        assert told["found"][at] == (probe is not None)
        if probe is None:
            assert told["known_again"][at] == 0 and np.isnan(told["strangers"][at])
            continue
        over = [float(np.float32(known[other]) @ probe) >= 0.4 for other in range(12)]
        assert told["known_again"][at] == over[at]
        others = [yes for other, yes in enumerate(over) if other != at]
        assert told["strangers"][at] == pytest.approx(sum(others) / 11)


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A net that finds what is not grey, and tells by its brightness who it is."""

    def predict_arrays(self, photos, score_threshold=0.5):
        answers = []
        for photo in photos:
            rows, columns = np.nonzero(np.abs(photo[:, :, 0].astype(int) - 127) > 20)
            if not len(rows):
                answers.append([])
                continue
            box = np.float32([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            vector = np.zeros(128, np.float32)
            vector[int(photo[rows[0], columns[0], 1]) % 128] = 1
            answers.append([Face(box, 0.9, embedding=vector)])
        return answers

    monkeypatch.setattr(JointNet, "predict_arrays", predict_arrays)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    folder = tmp_path / "net"
    save_net(folder, new_student(PROFILES["default"], 0))
    return folder


def test_a_run_and_the_same_again(folder, net, monkeypatch, tmp_path):
    for photo in folder.glob("*.png"):  # everybody has a colour
        shade = 5 * (ord(photo.name[0]) - ord("a")) + 160
        Image.fromarray(np.full((32, 48, 3), shade, np.uint8)).save(photo)
    table = run(folder, net, sizes=(20, 40), people=10, progress=False)
    assert table["size_px"].unique().tolist() == [20, 40]
    assert set(table["reading"]) == {"once", "closer"}
    value = table.set_index(["size_px", "reading", "measure"])["value"]
    assert (value.xs("found", level="measure") == 1).all()
    assert (value.xs("known_again", level="measure") == 1).all()
    assert (value.xs("strangers", level="measure") == 0).all()
    stored = tables.read_table(tmp_path / "tables" / module.TABLE)
    assert len(stored) == len(table) == 12 and (stored["profile"] == "smoke").all()
    assert (stored["system"] == "net").all()
    told = "python -m thesislib face-sizes --data people --net net --people 10"
    assert (stored["command"] == told).all()

    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(JointNet, "predict_arrays", never)
    monkeypatch.setattr(CloserLook, "predict_arrays", never)
    again = run(folder, net, sizes=(20, 40), people=10, progress=False)
    pd.testing.assert_frame_equal(again, table)
