"""A slider shows names and errors at a threshold, and changes the gallery only when asked."""

import io

import numpy as np
import pytest
from blocks import Blocks
from PIL import Image

from thesislib.deploy.gallery import Gallery
from thesislib.faces import Face
from thesislib.metrics.checks import NotSupportedError
from thesislib.widgets.threshold_slider import STEPS, ThresholdSlider

PHOTO = np.full((60, 90, 3), 90, np.uint8)


def at(degrees):
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


STRANGERS = np.stack([at(55), at(6), at(170)])


def face(left, degrees):
    return Face(np.float32([left, 5, left + 25, 35]), 0.9, embedding=at(degrees))


@pytest.fixture
def gallery():
    made = Gallery(Blocks(), threshold=0.9)
    made.enrol_embeddings(["Anna", "Anna", "Boris"], np.stack([at(0), at(20), at(90)]))
    return made


@pytest.fixture
def slider(gallery):
    faces = [face(2, 10), face(32, 60), face(62, 80)]
    return ThresholdSlider(gallery, PHOTO, faces, STRANGERS, thresholds=(0.5, 1.0))


def test_names_and_errors_follow_the_slider(slider, gallery):
    assert len(slider.errors) == STEPS
    assert slider.threshold == pytest.approx(0.9) and "the gallery's" in slider.told.value
    assert [one.name for one in slider.named] == ["Anna", "", "Boris"]
    assert "FPIR): <b>33.3 %" in slider.told.value and "FNIR): <b>0.0 %" in slider.told.value
    before = slider.picture.value
    slider.slider.value = 40  # 0.7
    assert slider.threshold == pytest.approx(0.7)
    # The second face is 40 degrees from Anna, who is the first; Boris has the third.
    assert [one.name for one in slider.named] == ["Anna", "", "Boris"]
    assert "FPIR): <b>66.7 %" in slider.told.value
    slider.slider.value = STEPS - 1
    assert [one.name for one in slider.named] == ["", "", ""]
    assert slider.picture.value != before and gallery.threshold == 0.9
    assert Image.open(io.BytesIO(slider.picture.value)).size[0] >= 480


def test_the_button_gives_it_to_the_gallery(slider, gallery):
    slider.slider.value = 40
    slider.button.click()
    assert gallery.threshold == pytest.approx(0.7) and "the gallery's" in slider.told.value


def test_a_photo_without_faces_and_a_gallery_of_which_nothing_is_known(gallery):
    empty = ThresholdSlider(gallery, PHOTO, [], STRANGERS)
    assert empty.named == []
    low, high = empty.errors["threshold"].iloc[[0, -1]]
    assert -1 <= low < high <= 1
    with pytest.raises(NotSupportedError, match="nothing is known of strangers"):
        ThresholdSlider(gallery, PHOTO, [])
    with pytest.raises(ValueError, match="thresholds: expected -1 <= low < high"):
        ThresholdSlider(gallery, PHOTO, [], STRANGERS, thresholds=(0.9, 0.2))
