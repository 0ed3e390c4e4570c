"""dlib's detections in many photos are those in each alone, and need neither fork nor guard."""

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thesislib import cache
from thesislib.data import detector
from thesislib.data.columns import BOX
from thesislib.data.detector import DETECTION_COLUMNS, detect_faces, detections_table
from thesislib.data.images import PhotoError, read_photo
from thesislib.environment import MissingExtraError
from thesislib.synthetic import scene

NAMES = ["001", "NA", "nan/Анна Ким.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two portraits and a photo of nobody, under names that look like something else."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "nan").mkdir()
    for at, name in enumerate(NAMES):
        photo, _ = scene.render_photo(at, 0, 0, size=160, changes={"yaw": 0.0})
        if at == 1:
            photo = np.full_like(photo, 90)
        Image.fromarray(photo).save(folder / name, format="png")
    return folder


def test_a_table_holds_what_each_photo_gives_alone(folder):
    table = detections_table(folder, NAMES, 1, progress=False)
    assert table.columns.tolist() == DETECTION_COLUMNS
    rows = []
    for name in NAMES:
        boxes, scores = detect_faces(read_photo(folder / name), 1)
        rows += [[name, s, *box] for box, s in zip(boxes.tolist(), scores.tolist(), strict=True)]
    assert table.to_numpy().tolist() == rows
    assert set(table["photo"]) == {"001", "nan/Анна Ким.png"}
    detections = detections_table(str(folder), ["NA"], 1, progress=False)
    assert detections.empty and detections.columns.tolist() == DETECTION_COLUMNS


def test_boxes_hold_the_face_best_first():
    photo, faces = scene.render_photo(0, 0, 0, size=160, changes={"yaw": 0.0})
    twice = np.concatenate([photo, photo[:, ::-1]], axis=1)
    boxes, scores = detect_faces(twice, 1)
    assert boxes.dtype == scores.dtype == np.float32 and len(boxes) == len(scores) == 2
    assert scores[0] >= scores[1] > 0
    x1, y1, x2, y2 = faces[0].box
    held = min(boxes.tolist())  # the left one
    assert held[0] < (x1 + x2) / 2 < held[2] and held[1] < (y1 + y2) / 2 < held[3]


def test_names_survive_a_table_that_is_kept(folder, tmp_path):
    def kept():
        return cache.table(tmp_path / "a.csv", lambda: detections_table(folder, NAMES, 1, False))

    first, again = kept(), kept()
    assert again["photo"].tolist() == first["photo"].tolist() == ["001", "nan/Анна Ким.png"]
    pd.testing.assert_frame_equal(again, first)
    assert again[BOX].dtypes.eq(float).all()


def test_no_process_is_started(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("started a process")

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    assert len(detections_table(folder, NAMES, 1, progress=False)) == 2


def test_a_script_without_a_guard_may_ask_beside_pytorch(folder):
    code = (
        "import sys, torch; torch.rand(200, 200) @ torch.rand(200, 200)\n"
        "from thesislib.data.detector import detections_table\n"
        "print(len(detections_table(sys.argv[1], sys.argv[2:], 1, progress=False)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, *NAMES], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"


def test_a_photo_that_cannot_be_read_is_named(folder):
    with pytest.raises(PhotoError, match=r"none\.png: photo is missing"):
        detections_table(folder, ["001", "none.png"], 1, progress=False)


def test_without_dlib_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.delattr(detector._of_thread, "detector", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'thesislib\[dlib\]'"):
        detect_faces(np.zeros((40, 40, 3), np.uint8), 1)
