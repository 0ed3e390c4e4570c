"""A slider for a gallery's threshold, and what it does to one photo.

Importing it needs ipywidgets.
"""

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from thesislib import environment
from thesislib.data.images import open_photo
from thesislib.deploy.assignment import one_person_each
from thesislib.deploy.expected_errors import expected_errors
from thesislib.deploy.gallery import Gallery
from thesislib.engine.predict import Photo
from thesislib.faces import Face
from thesislib.reporting.draw import draw

widgets: Any = environment.require("ipywidgets", extra="notebooks")

STEPS = 101
_WIDE_PX = 720  # of the photo on the screen


class ThresholdSlider(widgets.VBox):
    """A photo with the names that it has at a threshold, and the errors to be expected there.

    Args:
        gallery: people enrolled, somebody by two photos or more. It is not changed until
            :meth:`use` is called, which the button does.
        photo: as :func:`thesislib.engine.predict.predict` takes one.
        faces: found in it, with embeddings of the gallery's net.
        strangers: [n, E], embeddings of people none of whom is enrolled, for the FPIR; None for
            the strangers that the net was published with.
        thresholds: lowest and highest cosine of the slider; None for the range in which the errors
            change.

    Attributes:
        errors: rows ``threshold, fpir, fnir`` of the slider's steps, see
            :func:`thesislib.deploy.expected_errors.expected_errors`.

    Raises:
        NotSupportedError, ValueError: see there.
    """

    def __init__(
        self,
        gallery: Gallery,
        photo: Photo,
        faces: Sequence[Face],
        strangers: np.ndarray | None = None,
        thresholds: tuple[float, float] | None = None,
    ) -> None:
        self.gallery, self.faces = gallery, list(faces)
        self._photo = open_photo(photo)
        self.errors = _errors(gallery, strangers, thresholds)
        vectors: list[Any] = [face.embedding for face in self.faces]
        count = min(max(2, len(vectors)), len(gallery.identities))
        self._best = gallery.search(np.stack(vectors), count) if vectors else ([], np.zeros((0, 1)))
        steps = [f"{value:.3f}" for value in self.errors["threshold"]]
        self.slider = widgets.SelectionSlider(
            options=list(zip(steps, range(len(steps)), strict=True)),
            value=int((self.errors["threshold"] - gallery.threshold).abs().idxmin()),
            description="threshold",
            continuous_update=False,
            layout={"width": "480px"},
        )
        self.told = widgets.HTML()
        self.picture = widgets.Image(format="png", width=_WIDE_PX)
        self.button = widgets.Button(description="use this threshold")
        self.slider.observe(lambda _: self._show(), names="value")
        self.button.on_click(lambda _: self.use())
        super().__init__([widgets.HBox([self.slider, self.button]), self.told, self.picture])
        self._show()

    @property
    def threshold(self) -> float:
        """Where the slider stands."""
        return float(self.errors["threshold"].iloc[self.slider.value])

    @property
    def named(self) -> list[Face]:
        """The faces with the names that they have there."""
        if not self.faces:
            return []
        names, scores = self._best
        found = one_person_each(names, scores.tolist(), self.threshold)
        return [
            dataclasses.replace(face, name=name, name_score=score)
            for face, (name, score) in zip(self.faces, found, strict=True)
        ]

    def use(self) -> None:
        """Make it the gallery's threshold."""
        self.gallery.threshold = self.threshold
        self._show()

    def _show(self) -> None:
        row = self.errors.iloc[self.slider.value]
        strangers = (
            "strangers taken for somebody (FPIR): not measured"
            if np.isnan(row["fpir"])
            else f"strangers taken for somebody (FPIR): <b>{100 * row['fpir']:.1f} %</b>"
        )
        is_own = np.isclose(self.threshold, self.gallery.threshold, atol=1e-9)
        own = " – this is the gallery's" if is_own else ""
        self.told.value = (
            f"{strangers}; photos of your people without their name (FNIR): "
            f"<b>{100 * row['fnir']:.1f} %</b>{own}"
        )
        data = io.BytesIO()
        draw(self._photo, self.named).save(data, "PNG")
        self.picture.value = data.getvalue()


def _errors(
    gallery: Gallery, strangers: np.ndarray | None, thresholds: tuple[float, float] | None
) -> pd.DataFrame:
    low, high = thresholds or (-1.0, 1.0)
    if not -1 <= low < high <= 1:
        raise ValueError(f"thresholds: expected -1 <= low < high <= 1, got {low} and {high}")
    errors = expected_errors(gallery, np.linspace(low, high, STEPS), strangers)
    if thresholds is None:
        changing = errors[(errors["fpir"] < 1) & (errors["fnir"] < 1)]["threshold"]
        if len(changing) > 1:
            ends = [*changing.iloc[[0, -1]], gallery.threshold]
            narrow = np.linspace(min(ends), max(ends), STEPS)
            errors = expected_errors(gallery, narrow, strangers)
    return errors
