"""Figures of Experiment 3: curves, similarities, nuisance factors."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.embeddings import not_measured, of_arm, people_style
from thesislib.reporting.figures.style import GREY, TEXT, in_order, log_ticks, styled
from thesislib.reporting.labels import PEOPLE_LABELS, people_label, seen_by
from thesislib.reporting.language import N_, _

# title, x, y
_CURVES = {
    "roc": (
        N_("verification: ROC"),
        N_("impostor pairs accepted (FAR), %"),
        N_("genuine pairs accepted (TAR), %"),
    ),
    "open_set": (
        N_("open-set identification"),
        N_("strangers named (FPIR), %"),
        N_("enrolled people named (TPIR), %"),
    ),
    "cmc": (
        N_("closed-set identification: CMC"),
        N_("rank"),
        N_("right within the rank, %"),
    ),
    "joint_open_set": (
        N_("detection and open-set identification"),
        N_("false names per photo (FPIPI)"),
        N_("found and named (TPIR), %"),
    ),
}
# Not drawn by colour: they only show that chance gives what chance gives.
_CHANCE = ("untrained", "shuffled")
_FACTORS = {
    "yaw": N_("difference in yaw,\ndegrees"),
    "light": N_("difference in light,\ndegrees"),
    "brightness": N_("difference in brightness,\nof 255"),
    "size": N_("smaller face,\npixels"),
    "session": N_("sitting"),
}
# Of photos of one person, and of two.
_PAIRS = {
    "inter": (N_("photos of two people"), "#E69F00", (0, (4, 1.2))),
    "intra": (N_("two photos of one person"), "#0072B2", "-"),
}
_MIN_PAIRS = 30


def _group_label(people: str) -> str:
    """Who is compared, and what sees them: ``never seen, joint net``."""
    return ", ".join(seen_by(people))


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
    printed += f" [{low:.2f}, {high:.2f}]" if np.isfinite(low + high) else ""
    return printed.replace("-", "−")


@styled
def curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """ROC, open set, CMC, and open set in whole photos, a line a group of people and seed.

    In all panels up is better, from 0 to 100 %; curves end where the data hold too few impostors
    to support a rate. What depends on how many people are searched is not shown of people seen in
    training, of whom fewer scenes are kept. Nets that know nobody (untrained, shuffled labels) are
    pale.

    Args:
        table: ``experiment3_curves.csv``: ``dataset, profile, seed, people, arm, curve, x, y,
            supported``; curve: roc, open_set (FNIR), cmc, joint_open_set; rates in 0–1; supported:
            the least x that the data support, NaN for cmc.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(table, arm, "experiment3_curves")
    rows = rows[(rows["people"] != "seen") | (rows["curve"] == "roc")]
    rows = rows[(rows["curve"] == "cmc") | (rows["x"] > 0)]
    rows = rows[~(rows["x"] < rows["supported"])]
    up = rows["curve"] == "open_set"
    rows = rows.assign(y=(1 - rows["y"]).where(up, rows["y"]))
    figure, axes = plt.subplots(2, 2, figsize=(TEXT, 5.0), sharey=True)
    for axis, (curve, (title, x_label, y_label)) in zip(axes.flat, _CURVES.items(), strict=True):
        drawn = rows[rows["curve"] == curve]
        axis.set_title(_(title))
        if not len(drawn):
            not_measured(axis)
            axis.axis("off")
            continue
        scale = 1 if curve in ("cmc", "joint_open_set") else 100
        _draw_curves(axis, drawn, scale)
        if curve == "roc":
            low, high = axis.get_xlim()
            x = np.geomspace(low, high, 100)
            axis.plot(x, x, color=GREY, linewidth=0.9, linestyle=":")
        axis.set(ylim=(0, 102), xlabel=_(x_label), ylabel=_(y_label))
        axis.tick_params(labelleft=True)
        axis.grid()
    figure.legend(handles=_curve_legend(rows), loc="outside upper center", ncols=2)
    return figure


def _draw_curves(axis: Axes, drawn: pd.DataFrame, scale: float) -> None:
    """The lines of a panel, and its x axis: logarithmic, or ranks."""
    if (drawn["curve"] == "cmc").all():
        short = drawn.loc[drawn["y"] < 1, "x"]  # behind them all are right
        last = max(2, min(20, int(short.max()) + 1 if len(short) else 2))
        axis.set_xlim(1, last)
        axis.set_xticks(range(1, last + 1, 1 if last <= 10 else 3))
    else:
        axis.set_xlim(scale * drawn["x"].min(), scale * max(1.0, drawn["x"].max()))
        log_ticks(axis)
    groups = in_order(drawn["people"], list(PEOPLE_LABELS))
    # Pale ones first, so that they hide nothing.
    for people in sorted(groups, key=lambda one: one not in _CHANCE):
        for _seed, line in drawn[drawn["people"] == people].groupby("seed"):
            line = line.sort_values("x", kind="stable")
            width = {} if drawn["seed"].nunique() == 1 else {"linewidth": 0.8}
            axis.plot(scale * line["x"], 100 * line["y"], **_curve_style(people) | width)


def _curve_style(people: str) -> dict[str, Any]:
    if people in _CHANCE:
        return {"color": "#BBBBBB", "linewidth": 1.0}
    return {name: people_style(people)[name] for name in ("color", "linestyle")}


