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

from thesislib.reporting.figures.embeddings import MARKERS, not_measured, of_arm
from thesislib.reporting.figures.style import TEXT, in_order, short, styled
from thesislib.reporting.labels import PEOPLE_LABELS, people_label
from thesislib.reporting.language import _

Persons = dict[tuple[str, str], str]  # group and identity of people in colour, their colour

METHODS = {"umap": "UMAP", "tsne": "t-SNE"}
_PERSONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
_TALL = 0.8  # height of a map by its width


@styled
def embedding_map(
    map_table: pd.DataFrame,
    thumbnails: Mapping[tuple[str, str], np.ndarray] | None = None,
    arm: str = "normalised",
) -> Figure:
    """Maps of the embeddings: a row a method, a column a group of people.

    Maps of a row are one map, whose groups stand beside each other. Up to six people of a group
    have a colour, those of most photos, and lines to the middle of their photos. All others are
    grey. Trustworthiness and continuity of each group stand below. Of several seeds of a map the
    first is drawn.

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
    rows = rows[rows["map_seed"] == rows["map_seed"].min()]
    methods = in_order(rows["method"], list(METHODS))
    groups = in_order(rows["people"], list(PEOPLE_LABELS))
    width = TEXT if len(groups) > 1 else 4.2
    tall = _TALL * width / len(groups) + 0.45
    figure, axes = plt.subplots(
        len(methods), len(groups), figsize=(width, tall * len(methods) + 0.5), squeeze=False
    )
    persons = _highlighted(rows)
    places = []
    for line, method in zip(axes, methods, strict=True):
        of_method = rows[rows["method"] == method]
        for axis, people in zip(line, groups, strict=True):
            one = of_method[of_method["people"] == people]
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{METHODS.get(method, method)}, {people_label(people)}")
            if not len(one):
                axis.spines[:].set_visible(False)
                not_measured(axis)
                continue
            axis.spines[:].set_visible(True)
            axis.spines[:].set_color("#CCCCCC")
            _scatter(axis, one, persons)
            _same_frame(axis, of_method)
            axis.set_xlabel(
                _("trustworthiness {trust:.3f}, continuity {kept:.3f}").format(
                    trust=one["trustworthiness"].iloc[0], kept=one["continuity"].iloc[0]
                )
            )
            places.append((axis, one))
    figure.legend(
        handles=_map_legend(rows, persons),
        loc="outside upper center",
        ncols=len(_PERSONS) + 1,
        handletextpad=0.1,
        columnspacing=0.9,
    )
    if thumbnails:
        figure.draw_without_rendering()  # where things lie on the page is known only now
        for axis, one in places:
            _draw_thumbnails(axis, one, thumbnails, persons)
    return figure


def _same_frame(axis: Axes, of_method: pd.DataFrame) -> None:
    """The whole map's limits, of one scale in both directions."""
    middle = (of_method[["x", "y"]].max() + of_method[["x", "y"]].min()) / 2
    half_x, half_y = 1.16 * np.ptp(of_method[["x", "y"]].to_numpy(), axis=0) / 2
    half = max(half_x, half_y / _TALL, 1e-6)
    axis.set(
        xlim=(middle["x"] - half, middle["x"] + half),
        ylim=(middle["y"] - half * _TALL, middle["y"] + half * _TALL),
        aspect="equal",
    )


def _highlighted(rows: pd.DataFrame) -> Persons:
    """Group and identity of those in colour, and their colours: of most photos, then by name."""
    colours: Persons = {}
    for people, own in rows.groupby("people"):
        photos = own.groupby("identity")["photo"].nunique()
        first = sorted(photos.index, key=lambda name: (-photos[name], name))[: len(_PERSONS)]
        colours |= {(people, name): c for name, c in zip(sorted(first), _PERSONS, strict=False)}
    return colours


def _scatter(axis: Axes, one: pd.DataFrame, persons: Persons) -> None:
    """The photos of a group, the grey ones first, so that they hide nobody."""
    people = one["people"].iloc[0]
    style: dict[str, Any] = {"marker": MARKERS.get(people, "D")}
    own = one.groupby("identity")
    grey = [name for name in own.groups if (people, name) not in persons]
    rest = one[one["identity"].isin(grey)]
    axis.scatter(rest["x"], rest["y"], 7, "#C4C4C4", linewidth=0, zorder=1, **style)
    for name, photos in own:
        if name in grey:
            continue
        colour = persons[people, name]
        middle = photos[["x", "y"]].median()
        for x, y in photos[["x", "y"]].to_numpy():
            axis.plot([middle["x"], x], [middle["y"], y], color=colour, linewidth=0.6, zorder=2)
        axis.scatter(
            photos["x"], photos["y"], 15, colour, linewidth=0.3, edgecolor="white", zorder=3,
            **style,
        )  # fmt: skip


def _map_legend(rows: pd.DataFrame, persons: Persons) -> list[Line2D]:
    """Row by row as it is read: a group's persons, its others."""
    lines = []
    for people in in_order(rows["people"], list(PEOPLE_LABELS)):
        marker: dict[str, Any] = {"marker": MARKERS.get(people, "D"), "linewidth": 0}
        marker["markersize"] = 4
        own = [(name, colour) for (group, name), colour in persons.items() if group == people]
        line = [Line2D([], [], color=c, label=short(name, 12), **marker) for name, c in own]
        line += [Line2D([], [], alpha=0, label=" ")] * (len(_PERSONS) - len(own))
        label = _("others {people}").format(people=people_label(people))
        lines.append([*line, Line2D([], [], color="#C4C4C4", label=label, **marker)])
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
    inches = 0.3
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
                # Nor may the line to the photo cross a face.
                line = at + np.linspace(0, 1, 12)[:, None] * (places[nearest] - at)
                apart = np.abs(taken[:, None] - line).max(axis=2)
                if (apart < side / 2).any():
                    continue
                hidden = weights[np.abs(points - at).max(axis=1) < side / 2].sum()
                if hidden + 4 * distance < least:
                    best, least = at, hidden + 4 * distance
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
