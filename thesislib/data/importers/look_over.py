"""What a person should look over after an import: a list, and sheets of photos."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from thesislib import environment, fonts, storage
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.importers.source import SHORT_SIDE
from thesislib.data.importers.target import LOOK_OVER, LOOK_OVER_SHEET, PEOPLE_SHEET

SAME_PICTURE = "same picture"  # how the reason begins of a photo that is there twice
_SHEET_PHOTOS, _SHEET_PX, _SHEET_COLUMNS = 120, 160, 10
_FONT_PX, _LINE_PX = 11, 13  # of the two lines of text above a photo

# From a photo uint8 [H, W, 3] to boxes [F, 4] in its pixels.
Boxes = Callable[[NDArray[np.uint8]], NDArray]
# A photo's file, two lines about it, and its boxes.
Tile = tuple[Path, tuple[str, str], Boxes]


def write_look_over(to: Path, listed: Sequence[tuple[str, str, Path | None]]) -> None:
    """Write the list, and a sheet of the photos in it with the faces that dlib's detector finds.

    Args:
        to: dataset folder.
        listed: (path in the source, reason, file to show or None).
    """
    table = pd.DataFrame([one[:2] for one in listed], columns=["photo", "reason"])
    storage.write_text(to / LOOK_OVER, table.to_csv(index=False, lineterminator="\n"))
    shown = [
        (file, (PurePosixPath(name).name, reason), _detected)
        for name, reason, file in listed
        if file is not None
    ]
    _write_sheet(to / LOOK_OVER_SHEET, shown)


def write_people(
    to: Path, photos: Sequence[tuple[Path, str, NDArray[np.float64], tuple[int, int]]]
) -> None:
    """Write a sheet of a photo of each person with the person's box.

    Args:
        to: dataset folder.
        photos: (file, person, boxes [F, 4], width and height of the photo that they are in pixels
            of).
    """
    tiles = [(file, (name, file.name), _scaled(boxes, size)) for file, name, boxes, size in photos]
    _write_sheet(to / PEOPLE_SHEET, tiles)


def _scaled(boxes: NDArray[np.float64], size: tuple[int, int]) -> Boxes:
    """Boxes on a photo of that size as boxes on the same photo in another."""
    return lambda photo: boxes * np.tile(np.divide(photo.shape[1::-1], size), 2)


def _write_sheet(path: Path, tiles: Sequence[Tile]) -> None:
    """Write the first photos as one picture; where there is none, take an earlier one away."""
    shown = tiles[:_SHEET_PHOTOS]
    if not shown:
        path.unlink(missing_ok=True)
        return
    rows, tall = -(-len(shown) // _SHEET_COLUMNS), _SHEET_PX + 2 * _LINE_PX
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _SHEET_PX, rows * tall), "white")
    draw = ImageDraw.Draw(sheet)
    for at, (file, lines, boxes_of) in enumerate(shown):
        x, y = at % _SHEET_COLUMNS * _SHEET_PX, at // _SHEET_COLUMNS * tall
        for line, text in enumerate(lines):
            _write(draw, x + 2, y + line * _LINE_PX, text)
        try:
            photo = read_photo(file, SHORT_SIDE)
        except PhotoError:
            continue
        picture = Image.fromarray(photo)
        for x1, y1, x2, y2 in boxes_of(photo).tolist():
            ImageDraw.Draw(picture).rectangle((x1, y1, x2, y2), outline="yellow", width=4)
        picture.thumbnail((_SHEET_PX - 4, _SHEET_PX - 4))
        sheet.paste(picture, (x + 2, y + 2 * _LINE_PX))
    with storage.atomic_write(path) as aside:
        sheet.save(aside, quality=85)


def _write(draw: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
    """Write as much of a text as there is room for above a photo."""
    end = x + _SHEET_PX - 6
    for path, part in fonts.spans(text):
        font = fonts.pillow_font(path, _FONT_PX)
        while part and x + font.getlength(part) > end:
            part = part[:-1]
        draw.text((x, y), part, fill="black", font=font)
        x += font.getlength(part)


def _detected(photo: NDArray[np.uint8]) -> NDArray:
    try:
        return detect_faces(photo, upsampling=1)[0]
    except environment.MissingExtraError:  # a source with boxes of its own needs no detector
        return np.zeros((0, 4))
