"""Views for learning to find faces: where faces end up, and that a view is the same each time."""

import numpy as np
import pytest
import torch
from conftest import noise
from PIL import Image

from thesislib.data.columns import UNKNOWN
from thesislib.data.transforms import PADDING, warped
from thesislib.data.views import (
    MOST_READ,
    FacePhoto,
    Views,
    _tiles,
    disturbed,
    mosaic_view,
    portrait_through,
    scene_view,
    seen_through,
)

MARKS = np.array([[[40, 44], [60, 44], [50, 54], [43, 66], [58, 66]]], np.float32)
BOX = np.array([[30, 30, 70, 80]], np.float32)
NOTHING = np.empty((0, 4), np.float32)


@pytest.fixture
def portraits(tmp_path):
    """Grey photos in which the face's box is white and its landmarks are black squares."""
    found = []
    for at in range(3):
        pixels = np.full((100, 100, 3), 90, np.uint8)
        pixels[30:80, 30:70] = 255
        path = tmp_path / f"{at}.png"
        Image.fromarray(pixels).save(path)
        found.append(FacePhoto(path, BOX, MARKS, NOTHING))
    return found


def similarity(scale, angle, x, y, mirrored=False):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.c_[linear, [x, y]]


def test_a_photo_is_warped_as_pixel_by_pixel():
    pixels = np.kron(noise(8, 8), np.ones((8, 8, 1), np.uint8))
    transform = similarity(0.7, 0.2, 5, 3)
    found = np.asarray(warped(Image.fromarray(pixels), transform, 48)).astype(float)
    for row in range(0, 48, 7):
        for column in range(0, 48, 7):
            x, y = transform @ [column + 0.5, row + 0.5, 1] - 0.5
            left, top = int(np.floor(x)), int(np.floor(y))
            if not (0 <= left < 63 and 0 <= top < 63):
                continue
            wx, wy = x - left, y - top
            square = pixels[top : top + 2, left : left + 2].astype(float)
            wanted = (square[0, 0] * (1 - wx) + square[0, 1] * wx) * (1 - wy)
            wanted += (square[1, 0] * (1 - wx) + square[1, 1] * wx) * wy
            np.testing.assert_allclose(found[row, column], wanted, atol=1.01)
    outside = np.asarray(warped(Image.fromarray(pixels), similarity(1, 0, 100, 100), 4))
    assert (outside == PADDING).all()


def test_a_shrunk_photo_keeps_its_mean():
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[::2] = 200  # stripes that every second pixel would miss or see alone
    found = np.asarray(warped(Image.fromarray(pixels), similarity(4, 0, 0, 0), 40))
    assert abs(found[5:35, 5:35].mean() - 100) < 3


