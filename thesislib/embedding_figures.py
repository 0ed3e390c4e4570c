"""Figures of Experiment 3: are the embeddings of people, also of people never seen, compact?

Drawn from the tables ``experiment3*.csv``. A group of people has the same colour, line and marker
in every figure; controls are hollow and broken. Names in a table that this module does not know
are shown as they stand.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from thesislib.figures import GREY, PALE, TEXT, in_order, short, styled

PEOPLE = {
    "seen": "seen in training",
    "unseen": "never seen",
    "lfw": "LFW, another collection",
    "two_stage": "two-stage classifier",
    "untrained": "untrained net",
    "shuffled": "shuffled labels",
}
CONTROLS = ("two_stage", "untrained", "shuffled")
# What is compared in an ablation: losses, dimensions, where the embedding is read.
ARM_GROUPS = (
    {
        "linear": "cross-entropy (thesis)",
        "normalised": "normalised softmax",
        "cosface": "CosFace",
        "arcface": "ArcFace",
    },
    {f"dim{dim}": f"dimension {dim}" for dim in (64, 128, 256, 512)},
    {"box": "pooled under the box"},
)
ARMS = {arm: label for group in ARM_GROUPS for arm, label in group.items()}


class Metric(NamedTuple):
    """How a measure is shown."""

    label: str
    scale: float  # 100 for shares, which are shown in %
    higher_is_better: bool
    chance: float | None = None  # what embeddings of random direction give


METRICS = {
    "verification_accuracy": Metric("verification\naccuracy", 100, True, 0.5),
    "tar_at_far_1e2": Metric("TAR at\nFAR 1 %", 100, True, 0.01),
    "tar_at_far_1e3": Metric("TAR at\nFAR 0.1 %", 100, True, 0.001),
    "equal_error_rate": Metric("equal\nerror rate", 100, False, 0.5),
    "precision_at_1": Metric("precision\nat 1", 100, True),
    "r_precision": Metric("R-precision", 100, True),
    "map_at_r": Metric("MAP@R", 100, True),
    "rank_one": Metric("rank-one\nidentification", 100, True),
    "fnir_at_fpir_1e2": Metric("FNIR at\nFPIR 1 %", 100, False, 0.99),
    "fnir_at_fpir_1e1": Metric("FNIR at\nFPIR 10 %", 100, False, 0.9),
    "tpir_at_fpipi_1e1": Metric("TPIR at\nFPIPI 0.1", 100, True),
    "dprime": Metric("d′", 1, True, 0.0),
    "compactness_ratio": Metric("intra / nearest\ninter distance", 1, False),
    "silhouette": Metric("silhouette", 1, True, 0.0),
    "davies_bouldin": Metric("Davies–Bouldin", 1, False),
    "alignment": Metric("alignment", 1, False),
    "uniformity": Metric("uniformity", 1, False),
    "trustworthiness_umap": Metric("trustworthiness,\nUMAP", 1, True, 0.5),
    "trustworthiness_tsne": Metric("trustworthiness,\nt-SNE", 1, True, 0.5),
    "continuity_umap": Metric("continuity,\nUMAP", 1, True, 0.5),
    "continuity_tsne": Metric("continuity,\nt-SNE", 1, True, 0.5),
}
METHODS = {"umap": "UMAP", "tsne": "t-SNE"}

_COLOURS = {
    "seen": "#0072B2",
    "unseen": "#D55E00",
    "lfw": "#009E73",
    "two_stage": "#E69F00",
    "untrained": "#56B4E9",
    "shuffled": "#000000",
}
_MARKERS = {"seen": "o", "unseen": "^", "lfw": "s"}
_DASHES = {"two_stage": (0, (5, 1.5)), "untrained": (0, (3, 1.5)), "shuffled": (0, (1.2, 1.2))}
_INTRA, _INTER = "#0072B2", "#E69F00"
# With two shapes they tell twelve people apart.
_PERSONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
_NOT_MEASURED = {"s": "not measured", "ha": "center", "va": "center", "color": GREY}


def _need(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    if not len(rows):
        raise ValueError(f"{what}: no rows")
    return rows


def _of_arm(table: pd.DataFrame, arm: str, what: str) -> pd.DataFrame:
    """The arm's rows, of one dataset and profile."""
    _need(table, what)
    rows = table[table["arm"] == arm]
    if not len(rows):
        raise ValueError(f"{what}: no rows of arm {arm}; there are {', '.join(set_of(table.arm))}")
    for column in ("dataset", "profile"):
        found = set_of(rows[column])
        if len(found) > 1:
            raise ValueError(f"{what}: several in column {column} ({', '.join(found)}); choose one")
    return rows


