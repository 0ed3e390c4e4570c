"""Figures of the recogniser, drawn from ``recogniser.csv`` and ``recogniser_speed.csv`` alone."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from thesislib.reporting.figures.benchmark import of_one_run
from thesislib.reporting.figures.style import COLOURS, TEXT, styled, ticks_at
from thesislib.reporting.labels import engine_label
from thesislib.reporting.language import N_, _
from thesislib.reporting.recogniser_tables import learned_from, of_everybody

JOINT, PIPELINE = COLOURS["joint"], COLOURS["two_stage_photo"]

_READ_LABELS = {
    "default": N_("read at landmarks"),
    "roi": N_("read under the box"),
    "grid": N_("read at the cell"),
    "teacher_aligned": N_("detector, chips, recogniser"),
}
_READING_COLOURS = {"default": JOINT, "roi": "#CC79A7", "grid": "#009E73"}
_READING_COLOURS |= {"teacher_aligned": PIPELINE}
_READING_MARKERS = {"default": "o", "roi": "s", "grid": "^", "teacher_aligned": "D"}


@styled
def accuracy_and_cost(measures: pd.DataFrame, times: pd.DataFrame) -> Figure:
    """Faces found and named, against the time for a photo with 1 to 32 faces: where an embedding
    is read, and dlib's detector and recogniser on aligned chips.

    Args:
        measures: ``recogniser.csv``; of it ``enrolled_joint_accuracy_50`` on ``lfw``, of the net
            on the engine that is drawn, or else in PyTorch.
        times: ``recogniser_speed.csv``; of each system the engine that is fastest over all
            numbers of faces, at its larger size.

    Raises:
        ValueError: times of several runs or machines.
    """
    times = of_one_run(times, "recogniser_speed")
    rows = of_everybody(measures)
    rows = rows[(rows["measure"] == "enrolled_joint_accuracy_50") & (rows["dataset"] == "lfw")]
    rows = rows.set_index("system")
    figure, axis = plt.subplots(figsize=(TEXT, 2.6))
    for system, colour in _READING_COLOURS.items():
        own = times[times["system"] == system]
        own = own[own["input_px"] == own["input_px"].max()]
        if system not in rows.index or not len(own):
            continue
        engine = own.groupby("engine")["ms_median"].sum().idxmin()
        own = own[own["engine"] == engine].sort_values("faces")
        exported = f"{system}_{engine}"
        row = rows.loc[exported if exported in rows.index else system]
        height = 100 * row["value"]
        label = f"{_(_READ_LABELS[system])}, {engine_label(engine)}"
        axis.fill_between(
            own["ms_median"].agg(["min", "max"]),
            100 * row["low"],
            100 * row["high"],
            color=colour,
            alpha=0.15,
            lw=0,
        )
        style = {"color": colour, "marker": _READING_MARKERS[system], "label": label}
        axis.plot(own["ms_median"], [height] * len(own), **style)
        for at in (own.iloc[0], own.iloc[-1]):
            axis.annotate(
                f"{at['faces']:.0f}",
                (at["ms_median"], height),
                xytext=(0, -5),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    ticks = [ms for ms in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low < ms < high]
    ticks_at(axis, "x", ticks)
    axis.margins(x=0.08)
    axis.grid(axis="y")
    axis.set_xlabel(_("ms per photo, median; below points: faces in the photo"))
    axis.set(ylabel=_("found and named, lfw, %"), ylim=(0, 105))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def learning_curves(measures: pd.DataFrame) -> Figure:
    """Distance to the teacher, of faces found, against the views that were seen and the portraits
    they were made of; dashed the published net's.

    Args:
        measures: ``recogniser.csv``; of it ``teacher_distance_found`` on ``fairface``.

    Raises:
        ValueError: no rows of nets that are known to have learned from so many views.
    """
    rows = learned_from(measures)
    rows = rows[(rows["measure"] == "teacher_distance_found") & (rows["dataset"] == "fairface")]
    if not len(rows):
        raise ValueError("recogniser: no distances of nets that learned from so many views")
    published = of_everybody(measures)
    published = published[
        (published["system"] == "default")
        & (published["measure"] == "teacher_distance_found")
        & (published["dataset"] == "fairface")
    ]
    figure, axes = plt.subplots(1, 2, figsize=(TEXT, 2.4), sharey=True)
    others = {"views": "portraits", "portraits": "views"}
    names = {"views": _("views ({n} portraits)"), "portraits": _("portraits ({n} views)")}
    for axis, (along, other) in zip(axes, others.items(), strict=True):
        # Of the other number the one with the most nets.
        line = rows[rows[other] == rows[other].mode().iloc[-1]].sort_values(along)
        spread = [line["value"] - line["low"], line["high"] - line["value"]]
        axis.errorbar(line[along], line["value"], spread, color=JOINT, marker="o", capsize=2)
        axis.set_xscale("log")
        ticks_at(axis, "x", line[along])
        axis.minorticks_off()
        axis.grid(axis="y")
        for value in published["value"]:
            axis.axhline(value, color=JOINT, linewidth=0.8, linestyle="--")
        axis.set_xlabel(names[along].format(n=f"{line[other].iloc[0]:.0f}"))
    for value in published["value"]:
        where = {"xytext": (2, 3), "textcoords": "offset points"}
        place = (0, value)
        name = _("the published net")
        axes[0].annotate(name, place, xycoords=("axes fraction", "data"), **where)
    axes[0].set_ylabel(_("distance to the teacher"))
    axes[0].set_ylim(0, None)
    return figure
