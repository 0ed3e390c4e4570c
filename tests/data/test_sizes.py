"""Boxes on photos that were turned or scaled since."""

import numpy as np
import pytest
from exif import STORED, turned
from hypothesis import given
from hypothesis import strategies as st

from thesislib.data.importers.sizes import boxes_upright

BOX = [[3, 5, 11, 17]]


@pytest.mark.parametrize("orientation", STORED)
def test_boxes_of_a_lying_photo_are_turned_with_it(orientation):
    stored, box = turned((30, 40), BOX[0], orientation)
    told = stored.shape[::-1]
    found = boxes_upright([box], told, (30, 40), orientation)
    if orientation < 5:  # nothing tells whether the boxes were drawn before or after the turn
        assert found.tolist() == [box]
    else:
        assert found.tolist() == BOX
    half = boxes_upright(np.array([box]) / 2, (told[0] // 2, told[1] // 2), (30, 40), orientation)
    np.testing.assert_allclose(half, found)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("upright", [(40, 30), (40, 40)])
def test_boxes_known_to_be_of_the_stored_photo_are_turned(orientation, upright):
    stored, box = turned(upright[::-1], BOX[0], orientation)
    found = boxes_upright([box], stored.shape[::-1], upright[::-1], orientation, stored=True)
    assert found.tolist() == BOX


@given(
    st.integers(50, 3000), st.integers(50, 3000), st.floats(0.1, 4), st.sampled_from(range(1, 9))
)
def test_boxes_of_a_scaled_photo_are_scaled(width, height, factor, orientation):
    told = (max(1, round(width * factor)), max(1, round(height * factor)))
    box = np.array([[0, 0, *told]])
    found = boxes_upright(box, told, (width, height), orientation)
    np.testing.assert_allclose(found, [[0, 0, width, height]], atol=1e-6)


@pytest.mark.parametrize("told", [(31, 44), (40, 29), (100, 100), (300, 430)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_photos_of_another_shape_are_not_guessed(told, orientation):
    assert boxes_upright(BOX, told, (30, 40), orientation) is None


def test_no_boxes_stay_none():
    assert boxes_upright(np.empty((0, 4)), (30, 40), (30, 40), 1).shape == (0, 4)
