"""Figures of a gallery: what its threshold costs, and how small a face may be."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from thesislib.reporting.figures.style import COLOURS, COLUMN, GREY, TEXT, styled, ticks_at
from thesislib.reporting.language import N_, _

_READINGS = {"closer": N_("small faces read again"), "once": N_("read once")}
_COLOURS = {"closer": COLOURS["joint"], "once": COLOURS["two_stage_photo"]}
_MEASURES = {
    "found": (N_("found, %"), 100),
    "known_again": (N_("known again, %"), 100),
    "strangers": (N_("strangers taken for them,\nin 1000"), 1000),
}


@styled
def threshold_costs(errors: pd.DataFrame, threshold: float) -> Figure:
    """Errors to be expected of a gallery at every threshold.

    Args:
        errors: ``threshold, fpir, fnir``, see
            :func:`thesislib.deploy.expected_errors.expected_errors`.
        threshold: the gallery's, drawn as a line.

    Raises:
        ValueError: no rows.
    """
    if not len(errors):
        raise ValueError("errors: no rows")
    figure, axis = plt.subplots(figsize=(1.4 * COLUMN, 2.8))
    told = {
        "fpir": _("strangers taken for somebody (FPIR)"),
        "fnir": _("your people not named (FNIR)"),
    }
    for column, colour in (("fpir", COLOURS["two_stage_photo"]), ("fnir", COLOURS["joint"])):
        dashes = "--" if column == "fpir" else "-"
        axis.plot(
            errors["threshold"], 100 * errors[column], dashes, color=colour, label=told[column]
        )
    label = _("the gallery's threshold")
    axis.axvline(threshold, color=GREY, lw=1, linestyle=":", label=label)
    axis.set(xlabel=_("threshold, cosine"), ylabel=_("errors, %"), ylim=(0, 102))
    axis.grid(axis="y")
    axis.margins(x=0)
    figure.legend(loc="outside upper center", ncols=1)
    return figure


@styled
def face_sizes(table: pd.DataFrame) -> Figure:
    """Faces found, known again, and taken for others, against their size; bars are 95 % intervals
    over people.

    Args:
        table: ``face_sizes.csv`` of one dataset: ``size_px, reading, measure, value, low, high``.

    Raises:
        ValueError: no rows, or of several datasets or profiles.
    """
    if not len(table) or len(table[["dataset", "system", "profile"]].drop_duplicates()) > 1:
        raise ValueError("face_sizes: expected the rows of one dataset, net and profile")
    figure, axes = plt.subplots(1, len(_MEASURES), figsize=(TEXT, 2.2))
    for axis, (measure, (label, factor)) in zip(axes, _MEASURES.items(), strict=True):
        for reading, name in _READINGS.items():
            own = table[(table["measure"] == measure) & (table["reading"] == reading)]
            own = own.sort_values("size_px")
            value = factor * own["value"]
            axis.errorbar(
                own["size_px"] * (1.02 if reading == "once" else 0.98),
                value,
                [(value - factor * own["low"]).abs(), (factor * own["high"] - value).abs()],
                color=_COLOURS[reading],
                linestyle="--" if reading == "once" else "-",
                marker="s" if reading == "once" else "o",
                label=_(name),
            )
        axis.set_xscale("log")
        ticks_at(axis, "x", sorted(table["size_px"].unique().tolist()))
        axis.set(xlabel=_("side of the face, px"), ylabel=_(label))
        axis.set_ylim(0, 105 if factor == 100 else None)
        axis.grid(axis="y")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
