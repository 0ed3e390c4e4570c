"""The lines of the README, run as a script by somebody who knows nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import thesislib as tl
from thesislib import paths

NAMES = ["001", "NA", "Анна Ким"]

# Enough for a net of this size to know three patches by heart: 10 seconds.
LEARNED = {
    "epochs": 60, "batch": 7, "input_px": 96, "anchors": 1, "learning_rate": 2e-3,
    "weight_decay": 0.0, "flip": 0.0, "colour": 0.0,
}  # fmt: skip

BEFORE = """
import dataclasses
from thesislib.profiles import PROFILES
profile = dataclasses.replace(PROFILES["smoke"], **{learned})
"""

AFTER = """
import json
seen = {
    "faces": [face.name for face in faces],
    "vectors": [list(face.embedding.shape) for face in faces],
    "accuracy": report.joint_accuracy(0.5),
    "lists": [len(one) for one in net.predict(["party.jpg", Path("nobody.jpg")])],
    "recognised": [face.name for face in gallery.recognise("party.jpg")],
    "exported": [face.name for face in tl.Recogniser("out").predict("party.jpg")],
}
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset, its photo of several people and one of one person, below odd names."""
    from conftest import make_party

    folder = tmp_path_factory.mktemp("Мои проекты") / "Диплом лица"
    (folder / "data").mkdir(parents=True)
    data = make_party(folder / "data")
    faces = tl.read_dataset(data).table.dropna(subset="x1").groupby("photo").size()
    return folder, data, data / faces.idxmax(), data / "photos/лето 2020/003.png"


@pytest.fixture(scope="module")
def script(folders):
    """What README's lines, run as they stand where such files lie, found out; trains a net."""
    folder, data, several, alone = folders
    for copy in ("synthetic", "elsewhere"):
        shutil.copytree(data, folder / "data" / copy)
    nobody = data / "photos/лето 2020/013.png"
    for name, photo in (("party", several), ("anna", alone), ("nobody", nobody)):
        Image.open(photo).save(folder / f"{name}.jpg", quality=95)
    (lines,) = re.findall(r"```python\n(.*?)```", (paths.ROOT / "README.md").read_text(), re.S)
    assert lines.count('"laptop"') == 1
    lines = lines.replace('"laptop"', "profile")
    program = BEFORE.format(learned=LEARNED) + "from pathlib import Path\n" + lines + AFTER
    (folder / "script.py").write_text(program, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(paths.ROOT),
        "THESIS_ROOT": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),  # the user's own engines are left alone
    }
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_lines_of_the_readme_run_as_a_script(folders, script):
    folder = folders[0]
    assert script["accuracy"] > 0.8
    assert set(script["faces"]) <= set(NAMES) and len(script["faces"]) >= 2
    assert script["vectors"] == [[64]] * len(script["faces"])
    assert script["lists"] == [len(script["faces"]), 0]
    assert "Anna" in script["recognised"] and set(script["recognised"]) <= {"Anna", ""}
    assert script["exported"] == script["faces"]
    with Image.open(folder / "party.faces.jpg") as drawn:
        assert max(drawn.size) >= 480
    assert (folder / "runs/mine/net.safetensors").is_file()
    # Datasets are read alone: they may lie where nothing may be written.
    for copy in ("synthetic", "elsewhere"):
        left = {
            file.relative_to(folder / "data" / copy) for file in folder.glob(f"data/{copy}/**/*")
        }
        assert left == {file.relative_to(folders[1]) for file in folders[1].rglob("*")}


# --- the same words on the command line -------------------------------------------------------


def run(*words, code=0):
    from thesislib.__main__ import main

    assert main(list(map(str, words))) == code


@pytest.fixture(scope="module")
def net(folders, script):
    """Folder of the net that the script has trained."""
    return folders[0] / "runs/mine"


def test_train_keeps_what_was_asked_in_place_of_the_profiles(folders, tmp_path, capsys):
    words = ("--profile", "smoke", "--epochs", 1, "--batch", 4, "--margin", "cosface", 0.2, 16)
    run("train", "--data", folders[1], "--out", tmp_path / "net", *words)
    assert "3 people learned" in capsys.readouterr().out
    kept = tl.load(tmp_path / "net")
    assert kept.identities == NAMES and kept.provenance["profile"]["batch"] == 4
    assert kept.provenance["profile"]["margin"] == {"kind": "cosface", "size": 0.2, "scale": 16.0}


