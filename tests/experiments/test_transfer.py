"""Experiment 2 from end to end: who is given to a net, what is measured, what is kept."""

import dataclasses
import shlex
import shutil

import numpy as np
import pytest
from conftest import DEVICES, PARTY, make_party
from couples import write_couples

from thesislib import cache, paths, tables
from thesislib.__main__ import main
from thesislib.engine import train
from thesislib.engine.evaluate import evaluate
from thesislib.experiments import config as configs
from thesislib.experiments import transfer
from thesislib.experiments.config import Config
from thesislib.experiments.new_people import few_photos, new_people
from thesislib.experiments.systems import trained_joint
from thesislib.profiles import PROFILES, Profile

PROFILE = Profile(
    "tiny",
    backbone="resnet18",
    input_px=48,
    pooling=1,
    anchors=1,
    normalised=True,
    embedding_dim=8,
    epochs=1,
    batch=8,
    transfer_steps=2,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", root / "runs")
        patch.setattr(paths, "TABLES", root / "tables")
        patch.setenv("TQDM_DISABLE", "1")
        yield root


@pytest.fixture(scope="module")
def source(root):
    """People whom photos show in company, with names that a table may misread."""
    return Config(make_party(root), PROFILE)


@pytest.fixture(scope="module")
def target(root):
    return write_couples(root / "target", ("0", "nan", "eva", "False"), photos=4)


@pytest.fixture(scope="module")
def table(source, target):
    return transfer.run(source, target, None, (1, 2), (0,), at_least=4)


def test_every_variant_gives_its_rows(table, source):
    assert set(table["variant"]) == set(transfer.VARIANTS)
    for (variant, _), rows in table.groupby(["variant", "photos_per_person"]):
        wanted = {"accuracy", "joint_accuracy_50", "mean_iou", "old_mean_iou", "old_ap50"}
        if variant != "scratch":
            wanted.add("old_joint_accuracy_50")
        assert set(rows["metric"]) == wanted
        assert rows["value"].between(0, 1).all() and (rows["seconds"] > 0).all()
        assert set(rows["steps"]) == {0 if variant == "class_mean" else 2}
    old = table[table["metric"].str.startswith("old")].set_index(["variant", "metric"])["value"]
    for name in ("classifier", "class_mean"):
        assert old[name].groupby("metric").nunique().eq(1).all()
    assert (old["classifier"] == old["class_mean"]).all()
    # An embedding head does not move boxes.
    head = old["classifier_embedding"]
    assert (head["old_mean_iou"] == old["class_mean"]["old_mean_iou"].iloc[0]).all()
    before = evaluate(trained_joint(source), configs.parts(source).test).joint_accuracy()
    assert (old["class_mean"]["old_joint_accuracy_50"] == before).all()


def test_rows_say_what_they_are_of(table, root):
    stored = tables.read_table(root / "tables" / transfer.RESULTS_TABLE)
    assert len(stored) == len(table)
    assert set(stored["source"]) == {"party"} and set(stored["target"]) == {"target"}
    assert (stored[list(tables.RUN_COLUMNS)] != "").all(axis=None)
    assert stored["run"].nunique() == 1
    assert not {"dataset", "split"} & set(stored)


def test_asked_again_nothing_is_done(table, source, target, monkeypatch):
    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(transfer, "adapted", never)
    monkeypatch.setattr(train, "fit", never)
    assert transfer.run(source, target, None, (1, 2), (0,), at_least=4).equals(table)
    for other in ({"steps": 3}, {"at_least": 5}, {"run_seeds": (1,)}):
        asked = {"photos_per_person": (1,), "run_seeds": (0,), "at_least": 4} | other
        with pytest.raises(AssertionError, match="done again"):
            transfer.run(source, target, **asked)


def test_another_target_of_the_same_name_has_rows_of_its_own(table, source, root, target):
    """The same folder name, other photos: neither a folder nor a row is shared."""
    other = root / "elsewhere/target"
    shutil.copytree(target, other)
    rows = (other / "annotations.csv").read_text().splitlines(keepends=True)
    (other / "annotations.csv").write_text("".join(rows).replace(",eva,", ",ada,"))
    found = transfer.run(source, other, None, (1,), (0,), ["class_mean"], at_least=4)
    assert set(found["run"]).isdisjoint(table["run"])
    stored = tables.read_table(root / "tables" / transfer.RESULTS_TABLE)
    assert len(stored) == len(table) + len(found)
    folders = list((paths.RUNS / "transfer").glob("party-target-*"))
    assert len({folder.name for folder in folders}) >= 2


def test_an_interrupted_transfer_goes_on(source, target, monkeypatch):
    asked = (source, target, None, (1,), (5,), ["class_mean", "all"])
    whole, calls = cache.table, []

    def interrupted(path, compute):
        calls.append(path.name)
        if path.name.startswith("all"):
            raise KeyboardInterrupt
        return whole(path, compute)

    monkeypatch.setattr(cache, "table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(*asked, at_least=4)
    monkeypatch.setattr(cache, "table", whole)
    adapted, done = transfer.adapted, []
    monkeypatch.setattr(
        transfer, "adapted", lambda *given: done.append(given[2]) or adapted(*given)
    )
    table = transfer.run(*asked, at_least=4)
    assert done == ["all"] and set(table["variant"]) == {"class_mean", "all"}
    left = [path for path in (paths.RUNS / "transfer").glob("*/*") if path.is_dir()]
    assert not left  # weights of what was measured are not kept


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", transfer.VARIANTS)
def test_an_adapted_net_names_the_new_people_where_the_old_one_was(
    source, target, variant, device, tmp_path
):
    people = new_people(source, target, 4)
    photos = few_photos(people.train, 1, seed=0)
    net = trained_joint(source).to(device)
    new, seconds = transfer.adapted(net, photos, variant, source, 1, 0, tmp_path / "run")
    assert new.identities == people.identities == ["0", "False", "eva", "nan"]
    assert net.identities == sorted(PARTY) and net.device.type == device
    if variant != "scratch":
        assert new.device == net.device
    assert seconds > 0
    report = evaluate(new, people.test)
    assert set(report.faces["predicted_identity"]) <= {*people.identities, ""}
    assert np.isfinite(report.joint_accuracy())


def test_what_cannot_be_asked_is_refused(source, target):
    with pytest.raises(ValueError, match="unknown variants head"):
        transfer.run(source, target, variants=["head"])
    with pytest.raises(ValueError, match="9 photos per person, but everybody has only 8"):
        transfer.run(source, target, photos_per_person=(1, 9))


def test_the_recorded_command_asks_for_the_same_again(source, target, monkeypatch, capsys):
    """With BATCH, EPOCHS and a split set, too."""
    smoke = dataclasses.replace(PROFILES["smoke"], batch=7, epochs=9)
    asked = dataclasses.replace(source, profile=smoke, split="session", seed=3)
    of_all = transfer._columns(asked, target, 5, (0, 1), 4, ["all"])
    words = shlex.split(of_all["command"])
    assert words[:3] == ["python", "-m", "thesislib"]
    monkeypatch.setattr(paths, "DATA", source.data.parent)
    given = []

    def run(*values, **named):
        given.append((values, named))
        raise ValueError("far enough")

    monkeypatch.setattr(transfer, "run", run)
    assert main(words[3:]) == 1 and capsys.readouterr().err == "far enough\n"
    (config, people, steps), named = given[0]
    assert config == dataclasses.replace(asked, data=config.data)
    assert config.data.samefile(asked.data) and configs.data_folder(people).samefile(target)
    assert steps == 5
    assert named == {"run_seeds": (0, 1), "at_least": 4, "variants": ("all",)}
    usual = transfer._columns(source, target, 2, transfer.usual_seeds(source), 8)["command"]
    assert not {"--seeds", "--at-least", "--variants"} & set(usual.split())


def test_a_short_profile_leaves_out_what_trains_the_backbone(source, published):
    quick = dataclasses.replace(source, profile=PROFILES["quick"])
    short = ("class_mean", "classifier", "classifier_embedding")
    assert transfer.variants_of(quick) == transfer.variants_of(configs.started(quick)) == short
    assert transfer.variants_of(source) == transfer.VARIANTS
    assert transfer.variants_of(configs.started(source)) == (*short, "all")
