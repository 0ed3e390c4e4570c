"""The code between boxes and cells against loops, and which face gets which cell."""

import math

import numpy as np
import pytest
import torch
from conftest import ANCHORS, random_boxes
from hypothesis import given
from hypothesis import strategies as st

from thesislib.models.anchors import (
    anchor_boxes,
    assign,
    cell_centres,
    decode_boxes,
    encode_boxes,
    fit_anchors,
)

GRID, CELL = (3, 4), 32
SIZES = torch.tensor(ANCHORS)


def iou_of_sizes(a, b):
    covered = min(a[0], b[0]) * min(a[1], b[1])
    return covered / (a[0] * a[1] + b[0] * b[1] - covered)


def flat(place):
    """The index of anchor, row and column among all places; -1 for none."""
    anchor, row, column = place
    return (anchor * GRID[0] + row) * GRID[1] + column if anchor >= 0 else -1


def assign_twin(boxes, anchors, grid, cell):
    boxes, anchors = boxes.tolist(), anchors.tolist()
    sizes = [(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
    order = sorted(range(len(boxes)), key=lambda i: -np.float32(sizes[i][0] * sizes[i][1]))
    places, taken = [(-1, -1, -1)] * len(boxes), set()
    for i in order:
        x1, y1, x2, y2 = boxes[i]
        column = min(max(int((x1 + x2) / 2 // cell), 0), grid[1] - 1)
        row = min(max(int((y1 + y2) / 2 // cell), 0), grid[0] - 1)
        for a in sorted(range(len(anchors)), key=lambda a: -iou_of_sizes(sizes[i], anchors[a])):
            if (a, row, column) not in taken:
                taken.add((a, row, column))
                places[i] = (a, row, column)
                break
    return places


def test_cell_centres_against_loops():
    centres = cell_centres(GRID, CELL)
    assert centres.shape == (3, 4, 2) and centres.dtype == torch.float32
    for row in range(3):
        for column in range(4):
            assert centres[row, column].tolist() == [32 * column + 16, 32 * row + 16]


def test_anchor_boxes_against_loops():
    boxes = anchor_boxes(SIZES, GRID, CELL)
    assert boxes.shape == (2, 3, 4, 4)
    for a, (width, height) in enumerate(ANCHORS):
        for row in range(3):
            for column in range(4):
                x, y = 32 * column + 16, 32 * row + 16
                wanted = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
                assert boxes[a, row, column].tolist() == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_encode_against_loops(dtype):
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 20).to(dtype)
    centres = torch.tensor(rng.uniform(0, 128, (20, 2)), dtype=dtype)
    sizes = torch.tensor(rng.uniform(5, 90, (20, 2)), dtype=dtype)
    codes = encode_boxes(boxes, centres, sizes, CELL)
    for i in range(20):
        x1, y1, x2, y2 = boxes[i].tolist()
        wanted = [
            ((x1 + x2) / 2 - float(centres[i, 0])) / CELL,
            ((y1 + y2) / 2 - float(centres[i, 1])) / CELL,
            math.log((x2 - x1) / float(sizes[i, 0])),
            math.log((y2 - y1) / float(sizes[i, 1])),
        ]
        assert codes[i].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_decode_against_loops_and_within_a_factor_of_50():
    codes = torch.tensor([[0.5, -0.25, 0.1, -0.3], [0.0, 0.0, 99.0, -99.0]])
    boxes = decode_boxes(codes, torch.tensor([80.0, 48.0]), SIZES[0], CELL)
    for at in range(2):
        dx, dy, log_width, log_height = codes[at].tolist()
        x, y = 80 + dx * CELL, 48 + dy * CELL
        width = 16 * min(max(math.exp(log_width), 1 / 50), 50)
        height = 20 * min(max(math.exp(log_height), 1 / 50), 50)
        wanted = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert boxes[at].tolist() == pytest.approx(wanted, rel=1e-5)


def test_decode_is_the_inverse_of_encode():
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 50)
    centres = torch.tensor(rng.uniform(0, 128, (50, 2)), dtype=torch.float32)
    codes = encode_boxes(boxes, centres, SIZES[[0, 1] * 25], CELL)
    back = decode_boxes(codes, centres, SIZES[[0, 1] * 25], CELL)
    torch.testing.assert_close(back, boxes, rtol=1e-4, atol=1e-3)


coordinates = st.floats(-300, 300, width=32)
sizes = st.floats(1, 500, width=32)


@given(coordinates, coordinates, sizes, sizes, coordinates, coordinates, st.sampled_from([0, 1]))
def test_any_box_comes_back_from_its_code(x, y, width, height, centre_x, centre_y, anchor):
    box = torch.tensor([x, y, x + width, y + height])
    centre, size = torch.tensor([centre_x, centre_y]), SIZES[anchor]
    back = decode_boxes(encode_boxes(box, centre, size, CELL), centre, size, CELL)
    torch.testing.assert_close(back, box, rtol=1e-4, atol=1e-2)


def test_a_box_without_size_still_has_a_finite_code():
    boxes = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert encode_boxes(boxes, torch.zeros(1, 2), SIZES[:1], CELL).isfinite().all()


@pytest.mark.parametrize("faces", [1, 30])
def test_assign_against_loops(faces):
    rng = np.random.default_rng(faces)
    homeless = 0
    for _ in range(20):
        boxes = random_boxes(rng, faces)
        places = assign(boxes, SIZES, GRID, CELL)
        assert places.dtype == torch.int64
        twin = assign_twin(boxes, SIZES, GRID, CELL)
        assert places.tolist() == [flat(place) for place in twin]
        homeless += twin.count((-1, -1, -1))
    assert (homeless > 0) == (faces == 30)


def centred(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def test_a_face_gets_the_cell_of_its_centre_and_the_anchor_like_it():
    boxes = torch.tensor([centred(40, 70, 15, 19), centred(120, 5, 40, 44)])
    assert assign(boxes, SIZES, GRID, CELL).tolist() == [flat((0, 2, 1)), flat((1, 0, 3))]


def test_of_two_faces_in_a_cell_the_smaller_takes_the_next_best_anchor():
    boxes = torch.tensor([centred(50, 50, 30, 30), centred(48, 48, 38, 40)])
    assert assign(boxes, SIZES, GRID, CELL).tolist() == [flat((0, 1, 1)), flat((1, 1, 1))]


def test_more_faces_than_anchors_in_a_cell_leave_the_smallest_without_a_place():
    boxes = torch.tensor([centred(48, 48, side, side) for side in (10, 30, 20)])
    assert assign(boxes, SIZES, GRID, CELL).tolist() == [-1, flat((1, 1, 1)), flat((0, 1, 1))]


def test_a_centre_on_or_past_the_edge_falls_into_the_outermost_cell():
    boxes = torch.tensor([centred(128, 96, 20, 20), centred(-5, -5, 20, 20)])
    assert assign(boxes, SIZES, GRID, CELL).tolist() == [flat((0, 2, 3)), flat((0, 0, 0))]


def test_no_faces_have_no_places():
    assert assign(torch.zeros(0, 4), SIZES, GRID, CELL).shape == (0,)


def test_fit_anchors_recovers_planted_clusters_smallest_first():
    rng = np.random.default_rng(0)
    planted = np.array([[60.0, 90.0], [12.0, 15.0], [30.0, 28.0]])
    sizes = np.concatenate([p * np.exp(rng.normal(0, 0.05, (200, 2))) for p in planted])
    fitted = fit_anchors(rng.permutation(sizes), 3, seed=0)
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted, planted[[1, 2, 0]], rtol=0.02)


def test_fit_anchors_takes_the_mean_of_logs():
    sizes = np.array([[10.0, 20.0], [40.0, 20.0], [20.0, 80.0]])
    fitted = fit_anchors(sizes, 1, seed=0)
    wanted = [math.exp(sum(math.log(v) for v in column) / 3) for column in sizes.T]
    assert fitted[0].tolist() == pytest.approx(wanted, rel=1e-5)


def test_fit_anchors_is_the_same_for_the_same_seed():
    sizes = np.random.default_rng(0).uniform(5, 90, (60, 2))
    fits = [fit_anchors(sizes, 4, seed=5) for _ in range(2)]
    np.testing.assert_array_equal(*fits)


def test_boxes_all_alike_still_give_as_many_anchors_as_asked_for():
    fitted = fit_anchors(np.full((9, 2), 30.0), 3, seed=0)
    assert len(np.unique(fitted, axis=0)) == 3
    np.testing.assert_allclose(fitted, 30, rtol=0.06)


def test_too_few_boxes_are_refused():
    with pytest.raises(ValueError, match="2 training boxes are too few for 3 anchors"):
        fit_anchors(np.ones((2, 2)), 3, seed=0)


@pytest.mark.parametrize("wrong", [0.0, -3.0, math.nan])
def test_a_size_that_is_not_positive_is_refused(wrong):
    sizes = np.full((5, 2), 10.0)
    sizes[2, 1] = wrong
    with pytest.raises(ValueError, match="every width and height must be positive"):
        fit_anchors(sizes, 2, seed=0)
