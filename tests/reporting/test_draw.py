"""A photo with its faces: what is drawn where, on photos of any size."""

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from thesislib.data.images import PhotoError
from thesislib.faces import Face
from thesislib.reporting.draw import EDGE, KNOWN, LEAST_SIDE, NOBODY, draw

BLUE, GREY, BLACK = (np.array(ImageColor.getrgb(colour)) for colour in (KNOWN, NOBODY, EDGE))


def face(box, name="", landmarks=None):
    return Face(np.array(box, np.float32), 0.9, name, 0.8, landmarks=landmarks)


def where(picture, colour):
    """x1, y1, x2, y2 of the pixels of a colour, and how many they are."""
    y, x = np.nonzero((np.asarray(picture) == colour).all(axis=2))
    return (x.min(), y.min(), x.max(), y.max(), len(x)) if len(x) else None


def white(height=600, width=800):
    return np.full((height, width, 3), 255, np.uint8)


def test_a_known_face_has_a_blue_box_with_its_name_above_it():
    picture = draw(white(), [face((300, 200, 400, 320), "Anna")])
    assert picture.size == (800, 600)
    x1, y1, _, y2, _ = where(picture, BLUE)
    assert (x1, y2) == (300, 320)
    assert 160 < y1 < 195
    written = np.asarray(picture)[y1:198, 302:360]
    assert (written > 200).all(axis=2).any(), "the name is written in white"


def test_a_face_of_nobody_has_a_grey_box_and_no_name():
    picture = draw(white(), [face((300, 200, 400, 320))])
    assert where(picture, BLUE) is None
    assert where(picture, GREY)[:4] == (300, 200, 400, 320)
    assert where(picture, BLACK)[:4] == (299, 199, 401, 321)


def test_a_photo_without_faces_stays_as_it_is():
    photo = np.random.default_rng(0).integers(0, 256, (500, 600, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(draw(photo, [])), photo)


@pytest.fixture
def written(monkeypatch):
    """Where texts were written: [(text, its box, the photo's size)]."""
    found = []
    write = ImageDraw.ImageDraw.text

    def noted(self, xy, text, **style):
        box = self.textbbox(xy, text, font=style["font"], anchor=style.get("anchor"))
        found.append((text, box, self.im.size))
        write(self, xy, text, **style)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return found


@pytest.mark.parametrize("size", [(40, 30), (96, 128), (1000, 60), (60, 1000), (2400, 1800)])
@pytest.mark.parametrize("name", ["Anna", "田中さくら", "Анна " * 30, "김" * 90])
def test_names_stay_inside_photos_of_any_size(written, size, name):
    height, width = size
    # At all four corners, and beyond the photo.
    boxes = [(-5, -5, 20, 20), (width - 20, -5, width + 5, 20), (0, height - 15, 20, height)]
    boxes.append((width - 9, height - 9, width + 9, height + 9))
    picture = draw(white(height, width), [face(box, name) for box in boxes])
    assert max(picture.size) >= LEAST_SIDE
    assert picture.width / picture.height == pytest.approx(width / height)
    assert len(written) >= len(boxes)
    for text, (x1, y1, x2, y2), photo in written:
        assert photo == picture.size
        assert x1 >= 0 and y1 >= 0 and x2 <= picture.width and y2 <= picture.height, text
        assert text == "…" or y2 - y1 >= 8, "letters of a readable size"
    texts = "".join(text for text, _, _ in written)
    if len(name) < 9 and width > 60:
        assert texts == 4 * name
    elif len(name) > 9 and width <= 60:
        assert texts.count("…") == 4 and texts.startswith(name[:1])


def test_names_of_close_faces_do_not_cover_each_other():
    boxes = [(100, 200, 180, 290), (190, 200, 270, 290), (280, 202, 360, 292)]
    names = ["Annabella Maria", "Maximiliane", "Bartholomew"]
    together = draw(white(), [face(*one) for one in zip(boxes, names, strict=True)])
    apart = [draw(white(), [face(*one)]) for one in zip(boxes, names, strict=True)]

    def letters(picture):
        pixels = np.asarray(picture)[100:200].astype(int)
        blue = (pixels == BLUE).all(axis=2)
        return blue.sum()

    # Were one hidden by another, less blue would be left above the boxes, or none of it below.
    blue_below = (np.asarray(together)[292:330] == BLUE).all(axis=2).sum()
    assert letters(together) + blue_below > 0.8 * sum(letters(picture) for picture in apart)


@pytest.mark.parametrize("name", ["王小明", "김민준", "Анна Ким"])
def test_letters_of_other_scripts_differ(name):
    one, other = (draw(white(), [face((300, 200, 400, 320), text)]) for text in (name, name[::-1]))
    assert not np.array_equal(np.asarray(one), np.asarray(other)), "boxes would be alike"


def test_landmarks_are_dots_at_their_places():
    points = np.array([[330, 240], [370, 240], [350, 260], [335, 290], [365, 290]], np.float32)
    picture = draw(white(), [face((300, 200, 400, 320), "Anna", points)])
    for x, y in points.astype(int):
        assert np.array_equal(np.asarray(picture)[y, x], BLUE)


def test_dots_leave_a_small_face_to_be_seen():
    points = np.full((5, 2), 512, np.float32)
    picture = np.asarray(draw(white(), [face((500, 500, 524, 526), "", points)]))
    assert not np.array_equal(picture[512, 512], white()[0, 0])
    for x, y in ((509, 512), (515, 512), (512, 509), (512, 515)):
        assert np.array_equal(picture[y, x], white()[0, 0])


def test_a_photo_may_be_a_file(tmp_path):
    Image.fromarray(white()).save(tmp_path / "a.png")
    faces = [face((300, 200, 400, 320), "Anna")]
    from_array = np.asarray(draw(white(), faces))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(draw(path, faces)), from_array)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(draw(image, faces)), from_array)
    with pytest.raises(PhotoError, match=r"none\.png: photo is missing"):
        draw(tmp_path / "none.png", faces)
    with pytest.raises(ValueError, match="photo of shape"):
        draw(np.zeros((3, 600, 800), np.uint8), faces)


def test_faces_of_several_photos_are_refused():
    with pytest.raises(TypeError, match="faces: expected those of one photo, got list; of several"):
        draw(white(), [[face((300, 200, 400, 320), "Anna")]])
    with pytest.raises(TypeError, match="expected a path, an array or a PIL image, got NoneType"):
        draw(None, [])
