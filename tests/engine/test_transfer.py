"""New identities for a trained net: what changes, what must not, and whose the weights are."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ANCHORS, DEVICES, PARTY, face, noise, student_net, thin_net
from PIL import Image

from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import Dataset, DatasetError, read_dataset, subset
from thesislib.engine import transfer
from thesislib.engine.checkpoint import CheckpointError, load_net
from thesislib.engine.embed import annotated_faces, embed
from thesislib.engine.optimiser import learning_rate
from thesislib.engine.train import training_crops
from thesislib.models.joint import JointNet
from thesislib.profiles import Margin, get_profile

PROFILE = dataclasses.replace(get_profile("smoke"), batch=4, crop_scale=(0.9, 1.1))


@pytest.fixture
def people(write_dataset):
    """Four photos of each of three people, each of a colour, one face per photo."""
    rows = [
        face(f"{at}{who}.png", name, (10, 10, 50, 55), width=90, height=70)
        for who, name in enumerate(PARTY)
        for at in range(4)
    ]
    folder = write_dataset(rows)
    for at, row in enumerate(rows):
        pixels = noise(70, 90, seed=at) // 3
        pixels[:, :, at // 4] += 150
        Image.fromarray(pixels).save(folder / row["photo"])
    return read_dataset(folder)


def resnet(seed=0, **settings):
    """A net that can be opened again from its file, as a thin one cannot."""
    torch.manual_seed(seed)
    usual = {"input_px": 64, "pooling": 1, "embedding_dim": 8, "backbone": "resnet18"}
    return JointNet(["anna", "boris"], ANCHORS, **usual | settings).eval()


@pytest.fixture(params=["grid", "roi"])
def net(request):
    return thin_net(embedding_source=request.param).eval()


def crops_of(dataset, profile=PROFILE):
    photos = list_photos(dataset, dataset.identities)
    return training_crops(dataset, photos, profile, seed=0, progress=False)


def changed(net, new):
    """Names of the parts, but the classifier, whose weights or statistics are not the same."""
    before, after = net.state_dict(), new.state_dict()
    return {
        name.split(".")[0]
        for name in before
        if name.split(".")[0] != "classifier" and not torch.equal(before[name], after[name])
    }


def by_all_means(net, people, out, steps=3):
    """The net with new people, by how they were taught."""
    common = {"steps": steps, "seed": 0}
    return {
        "means": transfer.enrol_class_means(net, people),
        "classifier": transfer.train_classifier(net, people, PROFILE, **common),
        "head": transfer.train_classifier(net, people, PROFILE, **common, embedding_head=True),
        "all": transfer.fine_tune(net, people, PROFILE, out, **common, progress=False),
    }


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_trained_changes_and_nothing_else(net, people, tmp_path, device):
    net = net.to(device)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = by_all_means(net, people, tmp_path / "run")
    assert changed(net, found["means"]) == changed(net, found["classifier"]) == set()
    assert changed(net, found["head"]) == {"embedding_head"}
    assert changed(net, found["all"]) == {"backbone", "regression_head", "embedding_head"}
    for new in found.values():
        assert new.identities == sorted(PARTY) and not new.training
        assert {value.device.type for value in new.state_dict().values()} == {device}
        boxes = [np.array([[10.0, 10, 50, 55]])]
        (names,) = new.identify_boxes([noise(70, 90)], boxes)
        assert names[0] in PARTY
    assert net.identities == ["anna", "boris"]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("head", [False, True])
def test_training_on_features_learns_and_repeats(net, people, head):
    nets = [
        transfer.train_classifier(
            net, people, PROFILE, steps=150 if head else 400, embedding_head=head
        )
        for _ in range(2)
    ]
    for one, other in zip(*(net.state_dict().values() for net in nets), strict=True):
        assert torch.equal(one, other)
    faces = transfer.face_features(nets[0], crops_of(people), 4, 4)
    vectors = transfer.embed_features(nets[0], faces.features, faces.anchors)
    right = (nets[0].classifier.at(vectors).argmax(dim=1) == faces.identities).float().mean()
    assert float(right) > 0.65  # chance is a third, and the backbone is a random one


@pytest.mark.parametrize(("steps", "views"), [(1, 1), (4, 2), (100, transfer.MAX_VIEWS)])
def test_features_are_computed_of_no_more_views_than_the_steps_use(
    net, people, steps, views, monkeypatch
):
    asked = []
    of_faces = transfer.face_features
    monkeypatch.setattr(
        transfer, "face_features", lambda *given: asked.append(given[2]) or of_faces(*given)
    )
    transfer.train_classifier(net, people, PROFILE, steps=steps)  # batches of 4, of 12 crops
    assert asked == [views]


@pytest.mark.parametrize("input_px", [64, 80])  # 80 is no whole number of cells
def test_features_through_the_head_are_the_nets_embeddings(party, input_px):
    for source in ("grid", "roi"):
        net = thin_net(embedding_source=source, input_px=input_px).eval()
        people = read_dataset(party)
        crops = crops_of(people, dataclasses.replace(PROFILE, input_px=input_px))
        faces = transfer.face_features(net, crops, 2, 5)
        vectors = transfer.embed_features(net, faces.features, faces.anchors)
        wanted, names = [], []
        for key in [(view, at) for view in range(2) for at in range(len(crops))]:
            photo, target = crops[key]
            known = target["identities"] >= 0
            found = net.embed_at(photo[None], [target["boxes"][known]])[0]
            there = ~found.isnan().any(dim=1)
            wanted.append(found[there])
            names.append(target["identities"][known][there])
        torch.testing.assert_close(vectors, torch.cat(wanted), rtol=1e-3, atol=1e-4)
        assert torch.equal(faces.identities, torch.cat(names)) and len(faces.identities) > 24


def test_a_step_on_features_is_the_loss_of_the_whole_net(people):
    """One step of a twin that runs the net, not the features, leads to the same classifier."""
    net = transfer.with_new_classifier(thin_net().eval(), people.identities, seed=3)
    crops = crops_of(people)
    faces = transfer.face_features(net, crops, 1, 4)
    twin = transfer.with_new_classifier(thin_net().eval(), people.identities, seed=3)
    whole = dataclasses.replace(PROFILE, batch=len(faces.features), label_smoothing=0.1)
    transfer.train_on_features(net, faces, whole, 1, 0)
    vectors = torch.cat(
        [twin.embed_at(crops[0, at][0][None], [crops[0, at][1]["boxes"]])[0] for at in range(12)]
    )
    rate = learning_rate(0, 1, transfer.FROZEN_RATE, whole.warm_up)
    optimiser = torch.optim.AdamW(
        twin.classifier.parameters(), rate, weight_decay=whole.weight_decay
    )
    logits = twin.classifier.at(vectors.clone())
    F.cross_entropy(logits, faces.identities, label_smoothing=0.1).backward()
    optimiser.step()
    for one, other in zip(net.classifier.parameters(), twin.classifier.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_margin_makes_the_loss_of_the_right_identity_larger(people):
    settings = {"normalised": True, "scale": 8.0}
    plain, strict = (
        transfer.train_classifier(
            thin_net(**settings).eval(),
            people,
            dataclasses.replace(PROFILE, margin=margin),
            steps=2,
        )
        for margin in (None, Margin("cosface", 0.4, 8.0))
    )
    assert not torch.equal(plain.classifier.conv.weight, strict.classifier.conv.weight)
    other = dataclasses.replace(PROFILE, margin=Margin("cosface", 0.4, 16.0))
    with pytest.raises(ValueError, match=r"fixed scale 16.0; the net's is 8.0"):
        transfer.train_classifier(thin_net(**settings), people, other)


# --- class means ------------------------------------------------------------------------------


def test_class_means_against_loops():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9, 5)).astype(np.float32)
    vectors[4] = np.nan
    names = ["NA", "001", "", "NA", "001", "Анна Ким", "NA", "001", "Анна Ким"]
    found = transfer.class_means(vectors, names)
    assert list(found) == ["001", "NA", "Анна Ким"]
    for name, mean in found.items():
        total = np.zeros(5)
        for vector, owner in zip(vectors, names, strict=True):
            if owner == name and not np.isnan(vector).any():
                total += vector / np.linalg.norm(vector)
        np.testing.assert_allclose(mean, total / np.linalg.norm(total), rtol=1e-5)
    names[4:8] = ["eva", "001", "NA", "001"]
    with pytest.raises(DatasetError, match="'eva' has no embedding"):
        transfer.class_means(vectors, names)


def test_the_nearest_class_mean_by_cosine_is_named(party):
    net, dataset = thin_net().eval(), read_dataset(party)
    new = transfer.enrol_class_means(net, dataset)
    faces, vectors = annotated_faces(dataset), embed(net, dataset)
    means = transfer.class_means(vectors, faces["identity"].tolist())
    boxes = [
        rows[["x1", "y1", "x2", "y2"]].to_numpy() for _, rows in faces.groupby("photo", sort=False)
    ]
    photos = [read_photo(dataset.folder / name) for name in dict.fromkeys(faces["photo"])]
    named = [name for names in new.identify_boxes(photos, boxes) for name in names]
    for name, vector in zip(named, vectors, strict=True):
        assert name == max(means, key=lambda one: means[one] @ vector)


# --- whose weights a folder holds -------------------------------------------------------------


def renamed(dataset, names):
    table = dataset.table.assign(identity=dataset.table["identity"].replace(names))
    return Dataset(dataset.folder, table)


def test_a_folder_of_other_people_is_refused(people, tmp_path):
    """Whatever tells a training from another; weights never come back under other names."""
    net, out = resnet(), tmp_path / "run"

    def tuned(net=net, people=people, profile=PROFILE, **settings):
        return transfer.fine_tune(
            net, people, profile, out, **{"steps": 2, "progress": False} | settings
        )

    first = tuned()
    again = tuned()
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    )
    saved = load_net(out, "cpu")
    assert saved.identities == sorted(PARTY) and saved.provenance["source"] == net.fingerprint
    others = {
        "identities": {"people": renamed(people, {"001": "002"})},
        "data": {"people": renamed(people, {"001": "NA", "NA": "001"})},
        "seed": {"seed": 1},
        "steps": {"steps": 3},
        "profile": {"profile": dataclasses.replace(PROFILE, batch=3)},
        "source": {"net": resnet(seed=1)},
    }
    for part, other in others.items():
        with pytest.raises(CheckpointError, match=rf"of another training; .*{part}"):
            tuned(**other)
    fewer = subset(people, people.photos[:-1])
    with pytest.raises(CheckpointError, match="of another training; data"):
        tuned(people=fewer)
    with pytest.raises(CheckpointError, match=r"of another training; .*source"):
        transfer.train_from_scratch(people, PROFILE, out, steps=2, progress=False)


def test_what_a_net_was_taught_is_on_record(people, tmp_path):
    net = resnet(embedding_source="roi")
    for name, new in by_all_means(net, people, tmp_path / "run").items():
        assert new.provenance["source"] == net.fingerprint
        new.save(tmp_path / name)
        opened = load_net(tmp_path / name, "cpu")
        assert opened.identities == sorted(PARTY)
        assert opened.provenance == new.provenance


def test_a_net_from_scratch_begins_from_its_own_weights(people, tmp_path):
    one, two = (
        transfer.train_from_scratch(
            people, PROFILE, tmp_path / str(at), steps=1, seed=at, progress=False
        )
        for at in range(2)
    )
    assert one.identities == sorted(PARTY)
    assert not torch.equal(one.classifier.conv.weight, two.classifier.conv.weight)
    assert one.provenance["steps"] == 1 and one.provenance["source"] is None


def test_people_in_company_are_learned(party, tmp_path):
    """Several faces per photo, strangers among them, and a photo of nobody."""
    dataset = read_dataset(party)
    for new in by_all_means(thin_net().eval(), dataset, tmp_path / "run").values():
        assert new.identities == sorted(PARTY)
        named = [face.name for face in new.predict(dataset.folder / dataset.photos[0], 0.01)]
        assert set(named) <= set(PARTY)


def test_a_dataset_of_nobody_is_refused(people, tmp_path):
    nobody = Dataset(people.folder, people.table.assign(identity=""))
    for teach in (
        lambda: transfer.enrol_class_means(thin_net(), nobody),
        lambda: transfer.train_classifier(thin_net(), nobody, PROFILE),
        lambda: transfer.fine_tune(thin_net(), nobody, PROFILE, tmp_path / "run"),
        lambda: transfer.train_from_scratch(nobody, PROFILE, tmp_path / "run"),
    ):
        with pytest.raises(DatasetError, match="nobody in it is named"):
            teach()
    assert not (tmp_path / "run").exists()


# --- nets that read at landmarks --------------------------------------------------------------


def test_features_of_a_net_that_reads_at_landmarks_are_those_of_its_embeddings(party):
    net, people = student_net(), read_dataset(party)
    with torch.no_grad():  # sure of some places more than of others
        net.regression_head.heads[1].bias[4] = 1.0
    crops = crops_of(people, dataclasses.replace(PROFILE, input_px=96))
    faces = transfer.face_features(net, crops, 2, 5)
    assert faces.features.shape == (len(faces.identities), 256)
    vectors = transfer.embed_features(net, faces.features, faces.anchors)
    wanted, names = [], []
    for view in range(2):
        for at in range(len(crops)):
            photo, target = crops[view, at]
            known = target["identities"] >= 0
            (own,) = net.embed_at(photo[None], [target["boxes"][known]])
            wanted.append(own)
            names.append(target["identities"][known])
    torch.testing.assert_close(vectors, torch.cat(wanted), atol=1e-4, rtol=1e-3)
    assert torch.equal(faces.identities, torch.cat(names))


def test_a_margin_does_not_fit_a_plain_classifier_of_dlibs_embeddings(people):
    scaled = dataclasses.replace(PROFILE, margin=Margin("arcface", 0.2, 16.0))
    with pytest.raises(
        ValueError, match=r"needs a classifier of fixed scale 16\.0; the net's is None"
    ):
        transfer.train_classifier(student_net(scale=16.0), people, scaled, steps=1)
    faces = transfer.FaceFeatures(*(torch.zeros(1) for _ in range(3)))
    with pytest.raises(ValueError, match="needs a classifier of fixed scale"):
        transfer.train_on_features(student_net(scale=16.0), faces, scaled, 1, 0)


def test_what_is_trained_of_a_net_that_reads_at_landmarks(people):
    net = student_net()
    common = {"steps": 3, "seed": 0}
    alone = transfer.train_classifier(net, people, PROFILE, **common)
    head = transfer.train_classifier(net, people, PROFILE, **common, embedding_head=True)
    assert changed(net, alone) == set()
    before, after = net.state_dict(), head.state_dict()
    moved = {
        name
        for name in before
        if not name.startswith("classifier.") and not torch.equal(before[name], after[name])
    }
    layer = "embedding_head.embedding.linear"
    assert moved == {f"{layer}.weight"}
    # dlib's weights are small, and so are the steps: none longer than the rate's share.
    step = (before[f"{layer}.weight"] - after[f"{layer}.weight"]).abs().max()
    assert 0 < float(step) < 3.1 * transfer.FROZEN_RATE * net.embedding_head.learning_share
    means = transfer.enrol_class_means(net, people)
    assert means.identities == sorted(PARTY) and changed(net, means) == set()


def test_a_layer_is_the_head_or_dlibs_last():
    net = thin_net()
    assert transfer.last_layer(net) is net.embedding_head
    student = student_net()
    assert transfer.last_layer(student) is student.embedding_head.embedding.linear


def test_a_plain_classifier_learns_about_the_mean_of_the_embeddings_and_takes_it_in(people):
    net = student_net(normalised=False)
    crops = crops_of(people, dataclasses.replace(PROFILE, input_px=96))
    faces = transfer.face_features(net, crops, 1, 4)
    vectors = transfer.embed_features(net, faces.features, faces.anchors).detach().double()
    total, squares = torch.zeros(vectors.shape[1], dtype=torch.float64), 0.0
    for vector in vectors:
        total += vector
    for vector in vectors:
        squares += float(((vector - total / len(vectors)) ** 2).sum())
    spread = (squares / vectors.numel()) ** 0.5
    wanted = net.classifier.at(((vectors - total / len(vectors)) / spread).float())
    transfer.train_on_features(net, faces, PROFILE, steps=0, seed=0)
    torch.testing.assert_close(net.classifier.at(vectors.float()), wanted, atol=1e-4, rtol=1e-4)