def test_predict_prints_and_draws_and_keeps(net, folders, capsys, tmp_path):
    _, _, photo, alone = folders
    run("predict", photo, alone, "--net", net, "--out", tmp_path / "out",
        "--draw", tmp_path / "drawn")  # fmt: skip
    told = capsys.readouterr().out
    assert str(photo) in told and re.search(r"name score +face score +box", told)
    assert re.search(rf"{re.escape(str(alone))}: 1 face\n.*\n  Анна Ким +[01]\.\d\d\d ", told)
    table = pd.read_csv(tmp_path / "out" / "faces.csv", keep_default_na=False, dtype={"name": str})
    assert set(table["name"]) <= set(NAMES) and len(table)
    drawn = {file.name for file in (tmp_path / "drawn").glob("*.jpg")}
    assert drawn == {f"{photo.stem}.recognised.jpg", f"{alone.stem}.recognised.jpg"}


def test_no_picture_takes_the_place_of_another(tmp_path):
    from thesislib.commands.photos import _places

    for name in ("a/party.jpg", "a/party.png", "b/party.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path / "a", tmp_path / "b"]
    files = [tmp_path / "a/party.jpg", tmp_path / "a/party.png", tmp_path / "b/party.jpg"]
    place = _places(folders, None)
    assert [place(file).relative_to(tmp_path).as_posix() for file in files] == [
        "a.recognised/party.recognised.jpg",
        "a.recognised/party.png.recognised.jpg",
        "b.recognised/party.recognised.jpg",
    ]
    place = _places(folders, tmp_path / "drawn")
    assert [place(file).name for file in files] == [
        "party.recognised.jpg", "party.png.recognised.jpg", "party.jpg.recognised.jpg"
    ]  # fmt: skip
    place = _places(files, None)
    assert place(files[0]) == tmp_path / "a/party.recognised.jpg"


def test_a_net_without_names_tells_none(capsys):
    from thesislib.commands import photos

    box = np.float32([4, 4, 40, 50])
    right, left = (
        tl.Face(box + np.float32([dx, 0, dx, 0]), score) for dx, score in ((60, 0.9), (0, 0.8))
    )
    photos._print([(Path("a.jpg"), [right, left])], None)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "a.jpg: 2 faces", "  face score  box x1, y1, x2, y2",
        "        0.80  4, 4, 40, 50", "        0.90  64, 4, 100, 50",
    ]  # fmt: skip


def test_of_nobody_the_nearest_person_is_told(capsys):
    from thesislib.commands import photos

    gallery = tl.Gallery.of_embeddings(2, "a net", threshold=0.99)
    gallery.enrol_embeddings(["Anna", "Boris"], [[1, 0], [0, 1]])
    face = tl.Face(np.float32([4, 4, 40, 50]), 0.9, "", 0.8, np.float32([0.6, 0.8]))
    photos._print([(Path("a.jpg"), [face])], "similarity", gallery)
    assert "nobody (nearest: Boris)       0.800" in capsys.readouterr().out


def test_evaluate_prints_every_measure(net, folders, capsys):
    run("evaluate", "--net", net, "--data", folders[1])
    told = capsys.readouterr().out
    for metric in ("accuracy", "joint_accuracy_50", "oracle_box_accuracy", "ap50"):
        assert metric in told


def test_enrol_and_recognise(net, folders, capsys, tmp_path):
    _, _, photo, alone = folders
    gallery = tmp_path / "people.safetensors"
    run("enrol", "Анна Ким", alone, "--net", net, "--gallery", gallery)
    run("enrol", "NA", alone.with_name("002.png"), "--net", net, "--gallery", gallery)
    run("recognise", alone, "--net", net, "--gallery", gallery)
    told = capsys.readouterr().out
    assert "Анна Ким enrolled; 1 person in" in told and "NA enrolled; 2 people" in told
    assert re.search(r"Анна Ким +1\.000 ", told)
    run("enrol", "001", photo, "--net", net, "--gallery", gallery, code=1)
    assert "none of them clearly the largest" in capsys.readouterr().err
    run("people", gallery)
    assert re.search(r"person +faces\n +NA +1\nАнна Ким +1\n", capsys.readouterr().out)
    assert tl.Gallery.load(gallery, tl.load(net)).identities == ["NA", "Анна Ким"]
    kept = tl.Gallery.load(gallery, tl.load(net)).templates.vectors.copy()
    name = json.dumps("Анна Ким").strip('"').encode()
    assert name in gallery.read_bytes()
    run("forget", "Анна Ким", "--net", net, "--gallery", gallery)
    assert "Анна Ким forgotten; 1 person in" in capsys.readouterr().out
    stored = gallery.read_bytes()
    assert kept[1].tobytes() in stored and kept[0].tobytes() not in stored
    assert name not in stored
    run("forget", "Анна Ким", "--net", net, "--gallery", gallery, code=1)
    assert "'Анна Ким' is not enrolled; enrolled: NA" in capsys.readouterr().err
    run("forget", "NA", "--net", net, "--gallery", tmp_path / "none.safetensors", code=1)
    assert "no such gallery" in capsys.readouterr().err


