"""How a notebook shows a figure: saved, drawn, and its caption below it."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from thesislib.environment import require
from thesislib.reporting.figures.save import save
from thesislib.reporting.figures.style import house_style
from thesislib.reporting.language import _

ipython: Any = require("IPython.display", extra="notebooks")


_COLOURS = 128  # of a chart: enough for its lines, and for letters with soft edges


def _small(figure: Figure, photos: bool) -> bytes:
    """A figure as a picture of few bytes, so that notebooks stay small: photos as JPEG, charts as
    PNG with a palette."""
    drawn, small = io.BytesIO(), io.BytesIO()
    with house_style():
        figure.savefig(drawn, format="png", dpi=figure.dpi)
    with Image.open(drawn) as picture:
        plain = picture.convert("RGB")
    if photos:
        plain.save(small, "JPEG", quality=88, optimize=True)
    else:
        plain.quantize(_COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()


def showing(**about: Any) -> Callable[..., None]:
    """The function that shows a notebook's figures, ``show(figure, name, caption, **other)``.

    It saves the figure, draws it below the cell with its caption in the language of figures, and
    closes it, so that it is not drawn twice.

    Args:
        about: what :func:`thesislib.reporting.figures.save.save` writes down about each figure.
            A call's ``other`` is for that figure alone: another dataset, ``faces=True``.
    """

    def show(figure: Figure, name: str, caption: str, **other: Any) -> None:
        save(figure, name, caption=caption, **about | other)
        ipython.display(ipython.Image(data=_small(figure, bool(other.get("faces")))))
        ipython.display(ipython.Markdown(f"*{_(caption)}*"))
        plt.close(figure)

    return show
