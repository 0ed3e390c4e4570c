"""What a person should look over after an import: a list and a contact sheet."""

from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image, ImageDraw

from thesislib import storage
from thesislib.data.detector import detect_faces
from thesislib.data.images import PhotoError, read_photo
from thesislib.data.importers.source import SHORT_SIDE

LOOK_OVER, LOOK_OVER_SHEET = "to_look_over.csv", "to_look_over.jpg"
_SHEET_PHOTOS, _SHEET_PX, _SHEET_COLUMNS = 120, 160, 10


def write_looks(to: Path, looks: list[tuple[str, str, Path | None]]) -> None:
    table = pd.DataFrame([look[:2] for look in looks], columns=["photo", "reason"])
    storage.write_text(to / LOOK_OVER, table.to_csv(index=False))
    shown = [look for look in looks if look[2] is not None][:_SHEET_PHOTOS]
    if not shown:
        (to / LOOK_OVER_SHEET).unlink(missing_ok=True)
        return
    line = 24
    rows = -(-len(shown) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _SHEET_PX, rows * (_SHEET_PX + line)), "white")
    draw = ImageDraw.Draw(sheet)
    for at, (photo, reason, file) in enumerate(shown):
        x, y = at % _SHEET_COLUMNS * _SHEET_PX, at // _SHEET_COLUMNS * (_SHEET_PX + line)
        draw.text((x + 2, y), PurePosixPath(photo).name[:26], fill="black")
        draw.text((x + 2, y + 11), reason[:26], fill="black")
        try:
            pixels = read_photo(file, SHORT_SIDE)
        except PhotoError:
            continue
        thumb = Image.fromarray(pixels)
        boxes, _ = detect_faces(pixels, upsampling=1)
        for box in boxes.tolist():
            ImageDraw.Draw(thumb).rectangle(box, outline="yellow", width=4)
        thumb.thumbnail((_SHEET_PX - 4, _SHEET_PX - 4))
        sheet.paste(thumb, (x + 2, y + line))
    with storage.atomic_write(to / LOOK_OVER_SHEET) as aside:
        sheet.save(aside, quality=85)