def _curve_legend(rows: pd.DataFrame) -> list[Line2D]:
    """A line a group; one for all that know nobody."""
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    handles = [
        Line2D([], [], **_curve_style(people), label=_group_label(people))
        for people in groups
        if people not in _CHANCE
    ]
    if any(people in _CHANCE for people in groups):
        label = _("untrained net, shuffled labels")
        handles.append(Line2D([], [], **_curve_style(_CHANCE[0]), label=label))
    if (rows["curve"] == "roc").any():
        handles.append(
            Line2D([], [], color=GREY, linewidth=0.9, linestyle=":", label=_("chance (ROC)"))
        )
    return handles


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
        figsize=(min(TEXT, max(3.3, TEXT * columns / 3)), 1.75 * lines + 0.5),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    filled = rows[rows["share"] > 0.0005]
    for at, axis in enumerate(axes.flat):
        if at >= len(groups):
            axis.axis("off")
            continue
        for pairs, (_label, colour, dashes) in _PAIRS.items():
            bins = rows[(rows["people"] == groups[at]) & (rows["pairs"] == pairs)]
            if len(bins):
                edges = [*bins["low"], bins["high"].iloc[-1]]
                style = {"edges": edges, "color": colour}
                axis.stairs(100 * bins["share"], **style, fill=True, alpha=0.3, linewidth=0)
                axis.stairs(100 * bins["share"], **style, linewidth=1.1, linestyle=dashes)
        who, seer = seen_by(groups[at])
        printed = _printed_dprime(results, arm, groups[at])
        axis.set_title(f"{who},\n{seer}\n{printed}".strip(), linespacing=1.05)
        axis.set(xlim=(filled["low"].min(), filled["high"].max()))
        axis.grid(axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        if at + columns >= len(groups):  # also above an empty place
            axis.tick_params(labelbottom=True)
            axis.set_xlabel(_("cosine similarity"))
    axes[0, 0].set_ylim(bottom=0)
    for axis in axes[:, 0]:
        axis.set_ylabel(_("% of pairs"))
    handles = [
        Patch(facecolor=(colour, 0.3), edgecolor=colour, linestyle=dashes, label=_(label))
        for label, colour, dashes in reversed(_PAIRS.values())
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


@styled
def factor_curves(table: pd.DataFrame, arm: str = "normalised") -> Figure:
    """Similarity of two photos of one person against what differs between them, beside that of two
    people's.

    With 95 % intervals over people. Of several seeds means, of the intervals too. Bins of fewer
    than 30 pairs are left out.

    Args:
        table: ``experiment3_factors.csv``: ``dataset, profile, seed, people, arm, factor`` (yaw,
            light, brightness, size, session), ``pairs`` ("intra" or "inter"), ``low, high``
            (edges of a bin; session: 0 the same, 1 another), ``mean, interval_low,
            interval_high`` (cosine; NaN of two people), ``n`` (pairs).
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(table, arm, "experiment3_factors")
    rows = rows[rows["n"] >= _MIN_PAIRS]
    factors = [name for name in _FACTORS if (rows["factor"] == name).any()]
    if not factors:
        raise ValueError(f"experiment3_factors: no rows of {', '.join(_FACTORS)}")
    keys = ["people", "factor", "pairs", "low", "high"]
    rows = rows.groupby(keys, as_index=False)[["mean", "interval_low", "interval_high"]].mean()
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
        _draw_factor(axis, rows[rows["factor"] == factor], factor, groups)
        axis.set_xlabel(_(_FACTORS[factor]), linespacing=1.0)
        axis.grid(axis="y")
    axes[0, 0].set_ylabel(_("cosine similarity, mean"))
    handles = [
        Line2D([], [], **people_style(people) | {"linestyle": ""}, label=people_label(people))
        for people in groups
    ]
    for pairs in ("intra", "inter"):
        handles.append(
            Line2D([], [], color=GREY, linestyle=_PAIRS[pairs][2], label=_(_PAIRS[pairs][0]))
        )
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _draw_factor(axis: Axes, rows: pd.DataFrame, factor: str, groups: list[str]) -> None:
    """A line a group of people and kind of pairs; groups beside each other, not behind."""
    last = rows["low"].max()
    middle = (rows["low"] + rows["high"]) / 2
    # The last bin of sizes has no end of its own.
    middle = middle.clip(upper=1.2 * last) if factor == "size" else middle
    middle = rows["low"] if factor == "session" else middle
    step = 0.08 if factor == "session" else 0.012 * middle.max()
    for at, people in enumerate(groups):
        style = people_style(people)
        shift = step * (at - (len(groups) - 1) / 2)
        for pairs, line in rows[rows["people"] == people].groupby("pairs"):
            line = line.sort_values("low", kind="stable")
            x = middle[line.index] + shift
            if pairs == "inter":
                axis.plot(x, line["mean"], color=style["color"], linestyle=_PAIRS["inter"][2])
                continue
            axis.vlines(
                x, line["interval_low"], line["interval_high"], color=style["color"], linewidth=1.2
            )
            dashes = "" if factor == "session" else "-"
            axis.plot(x, line["mean"], **style | {"linestyle": dashes}, markersize=4.5)
    if factor == "session":
        axis.set(xlim=(-0.5, 1.5))
        axis.set_xticks([0, 1], [_("the same"), _("another")])
    else:
        axis.set_xlim(0, 1.06 * middle.max())
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 1.5, 2, 3, 4.5, 5, 10]))
