import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from thesislib import storage
from thesislib.data import synthetic

SMALL = {"people": 2, "sessions": 2, "photos_per_session": 2, "size": 64, "seed": 3}


def bytes_of(folder):
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic.make(folder, **SMALL, workers=1, progress=False)
    return folder


def test_same_bytes_whatever_the_number_of_workers(small_folder, tmp_path):
    synthetic.make(tmp_path, **SMALL, workers=2, progress=False)
    assert bytes_of(tmp_path) == bytes_of(small_folder)


def test_same_pixels_whatever_was_drawn_before_and_on_however_many_threads():
    first, _, _ = synthetic.render_photo(5, 1, 2, seed=1, size=64)
    synthetic.render_photo(6, 0, 0, seed=1, size=96)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    again, _, _ = synthetic.render_photo(5, 1, 2, seed=1, size=64)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    other_seed, _, _ = synthetic.render_photo(5, 1, 2, seed=2, size=64)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other_seed).mean() > 3


def test_folder_holds_what_the_annotations_say(small_folder):
    table = pd.read_csv(small_folder / "annotations.csv")
    columns = ["photo", "identity", "session", "width", "height", "x1", "y1", "x2", "y2"]
    assert list(table.columns) == columns
    assert len(table) == 8
    assert table.photo[0] == "photos/p0000/s1_01.jpg"
    assert set(table.identity) == {"p0000", "p0001"}
    assert set(table.session) == {"s1", "s2"}
    for row in table.itertuples():
        with Image.open(small_folder / row.photo) as image:
            assert image.size == (row.width, row.height) == (85, 64)
        assert 0 <= row.x1 < row.x2 <= row.width
        assert 0 <= row.y1 < row.y2 <= row.height
    factors = pd.read_csv(small_folder / "factors.csv")
    assert list(factors.photo) == list(table.photo)
    assert {"yaw", "pitch", "roll", "light_azimuth", "light_elevation"} <= set(factors.columns)


def test_first_identity_names_other_people(tmp_path, small_folder):
    settings = {**SMALL, "people": 1, "first_identity": 1}
    table = synthetic.make(tmp_path, **settings, workers=1, progress=False)
    assert set(table.identity) == {"p0001"}
    for name in table.photo:
        assert (tmp_path / name).read_bytes() == (small_folder / name).read_bytes()


@pytest.mark.parametrize("identity", range(8))
def test_box_is_that_of_the_face_rays_meet(identity):
    """The box comes from projected points; here rays are traced to the hairless head instead."""
    view = synthetic._view(identity, 0, identity, seed=0, size=240)
    person, shot = view["person"], view["shot"]
    layout = synthetic._Layout(synthetic._grid_directions(), person, shot)
    hit = synthetic._trace_head(view, synthetic._skin_radius(layout)[None, None])
    direction = torch.stack([hit["x"], hit["y"], hit["z"]]) / hit["length"]
    face = hit["index"][synthetic._in_face(synthetic._Layout(direction, person, shot))].numpy()
    row, column = np.divmod(face, view["width"] * synthetic._SUPERSAMPLE)
    low, high = np.array([column.min(), row.min()]), np.array([column.max() + 1, row.max() + 1])
    seen = np.concatenate([low, high]) / synthetic._SUPERSAMPLE
    np.testing.assert_allclose(view["box"], seen, atol=2.5)


@pytest.mark.parametrize("identity", range(30))
def test_box_lies_inside_the_photo_unclipped(identity):
    for shot in range(4):
        view = synthetic._view(identity, shot % 3, shot, seed=7, size=160)
        x1, y1, x2, y2 = view["box"]
        assert 0 < x1 < x2 < view["width"]
        assert 0 < y1 < y2 < view["height"]
        assert 0.18 * 160 < x2 - x1 < 0.62 * 160


