"""Faces in many photos: in order, one photo as many, kept on disk, shared among processes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import noise, thin_net
from PIL import Image

from thesislib.data.images import PhotoError, read_photo
from thesislib.data.schema import read_dataset
from thesislib.engine import predict as engine
from thesislib.engine.checkpoint import CheckpointError
from thesislib.engine.embed import embed
from thesislib.engine.predict import predict
from thesislib.models.joint import JointNet

LOW = 0.01  # an untrained net is sure of nothing


@pytest.fixture(scope="module")
def net():
    """A net whose confidences and boxes are all over the place."""
    import torch

    net = thin_net(identities=("001", "NA", "Анна Ким")).eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.view(2, 5)[:, 4] = 0
    return net


@pytest.fixture
def photos(tmp_path):
    """Seven photos of three sizes in folders, in order of their paths."""
    sizes = [(90, 60), (60, 90), (64, 64)]
    files = []
    for at in range(7):
        path = tmp_path / "my photos" / ("а" if at < 4 else "b") / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(*sizes[at % 3], seed=at)).save(path)
        files.append(path)
    return sorted(files)


def assert_same(ones, others):
    assert [len(one) for one in ones] == [len(other) for other in others]
    for one, other in zip(ones, others, strict=True):
        for face, again in zip(one, other, strict=True):
            assert (face.name, face.score) == (again.name, pytest.approx(again.score, abs=1e-5))
            np.testing.assert_allclose(face.box, again.box, atol=0.01)
            np.testing.assert_allclose(face.embedding, again.embedding, atol=1e-5)


def test_one_photo_a_list_and_a_folder_give_the_same(net, photos):
    several = predict(net, photos, LOW)
    assert sum(map(len, several)) > 10
    assert_same(several, [predict(net, photo, LOW) for photo in photos])
    assert_same(several, net.predict([str(photo) for photo in photos], LOW))
    assert_same(several, net.predict([read_photo(photo) for photo in photos], LOW))
    assert_same(several, net.predict(photos[0].parents[1], LOW))


def test_pil_images_and_arrays_that_cannot_be_written_to_are_photos(net, photos, recwarn):
    images = [Image.open(photo) for photo in photos]
    wanted = predict(net, photos, LOW)
    assert_same(net.predict(images, LOW), wanted)
    assert_same([net.predict(images[0], LOW)], wanted[:1])
    frozen = [np.asarray(image) for image in images]
    assert not frozen[0].flags.writeable
    assert_same(net.predict(frozen, LOW), wanted)
    assert not len(recwarn)


@pytest.mark.parametrize("wrong", [None, 3, b"a.jpg", ["a.jpg", None], [["a.jpg"]]])
def test_what_is_no_photo_is_a_type_error_and_leaves_no_folder(net, tmp_path, wrong):
    with pytest.raises(TypeError, match="expected a path, an array or a PIL image, got "):
        net.predict(wrong, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faces_lie_in_the_photo_best_first_with_a_name_and_an_embedding_of_length_1(net, photos):
    for photo in photos:
        height, width = read_photo(photo).shape[:2]
        faces = net.predict(photo, LOW)
        assert [face.score for face in faces] == sorted((f.score for f in faces), reverse=True)
        for face in faces:
            x1, y1, x2, y2 = face.box
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            assert face.name in net.identities and LOW < face.score <= 1
            assert 1 / 3 <= face.name_score <= 1 and face.landmarks is None
            assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)


def test_a_higher_threshold_keeps_the_surer_faces_alone(net, photos):
    for few, many in zip(net.predict(photos, 0.6), net.predict(photos, LOW), strict=True):
        assert [f.score for f in few] == [f.score for f in many if f.score > 0.6]


@pytest.mark.parametrize("threshold", [math.nan, math.inf, 2, -1])
def test_a_threshold_that_no_score_can_have_is_refused(net, photos, tmp_path, threshold):
    told = "not a number" if math.isnan(threshold) else f"expected 0 to 1, got {threshold}"
    for ask in (
        lambda: net.predict(photos, threshold, out=tmp_path / "out"),
        lambda: net.predict_arrays([noise(60, 60)], threshold),
    ):
        with pytest.raises(ValueError, match=f"score_threshold: {told}"):
            ask()
    assert not (tmp_path / "out").exists()


def test_scores_that_are_no_shares_have_thresholds_of_their_own(photos):
    class Margins:
        highest_score = math.inf

        def predict_arrays(self, photos, score_threshold):
            return [[score_threshold] for _ in photos]

    for threshold in (-1.0, 3.0):
        assert predict(Margins(), photos[0], threshold) == [threshold]
    with pytest.raises(ValueError, match="score_threshold: not a number"):
        predict(Margins(), photos[0], math.nan)


def test_a_photo_that_cannot_be_read_is_named_and_in_a_folder_left_out(net, photos, tmp_path):
    broken = photos[2]
    broken.write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=broken.name):
        net.predict(photos, LOW)
    out = tmp_path / "out"
    found = net.predict(photos[0].parents[1], LOW, out=out)
    assert len(found) == 7 and found[photos.index(broken)] == []
    assert pd.read_csv(out / "unreadable.csv")["photo"].tolist() == [str(broken)]


def test_several_folders_leave_out_what_one_leaves_out(net, photos, tmp_path):
    broken, folders = photos[2], [photos[0].parent, str(photos[-1].parent)]
    whole = net.predict(folders, LOW)
    assert_same(whole, net.predict(photos, LOW))
    broken.write_bytes(b"no photo")
    out = tmp_path / "out"
    for _ in range(2):  # the second time from what was kept
        with pytest.warns(UserWarning, match=f"1 photos left out: .*{broken.name}"):
            found = net.predict(folders, LOW, out=out)
        assert_same(found, [*whole[:2], [], *whole[3:]])
    assert pd.read_csv(out / "unreadable.csv")["photo"].tolist() == [str(broken)]
    # A photo that is named itself must be readable, beside a folder too.
    with pytest.raises(PhotoError, match=broken.name):
        net.predict([folders[1], broken], LOW)
    with pytest.raises(PhotoError, match=broken.name):
        net.predict([*folders, broken], LOW)
    with pytest.raises(PhotoError, match=broken.name):
        net.predict(photos, LOW, out=out)


def test_a_folder_without_photos_is_refused(net, tmp_path):
    with pytest.raises(ValueError, match="no photos in it"):
        net.predict(tmp_path)


def test_answers_are_kept_as_a_table_and_embeddings(net, photos, tmp_path):
    out = tmp_path / "out"
    found = net.predict(photos[0].parents[1], LOW, out=out)
    table = pd.read_csv(out / "faces.csv", keep_default_na=False, dtype={"name": str})
    faces = [face for one in found for face in one]
    names = [p.relative_to(photos[0].parents[1]).as_posix() for p in photos]
    of_photo = [name for name, one in zip(names, found, strict=True) for _ in one]
    assert table["photo"].tolist() == of_photo
    assert table["name"].tolist() == [face.name for face in faces]
    np.testing.assert_allclose(table["score"], [face.score for face in faces], rtol=1e-5)
    boxes = table[["x1", "y1", "x2", "y2"]]
    np.testing.assert_allclose(boxes, [face.box for face in faces], atol=0.051)
    embeddings = np.load(out / "embeddings.npy", allow_pickle=False)
    np.testing.assert_array_equal(embeddings, [face.embedding for face in faces])


def test_an_interrupted_run_goes_on_and_asks_no_photo_twice(net, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CHUNK", 2)
    asked = []

    class Interrupted(JointNet):
        answers_key = "the same"

        def __init__(self):
            pass

        def predict_arrays(self, photos, score_threshold):
            if len(asked) == self.fails_after:
                raise KeyboardInterrupt
            asked.append(len(photos))
            return net.predict_arrays(photos, score_threshold)

    system = object.__new__(Interrupted)
    object.__setattr__(system, "fails_after", 2)
    with pytest.raises(KeyboardInterrupt):
        predict(system, photos, LOW, out=tmp_path / "out")
    assert asked == [2, 2] and not (tmp_path / "out" / "faces.csv").exists()
    object.__setattr__(system, "fails_after", None)
    found = predict(system, photos, LOW, out=tmp_path / "out")
    assert asked == [2, 2, 2, 1]
    assert_same(found, predict(net, photos, LOW))
    # A photo that changed is asked again, with its chunk.
    Image.fromarray(noise(70, 70, 99)).save(photos[0])
    again = predict(system, photos, LOW, out=tmp_path / "out")
    assert asked == [2, 2, 2, 1, 2]
    assert_same(again, predict(net, photos, LOW))


def test_answers_of_another_net_or_threshold_are_refused(net, photos, tmp_path):
    net.predict(photos[:2], LOW, out=tmp_path / "out")
    before = (tmp_path / "out" / "faces.csv").read_bytes()
    with pytest.raises(CheckpointError, match="another score_threshold"):
        net.predict(photos[:2], 0.5, out=tmp_path / "out")
    with pytest.raises(CheckpointError, match="another system"):
        thin_net(seed=1).predict(photos[:2], LOW, out=tmp_path / "out")
    assert (tmp_path / "out" / "faces.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("faces.csv", "holds faces.csv that was not made here"),
        ("embeddings.npy", "holds embeddings.npy that was not made here"),
        ("unreadable.csv", "holds unreadable.csv that was not made here"),
        ("parts", "holds parts that was not made here"),
        ("net.safetensors", "holds a net or its training"),
        ("checkpoint.safetensors", "holds a net or its training"),
    ],
)
def test_an_out_that_holds_something_else_is_refused_untouched(net, photos, tmp_path, name, told):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("the user's own")
    with pytest.raises(CheckpointError, match=f"out: {told}; choose another out"):
        net.predict(photos, LOW, out=out)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "the user's own"


def test_a_training_among_kept_answers_is_refused(net, photos, tmp_path):
    net.predict(photos[:1], LOW, out=tmp_path / "out")
    (tmp_path / "out" / "net.safetensors").touch()
    with pytest.raises(CheckpointError, match="holds a net or its training"):
        net.predict(photos[:1], LOW, out=tmp_path / "out")


@pytest.mark.parametrize("text", ["", '{"system": "a', "[]", "null", '{"profile": {}}', "\udcff"])
def test_a_record_that_is_none_of_answers_is_refused_untouched(net, photos, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CheckpointError, match=r"config\.json: not a record of answers"):
        net.predict(photos, LOW, out=out)
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_what_a_killed_run_left_in_its_out_is_swept_away(net, photos, tmp_path):
    out = tmp_path / "out"
    net.predict(photos, LOW, out=out)
    (out / ".0123456789abcdef.part.csv").touch()
    (out / "parts" / ".tmpAbCd12").touch()
    net.predict(photos, LOW, out=out)
    assert not list(out.rglob(".tmp*")) and not list(out.rglob(".*part*"))


def test_arrays_are_not_kept(net, tmp_path):
    with pytest.raises(ValueError, match="not for arrays"):
        net.predict([noise(60, 60)], out=tmp_path / "out")
    with pytest.raises(ValueError, match="not for arrays"):
        net.predict(Image.fromarray(noise(60, 60)), out=tmp_path / "out")


def test_embeddings_of_annotated_faces_come_in_the_tables_order(party, net):
    dataset = read_dataset(party)
    found = embed(net, dataset)
    table = dataset.table[dataset.table["x1"].notna()]
    assert len(found) == len(table)
    at = 0
    for photo, rows in table.groupby("photo", sort=False):
        pixels = read_photo(dataset.folder / photo)
        (alone,) = net.embeddings_at([pixels], [rows[["x1", "y1", "x2", "y2"]].to_numpy()])
        np.testing.assert_allclose(found[at : at + len(rows)], alone, rtol=1e-3, atol=1e-4)
        at += len(rows)


def test_a_face_without_a_place_is_nan(net):
    box = np.array([[5.0, 5, 40, 45]] * 3) + np.array([[0], [0.5], [1]])
    (found,) = net.embeddings_at([noise(60, 90)], [box])
    assert np.isnan(found).all(axis=1).sum() == 1  # two anchors, three faces in one cell
    (names,) = net.identify_boxes([noise(60, 90)], [box])
    assert names.count("") == 1


WORKER = """
import json, os, sys
from pathlib import Path
import thesislib as tl
from thesislib.engine import predict
predict.CHUNK = 2
net = tl.load(sys.argv[1])
out = Path(sys.argv[3])
found = net.predict(sys.argv[2], 0.01, out=out / "answers")
report = tl.evaluate(net, tl.read_dataset(sys.argv[4]))
if int(os.environ.get("RANK", 0)) == 0:
    report.table()  # by one process alone: nothing in it may wait for the others
