"""Figures of training."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import (
    GREY,
    MIDDLE,
    SKY,
    TEXT,
    in_order,
    styled,
    system_line,
)
from thesislib.reporting.labels import system_label
from thesislib.tables import SYSTEMS, one_run

_LOSSES = {"box": "#D55E00", "confidence": "#009E73", "no_object": SKY, "identity": "#000000"}


@styled
def training_curves(training: pd.DataFrame) -> Figure:
    """Losses of the joint net, and how well each system learns its people.

    The right panel shows accuracy on training batches, or the identity loss where some system
    has no accuracy.

    Args:
        training: one experiment's rows of ``training.csv``: ``system, epoch, metric, value``.

    Raises:
        ValueError: rows of several runs.
    """
    training = one_run(training, "training").dropna(subset="value")
    systems = in_order(training["system"], SYSTEMS)
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT, 2.4))
    joint = training[training["system"] == "joint"]
    losses = [name for name in _LOSSES if (joint["metric"] == name).any()]
    if losses:
        own = joint[joint["metric"].isin(losses)]
        style = {"hue_order": losses, "palette": _LOSSES, "estimator": None}
        sns.lineplot(own, x="epoch", y="value", hue="metric", ax=left, legend=False, **style)
        labels = [name.replace("_", " ") for name in losses]
        left.legend(left.lines, labels, loc="upper left", bbox_to_anchor=(1, 1))
        left.set(yscale="log", xlabel="epoch", ylabel="loss")
        left.set_title("joint net: terms of the loss, unweighted")
    else:
        left.text(0.5, 0.5, "not trained", **MIDDLE, color=GREY, transform=left.transAxes)
        left.axis("off")

    metrics = training.groupby("system")["metric"].agg(set)
    exact = len(metrics) > 0 and all("identity_accuracy" in names for names in metrics)
    wanted = "identity_accuracy" if exact else "identity"
    for system in systems:
        rows = training[(training["system"] == system) & (training["metric"] == wanted)]
        values = rows["value"] * (100 if exact else 1)
        right.plot(rows["epoch"], values, **system_line(system), label=system_label(system))
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
