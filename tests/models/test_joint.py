"""The contract of the detector: what goes in, what comes out, and what is refused."""

import copy
import math
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import ANCHORS, random_boxes, thin_net

from thesislib.data.transforms import PADDING
from thesislib.models.anchors import assign
from thesislib.models.backbone import (
    MEAN,
    RESNETS,
    STD,
    Normalise,
    WeightsUnavailableError,
    make_backbone,
)
from thesislib.models.convolutions import PatchConv2d
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.heads import IdentityClassifier
from thesislib.models.joint import HeadOutputs, JointNet
from thesislib.models.loss import IdentityLoss, JointLoss, largest_identity

SIZES = torch.tensor(ANCHORS)
THRESHOLD = 0.05


@pytest.fixture(scope="module")
def net():
    """An untrained net that finds many faces: its confidences and boxes are all over the place."""
    net = thin_net(identities=("anna", "boris", "clara")).eval()
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.view(2, 5)[:, 4] = 0
    return net


def photo(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


# The classifier


@pytest.mark.parametrize("normalised", [False, True])
def test_the_classifier_gives_the_same_dense_and_sparse(normalised):
    torch.manual_seed(0)
    classifier = IdentityClassifier(6, 5, normalised)
    embeddings = torch.randn(2, 6, 3, 4, 2)
    dense = classifier(embeddings)
    assert dense.shape == (2, 5, 3, 4, 2)
    sparse = classifier.at(embeddings.movedim(1, -1).reshape(-1, 6))
    torch.testing.assert_close(dense.movedim(1, -1).reshape(-1, 5), sparse)
    if not normalised:
        plain = torch.nn.Conv3d(6, 5, 1)
        plain.load_state_dict(classifier.conv.state_dict())
        torch.testing.assert_close(dense, plain(embeddings))


def test_the_normalised_classifier_is_a_scaled_cosine():
    torch.manual_seed(0)
    classifier = IdentityClassifier(6, 3, normalised=True)
    vectors = torch.randn(4, 6)
    logits = classifier.at(vectors)
    for k in range(4):
        for person in range(3):
            a, b = vectors[k].tolist(), classifier.conv.weight[person].flatten().tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            cosine = dot / math.hypot(*a) / math.hypot(*b)
            assert float(logits[k, person]) == pytest.approx(16 * cosine, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(classifier.at(7 * vectors), logits)


# What comes out


@pytest.mark.parametrize(("pooling", "grid"), [(2, 5), (1, 10)])
def test_the_grid_of_a_320_px_photo(pooling, grid):
    full = JointNet(["a", "b", "c"], ANCHORS, 320, "resnet18", pooling=pooling, embedding_dim=4)
    with torch.no_grad():
        regression, embeddings = full.eval()(photo(320, 320)[None])
    assert regression.shape == (1, 2, 5, grid, grid)
    assert embeddings.shape == (1, 4, 2, grid, grid)
    assert full.cell == 320 / grid


def test_detections_keep_the_contract(net):
    height, width = 70, 100
    found = net.detect(torch.stack([photo(height, width, seed) for seed in range(3)]), THRESHOLD)
    assert len(found) == 3
    for one in found:
        count = len(one["boxes"])
        assert count > 3
        shapes = {name: tuple(value.shape) for name, value in one.items()}
        assert shapes == {
            "boxes": (count, 4),
            "scores": (count,),
            "identities": (count,),
            "identity_scores": (count,),
            "embeddings": (count, 8),
        }
        assert one["identities"].dtype == torch.int64
        assert {one[name].dtype for name in one if name != "identities"} == {torch.float32}
        x1, y1, x2, y2 = one["boxes"].unbind(1)
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= width)).all()
        assert ((y1 >= 0) & (y1 < y2) & (y2 <= height)).all()
        assert (one["scores"].diff() <= 0).all()
        assert ((one["scores"] > THRESHOLD) & (one["scores"] <= 1)).all()
        assert ((one["identity_scores"] >= 1 / 3) & (one["identity_scores"] <= 1)).all()
        assert ((one["identities"] >= 0) & (one["identities"] < 3)).all()
        torch.testing.assert_close(one["embeddings"].norm(dim=1), torch.ones(count))


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def decode_twin(net, regression, embeddings, height, width):
    candidates = []
    for a, (anchor_width, anchor_height) in enumerate(ANCHORS):
        for row in range(regression.shape[2]):
            for column in range(regression.shape[3]):
                dx, dy, dw, dh, logit = regression[a, :, row, column].tolist()
                x, y = (column + 0.5 + dx) * net.cell, (row + 0.5 + dy) * net.cell
                half_width = anchor_width * math.exp(dw) / 2
                half_height = anchor_height * math.exp(dh) / 2
                xs = [min(max(v, 0), width) for v in (x - half_width, x + half_width)]
                ys = [min(max(v, 0), height) for v in (y - half_height, y + half_height)]
                score = 1 / (1 + math.exp(-logit))
                if score > THRESHOLD and xs[0] < xs[1] and ys[0] < ys[1]:
                    vector = embeddings[:, a, row, column]
                    candidates.append((score, [xs[0], ys[0], xs[1], ys[1]], vector))
    kept = []
    for one in sorted(candidates, key=lambda one: -one[0]):
        if all(iou(one[1], other[1]) <= net.nms_iou for other in kept):
            kept.append(one)
    return kept[: net.max_detections], len(candidates)


