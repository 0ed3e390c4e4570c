"""The joint loss against a twin written with plain loops, and photos without faces."""

import math

import numpy as np
import pytest
import torch
from conftest import ANCHORS, random_boxes

from thesislib.data.columns import UNKNOWN
from thesislib.models.anchors import assign
from thesislib.models.heads import IdentityClassifier
from thesislib.models.joint import HeadOutputs
from thesislib.models.loss import SMOOTH_L1_BETA, TERMS, JointLoss

GRID, CELL, EMBEDDING, PEOPLE = (4, 4), 32, 6, 3
SIZES = torch.tensor(ANCHORS)


def random_targets(rng, counts):
    return [
        {
            "boxes": random_boxes(rng, count),
            "identities": torch.tensor(rng.integers(UNKNOWN, PEOPLE, count)),
            "photo": f"{at}.jpg",
        }
        for at, count in enumerate(counts)
    ]


def outputs(photos, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(photos, 2, 5, *GRID), (photos, EMBEDDING, 2, *GRID)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def classifier():
    torch.manual_seed(1)
    return IdentityClassifier(EMBEDDING, PEOPLE, normalised=False)


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def bce(logit, wanted):
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if wanted else 1 - probability)


def smooth_l1(difference, beta=SMOOTH_L1_BETA):
    difference = abs(difference)
    return difference**2 / (2 * beta) if difference < beta else difference - beta / 2


def cross_entropy(logits, right, smoothing):
    log_sum = math.log(sum(math.exp(v) for v in logits))
    costs = [log_sum - v for v in logits]
    return (1 - smoothing) * costs[right] + smoothing * sum(costs) / len(costs)