def test_identity_depends_on_its_number_and_the_seed_alone():
    before = synthetic.identity_parameters(4, seed=0)
    synthetic.render_photo(4, 2, 9, seed=0, size=48)
    views = [synthetic._view(4, session, shot, 0, 64) for session, shot in [(0, 0), (1, 5)]]
    assert before == synthetic.identity_parameters(4, seed=0)
    assert all(view["person"] == before for view in views)
    assert before != synthetic.identity_parameters(5, seed=0)
    assert before != synthetic.identity_parameters(4, seed=1)
    assert all(isinstance(value, float) for value in before.values())


def test_session_is_shared_by_its_shots_and_differs_from_others():
    first, second = (synthetic._view(4, 0, shot, 0, 64) for shot in (0, 1))
    other = synthetic._view(4, 1, 0, 0, 64)
    assert first["session"] == second["session"] != other["session"]
    assert first["shot"] != second["shot"]


def test_resumes_to_identical_bytes(tmp_path):
    synthetic.make(tmp_path, **SMALL, workers=1, progress=False)
    whole = bytes_of(tmp_path)
    (tmp_path / "photos/p0000/s1_02.jpg").unlink()
    cut = tmp_path / "photos/p0001/s2_01.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    kept = tmp_path / "photos/p0001/s2_02.jpg"
    written = kept.stat().st_mtime_ns
    (tmp_path / "annotations.csv").unlink()
    synthetic.make(tmp_path, **SMALL, workers=1, progress=False)
    assert bytes_of(tmp_path) == whole
    assert kept.stat().st_mtime_ns == written


def test_whole_folder_draws_nothing(small_folder, monkeypatch):
    def no_drawing(*_):
        raise AssertionError("drew a photo that was there")

    monkeypatch.setattr(synthetic, "render_photo", no_drawing)
    before = bytes_of(small_folder)
    table = synthetic.make(small_folder, **SMALL, workers=1, progress=False)
    assert len(table) == 8
    assert bytes_of(small_folder) == before


def test_folder_of_other_parameters_is_refused_untouched(tmp_path):
    settings = {**SMALL, "people": 1, "sessions": 1}
    synthetic.make(tmp_path, **settings, workers=1, progress=False)
    before = bytes_of(tmp_path)
    with pytest.raises(ValueError, match="seed is 3 there and 4 here") as error:
        synthetic.make(tmp_path, **{**settings, "seed": 4}, progress=False)
    assert str(tmp_path) in str(error.value)
    assert bytes_of(tmp_path) == before


def test_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"no synthetic\.json"):
        synthetic.make(tmp_path, **SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_one_run_a_folder(tmp_path):
    with (
        storage.folder_lock(tmp_path),
        pytest.raises(storage.FolderInUseError),
    ):
        synthetic.make(tmp_path, **SMALL, progress=False)


@pytest.mark.parametrize("name, value", [("people", 0), ("size", 16), ("seed", -1)])
def test_numbers_out_of_range_are_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        synthetic.make(tmp_path / "new", **{**SMALL, name: value}, progress=False)
    assert not (tmp_path / "new").exists()


def test_parameters_are_recorded(small_folder):
    record = json.loads((small_folder / "synthetic.json").read_text())
    assert record == {**SMALL, "first_identity": 0, "version": synthetic.VERSION}


def test_dlib_finds_the_faces():
    """A detector that learnt from photos of people takes these for faces."""
    dlib = pytest.importorskip("dlib")
    detector = dlib.get_frontal_face_detector()
    found = 0
    for identity in range(40, 52):
        shots = (synthetic._view(identity, 0, shot, 0, 320) for shot in range(8))
        shot = min(enumerate(shots), key=lambda pair: abs(pair[1]["factors"]["yaw"]))[0]
        photo, box, _ = synthetic.render_photo(identity, 0, shot, seed=0, size=320)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        hits = detector(photo, 1)
        found += any(h.left() < x < h.right() and h.top() < y < h.bottom() for h in hits)
    assert found >= 10
