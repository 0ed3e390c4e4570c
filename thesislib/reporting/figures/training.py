"""Figures of training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import GREY, TEXT, _label, _line, in_order, styled
from thesislib.tables import SYSTEMS

_LOSSES = {"box": "#D55E00", "confidence": "#009E73", "no_object": "#56B4E9", "identity": "#000000"}


@styled
def training_curves(training: pd.DataFrame) -> Figure:
    """Losses of the joint net, and how well each system learns its people.

    The right panel shows accuracy on training batches, or the identity loss where some system
    has no accuracy.

    Args:
        training: one experiment's rows of ``training.csv``: ``system, epoch, metric, value``.
    """
    training = training.dropna(subset="value")
    systems = in_order(training["system"], SYSTEMS)
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT, 2.4))
    joint = training[training["system"] == "joint"]
    for metric, colour in _LOSSES.items():
        rows = joint[joint["metric"] == metric]
        if len(rows):
            left.plot(rows["epoch"], rows["value"], color=colour, label=metric.replace("_", " "))
    left.set(xlabel="epoch", ylabel="loss", title="joint net: terms of the loss, unweighted")
    if left.lines:
        left.set_yscale("log")
        left.legend(loc="upper left", bbox_to_anchor=(1, 1))
    else:
        left.text(0.5, 0.5, "not trained", ha="center", color=GREY, transform=left.transAxes)
        left.axis("off")

    metrics = training.groupby("system")["metric"].agg(set)
    exact = len(metrics) > 0 and all("identity_accuracy" in names for names in metrics)
    wanted = "identity_accuracy" if exact else "identity"
    for system in systems:
        rows = training[(training["system"] == system) & (training["metric"] == wanted)]
        values = rows["value"] * (100 if exact else 1)
        right.plot(rows["epoch"], values, **_line(system), label=_label(system))
    if exact:
        right.set(ylim=(0, 102), ylabel="accuracy, %", title="identity, on training batches")
    else:
        right.set(yscale="log", ylabel="cross-entropy", title="identity loss")
    right.set(xlabel="epoch")
    right.legend(loc="best")
    for axis in (left, right):
        axis.grid(axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
