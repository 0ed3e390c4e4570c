"""What the grid says is what detections are made of; covered squares against a loop."""

import numpy as np
import pytest
import torch

from thesislib.engine import look_inside
from thesislib.engine.distil import new_student
from thesislib.engine.look_inside import cells_of, occlusion, share_within
from thesislib.models.joint import JointNet
from thesislib.profiles import PROFILES

LEAST = 0.001  # of a net that has learned nothing
PHOTO = np.random.default_rng(0).integers(0, 255, (96, 130, 3), np.uint8)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return JointNet(["anna", "boris"], [[30, 40], [50, 60]], 96, "resnet18", pooling=1).eval()


def test_what_is_kept_is_what_the_net_finds(net):
    cells = cells_of(net, PHOTO, LEAST)
    assert cells.photo.shape == (96, 130, 3) and cells.cell == 32
    assert cells.scores.shape == (2, 3, 5) and cells.boxes.shape == cells.anchors.shape
    assert cells.anchors.shape == (2, 3, 5, 4)
    (found,) = net.predict_arrays([PHOTO], LEAST)
    kept = np.clip(cells.boxes.reshape(-1, 4)[cells.kept], 0, [130, 96] * 2)
    np.testing.assert_allclose(kept, np.stack([face.box for face in found]), atol=1e-3)
    scores = cells.scores.ravel()[cells.kept]
    np.testing.assert_allclose(scores, [face.score for face in found], atol=1e-5)
    assert 0 < len(found) < cells.scores.size
    np.testing.assert_allclose(cells.anchors[1, 2, 4], [144 - 25, 80 - 30, 144 + 25, 80 + 30])


def test_the_field_is_where_a_pixel_moves_the_best_cell(net):
    cells = cells_of(net, PHOTO)
    assert cells.field.shape == (96, 130) and cells.field.max() == 1
    _, row, column = np.unravel_index(cells.scores.argmax(), cells.scores.shape)

    def features(photo):
        pixels = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            return net.pool(net.features(pixels))[0, :, row, column].abs().sum()

    y, x = np.unravel_index(cells.field.argmax(), cells.field.shape)
    moved = PHOTO.astype(np.float32)
    moved[y, x] += 1
    assert features(moved) != features(PHOTO.astype(np.float32))


def test_a_net_without_a_grid_is_refused():
    with pytest.raises(ValueError, match="embedding_source='landmarks': expected 'grid'"):
        cells_of(new_student(PROFILES["default"], 0), PHOTO)


def test_what_is_missed_against_a_loop(net, monkeypatch):
    """A name that hangs on one pixel, a box that hangs on another."""

    def of_face(net, photos, box, own):
        told = [
            (0.8 if photo[10, 20, 0] != 127 else 0.1, photo[50, 70, 0] != 127) for photo in photos
        ]
        return np.array(told, float)

    monkeypatch.setattr(look_inside, "_of_face", of_face)
    photo = np.zeros((60, 90, 3), np.uint8)
    missed = occlusion(net, photo, np.array([0, 0, 9, 9]), "anna", side=20, step=15)
    lost, covered = np.zeros((60, 90)), np.zeros((60, 90))
    for top in (0, 15, 30, 40):
        for left in (0, 15, 30, 45, 60, 70):
            covered[top : top + 20, left : left + 20] += 1
            if top <= 10 < top + 20 and left <= 20 < left + 20:
                lost[top : top + 20, left : left + 20] += 0.7
    np.testing.assert_allclose(missed.name, lost / covered)
    assert missed.score[50, 70] == 1 and missed.score[10, 20] == 0
    assert (photo == 0).all()


def test_name_and_score_of_a_face(net, monkeypatch):
    monkeypatch.setattr(look_inside, "_LEAST_SCORE", LEAST)
    (found,) = net.predict_arrays([PHOTO], LEAST)
    box = found[0].box.astype(float)
    ((name, score),) = look_inside._of_face(net, [PHOTO], box, 1)
    assert 0 < name < 1 and score == pytest.approx(found[0].score)
    ((_, score),) = look_inside._of_face(net, [PHOTO], np.array([0.0, 0, 2, 2]), 1)
    assert score == 0


def test_bad_wishes(net):
    box = np.array([0, 0, 9, 9])
    with pytest.raises(ValueError, match="the net does not know 'vera'"):
        occlusion(net, PHOTO, box, "vera", 9, 9)
    with pytest.raises(ValueError, match="side and step: expected at least 1"):
        occlusion(net, PHOTO, box, "anna", 0, 9)


def test_the_share_within_a_box_against_a_loop():
    values = np.random.default_rng(1).random((7, 9))
    within = sum(values[y, x] for y in range(2, 5) for x in range(1, 6))
    assert share_within(values, np.array([1, 2, 6, 5])) == pytest.approx(within / values.sum())
    assert np.isnan(share_within(np.zeros((3, 3)), np.array([0, 0, 1, 1])))
