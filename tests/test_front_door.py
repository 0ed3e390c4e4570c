"""The lines of the README, run as a script by somebody who knows nothing else."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import thesislib as tl
from thesislib import paths
from thesislib.data.images import read_photo

NAMES = ["001", "NA", "Анна Ким"]

SCRIPT = """
import sys
from pathlib import Path
import thesislib as tl

data, photo, alone = sys.argv[1], sys.argv[2], sys.argv[3]
dataset = tl.read_dataset(data)
net = tl.train(dataset, sys.argv[4], out="runs/mine", progress=False)
net = tl.load("runs/mine")
faces = net.predict(photo, score_threshold=0.01)
tl.draw(photo, faces).save("drawn.png")
report = tl.evaluate(net, dataset)
print(report.joint_accuracy(0.5))
gallery = tl.Gallery(net)
net_faces = net.predict([photo, Path(alone)], score_threshold=0.01)
print(len(net_faces))
gallery.enrol_embeddings(["Анна Ким"] * len(faces), [face.embedding for face in faces])
recognised = gallery.recognise(photo, score_threshold=0.01)
print(*sorted({face.name for face in recognised}))
net.export("out")
again = tl.Recogniser("out", engine="torch").predict(photo, score_threshold=0.05)
print(len(again) == len([face for face in faces if face.score > 0.05]))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset, its photo of several people and one of one person, below odd names."""
    from conftest import make_party

    folder = tmp_path_factory.mktemp("Мои проекты") / "Диплом лица"
    folder.mkdir()
    data = make_party(folder)
    dataset = tl.read_dataset(data)
    faces = dataset.table.dropna(subset="x1").groupby("photo").size()
    return folder, data, data / faces.idxmax(), data / faces.idxmin()


def test_the_ten_lines_run_as_a_script(folders):
    folder, data, photo, alone = folders
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "THESIS_ROOT": str(folder)}
    words = [sys.executable, "script.py", data, photo, alone, "smoke"]
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy, count, names, same = done.stdout.splitlines()
    assert 0 <= float(accuracy) <= 1 and count == "2" and same == "True"
    assert names == "Анна Ким"
    with Image.open(folder / "drawn.png") as drawn:
        assert max(drawn.size) >= 480
    assert (folder / "runs" / "mine" / "net.safetensors").is_file()


# --- the same words on the command line -------------------------------------------------------


def run(*words, code=0):
    from thesislib.__main__ import main

    assert main(list(map(str, words))) == code


@pytest.fixture(scope="module")
def net(folders):
    folder, data, _, _ = folders
    run("train", "--data", data, "--out", folder / "net", "--profile", "smoke", "--batch", 4)
    return folder / "net"


def test_train_keeps_what_was_asked_in_place_of_the_profiles(net):
    assert tl.load(net).provenance["profile"]["batch"] == 4
    assert tl.load(net).identities == NAMES


def test_predict_prints_and_draws_and_keeps(net, folders, capsys, tmp_path):
    _, _, photo, alone = folders
    run("predict", photo, alone, "--net", net, "--score-threshold", 0.01,
        "--out", tmp_path / "out", "--draw", tmp_path / "drawn")  # fmt: skip
    told = capsys.readouterr().out
    assert str(photo) in told and str(alone) in told and "box [" in told
    table = pd.read_csv(tmp_path / "out" / "faces.csv", keep_default_na=False, dtype={"name": str})
    assert set(table["name"]) <= set(NAMES) and len(table)
    drawn = {file.name for file in (tmp_path / "drawn").glob("*.jpg")}
    assert drawn == {f"0001 {photo.name}.faces.jpg", f"0002 {alone.name}.faces.jpg"}


def test_evaluate_prints_every_measure(net, folders, capsys):
    run("evaluate", "--net", net, "--data", folders[1])
    told = capsys.readouterr().out
    for metric in ("accuracy", "joint_accuracy_50", "oracle_box_accuracy", "ap50"):
        assert metric in told


def test_enrol_and_recognise(net, folders, capsys, tmp_path, monkeypatch):
    _, _, photo, alone = folders
    # An untrained net detects nothing reliably; a detection is injected.
    vector = np.eye(64, dtype=np.float32)[0]
    height, width = read_photo(alone).shape[:2]
    face = tl.Face(np.array([1.0, 1, width, height]), 0.9, "?", 0.5, vector)
    monkeypatch.setattr(
        tl.JointNet, "predict_arrays", lambda net, photos, t: [[face]] * len(photos)
    )
    gallery = tmp_path / "people.safetensors"
    run("enrol", "Анна Ким", alone, "--net", net, "--gallery", gallery)
    run("recognise", photo, "--net", net, "--gallery", gallery)
    told = capsys.readouterr().out
    assert "Анна Ким enrolled; 1 people" in told
    assert "Анна Ким (1.00)" in told


def test_data_makes_a_dataset_of_a_folder(tmp_path, capsys):
    run("data", "synthetic", "smoke", "--to", tmp_path / "made")
    assert "4 people" in capsys.readouterr().out
    assert len(tl.read_dataset(tmp_path / "made").photos) == 32


def test_what_the_user_can_mend_is_a_sentence_not_a_traceback(tmp_path, capsys):
    run("predict", "a.jpg", "--net", tmp_path / "nothing", code=1)
    run("data", "synthetic", "nobody", "--to", tmp_path / "x", code=1)
    run("evaluate", "--net", tmp_path, "--data", tmp_path, code=1)
    told = capsys.readouterr().err
    assert "no such net" in told and "no set 'nobody'" in told and "Traceback" not in told


@pytest.mark.parametrize(
    "command",
    ["train", "predict", "evaluate", "enrol", "recognise", "export", "data", "experiment1",
     "experiment2", "experiment3", "pretraining", "stand-in", "benchmark"],
)  # fmt: skip
def test_every_command_has_help(command, capsys):
    from thesislib.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m thesislib {command}" in capsys.readouterr().out


def test_every_setting_of_a_profile_is_an_option(capsys):
    import dataclasses

    from thesislib.__main__ import main

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    for field in dataclasses.fields(tl.Profile):
        if field.name not in ("name", "margin"):
            assert f"--{field.name.replace('_', '-')}" in told
