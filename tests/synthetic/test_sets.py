"""Datasets of synthetic people on disk: what they hold, and that making them can be interrupted."""

import dataclasses
import itertools
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thesislib import storage
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.schema import read_dataset
from thesislib.synthetic import parameters, scene, spec, worker
from thesislib.synthetic.parameters import FAMILIES, FAMILY
from thesislib.synthetic.sets import SETS, make
from thesislib.synthetic.spec import SyntheticSet

SMALL = SyntheticSet(people=2, photos=9, sessions=2, size=48, seed=3)
CROWD = SyntheticSet(people=5, photos=5, sessions=0, size=32, seed=34)


def quietly(folder, of, workers=1):
    """The table of a set that is made, or finished, in a folder."""
    make(folder, of, workers=workers, progress=False)
    return read_dataset(folder).table


def bytes_of(folder):
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != storage.LOCK]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    quietly(folder, SMALL)
    return folder


SCRIPT = """
print("once")
from thesislib.synthetic.sets import make
from thesislib.synthetic.spec import SyntheticSet
from thesislib.synthetic.worker import DrawingPool, is_whole_jpeg

make("set", {of}, workers=2, progress=False)
with DrawingPool(1) as pool:
    pool.submit(is_whole_jpeg, "set").result()
    print(*sorted(pool.submit(eval, "__import__('sys').modules.keys() & {modules}").result()))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Folder where a script without a guard asked for workers, and what it printed."""
    folder = tmp_path_factory.mktemp("script")
    modules = {"thesislib.synthetic.worker", "pandas", "pandera", "torchvision", "matplotlib"}
    (folder / "script.py").write_text(SCRIPT.format(of=SMALL, modules=modules))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    return folder, done.stdout.splitlines()


def test_same_bytes_whatever_the_number_of_workers(script, small_folder):
    folder, _ = script
    assert bytes_of(folder / "set") == bytes_of(small_folder)


def test_workers_import_neither_the_script_nor_what_drawing_does_not_need(script):
    _, printed = script
    assert printed == ["once", "thesislib.synthetic.worker"]


def test_folder_holds_what_the_annotations_say(small_folder):
    table = read_dataset(small_folder).table
    assert len(table) == 9
    assert table.photo[0] == "photos/p0000/s1_01.jpg"
    assert dict(table.groupby("identity").size()) == {"p0000": 5, "p0001": 4}
    assert set(table.session) == {"s1", "s2"}
    for row in table.itertuples():
        with Image.open(small_folder / row.photo) as image:
            assert image.size == (row.width, row.height) == (64, 48)
    assert table[LANDMARKS].notna().all(axis=None)
    assert {"factor_yaw", "factor_light_azimuth", "factor_occlusion"} <= set(table.columns)
    photo, (face,) = scene.render_photo(1, 0, 1, seed=3, size=48)
    row = table[table.photo == "photos/p0001/s1_02.jpg"].iloc[0]
    np.testing.assert_allclose(row[BOX].astype(float), face.box, atol=0.06)
    np.testing.assert_allclose(row[LANDMARKS].astype(float), face.landmarks.ravel(), atol=0.06)
    assert row.factor_yaw == pytest.approx(face.factors["yaw"], abs=1e-4)
    with Image.open(small_folder / row.photo) as image:
        assert np.abs(np.array(image).astype(int) - photo).mean() < 4  # but for JPEG


def test_a_crowd_has_known_people_strangers_and_photos_of_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(scene, "draw", lambda of: np.zeros((*of.shape, 3), np.uint8))
    table = quietly(tmp_path, dataclasses.replace(CROWD, photos=20, seed=6))
    assert table.photo.nunique() == 20
    assert set(table.identity) - {""} <= {f"p{i:04d}" for i in range(5)}
    assert ((table.identity == "") & table.x1.notna()).any()
    empty = table[table.x1.isna()]
    assert len(empty) and (empty.identity == "").all() and empty[LANDMARKS].isna().all(axis=None)
    assert table.groupby("photo").size().max() > 10


