"""Figures of Experiment 3: maps."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from thesislib.reporting.figures.embeddings import MARKERS, NOT_MEASURED, of_arm
from thesislib.reporting.figures.style import TEXT, in_order, short, styled
from thesislib.reporting.labels import PEOPLE_LABELS, people_label

Persons = dict[tuple[str, str], str]  # group and identity of people in colour, their colour

METHODS = {"umap": "UMAP", "tsne": "t-SNE"}
# With two shapes they tell twelve people apart.
_PERSONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9")


@styled
def embedding_map(
    map_table: pd.DataFrame,
    thumbnails: Mapping[tuple[str, str], np.ndarray] | None = None,
    arm: str = "normalised",
) -> Figure:
    """Maps of the embeddings: a column a method, a row a seed of the map.

    Up to six people seen and six never seen have a colour: those of most photos. All others are
    grey. Trustworthiness and continuity of each group are printed under each map.

    Args:
        map_table: ``experiment3_map.csv``: ``dataset, profile, arm, method`` ("umap" or "tsne"),
            ``map_seed, photo, identity, people`` ("seen" or "unseen"), ``x, y, trustworthiness,
            continuity``.
        thumbnails: photo and identity to uint8 [h, w, 3] RGB; some are drawn where they do not
            overlap.
        arm: the training variant shown.

    Raises:
        ValueError: no rows of the arm; several datasets or profiles.
    """
    rows = of_arm(map_table, arm, "experiment3_map")
    methods = in_order(rows["method"], list(METHODS))
    map_seeds = sorted(set(rows["map_seed"]))
    # The first seed's maps are large; the others only have to show that they are like it.
    heights = [3.1, *[1.9] * (len(map_seeds) - 1)]
    figure, axes = plt.subplots(
        len(map_seeds),
        len(methods),
        figsize=(TEXT if len(methods) > 1 else 4.2, sum(heights) + 0.3 * len(heights) + 0.5),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    persons = _highlighted(rows)
    places = []
    for line, map_seed in enumerate(map_seeds):
        for axis, method in zip(axes[line], methods, strict=True):
            one = rows[(rows["method"] == method) & (rows["map_seed"] == map_seed)]
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if not len(one):
                axis.text(0.5, 0.5, transform=axis.transAxes, **NOT_MEASURED)
                continue
            size = 13 if line == 0 else 6
            _scatter(axis, one, persons, size)
            axis.set_title(f"{METHODS.get(method, method)}, map seed {map_seed}")
            axis.set_xlabel(_trust(one), fontsize=8)
            axis.set_aspect("equal", adjustable="datalim")
            axis.margins(0.08)
            if line == 0:
                places.append((axis, one))
    figure.legend(handles=_map_legend(rows, persons), loc="outside upper center", ncols=7,
                  fontsize=7, handletextpad=0.1, columnspacing=0.9)  # fmt: skip
    if thumbnails and places:
        figure.draw_without_rendering()  # where things lie on the page is known only now
        for axis, one in places:
            _draw_thumbnails(axis, one, thumbnails, persons)
    return figure


def _trust(one: pd.DataFrame) -> str:
    """How far a map is to be trusted, a line a group of people."""
    of_group = one.groupby("people")[["trustworthiness", "continuity"]].first()
    return "\n".join(
        f"{people_label(people)}: trustworthiness {of_group['trustworthiness'][people]:.3f}, "
        f"continuity {of_group['continuity'][people]:.3f}"
        for people in in_order(one["people"], list(PEOPLE_LABELS))
    )


def _highlighted(rows: pd.DataFrame) -> Persons:
    """Group and identity of those in colour, and their colours: of most photos, then by name."""
    colours: Persons = {}
    for people, own in rows.groupby("people"):
        photos = own.groupby("identity")["photo"].nunique()
        first = sorted(photos.index, key=lambda name: (-photos[name], name))[: len(_PERSONS)]
        colours |= {(people, name): c for name, c in zip(sorted(first), _PERSONS, strict=False)}
    return colours


def _scatter(axis: Axes, one: pd.DataFrame, persons: Persons, size: float) -> None:
    # The grey ones first, so that they hide nobody.
    keys = list(zip(one["people"], one["identity"], strict=True))
    coloured = np.array([key in persons for key in keys])
    for people in in_order(one["people"], list(PEOPLE_LABELS)):
        own = (one["people"] == people).to_numpy()
        rest = one[own & ~coloured]
        style: dict[str, Any] = {"marker": MARKERS.get(people, "D")}
        axis.scatter(rest["x"], rest["y"], size * 0.5, "#BBBBBB", linewidth=0, zorder=1, **style)
        chosen = one[own & coloured]
        colours = [persons[(people, name)] for name in chosen["identity"]]
        style |= {"linewidth": 0.3, "edgecolor": "white", "zorder": 2}
        axis.scatter(chosen["x"], chosen["y"], size, colours, **style)


def _map_legend(rows: pd.DataFrame, persons: Persons) -> list[Line2D]:
    """Row by row as it is read: a group, its persons, its others."""
    lines = []
    for people in in_order(rows["people"], list(PEOPLE_LABELS)):
        marker: dict[str, Any] = {"marker": MARKERS.get(people, "D"), "linewidth": 0}
        marker["markersize"] = 4
        own = [(name, colour) for (group, name), colour in persons.items() if group == people]
        line = [Line2D([], [], color=c, label=short(name, 12), **marker) for name, c in own]
        line += [Line2D([], [], alpha=0, label=" ")] * (len(_PERSONS) - len(own))
        label = f"others {people_label(people)}"
        lines.append([*line, Line2D([], [], color="#BBBBBB", label=label, **marker)])
    # matplotlib fills a legend column by column
    return [handle for column in zip(*lines, strict=True) for handle in column]


def _draw_thumbnails(
    axis: Axes,
    one: pd.DataFrame,
    thumbnails: Mapping[tuple[str, str], np.ndarray],
    persons: Persons,
) -> None:
    """A face of each person in colour, beside the photo amid that person's, where least is hidden.

    A person is left out where there is no room.
    """
    inches = 0.25
    side = inches * axis.figure.dpi * 1.25  # with its frame
    frame = axis.get_window_extent()
    points = axis.transData.transform(one[["x", "y"]].to_numpy())
    keys = list(zip(one["people"], one["identity"], strict=True))
    faces = list(zip(one["photo"], one["identity"], strict=True))
    weights = np.array([4.0 if key in persons else 1.0 for key in keys])
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    compass = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    taken = np.empty((0, 2))
    for person, colour in persons.items():
        own = np.array([key == person for key in keys])
        own &= np.array([face in thumbnails for face in faces])
        if not own.any():
            continue
        places = points[own]
        nearest = np.abs(places - np.median(places, axis=0)).sum(axis=1).argmin()
        best, least = None, np.inf
        for distance in (1.0, 1.5, 2.0, 2.7, 3.5):
            for at in places[nearest] + distance * side * compass:
                inside = np.all(at - side / 2 > frame.p0) and np.all(at + side / 2 < frame.p1)
                if not inside or (np.abs(taken - at).max(axis=1, initial=0) < side).any():
                    continue
                hidden = weights[np.abs(points - at).max(axis=1) < side / 2].sum()
                if hidden + distance < least:
                    best, least = at, hidden + distance
        if best is None:
            continue
        taken = np.vstack([taken, best])
        row = one[own].iloc[nearest]
        face = thumbnails[row["photo"], row["identity"]]
        axis.add_artist(
            AnnotationBbox(
                OffsetImage(face, zoom=inches * 72 / max(face.shape[:2])),
                (row["x"], row["y"]),
                tuple(axis.transData.inverted().transform(best)),
                pad=0.08,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7},
                bboxprops={"edgecolor": colour, "linewidth": 1.0},
            )
        )
