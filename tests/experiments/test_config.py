"""What a run is, what tells it from others, and what its results say about it."""

import dataclasses
import inspect
import math
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import face, noise
from PIL import Image

from thesislib import paths, tables
from thesislib.data.schema import DatasetError
from thesislib.data.splits import SPLIT_KINDS
from thesislib.engine import train
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config, make_config
from thesislib.profiles import PROFILES, Margin, Profile, get_profile
from thesislib.reporting.figures import save

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = ("PROFILE", "DATA", "PHOTOS", "SPLIT", "SEED", "EPOCHS", "BATCH", "TARGET")
# Of every field of a profile, a value that the profile smoke does not have.
CHANGED = {
    "backbone": "resnet50",
    "input_px": 72,
    "stride": 16,
    "pooling": 2,
    "anchors": 5,
    "embedding_dim": 17,
    "normalised": False,
    "margin": Margin("cosface", 0.25, 12.0),
    "embedding_source": "roi",
    "epochs": 7,
    "batch": 9,
    "learning_rate": 0.0123,
    "warm_up": 0.35,
    "weight_decay": 0.07,
    "crop_scale": (0.8, 1.3),
    "flip": 0.25,
    "colour": 0.35,
    "lambda_box": 3.5,
    "lambda_no_object": 1.5,
    "lambda_identity": 2.5,
    "label_smoothing": 0.15,
    "learned_balance": True,
    "transfer_steps": 77,
    "trainings": 4,
    "started_px": 99,
    "people": "crowd",
    "many_people": "crowd",
    "new_people": "crowd",
    "workers": 3,
}
# What a trained net does not depend on: which synthetic people are made is told by their content.
NOT_IN_THE_KEY = {"workers", "people", "many_people", "new_people", "transfer_steps"}
NOT_IN_THE_KEY |= {"trainings", "started_px"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project's folder of its own."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def people(write_dataset):
    """Folder of two people in two sessions, six photos each."""
    return write_dataset(
        [
            face(f"photos/{who}{at}.png", who, session=str(at % 2))
            for who in ("anna", "boris")
            for at in range(6)
        ]
    )


@pytest.fixture
def config(root, people):
    return Config(people, get_profile("smoke"))


# --- what is asked for ------------------------------------------------------------------------


def test_the_environment_says_which_run(root, monkeypatch):
    plain = configs.from_environment()
    assert plain == Config(root / "data/synthetic", get_profile("quick"))
    assert configs.is_default(plain)
    elsewhere = root / "notebooks"  # a relative DATA is the project's, wherever a notebook runs
    elsewhere.mkdir()
    (root / "data/mine").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    values = {"DATA": "data/mine", "SPLIT": "session", "SEED": "3", "EPOCHS": "7", "BATCH": "9"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    profile = dataclasses.replace(get_profile("quick"), epochs=7, batch=9)
    asked = configs.from_environment()
    assert asked == Config(root / "data/mine", profile, "session", 3)
    assert not configs.is_default(asked)
    assert configs.target_from_environment() is None
    monkeypatch.setenv("TARGET", "data/mine")
    assert configs.target_from_environment() == root / "data/mine"


def test_the_environment_says_which_photos(root, monkeypatch):
    monkeypatch.setenv("PHOTOS", "Anna's photos.zip")
    assert configs.from_environment().data == root / "data/Anna's photos"
    monkeypatch.setenv("DATA", "data/mine")
    assert configs.from_environment().data == root / "data/mine"


def test_an_unknown_profile_split_or_field_is_named(root, monkeypatch):
    monkeypatch.setenv("PROFILE", "gigantic")
    with pytest.raises(ValueError, match="PROFILE=gigantic is unknown; choose one of quick"):
        configs.from_environment()
    with pytest.raises(ValueError, match="split 'clip' is unknown; choose photo, session"):
        make_config(split="clip")
    with pytest.raises(ValueError, match="a profile has no momentum"):
        make_config(momentum=0.9)


@pytest.mark.parametrize("name", ["EPOCHS", "BATCH", "SEED"])
@pytest.mark.parametrize("value", ["ten", "-1", "1.5"])
def test_a_setting_that_is_no_count_is_named(root, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    least = 0 if name == "SEED" else 1
    with pytest.raises(ValueError, match=f"{name}={value} is no whole number of at least {least}"):
        configs.from_environment()


def test_no_epochs_are_refused(root, monkeypatch):
    monkeypatch.setenv("EPOCHS", "0")
    with pytest.raises(ValueError, match="EPOCHS=0 is no whole number of at least 1"):
        configs.from_environment()


def test_a_dataset_is_found_by_its_path_or_its_name(root, monkeypatch):
    for name in ("data/mine", "here"):
        (root / name).mkdir(parents=True)
    monkeypatch.chdir(root / "here")
    assert configs.data_folder(root / "here") == root / "here"
    assert configs.data_folder("data/mine") == root / "data/mine"
    assert configs.data_folder("mine") == root / "data/mine"
    assert configs.data_folder("to-be-made") == root / "data/to-be-made"
    assert configs.data_folder("data/none") == root / "data/none"


def test_data_pointing_nowhere_is_named(root):
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        configs.parts(make_config(root / "nowhere", "smoke"))


def test_the_default_people_are_made_and_no_others(root, people, monkeypatch):
    made = []
    monkeypatch.setattr(configs.sets, "make", lambda folder, *_, **options: made.append(folder))
    configs.prepare(make_config(people, "smoke"))
    assert made == []
    configs.prepare(make_config(None, "smoke"))
    assert made == [root / "data/synthetic-smoke"]


WORKER = """
import os, sys
from pathlib import Path
from thesislib.experiments import config as configs
from thesislib.synthetic import sets

rank, made, write = os.environ["RANK"], sets.make, sets.write_annotations

def make(folder, spec, **options):
    if spec is sets.SETS["crowd"] and rank == "0":
        raise OSError("the disk of process 0 is full")
    made(folder, spec, workers=1, **options)

def noted(folder, table):
    with open(Path(folder) / "made_by", "a") as file:
        print(rank, file=file)
    write(folder, table)

sets.make, sets.write_annotations = make, noted
for name in ("smoke", "quick", "crowd"):
    sets.SETS[name] = sets.SyntheticSet(people=2, photos=4, sessions=2, size=48)
smoke = configs.make_config(None, "smoke")
configs.prepare(smoke)
assert len(configs.read(smoke.data).photos) == 4
configs.prepare(configs.make_config(None, "quick"))
configs.prepare(smoke)
told = "nothing"
try:
    configs.make_synthetic("crowd")
except OSError as error:
    told = str(error)
(Path(os.environ["THESIS_ROOT"]) / f"told-{rank}").write_text(told)
"""


def test_one_of_several_processes_makes_people_and_an_error_is_every_ones(tmp_path):
    """As on two machines, with two processes each and a folder that they share."""
    (tmp_path / "worker.py").write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
        "THESIS_ROOT": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    machines = [
        subprocess.Popen(
            [*launch, f"--node-rank={at}", tmp_path / "worker.py"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at in (0, 1)
    ]
    for machine in machines:
        _, told = machine.communicate(timeout=300)
        assert machine.returncode == 0, told
    for name in ("synthetic-smoke", "synthetic"):
        assert len((tmp_path / "data" / name / "made_by").read_text().split()) == 1
    assert [(tmp_path / f"told-{rank}").read_text() for rank in range(4)] == [
        "the disk of process 0 is full"
    ] * 4


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["photo", "session"])
def test_parts_are_those_of_the_split(config, split):
    parts = configs.parts(dataclasses.replace(config, split=split))
    part = parts.split.set_index("photo")["part"]
    assert {*parts.train.photos, *parts.test.photos} == set(parts.dataset.photos)
    assert set(part[parts.train.photos]) == {"train"}
    assert set(part[parts.test.photos]) == {"test"}


@pytest.mark.parametrize(
    ("name", "told"), [("", "nobody in it is named"), ("anna", "only 'anna' is named in it")]
)
def test_parts_of_a_dataset_of_no_or_one_name_are_refused(write_dataset, name, told):
    folder = write_dataset([face(f"{at}.png", name, session=str(at)) for at in range(6)], "few")
    for split in ("photo", "session"):
        with pytest.raises(DatasetError, match=told):
            configs.parts(Config(folder, get_profile("smoke"), split))


def test_a_holdout_never_sees_a_test_photo(config):
    test = set(configs.parts(config).test.photos)
    tuning = configs.parts(dataclasses.replace(config, holdout=True))
    seen = {*tuning.train.photos, *tuning.test.photos}
    assert seen and not seen & test


def test_a_dataset_is_read_again_when_a_file_in_it_changed_and_only_then(config):
    first = configs.parts(config)
    assert configs.parts(dataclasses.replace(config)) is first
    Image.fromarray(noise(32, 48, seed=77)).save(config.data / first.dataset.photos[0])
    again = configs.parts(config)
    assert again.dataset.content_hash != first.dataset.content_hash


OUT_OF_RANGE = [
    *((name, 0) for name in ("input_px", "started_px", "pooling", "anchors", "embedding_dim")),
    *((name, 0) for name in ("epochs", "batch", "transfer_steps", "learning_rate")),
    ("trainings", 0),
    *((name, -0.5) for name in ("lambda_box", "lambda_no_object", "lambda_identity", "colour")),
    *((name, math.nan) for name in ("learning_rate", "weight_decay", "warm_up", "flip")),
    *(("learning_rate", math.inf), ("warm_up", 1.5), ("flip", -0.1), ("label_smoothing", 1.0)),
    *(("workers", -1), ("stride", 8), ("stride", 0), ("input_px", 63)),
    *(("crop_scale", scale) for scale in [(0.0, 1.0), (1.2, 0.9), (0.5, math.nan)]),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_setting_out_of_its_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {re.escape(str(value))}"):
        Profile("x", **{name: value})


@pytest.mark.parametrize("margin", [(-1.0, 16.0), (math.nan, 16.0), (0.2, 0.0), (0.2, math.inf)])
def test_a_margin_out_of_its_range_is_refused(margin):
    with pytest.raises(ValueError, match="out of range"):
        Margin("cosface", *margin)


# --- what tells runs apart --------------------------------------------------------------------


def test_every_field_of_a_profile_is_changed_here():
    assert CHANGED.keys() == {field.name for field in dataclasses.fields(Profile)} - {"name"}


@pytest.mark.parametrize("name", CHANGED)
def test_every_changed_field_is_part_of_the_command_and_of_the_key(config, name):
    changed = dataclasses.replace(config.profile, **{name: CHANGED[name]})
    other = dataclasses.replace(config, profile=changed)
    assert (configs.key(other) == configs.key(config)) == (name in NOT_IN_THE_KEY)
    usual, words = (shlex.split(configs.command(one, "experiment1")) for one in (config, other))
    value = CHANGED[name]
    values = dataclasses.astuple(value) if name == "margin" else value
    several = isinstance(values, tuple)
    for one in values if several else [values]:
        assert words.count(str(one)) > usual.count(str(one))
    assert any(word.startswith("--" + name.replace("_", "-")) for word in words)


def test_the_command_gives_the_config_again(root, people, monkeypatch):
    start = root / "runs/nets/first"
    start.mkdir(parents=True)
    profile = dataclasses.replace(get_profile("laptop"), epochs=3, learning_rate=0.004)
    asked = Config(people, profile, "session", 2, start, holdout=True)
    words = shlex.split(configs.command(asked, "experiment1"))
    assert words[:4] == ["python", "-m", "thesislib", "experiment1"]
    assert words[-1] == "--holdout"
    options = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[4:-1:2], words[5:-1:2], strict=True)
    }
    options |= {"epochs": int(options["epochs"]), "seed": int(options["seed"])}
    options["learning_rate"] = float(options["learning_rate"])
    monkeypatch.setattr(paths, "DATA", people.parent)  # it names the folder, not the machine's path
    assert make_config(**options, holdout=True) == asked


def test_a_command_may_have_options_of_its_own(config):
    words = configs.command(config, "experiment3", split=None, arms=["linear", "roi"])
    name, profile = config.data.name, config.profile.name
    assert words == (
        f"python -m thesislib experiment3 --data {name} --profile {profile} --seed 0 "
        "--arms linear roi"
    )
    arm = dataclasses.replace(config.profile, label_smoothing=0.3)
    same = configs.command(dataclasses.replace(config, profile=arm), "experiment3", arm)
    assert "smoothing" not in same


def test_runs_that_differ_have_keys_of_their_own(config, tmp_path, write_dataset):
    for at in range(2):
        (tmp_path / f"start{at}.safetensors").write_bytes(bytes([at]))
    others = [
        *(dataclasses.replace(config, split=split) for split in SPLIT_KINDS[1:]),
        dataclasses.replace(config, seed=1),
        dataclasses.replace(config, holdout=True),
        *(
            dataclasses.replace(config, start=tmp_path / f"start{at}.safetensors")
            for at in range(2)
        ),
        *(dataclasses.replace(config, profile=profile) for profile in PROFILES.values()),
    ]
    keys = {configs.key(one) for one in [config, *others]}
    assert len(keys) == len(others)  # of the profiles one is the config's own
    assert configs.key(config, people=3) not in keys
    Image.fromarray(noise(32, 48, seed=77)).save(config.data / "photos/anna0.png")
    assert configs.key(config) not in keys  # another dataset of the same name


def test_another_arithmetic_is_another_run(config, monkeypatch):
    keys = set()
    for precision in ("fp32", "bf16"):
        monkeypatch.setattr(train, "precision", lambda precision=precision: precision)
        keys.add(configs.key(config))
    assert len(keys) == 2


# --- what results say about it ----------------------------------------------------------------


def test_rows_carry_every_column_of_a_run(config):
    about = configs.columns(config, "abc", "python")
    assert set(about) == {"dataset", "split", *tables.RUN_COLUMNS}
    assert about["start"] == "scratch"


def test_a_start_is_known_by_its_name(config, tmp_path):
    assert configs.start_name(tmp_path / "mine.safetensors") == "mine"
    assert configs.start_name(tmp_path / "run-1/net.safetensors") == "run-1"
    assert configs.start_name(tmp_path / "run-1") == "run-1"


def test_a_row_keeps_the_commit_it_was_computed_at(config):
    about = configs.columns(config, "abc", "python")
    rows = configs.with_columns(pd.DataFrame({"value": [1.0], "commit": ["old"]}), about)
    assert rows.loc[0, "commit"] == "old"
    assert rows.loc[0, "run"] == "abc"


def test_a_figure_is_told_all_that_saving_it_asks_for(config):
    asked = inspect.signature(save.save).parameters
    needed = {name for name, one in asked.items() if one.default is inspect.Parameter.empty}
    about = configs.figure_about(config, "02_joint_training")
    assert needed == {*about, "figure", "name", "caption"}
    assert about["notebook"] == "02_joint_training.ipynb"
    assert about["private"]  # not made by the generator, whatever its name


@pytest.mark.parametrize("name", CHANGED)
def test_the_command_line_takes_the_command(config, name, monkeypatch):
    from thesislib.__main__ import main
    from thesislib.experiments import baseline_comparison

    run = []
    columns = ["system", "metric", "value", "low", "high", "n"]

    def noted(asked, systems):
        run.append(asked)
        return pd.DataFrame(columns=columns)

    monkeypatch.setattr(baseline_comparison, "run", noted)
    monkeypatch.setattr(paths, "DATA", config.data.parent)
    changed = dataclasses.replace(config.profile, **{name: CHANGED[name]})
    asked = dataclasses.replace(config, profile=changed, split="session", seed=5)
    words = shlex.split(configs.command(asked, "experiment1"))
    main(words[3:])
    assert run == [asked]
