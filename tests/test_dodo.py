"""What `make figures` runs: which commands, in which order, and when there is nothing to do."""

import dataclasses
import functools
import importlib.util
import os
import shutil
import subprocess

import pytest
from conftest import face, make_party

from thesislib import paths

COMMANDS = ["train-ahead", "experiment1", "experiment1-started", "compare"]
COMMANDS += ["experiment2", "experiment2-started", "experiment3"]
ASKED = ("DATA", "PHOTOS", "IMPORT", "SPLIT", "SEED", "EPOCHS", "BATCH", "TARGET", "PEERS")
# Names of folders that make, a shell, doit or matplotlib could read as something of their own.
ODD = (
    "Anna's photos",
    'the "best" ones; touch hacked',
    "$HOME $(HOME) $$ ${PATH} $_$",
    "`touch hacked` $(touch hacked)",
    "'; touch hacked; '",
    "$(shell touch hacked)",
    "люди #1 & co = * ?",
    "-n",
    "with a slash/",
)
# Notes its words and what it was asked for, each ended by a NUL.
STUB = """#!/bin/sh
printf '%s\\0' "$@" > {folder}/$(basename "$0").words
printf '%s\\0' "$PHOTOS" "$DATA" "$TARGET" "$IMPORT" > {folder}/$(basename "$0").asked
"""