def test_first_identity_names_other_people(tmp_path, small_folder):
    table = quietly(tmp_path, dataclasses.replace(SMALL, people=1, photos=4, first_identity=1))
    assert set(table.identity) == {"p0001"}
    for name in table.photo:
        assert (tmp_path / name).read_bytes() == (small_folder / name).read_bytes()


@pytest.mark.parametrize("of", [SMALL, CROWD], ids=["portraits", "scenes"])
def test_resumes_to_identical_bytes(tmp_path, of):
    names = quietly(tmp_path, of).photo.unique()
    whole = bytes_of(tmp_path)
    (tmp_path / names[1]).unlink()
    cut = tmp_path / names[-2]
    cut.write_bytes(cut.read_bytes()[:200])
    kept = tmp_path / names[-1]
    written = kept.stat().st_mtime_ns
    (tmp_path / "annotations.csv").unlink()
    quietly(tmp_path, of)
    assert bytes_of(tmp_path) == whole
    assert kept.stat().st_mtime_ns == written


def test_an_error_while_drawing_leaves_no_annotations_and_can_be_resumed(
    tmp_path, small_folder, monkeypatch
):
    drawn = []

    def breaks(composition):
        if len(drawn) == 3:
            raise OSError("disk is full")
        drawn.append(composition)
        return whole(composition)

    whole = scene.draw
    monkeypatch.setattr(scene, "draw", breaks)
    with pytest.raises(OSError, match="disk is full"):
        make(tmp_path, SMALL, workers=1, progress=False)
    assert len(list(tmp_path.rglob("*.jpg"))) == 3
    assert not (tmp_path / "annotations.csv").exists()
    monkeypatch.undo()
    quietly(tmp_path, SMALL)
    assert bytes_of(tmp_path) == bytes_of(small_folder)


def test_whole_folder_draws_nothing(small_folder, monkeypatch):
    def no_drawing(*_, **__):
        raise AssertionError("drew a photo that was there")

    monkeypatch.setattr(scene, "draw", no_drawing)
    before = bytes_of(small_folder)
    assert len(quietly(small_folder, SMALL)) == 9
    assert bytes_of(small_folder) == before


def test_folder_of_other_parameters_is_refused_untouched(small_folder):
    before = bytes_of(small_folder)
    with pytest.raises(ValueError, match="seed is 3 there and 4 here") as error:
        make(small_folder, dataclasses.replace(SMALL, seed=4), progress=False)
    assert str(small_folder) in str(error.value)
    assert bytes_of(small_folder) == before


def test_folder_of_another_version_is_refused(tmp_path):
    record = {**dataclasses.asdict(SMALL), "version": parameters.VERSION - 1}
    (tmp_path / "synthetic.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="version is 3 there and 4 here"):
        make(tmp_path, SMALL, progress=False)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"people"'])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(ValueError, match=r"synthetic\.json: not a record of synthetic people"):
        make(tmp_path, SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic.json"]


@pytest.mark.parametrize("name", ["photos", "annotations.csv"])
def test_folder_of_something_else_is_refused_untouched(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"no synthetic\.json"):
        make(tmp_path, SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_one_run_a_folder(tmp_path):
    with storage.folder_lock(tmp_path), pytest.raises(storage.FolderInUseError):
        make(tmp_path, SMALL, progress=False)


def test_a_run_may_wait_for_another(tmp_path):
    with ThreadPoolExecutor() as pool:
        with storage.folder_lock(tmp_path):
            waiting = pool.submit(make, tmp_path, SMALL, workers=1, progress=False, wait=True)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        waiting.result()
    assert len(read_dataset(tmp_path).photos) == SMALL.photos


def test_a_folder_that_is_whole_is_not_written_to(small_folder, monkeypatch):
    def never(*_):
        raise AssertionError("written to")

    monkeypatch.setattr(storage, "folder_lock", never)
    monkeypatch.setattr(storage, "atomic_write", never)
    make(small_folder, SMALL, progress=False)


def test_parameters_are_recorded_and_nobody_real_is_shown(small_folder):
    record = json.loads((small_folder / "synthetic.json").read_text())
    assert record == {**dataclasses.asdict(SMALL), "version": parameters.VERSION}
    assert not read_dataset(small_folder).private


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("people", 0),
        ("photos", 0),
        ("sessions", -1),
        ("size", 16),
        ("seed", -1),
        ("first_identity", -1),
    ],
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        dataclasses.replace(SMALL, **{name: value})


def test_fewer_photos_than_sessions_are_refused():
    with pytest.raises(ValueError, match="3 photos are too few for 2 people with 2 sessions each"):
        dataclasses.replace(SMALL, photos=3)


def test_cameras_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="camera 'film' is unknown"):
        dataclasses.replace(SMALL, camera="film")
    with pytest.raises(ValueError, match="scenes are taken by camera, not by phone"):
        dataclasses.replace(CROWD, camera="phone")


def test_strangers_scenes_cannot_meet_the_people_of_a_set():
    with pytest.raises(ValueError, match="identities end before"):
        dataclasses.replace(SMALL, first_identity=parameters.SCENE_PLACES)


@given(st.integers(0, 500), st.integers(1, 60))
def test_shares_are_even_and_complete(total, parts):
    shares = spec.shares(total, parts)
    assert len(shares) == parts and sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 60), st.integers(0, 99))
