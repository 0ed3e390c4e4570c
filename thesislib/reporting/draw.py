"""A photo with the faces that were found in it: boxes, names, landmarks."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from thesislib import fonts
from thesislib.data.images import open_photo
from thesislib.faces import Face

KNOWN, NOBODY, EDGE = "#0072B2", "#8A8A8A", "#1A1A1A"
LEAST_SIDE = 480  # pixels of the longer side; names on less than that cannot be read
_LEAST_FONT = 13  # pixels

Rectangle = tuple[float, float, float, float]


def draw(photo: str | Path | np.ndarray | Image.Image, faces: Sequence[Face]) -> Image.Image:
    """Draw the faces that were found in a photo.

    A known person has a blue box with the name at it, in any script; a face that is nobody's has
    a grey box without a name. Names are written above their box where there is room, else below
    or within it, always inside the photo, shortened where they are wider than it.

    Args:
        photo: a file, a PIL image, or an array as :func:`thesislib.data.images.as_photo` takes it:
            uint8 [H, W, 3] RGB.
        faces: boxes and landmarks in the photo's pixels, as ``predict`` gives them; may be empty.

    Returns:
        An RGB picture of the photo's size; a photo of fewer than 480 pixels on its longer side is
        enlarged by a whole number first.

    Raises:
        PhotoError: the file is missing, damaged or no image.
        ValueError: an array that is no photo.
        TypeError: no photo, or faces that are none: those of several photos, say.
    """
    for face in faces:
        if not isinstance(face, Face):
            raise TypeError(
                f"faces: expected those of one photo, got {type(face).__name__}; of several photos "
                "or a folder, predict gives a list of faces for each"
            )
    picture = Image.fromarray(open_photo(photo))
    scale = max(1, -(-LEAST_SIDE // max(picture.size)))
    if scale > 1:
        size = (scale * picture.width, scale * picture.height)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    boxes = [scale * np.asarray(face.box, np.float64) for face in faces]
    font_px = _font_px(boxes, picture.size)
    line = max(3, round(font_px / 7))

    # People without a name first, so that they cover nobody's box.
    order = sorted(range(len(faces)), key=lambda at: faces[at].name != "")
    for at in order:
        face, (x1, y1, x2, y2) = faces[at], boxes[at]
        colour = KNOWN if face.name else NOBODY
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        canvas.rectangle(_grown(corners, 1), outline=EDGE, width=line + 2)
        canvas.rectangle(corners, outline=colour, width=line)
        if face.landmarks is not None:
            radius = float(np.clip(0.03 * min(x2 - x1, y2 - y1), 1, line))  # faces stay visible
            for x, y in scale * np.asarray(face.landmarks, np.float64):
                canvas.ellipse(_grown((x, y, x, y), radius), fill=colour, outline=EDGE)
    written: list[Rectangle] = []
    for at in order:
        if faces[at].name:
            others = [tuple(box) for other, box in enumerate(boxes) if other != at]
            place = _write_name(canvas, faces[at].name, boxes[at], font_px, written, others)
            written.append(place)
    return picture


def _font_px(boxes: Sequence[np.ndarray], size: tuple[int, int]) -> int:
    """Height of names: a part of a face, so that those of a crowd do not cover each other."""
    if not boxes:
        return _LEAST_FONT
    face = float(np.median([abs(x2 - x1) for x1, _, x2, _ in boxes]))
    return round(float(np.clip(0.2 * face, _LEAST_FONT, max(_LEAST_FONT, 0.05 * min(size)))))


def _grown(rectangle: Rectangle, by: float) -> Rectangle:
    x1, y1, x2, y2 = rectangle
    return (x1 - by, y1 - by, x2 + by, y2 + by)


def _parts(text: str, font_px: int) -> tuple[list[tuple[fonts.PillowFont, str, float]], float]:
    """Each part of a text with its font and width, and the width of all."""
    parts = []
    for path, part in fonts.spans(text):
        font = fonts.pillow_font(path, font_px)
        parts.append((font, part, font.getlength(part)))
    return parts, sum(width for _, _, width in parts)


def _write_name(
    canvas: ImageDraw.ImageDraw,
    name: str,
    box: np.ndarray,
    font_px: int,
    written: Sequence[Rectangle],
    others: Sequence[Rectangle],
) -> Rectangle:
    """Write a name at a box, where it hides least of the names already written and of faces."""
    wide, tall = canvas.im.size
    pad = max(2, font_px // 5)
    text = " ".join(name.split())
    parts, width = _parts(text, font_px)
    while len(text) > 1 and width + 2 * pad > wide:
        text = text.rstrip("…")[:-1] + "…"
        parts, width = _parts(text, font_px)
    height = round(1.25 * font_px) + 2 * (pad // 2)
    x1, y1, _, y2 = box
    left = float(np.clip(x1, 0, max(0.0, wide - width - 2 * pad)))
    # Above the box, below it, within it at its top, at its bottom.
    tops = [y1 - height, y2, y1, y2 - height]
    places = [(left, top, left + width + 2 * pad, top + height) for top in tops]
    inside = [place for place in places if place[1] >= 0 and place[3] <= tall]
    if not inside:
        top = float(np.clip(y1, 0, max(0, tall - height)))
        inside = [(left, top, left + width + 2 * pad, top + height)]

    def hidden(place: Rectangle) -> tuple[float, float]:
        return sum(_shared(place, name) for name in written), sum(
            _shared(place, face) for face in others
        )

    place = min(inside, key=hidden)
    canvas.rectangle(place, fill=KNOWN)
    # All fonts on one baseline.
    x, baseline = place[0] + pad, place[1] + pad // 2 + font_px
    for font, part, advance in parts:
        if isinstance(font, fonts.ImageFont.FreeTypeFont):
            canvas.text((x, baseline), part, fill="white", font=font, anchor="ls")
        else:
            canvas.text((x, baseline - font_px), part, fill="white", font=font)
        x += advance
    return place


def _shared(a: Rectangle, b: Rectangle) -> float:
    """Pixels that two rectangles share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a notebook keeps it: a tenth of the bytes that it would have without loss."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=85)
    return data.getvalue()
