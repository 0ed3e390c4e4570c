"""Figures of Experiment 1: boxes, errors, confusions and time of one run."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from thesislib.reporting.figures.style import (
    COLUMN,
    GREY,
    MIDDLE,
    PALE,
    RIGHT,
    SKY,
    SYSTEM_ORDER,
    TEXT,
    TRUTH,
    WRONG,
    in_order,
    short,
    styled,
    system_line,
)
from thesislib.reporting.labels import (
    system_label,
    told_apart,
)
from thesislib.tables import one_run

_STAGES = {
    "detector": SKY,
    "preprocess": "#BBBBBB",
    "network": "#0072B2",
    "classifier": "#009E73",
    "postprocess": "#555555",
}
_NAMES_ON_AXES = 30  # more cannot be read, and one looks at the list
# name in error_split's table, heading, colour
_VERDICTS = (
    ("right", "right", RIGHT),
    ("box", "right\nidentity,\nIoU < 0.5", TRUTH),
    ("place", "wrong\nidentity, right\nat oracle box", SKY),
    ("identification", "wrong\nidentity, also\nat oracle box", WRONG),
    ("missed", "not found", "#AAAAAA"),
)


@styled
def iou_distribution(faces: pd.DataFrame) -> Figure:
    """Share of faces whose box reaches an IoU, against that IoU.

    Args:
        faces: one experiment's rows of ``experiment1_faces.csv``: ``system, iou,
            iou_calibrated``, 0 for a face not found.

    Raises:
        ValueError: rows of several runs.
    """
    faces = one_run(told_apart(faces), "experiment1_faces")
    systems = in_order(faces["system"], SYSTEM_ORDER)
    beside = len(systems) > 3  # more names would hide the curves
    figure, axis = plt.subplots(figsize=(TEXT if beside else COLUMN, 2.6))
    for system in systems:
        rows = faces[faces["system"] == system]
        raw, calibrated = (np.sort(rows[name]) for name in ("iou", "iou_calibrated"))
        label = system_label(system)
        _reached(axis, calibrated, **system_line(system), linewidth=1.8, label=label)
        if not np.allclose(raw, calibrated):
            _reached(axis, raw, **system_line(system), linewidth=0.8)
    for threshold in (0.5, 0.75):
        axis.axvline(threshold, color=GREY, linewidth=0.7, linestyle=":")
    axis.set(xlim=(0, 1), ylim=(0, 103), xlabel="IoU with ground truth, at least")
    axis.set(ylabel="share of faces, %", xticks=[0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="y")
    handles, _ = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="boxes not calibrated"))
    if beside:
        axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1))
    else:
        axis.legend(handles=handles, loc="lower left")
    return figure


def _reached(axis: Axes, iou: np.ndarray, **style: Any) -> None:
    """Draw the share of ``iou``, sorted upwards, that is at least x."""
    n = len(iou)
    x = np.concatenate([[0], iou, [1]])
    y = np.concatenate([[100], 100 * (n - np.arange(n)) / max(n, 1), [0]])
    # The curve falls after a value, for that value still counts as reached.
    axis.step(x, y, where="pre", **style)


def error_shares(faces: pd.DataFrame) -> pd.DataFrame:
    """Split the faces of known people by what became of them.

    Each face counts once:

    - ``right``: found, right identity, calibrated IoU of at least 0.5;
    - ``box``: found, right identity, calibrated IoU below 0.5;
    - ``place``: found, wrong identity, though the same net identifies the face when it is given
      the ground-truth box: the fault is in where it looked;
    - ``identification``: found, wrong identity, and wrong at the ground-truth box too;
    - ``missed``: not found.

    ``right`` is joint accuracy at 0.5.

    Args:
        faces: ``system, identity, predicted_identity, oracle_identity, found, iou_calibrated``;
            rows whose ``identity`` is "" are left out.

    Returns:
        one row per system, in the systems' order: ``faces`` (how many) and the shares, in 0–1.
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
    counts = (
        counts.reindex(in_order(known["system"], SYSTEM_ORDER)).reindex(columns=names).fillna(0)
    )
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

    Raises:
        ValueError: rows of several runs.
    """
    shares = error_shares(one_run(told_apart(faces), "experiment1_faces"))
    systems, labels = len(shares), [system_label(system) for system in shares.index]
    figure, (bars, numbers) = plt.subplots(
        1,
        2,
        figsize=(TEXT, 1.2 + 0.27 * sum(1 + 0.3 * label.count("\n") for label in labels)),
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
    bars.set_yticks(range(systems), labels)
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

    Raises:
        ValueError: rows of several runs or systems.
    """
    one_run(faces, "experiment1_faces", ("system", "dataset", "split", "profile", "seed"))
    known = faces[faces["found"].astype(bool) & (faces["identity"] != "")]
    everyone = sorted({*known["identity"], *known["predicted_identity"]})
    order = list(identities_order) if identities_order is not None else everyone
    order += [name for name in everyone if name not in order]
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
    place = {name: at for at, name in enumerate(order)}
    _confusion_matrix(axis, counts, place)
    _confused_pairs(names, counts, place, pairs)
    share = 100 * len(wrong) / max(len(known), 1)
    about = f"{len(wrong)} of {len(known)} faces ({share:.1f} %) taken for another"
    names.text(0.02, -0.6, about, fontsize=8, va="center")
    return figure


