"""Figures of Experiment 1."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from thesislib.reporting.figures.style import (
    COLUMN,
    GREY,
    MIDDLE,
    PALE,
    RIGHT,
    TEXT,
    TRUTH,
    WRONG,
    _colour,
    _label,
    _line,
    in_order,
    short,
    styled,
)
from thesislib.reporting.labels import THESIS_EXPERIMENT1, THESIS_PEOPLE
from thesislib.tables import SPLITS, SYSTEMS

_STAGES = {
    "detector": "#56B4E9",
    "preprocess": "#BBBBBB",
    "network": "#0072B2",
    "classifier": "#009E73",
    "postprocess": "#555555",
}
_INTERVALS = {
    "accuracy": "accuracy",
    "joint_accuracy_50": "joint accuracy\nIoU ≥ 0.5",
    "joint_accuracy_75": "joint accuracy\nIoU ≥ 0.75",
    "mean_iou_calibrated": "mean IoU,\ncalibrated",
    "oracle_box_accuracy": "name right,\nboxes given",
}
_NAMED = ("accuracy", "joint_accuracy_50", "oracle_box_accuracy")
# name in error_split's table, heading, colour
_VERDICTS = (
    ("right", "right", RIGHT),
    ("box", "right\nperson,\nIoU < 0.5", TRUTH),
    ("place", "wrong\nperson, right\nat true box", "#56B4E9"),
    ("identification", "wrong\nperson, also\nat true box", WRONG),
    ("missed", "not found", "#AAAAAA"),
)


@styled
def experiment1_intervals(results: pd.DataFrame) -> Figure:
    """Shares of Experiment 1 with their 95 % intervals, beside the thesis's own numbers.

    The thesis measured other photos, so its numbers stand in a row of their own, hollow; its mean
    IoU is that of boxes as they came, without calibration. Each seed has a line, in their order.

    Args:
        results: rows of ``experiment1.csv``: ``dataset, split, profile, seed, system, metric,
            value, low, high``; shares in 0–1. Metrics that are not shown are passed over.
    """
    rows = results[results["metric"].isin(_INTERVALS)]
    groups = list(rows.groupby(["dataset", "split", "profile"], sort=False))
    groups.sort(key=lambda group: (group[0][0], SPLITS.index(group[0][1]), group[0][2]))

    # One lane a system and seed; a row of lanes a dataset, split and profile; the thesis on top,
    # which split by photo: beside another split it would only stretch the axis.
    with_thesis = (rows["split"] == "photo").any()
    lanes_of_thesis = {"joint": (0, "joint"), "two-stage": (1, "two_stage_photo")}
    shown_of_thesis = {"accuracy": "accuracy", "mean_iou": "mean_iou_calibrated"}
    points, edges, ticks = [], [], []
    if with_thesis:
        ticks.append((0.5, f"the thesis\n{THESIS_PEOPLE} people"))
    for row in THESIS_EXPERIMENT1.itertuples():
        if with_thesis and row.metric in shown_of_thesis:
            lane, system = lanes_of_thesis[row.system]
            points.append((shown_of_thesis[row.metric], lane, system, row.value, np.nan, np.nan))
    y = 1.0 if with_thesis else -2.0
    for (dataset, split, profile), group in groups:
        edges.append(y + 1)
        y += 2
        lanes = sorted(
            {(system, seed) for system, seed in zip(group["system"], group["seed"], strict=True)},
            key=lambda lane: (in_order(group["system"], SYSTEMS).index(lane[0]), lane[1]),
        )
        ticks.append((y + (len(lanes) - 1) / 2, f"{dataset}\n{split} split, {profile}"))
        for system, seed in lanes:
            own = group[(group["system"] == system) & (group["seed"] == seed)]
            points += [
                (row.metric, y, system, row.value, row.low, row.high) for row in own.itertuples()
            ]
            y += 1
        y += max(0, 2 - len(lanes)) - 1  # two lines of label need two lanes
    height = 0.155 * (y + 2) + 0.95
    figure, axes = plt.subplots(1, len(_INTERVALS), figsize=(TEXT, height), sharey=True)
    table = pd.DataFrame(points, columns=["metric", "y", "system", "value", "low", "high"])
    for axis, (metric, title) in zip(axes, _INTERVALS.items(), strict=True):
        own = table[table["metric"] == metric]
        for row in own.itertuples():
            colour, hollow = _colour(row.system), with_thesis and row.y <= 1
            if np.isfinite(row.low):
                axis.plot([100 * row.low, 100 * row.high], [row.y] * 2, color=colour, lw=1.5)
            axis.plot(
                100 * row.value,
                row.y,
                "o",
                color=colour,
                markersize=4.5,
                markerfacecolor="white" if hollow else colour,
                markeredgewidth=1.1,
            )
        # Shares of names have one axis, to be compared; where few boxes are good, another.
        alike = _NAMED if metric in _NAMED and len(own) else (metric,)
        shown = 100 * table.loc[table["metric"].isin(alike), ["value", "low", "high"]].to_numpy()
        shown = shown[np.isfinite(shown)]
        if len(shown):
            for edge in edges:
                axis.axhline(edge, color=PALE, linewidth=0.6)
            room = max(1.0, 0.08 * np.ptp(shown))
            axis.set_xlim(shown.min() - room, min(shown.max() + room, 101))
            axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
            axis.set_xlabel("%")
        else:
            axis.set(xlim=(0, 1), xticks=[])
            axis.text(0.5, y / 2, "not measured", **MIDDLE, color=GREY)
        axis.grid(axis="x")
        if with_thesis and metric == "mean_iou_calibrated":
            title = "mean IoU, calibrated\n(thesis: as detected)"
        axis.set_title(title, fontsize=8, linespacing=1.0)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(*zip(*ticks, strict=True), fontsize=7.5, linespacing=1.0)
    axes[0].set_ylim(y + 0.8, -0.9)
    systems = in_order(table["system"], SYSTEMS)  # the thesis's too
    handles = [
        Line2D([], [], color=_colour(system), marker="o", label=_label(system))
        for system in systems
    ]
    hollow = {"marker": "o", "markerfacecolor": "white", "lw": 0}
    if with_thesis:
        handles.append(Line2D([], [], color=GREY, **hollow, label="the thesis"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@styled
def iou_distribution(faces: pd.DataFrame) -> Figure:
    """Share of faces whose box reaches an IoU, against that IoU.

    Args:
        faces: one experiment's rows of ``experiment1_faces.csv``: ``system, iou,
            iou_calibrated``, 0 for a face not found.
    """
    figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
    for system in in_order(faces["system"], SYSTEMS):
        rows = faces[faces["system"] == system]
        raw, calibrated = (np.sort(rows[name]) for name in ("iou", "iou_calibrated"))
        _reached(axis, calibrated, **_line(system), linewidth=1.8, label=_label(system))
        if not np.allclose(raw, calibrated):
            _reached(axis, raw, **_line(system), linewidth=0.8)
    for threshold in (0.5, 0.75):
        axis.axvline(threshold, color=GREY, linewidth=0.7, linestyle=":")
    axis.set(xlim=(0, 1), ylim=(0, 103), xlabel="IoU with ground truth, at least")
    axis.set(ylabel="share of faces, %", xticks=[0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="y")
    handles, _ = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="boxes not calibrated"))
    axis.legend(handles=handles, loc="lower left")
    return figure


def _reached(axis: Axes, iou: np.ndarray, **style) -> None:
    """Draw the share of ``iou``, sorted upwards, that is at least x."""
    n = len(iou)
    x = np.concatenate([[0], iou, [1]])
    y = np.concatenate([[100], 100 * (n - np.arange(n)) / max(n, 1), [0]])
    # The curve falls after a value, for that value still counts as reached.
    axis.step(x, y, where="pre", **style)


def error_shares(faces: pd.DataFrame) -> pd.DataFrame:
    """Split the faces of known people by what became of them.

    Each face counts once:

    - ``right``: found, right person, calibrated IoU of at least 0.5;
    - ``box``: found, right person, calibrated IoU below 0.5;
    - ``place``: found, wrong person, though the same net names the face rightly when it is given
      the true box: the fault is in where it looked;
    - ``identification``: found, wrong person, and wrong at the true box too;
    - ``missed``: not found.

    ``right`` is joint accuracy at 0.5.

    Args:
        faces: ``system, identity, predicted_identity, oracle_identity, found, iou_calibrated``;
            rows whose ``identity`` is "" are left out.

    Returns:
        one row a system, in the systems' order: ``faces`` (how many) and the shares, in 0–1.
    """
    known = faces[faces["identity"] != ""]
    right = known["predicted_identity"] == known["identity"]
    bound = known["oracle_identity"] == known["identity"]
    fits = known["iou_calibrated"] >= 0.5
    found = known["found"].astype(bool)
    verdict = np.select(
        [~found, right & fits, right, bound],
        ["missed", "right", "box", "place"],
        default="identification",
    )
    counts = pd.crosstab(known["system"], verdict)
    names = [name for name, _, _ in _VERDICTS]
    counts = counts.reindex(in_order(known["system"], SYSTEMS)).reindex(columns=names).fillna(0)
    totals = counts.sum(axis=1)
    shares = counts.div(totals, axis=0)
    shares.insert(0, "faces", totals.astype(int))
    return shares.rename_axis(index="system", columns=None)


@styled
def error_split(faces: pd.DataFrame) -> Figure:
    """What became of the faces, system by system: right, or wrong in which of four ways.

    Args:
        faces: one experiment's rows of ``experiment1_faces.csv``; definitions and columns in
            :func:`error_shares`.
    """
    shares = error_shares(faces)
    systems = len(shares)
    figure, (bars, numbers) = plt.subplots(
        1,
        2,
        figsize=(TEXT, 1.2 + 0.27 * systems),
        sharey=True,
        gridspec_kw={"width_ratios": [1, 2]},
    )
    left = np.zeros(systems)
    columns = [("faces", "white", [str(count) for count in shares["faces"]])]
    for name, heading, colour in _VERDICTS:
        values = 100 * shares[name].to_numpy()
        bars.barh(range(systems), values, 0.62, left=left, color=colour, edgecolor="white")
        left += values
        columns.append((heading, colour, [f"{value:.1f} %" for value in values]))
    # The table's headings are the bars' legend; they stand above it by points, however many rows.
    for at, (heading, colour, cells) in enumerate(columns):
        place = {"xy": (at + 0.5, 1), "xycoords": ("data", "axes fraction"), "ha": "center"}
        place["textcoords"] = "offset points"
        numbers.annotate("■", **place, xytext=(0, 2), color=colour, fontsize=10)
        numbers.annotate(heading, **place, xytext=(0, 13), fontsize=7.5, linespacing=1.05)
        for row, cell in enumerate(cells):
            numbers.text(at + 0.5, row, cell, **MIDDLE)
    bars.set_yticks(range(systems), [_label(system) for system in shares.index])
    bars.set(ylim=(systems - 0.5, -0.6), xlim=(0, 100), xlabel="share of faces, %")
    bars.tick_params(axis="y", length=0)
    numbers.set_xlim(0, len(_VERDICTS) + 1)
    numbers.axis("off")
    return figure


@styled
def confusion(
    faces: pd.DataFrame, identities_order: Sequence[str] | None = None, pairs: int = 12
) -> Figure:
    """Who is taken for whom, and the pairs that are confused most.

    Found faces of known people only; a face taken for itself lies on the pale diagonal.

    Args:
        faces: one system's rows of ``experiment1_faces.csv``: ``identity, predicted_identity,
            found``.
        identities_order: people along both axes; by the alphabet where None. People of the table
            that it does not name come last.
        pairs: how many pairs are listed.
    """
    known = faces[faces["found"].astype(bool) & (faces["identity"] != "")]
    everyone = sorted({*known["identity"], *known["predicted_identity"]})
    order = list(identities_order) if identities_order is not None else everyone
    order += [name for name in everyone if name not in order]
    place = {name: at for at, name in enumerate(order)}
    wrong = known[known["identity"] != known["predicted_identity"]]
    counts = (
        wrong.groupby(["identity", "predicted_identity"])
        .size()
        .reset_index(name="faces")
        .sort_values(["faces", "identity", "predicted_identity"], ascending=[False, True, True])
    )
    figure, (axis, names) = plt.subplots(
        1, 2, figsize=(TEXT, 3.9), gridspec_kw={"width_ratios": [1.35, 1]}
    )
    n = max(len(order), 1)
    axis.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color=PALE, linewidth=max(1.2, 90 / n), zorder=0)
    most = int(counts["faces"].max()) if len(counts) else 1

    def dots(on: Axes, x, y, faces: np.ndarray) -> None:
        size = 8 + 50 * (faces - 1) / max(most - 1, 1)
        on.scatter(x, y, size, faces, cmap="viridis_r", vmin=0.5, vmax=most + 0.5, linewidth=0)

    dots(
        axis,
        counts["predicted_identity"].map(place).astype(float),
        counts["identity"].map(place).astype(float),
        counts["faces"].to_numpy(float),
    )
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), box_aspect=1)
    axis.spines[["top", "right"]].set_visible(True)
    if n <= 30:  # more names than that cannot be read, and one looks at the list
        shortened = [short(name, 14) for name in order]
        size = 7 if n <= 24 else 6
        axis.set_xticks(range(len(order)), shortened, rotation=90, fontsize=size)
        axis.set_yticks(range(len(order)), shortened, fontsize=size)
        axis.grid(color="#EEEEEE", linewidth=0.4)
    axis.set(xlabel=f"taken for ({len(order)} people)", ylabel="person")
    names.axis("off")
    names.set(xlim=(0, 1), ylim=(pairs + 3.5, -1.2))
    share = 100 * len(wrong) / max(len(known), 1)
    names.text(
        0.02, -0.6, f"{len(wrong)} of {len(known)} faces ({share:.1f} %) taken for another",
        fontsize=8, va="center",
    )  # fmt: skip
    for row, pair in enumerate(counts.head(pairs).itertuples(), start=1):
        people = (pair.identity, pair.predicted_identity)
        # Where names cannot stand on the axes, their numbers there stand here.
        at = [f" ({place[who]})" if n > 30 else "" for who in people]
        cut = 17 if n <= 30 else 13
        text = " → ".join(short(who, cut) + where for who, where in zip(people, at, strict=True))
        names.text(0.07, row, str(pair.faces), ha="right", va="center", fontsize=7.5)
        names.text(0.11, row, text, va="center", fontsize=7.5)
    if len(counts) > pairs:
        rest = len(counts) - pairs
        names.text(
            0.11,
            pairs + 1,
            f"and {rest} more pair{'s' * (rest > 1)} (equals: by name)",
            color=GREY,
            fontsize=7.5,
            va="center",
        )
    if len(counts):
        shown = np.unique(np.linspace(1, most, min(most, 4)).round())
        x = 0.11 + 0.13 * np.arange(len(shown))
        dots(names, x, np.full(len(shown), pairs + 2.6), shown)
        for at, count in zip(x, shown, strict=True):
            names.text(at + 0.035, pairs + 2.6, f"{count:.0f}", fontsize=7.5, va="center")
        names.text(
            x[-1] + 0.11, pairs + 2.6, "face" if most == 1 else "faces", fontsize=7.5, va="center"
        )
    return figure


@styled
def stage_times(stages: pd.DataFrame) -> Figure:
    """Where the time goes from photo to answer.

    A bar is as long as the median over turns of the whole, which is printed at its end; FPS is its
    inverse. Its parts share it as the medians of the stages do, which need not add up to it.

    Args:
        stages: one experiment's rows of ``stages.csv``: ``system, stage, turn, ms``.
    """
    systems = in_order(stages["system"], SYSTEMS)
    medians = stages.groupby(["system", "stage"])["ms"].median()
    totals = stages.groupby(["system", "turn"])["ms"].sum().groupby("system").median()
    names = in_order(stages["stage"], list(_STAGES))
    figure, axis = plt.subplots(figsize=(TEXT, 0.8 + 0.3 * len(systems)))
    longest = 0.0
    for row, system in enumerate(systems):
        left, total = 0.0, totals[system]
        stretch = total / medians[system].sum()
        for stage in names:
            ms = stretch * medians.get((system, stage), 0.0)
            colour = _STAGES.get(stage, WRONG)
            axis.barh(row, ms, 0.62, left=left, color=colour, edgecolor="white", linewidth=0.4)
            left += ms
        longest = max(longest, left)
        axis.annotate(
            f"{total:.3g} ms, {1000 / total:.3g} FPS",
            (left, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axis.set_yticks(range(len(systems)), [_label(system) for system in systems])
    axis.set(ylim=(len(systems) - 0.5, -0.5), xlim=(0, longest * 1.25 or 1))
    axis.set(xlabel="ms a photo, median")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    handles = [Rectangle((0, 0), 1, 1, color=_STAGES.get(name, WRONG)) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), handlelength=1)
    return figure