again = net.predict(sorted(str(p) for p in Path(sys.argv[2]).rglob("*.png")), 0.01)
told = {
    "boxes": [[f.box.tolist() for f in one] for one in found],
    "again": [[f.box.tolist() for f in one] for one in again],
    "names": report.faces["predicted_identity"].tolist(),
    "oracle": report.faces["oracle_identity"].tolist(),
    "iou": report.faces["iou"].tolist(),
}
(out / f"{os.environ.get('RANK', 'alone')}.json").write_text(json.dumps(told))
"""


def test_two_processes_give_what_one_gives(photos, party, tmp_path):
    import json

    import torch

    net = JointNet(
        ["001", "NA", "Анна Ким"], ((16.0, 20.0),), 64, "resnet18", pooling=1, embedding_dim=8
    )
    with torch.no_grad():
        net.regression_head.bias.zero_()
    net.save(tmp_path / "net")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    words = [script, tmp_path / "net", photos[0].parents[1]]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    launch = {
        "one": [sys.executable],
        "two": [
            sys.executable,
            *["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
        ],
    }
    for name, start in launch.items():
        (tmp_path / name).mkdir()
        command = [*start, *words, tmp_path / name, party]
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
    alone, first, second = (
        json.loads((tmp_path / folder / f"{rank}.json").read_text())
        for folder, rank in (("one", "alone"), ("two", "0"), ("two", "1"))
    )
    assert sum(map(len, alone["boxes"])) > 7 and alone["boxes"] == alone["again"]
    assert first == second  # every process has all answers
    assert [len(one) for one in first["boxes"]] == [len(one) for one in alone["boxes"]]
    assert first["names"] == alone["names"] and first["oracle"] == alone["oracle"]
    np.testing.assert_allclose(first["iou"], alone["iou"], atol=1e-4)
    tables = [(tmp_path / n / "answers" / "faces.csv").read_text() for n in ("one", "two")]
    assert tables[0].splitlines()[0] == tables[1].splitlines()[0]
    assert len(tables[0].splitlines()) == len(tables[1].splitlines())
