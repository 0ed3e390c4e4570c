"""Experiment 2 from end to end: who is given to a net, what is measured, what is kept."""

import dataclasses
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import DEVICES, PARTY, make_party
from couples import write_couples

from thesislib import paths, tables
from thesislib.__main__ import main
from thesislib.data.images import read_photo
from thesislib.engine import train
from thesislib.engine.embed import annotated_faces, embed
from thesislib.engine.evaluate import evaluate
from thesislib.engine.transfer import enrol_class_means, enrol_nearest
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


BUDGETS = dict.fromkeys((*transfer.UNTRAINED, *tables.REFERENCES), ("none",))
BUDGETS |= dict.fromkeys(transfer.TRAINED, ("equal", "converged"))


def test_every_variant_and_reference_gives_its_rows(table):
    found = table.groupby(["variant", "budget", "photos_per_person"])["metric"].agg(set)
    asked = {(name, one, count) for name in BUDGETS for one in BUDGETS[name] for count in (1, 2)}
    assert set(found.index) == asked
    new, never = {"accuracy", "joint_accuracy_50", "mean_iou"}, {"old_joint_accuracy_50"}
    old = {"old_joint_accuracy_50", "old_mean_iou", "old_ap50", "old_accuracy_enrolled"}
    for (variant, _, count), metrics in found.items():
        if variant in transfer.VARIANTS:
            # Old people are asked after the most photos of the new ones alone.
            wanted = new | (old if count == 2 else set())
            assert metrics == wanted - (never if variant == "scratch" else set())
    assert found["hog_nearest", "none", 1] == {"oracle_box_accuracy"}
    assert found["constant_box", "none", 1] == {"mean_iou"}
    assert found["dlib_aligned_nearest", "none", 1] == {*new, "oracle_box_accuracy"}
    assert table["value"].between(0, 1).all()
    chance = table[table["variant"] == "chance"]
    assert chance["value"].tolist() == [0.25] * 4
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    assert set(table["device"]) <= {"cpu", *gpu}


def test_trainings_are_as_long_as_each_other_and_as_long_as_it_takes(table):
    steps = table.groupby(["variant", "budget"])["steps"].agg(set)
    for variant in transfer.TRAINED:
        assert steps[variant, "equal"] == {2}
        assert steps[variant, "converged"] <= {2 * 2**at for at in range(6)}
    for variant in transfer.UNTRAINED:
        assert steps[variant, "none"] == {0}


def test_what_stays_of_the_old_people(table, source):
    old = table[table["metric"].str.startswith("old") & (table["budget"] != "equal")]
    old = old.set_index(["variant", "metric"])["value"]
    for name in ("classifier", "nearest"):
        pd.testing.assert_series_equal(old[name], old["class_mean"])
    # An embedding head does not move boxes.
    head = old["classifier_embedding"]
    assert head["old_mean_iou"] == old["class_mean"]["old_mean_iou"]
    divided, net = configs.parts(source), trained_joint(source)
    before = evaluate(net, divided.test).joint_accuracy()
    assert old["class_mean"]["old_joint_accuracy_50"] == pytest.approx(before)
    again = evaluate(enrol_class_means(net, divided.train), divided.test).accuracy()
    assert old["class_mean"]["old_accuracy_enrolled"] == pytest.approx(again)


def test_a_training_ends_where_photos_that_are_left_get_no_better(source, target, monkeypatch):
    """The rung after the best one is the last."""
    people = new_people(source, target, 4)
    own = transfer.Transfer(source, people, steps=2, most=2)
    left = own._left
    assert not set(left.photos) & set(few_photos(people.train, 2, source.seed).photos)
    assert not set(left.photos) & set(people.test.photos)
    assert set(left.identities) == set(people.identities)  # one of everybody, at least
    asked = []

    def adapted(net, photos, variant, source, steps, seed, out, faces):
        asked.append(steps)
        return f"net of {steps}", 0.5 * steps

    right = {2: 0.3, 4: 0.5, 8: 0.6, 16: 0.6, 32: 0.9}
    monkeypatch.setattr(transfer, "adapted", adapted)
    monkeypatch.setattr(
        transfer.Transfer, "_right", lambda self, net, variant: right[int(net.split()[-1])]
    )
    monkeypatch.setattr(transfer.Transfer, "_tested", lambda self, net, *told: (net, told))
    found = own._measured("all", 2)
    assert asked == [2, 4, 8, 16]
    assert found["equal"] == ("net of 2", ("all", "equal", 2, 1.0, 2))
    assert found["converged"] == ("net of 8", ("all", "converged", 2, 4.0, 8))


