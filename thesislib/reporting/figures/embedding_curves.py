"""Figures of Experiment 3: curves, similarities, nuisance factors."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.embeddings import (
    NOT_MEASURED,
    of_arm,
    people_style,
)
from thesislib.reporting.figures.style import GREY, TEXT, in_order, log_ticks, styled
from thesislib.reporting.labels import PEOPLE_LABELS, people_label

# title, x, y
_CURVES = {
    "roc": (
        "verification: ROC",
        "false accept rate (FAR), %",
        "true accept rate (TAR), %",
    ),
    "open_set": (
        "open-set identification",
        "unknown people named (FPIR), %",
        "enrolled missed (FNIR), %",
    ),
    "cmc": ("closed-set identification: CMC", "rank", "found within the rank, %"),
    "joint_open_set": (
        "detection and open-set identification",
        "false names per photo (FPIPI)",
        "found and named (TPIR), %",
    ),
}
_FACTORS = {
    "yaw": "difference in yaw, degrees",
    "light": "difference in light, degrees",
    "brightness": "difference in brightness, of 255",
    "size": "smaller face, pixels",
    "session": "session",
}
_INTRA, _INTER = "#0072B2", "#E69F00"
_MIN_PAIRS = 30


def _printed_dprime(results: pd.DataFrame, arm: str, people: str) -> str:
    """d' with its interval, or with its range over seeds; empty where the table has none."""
    if not len(results):
        return ""
    rows = results[
        (results["arm"] == arm) & (results["people"] == people) & (results["metric"] == "dprime")
    ]
    if not len(rows):
        return ""
    low, high = rows["value"].min(), rows["value"].max()
    if len(rows) == 1:
        low, high = rows["low"].iloc[0], rows["high"].iloc[0]
    printed = f"d′ = {rows['value'].mean():.2f}"
    printed += f" ({low:.2f} to {high:.2f})" if np.isfinite(low + high) else ""
    return printed.replace("-", "−")


