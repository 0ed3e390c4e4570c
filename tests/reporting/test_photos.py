"""Photos with boxes and names: each photo once, with all its faces."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from thesislib.data import inspect
from thesislib.reporting.figures import photos, style

CORNERS = ("x1", "y1", "x2", "y2")


def photo(height=30, width=40):
    ramp = np.linspace(0, 255, height * width * 3)
    return ramp.reshape(height, width, 3).astype(np.uint8)


def face(name, identity, predicted="", box=None, truth=(5, 5, 20, 20)):
    row = {"photo": name, "identity": identity, "predicted_identity": predicted}
    row |= {"found": box is not None}
    row |= dict(zip([f"true_{corner}" for corner in CORNERS], truth, strict=True))
    return row | dict(zip(CORNERS, box or [np.nan] * 4, strict=True))


def drawn_boxes(axis):
    """(x1, y1, x2, y2), colour and whether dashed of each box."""
    boxes = []
    for patch in axis.patches:
        x, y = patch.get_xy()
        corners = (x, y, x + patch.get_width(), y + patch.get_height())
        colour = to_hex(patch.get_edgecolor()).upper()
        boxes.append((corners, colour, patch.get_linestyle() not in ("-", "solid")))
    return boxes


def shown_texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_contact_sheet_of_one_photo_without_faces():
    figure = photos.contact_sheet([photo()], [np.zeros((0, 4))], ["a" * 200])
    (axis,) = figure.axes
    assert not axis.patches
    assert axis.get_title() == "a" * 19 + "…"


def test_contact_sheet_of_photos_of_two_sizes():
    boxes = [np.array([[1, 1, 9, 9]]), np.array([[2, 3, 12, 13], [4, 40, 14, 60]])]
    figure = photos.contact_sheet([photo(), photo(80, 20)], boxes, ["a", "b"], 1)
    drawn = [[corners for corners, _, _ in drawn_boxes(axis)] for axis in figure.axes]
    assert drawn == [[(1, 1, 9, 9)], [(2, 3, 12, 13), (4, 40, 14, 60)]]
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    # Boxes are in the photo's own pixels, though fewer of them are printed.
    assert [axis.images[0].get_extent() for axis in figure.axes] == [[0, 40, 30, 0], [0, 20, 80, 0]]


def test_lines_of_small_boxes_are_thin():
    boxes = np.array([[0, 0, 20, 20], [30, 0, 33, 3]])
    (axis,) = photos.contact_sheet([photo()], [boxes], ["a"]).axes
    assert [patch.get_linewidth() for patch in axis.patches] == [1.0, 0.5]


def test_what_is_odd_stands_above_a_photo():
    rows = [("ann", "brightness", 0.2, 0.5), ("ann", "contrast", 0.2, 0.1), ("", "box_shape", 2, 1)]
    odd = pd.DataFrame(rows, columns=["identity", "measure", "value", "usual"])
    assert photos.odd_titles(odd) == ["ann: darker photo", "ann: more contrast", "wide box"]


def test_every_measure_of_odd_photos_has_words():
    assert set(photos._ODD) == set(inspect._MEASURES)


def test_contact_sheet_needs_photos_and_a_title_for_each():
    with pytest.raises(ValueError, match="empty"):
        photos.contact_sheet([], [], [])
    with pytest.raises(ValueError):
        photos.contact_sheet([photo()], [np.zeros((0, 4))], [])


def test_detections_found_and_not_found():
    faces = [face("a", "ann", "bob", (6, 4, 22, 20)), face("b", "bob"), face("c", "")]
    faces += [face("d", "cyd", "cyd", (5, 5, 20, 21)), face("e", "", "", (5, 5, 20, 20))]
    figure = photos.detections(dict.fromkeys("abcde", photo()), pd.DataFrame(faces))
    assert shown_texts(figure) == [
        "bob\nis ann",
        "not found: bob",
        "not found: a stranger",
        "cyd",
        "nobody",
    ]
    colours = [to_hex(text.get_bbox_patch().get_facecolor()) for axis in figure.axes[:5]
               for text in axis.texts]  # fmt: skip
    wrong, right = style.WRONG.lower(), style.RIGHT.lower()
    assert colours == [wrong, wrong, wrong, right, right]
    assert drawn_boxes(figure.axes[0]) == [
        ((6, 4, 22, 20), style.WRONG, False),
        ((5, 5, 20, 20), style.TRUTH, True),
    ]
    assert drawn_boxes(figure.axes[1]) == [((5, 5, 20, 20), style.TRUTH, True)]


def test_a_photo_of_several_faces_is_drawn_once_with_all_of_them():
    # A photo a row of the table stopped notebook 02.
    faces = [
        face("two", "ann", "ann", (2, 3, 12, 13), (2, 3, 12, 13)),
        face("one", "cyd", "cyd", (4, 4, 14, 14), (4, 4, 14, 14)),
        face("two", "bob", "ann", (22, 3, 32, 13), (22, 3, 32, 13)),
        face("two", "王小明", truth=(2, 18, 12, 28)),
    ]
    pixels = {"one": photo(), "two": photo(60, 80), "left out": photo()}
    figure = photos.detections(pixels, pd.DataFrame(faces))
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.images[0].get_extent() for axis in shown] == [[0, 80, 60, 0], [0, 40, 30, 0]]
    assert [len(axis.texts) for axis in shown] == [3, 1]
    assert shown_texts(figure) == ["ann", "ann\nis bob", "not found: 王小明", "cyd"]
    dashed = [corners for corners, _, dashes in drawn_boxes(shown[0]) if dashes]
    assert dashed == [(2, 3, 12, 13), (22, 3, 32, 13), (2, 18, 12, 28)]


def test_a_photo_of_the_table_must_be_there():
    faces = pd.DataFrame([face("a", "ann"), face("b", "ann")])
    with pytest.raises(ValueError, match="photos: b of the table is missing"):
        photos.detections({"a": photo()}, faces)
    with pytest.raises(ValueError, match="photos: empty"):
        photos.detections({"a": photo()}, faces[:0])


@pytest.mark.parametrize("name", ["Maximiliane-Theodora von Ho", "田中さくら田中さくら"])
def test_a_name_stays_on_its_photo(name):
    corners = [(0, 0, 8, 8), (32, 0, 40, 8), (0, 22, 8, 30), (32, 22, 40, 30)]
    faces = [face(f"{at}", name, name, box, box) for at, box in enumerate(corners)]
    pixels = {f"{at}": photo() for at in range(4)}
    figure = photos.detections(pixels, pd.DataFrame(faces))
    figure.canvas.draw()
    for axis in figure.axes:
        on = axis.get_window_extent()
        text = axis.texts[0].get_window_extent()
        assert on.x0 - 2 <= text.x0 and text.x1 <= on.x1 + 2
        assert on.y0 - 2 <= text.y0 and text.y1 <= on.y1 + 2