@pytest.mark.parametrize("max_detections", [100, 5])
def test_decode_against_loops(net, monkeypatch, max_detections):
    monkeypatch.setattr(net, "max_detections", max_detections)
    generator = torch.Generator().manual_seed(0)
    regression = 0.6 * torch.randn(2, 2, 5, 3, 4, generator=generator)
    regression[:, 1] = 0.2 * regression[:, 1] + regression[:, 0]  # so that many overlap
    regression[:, 0, 2:4] += (
        torch.tensor(ANCHORS[1]).div(torch.tensor(ANCHORS[0])).log()[:, None, None]
    )
    regression[:, :, 4] *= 6
    embeddings = torch.randn(2, 8, 2, 3, 4, generator=generator)
    height, width = 80, 100
    values = net.faces(HeadOutputs(regression, embeddings), (height, width), THRESHOLD)
    names = ("photo", "boxes", "scores", "identities", "identity_scores", "embeddings")
    whole = dict(zip(names, (value.detach() for value in values), strict=True))
    for n in range(2):
        twin, candidates = decode_twin(net, regression[n], embeddings[n], height, width)
        assert len(twin) < candidates < 24
        one = {name: value[whole["photo"] == n] for name, value in whole.items()}
        np.testing.assert_allclose(one["scores"], [t[0] for t in twin], rtol=1e-4)
        np.testing.assert_allclose(one["boxes"], [t[1] for t in twin], rtol=1e-4, atol=1e-3)
        vectors = torch.stack([t[2] for t in twin])
        torch.testing.assert_close(one["embeddings"], F.normalize(vectors, dim=1))
        for at, vector in enumerate(vectors):
            logits = net.classifier(vector.view(1, 8, 1, 1, 1)).flatten().tolist()
            shares = [math.exp(v) / sum(math.exp(w) for w in logits) for v in logits]
            assert int(one["identities"][at]) == shares.index(max(shares))
            assert float(one["identity_scores"][at]) == pytest.approx(max(shares), rel=1e-4)


def test_no_photos_give_no_answers(net):
    assert net.predict_arrays([]) == [] and net.predict([]) == []


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"expected uint8 \[H, W, 3\], got uint8 \[8, 8\]"),
        (np.zeros((8, 8, 4), np.uint8), r"got uint8 \[8, 8, 4\]"),
        (np.zeros((8, 8, 3), np.float32), r"got float32 \[8, 8, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), r"got uint8 \[0, 8, 3\]"),
        (np.zeros((1, 9765 * 64, 3), np.uint8), "624960 x 1 pixels: scaled to 64 on the shorter"),
    ],
)
def test_what_is_no_photo_is_refused_by_its_place(net, array, message):
    with pytest.raises(ValueError, match="photo 1.*" + message):
        net.predict_arrays([np.zeros((80, 80, 3), np.uint8), array])