def test_every_person_and_session_gets_an_even_share_of_the_photos(people, sessions, more, first):
    photos = people * sessions + more
    of = SyntheticSet(people, photos, sessions, first_identity=first)
    tasks = of.tasks()
    numbers = list(itertools.chain(*tasks))
    assert len(set(map(spec.photo_name, numbers))) == len(numbers) == photos
    assert {identity for identity, _, _ in numbers} == set(range(first, first + people))
    per_person = Counter(identity for identity, _, _ in numbers).values()
    assert max(per_person) - min(per_person) <= 1
    per_session = Counter(task[0][:2] for task in tasks)
    assert set(per_session.values()) == {1} and len(per_session) == people * sessions
    assert [[shot for *_, shot in task] for task in tasks] == [[*range(len(t))] for t in tasks]


@given(st.integers(1, 100))
def test_every_scene_is_drawn_once(photos):
    of = SyntheticSet(people=3, photos=photos, sessions=0)
    assert list(itertools.chain(*of.tasks())) == [(scene,) for scene in range(photos)]


def test_names_of_people_sessions_and_photos():
    assert spec.identity_name(7) == "p0007" and spec.identity_name(3_000_000) == "p3000000"
    assert spec.session_name((7, 0, 4)) == "s1" and spec.session_name((12,)) == "scene_00012"
    assert spec.photo_name((7, 0, 4)) == "photos/p0007/s1_05.jpg"
    assert spec.photo_name((12,)) == "photos/scene_00012.jpg"


def test_sets_are_what_their_names_say():
    thesis = SETS["thesis"]
    assert (thesis.people, thesis.photos) == (285, 3277 + 651)
    per_person = Counter(task[0][0] for task in thesis.tasks() for _ in task)
    assert set(per_person.values()) == {13, 14}
    assert SETS["quick"].people >= 20
    assert SETS["crowd"].sessions == 0
    ranges = {name: set(of.identities) for name, of in SETS.items()}
    # These three are alike in the first people of one seed; all others share nobody.
    for name in ("smoke", "thesis", "crowd"):
        assert ranges["quick"] & ranges.pop(name)
    # The same people, by themselves and together: whole families.
    assert ranges["families"] == ranges.pop("parties") and SETS["parties"].sessions == 0
    assert SETS["families"].first_identity == FAMILIES and SETS["families"].people % FAMILY == 0
    for one, other in itertools.combinations(ranges.values(), 2):
        assert not one & other


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8 cut", b"no JPEG \xff\xd9"])
def test_half_a_jpeg_is_not_whole(tmp_path, content):
    assert not worker.is_whole_jpeg(tmp_path / "absent.jpg")
    (tmp_path / "photo.jpg").write_bytes(content)
    assert not worker.is_whole_jpeg(tmp_path / "photo.jpg")