@pytest.fixture
def dodo(monkeypatch):
    """The file as doit reads it, asked for the profile `smoke`."""
    for name in ASKED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROFILE", "smoke")
    spec = importlib.util.spec_from_file_location("dodo", paths.ROOT / "dodo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words_of(task):
    """The words of a task's command."""
    return [str(word) for word in task["actions"][0]._action]


def test_the_experiments_come_first_then_the_notebooks_in_order(dodo):
    experiments = [task["name"].split(":")[0] for task in dodo.task_experiment()]
    assert experiments == COMMANDS
    notebooks = list(dodo.task_notebook())
    assert [task["name"][:2] for task in notebooks] == ["00", "01", "02", "03", "04", "05", "06"]
    # Two at a time: each waits for the one before the last; the one that times something for all
    # before it, and all after it for that.
    waits = {task["name"][:2]: {one.split(":")[1][:2] for one in task["task_dep"][1:]}
             for task in notebooks}  # fmt: skip
    assert all(task["task_dep"][0] == "experiment" for task in notebooks)
    assert waits == {
        "00": set(), "01": set(), "02": {"00"}, "03": {"00", "01", "02"},
        "04": {"02", "03"}, "05": {"03"}, "06": {"03", "04"},
    }  # fmt: skip


def test_what_times_nothing_runs_beside_what_else(dodo, monkeypatch):
    for name in ("TQDM_DISABLE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    waits = {
        task["name"].split(":")[0]: [one.split(":")[1] for one in task["task_dep"]]
        for task in dodo.task_experiment()
    }
    assert waits == {
        "train-ahead": [],
        "experiment1": ["train-ahead"],
        "experiment1-started": ["experiment1"],
        "compare": ["experiment1-started"],
        "experiment2": ["experiment1-started"],
        "experiment2-started": ["experiment2"],
        "experiment3": ["compare"],
    }
    names = ["experiment1", "experiment1-started", "compare", "experiment2"]
    assert dodo.waits_for(names, beside=False) == dict(
        zip(names, [[], *([name] for name in names[:-1])], strict=True)
    )
    # Bars of two commands would be written over each other.
    silent = [
        task["name"].split(":")[0]
        for task in dodo.task_experiment()
        if task["actions"][0].pkwargs["env"].get("TQDM_DISABLE") == "1"
    ]
    assert silent == ["compare", "experiment3"]
    alone = [
        task["name"].split(":")[0]
        for task in dodo.task_experiment()
        if task["actions"][0].pkwargs["env"].get("OMP_NUM_THREADS") == "1"
    ]
    assert alone == ["compare", "experiment2", "experiment2-started", "experiment3"]


def test_every_command_is_one_that_the_command_line_takes(dodo, monkeypatch):
    import thesislib.__main__ as program

    told = []
    monkeypatch.setattr(
        program,
        "COMMANDS",
        [_noting(command, told) for command in program.COMMANDS],
    )
    for task in dodo.task_experiment():
        words = words_of(task)
        assert words[1:3] == ["-m", "thesislib"]
        assert program.main(words[3:]) == 0
    assert told == [name.removesuffix("-started").replace("-", "_") for name in COMMANDS]


def _noting(command, told):
    @functools.wraps(command)
    def noted(*args, **kwargs):
        told.append(command.__name__)

    return noted


@pytest.mark.parametrize(
    ("name", "value"), [("EPOCHS", "3"), ("BATCH", "4"), ("SEED", "2"), ("SPLIT", "session")]
)
def test_runs_of_other_settings_have_other_notebooks_and_states(dodo, monkeypatch, name, value):
    usual = dodo.asked()
    monkeypatch.setenv(name, value)
    other = dodo.asked()
    assert dodo.run_name(*usual) != dodo.run_name(*other)
    assert dodo.state_of(*usual) != dodo.state_of(*other)
    assert dodo.state_of(*other) == dodo.state_of(*other)


def test_datasets_of_one_name_have_notebooks_of_their_own(dodo, tmp_path):
    config, _ = dodo.asked()
    folders = [tmp_path / parent / "people" for parent in "ab"]
    names = {
        dodo.run_name(dataclasses.replace(config, data=data), target)
        for data in folders
        for target in (None, *folders)
    }
    assert len(names) == 6


def test_a_changed_dataset_is_noticed(dodo, party, monkeypatch):
    monkeypatch.setenv("DATA", str(party))
    before = dodo.state_of(*dodo.asked())
    file = party / "annotations.csv"
    os.utime(file, (1, 1))
    assert dodo.state_of(*dodo.asked()) != before


def test_people_who_all_share_photos_are_not_asked_in_experiment_3(dodo, party, monkeypatch):
    monkeypatch.setattr("thesislib.experiments.embeddings.MIN_PEOPLE", 3)
    monkeypatch.setenv("DATA", str(party))
    names = [task["name"].split(":")[0] for task in dodo.task_experiment()]
    assert names == [name for name in COMMANDS if name not in ("train-ahead", "experiment3")]


@pytest.mark.parametrize("name", ["DATA", "TARGET"])
def test_what_cannot_be_learned_and_tested_ends_in_a_sentence(
    dodo, party, write_dataset, monkeypatch, name
):
    monkeypatch.setenv("DATA", str(party))
    for rows, told in (
        ([face(f"{at}.png", "") for at in range(3)], "nobody in it is named"),
        ([face(f"{at}.png", f"p{at}") for at in range(3)], "everybody who is named has one photo"),
    ):
        monkeypatch.setenv(name, str(write_dataset(rows, told.split()[0])))
        with pytest.raises(SystemExit, match=told):
            list(dodo.task_experiment())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATA", "/nowhere/at/all", "DATA=/nowhere/at/all: no such folder"),
        ("TARGET", "/nowhere/at/all", "TARGET=/nowhere/at/all: no such folder"),
        ("EPOCHS", "many", "EPOCHS=many is no whole number"),
        ("PROFILE", "huge", "PROFILE=huge is unknown"),
    ],
)
def test_what_is_asked_wrongly_ends_in_a_sentence(dodo, monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=told):
        dodo.asked()


def test_a_folder_that_is_no_dataset_ends_in_a_sentence(dodo, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"no annotations\.csv in it"):
        dodo.asked()


def test_a_clone_that_may_not_be_written_to_ends_in_a_sentence(dodo, monkeypatch, tmp_path):
    monkeypatch.setattr(dodo, "ROOT", tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="nowhere: cannot be written to; make figures needs a"):
        dodo.asked()


# --- paths of any letters -------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path):
    """Function that runs make with programs that only note what they are given."""
    if not shutil.which("make"):
        pytest.skip("needs make")
    for name in ("python", "doit", "jupyter"):
        stub = tmp_path / name
        stub.write_text(STUB.format(folder=tmp_path))
        stub.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    plain = {name: value for name, value in plain.items() if name not in ASKED}

    def noted(file):
        path = tmp_path / file
        return path.read_text().split("\0")[:-1] if path.exists() else None

    def run(goal, *words, clone=paths.ROOT, **environment):
        asked = ["make", "--silent", goal, "READY=", f"BIN={tmp_path}", *words]
        subprocess.run(asked, cwd=clone, env=plain | environment, check=True)
        assert not (clone / "hacked").exists()
        return noted("jupyter.words" if goal == "lab" else "python.words"), noted("doit.asked")

    return run


