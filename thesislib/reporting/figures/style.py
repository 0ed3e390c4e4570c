"""The house style: sizes of a page, colours, and what all figures share."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from thesislib import fonts
from thesislib.reporting.labels import STARTED_SYSTEMS, busy_label
from thesislib.reporting.language import language, localised
from thesislib.tables import REFERENCES, SYSTEMS

STYLE = Path(__file__).parent / "thesis.mplstyle"
COLUMN, TEXT = 3.3, 6.9  # inches: one column of a page, and its whole text
DPI = 200

# In grey two systems look alike: dashes tell them apart.
DASHES = {
    "two_stage_photo": (0, (6, 1.5)),
    "two_stage_face": (0, (2.5, 1.5)),
    "two_stage_aligned": (0, (1, 1.5)),
}
# Okabe and Ito's colours. Systems and verdicts share none.
COLOURS = {"joint": "#0072B2", "two_stage_photo": "#E69F00", "two_stage_face": "#CC79A7"}
COLOURS |= {"two_stage_aligned": "#7B4B94"}
# Those that start from dlib's recogniser, darker than the same system from scratch.
COLOURS |= dict(zip(STARTED_SYSTEMS, ("#00375A", "#8A5F00", "#8C2F66", "#3F2150"), strict=True))
SYSTEM_ORDER = (*SYSTEMS, *STARTED_SYSTEMS, *REFERENCES)
TRUTH, RIGHT, WRONG = "#F0E442", "#009E73", "#D55E00"
SKY = "#56B4E9"
GREY, PALE = "#777777", "#DDDDDD"
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}

Drawing = ParamSpec("Drawing")


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The house style within a ``with`` block, whatever style the notebook has."""
    with plt.style.context(STYLE):
        # Names in scripts that the text's font does not have.
        plt.rcParams["font.family"] = [*plt.rcParams["font.family"], *fonts.register()]
        yield


def styled(draw: Callable[Drawing, Figure]) -> Callable[Drawing, Figure]:
    """Draw in the house style, whatever style the notebook has."""

    @functools.wraps(draw)
    def drawn(*args: Drawing.args, **kwargs: Drawing.kwargs) -> Figure:
        with house_style():
            figure = draw(*args, **kwargs)
            # Ticks are made at the first drawing, in the style of that moment.
            figure.draw_without_rendering()
            _localise(figure)
        return figure

    return drawn


class _Localised(Formatter):
    """Another formatter's tick labels, with numbers as the figure's language writes them."""

    def __init__(self, inner: Formatter) -> None:
        self.inner = inner

    def __call__(self, x: float, pos: int | None = None) -> str:
        return localised(self.inner(x, pos))

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        return [localised(text) for text in self.inner.format_ticks(list(values))]

    def set_locs(self, locs: Any) -> None:
        self.inner.set_locs(locs)

    def get_offset(self) -> str:
        return localised(self.inner.get_offset())


def _localise(figure: Figure) -> None:
    """Write the numbers of a drawn figure as its language does."""
    if language() == "en":
        return
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for get, put in (
                (axis.get_major_formatter, axis.set_major_formatter),
                (axis.get_minor_formatter, axis.set_minor_formatter),
            ):
                if not isinstance(get(), _Localised):
                    put(_Localised(get()))
    for text in figure.findobj(Text):
        text.set_text(localised(text.get_text()))


def in_order(values: Iterable[Any], order: Sequence[Any]) -> list[Any]:
    """The distinct values: those known to ``order`` first, in that order, then the others."""
    present = list(dict.fromkeys(values))
    return [v for v in order if v in present] + [v for v in present if v not in order]


def system_colour(system: str) -> str:
    """Colour of a system of Experiment 1; grey where it has none of its own."""
    return COLOURS.get(system, GREY)


def system_line(system: str) -> dict[str, Any]:
    """Colour and dashes of a system's curve."""
    of = system if system not in STARTED_SYSTEMS else SYSTEMS[STARTED_SYSTEMS.index(system)]
    return {"color": system_colour(system), "linestyle": DASHES.get(of, "-")}


def tell_busy(figure: Figure, rows: pd.DataFrame) -> None:
    """Say below a figure of times that the machine was busy, see :func:`busy_label`."""
    if told := busy_label(rows):
        figure.supxlabel(told, x=0.99, ha="right", fontsize=7.5, color=WRONG)


def log_ticks(axis: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers: decades, and steps between where few.

    Args:
        axis: with its limits set.
    """
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    span = high / low
    steps: tuple[float, ...] = (1, 2, 5) if span > 8 else (1, 1.5, 2, 3, 5, 7)
    if span > 300:
        steps = (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_major_formatter(FuncFormatter(_plain))
    axis.xaxis.set_minor_formatter(NullFormatter())


def ticks_at(axis: Axes, which: str, values: Iterable[float]) -> None:
    """Put ticks at these values of a logarithmic axis (``"x"`` or ``"y"``), as plain numbers."""
    one = axis.xaxis if which == "x" else axis.yaxis
    one.set_major_locator(FixedLocator(list(values)))
    one.set_major_formatter(FuncFormatter(_plain))
    one.set_minor_locator(NullLocator())


def _plain(value: float, _: int | None) -> str:
    return f"{value:g}"


def short(name: str, length: int = 18) -> str:
    """A name as matplotlib is to draw it: cut to ``length`` letters, with no mathematics in it.

    >>> short("Annabella", 4), short("$_$") == r"\\$_\\$"
    ('Ann…', True)
    """
    cut = name if len(name) <= length else name[: length - 1] + "…"
    return cut.replace("$", r"\$")
