"""A net that reads embeddings at landmarks, on the runtimes it is exported for."""

import numpy as np
import pytest
import torch
from conftest import PARTY, noise

from thesislib.deploy.engines import on_torch, open_engine
from thesislib.deploy.export import export, read_about
from thesislib.deploy.graph import OUTPUTS
from thesislib.deploy.recogniser import Recogniser
from thesislib.models.joint import NOBODY, JointNet

INPUT_PX = 96
RUNTIMES = ("onnxruntime", "openvino")


def busy_net(identities=PARTY):
    """Untrained; it finds faces all over a photo of patches."""
    torch.manual_seed(0)
    net = JointNet(
        identities,
        np.empty((0, 2)),
        input_px=INPUT_PX,
        backbone="dlib",
        stride=4,
        pooling=1,
        embedding_dim=128,
        normalised=True,
        embedding_source="landmarks",
    ).eval()
    with torch.no_grad():
        for head in net.regression_head.heads:
            head.weight.normal_(std=0.3)
            head.bias[4] = 0
    return net


def patches(height, width, seed=0):
    small = noise(-(-height // 12), -(-width // 12), seed)
    return np.kron(small, np.ones((12, 12, 1), np.uint8))[:height, :width]


@pytest.fixture(scope="module")
def net():
    return busy_net()


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("landmarks")
    export(net, folder)
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("shape", [(1, 96, 96), (2, 120, 181), (1, 50, 77), (1, 200, 96)])
def test_runtimes_give_what_pytorch_gives(net, folder, runtime, shape):
    photos = np.stack([patches(*shape[1:], seed) for seed in range(shape[0])])
    run = open_engine(folder, read_about(folder), runtime, 1)[1]
    found, wanted = run(photos), on_torch(net, threads=1, device="cpu")(photos)
    assert len(found) == len(wanted) == len(OUTPUTS)
    scale = min(shape[1:]) / INPUT_PX
    for photo in range(shape[0]):
        own, other = ([v[values[0] == photo] for v in values] for values in (found, wanted))
        assert len(own[1]) > 5
        # Faces of scores as good as equal may change places, or suppress each other.
        distance = np.abs(own[1][:, None] - other[1]).max(axis=2)
        near = distance.min(axis=1) < 0.5 * scale
        assert near.mean() > 0.9
        at = distance.argmin(axis=1)
        for place, tolerance in ((2, 5e-3), (5, 2e-2), (6, 0.5 * scale)):
            np.testing.assert_allclose(own[place][near], other[place][at][near], atol=tolerance)


@pytest.mark.parametrize("engine", [*RUNTIMES, "torch"])
def test_faces_have_landmarks_on_every_engine(folder, engine):
    recogniser = Recogniser(folder, engine=engine)
    faces = recogniser.predict_arrays([patches(192, 192)], 0.5)[0]
    assert faces and all(face.landmarks.shape == (5, 2) for face in faces)
    assert {face.name for face in faces} <= set(PARTY)
    assert recogniser.predict_arrays([np.full((90, 90, 3), 120, np.uint8)], 0.999) == [[]]


def test_a_net_that_knows_nobody_names_nobody():
    faces = busy_net(NOBODY).predict_arrays([patches(96, 96)], 0.5)[0]
    assert {(face.name, face.name_score) for face in faces} == {("", 0.0)}
