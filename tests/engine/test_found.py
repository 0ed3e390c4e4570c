"""Faces found once are named as the nets themselves would name them."""

import copy
import itertools

import numpy as np
import pytest
import torch
from conftest import noise, student_net, thin_net

from thesislib.engine.found import FoundFaces, NamedBy
from thesislib.engine.transfer import last_layer, with_new_classifier
from thesislib.models.joint import JointNet


@pytest.fixture
def net():
    net = student_net()
    with torch.no_grad():  # finds a face at each of the coarsest places
        net.regression_head.heads[-1].bias[4] = 1.0
    return net


def retrained(net, seed, head):
    new = with_new_classifier(net, ["anna", "boris", "001"], seed)
    if head:
        layer = last_layer(new)
        with torch.no_grad():
            layer.weight += 0.02 * torch.randn(layer.weight.shape)
    return new.eval()


@pytest.mark.parametrize("head", [False, True])
def test_faces_are_those_of_the_net_itself(net, head, monkeypatch):
    photos = [noise(96, 96, 1), noise(100, 130, 2), noise(96, 96, 3)]
    found = FoundFaces(net)
    for seed in range(2):
        new = retrained(net, seed, head)
        wanted = new.predict_arrays(photos, 0.3)
        told = NamedBy(found, new).predict_arrays(photos, 0.3)
        assert [len(faces) for faces in told] == [len(faces) for faces in wanted]
        assert sum(map(len, wanted)) > 0
        pairs = zip(itertools.chain(*told), itertools.chain(*wanted), strict=True)
        for one, other in pairs:
            assert one.name == other.name
            np.testing.assert_allclose(one.box, other.box, atol=1e-2)
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-2)
            np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-3)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.name_score == pytest.approx(other.name_score, abs=1e-3)
        monkeypatch.setattr(JointNet, "detect", None)  # not searched again
        NamedBy(found, new).predict_arrays(photos, 0.3)
        monkeypatch.undo()


def test_a_photo_without_faces_and_other_thresholds(net):
    found = FoundFaces(net)
    system = NamedBy(found, copy.deepcopy(net))
    assert system.predict_arrays([noise(96, 96)], 0.99) == [[]]
    assert len(system.predict_arrays([noise(96, 96)], 0.3)[0]) > 0
    assert system.answers_key == net.answers_key


def test_a_net_that_reads_elsewhere_is_refused():
    with pytest.raises(ValueError, match="embedding_source='grid': expected 'landmarks'"):
        FoundFaces(thin_net())