@pytest.mark.parametrize("name", ODD)
def test_make_takes_every_path_as_it_is_written(make, name):
    assert make("figures", f"PHOTOS={name}") == (["dodo.py"], [name, "", "", ""])
    assert make("figures", PHOTOS=name) == (["dodo.py"], [name, "", "", ""])
    every = [f"{variable}={name}" for variable in ("PHOTOS", "DATA", "TARGET", "IMPORT")]
    assert make("figures", *every) == (["dodo.py"], [name] * 4)
    words, _ = make("benchmark", f"PEERS={name}")
    assert words[2:] == ["benchmark", "--seed", "0", "--peers", name]


def test_make_imports_nothing_unless_it_is_asked_to(make):
    assert make("figures") == (None, ["", "", "", ""])
    assert make("benchmark")[0][2:] == ["benchmark", "--seed", "0"]


def test_make_works_in_a_clone_of_any_path(make, tmp_path):
    clone = tmp_path / "Мои проекты" / "Anna's `touch hacked` $HOME"
    clone.mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, clone)
    told, _ = make("lab", clone=clone)
    assert told[0] == "lab" and f"--ServerApp.root_dir={clone}" in told
    assert make("publish", clone=clone)[0] == ["-m", "thesislib", "publish"]


@pytest.mark.parametrize("name", ODD)
def test_photos_become_the_dataset_that_doit_reads(dodo, monkeypatch, tmp_path, name):
    told = []
    monkeypatch.setattr(dodo, "main", lambda words: told.append(words) or 3)
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setenv("PHOTOS", f"photos/{name}")
    monkeypatch.setenv("IMPORT", "--min-photos 2 --allow 'names'")
    assert dodo.import_photos() == 3
    (words,) = told
    options = ["--min-photos", "2", "--allow", "names"]
    assert words[3:] == [*options, "--", "folder", f"photos/{name}"]
    assert words[:3] == ["data", "--to", str(tmp_path / name.rstrip("/"))]
    make_party(tmp_path).rename(tmp_path / name.rstrip("/"))
    assert str(dodo.asked()[0].data) == words[2]


def test_options_of_an_import_that_cannot_be_read_end_in_a_sentence(dodo, monkeypatch):
    monkeypatch.setenv("PHOTOS", "people")
    monkeypatch.setenv("IMPORT", "--encoding 'cp866")
    with pytest.raises(SystemExit, match="IMPORT=--encoding 'cp866: No closing quotation"):
        dodo.import_photos()


@pytest.mark.parametrize("name", ODD)
def test_doit_takes_a_dataset_of_any_name(dodo, monkeypatch, tmp_path, name):
    data = make_party(tmp_path).rename(tmp_path / name.rstrip("/"))
    for asked in ("DATA", "TARGET"):
        monkeypatch.setenv(asked, f"{tmp_path}/{name}")
    for task in (*dodo.task_experiment(), *dodo.task_notebook()):
        assert not set(task["name"]) & set("=*")  # which mean something to doit
        assert str(data) in words_of(task) or "nbconvert" in words_of(task)
        assert len(task["name"].encode()) < 255


def test_photos_that_were_not_imported_end_in_a_sentence(dodo, monkeypatch):
    monkeypatch.setenv("PHOTOS", "/nowhere/at/all.zip")
    with pytest.raises(SystemExit, match=r"DATA=.*data/all: no such folder"):
        dodo.asked()


def test_what_an_import_leaves_beside_a_dataset_is_none_of_it(dodo, monkeypatch, party):
    monkeypatch.setenv("DATA", str(party))
    before = dodo.state_of(*dodo.asked())
    for name in ("import.json", "to_look_over.csv", "contact_sheet.jpg"):
        (party / name).write_text("again")
    assert dodo.state_of(*dodo.asked()) == before
    (party / "photos/import.json").write_text("among the photos")
    assert dodo.state_of(*dodo.asked()) != before
