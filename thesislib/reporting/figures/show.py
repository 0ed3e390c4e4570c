"""How a notebook shows a figure: saved, drawn, and its caption below it."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from thesislib.environment import require
from thesislib.reporting.figures.save import save
from thesislib.reporting.language import _

ipython: Any = require("IPython.display", extra="notebooks")


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
        ipython.display(figure)
        ipython.display(ipython.Markdown(f"*{_(caption)}*"))
        plt.close(figure)

    return show