def test_people_of_a_folder_are_recognised_and_drawn_beside_the_photo(
    net, folders, capsys, tmp_path
):
    alone = folders[3]
    people, photo = tmp_path / "мои люди", tmp_path / "party.png"
    for name, number in (("Анна Ким", 1), ("NA", 2)):
        (people / name).mkdir(parents=True)
        shutil.copy(alone.with_name(f"{number:03}.png"), people / name)
    shutil.copy(alone.with_name("001.png"), photo)
    run("recognise", photo, "--people", people, "--net", net)
    told = capsys.readouterr().out
    assert re.search(r"similarity +face score +box", told)
    assert re.search(r"Анна Ким +1\.000 +0\.\d\d +\d+, \d+, \d+, \d+", told)
    assert "how many strangers that lets in is not known" in told  # of this net
    picture = tmp_path / "party.recognised.jpg"
    assert f"drawn: {picture}" in told
    assert Image.open(picture).size[0] >= 480
    run("recognise", photo, "--people", people, "--net", net, "--xmp")
    assert "names written beside 1 photo\n" in capsys.readouterr().out
    sidecar = photo.with_name("party.png.xmp")
    assert "Анна Ким" in sidecar.read_text(encoding="utf-8")
    # The picture is no photo of anybody, neither here nor for an import.
    run("predict", tmp_path, "--net", net)
    assert "party.png: " in (told := capsys.readouterr().out) and "party.recognised" not in told
    # Of a folder in one beside it.
    run("recognise", people, "--people", people, "--net", net)
    drawn = tmp_path / "мои люди.recognised"
    found = sorted(path.relative_to(drawn).as_posix() for path in drawn.rglob("*.jpg"))
    assert found == ["NA/002.recognised.jpg", "Анна Ким/001.recognised.jpg"]
    gallery = tmp_path / "people.safetensors"
    run("enrol-folder", people, "--net", net, "--gallery", gallery)
    assert f"{people} enrolled; 2 people in {gallery}" in capsys.readouterr().out
    assert tl.Gallery.load(gallery, tl.load(net)).identities == ["NA", "Анна Ким"]
    for wrong in ((), ("--people", people, "--gallery", tmp_path / "x.safetensors")):
        run("recognise", photo, "--net", net, *wrong, code=1)
        assert "one of --people and --gallery is needed" in capsys.readouterr().err
    run("recognise", photo, "--people", people, "--net", net, "--fpir", 0.01, code=1)
    assert "published with the default net alone" in capsys.readouterr().err


def test_an_album_of_a_folder_is_one_file(net, folders, capsys, tmp_path):
    alone = folders[3]
    people = tmp_path / "people"
    (people / "Анна Ким").mkdir(parents=True)
    shutil.copy(alone.with_name("001.png"), people / "Анна Ким")
    run("album", alone.parent, "--people", people, "--net", net, "--to", tmp_path / "album.html")
    told = capsys.readouterr().out
    assert re.search(r"\d+ faces, \d+ of them of 1 people: .*album\.html", told)
    page = (tmp_path / "album.html").read_text(encoding="utf-8")
    assert "Анна Ким" in page and "001.png" in page and "similarity" in page
    run("album", people, "--people", people, "--net", net)
    assert (tmp_path / "people.html").is_file()


def test_a_dataset_is_enrolled_and_its_people_are_looked_for(net, folders, capsys, tmp_path):
    gallery = tmp_path / "people.safetensors"
    run("enrol-dataset", "--data", folders[1], "--net", net, "--gallery", gallery)
    assert "3 people in" in capsys.readouterr().out
    run("evaluate", "--net", net, "--data", folders[1], "--gallery", gallery)
    told = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:])
    assert float(told["joint_accuracy_50"]) > 0.8


def test_export_calibrates_on_photos_of_all_people(net, folders, capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tl.JointNet, "export", lambda net, to, photos: asked.append((to, photos)))
    run("export", "--net", net, "--to", tmp_path / "out", "--calibration", folders[1])
    run("export", "--net", net, "--to", tmp_path / "plain")
    (to, photos), (plain, none) = asked
    assert f"exported: {to}" in capsys.readouterr().out
    assert [to.name, plain.name] == ["out", "plain"] and none == []
    assert len(set(photos)) == 14 and all(photo.is_file() for photo in photos)


