"""New people for a trained net: what changes, what must not, and who may take part."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import face, noise, thin_net
from PIL import Image

from thesislib import paths, tables
from thesislib.data.loading import Crops, PhotoStore, list_photos
from thesislib.data.schema import DatasetError, read_dataset
from thesislib.data.transforms import Augmentation
from thesislib.engine.train import learning_rate
from thesislib.experiments import transfer
from thesislib.experiments.baseline_comparison import Experiment
from thesislib.profiles import get_profile

PROFILE = dataclasses.replace(get_profile("smoke"), batch=4, crop_scale=(0.9, 1.1))
NEW = ["clara", "dora", "emil"]


@pytest.fixture
def crops(write_dataset):
    """Four photos of each of three people, each of a colour, one face a photo."""
    rows = [
        face(f"{who}{at}.png", who, (10, 10, 50, 55), width=90, height=70)
        for who in NEW
        for at in range(4)
    ]
    folder = write_dataset(rows)
    for at, row in enumerate(rows):
        pixels = noise(70, 90, seed=at) // 3
        pixels[:, :, at // 4] += 150
        Image.fromarray(pixels).save(folder / row["photo"])
    dataset = read_dataset(folder)
    photos = list_photos(dataset, NEW)
    store = PhotoStore(dataset, photos, 64, progress=False)
    return Crops(photos, store, 64, Augmentation((0.9, 1.1)), seed=0)


@pytest.fixture(params=["grid", "roi"])
def net(request):
    return thin_net(embedding_source=request.param).eval()


def changed(net, new):
    """Names of the parts whose weights or statistics are no longer the same."""
    before, after = net.state_dict(), new.state_dict()
    return {
        name.split(".")[0]
        for name in before
        if name.split(".")[0] != "classifier" and not torch.equal(before[name], after[name])
    }


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("classifier", set()),
        ("classifier_embedding", {"embedding_head"}),
        ("all", {"backbone", "regression_head", "embedding_head"}),
    ],
)
def test_what_is_trained_changes_and_nothing_else(net, crops, trainable, parts, tmp_path):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    new = transfer.transfer(net, crops, NEW, trainable, PROFILE, 3, 0, tmp_path / "run")
    assert changed(net, new) == parts
    assert new.identities == NEW and net.identities == ["anna", "boris"]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not new.training


@pytest.mark.parametrize("trainable", ["classifier", "classifier_embedding"])
def test_training_on_features_learns_and_repeats(net, crops, trainable, tmp_path):
    nets = [
        transfer.transfer(net, crops, NEW, trainable, PROFILE, 600, 0, tmp_path) for _ in range(2)
    ]
    for one, other in zip(
        nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    faces = transfer.face_features(nets[0], crops, 1, 4)
    vectors = transfer.embed_features(nets[0], faces.features, faces.anchors)
    right = (nets[0].classifier.at(vectors).argmax(dim=1) == faces.identities).float().mean()
    assert float(right) > 0.8


@pytest.mark.parametrize(("steps", "views"), [(1, 1), (4, 2), (100, transfer.VIEWS)])
def test_features_are_computed_of_no_more_views_than_the_steps_use(
    net, crops, steps, views, tmp_path, monkeypatch
):
    asked = []
    of_faces = transfer.face_features
    monkeypatch.setattr(
        transfer, "face_features", lambda *given: asked.append(given[2]) or of_faces(*given)
    )
    profile = dataclasses.replace(PROFILE, batch=4)  # of 12 crops
    transfer.transfer(net, crops, NEW, "classifier", profile, steps, 0, tmp_path)
    assert asked == [views]


def test_features_through_the_head_are_the_nets_embeddings(net, crops):
    faces = transfer.face_features(net, crops, 2, 5)
    assert len(faces.features) == len(faces.identities) == 24
    vectors = transfer.embed_features(net, faces.features, faces.anchors)
    wanted = []
    for key in [(view, at) for view in range(2) for at in range(12)]:
        photo, target = crops[key]
        wanted.append(net.embed_at(photo[None], [target["boxes"]])[0])
    torch.testing.assert_close(vectors, torch.cat(wanted), rtol=1e-3, atol=1e-4)


def test_a_step_on_features_is_the_loss_of_the_whole_net(crops):
    """One step of a twin that runs the net, not the features, leads to the same classifier."""
    net = transfer.for_people(thin_net().eval(), NEW, seed=3)
    faces = transfer.face_features(net, crops, 1, 4)
    twin = transfer.for_people(thin_net().eval(), NEW, seed=3)
    whole = dataclasses.replace(PROFILE, batch=len(faces.features), label_smoothing=0.1)
    transfer.train_on_features(net, faces, False, whole, 1, 0)
    vectors = torch.cat(
        [twin.embed_at(crops[0, at][0][None], [crops[0, at][1]["boxes"]])[0] for at in range(12)]
    )
    rate = learning_rate(0, 1, transfer.FROZEN_RATE, whole.warm_up)
    optimiser = torch.optim.AdamW(
        twin.classifier.parameters(), rate, weight_decay=whole.weight_decay
    )
    F.cross_entropy(twin.classifier.at(vectors), faces.identities, label_smoothing=0.1).backward()
    optimiser.step()
    for one, other in zip(net.classifier.parameters(), twin.classifier.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_class_means_against_loops():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 5)).astype(np.float32)
    vectors[4] = np.nan
    who = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    found = transfer.class_means(vectors, who, 3)
    for person in range(3):
        total = np.zeros(5)
        for vector, owner in zip(vectors, who, strict=True):
            if owner == person and not np.isnan(vector).any():
                total += vector / np.linalg.norm(vector)
        np.testing.assert_allclose(found[person], total / np.linalg.norm(total), rtol=1e-5)
    with pytest.raises(ValueError, match="person 3 has no embedding"):
        transfer.class_means(vectors, who, 4)


def test_the_nearest_class_mean_by_cosine_is_named():
    net = thin_net()
    means = np.eye(3, 8, dtype=np.float32)
    new = transfer.enrolled_by_means(net, means, NEW)
    vectors = torch.tensor([[0.1, 5, 0, 0, 0, 0, 0, 9.0], [1, 0.9, 0, 0, 0, 0, 0, 0]])
    assert new.classifier.at(vectors).argmax(dim=1).tolist() == [1, 0]
    assert not changed(net, new)


def test_unknown_trainable_is_refused(crops, tmp_path):
    with pytest.raises(ValueError, match="trainable='head'"):
        transfer.transfer(thin_net(), crops, NEW, "head", PROFILE, 1, 0, tmp_path)


# The experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("transfer")
    patch = pytest.MonkeyPatch()
    patch.setattr(paths, "RUNS", root / "runs")
    patch.setattr(paths, "TABLES", root / "tables")
    patch.setattr(paths, "DATA", root / "data")
    patch.setenv("PROFILE", "smoke")
    patch.setenv("TQDM_DISABLE", "1")
    for name in ("DATA", "TARGET", "EPOCHS", "BATCH", "SEED", "SPLIT"):
        patch.delenv(name, raising=False)
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def moved(root):
    return transfer.from_environment()


def test_every_variant_gives_its_rows_and_asked_again_nothing_is_trained(moved, root, monkeypatch):
    table = moved.run((1, 2), (0,))
    assert set(table["variant"]) == set(transfer.VARIANTS)
    for (variant, _), rows in table.groupby(["variant", "photos_per_person"]):
        wanted = {"accuracy", "joint_accuracy_50", "mean_iou", "old_mean_iou", "old_ap50"}
        if variant != "scratch":
            wanted.add("old_joint_accuracy_50")
        assert set(rows["metric"]) == wanted
        assert rows["value"].between(0, 1).all() and (rows["seconds"] > 0).all()
        assert set(rows["steps"]) == {0 if variant == "class_mean" else moved.steps}
    old = table[table["metric"].str.startswith("old")].set_index(["variant", "metric"])["value"]
    for name in ("classifier", "class_mean"):
        assert old[name].groupby("metric").nunique().eq(1).all()
    assert (old["classifier"] == old["class_mean"]).all()
    # An embedding head does not move boxes.
    head = old["classifier_embedding"]
    assert (head["old_mean_iou"] == old["class_mean"]["old_mean_iou"].iloc[0]).all()

    def never(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(transfer, "transfer", never)
    again = transfer.from_environment().run((1, 2), (0,))
    assert again.equals(table)
    stored = tables.read_table(root / "tables" / transfer.TABLE)
    assert len(stored) == len(table)


def test_a_larger_number_holds_the_photos_of_a_smaller(moved):
    chosen = {k: [photo.name for photo in moved.few(k, seed=1)] for k in (1, 2, 4, 8)}
    people = len(moved.identities)
    assert people == 3
    for k, names in chosen.items():
        assert len(names) == k * people
    assert set(chosen[1]) < set(chosen[2]) < set(chosen[4]) < set(chosen[8])
    test = {photo.name for photo in moved.test_photos}
    assert test and not test & set(chosen[8])
    assert chosen[2] != [photo.name for photo in moved.few(2, seed=2)]


def test_people_of_the_source_are_no_new_people(moved):
    same = transfer.Transfer(moved.source, moved.source.data, 2)
    with pytest.raises(DatasetError, match=r"is in .* too"):
        _ = same.identities


def test_too_few_photos_are_named(moved):
    with pytest.raises(DatasetError, match="0 people have 50 training photos"):
        _ = dataclasses.replace(moved, most=50).identities


def test_the_command_says_what_gives_the_row(moved):
    assert moved.command() == (
        "python -m thesislib.transfer --source synthetic-smoke --target synthetic-smoke_newcomers "
        "--profile smoke --steps 2"
    )
    assert moved.command((0,)).endswith("--steps 2 --seeds 0")
    profile = dataclasses.replace(moved.source.profile, epochs=7)
    source = dataclasses.replace(moved.source, profile=profile)
    assert isinstance(source, Experiment)
    assert transfer.Transfer(source, moved.target, 3).command().endswith("--steps 3 --epochs 7")


def test_a_target_of_ones_own(moved, monkeypatch):
    monkeypatch.setenv("TARGET", str(moved.target))
    assert transfer.from_environment().target == moved.target