def test_the_nearest_photo_names_as_a_loop_over_photos_does(source, target):
    people, net = new_people(source, target, 4), trained_joint(source)
    photos = few_photos(people.train, 2, seed=0)
    new = enrol_nearest(net, photos)
    vectors, names = embed(net, photos), annotated_faces(photos)["identity"].tolist()
    for photo in people.test.photos[:6]:
        pixels = read_photo(people.test.folder / photo)
        named, found = (one.predict_arrays([pixels], 0.0)[0] for one in (new, net))
        for face, own in zip(named, found, strict=True):
            cosines = [
                vector @ own.embedding / np.linalg.norm(vector) if name else -np.inf
                for vector, name in zip(vectors, names, strict=True)
            ]
            assert face.name == names[int(np.argmax(cosines))]


def test_variants_are_compared_over_people(table, source, target, root, monkeypatch):
    path = root / "tables" / transfer.PAIRS_TABLE
    assert not path.exists()  # of fewer than three seeds nothing could be claimed
    monkeypatch.setattr(transfer, "LEAST_SEEDS", 1)
    transfer.run(source, target, None, (1, 2), (0,), at_least=4)
    pairs = tables.read_table(path)
    path.unlink()
    assert set(pairs["photos_per_person"]) == {1, 2}
    told = pairs[(pairs["metric"] == "accuracy") & (pairs["photos_per_person"] == 2)]
    against = {(r.variant, r.budget, r.against, r.against_budget) for r in told.itertuples()}
    assert ("classifier", "converged", "class_mean", "none") in against
    assert ("classifier", "converged", "all", "converged") in against
    assert ("nearest", "none", "class_mean", "none") in against
    assert not {"chance", "hog_nearest"} & {one for pair in against for one in pair}
    assert not pairs["holds"].any()  # one seed is none
    value = table[(table["metric"] == "accuracy") & (table["photos_per_person"] == 2)]
    value = value.set_index(["variant", "budget"])["value"]
    row = told.set_index(["variant", "budget", "against", "against_budget"]).loc[
        ("classifier", "converged", "class_mean", "none")
    ]
    difference = value["classifier", "converged"] - value["class_mean", "none"]
    assert row["value"] == pytest.approx(difference, abs=1e-5)


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
    for other in ({"steps": 3}, {"at_least": 3}, {"run_seeds": (1,)}):
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
    asked = (source, target, None, (1,), (0,), ["nearest", "all"])
    adapted, done = transfer.adapted, []

    def interrupted(*given):
        if given[2] == "all":
            raise KeyboardInterrupt
        return adapted(*given)

    shutil.rmtree(paths.RUNS / "transfer")
    monkeypatch.setattr(transfer, "adapted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        transfer.run(*asked, at_least=4)
    monkeypatch.setattr(
        transfer, "adapted", lambda *given: done.append(given[2]) or adapted(*given)
    )
    table = transfer.run(*asked, at_least=4)
    assert set(done) == {"all"}
    assert set(table["variant"]) == {"nearest", "all", *tables.REFERENCES}
    left = [path for path in (paths.RUNS / "transfer").glob("*/*training*") if path.is_dir()]
    assert not left  # weights of what was measured are not kept


def test_references_are_measured_once_whatever_net_is_given_the_people(source, target, monkeypatch):
    people = new_people(source, target, 4)
    first = transfer.Transfer(source, people, 1, 1).found("pixel_nn_face", 1)["none"]

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(transfer, "reference", never)
    longer = dataclasses.replace(source.profile, epochs=source.profile.epochs + 1)
    other = transfer.Transfer(dataclasses.replace(source, profile=longer), people, 2, 1)
    again = other.found("pixel_nn_face", 1)["none"]
    pd.testing.assert_frame_equal(again.rows, first.rows)
    assert other.folder != transfer.Transfer(source, people, 1, 1).folder


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", transfer.VARIANTS)
def test_an_adapted_net_names_the_new_people_where_the_old_one_was(
    source, target, variant, device, tmp_path
):
    people = new_people(source, target, 4)
    photos = few_photos(people.train, 1, seed=0)
    net = trained_joint(source).to(device)
    new, seconds = transfer.adapted(net, photos, variant, source, 1, 0, tmp_path / "run")
    assert sorted(new.identities) == people.identities == ["0", "False", "eva", "nan"]
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
    with pytest.raises(ValueError, match="9 photos per person, but everybody has only 9, and one"):
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
    usual = transfer._columns(source, target, 2, [source.seed], 9)["command"]
    assert not {"--seeds", "--at-least", "--variants"} & set(usual.split())


def test_a_short_profile_leaves_out_what_trains_the_backbone(source, published):
    quick = dataclasses.replace(source, profile=PROFILES["quick"])
    short = ("class_mean", "nearest", "classifier", "classifier_embedding")
    assert transfer.variants_of(quick) == transfer.variants_of(configs.started(quick)) == short
    assert transfer.variants_of(source) == transfer.VARIANTS
    assert transfer.variants_of(configs.started(source)) == (*short, "all")