def set_of(values: Iterable) -> list[str]:
    return sorted({str(value) for value in values})


def _people_label(people: str) -> str:
    return PEOPLE.get(people, people)


def _people_style(people: str) -> dict:
    """Colour, marker and line of a group; groups that are not known look alike, and grey."""
    colour = _COLOURS.get(people, GREY)
    return {
        "color": colour,
        "marker": _MARKERS.get(people, "D"),
        "linestyle": _DASHES.get(people, "-"),
        "markerfacecolor": "white" if people in CONTROLS else colour,
    }


# --- measures with intervals ----------------------------------------------------------------------


class _Line(NamedTuple):
    """A labelled line of a figure of dots: one lane a seed."""

    label: str
    rows: pd.DataFrame
    style: dict


def _dots(
    blocks: Sequence[tuple[str, list[_Line]]], metrics: Sequence[str], headings: bool
) -> tuple[Figure, Sequence[Axes]]:
    """A panel a metric; lines with a dot and interval a seed, in blocks that a rule divides."""
    lanes, ticks, rules, titles, y = [], [], [], [], 0.0
    for at, (heading, lines) in enumerate(blocks):
        if at:
            rules.append(y)
            y += 1
        if headings:
            titles.append((y, heading))
            y += 1
        for line in lines:
            groups = list(line.rows.groupby("seed"))
            ticks.append((y + (len(groups) - 1) * 0.35, line.label))
            for _, rows in groups:
                lanes.append((y, rows, line.style))
                y += 0.7
            y += 0.3
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(TEXT, 0.17 * y + 1.0), sharey=True, squeeze=False
    )
    axes = axes[0]
    for axis, name in zip(axes, metrics, strict=True):
        metric = METRICS.get(name, Metric(name.replace("_", " "), 1, True))
        shown = []
        for lane, rows, style in lanes:
            for row in rows[rows["metric"] == name].itertuples():
                numbers = metric.scale * np.array([row.value, row.low, row.high])
                shown += list(numbers[np.isfinite(numbers)])
                if np.isfinite(numbers[1:]).all():
                    axis.plot(numbers[1:], [lane] * 2, color=style["color"], linewidth=1.5)
                axis.plot(
                    numbers[0], lane, **style | {"linestyle": ""}, ms=4.5, markeredgewidth=1.1
                )
        for rule in rules:
            axis.axhline(rule, color=PALE, linewidth=0.6)
        axis.set_title(metric.label, fontsize=8, linespacing=1.0)
        axis.set_xlabel(
            ("%, " if metric.scale == 100 else "")
            + ("better →" if metric.higher_is_better else "← better"),
            fontsize=8,
        )
        if shown:
            room = 0.08 * np.ptp(shown) or 0.02 * metric.scale
            axis.set_xlim(min(shown) - room, max(shown) + room)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    for y_title, heading in titles:
        ticks.append((y_title, heading))
    axes[0].set_yticks(*zip(*ticks, strict=True), fontsize=7.5)
    axes[0].set_ylim(y - 0.2, -0.8)
    return figure, axes


def _present(table: pd.DataFrame, metrics: Sequence[str], what: str) -> list[str]:
    found = [name for name in metrics if (table["metric"] == name).any()]
    if not found:
        raise ValueError(f"{what}: no rows of {', '.join(metrics)}")
    return found