def test_nothing_found_gives_empty_tensors(net):
    (one,) = net.detect(photo(64, 64)[None], score_threshold=1.0)
    shapes = {name: tuple(value.shape) for name, value in one.items()}
    assert shapes == {
        "boxes": (0, 4),
        "scores": (0,),
        "identities": (0,),
        "identity_scores": (0,),
        "embeddings": (0, 8),
    }
    assert one["identities"].dtype == torch.int64


def assert_same_detections(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert len(one["boxes"]) > 3
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-3)


def test_uint8_and_float_photos_give_the_same(net):
    photos = torch.stack([photo(70, 100), photo(70, 100, 1)])
    assert_same_detections(net.detect(photos), net.detect(photos.float() / 255))


def test_photos_are_padded_right_and_below_to_whole_cells(net):
    small = torch.stack([photo(40, 70), photo(40, 70, 1)])
    padded = torch.full((2, 3, 64, 96), PADDING, dtype=torch.uint8)
    padded[:, :, :40, :70] = small
    with torch.no_grad():
        for one, other in zip(net(small), net(padded), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("faces", [0, 1, 12])
def test_identities_at_given_boxes_against_loops(net, faces):
    rng = np.random.default_rng(0)
    photos = [photo(64, 96), photo(64, 96, 1)]
    boxes = [random_boxes(rng, faces, size=64), random_boxes(rng, 2, size=64)]
    arrays = [one.permute(1, 2, 0).numpy() for one in photos]
    found = net.identify_boxes(arrays, [one.numpy() for one in boxes])
    with torch.no_grad():
        outputs = net(torch.stack(photos))
        dense = net.classifier(outputs.source).argmax(dim=1).flatten(1)
    for n in range(2):
        places = assign(boxes[n], SIZES, (2, 3), 32).tolist()
        wanted = [net.identities[int(dense[n, place])] if place >= 0 else "" for place in places]
        assert found[n] == wanted


def test_photos_are_normalised_with_imagenets_mean_and_deviation():
    one = photo(2, 3)
    for given in (one[None], one[None].float() / 255):
        out = Normalise()(given)[0]
        for c in range(3):
            for y in range(2):
                for x in range(3):
                    wanted = (int(one[c, y, x]) / 255 - MEAN[c]) / STD[c]
                    assert float(out[c, y, x]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_a_new_net_doubts_every_anchor():
    fresh = thin_net().eval()
    with torch.no_grad():
        regression, _ = fresh(photo(64, 64)[None])
    assert (regression[:, :, 4].sigmoid() < 0.2).all()


# Training


def test_training_returns_named_losses_with_a_gradient_for_each_parameter():
    net, loss = thin_net().train(), JointLoss(learned=True)
    target = {"boxes": torch.tensor([[5.0, 5.0, 25.0, 30.0]]), "identities": torch.tensor([1])}
    losses = loss(net, net(torch.stack([photo(64, 64), photo(64, 64, 1)])), [target, target])
    assert {"box", "confidence", "no_object", "identity", "total"} <= set(losses)
    losses["total"].backward()
    for name, parameter in [*net.named_parameters(), *loss.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


# Refused


@pytest.mark.parametrize("build", [lambda who: JointNet(who, ANCHORS), FaceClassifier])
@pytest.mark.parametrize("identities", [[], ["anna", "boris", "anna"], ["anna", ""]])
def test_identities_must_be_different_and_some(build, identities):
    with pytest.raises(ValueError, match="non-empty list of different names"):
        build(identities)


def test_an_unknown_backbone_or_kind_of_weights_is_refused():
    with pytest.raises(ValueError, match="backbone 'vgg' is unknown; choose one of resnet18, res"):
        JointNet(["a"], ANCHORS, backbone="vgg")
    with pytest.raises(
        ValueError, match="'coco' of resnet18 are unknown; choose None or 'imagenet'"
    ):
        make_backbone("resnet18", "coco")


def test_weights_that_cannot_be_fetched_are_told_with_what_to_do(monkeypatch):
    asked = []

    def refuse(weights):
        asked.append(weights)
        raise URLError("Name or service not known")

    monkeypatch.setitem(RESNETS, "resnet18", refuse)
    with pytest.raises(WeightsUnavailableError) as caught:
        make_backbone("resnet18", "imagenet")
    assert asked == ["DEFAULT"]
    for part in ("resnet18", "Name or service not known", "weights=None", "checkpoints"):
        assert part in str(caught.value)


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (6, 4), (5, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_small_maps_multiplied_as_patches_against_the_convolution(
    stride, size, layout, monkeypatch
):
    torch.manual_seed(0)
    usual = torch.nn.Conv2d(4, 6, 3, stride, padding=1, bias=False).double()
    patches = PatchConv2d.like(copy.deepcopy(usual)).to(memory_format=layout)
    assert list(patches.state_dict()) == list(usual.state_dict())
    photos = [torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    photos[1].data.copy_(photos[0].data)
    wanted = usual(photos[0])
    with monkeypatch.context() as patch:  # it is really another way
        patch.setattr(torch.nn.Conv2d, "forward", None)
        found = patches(photos[1])
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    (wanted * weight).sum().backward()
    (found * weight).sum().backward()
    torch.testing.assert_close(photos[1].grad, photos[0].grad)
    torch.testing.assert_close(patches.weight.grad, usual.weight.grad)
    # AdamW's fused steps are wrong, without a word, where the two are laid out differently.
    assert patches.weight.grad.stride() == patches.weight.stride()


def test_large_maps_and_nets_in_use_are_convolved_as_ever():
    torch.manual_seed(0)
    usual = torch.nn.Conv2d(4, 6, 3, padding=1, bias=False)
    patches = PatchConv2d.like(usual)
    for training, size in ((True, 6), (False, 3)):
        photo = torch.randn(1, 4, size, size)
        assert torch.equal(patches.train(training)(photo), usual(photo))


@pytest.mark.parametrize(("backbone", "count"), [("resnet18", 4), ("resnet50", 3)])
def test_a_backbone_is_torchvisions_but_for_how_its_last_layer_is_multiplied(backbone, count):
    torch.manual_seed(0)
    net = make_backbone(backbone)
    torch.manual_seed(0)
    plain = torchvision.models.get_model(backbone)
    replaced = [name for name, one in net.named_modules() if isinstance(one, PatchConv2d)]
    assert len(replaced) == count
    assert all(name.startswith("layer4.") for name in replaced)
    expected = plain.state_dict()
    assert [name for name in expected if not name.startswith("fc.")] == list(net.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


# The two-stage baseline's classifier


def small_classifier():
    torch.manual_seed(0)
    net = FaceClassifier(["a", "b", "c"], 64, "resnet18", embedding_dim=8, normalised=True)
    net.backbone = thin_net().backbone
    return net


def test_the_face_classifier_costs_the_identity_of_the_largest_known_face():
    net = small_classifier()
    photos = torch.stack([photo(64, 64, seed) for seed in range(4)])
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [10.0, 10.0, 40.0, 40.0]])
    targets = [
        {"boxes": boxes, "identities": torch.tensor(who)} for who in ([0, 2], [1, 0], [1, -1])
    ]
    targets.append({"boxes": boxes[:0], "identities": torch.zeros(0, dtype=torch.int64)})
    assert [largest_identity(target) for target in targets] == [2, 0, -1, -1]
    losses = IdentityLoss()(net, net.train()(photos), targets)
    logits = net.classifier.at(net.embed(photos)).tolist()
    costs = [
        math.log(sum(math.exp(v) for v in logits[at])) - logits[at][who]
        for at, who in enumerate((2, 0))
    ]
    assert float(losses["total"].detach()) == pytest.approx(sum(costs) / 2, rel=1e-4)
    assert net.eval()(photos).shape == (4, 3)


def test_the_face_classifier_is_finite_without_a_known_face():
    net = small_classifier().train()
    target = {"boxes": torch.zeros(0, 4), "identities": torch.zeros(0, dtype=torch.int64)}
    logits = net(torch.stack([photo(64, 64), photo(64, 64, 1)]))
    losses = IdentityLoss(0.1)(net, logits, [target] * 2)
    assert float(losses["total"].detach()) == 0
    losses["total"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


# Embeddings read under the box


def pooled_twin(features, box):
    """Mean of 3 x 3 bins, four samples each, interpolated between cells' centres."""
    channels, height, width = features.shape
    x1, y1, x2, y2 = (v / 32 - 0.5 for v in box)
    total = torch.zeros(channels)
    for row in range(6):
        for column in range(6):
            y, x = y1 + (row + 0.5) * (y2 - y1) / 6, x1 + (column + 0.5) * (x2 - x1) / 6
            if not (-1 <= y <= height and -1 <= x <= width):
                continue  # outside counts as zero
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            for dy, wy in ((0, 1 - (y - top)), (1, y - top)):
                for dx, wx in ((0, 1 - (x - left)), (1, x - left)):
                    total += wy * wx * features[:, top + dy, left + dx]
    return total / 36


def test_reading_under_a_box_against_loops():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 7, 4, 5, generator=generator)
    boxes = torch.tensor([[10.0, 20.0, 90.0, 100.0], [40.0, 33.0, 75.5, 66.0], [96, 70, 160, 128]])
    photos = torch.tensor([0, 1, 1])
    found = region_reader().region_features(features, photos, boxes)
    assert found.shape == (3, 7, 1, 1)
    for one, photo, box in zip(found, photos, boxes, strict=True):
        twin = pooled_twin(features[photo], box.tolist())
        torch.testing.assert_close(one.flatten(), twin, rtol=1e-4, atol=1e-5)


def region_reader():
    net = thin_net(identities=("anna", "boris", "clara"), embedding_source="roi")
    with torch.no_grad():
        net.regression_head.weight.normal_(std=0.3)
        net.regression_head.bias.view(2, 5)[:, 4] = 0
    return net


def test_a_net_that_reads_regions_keeps_the_contract_and_learns():
    net = region_reader()
    photos = torch.stack([photo(96, 128, seed) for seed in range(2)])
    targets = [
        {"boxes": torch.tensor([[10.0, 10, 50, 60]]), "identities": torch.tensor([1])},
        {"boxes": torch.zeros(0, 4), "identities": torch.zeros(0, dtype=torch.int64)},
    ]
    for labels in (targets, targets[1:] * 2):  # a face; none in the whole batch
        net.train().zero_grad()
        JointLoss()(net, net(photos), labels)["total"].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    found = net.eval().detect(photos)
    for at, one in enumerate(found):
        count = len(one["boxes"])
        assert count > 3 and one["embeddings"].shape == (count, 8)
        again = net.embed_at(photos[at : at + 1], [one["boxes"]])[0]
        placed = ~again.isnan().any(dim=1)  # two detections of one cell and anchor cannot be
        assert placed.any()
        torch.testing.assert_close(
            F.normalize(again[placed], dim=1), one["embeddings"][placed], rtol=1e-3, atol=1e-4
        )


def test_an_embedding_at_a_box_is_what_the_cell_of_its_centre_holds(net):
    picture = photo(96, 128)[None]
    boxes = random_boxes(np.random.default_rng(0), 3, size=90)
    source = net(picture).source
    found = net.embed_at(picture, [boxes])[0]
    places = assign(boxes, SIZES, (3, 4), net.cell)
    for one, place in zip(found, places.tolist(), strict=True):
        torch.testing.assert_close(one, source[0, :, place // 12, place % 12 // 4, place % 4])
    # Two anchors have no place for a third face of one cell.
    crowded = torch.tensor([[10.0, 10, 30, 30]]).repeat(3, 1)
    lost = net.embed_at(picture, [crowded])[0].isnan()
    assert lost.all(dim=1).sum() == 1 and lost.sum() == 8


def test_an_unknown_embedding_source_is_refused():
    with pytest.raises(ValueError, match="embedding_source='face'"):
        JointNet(["a"], ANCHORS, embedding_source="face")
