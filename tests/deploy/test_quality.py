"""What speaks against a face, on pictures of which it is known."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from thesislib.deploy import quality
from thesislib.deploy.quality import doubts, sharpness, told
from thesislib.faces import NOSE, Face

SIDE = 200


def photo(grey=120):
    """A photo of 400 pixels, of light and shade and of fine lines."""
    row, column = np.mgrid[:400, :400]
    waves = np.sin(row / 40) + np.sin(column / 50) + 0.3 * np.sin(column) * np.sin(row / 2)
    picture = np.clip(grey * (1 + waves / 3), 0, 255).astype(np.uint8)
    return np.stack([picture] * 3, axis=2)


def face(side=SIDE, yaw=0.0):
    eyes = np.array([[-30, -20], [30, -20]])
    nose = [[60 * NOSE * np.tan(np.radians(yaw)), 0]]
    mouth = [[-20, 30], [20, 30]]
    landmarks = np.float32(200 + np.concatenate([eyes, nose, mouth]))
    half = side / 2
    box = np.float32([200 - half, 200 - half, 200 + half, 200 + half])
    return Face(box, 0.9, landmarks=landmarks)


def test_a_good_face_raises_no_doubts():
    assert doubts(photo(), face()) == []
    assert doubts(photo(), Face(face().box, 0.9)) == []  # without landmarks


def test_a_small_one():
    assert doubts(photo(), face(quality.LEAST_PX + 1)) == []
    assert doubts(photo(), face(quality.LEAST_PX - 1)) == ["small"]


def test_a_dark_one_and_a_blurred_one():
    dark = (photo() * (quality.LEAST_GREY - 2) / photo().mean()).astype(np.uint8)
    assert doubts(dark, face()) == ["dark"]
    soft = Image.fromarray(photo()).filter(ImageFilter.GaussianBlur(0.06 * SIDE))
    assert doubts(np.asarray(soft), face()) == ["blurred"]
    assert doubts(np.zeros((400, 400, 3), np.uint8), face()) == ["dark", "blurred"]


def test_one_that_is_turned_away():
    assert doubts(photo(), face(yaw=quality.MOST_YAW - 1)) == []
    for way in (-1, 1):
        turned = face(yaw=way * (quality.MOST_YAW + 1))
        assert doubts(photo(), turned) == ["turned away"]


def test_boxes_beyond_the_photo():
    beyond = Face(np.float32([375, 375, 600, 600]), 0.9)
    assert "small" in doubts(photo(), beyond)
    assert doubts(photo(), Face(np.float32([500, 500, 600, 600]), 0.9)) == ["small"]


def test_sharpness_against_a_loop():
    cut = Image.fromarray(photo()[:64, :64, 0])
    grey = np.asarray(cut, float)
    steps = [
        4 * grey[y, x] - grey[y - 1, x] - grey[y + 1, x] - grey[y, x - 1] - grey[y, x + 1]
        for y in range(1, 63)
        for x in range(1, 63)
    ]
    assert sharpness(cut) == pytest.approx(np.std(steps) / grey.std())
    half = Image.fromarray((np.asarray(cut) // 2).astype(np.uint8))
    assert sharpness(half) == pytest.approx(sharpness(cut), rel=0.05)  # whatever the contrast


def test_doubts_as_a_sentence():
    assert told([]) == ""
    assert told(["small"]) == "the face is small"


def test_a_face_is_as_small_as_the_net_sees_it():
    large = photo()
    side = 2 * quality.LEAST_PX
    assert doubts(large, face(side), read_px=min(large.shape[:2])) == []
    assert doubts(large, face(side), read_px=min(large.shape[:2]) // 2 + 8) == []
    assert "small" in doubts(large, face(side), read_px=min(large.shape[:2]) // 2 - 8)
    assert doubts(large, face(side), read_px=10 * min(large.shape[:2])) == []  # nothing is gained
