import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thesislib import storage
from thesislib.data.columns import LANDMARKS
from thesislib.data.schema import read_dataset
from thesislib.synthetic import parameters, scene, sets
from thesislib.synthetic.drawing import SyntheticSet
from thesislib.synthetic.sets import SETS, make

SMALL = SyntheticSet(people=2, photos=9, sessions=2, size=64, seed=3)
CROWD = SyntheticSet(people=5, photos=6, sessions=0, size=64, seed=3)


def quietly(folder, spec, workers=1):
    return make(folder, spec, workers=workers, progress=False)


def bytes_of(folder):
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    quietly(folder, SMALL)
    return folder


@pytest.mark.parametrize("spec", [SMALL, CROWD])
def test_same_bytes_whatever_the_number_of_workers(tmp_path, spec):
    quietly(tmp_path / "one", spec)
    quietly(tmp_path / "two", spec, workers=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_folder_holds_what_the_annotations_say(small_folder):
    table = read_dataset(small_folder).table
    assert len(table) == 9
    assert table.photo[0] == "photos/p0000/s1_01.jpg"
    assert dict(table.groupby("identity").size()) == {"p0000": 5, "p0001": 4}
    assert set(table.session) == {"s1", "s2"}
    for row in table.itertuples():
        with Image.open(small_folder / row.photo) as image:
            assert image.size == (row.width, row.height) == (85, 64)
    assert table[LANDMARKS].notna().all(axis=None)
    assert {"factor_yaw", "factor_light_azimuth", "factor_occlusion"} <= set(table.columns)
    _, faces = scene.render_photo(1, 0, 1, seed=3, size=64)
    row = table[table.photo == "photos/p0001/s1_02.jpg"].iloc[0]
    np.testing.assert_allclose(
        row[["x1", "y1", "x2", "y2"]].astype(float), faces[0]["box"], atol=0.06
    )
    assert row.factor_yaw == pytest.approx(faces[0]["factors"]["yaw"], abs=1e-3)


def test_a_crowd_has_known_people_strangers_and_photos_of_nobody(tmp_path):
    spec = dataclasses.replace(CROWD, photos=20, size=32, seed=6)
    table = quietly(tmp_path, spec)
    read = read_dataset(tmp_path).table
    assert table.photo.nunique() == 20
    assert set(read.identity) - {""} <= {f"p{i:04d}" for i in range(5)}
    assert ((read.identity == "") & read.x1.notna()).any()
    empty = read[read.x1.isna()]
    assert len(empty) and (empty.identity == "").all() and empty[LANDMARKS].isna().all(axis=None)
    assert read.groupby("photo").size().max() > 10


def test_first_identity_names_other_people(tmp_path, small_folder):
    spec = dataclasses.replace(SMALL, people=1, photos=4, first_identity=1)
    table = quietly(tmp_path, spec)
    assert set(table.identity) == {"p0001"}
    for name in table.photo:
        assert (tmp_path / name).read_bytes() == (small_folder / name).read_bytes()


@pytest.mark.parametrize("spec", [SMALL, CROWD])
def test_resumes_to_identical_bytes(tmp_path, spec):
    table = quietly(tmp_path, spec)
    whole = bytes_of(tmp_path)
    names = table.photo.unique()
    (tmp_path / names[1]).unlink()
    cut = tmp_path / names[-2]
    cut.write_bytes(cut.read_bytes()[:200])
    kept = tmp_path / names[-1]
    written = kept.stat().st_mtime_ns
    (tmp_path / "annotations.csv").unlink()
    quietly(tmp_path, spec)
    assert bytes_of(tmp_path) == whole
    assert kept.stat().st_mtime_ns == written


def test_whole_folder_draws_nothing(small_folder, monkeypatch):
    def no_drawing(*_, **__):
        raise AssertionError("drew a photo that was there")

    monkeypatch.setattr(synthetic, "render_photo", no_drawing)
    before = bytes_of(small_folder)
    assert len(quietly(small_folder, SMALL)) == 9
    assert bytes_of(small_folder) == before


def test_folder_of_other_parameters_is_refused_untouched(tmp_path):
    spec = SyntheticSet(people=1, photos=1, sessions=1, size=64, seed=3)
    quietly(tmp_path, spec)
    before = bytes_of(tmp_path)
    with pytest.raises(ValueError, match="seed is 3 there and 4 here") as error:
        quietly(tmp_path, dataclasses.replace(spec, seed=4))
    assert str(tmp_path) in str(error.value)
    assert bytes_of(tmp_path) == before


def test_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"no synthetic\.json"):
        quietly(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_one_run_a_folder(tmp_path):
    with storage.folder_lock(tmp_path), pytest.raises(storage.FolderInUseError):
        quietly(tmp_path, SMALL)


@pytest.mark.parametrize(
    "name, value",
    [("people", 0), ("photos", 0), ("sessions", -1), ("size", 16), ("seed", -1)],
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        dataclasses.replace(SMALL, **{name: value})


def test_fewer_photos_than_sittings_are_refused():
    with pytest.raises(ValueError, match="3 photos are too few for 2 people with 2 sessions each"):
        dataclasses.replace(SMALL, photos=3)


def test_strangers_scenes_cannot_meet_the_people_of_a_set():
    with pytest.raises(ValueError, match="identities end before"):
        dataclasses.replace(SMALL, first_identity=parameters.SCENE_PLACES)


def test_parameters_are_recorded(small_folder):
    record = json.loads((small_folder / "synthetic.json").read_text())
    assert record == {**dataclasses.asdict(SMALL), "version": parameters.VERSION}


def test_sets_are_what_their_names_say():
    thesis = SETS["thesis"]
    assert (thesis.people, thesis.photos) == (285, 3277 + 651)
    keys = [key for task in sets._tasks(thesis) for key in task]
    assert len(set(keys)) == len(keys) == thesis.photos
    per_person = pd.Series([key[0] for key in keys]).value_counts()
    assert set(per_person) == {13, 14}
    assert SETS["quick"].people >= 20
    assert SETS["crowd"].sessions == 0
    ranges = {
        name: range(spec.first_identity, spec.first_identity + spec.people)
        for name, spec in SETS.items()
    }
    strangers = ranges.pop("strangers")
    assert not any(set(strangers) & set(others) for others in ranges.values())


def test_a_script_without_a_guard_may_ask_for_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from thesislib.synthetic.drawing import SyntheticSet, make\n"
        "make('set', SyntheticSet(2, 4, 1, 32), workers=2, progress=False)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["once"]
    assert len(list((tmp_path / "set" / "photos").rglob("*.jpg"))) == 4