@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_and_landmarks_move_with_the_pixels(tmp_path, mirrored):
    transform = similarity(0.5, 0, 90 if mirrored else 10, 20, mirrored)
    found = seen_through(FacePhoto(tmp_path / "a", BOX, MARKS, NOTHING), transform, 130)
    # By the inverse, point by point.
    corners = [[30, 30], [70, 80]]
    moved = np.array([np.linalg.solve(transform[:, :2], c - transform[:, 2]) for c in corners])
    np.testing.assert_allclose(found.boxes[0, :2], moved.min(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.boxes[0, 2:], moved.max(axis=0), atol=1e-4)
    marks = [np.linalg.solve(transform[:, :2], m - transform[:, 2]) for m in MARKS[0]]
    order = [1, 0, 2, 4, 3] if mirrored else range(5)
    np.testing.assert_allclose(found.landmarks[0], [marks[at] for at in order], atol=1e-4)
    assert found.landmarks[0, 0, 0] < found.landmarks[0, 1, 0]  # the left eye is on the left


def test_faces_cut_off_or_tiny_are_ignored_not_learned(tmp_path):
    boxes = np.array([[-30, 10, 30, 60], [-40, 10, 20, 60], [60, 60, 64, 65]], np.float32)
    marks = np.full((3, 5, 2), np.nan, np.float32)
    ignored = np.array([[80, 80, 200, 200], [300, 300, 320, 320]], np.float32)
    photo = FacePhoto(tmp_path / "a", boxes, marks, ignored)
    found = seen_through(photo, similarity(1, 0, 0, 0), 100)
    assert found.kept.tolist() == [0]
    assert found.boxes.tolist() == [[0, 10, 30, 60]]
    assert found.ignored.tolist() == [[80, 80, 100, 100], [0, 10, 20, 60], [60, 60, 64, 65]]


@pytest.mark.parametrize("seed", range(4))
def test_tiles_fill_the_square(seed):
    covered = np.zeros((320, 320), int)
    for left, top, side in _tiles(0, 0, 320, np.random.default_rng(seed)):
        covered[top : top + side, left : left + side] += 1
    assert (covered > 0).all()
    assert (covered == 1).mean() > 0.95


def test_a_mosaic_has_a_face_in_its_box(portraits):
    view, found, who = mosaic_view(portraits, 320, np.random.default_rng(1))
    pixels = np.asarray(view.convert("L")).astype(float)
    assert len(who) == len(found.boxes) > 4
    for box in found.boxes:
        x1, y1, x2, y2 = box.astype(int)
        inner = pixels[(3 * y1 + y2) // 4 : (y1 + 3 * y2) // 4, (3 * x1 + x2) // 4 : (x1 + x2) // 2]
        around = pixels[max(0, y1 - 4) : y1 + 1, x1:x2]
        assert inner.mean() > around.mean() or y1 < 4
    assert {at for at, _ in who} <= {0, 1, 2}


def test_faces_of_much_the_same_size_without_crowds(portraits):
    counts = set()
    for seed in range(8):
        _, found, _ = mosaic_view(portraits, 320, np.random.default_rng(seed), crowds=False)
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
        assert (sides > 320 / 3 * 0.2).all() and (sides <= 160).all()
        counts.add(len(found.boxes))
    assert counts <= {*range(3, 10)} and len(counts) > 1


def test_a_portrait_goes_on_beyond_its_edges_as_its_mirror_image():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    view = portrait_through(pixels, np.array([[1.0, 0, -10], [0, 1, -20]]), 100)
    rows = np.abs(np.arange(-20, 80))
    rows = np.where(rows > 59, 118 - rows, rows)
    inside = np.r_[np.abs(np.arange(-10, 90))]
    np.testing.assert_array_equal(np.asarray(view)[:99, :99], pixels[rows][:, inside][:99, :99])


def test_a_scene_view_moves_pixels_and_boxes_alike(portraits):
    for seed in range(6):
        view, found = scene_view(portraits[0], 96, np.random.default_rng(seed))
        if not len(found.boxes):
            continue
        pixels = np.asarray(view.convert("L")).astype(float)
        x, y = ((found.boxes[0, :2] + found.boxes[0, 2:]) / 2).astype(int)
        assert pixels[min(y, 95), min(x, 95)] > np.median(pixels[:, -1])


def test_the_same_view_for_the_same_seed_and_the_teachers_answers_with_it(portraits):
    answers = np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 4)
    views = Views(portraits[:1], portraits, answers, 320, 0.3, 10, seed=0)
    again = Views(portraits[:1], portraits, answers, 320, 0.3, 10, seed=0)
    kinds = set()
    for at in range(10):
        image, target = views[0, at]
        same, told = again[0, at]
        assert torch.equal(image, same)
        assert torch.equal(target["boxes"], told["boxes"])
        assert torch.equal(target["coarse"], told["coarse"])
        assert image.shape == (3, 320, 320) and image.dtype == torch.uint8
        assert (target["identities"] == UNKNOWN).all()
        taught = ~target["answers"].isnan().any(dim=1)
        kinds.add(bool(taught.any()))
        assert taught.sum() <= MOST_READ
        for answer in target["answers"][taught]:
            assert answer.tolist() in answers.reshape(-1, 4).tolist()
    assert kinds == {True, False}
    assert not torch.equal(views[0, 0][0], views[1, 0][0])


def test_no_photos():
    with pytest.raises(ValueError, match="no photos to make views of"):
        Views([], [], np.empty((0, 2, 4), np.float32), 320, 0.5, 10, 0)


def test_disturbed_landmarks_are_about_where_they_were():
    marks = np.repeat(MARKS, 2000, axis=0)
    found = disturbed(marks, np.full(2000, 20.0), np.random.default_rng(0))
    assert found.shape == marks.shape and found.dtype == np.float32
    np.testing.assert_allclose(found.mean(axis=0), MARKS[0], atol=0.3)
    off = np.linalg.norm(found - marks, axis=2).mean() / 20
    assert 0.1 < off < 0.3  # of the distance of the eyes
    assert not disturbed(MARKS[:0], np.empty(0), np.random.default_rng(0)).size
