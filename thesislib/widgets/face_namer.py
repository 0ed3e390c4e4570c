"""A widget to name the faces of nobody who is enrolled, person by person.

Importing it needs ipywidgets.
"""

import io
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from thesislib import environment
from thesislib.data.columns import BOX
from thesislib.data.images import open_photo
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.photo_faces import PhotoFaces
from thesislib.deploy.threshold import is_published
from thesislib.metrics.checks import NotSupportedError

widgets: Any = environment.require("ipywidgets", extra="notebooks")

SHOWN = 8  # faces of a person
GROUPS = 12  # people shown at a time, those of most photos first
_FACE_PX = 84


class FaceNamer(widgets.VBox):
    """Faces of nobody who is enrolled, a row for each person; one names them, and the others are
    tried again.

    Args:
        faces: found in a folder of photos.
        gallery: it gets the people who are named; somebody must be enrolled in it. If it is
            calibrated, it is so again among more people, to the same FPIR.
        strangers: [n, E], by whom it is calibrated; None for those that the net was published with.
        changed: called without arguments after each naming.

    Attributes:
        table: the faces with their names, see :meth:`PhotoFaces.named`.

    Raises:
        ValueError: nobody is enrolled.
    """

    def __init__(
        self,
        faces: PhotoFaces,
        gallery: Gallery,
        strangers: np.ndarray | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self.faces, self.gallery = faces, gallery
        self.strangers, self.changed = strangers, changed
        self.table = faces.named(gallery)
        self.message = widgets.HTML()
        self.people = widgets.VBox()
        self._pictures: dict[int, bytes] = {}
        super().__init__([self.message, self.people])
        self._show()

    def name(self, group: int, name: str) -> None:
        """Enrol the faces of a group as a person, and name all faces again.

        Args:
            group: number in ``table``.
            name: of somebody new, or of somebody enrolled.

        Raises:
            ValueError: no such group, or no name.
        """
        own = (self.table["group"] == group).to_numpy()
        if group < 0 or not own.any():
            raise ValueError(f"group: there is no group {group}")
        before = int((self.table["name"] != "").sum())
        self.gallery.enrol_embeddings(name, self.faces.embeddings[own])
        note = self._calibrated_again()
        self.table = self.faces.named(self.gallery)
        more = int((self.table["name"] != "").sum()) - before - int(own.sum())
        also = f"; {more} more faces have a name now" if more > 0 else ""
        self.message.value = f"{int(own.sum())} faces named{also}{note}"
        self._show()
        if self.changed is not None:
            self.changed()

    def _calibrated_again(self) -> str:
        """Calibrate among more people; where that cannot be done, the threshold stays, and why."""
        calibration = self.gallery.calibration
        if calibration is None:
            return ""
        try:
            if self.strangers is None and not is_published(calibration, self.gallery.model):
                raise NotSupportedError("it is of strangers that are not at hand")
            self.gallery.calibrate(self.strangers, calibration.fpir)
        except (NotSupportedError, ValueError) as error:
            self.gallery.threshold = calibration.threshold
            return f"; the threshold stays as it was: {escape(str(error))}"
        return ""

    def _show(self) -> None:
        unknown = self.table[self.table["group"] >= 0]
        rows = [self._row(int(group), own) for group, own in unknown.groupby("group")]
        hidden = len(rows) - GROUPS
        left = [widgets.HTML(f"and {hidden} more people")] if hidden > 0 else []
        self.people.children = (*rows[:GROUPS], *left)

    def _row(self, group: int, own: pd.DataFrame) -> Any:
        name = widgets.Combobox(
            placeholder="name", options=self.gallery.identities, layout={"width": "160px"}
        )
        button = widgets.Button(description="name", layout={"width": "70px"})
        button.on_click(lambda _: self._try(group, name.value))
        count = widgets.Label(f"{len(own)} face{'' if len(own) == 1 else 's'}")
        pictures = [
            widgets.Image(value=self._picture(at), format="jpeg", width=_FACE_PX, height=_FACE_PX)
            for at in own.index[:SHOWN]
        ]
        return widgets.HBox([*pictures, widgets.VBox([count, name, button])])

    def _try(self, group: int, name: str) -> None:
        try:
            self.name(group, name)
        except ValueError as error:
            self.message.value = escape(str(error))

    def _picture(self, at: int) -> bytes:
        if at not in self._pictures:
            row = self.table.loc[at]
            photo = open_photo(self.faces.photos / row["photo"])
            x1, y1, x2, y2 = row[BOX].to_numpy(float)
            half = 0.7 * max(x2 - x1, y2 - y1)
            middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
            (left, top), (right, bottom) = (middle + way * half for way in (-1, 1))
            face = Image.fromarray(photo).crop((left, top, right, bottom))
            data = io.BytesIO()
            face.resize((2 * _FACE_PX, 2 * _FACE_PX)).save(data, "JPEG", quality=85)
            self._pictures[at] = data.getvalue()
        return self._pictures[at]