@styled
def compactness(
    table: pd.DataFrame,
    arm: str = "linear",
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "precision_at_1",
        "dprime",
        "silhouette",
        "compactness_ratio",
    ),
) -> Figure:
    """How compact embeddings are: of people seen, never seen, of another collection, and controls.

    Dots with 95 % intervals; each seed has a dot. A dotted line marks chance where it is known.

    Args:
        table: ``experiment3.csv``: ``dataset, profile, seed, people, arm, metric, value, low,
            high``; shares in 0–1, bounds may be NaN. Datasets stand in blocks.
        arm: the training variant shown.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of the arm, or of any of the metrics.
    """
    rows = _need(table, "experiment3")
    rows = rows[rows["arm"] == arm]
    if not len(rows):
        raise ValueError(
            f"experiment3: no rows of arm {arm}; there are {', '.join(set_of(table['arm']))}"
        )
    metrics = _present(rows, metrics, f"experiment3, arm {arm}")
    rows = rows[rows["metric"].isin(metrics)]
    blocks = []
    for (dataset, profile), block in rows.groupby(["dataset", "profile"]):
        lines = [
            _Line(_people_label(name), block[block["people"] == name], _people_style(name))
            for name in in_order(block["people"], list(PEOPLE))
        ]
        blocks.append((f"{dataset}, {profile}:", lines))
    figure, axes = _dots(blocks, metrics, headings=len(blocks) > 1)
    for axis, name in zip(axes, metrics, strict=True):
        metric = METRICS.get(name)
        if metric and metric.chance is not None:
            axis.axvline(metric.scale * metric.chance, color=GREY, linewidth=0.9, linestyle=":")
    handles = [
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=":", label="chance"),
        Line2D([], [], color=GREY, marker="D", markerfacecolor="white", lw=0, label="control"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=7.5)
    return figure


@styled
def ablation(
    table: pd.DataFrame,
    people: str = "unseen",
    metrics: Sequence[str] = (
        "verification_accuracy",
        "map_at_r",
        "fnir_at_fpir_1e1",
        "dprime",
    ),
) -> Figure:
    """What training makes embeddings compact: losses, dimensions, where the embedding is read.

    Dots with 95 % intervals; each seed has a dot. The pale line is the thesis's own loss.

    Args:
        table: ``experiment3.csv``: as in :func:`compactness`.
        people: the group shown.
        metrics: a panel each; those without a row are left out.

    Raises:
        ValueError: no rows of these people, or of any of the metrics; several datasets.
    """
    raise NotImplementedError


@styled
def curves(table: pd.DataFrame, arm: str = "linear") -> Figure:
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
    raise NotImplementedError


@styled
def similarity_histograms(
    similarities: pd.DataFrame, results: pd.DataFrame, arm: str = "linear"
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
    raise NotImplementedError


@styled
def factor_curves(table: pd.DataFrame, arm: str = "linear") -> Figure:
    """Similarity of two photos of one person against what differs between them.

    Args:
        table: ``experiment3_factors.csv``: ``dataset, profile, seed, people, arm, factor`` (yaw,
            light, session), ``pairs`` ("intra" or "inter"), ``low, high`` (edges of a bin of the
            difference, degrees; session: 0 the same, 1 another), ``mean, interval_low,
            interval_high`` (cosine).
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    raise NotImplementedError


@styled
def embedding_map(
    map_table: pd.DataFrame,
    thumbnails: Mapping[str, np.ndarray] | None = None,
    arm: str = "linear",
) -> Figure:
    """Maps of the embeddings: a column a method, a row a seed of the map.

    Up to six people seen and six never seen have a colour: those of most photos. All others are
    grey. Trustworthiness and continuity are printed under each map.

    Args:
        map_table: ``experiment3_map.csv``: ``dataset, profile, arm, method`` ("umap" or "tsne"),
            ``map_seed, photo, identity, people`` ("seen" or "unseen"), ``x, y, trustworthiness,
            continuity``.
        thumbnails: photo to uint8 [h, w, 3] RGB; some are drawn where they do not overlap.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    raise NotImplementedError
