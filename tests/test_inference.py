"""Many photos at a time give what one photo at a time gives."""

import numpy as np
import pytest
import torch
from conftest import face, thin_net

from thesislib.baselines.two_stage import FACE_MARGIN
from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import read_dataset
from thesislib.data.transforms import cut_face
from thesislib.engine import predict
from thesislib.engine.systems import Joint
from thesislib.models.face_classifier import FaceClassifier

INPUT = 64


@pytest.fixture
def dataset(write_dataset):
    """Photos of two sizes, with one or two faces, and one of nobody."""
    rows = []
    for at in range(6):
        size = {"width": 90, "height": 60} if at % 2 else {"width": 80, "height": 100}
        rows.append(face(f"{at}.png", "anna", (5, 5, 40, 45), **size))
        if at == 3:
            rows.append(face(f"{at}.png", "boris", (45, 10, 80, 50), **size))
    rows.append(face("6.png", "", (None,) * 4, width=90, height=60))
    return read_dataset(write_dataset(rows))


@pytest.fixture
def net():
    net = thin_net().eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.view(2, 5)[:, 4] = 0
    return net


def test_detections_are_those_of_the_system_that_takes_one_photo(dataset, net, monkeypatch):
    monkeypatch.setattr(inference, "BATCH", 2)
    photos = list_photos(dataset, ["anna", "boris"])
    found = predict.detect(net, dataset, photos, INPUT, progress=False)
    system = Joint(net, INPUT)
    assert len(found) == 7
    for photo, one in zip(photos, found, strict=True):
        alone = system(read_photo(dataset.folder / photo.name))
        assert one["identities"] == alone["identities"] and len(one["boxes"])
        np.testing.assert_allclose(one["boxes"], alone["boxes"], rtol=1e-3, atol=0.05)
        np.testing.assert_allclose(one["scores"], alone["scores"], atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(one["embeddings"], axis=1), 1, rtol=1e-5)


def test_embeddings_are_those_at_the_annotated_boxes(dataset, net, monkeypatch):
    monkeypatch.setattr(inference, "BATCH", 2)
    photos = list_photos(dataset, ["anna", "boris"])
    found = predict.embed(net, dataset, photos, INPUT, progress=False)
    assert found.shape == (7, 8)
    system, at = Joint(net, INPUT), 0
    for photo in photos:
        pixels = read_photo(dataset.folder / photo.name)
        batch, _, factors = system._preprocess(pixels)
        for box in photo.boxes:
            alone = net.embed_at(batch, [(box / torch.from_numpy(factors))[None]])[0][0]
            np.testing.assert_allclose(found[at], alone.numpy(), rtol=1e-3, atol=1e-4)
            at += 1


def test_the_two_stage_classifier_sees_the_face_cut_out(dataset):
    torch.manual_seed(0)
    classifier = FaceClassifier(["anna", "boris"], "resnet18", embedding_dim=8).eval()
    photos = [photo for photo in list_photos(dataset, ["anna", "boris"]) if len(photo.boxes)]
    found = predict.embed(classifier, dataset, photos, INPUT, progress=False)
    pixels = torch.from_numpy(read_photo(dataset.folder / photos[3].name)).permute(2, 0, 1)
    cut = cut_face(pixels, photos[3].boxes[1].numpy(), INPUT, FACE_MARGIN)
    with torch.no_grad():
        alone = classifier.embed(cut[None])[0]
    np.testing.assert_allclose(found[4], alone.numpy(), rtol=1e-3, atol=1e-4)


def test_a_face_without_a_place_is_nan(write_dataset, net):
    names = ("anna", "boris", "clara")
    rows = [
        face("a.png", name, (5, 5, 40 + at, 45), width=90, height=60)
        for at, name in enumerate(names)
    ]
    dataset = read_dataset(write_dataset(rows))
    found = predict.embed(net, dataset, list_photos(dataset, names), INPUT, progress=False)
    assert np.isnan(found).all(axis=1).sum() == 1  # two anchors, three faces in one cell
