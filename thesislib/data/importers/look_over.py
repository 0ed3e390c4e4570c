"""What a person should look over after an import: a list and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from thesislib import environment, storage
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.importers.source import SHORT_SIDE

LOOK_OVER, LOOK_OVER_SHEET = "to_look_over.csv", "to_look_over.jpg"
SAME_PICTURE = "same picture"  # how the reason begins of a photo that is there twice
_SHEET_PHOTOS, _SHEET_PX, _SHEET_COLUMNS = 120, 160, 10
_LINES_PX = 24  # height of the two lines of text above a photo


def write_look_over(to: Path, listed: Sequence[tuple[str, str, Path | None]]) -> None:
    """Write the list, and a sheet of the photos in it with the faces that the detector finds.

    Args:
        to: dataset folder.
        listed: (path in the source, reason, file to show or None).
    """
    table = pd.DataFrame([one[:2] for one in listed], columns=["photo", "reason"])
    storage.write_text(to / LOOK_OVER, table.to_csv(index=False, lineterminator="\n"))
    shown = [(name, reason, file) for name, reason, file in listed if file is not None]
    shown = shown[:_SHEET_PHOTOS]
    if not shown:
        (to / LOOK_OVER_SHEET).unlink(missing_ok=True)
        return
    rows = -(-len(shown) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _SHEET_PX, rows * (_SHEET_PX + _LINES_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    for at, (name, reason, file) in enumerate(shown):
        x = at % _SHEET_COLUMNS * _SHEET_PX
        y = at // _SHEET_COLUMNS * (_SHEET_PX + _LINES_PX)
        draw.text((x + 2, y), PurePosixPath(name).name[:26], fill="black")
        draw.text((x + 2, y + _LINES_PX // 2 - 1), reason[:26], fill="black")
        try:
            photo = read_photo(file, SHORT_SIDE)
        except PhotoError:
            continue
        picture = Image.fromarray(photo)
        for x1, y1, x2, y2 in _detected(photo):
            ImageDraw.Draw(picture).rectangle((x1, y1, x2, y2), outline="yellow", width=4)
        picture.thumbnail((_SHEET_PX - 4, _SHEET_PX - 4))
        sheet.paste(picture, (x + 2, y + _LINES_PX))
    with storage.atomic_write(to / LOOK_OVER_SHEET) as aside:
        sheet.save(aside, quality=85)


def _detected(photo: np.ndarray) -> list[list[float]]:
    try:
        boxes, _ = detect_faces(photo, upsampling=1)
    except environment.MissingExtraError:  # a source with boxes of its own needs no detector
        return []
    return boxes.tolist()
