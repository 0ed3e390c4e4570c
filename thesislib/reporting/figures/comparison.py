"""Figures of Experiment 1: boxes, errors, confusions and time of one run."""

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
    tell_busy,
)
from thesislib.reporting.labels import (
    system_label,
    told_apart,
)
from thesislib.reporting.language import N_, _, ngettext
from thesislib.tables import one_run

# As light or dark that those beside each other can be told apart in grey, too.
STAGES = {
    "detector": (N_("detector"), SKY),
    "preprocess": (N_("preprocessing"), "#E3E3E3"),
    "network": (N_("network"), "#0072B2"),
    "classifier": (N_("classifier"), RIGHT),
    "postprocess": (N_("postprocessing"), "#222222"),
}
# name in error_split's table, heading, colour
VERDICTS = (
    ("right", N_("right"), RIGHT),
    ("box", N_("right\nidentity,\nIoU < 0.5"), TRUTH),
    ("place", N_("wrong\nidentity, right\nin given box"), SKY),
    ("identification", N_("wrong\nidentity, also\nin given box"), "#9C3D00"),
    ("missed", N_("not found"), "#333333"),
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
    curves: dict[tuple[bytes, bytes], list[str]] = {}  # those of one detector are the same
    for system in systems:
        rows = faces[faces["system"] == system]
        raw, calibrated = (
            np.sort(rows[name].to_numpy(float)) for name in ("iou", "iou_calibrated")
        )
        curves.setdefault((raw.tobytes(), calibrated.tobytes()), []).append(system)
    beside = len(systems) > 3  # more names would hide the curves
    figure, axis = plt.subplots(figsize=(TEXT if beside else COLUMN, 2.6))
    for values, alike in curves.items():
        raw, calibrated = map(np.frombuffer, values)
        style = system_line(alike[0])
        label = ",\n".join(system_label(system) for system in alike)
        _reached(axis, calibrated, **style, linewidth=1.8, label=label)
        if not np.allclose(raw, calibrated):
            _reached(axis, raw, **style, linewidth=0.8)
    for threshold in (0.5, 0.75):
        axis.axvline(threshold, color=GREY, linewidth=0.7, linestyle=":")
    axis.set(xlim=(0, 1), ylim=(0, 103), xlabel=_("IoU with ground truth, at least"))
    axis.set(ylabel=_("share of faces, %"), xticks=[0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="y")
    handles, _labels = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label=_("boxes not calibrated")))
    place: dict[str, Any] = {"loc": "lower left"}
    if beside:
        place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}
    legend = axis.legend(handles=handles, **place)
    for text in legend.get_texts():
        text.set_linespacing(1.05)
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
    names = [name for name, _heading, _colour in VERDICTS]
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
        gridspec_kw={"width_ratios": [1, 2.3]},
    )
    left = np.zeros(systems)
    columns = [(_("faces"), "white", [str(count) for count in shares["faces"]])]
    for name, heading, colour in VERDICTS:
        values = 100 * shares[name].to_numpy()
        bars.barh(range(systems), values, 0.62, left=left, color=colour, edgecolor="white")
        left += values
        columns.append((_(heading), colour, [f"{value:.1f} %" for value in values]))
    # The table's headings are the bars' legend; they stand above it by points, however many rows.
    for at, (heading, colour, cells) in enumerate(columns):
        place = {"xy": (at + 0.5, 1), "xycoords": ("data", "axes fraction"), "ha": "center"}
        place["textcoords"] = "offset points"
        numbers.annotate("■", **place, xytext=(0, 2), color=colour, fontsize=10)
        numbers.annotate(heading, **place, xytext=(0, 13), fontsize=7.5, linespacing=1.05)
        for row, cell in enumerate(cells):
            numbers.text(at + 0.5, row, cell, **MIDDLE)
    bars.set_yticks(range(systems), labels, linespacing=1.0)
    bars.set(ylim=(systems - 0.5, -0.6), xlim=(0, 100), xlabel=_("share of faces, %"))
    bars.tick_params(axis="y", length=0)
    numbers.set_xlim(0, len(VERDICTS) + 1)
    numbers.axis("off")
    return figure