@styled
def curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """ROC, FNIR against FPIR, CMC and TPIR against FPIPI, a line a group of people and seed.

    Dotted where the data hold too few impostors to support the rate.

    Args:
        table: ``experiment3_curves.csv``: ``dataset, profile, seed, people, arm, curve, x, y,
            supported``; curve: roc, open_set, cmc, joint_open_set; rates in 0–1; supported: the
            least x that the data support, NaN for cmc.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(table, arm, "experiment3_curves")
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    figure, axes = plt.subplots(2, 2, figsize=(TEXT, 5.0))
    for axis, (curve, (title, x_label, y_label)) in zip(axes.flat, _CURVES.items(), strict=True):
        drawn = rows[rows["curve"] == curve]
        axis.set_title(title)
        if not len(drawn):
            axis.text(0.5, 0.5, transform=axis.transAxes, **NOT_MEASURED)
            axis.axis("off")
            continue
        scale = 1 if curve in ("cmc", "joint_open_set") else 100
        if curve != "cmc":
            positive = drawn.loc[drawn["x"] > 0, "x"]
            supported = drawn["supported"].dropna()
            left = supported.min() / 4 if len(supported) else positive.min()
            axis.set_xlim(scale * left, scale * max(1.0, drawn["x"].max()))
            log_ticks(axis)
        for people in groups:
            style = people_style(people)
            for _, line in drawn[drawn["people"] == people].groupby("seed"):
                line = line.sort_values("x", kind="stable")
                x, y = scale * line["x"].to_numpy(), 100 * line["y"].to_numpy()
                if curve == "cmc":
                    axis.plot(x, y, color=style["color"], linestyle=style["linestyle"])
                    continue
                well = x >= scale * line["supported"].to_numpy()
                axis.plot(x[well], y[well], color=style["color"], linestyle=style["linestyle"])
                first = int(well.argmax()) + 1 if well.any() else len(x)
                axis.plot(x[:first], y[:first], color=style["color"], linestyle=":", linewidth=0.8)
        if curve == "roc":
            low, high = axis.get_xlim()
            x = np.geomspace(low, high, 100)
            axis.plot(x, x, color=GREY, linewidth=0.7)
        if curve == "cmc":
            axis.set_xlim(1, max(2, min(20, drawn["x"].max())))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(ylim=(0, 102), xlabel=x_label, ylabel=y_label)
        axis.grid()
    handles = [
        Line2D(
            [], [], color=people_style(people)["color"], label=people_label(people),
            linestyle=people_style(people)["linestyle"],
        )
        for people in groups
    ]  # fmt: skip
    handles.append(
        Line2D([], [], color=GREY, linestyle=":", linewidth=0.8, label="too few impostors to tell")
    )
    handles.append(Line2D([], [], color=GREY, linewidth=0.7, label="chance (ROC)"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


@styled
def similarity_histograms(
    similarities: pd.DataFrame, results: pd.DataFrame, arm: str = "normalised"
) -> Figure:
    """How similar two photos of one person are, and of two, a panel a group of people.

    Args:
        similarities: ``experiment3_similarities.csv``: ``dataset, profile, seed, people, arm,
            pairs`` ("intra" or "inter"), ``low, high`` (edges of a bin of cosine), ``share`` of
            that kind's pairs, 0–1. Shares are averaged over seeds.
        results: ``experiment3.csv``, of which ``dprime`` is printed; may be empty.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(similarities, arm, "experiment3_similarities")
    rows = rows.groupby(["people", "pairs", "low", "high"], as_index=False)["share"].mean()
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    columns = {4: 2, 7: 4, 8: 4}.get(len(groups), min(3, len(groups)))
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(min(TEXT, max(3.3, TEXT * columns / 3)), 1.6 * lines + 0.6),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    filled = rows[rows["share"] > 0.0005]
    for at, axis in enumerate(axes.flat):
        if at >= len(groups):
            axis.axis("off")
            continue
        for pairs, colour in (("inter", _INTER), ("intra", _INTRA)):
            bins = rows[(rows["people"] == groups[at]) & (rows["pairs"] == pairs)]
            if len(bins):
                edges = [*bins["low"], bins["high"].iloc[-1]]
                style = {"edges": edges, "color": colour}
                axis.stairs(100 * bins["share"], **style, fill=True, alpha=0.3, linewidth=0)
                axis.stairs(100 * bins["share"], **style, linewidth=1.1)
        title = people_label(groups[at])
        printed = _printed_dprime(results, arm, groups[at])
        axis.set_title(f"{title}\n{printed}" if printed else title, linespacing=1.05)
        axis.set(xlim=(filled["low"].min(), filled["high"].max()))
        axis.grid(axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        if at + columns >= len(groups):  # also above an empty place
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("cosine similarity")
    axes[0, 0].set_ylim(bottom=0)
    for axis in axes[:, 0]:
        axis.set_ylabel("% of pairs")
    handles = [
        Patch(facecolor=(colour, 0.3), edgecolor=colour, label=label)
        for colour, label in ((_INTRA, "two photos of one person"), (_INTER, "of two people"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


@styled
def factor_curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """Similarity of two photos of one person against what differs between them.

    Bins of fewer than 30 pairs are left out.

    Args:
        table: ``experiment3_factors.csv``: ``dataset, profile, seed, people, arm, factor`` (yaw,
            light, brightness, size, session), ``pairs`` ("intra" or "inter"), ``low, high``
            (edges of a bin; session: 0 the same, 1 another), ``mean, interval_low,
            interval_high`` (cosine), ``n`` (pairs).
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(table, arm, "experiment3_factors")
    rows = rows[rows["n"] >= _MIN_PAIRS]
    factors = [name for name in _FACTORS if (rows["factor"] == name).any()]
    if not factors:
        raise ValueError(f"experiment3_factors: no rows of {', '.join(_FACTORS)}")
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    figure, axes = plt.subplots(
        1,
        len(factors),
        figsize=(TEXT, 2.6),
        sharey=True,
        squeeze=False,
        gridspec_kw={"width_ratios": [0.6 if name == "session" else 1 for name in factors]},
    )
    for axis, factor in zip(axes[0], factors, strict=True):
        own = rows[rows["factor"] == factor]
        for at, people in enumerate(groups):
            style = people_style(people)
            for (_, pairs), line in own[own["people"] == people].groupby(["seed", "pairs"]):
                line = line.sort_values("low", kind="stable")
                x = ((line["low"] + line["high"]) / 2).to_numpy()
                x = np.minimum(x, 1.2 * line["low"].max()) if factor == "size" else x
                if factor == "session":
                    x = line["low"].to_numpy() + 0.08 * (at - (len(groups) - 1) / 2)
                mean, low, high = (
                    line[name].to_numpy() for name in ("mean", "interval_low", "interval_high")
                )
                if pairs == "inter":
                    dashed = {"color": style["color"], "linewidth": 0.9, "linestyle": (0, (3, 2))}
                    axis.plot(x, mean, **dashed)
                    axis.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
                elif factor == "session":
                    axis.plot([x, x], [low, high], color=style["color"], linewidth=1.5)
                    axis.plot(x, mean, **style | {"linestyle": ""}, markersize=4.5)
                else:
                    axis.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
                    axis.plot(x, mean, **style | {"linestyle": "-"}, markersize=3)
        axis.set_xlabel(_FACTORS[factor])
        axis.grid(axis="y")
        if factor == "session":
            axis.set(xlim=(-0.5, 1.5))
            axis.set_xticks([0, 1], ["the same", "another"])
        else:
            # The last bin of sizes has no end of its own.
            axis.set_xlim(0, own["low"].max() * 1.3 if factor == "size" else own["high"].max())
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 1.5, 2, 3, 5, 10]))
    axes[0, 0].set_ylabel("cosine similarity, mean")
    handles = [
        Line2D([], [], **people_style(people) | {"linestyle": "-"}, label=people_label(people))
        for people in groups
    ]
    handles.append(
        Line2D(
            [], [], color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), label="photos of two people"
        )
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure
