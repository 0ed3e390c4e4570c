"""A widget to page through a dataset's photos in a notebook, to name faces, and to drop or correct
boxes.

Importing it needs ipywidgets.
"""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from thesislib import environment, storage
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.images import read_photo
from thesislib.data.names import plain_name
from thesislib.data.schema import (
    ANNOTATIONS,
    DatasetError,
    check_rows,
    read_dataset,
    write_annotations,
)

widgets: Any = environment.require("ipywidgets", extra="notebooks")

BEFORE_EDITS = "annotations.before-edits.csv"
_SHOWN_PX = 420  # shorter side of a photo on the screen, at most
_CHOSEN, _OTHER = "#E69F00", "#56B4E9"  # outlines of boxes


def drop_box(table: pd.DataFrame, at: int) -> pd.DataFrame:
    """The table without the face of row ``at`` (0-based).

    A photo whose only face it was stays, as a photo without a face.
    """
    rows = table.copy()
    if (rows["photo"] == rows.loc[at, "photo"]).sum() > 1:
        return rows.drop(index=at).reset_index(drop=True)
    rows.loc[at, "identity"] = ""
    rows.loc[at, BOX] = np.nan
    rows.loc[at, [name for name in LANDMARKS if name in rows]] = np.nan
    return rows


def replace_box(table: pd.DataFrame, at: int, box: Sequence[float]) -> pd.DataFrame:
    """The table with ``box`` [x1, y1, x2, y2], pixels, drawn by hand, in row ``at`` (0-based)."""
    rows = table.copy()
    rows.loc[at, BOX] = box
    if "box_source" in rows:
        rows.loc[at, "box_source"] = "annotation"
    return rows


def name_face(table: pd.DataFrame, at: int, identity: str) -> pd.DataFrame:
    """The table with the face of row ``at`` (0-based) given a name; "" is somebody nobody knows."""
    rows = table.copy()
    rows.loc[at, "identity"] = plain_name(identity)
    return rows


class Annotator(widgets.VBox):
    """A widget that shows photo after photo with its boxes; edits go to ``annotations.csv``.

    A face is given a name (none is somebody nobody knows) or another box, or its box is dropped.
    Every edit is checked as reading a dataset checks, then written whole or not at all. The
    table as it was before the first edit stays beside it as ``annotations.before-edits.csv``.

    Args:
        folder: dataset folder.
        photos: the photos to page through, such as the oddest; None for all.

    Raises:
        DatasetError: the folder holds no dataset that can be read, or lacks one of ``photos``.
    """

    def __init__(self, folder: Path | str, photos: Sequence[str] | None = None) -> None:
        dataset = read_dataset(folder)
        self.folder, self.table = dataset.folder, dataset.table
        self.photos = dataset.photos if photos is None else list(photos)
        missing = sorted(set(self.photos) - set(dataset.photos))
        if missing or not self.photos:
            what = missing[0] if missing else "no photos given"
            raise DatasetError(f"{self.folder / ANNOTATIONS}: {what} is not in it")
        self.page = widgets.BoundedIntText(1, 1, len(self.photos), description="photo")
        self.before = widgets.Button(icon="arrow-left", tooltip="previous photo")
        self.after = widgets.Button(icon="arrow-right", tooltip="next photo")
        self.face = widgets.Dropdown(description="face")
        self.name = widgets.Text(description="name")
        self.rename = widgets.Button(description="name face", button_style="success")
        self.numbers = [widgets.FloatText(description=name) for name in BOX]
        self.replace = widgets.Button(description="replace box", button_style="success")
        self.drop = widgets.Button(description="drop box", button_style="danger")
        self.message = widgets.HTML()
        self.picture = widgets.Image(format="png")
        for box in (*self.numbers, self.page):
            box.layout.width = "170px"
        self.name.layout.width = self.face.layout.width = "250px"
        for button, step in ((self.before, -1), (self.after, 1)):
            button.layout.width = "50px"
            button.on_click(lambda _, step=step: self._turn(step))
        self.page.observe(lambda _: self._show(), "value")
        self.face.observe(lambda _: self._choose(), "value")
        self.rename.on_click(lambda _: self._edit(self._named))
        self.replace.on_click(lambda _: self._edit(self._replaced))
        self.drop.on_click(lambda _: self._edit(drop_box))
        named = [self.face, self.name, self.rename]
        boxed = [*self.numbers, widgets.HBox([self.replace, self.drop])]
        side = widgets.VBox(named + boxed)
        super().__init__(
            [
                widgets.HBox([self.before, self.page, self.after]),
                widgets.HBox([self.picture, side]),
                self.message,
            ]
        )
        self._show()

    @property
    def photo(self) -> str:
        """The photo that is shown."""
        return self.photos[self.page.value - 1]

    def _turn(self, step: int) -> None:
        self.page.value = min(max(self.page.value + step, 1), len(self.photos))

    def _show(self) -> None:
        rows = self.table[(self.table["photo"] == self.photo) & self.table["x1"].notna()]
        choices = [(row.identity or "unknown", at) for at, row in rows.iterrows()]
        self.face.options = [(f"{n + 1}: {name}", at) for n, (name, at) in enumerate(choices)]
        self.face.index = 0 if choices else None
        self._choose()
        self.message.value = self.photo + ("" if choices else ": no face")

    def _choose(self) -> None:
        at = self.face.value
        for button in (self.rename, self.replace, self.drop):
            button.disabled = at is None
        self.name.value = "" if at is None else self.table.loc[at, "identity"]
        for number, name in zip(self.numbers, BOX, strict=True):
            number.value = 0.0 if at is None else float(self.table.loc[at, name])
        self.picture.value = self._drawn()

    def _drawn(self) -> bytes:
        photo = Image.fromarray(read_photo(self.folder / self.photo))
        scale = min(3.0, _SHOWN_PX / min(photo.size))
        photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
        draw = ImageDraw.Draw(photo)
        for _, at in self.face.options:
            corners = [float(self.table.loc[at, name]) * scale for name in BOX]
            draw.rectangle(corners, outline=_CHOSEN if at == self.face.value else _OTHER, width=3)
        file = io.BytesIO()
        photo.save(file, "png")
        return file.getvalue()

    def _replaced(self, table: pd.DataFrame, at: int) -> pd.DataFrame:
        return replace_box(table, at, [number.value for number in self.numbers])

    def _named(self, table: pd.DataFrame, at: int) -> pd.DataFrame:
        return name_face(table, at, self.name.value)

    def _edit(self, change: Callable[[pd.DataFrame, int], pd.DataFrame]) -> None:
        path, at = self.folder / ANNOTATIONS, self.face.value
        rows = change(self.table, at)
        try:
            check_rows(path, rows)
            with storage.folder_lock(self.folder):
                # The first version is kept once, however many edits follow.
                if not (self.folder / BEFORE_EDITS).exists():
                    with storage.atomic_write(self.folder / BEFORE_EDITS) as aside:
                        shutil.copyfile(path, aside)
                write_annotations(self.folder, rows)
        except (DatasetError, storage.FolderInUseError, OSError) as error:
            self.message.value = f"<b>not changed:</b> {error}"
            return
        self.table = rows
        self._show()
        if at in dict(self.face.options).values():  # the same face, or the one after a dropped one
            self.face.value = at
        self.message.value = f"{self.photo}: saved"
