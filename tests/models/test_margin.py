"""Margins against loops and against pytorch-metric-learning."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss

from thesislib.models.heads import IdentityClassifier
from thesislib.models.loss import logits_with_margin
from thesislib.models.margin import add_margin
from thesislib.profiles import Margin

PEOPLE, LENGTH = 5, 6


def charged_twin(kind, m, cosine):
    if kind == "cosface":
        return cosine - m
    angle, m = math.acos(cosine), math.radians(m)
    return math.cos(angle + m) if angle + m <= math.pi else cosine - m * math.sin(m)


@pytest.mark.parametrize(("kind", "size"), [("cosface", 0.35), ("arcface", 28.6), ("arcface", 90)])
def test_the_margin_against_loops(kind, size):
    cosines = torch.linspace(-0.999, 0.999, 41, dtype=torch.float64)
    told = add_margin(cosines, Margin(kind, size, 1)).tolist()
    assert told == pytest.approx([charged_twin(kind, size, one) for one in cosines.tolist()])
    assert all(a < b for a, b in itertools.pairwise(told))  # never rewards a worse one


@pytest.mark.parametrize(
    ("kind", "size", "library"), [("cosface", 0.35, CosFaceLoss), ("arcface", 28.6, ArcFaceLoss)]
)
def test_the_loss_is_pytorch_metric_learnings(kind, size, library):
    torch.manual_seed(0)
    net, margin = IdentityClassifier(LENGTH, PEOPLE, True, scale=16), Margin(kind, size, 16)
    vectors, identities = torch.randn(40, LENGTH), torch.randint(PEOPLE, (40,))
    ours = F.cross_entropy(logits_with_margin(net.at(vectors), identities, margin), identities)
    theirs = library(PEOPLE, LENGTH, margin=size, scale=16)
    theirs.W.data = net.conv.weight.detach().flatten(1).T.clone()
    assert float(ours) == pytest.approx(float(theirs(vectors, identities)), rel=1e-5)
    assert float(ours) > float(F.cross_entropy(net.at(vectors), identities))


def test_only_the_right_people_are_charged_and_the_scale_is_not_learned():
    torch.manual_seed(0)
    net, margin = IdentityClassifier(LENGTH, PEOPLE, True, scale=8), Margin("cosface", 0.2, 8)
    logits, identities = net.at(torch.randn(4, LENGTH)), torch.tensor([0, 1, 4, 1])
    change = logits_with_margin(logits, identities, margin) - logits
    right = F.one_hot(identities, PEOPLE).bool()
    torch.testing.assert_close(change[right], torch.full((4,), -1.6))
    assert (change[~right] == 0).all()
    assert not net.log_scale.requires_grad


@pytest.mark.parametrize("kind", ["cosface", "arcface"])
def test_gradients_are_finite_where_an_embedding_is_its_persons_own_direction(kind):
    net, margin = IdentityClassifier(LENGTH, PEOPLE, True, scale=30), Margin(kind, 0.3, 30)
    vectors = net.conv.weight.detach().flatten(1).clone().requires_grad_()
    identities = torch.arange(PEOPLE)
    F.cross_entropy(logits_with_margin(net.at(vectors), identities, margin), identities).backward()
    assert torch.isfinite(vectors.grad).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match="sphereface"):
        Margin("sphereface", 1, 1)
    for size, scale in ((-0.1, 1), (0.1, 0)):
        with pytest.raises(ValueError, match="out of range"):
            Margin("cosface", size, scale)
    with pytest.raises(ValueError, match="needs normalised=True"):
        IdentityClassifier(LENGTH, PEOPLE, False, scale=1)
