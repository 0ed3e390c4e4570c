"""Figures of training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import (
    COLUMN,
    SKY,
    TEXT,
    in_order,
    styled,
    system_line,
    ticks_at,
)
from thesislib.reporting.labels import system_label
from thesislib.reporting.language import N_, _
from thesislib.tables import SYSTEMS, one_run

# Terms, colours and dashes, which tell them apart in grey, too.
TERMS = {
    "box": (N_("box"), "#D55E00", "-"),
    "confidence": (N_("confidence"), "#009E73", (0, (4, 1.5))),
    "no_object": (N_("no object"), SKY, (0, (1, 1.2))),
    "identity": (N_("identity"), "#000000", "-"),
}


@styled
def loss_terms(training: pd.DataFrame) -> Figure:
    """Each term of the joint net's loss, unweighted.

    Args:
        training: one experiment's rows of ``training.csv``: ``system, epoch, metric, value``.

    Raises:
        ValueError: rows of several runs, or none of the joint net.
    """
    training = one_run(training, "training").dropna(subset="value")
    joint = training[(training["system"] == "joint") & training["metric"].isin(list(TERMS))]
    if not len(joint):
        raise ValueError("training: no rows of the joint net")
    figure, axis = plt.subplots(figsize=(COLUMN, 2.4))
    for term, (label, colour, dashes) in TERMS.items():
        rows = joint[joint["metric"] == term]
        if len(rows):
            line = {"color": colour, "linestyle": dashes, "label": _(label)}
            axis.plot(rows["epoch"], rows["value"], **line)
    axis.set(yscale="log", xlabel=_("epoch"), ylabel=_("term of the loss"))
    ticks_at(axis, "y", [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10])
    _finish(axis)
    figure.legend(loc="outside upper center", ncols=4, columnspacing=1.0)
    return figure


@styled
def training_curves(training: pd.DataFrame) -> Figure:
    """How well each system learns its people: identity loss and accuracy on training photos.

    Accuracy is left out where some system has none.

    Args:
        training: one experiment's rows of ``training.csv``: ``system, epoch, metric, value``.

    Raises:
        ValueError: rows of several runs.
    """
    training = one_run(training, "training").dropna(subset="value")
    systems = in_order(training["system"], SYSTEMS)
    metrics = training.groupby("system")["metric"].agg(set)
    panels = [("identity", 1, _("cross-entropy"))]
    if len(metrics) and all("identity_accuracy" in names for names in metrics):
        panels.append(("identity_accuracy", 100, _("accuracy, %")))
    figure, axes = plt.subplots(1, len(panels), figsize=(TEXT, 2.4), squeeze=False)
    for axis, (metric, scale, label) in zip(axes[0], panels, strict=True):
        for system in systems:
            rows = training[(training["system"] == system) & (training["metric"] == metric)]
            line = {**system_line(system), "label": system_label(system)}
            axis.plot(rows["epoch"], scale * rows["value"], **line)
        axis.set(xlabel=_("epoch"), ylabel=label, ylim=(0, 102 if scale == 100 else None))
        _finish(axis)
    axes[0, 0].legend(loc="best")
    figure.suptitle(_("identity, on training photos"), fontsize=8.5)
    return figure


def _finish(axis: Axes) -> None:
    axis.grid(axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
