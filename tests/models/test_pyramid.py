"""Heads at three strides: places, boxes, landmarks, and what each place is to find."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import random_boxes

from thesislib.data.columns import UNKNOWN
from thesislib.metrics.boxes import box_iou
from thesislib.models.chips import REFERENCE
from thesislib.models.decode import Detections
from thesislib.models.joint import JointNet
from thesislib.models.pyramid import (
    DOUBTS,
    SIZES,
    STRIDES,
    VALUES,
    Pyramid,
    decode_places,
    decode_pyramid,
    places,
    whole_cells,
)
from thesislib.models.pyramid_loss import (
    CENTRE_CELLS,
    LANDMARK_BETA,
    PyramidLoss,
    assign_dynamic,
    finding_loss,
)
from thesislib.models.same_face import SAME_IOU, SAME_PLACE, one_per_face

SIZE = (96, 128)


def net(identities=("anna", "boris"), **settings):
    torch.manual_seed(0)
    return JointNet(
        list(identities),
        np.empty((0, 2)),
        input_px=96,
        backbone="dlib",
        stride=4,
        pooling=1,
        embedding_dim=128,
        normalised=True,
        embedding_source="landmarks",
        **settings,
    )


def random_values(seed=0, photos=2):
    rng = np.random.default_rng(seed)
    count = len(places(SIZE).strides)
    return torch.tensor(rng.normal(0, 0.5, (photos, count, VALUES)), dtype=torch.float32)


def test_places_are_the_cells_of_every_stride_fine_to_coarse():
    at = places(SIZE)
    number = 0
    levels = [(*SIZE, stride, side) for stride, side in zip(STRIDES, SIZES, strict=True)]
    # Half of it is 48 x 64, of which the rows are filled up to 64; a quarter 24 x 32, likewise.
    levels += [
        (128, 128, part * stride, part * side)
        for part in (2, 4)
        for _, _, stride, side in levels[1:3]
    ]
    for height, width, stride, side in levels:
        for row in range(height // stride):
            for column in range(width // stride):
                centre = [(column + 0.5) * stride, (row + 0.5) * stride]
                assert at.centres[number].tolist() == centre
                assert (float(at.strides[number]), float(at.sizes[number])) == (stride, side)
                number += 1
    assert number == len(at.centres)
    assert whole_cells((65, 96)) == (96, 96)


def test_the_pyramid_gives_values_in_the_order_of_the_places():
    pyramid = Pyramid(channels=4, width=8).eval()
    features, half, quarter = (torch.rand(2, 4, 24 // part, 32 // part) for part in (1, 2, 4))
    values = pyramid(features, half, quarter)
    assert values.shape == (2, len(places(SIZE).strides), VALUES)
    # A change in the photo's lower right corner is seen there, and far from it at no fine place.
    changed = features.clone()
    changed[:, :, -1, -1] += 10
    difference = (pyramid(changed, half, quarter) - values).abs().amax(dim=(0, 2))
    own = 12 * 16 + 6 * 8 + 3 * 4  # places of the photo itself
    assert difference[12 * 16 - 1] > 0  # the last place of the finest stride
    assert difference[own - 1] > 0
    assert not difference[own:].any()
    # Half and quarter are seen by the same heads, and filled up with zeros.
    coarse = 4 * 4 + 2 * 2
    filled = F.pad(half, (0, 0, 0, 4)), F.pad(quarter, (0, 0, 0, 2))
    for part, at, doubt in zip(filled, (own, own + coarse), DOUBTS, strict=True):
        alone = torch.cat(pyramid._levels(part)[1:], dim=1)
        alone[:, :, 4] -= doubt
        torch.testing.assert_close(values[:, at : at + coarse], alone)


def test_boxes_and_landmarks_by_loops():
    values, at = random_values(), places(SIZE)
    boxes, points = decode_places(values, at)
    for place in range(0, len(at.strides), 7):
        dx, dy, w, h, _, *marks = values[1, place].tolist()
        x, y = at.centres[place].tolist()
        stride, side = float(at.strides[place]), float(at.sizes[place])
        half = [side * math.exp(w) / 2, side * math.exp(h) / 2]
        middle = [x + dx * stride, y + dy * stride]
        wanted = [
            middle[0] - half[0],
            middle[1] - half[1],
            middle[0] + half[0],
            middle[1] + half[1],
        ]
        assert boxes[1, place].tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-4)
        pairs = zip(marks[::2], marks[1::2], strict=True)
        wanted = [[middle[0] + 2 * half[0] * mx, middle[1] + 2 * half[1] * my] for mx, my in pairs]
        np.testing.assert_allclose(points[1, place].numpy(), wanted, rtol=1e-5, atol=1e-4)


def test_detections_carry_the_landmarks_of_their_place():
    values = random_values()
    found = decode_pyramid(values, (90, 120), 0.5, 0.4, 20)
    boxes, points = decode_places(values, places(SIZE))
    assert len(found.photo)
    for photo, place, box, score, marks in zip(*found, strict=True):
        assert torch.equal(marks, points[photo, place])
        assert float(score) == pytest.approx(float(values[photo, place, 4].sigmoid()))
        limits = torch.tensor([120.0, 90.0, 120.0, 90.0])
        torch.testing.assert_close(box, torch.minimum(boxes[photo, place].clamp(min=0), limits))


def test_a_face_is_found_once_by_loops():
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 60, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (40, 2))], axis=1)
    points = rng.uniform(boxes[:, None, :2], boxes[:, None, 2:], (40, 5, 2))
    # Every second one is the one before, larger, with landmarks that hardly moved, or moved.
    boxes[1::2] = boxes[::2] + np.array([-6, -6, 6, 6])
    points[1::2] = points[::2] + rng.uniform(0, 8, (20, 1, 1))
    photo = np.repeat([0, 1], 20)
    kept = []
    for at, (box, marks) in enumerate(zip(boxes, points, strict=True)):
        doubles = False
        for other in range(at):
            side = min(math.sqrt(np.prod(one[2:] - one[:2])) for one in (box, boxes[other]))
            away = np.mean([math.dist(p, q) for p, q in zip(marks, points[other], strict=True)])
            iou = float(box_iou(box[None], boxes[other][None])[0, 0])
            same = photo[at] == photo[other] and iou > SAME_IOU and away <= SAME_PLACE * side
            doubles |= bool(same)
        if not doubles:
            kept.append(at)
    assert 20 < len(kept) < 40
    scores = torch.linspace(1, 0.5, 40)
    tensors = [torch.tensor(value) for value in (photo, np.arange(40), boxes)]
    found = one_per_face(Detections(*tensors, scores, torch.tensor(points)))
    assert found.place.tolist() == kept
    assert torch.equal(found.scores, scores[kept]) and torch.equal(found.boxes, tensors[2][kept])
    none = Detections(*(value[:0] for value in (*tensors, scores, torch.tensor(points))))
    assert len(one_per_face(none).photo) == 0


def naive_assignment(boxes, predicted, logits, at):
    """SimOTA face by face, place by place."""
    wishes = {}
    for face, box in enumerate(boxes.tolist()):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        side = max(1.0, box[2] - box[0], box[3] - box[1])
        factors = [abs(math.log(side / size)) for size in at.sizes.tolist()]
        cost, overlaps = {}, []
        for place, (cx, cy) in enumerate(at.centres.tolist()):
            near = max(abs(x - cx), abs(y - cy)) < CENTRE_CELLS * float(at.strides[place])
            fits = factors[place] < math.log(3) or factors[place] <= min(factors) + 1e-6
            if near and fits:
                iou = float(box_iou(boxes[face : face + 1], predicted[place : place + 1])[0, 0])
                overlaps.append(iou)
                bce = math.log1p(math.exp(-float(logits[place])))
                cost[place] = bce - 3 * math.log(max(iou, 1e-7))
        count = min(len(cost), max(1, int(sum(sorted(overlaps)[-10:]))))
        for place in sorted(cost, key=cost.__getitem__)[:count]:
            wishes.setdefault(place, []).append((cost[place], face))
    return [min(wishes[place])[1] if place in wishes else -1 for place in range(len(at.sizes))]


@pytest.mark.parametrize("seed", range(5))
def test_assignment_by_loops(seed):
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 6, 96, 8, 90)
    at = places(SIZE)
    values = random_values(seed)[0]
    predicted, _ = decode_places(values, at)
    found = assign_dynamic(boxes, predicted, values[:, 4], at)
    assert found.tolist() == naive_assignment(boxes, predicted, values[:, 4], at)
    assert set(found.tolist()) - {-1}


def target(boxes, **more):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "identities": torch.full((len(boxes),), UNKNOWN), **more}


def test_loss_by_loops():
    values, at = random_values(3), places(SIZE)
    marks = torch.full((2, 5, 2), torch.nan)
    marks[1] = torch.tensor([[30.0, 30], [50, 30], [40, 40], [33, 52], [48, 53]])
    ignored = torch.tensor([[64.0, 0, 128, 40]])
    targets = [
        target([[4, 4, 20, 24], [20, 18, 60, 66]], landmarks=marks, ignored=ignored),
        target([]),
    ]
    terms, assigned, points = finding_loss(values, targets, at)
    boxes, _ = decode_places(values, at)
    pairs = {
        (int(photo), int(place)): int(face) for photo, place, face in zip(*assigned, strict=True)
    }
    confidence = box_loss = landmark = known = 0.0
    for photo in range(2):
        for place in range(len(at.sizes)):
            p = 1 / (1 + math.exp(-float(values[photo, place, 4])))
            wanted, face = 0.0, pairs.get((photo, place))
            if face is not None:
                own, true = boxes[photo, place], targets[photo]["boxes"][face]
                wanted = float(box_iou(own[None].numpy(), true[None].numpy())[0, 0])
                box_loss += complete_iou_loss(own.tolist(), true.tolist(), wanted)
                if not marks[face].isnan().any():
                    known += 1
                    size = math.sqrt(float((true[2] - true[0]) * (true[3] - true[1])))
                    for one, other in zip(points[photo, place], marks[face], strict=True):
                        for off in ((one - other) / size).abs().tolist():
                            small = off < LANDMARK_BETA
                            landmark += off**2 / 2 / LANDMARK_BETA if small else off - 0.01
            x, y = at.centres[place].tolist()
            if photo == 0 and face is None and x >= 64 and y <= 40:
                continue
            bce = -wanted * math.log(p) - (1 - wanted) * math.log(1 - p)
            confidence += (wanted - p) ** 2 * bce
    assert known > 0
    assert float(terms["confidence"]) == pytest.approx(confidence / len(pairs), rel=1e-4)
    assert float(terms["box"]) == pytest.approx(box_loss / len(pairs), rel=1e-4)
    assert float(terms["landmark"]) == pytest.approx(landmark / known, rel=1e-4)


def complete_iou_loss(own, true, iou):
    """Zheng et al. 2020, equations 10 and 11."""
    centre = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in (own, true)]
    distance = sum((a - b) ** 2 for a, b in zip(*centre, strict=True))
    diagonal = (max(own[2], true[2]) - min(own[0], true[0])) ** 2
    diagonal += (max(own[3], true[3]) - min(own[1], true[1])) ** 2
    angles = [math.atan((a[2] - a[0]) / (a[3] - a[1])) for a in (true, own)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = v / (1 - iou + v) if v else 0.0
    return 1 - iou + distance / diagonal + alpha * v


def test_a_batch_without_faces_trains_all_the_same():
    model = net().train()
    outputs = model(torch.zeros(2, 3, 96, 96, dtype=torch.uint8))
    losses = PyramidLoss()(model, outputs, [target([]), target([])])
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        unused = name.startswith(("classifier.", "backbone.", "embedding_head.", "refiner."))
        assert unused or parameter.grad is not None, name
    assert torch.isfinite(losses["total"])


def test_identities_are_learned_at_annotated_landmarks():
    model = net().train()
    marks = torch.tensor([[[30.0, 30], [50, 30], [40, 40], [33, 52], [48, 53]]])
    here = target([[20, 18, 60, 66]], landmarks=marks)
    here["identities"] = torch.tensor([1])
    outputs = model(torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8))
    losses = PyramidLoss()(model, outputs, [here, target([])])
    where = torch.tensor([0])
    logits = model.classifier.at(model.embed(outputs.source, where, where, where, marks))
    wanted = -float(logits.detach().log_softmax(dim=1)[0, 1])
    assert float(losses["identity"]) == pytest.approx(wanted, rel=1e-4)
    losses["total"].backward()
    assert all(p.grad is not None for p in model.embedding_head.parameters())


def test_a_face_is_read_from_a_smaller_photo_as_from_the_large_one():
    """Twice and four times the size, a face has the embedding it has at the recogniser's size."""
    model = net().eval()
    marks = torch.tensor(REFERENCE)[None] - 10
    photo = torch.rand(1, 3, 128, 128)
    where = torch.tensor([0])
    with torch.inference_mode():
        small = model.embed(model(photo).source, where, where, where, marks)
        for times in (2, 4):
            large = F.interpolate(photo, scale_factor=times)
            found = model.embed(model(large).source, where, where, where, times * marks)
            torch.testing.assert_close(found, small, atol=1e-4, rtol=1e-4)


