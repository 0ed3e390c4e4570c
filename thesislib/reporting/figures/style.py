"""The house style: sizes of a page, colours, and what all figures share."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from thesislib.reporting.labels import SYSTEM_LABELS

STYLE = Path(__file__).parent / "thesis.mplstyle"
COLUMN, TEXT = 3.3, 6.9  # inches: one column of a page, and its whole text
DPI = 200

# The two-stage systems share a detector: where their curves coincide, dashes show both.
DASHES = {"two_stage_face": (0, (2.5, 1.5))}
# Okabe and Ito's colours. Systems and verdicts share none.
COLOURS = {"joint": "#0072B2", "two_stage_photo": "#E69F00", "two_stage_face": "#CC79A7"}
TRUTH, RIGHT, WRONG = "#F0E442", "#009E73", "#D55E00"
GREY, PALE = "#777777", "#DDDDDD"
MIDDLE = {"ha": "center", "va": "center"}
OUTLINE = [patheffects.withStroke(linewidth=1.9, foreground="#222222")]


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style, whatever style the notebook has."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with plt.style.context(STYLE):
            figure = draw(*args, **kwargs)
            # Ticks are made at the first drawing, in the style of that moment.
            figure.draw_without_rendering()
        return figure

    return drawn


def in_order(values: Sequence, order: Sequence) -> list:
    """The distinct values: those known to ``order`` first, in that order, then the others."""
    present = list(dict.fromkeys(values))
    return [v for v in order if v in present] + [v for v in present if v not in order]


def _label(system: str) -> str:
    return SYSTEM_LABELS.get(system, system)


def _line(system: str) -> dict:
    return {"color": _colour(system), "linestyle": DASHES.get(system, "-")}


def _colour(system: str) -> str:
    return COLOURS.get(system, GREY)


def log_ticks(axis: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers: decades, and steps between where few.

    Args:
        axis: with its limits set.
    """
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    span = high / low
    steps = (1, 2, 5) if span > 8 else (1, 1.5, 2, 3, 5, 7)
    if span > 300:
        steps = (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