def terms_twin(regression, embeddings, net, targets, ignore_iou, smoothing):
    box, confidence, background, identity, right = [], [], [], [], []
    weight, bias = net.conv.weight[:, :, 0, 0, 0].tolist(), net.conv.bias.tolist()
    for n, target in enumerate(targets):
        faces = target["boxes"].tolist()
        places = [
            (place // 16, place % 16 // 4, place % 4) if place >= 0 else (-1, -1, -1)
            for place in assign(target["boxes"], SIZES, GRID, CELL).tolist()
        ]
        for face, (a, row, column), who in zip(
            faces, places, target["identities"].tolist(), strict=True
        ):
            if a < 0:
                continue
            x1, y1, x2, y2 = face
            wanted = [
                ((x1 + x2) / 2 - (column + 0.5) * CELL) / CELL,
                ((y1 + y2) / 2 - (row + 0.5) * CELL) / CELL,
                math.log((x2 - x1) / ANCHORS[a][0]),
                math.log((y2 - y1) / ANCHORS[a][1]),
            ]
            told = regression[n, a, :, row, column].tolist()
            box.append(sum(smooth_l1(t - w) for t, w in zip(told[:4], wanted, strict=True)) / 4)
            confidence.append(bce(told[4], True))
            if who == UNKNOWN:
                continue
            vector = embeddings[n, :, a, row, column].tolist()
            logits = [
                sum(w * v for w, v in zip(weight[k], vector, strict=True)) + bias[k]
                for k in range(PEOPLE)
            ]
            identity.append(cross_entropy(logits, who, smoothing))
            right.append(logits.index(max(logits)) == who)
        for a, (width, height) in enumerate(ANCHORS):
            for row in range(GRID[0]):
                for column in range(GRID[1]):
                    x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
                    prior = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
                    near = any(iou(prior, face) > ignore_iou for face in faces)
                    if not near and (a, row, column) not in places:
                        background.append(bce(float(regression[n, a, 4, row, column]), False))
    lists = (box, confidence, background, identity, right)
    names = (*TERMS, "identity_accuracy")
    means = {k: sum(v) / len(v) if v else 0.0 for k, v in zip(names, lists, strict=True)}
    return means, {name: len(values) for name, values in zip(names, lists, strict=True)}


class Heads:
    """What the loss asks of a net."""

    anchors, cell = SIZES, CELL

    def __init__(self, net):
        self.classifier = net

    def embed(self, source, photo, place, boxes):
        return source.flatten(2).transpose(1, 2)[photo, place]


def call(loss, regression, embeddings, targets, net=None):
    return loss(Heads(net or classifier()), HeadOutputs(regression, embeddings), targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignore_iou", [0.15, 0.3])
def test_each_term_against_loops(smoothing, ignore_iou):
    targets = random_targets(np.random.default_rng(0), [3, 0, 1, 6, 2])
    regression, embeddings = outputs(5)
    loss = JointLoss(ignore_iou=ignore_iou, label_smoothing=smoothing)
    losses = call(loss, regression, embeddings, targets)
    told = (regression.detach(), embeddings.detach(), classifier())
    wanted, members = terms_twin(*told, targets, ignore_iou, smoothing)
    # A batch without ignored anchors or unknown people would show nothing.
    assert members["box"] > members["identity"] > 3
    ignored = 5 * 2 * 16 - members["box"] - members["no_object"]
    assert ignored > (10 if ignore_iou == 0.15 else 0)
    assert set(losses) == {*wanted, "total"}
    for name, value in wanted.items():
        assert float(losses[name]) == pytest.approx(value, rel=1e-4)
        assert not losses[name].requires_grad
    total = 2 * wanted["box"] + wanted["confidence"] + wanted["no_object"] + wanted["identity"]
    assert float(losses["total"]) == pytest.approx(total, rel=1e-4)


def test_the_total_with_other_weights_and_with_a_learned_balance():
    targets = random_targets(np.random.default_rng(1), [2, 3])
    regression, embeddings = outputs(2)
    weights = {"box": 0.7, "confidence": 1.0, "no_object": 3.0, "identity": 0.2}
    options = {f"lambda_{name}": weights[name] for name in TERMS if name != "confidence"}
    losses = call(JointLoss(**options), regression, embeddings, targets)
    total = sum(weights[name] * float(losses[name]) for name in TERMS)
    assert float(losses["total"]) == pytest.approx(total, rel=1e-5)

    learned = JointLoss(**options, learned=True)
    variances = [0.3, -0.2, 1.0, 0.5]
    learned.log_variances.data = torch.tensor(variances)
    losses = call(learned, regression, embeddings, targets)
    total = sum(
        math.exp(-s) * weights[name] * float(losses[name]) + s
        for s, name in zip(variances, TERMS, strict=True)
    )
    assert float(losses["total"]) == pytest.approx(total, rel=1e-5)
    losses["total"].backward()
    for s, name, slope in zip(variances, TERMS, learned.log_variances.grad.tolist(), strict=True):
        wanted = 1 - math.exp(-s) * weights[name] * float(losses[name])
        assert slope == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("learned", [False, True])
def test_the_gradient_against_finite_differences(learned):
    targets = random_targets(np.random.default_rng(2), [2, 0, 3])
    regression, embeddings = outputs(3)
    loss, net = JointLoss(learned=learned), classifier()
    call(loss, regression, embeddings, targets, net)["total"].backward()
    for tensor in (regression, embeddings):
        direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(3))
        slope = float((tensor.grad * direction).sum())
        totals = []
        for step in (1e-2, -1e-2):
            moved = [t + step * direction if t is tensor else t for t in (regression, embeddings)]
            totals.append(float(call(loss, *moved, targets, net)["total"]))
        assert (totals[0] - totals[1]) / 2e-2 == pytest.approx(slope, rel=0.02, abs=2e-3)


def test_anchors_neither_assigned_nor_background_get_no_gradient():
    # One face that the larger anchor of its cell takes; the same anchor's prior of 36 x 40 is
    # ignored in no other cell, the smaller anchor overlaps it by 0.22.
    targets = [{"boxes": torch.tensor([[30.0, 28.0, 66.0, 68.0]]), "identities": torch.tensor([0])}]
    regression, embeddings = outputs(1)
    call(JointLoss(ignore_iou=0.2), regression, embeddings, targets)["total"].backward()
    slopes = regression.grad[0, :, 4]
    assert slopes[1, 1, 1] < 0 and slopes[0, 1, 1] == 0 and slopes[0, 0, 0] > 0
    assert (regression.grad[0, :, :4].abs().sum(dim=1) > 0).nonzero().tolist() == [[1, 1, 1]]
    assert (embeddings.grad[0].abs().sum(dim=0) > 0).nonzero().tolist() == [[1, 1, 1]]


def assert_finite_gradients(losses, *tensors):
    assert all(torch.isfinite(value) for value in losses.values())
    losses["total"].backward()
    for tensor in tensors:
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_batch_without_any_face_is_finite_and_differentiable(learned, normalised):
    targets = random_targets(np.random.default_rng(0), [0, 0])
    regression, embeddings = outputs(2)
    loss, net = JointLoss(learned=learned), IdentityClassifier(EMBEDDING, PEOPLE, normalised)
    losses = call(loss, regression, embeddings, targets, net)
    for name in ("box", "confidence", "identity", "identity_accuracy"):
        assert float(losses[name]) == 0
    assert float(losses["no_object"]) > 0
    # Each parameter has its gradient: processes that train together wait for it.
    assert_finite_gradients(losses, regression, embeddings, *net.parameters(), *loss.parameters())
    assert (regression.grad[:, :, 4] > 0).all()
    assert (embeddings.grad == 0).all()


def test_faces_of_unknown_people_teach_where_but_not_who():
    targets = random_targets(np.random.default_rng(0), [2, 1])
    for target in targets:
        target["identities"][:] = UNKNOWN
    regression, embeddings = outputs(2)
    net = classifier()
    losses = call(JointLoss(), regression, embeddings, targets, net)
    assert float(losses["identity"]) == 0 and float(losses["box"]) > 0
    assert_finite_gradients(losses, regression, embeddings, *net.parameters())
    assert (embeddings.grad == 0).all() and (regression.grad[:, :, :4] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_give_nearly_the_same(dtype):
    targets = random_targets(np.random.default_rng(4), [3, 0, 2])
    plain = call(JointLoss(), *outputs(3), targets)
    regression, embeddings = outputs(3, dtype)
    net = classifier().to(dtype)
    losses = call(JointLoss(), regression, embeddings, targets, net)
    tolerance = {torch.float64: 1e-5, torch.float16: 0.01, torch.bfloat16: 0.05}[dtype]
    assert float(losses["total"]) == pytest.approx(float(plain["total"]), rel=tolerance)
    assert_finite_gradients(losses, regression, embeddings)


def test_under_autocast_the_terms_stay_in_float32():
    targets = random_targets(np.random.default_rng(4), [3, 0, 2])
    plain = call(JointLoss(), *outputs(3), targets)
    regression, embeddings = outputs(3)
    with torch.autocast("cpu", torch.bfloat16):
        losses = call(JointLoss(), regression, embeddings, targets)
    assert {losses[name].dtype for name in (*TERMS, "total")} == {torch.float32}
    for name in (*TERMS, "total"):
        assert float(losses[name]) == pytest.approx(float(plain[name]), rel=0.02)
    assert_finite_gradients(losses, regression, embeddings)