def _confusion_matrix(axis: Axes, counts: pd.DataFrame, place: dict[str, int]) -> None:
    """A dot for each pair that was confused, the darker and larger the more faces."""
    n = max(len(place), 1)
    axis.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color=PALE, linewidth=max(1.2, 90 / n), zorder=0)
    x, y = (counts[name].map(place).to_numpy(float) for name in ("predicted_identity", "identity"))
    _dots(axis, x, y, counts["faces"].to_numpy(int))
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), box_aspect=1)
    axis.spines[["top", "right"]].set_visible(True)
    if n <= _NAMES_ON_AXES:
        shortened = [short(name or "nobody", 14) for name in place]
        size = 7 if n <= 24 else 6
        axis.set_xticks(range(len(place)), shortened, rotation=90, fontsize=size)
        axis.set_yticks(range(len(place)), shortened, fontsize=size)
        axis.grid(color="#EEEEEE", linewidth=0.4)
    axis.set(xlabel=f"taken for ({len(place)} people)", ylabel="person")


def _dots(axis: Axes, x: np.ndarray, y: np.ndarray, faces: np.ndarray) -> None:
    most = max([1, *faces])
    size = 8 + 50 * (faces - 1) / max(most - 1, 1)
    axis.scatter(x, y, size, faces, cmap="viridis_r", vmin=0.5, vmax=most + 0.5, linewidth=0)


def _confused_pairs(axis: Axes, counts: pd.DataFrame, place: dict[str, int], pairs: int) -> None:
    """The pairs that are confused most, in words, and what the dots mean."""
    named = len(place) <= _NAMES_ON_AXES
    axis.axis("off")
    axis.set(xlim=(0, 1), ylim=(pairs + 3.5, -1.2))
    style: dict[str, Any] = {"va": "center", "fontsize": 7.5}
    for row, pair in enumerate(counts.head(pairs).itertuples(), start=1):
        people = (pair.identity, pair.predicted_identity)
        # Where names cannot stand on the axes, their numbers there stand here.
        words = [
            short(who or "nobody", 17 if named else 13) + ("" if named else f" ({place[who]})")
            for who in people
        ]
        axis.text(0.07, row, str(pair.faces), ha="right", **style)
        axis.text(0.11, row, " → ".join(words), **style)
    rest = len(counts) - pairs
    if rest > 0:
        more = f"and {rest} more pair{'s' * (rest > 1)} (equals: by name)"
        axis.text(0.11, pairs + 1, more, color=GREY, **style)
    if len(counts):
        most = int(counts["faces"].max())
        shown = np.unique(np.linspace(1, most, min(most, 4)).round().astype(int))
        x = 0.11 + 0.13 * np.arange(len(shown))
        _dots(axis, x, np.full(len(shown), pairs + 2.6), shown)
        for at, count in zip(x, shown, strict=True):
            axis.text(at + 0.035, pairs + 2.6, str(count), **style)
        axis.text(x[-1] + 0.11, pairs + 2.6, "face" if most == 1 else "faces", **style)


@styled
def stage_times(stages: pd.DataFrame) -> Figure:
    """Where the time goes from photo to answer.

    A bar is as long as the median over turns of the whole, which is printed at its end; FPS is its
    inverse. Its parts share it as the medians of the stages do, which need not add up to it.

    Args:
        stages: one experiment's rows of ``stages.csv``: ``system, stage, turn, ms``.

    Raises:
        ValueError: rows of several runs.
    """
    stages = one_run(told_apart(stages), "stages")
    systems = in_order(stages["system"], SYSTEM_ORDER)
    medians = stages.groupby(["system", "stage"])["ms"].median()
    totals = stages.groupby(["system", "turn"])["ms"].sum().groupby("system").median()
    names = in_order(stages["stage"], list(_STAGES))
    labels = [system_label(system) for system in systems]
    lines = sum(1 + 0.6 * label.count("\n") for label in labels)
    figure, axis = plt.subplots(figsize=(TEXT, 0.8 + 0.3 * lines))
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
    axis.set_yticks(range(len(systems)), labels, linespacing=1.0)
    axis.set(ylim=(len(systems) - 0.5, -0.5), xlim=(0, longest * 1.25 or 1))
    axis.set(xlabel="ms per photo, median")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    handles = [Rectangle((0, 0), 1, 1, color=_STAGES.get(name, WRONG)) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), handlelength=1)
    return figure
