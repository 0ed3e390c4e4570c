"""Figures of what a net looks at show the numbers they are given."""

import numpy as np
import pytest

from thesislib.reporting.figures.inside import cells, missed

PHOTO = np.zeros((64, 96, 3), np.uint8)


def test_cells_scores_and_boxes():
    scores = np.array([[[0.1, 0.04, 0.9], [0.3, 0.0, 0.0]]])
    boxes = np.tile(np.float32([1, 2, 30, 40]), (1, 2, 3, 1))
    figure = cells(PHOTO, 32, boxes, scores, boxes, np.array([2]), np.ones((64, 96)))
    _, scored, boxed, _ = figure.axes
    told = [text.get_text() for text in scored.texts]
    assert told == ["0.10", "0.04", "0.90", "0.30", "0.00", "0.00"]
    assert len(boxed.patches) == 3 + 1  # above 0.05, and the one that is kept


def test_a_column_for_each_net_and_question():
    one, two = ("name", "scratch"), ("box", "default")
    maps = {one: [np.eye(64, 96), np.zeros((64, 96))], two: [np.ones((64, 96))] * 2}
    shares = {one: [0.25, float("nan")], two: [0.5, 0.75]}
    boxes = [np.array([1, 1, 20, 20])] * 2
    figure = missed([PHOTO, PHOTO], boxes, maps, shares)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [
        *(
            "photo",
            "name, random weights\n25 % in the face",
            "box, the published net\n50 % in the face",
        ),
        *("", "no name to lose", "75 % in the face"),
    ]
    over = figure.axes[1].images[-1].get_array()
    # What changes nothing leaves the photo as it is.
    assert (over[0, 0, 3], over[0, 1, 3]) == (0.9, 0)
    with pytest.raises(ValueError, match="photos: empty"):
        missed([], [], {}, {})