def test_given_boxes_are_read_at_the_landmarks_of_the_place_that_fits_best():
    model = net().eval()
    photos = torch.randint(0, 256, (1, 3, 96, 128), dtype=torch.uint8)
    with torch.inference_mode():
        outputs = model(photos)
        boxes, points = decode_places(outputs.regression, places(SIZE))
        fit = box_iou(boxes[0, 40:41].numpy(), boxes[0].numpy())[0]
        place = int((torch.tensor(fit) * outputs.regression[0, :, 4].sigmoid()).argmax())
        where = torch.tensor([0])
        marks = model.refined(outputs.source, where, points[:, place])
        wanted = model.embed(outputs.source, where, where, where, marks)
        found = model.embed_at(photos, [boxes[0, 40:41]])
    torch.testing.assert_close(found[0], wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet18"}, "needs backbone='dlib', not 'resnet18'"),
        ({"stride": 32}, "needs stride=4, not 32"),
        ({"embedding_dim": 512}, "needs embedding_dim=128, not 512"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    usual = {"backbone": "dlib", "stride": 4, "pooling": 1, "embedding_dim": 128}
    with pytest.raises(ValueError, match=message):
        JointNet(["a"], np.empty((0, 2)), embedding_source="landmarks", **(usual | settings))


def test_faces_carry_landmarks_in_pixels_of_the_photo():
    model = net().eval()
    photo = np.random.default_rng(0).integers(0, 256, (192, 256, 3), dtype=np.uint8)
    faces = model.predict_arrays([photo], score_threshold=0.0)[0]
    assert faces
    for face in faces:
        assert face.landmarks.shape == (5, 2)
        centre = (face.box[:2] + face.box[2:]) / 2
        assert np.abs(face.landmarks - centre).max() < 400  # at the photo's scale, near the box
    scaled = model.detect(model._scaled([photo]), 0.0)[0]
    np.testing.assert_allclose(faces[0].landmarks, 2 * scaled["landmarks"][0].numpy(), rtol=1e-5)