def test_two_processes_do_what_one_does(net, folders, tmp_path):
    """The command line under torchrun: each photo answered once, told once, in order."""
    words = ["predict", folders[1] / "photos", "--net", net, "--out", tmp_path / "out"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    done = subprocess.run(
        list(map(str, [sys.executable, *launch, "thesislib", *words])), capture_output=True,
        text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert [Path(line.partition(":")[0]).name for line in told] == [
        f"{at:03d}.png" for at in range(1, 15)
    ]
    assert (tmp_path / "out" / "faces.csv").is_file()


def test_folders_become_datasets_and_datasets_one(tmp_path, capsys):
    run("data", "synthetic", "smoke", "--to", tmp_path / "b")
    assert "4 people" in capsys.readouterr().out
    made = tl.read_dataset(tmp_path / "b").table.groupby("identity")["photo"].first()
    people = tmp_path / 'Anna\'s "люди"; $(touch x) `y`'
    for name, photo in zip(("001", "Анна Ким"), made.iloc[:2], strict=True):
        (people / name).mkdir(parents=True)
        shutil.copy(tmp_path / "b" / photo, people / name)
    run("data", "folder", people, "--to", tmp_path / "a")
    assert tl.read_dataset(tmp_path / "a").identities == ["001", "Анна Ким"]
    run("data", "merge", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "both")
    merged = tl.read_dataset(tmp_path / "both")
    assert len(merged.photos) == 34 and len(merged.identities) == 6
    run("data", "folder", people, people, "--to", tmp_path / "c", code=1)
    assert "for merge" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_speeds_are_measured_in_small(tmp_path, monkeypatch, capsys, folders):
    from thesislib.tables import read_table

    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    run("gallery-speed", "--templates", 10000, "--probes", 20)
    table = read_table(tmp_path / "tables/gallery_speed.csv")
    assert set(table["engine"]) == {"exact", "faiss"} and (table["ms_median"] > 0).all()
    assert (table["recall_at_1"] > 0.9).all() and set(table["templates"]) == {10000}
    words = ("--epochs", 1, "--batch", 4, "--rounds", 1)
    run("training-speed", "--data", folders[1], "--profile", "smoke", *words)
    assert "naive" in capsys.readouterr().out


def test_what_the_user_can_mend_is_a_sentence_not_a_traceback(tmp_path, capsys):
    run("predict", "a.jpg", "--net", tmp_path / "nothing", code=1)
    run("data", "synthetic", "nobody", "--to", tmp_path / "x", code=1)
    run("evaluate", "--net", tmp_path, "--data", tmp_path, code=1)
    told = capsys.readouterr().err
    assert "no such net" in told and "no set 'nobody'" in told and "Traceback" not in told


def test_a_dataset_of_nobody_known_ends_in_a_sentence_and_no_folder(
    tmp_path, write_dataset, capsys, own_folders
):
    from conftest import face

    nobody = write_dataset([face(f"{at}.png", "") for at in range(3)], "nobody")
    one = write_dataset([face(f"{at}.png", "anna") for at in range(3)], "one")
    for folder, said in ((nobody, "nobody in it is named"), (one, "only 'anna' is named in it")):
        for words in (
            ("train", "--data", folder, "--out", tmp_path / "net"),
            ("experiment1", "--data", folder),
            ("experiment2", "--source", folder, "--target", folder),
            ("experiment3", "--data", folder),
            ("training-speed", "--data", folder),
        ):
            run(*words, "--profile", "smoke", code=1)
            told = capsys.readouterr().err
            assert said in told and told.count("\n") == 1
    assert not (tmp_path / "net").exists() and not paths.RUNS.exists()


@pytest.mark.parametrize(
    "words",
    [("data", "folder", "--to", "x"), ("data", "synthetic", "--to", "x"),
     ("predict", "--net", "x"), ("recognise", "--net", "x", "--gallery", "x"),
     ("enrol", "Anna", "--net", "x", "--gallery", "x"), ("predict",)],
)  # fmt: skip
def test_a_forgotten_operand_is_a_usage_error(words, capsys):
    from thesislib.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    assert ended.value.code == 2 and "Required" in told.out + told.err


@pytest.mark.parametrize(
    "command",
    ["train", "distil", "release", "predict", "evaluate", "enrol", "enrol-folder", "enrol-dataset",
     "people", "forget", "recognise", "album", "train-ahead", "compare", "face-sizes",
     "export", "data", "recogniser",
     "experiment1", "experiment2", "experiment3", "pretraining", "stand-in", "benchmark",
     "recogniser-speed", "gallery-speed", "training-speed", "printed", "publish"],
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
        if field.name != "name":
            assert f"--{field.name.replace('_', '-')}" in told


def test_the_command_line_offers_what_the_library_knows():
    from thesislib.commands import experiments as commands
    from thesislib.experiments import baseline_comparison, transfer
    from thesislib.tables import CONTROLS, REFERENCES, SYSTEMS

    assert get_args(commands.SystemName) == (*SYSTEMS, *CONTROLS, *REFERENCES)
    assert get_args(commands.SystemName) == baseline_comparison.KNOWN
    assert get_args(commands.TrainedName) == (
        "joint",
        "two_stage_photo",
        "two_stage_face",
        *CONTROLS,
    )
    assert get_args(commands.VariantName) == transfer.VARIANTS