@styled
def confusion(faces: pd.DataFrame, pairs: int = 12) -> Figure:
    """Who is taken for whom most often, and in how many of the person's faces.

    Found faces of known people only.

    Args:
        faces: one system's rows of ``experiment1_faces.csv``: ``identity, predicted_identity,
            found``.
        pairs: how many pairs are shown.

    Raises:
        ValueError: rows of several runs or systems.
    """
    one_run(faces, "experiment1_faces", ("system", "dataset", "split", "profile", "seed"))
    known = faces[faces["found"].astype(bool) & (faces["identity"] != "")]
    wrong = known[known["identity"] != known["predicted_identity"]]
    counts = wrong.groupby(["identity", "predicted_identity"]).size().reset_index(name="faces")
    counts["of"] = counts["identity"].map(known["identity"].value_counts())
    counts = counts.sort_values(
        ["faces", "of", "identity", "predicted_identity"], ascending=[False, True, True, True]
    )
    shown = counts.head(pairs)
    rest = _rest(len(counts) - len(shown))
    height = 0.4 + 0.19 * len(shown) + (0.25 if rest else 0)
    figure, axis = plt.subplots(figsize=(COLUMN, height))
    axis.barh(range(len(shown)), shown["faces"], 0.62, color=WRONG)
    for row, (count, of) in enumerate(zip(shown["faces"], shown["of"], strict=True)):
        told = _("{count} of {of}").format(count=count, of=of)
        axis.annotate(told, (count, row), (3, 0), textcoords="offset points", va="center")
    labels = [
        " → ".join(short(who or _("nobody"), 13) for who in people)
        for people in zip(shown["identity"], shown["predicted_identity"], strict=True)
    ]
    axis.set_yticks(range(len(shown)), labels)
    axis.set(xlim=(0, 1.3 * max([1, *shown["faces"]])), ylim=(len(shown) - 0.4, -0.6))
    axis.set(xticks=[], xlabel=rest)
    axis.tick_params(axis="y", length=0)
    axis.spines["bottom"].set_visible(False)
    axis.spines["left"].set_visible(len(shown) > 0)
    share = 100 * len(wrong) / max(len(known), 1)
    figure.suptitle(
        _("{wrong} of {known} faces ({share:.1f} %) taken for another").format(
            wrong=len(wrong), known=len(known), share=share
        ),
        fontsize=8.5,
    )
    return figure


def _rest(pairs: int) -> str:
    """How many pairs are not shown."""
    if pairs <= 0:
        return ""
    return ngettext("and {n} more pair", "and {n} more pairs", pairs).format(n=pairs)


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
    names = in_order(stages["stage"], list(STAGES))
    labels = [system_label(system) for system in systems]
    lines = sum(1 + 0.6 * label.count("\n") for label in labels)
    figure, axis = plt.subplots(figsize=(TEXT, 0.8 + 0.3 * lines))
    longest = 0.0
    for row, system in enumerate(systems):
        left, total = 0.0, totals[system]
        stretch = total / medians[system].sum()
        for stage in names:
            ms = stretch * medians.get((system, stage), 0.0)
            _name, colour = STAGES.get(stage, (stage, WRONG))
            axis.barh(row, ms, 0.62, left=left, color=colour, edgecolor="white", linewidth=0.4)
            left += ms
        longest = max(longest, left)
        axis.annotate(
            _("{ms:.1f} ms, {fps:.1f} FPS").format(ms=total, fps=1000 / total),
            (left, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axis.set_yticks(range(len(systems)), labels, linespacing=1.0)
    axis.set(ylim=(len(systems) - 0.5, -0.5), xlim=(0, longest * 1.25 or 1))
    axis.set(xlabel=_("ms per photo, median"))
    axis.tick_params(axis="y", length=0)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=colour, label=_(label))
        for label, colour in (STAGES.get(name, (name, WRONG)) for name in names)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(names), handlelength=1)
    tell_busy(figure, stages)
    return figure
