"""What `make figures` runs: which commands, in which order, and when there is nothing to do."""

import dataclasses
import functools
import importlib.util
import itertools
import os

import pytest

from thesislib import paths

COMMANDS = ["train-ahead", "experiment1", "experiment1-started"]
COMMANDS += ["experiment2", "experiment2-started", "experiment3"]


@pytest.fixture
def dodo(monkeypatch):
    """The file as doit reads it, asked for the profile `smoke`."""
    for name in ("DATA", "SPLIT", "SEED", "EPOCHS", "BATCH", "TARGET"):
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
    assert [task["name"][:2] for task in notebooks] == ["01", "02", "03", "04", "05"]
    for before, task in itertools.pairwise(notebooks):
        assert f"notebook:{before['name']}" in task["task_dep"]
        assert "experiment" in task["task_dep"]


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
