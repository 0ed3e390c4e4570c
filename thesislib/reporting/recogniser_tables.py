"""Printed tables of the published net: what it reaches, for whom, and how fast."""

import numpy as np
import pandas as pd

from thesislib.reporting.labels import (
    ENGINE_LABELS,
    RECOGNISER_LABELS,
    engine_label,
    recogniser_label,
)
from thesislib.reporting.language import N_, _, ngettext
from thesislib.tables import RECOGNISERS

MEASURES = {  # in the order of the table; the factor of what is printed, and its digits
    "verification_other_sittings": (N_("same person? photos of other sittings"), 100, 1),
    "verification": (N_("same person?"), 100, 1),
    "session_joint_accuracy_50": (N_("found and named by the other clips' means"), 100, 1),
    "enrolled_joint_accuracy_50": (N_("found and named by the other photos' means"), 100, 1),
    "fnir_at_fpir_1e2": (N_("enrolled but not named, at 1 % of strangers named"), 100, 1),
    "fnir_at_fpir_1e1": (N_("enrolled but not named, at 10 %"), 100, 1),
    "published_fpir_5": (N_("strangers named by a gallery of 5 people, three photos each"), 100, 1),
    "published_fnir_5": (N_("its people not named"), 100, 1),
    "published_fpir_20": (N_("strangers named by a gallery of 20 people"), 100, 1),
    "published_fnir_20": (N_("its people not named"), 100, 1),
    "ap50": ("AP50", 1, 3),
    "ap50_32px": (N_("AP50, faces of 32 pixels and more"), 1, 3),
    "false_boxes_per_100_empty": (N_("false boxes in 100 photos without a face"), 1, 1),
    "landmark_error": (N_("landmarks, distance over that of the eyes"), 100, 1),
    "teacher_distance": (N_("distance to dlib's recogniser (1: knows only its mean)"), 1, 3),
    "teacher_distance_found": (N_("the same, of the faces found"), 1, 3),
    "false_match_rate": (N_("strangers who match, at one in a thousand of all"), 1000, 2),
}
READINGS = {  # where an embedding is read; nets taught by one teacher from the same photos
    "default": N_("at landmarks"),
    "roi": N_("under the box"),
    "grid": N_("at the cell"),
}
_READ = (  # what is told of them: measure, dataset, column
    ("verification", "lfw", N_("same person?, lfw")),
    ("enrolled_joint_accuracy_50", "lfw", N_("found and named, lfw")),
    ("ms_1_face", "synthetic", N_("ms, 1 face")),
    ("ms_32_faces", "synthetic", N_("ms, 32 faces")),
)
_TIME = ("ms", 1, 1)
_CURVE = (
    ("ap50", "fairface", "AP50, fairface"),
    ("teacher_distance_found", "fairface", N_("distance of faces found, fairface")),
    ("verification", "lfw", N_("same person?, lfw")),
    ("enrolled_joint_accuracy_50", "lfw", N_("found and named, lfw")),
)


def measures(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """``recogniser.csv`` of everybody, a row a measure and dataset, a column a system.

    Returns:
        what the columns mean, the cells, and how many columns are words.
    """
    rows = of_everybody(table)
    # Times, nets that read elsewhere, and those that learned from less have tables of their own.
    others = {*list(READINGS)[1:], *learned_from(table)["system"]}
    rows = rows[rows["measure"].isin(MEASURES) & ~rows["system"].map(_net_of).isin(others)]
    if not len(rows):
        raise ValueError("recogniser: no rows of whole datasets")
    systems = _systems(rows)
    pixels = rows.loc[rows["system"] == "default", "input_px"]
    about = _(
        "Whole photos in, the system's own boxes and landmarks; in percent but for AP50 and the "
        "distance, false matches in 1000; in brackets 95 % intervals over people. The published "
        "net takes photos of {px:.0f} pixels on the shorter side. A face that is not "
        "found is compared by noise, and left out of strangers who match."
    ).format(px=pixels.max())
    if rows["measure"].str.startswith("published_").any():
        galleries = _(
            "Galleries have the threshold that was published for one stranger in ten; means over "
            "40 of them."
        )
        about = f"{about} {galleries}"
    cells = []
    for measure, (label, scale, digits) in MEASURES.items():
        of_measure = rows[rows["measure"] == measure]
        for dataset, own in of_measure.groupby("dataset", sort=False):
            by_system = {row["system"]: row for row in own.to_dict("records")}
            told = [_cell(by_system.get(system), scale, digits) for system in systems]
            cells.append([_(label), str(dataset), *told])
    header = [_("Measure"), _("Dataset"), *map(_label, systems)]
    return about, pd.DataFrame(cells, columns=header), 2


def readings(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """The arms of ``recogniser.csv``, a row a place where embeddings are read, see
    :func:`measures`.

    Times are of the run in which the published net was timed last: those of others cannot be
    compared with it.

    Raises:
        ValueError: no such rows.
    """
    rows = of_everybody(table)
    rows = rows[rows["system"].isin(READINGS)]
    if rows["system"].nunique() < 2:
        raise ValueError("recogniser: no rows of nets that read elsewhere than at landmarks")
    is_time = rows["measure"].str.startswith("ms_")
    run = rows.loc[is_time & (rows["system"] == "default"), "run"]
    rows = rows[~is_time | rows["run"].isin(run)]
    engines = rows.loc[rows["measure"].str.startswith("ms_"), "machine"].str.split(", ").str[-1]
    about = _("Nets taught by dlib's recogniser, by where a face's embedding is read.")
    if len(engines):
        told = _(
            "In percent, in PyTorch, and milliseconds on {engines}; in brackets 95 % intervals "
            "over people."
        ).format(engines=", ".join(map(engine_label, engines.unique())))
    else:
        told = _("In percent, in PyTorch; in brackets 95 % intervals over people.")
    about = f"{about} {told}"
    by = {(row["system"], row["measure"], row["dataset"]): row for row in rows.to_dict("records")}
    cells = [
        [_(label)]
        + [
            _cell(by.get((system, measure, on)), *MEASURES.get(measure, _TIME)[1:])
            for measure, on, _column in _READ
        ]
        for system, label in READINGS.items()
        if system in set(rows["system"])
    ]
    header = [_("Read"), *(_(column) for *_key, column in _READ)]
    return about, pd.DataFrame(cells, columns=header), 1


def learned_from(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``recogniser.csv``, of everybody, of nets that learned from a known number of
    portraits and views, and from nothing else."""
    rows = of_everybody(table)
    return rows[rows["views"].notna()] if "views" in rows else rows[:0]


def curve(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """What nets that learned from so many portraits and views reach, a row a net, see
    :func:`measures`."""
    rows = learned_from(table)
    if not len(rows):
        raise ValueError("recogniser: no rows of nets that learned from so many views")
    about = _(
        "Nets that read faces at landmarks, by the portraits and views that they learned from; "
        "these from portraits alone. In percent but for AP50 and the distance to dlib; in brackets "
        "95 % intervals over people. Last the published net, which has learned from scenes too."
    )
    there = set(zip(rows["measure"], rows["dataset"], strict=True))
    columns = [told for told in _CURVE if told[:2] in there]
    cells = []
    nets = rows.sort_values(["portraits", "views"]).groupby(
        ["portraits", "views", "system"], sort=False
    )
    published = of_everybody(table)
    published = published[published["system"] == "default"]
    told = [*((key[:2], own) for key, own in nets), ((np.nan, np.nan), published)]
    for counts, own in told:
        by = {(row["measure"], row["dataset"]): row for row in own.to_dict("records")}
        if not by:
            continue
        cells.append(
            ["–" if np.isnan(count) else f"{count:.0f}" for count in counts]
            + [
                _cell(by.get((measure, on)), *MEASURES[measure][1:])
                for measure, on, _column in columns
            ]
        )
    header = [_("Portraits"), _("Views"), *(_(column) for *_key, column in columns)]
    return about, pd.DataFrame(cells, columns=header), 2


def groups(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """The rows of groups, a row a group, see :func:`measures`."""
    rows = table[(table["group"].fillna("") != "") & (table["profile"] == "default")]
    rows = rows[(rows["seed"] == rows["seed"].min()) & rows["system"].isin(RECOGNISERS)]
    if not len(rows):
        raise ValueError("recogniser: no rows of groups")
    if rows["dataset"].nunique() > 1:
        raise ValueError(f"recogniser: groups of {', '.join(rows['dataset'].unique())}; choose one")
    about = _(
        "Faces from which the net has not learned. Distance: of its embeddings to dlib's of the "
        "aligned face, over the spread of dlib's. False matches: of 1000 pairs of strangers within "
        "the group, at the threshold at which one in 1000 pairs of all match; dlib's own beside "
        "it. In false matches each has the faces alone that it finds."
    )
    cells = []
    for group, own in rows.groupby("group", sort=False):
        by = {(row["measure"], row["system"]): row for row in own.to_dict("records")}
        count = int(own["n"].max())
        distance = _cell(by.get(("teacher_distance", "default")), 1, 3)
        matches = [
            _cell(by.get(("false_match_rate", system)), 1000, 2)
            for system in ("default", "teacher_aligned")
        ]
        cells.append([str(group), f"{count}", distance, *matches])
    header = [_("Group"), _("Faces"), _("Distance"), _("False matches")]
    header.append(_("False matches, dlib"))
    return about, pd.DataFrame(cells, columns=header), 1


def speed(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """``recogniser_speed.csv``, a row a system and engine, a column a number of faces; nets that
    read elsewhere have their times in :func:`readings`."""
    table = table[~table["system"].isin(list(READINGS)[1:])]
    machine, threads = table["machine"].iloc[0], table["threads"].iloc[0]
    counts = sorted(int(count) for count in table["faces"].unique())
    about = _(
        "{machine}, {threads} threads; photos of synthetic people, 480 pixels on the shorter "
        "side: ms per photo, median, and in brackets how many times as fast as dlib that is, turn "
        "by turn."
    ).format(machine=machine, threads=threads)
    cells, most = [], max(counts)
    for (system, engine, px), own in table.groupby(["system", "engine", "input_px"], sort=False):
        at = own.set_index("faces")
        times = [
            f"{at['ms_median'][count]:.1f} [{at['ratio_to_dlib'][count]:.1f}]"
            if count in at.index
            else "–"
            for count in counts
        ]
        seen = f"{at['found'][most]:.0f}" if most in at.index else "–"
        cells.append([recogniser_label(system), engine_label(engine), f"{px}", *times, seen])
    faces = [ngettext("{n} face", "{n} faces", count).format(n=count) for count in counts]
    columns = [_("System"), _("Engine"), _("Input"), *faces, _("Found of {n}").format(n=most)]
    return about, pd.DataFrame(cells, columns=columns), 2


def face_sizes(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """``face_sizes.csv`` of one dataset, a row a size, both readings of each measure beside each
    other."""
    rows = table[(table["profile"] == "default") & (table["system"] == "default")]
    if not len(rows) or rows["dataset"].nunique() > 1:
        raise ValueError("face_sizes: expected the rows of one dataset")
    rows = rows.set_index(["measure", "reading", "size_px"])
    people = int(rows.loc[("found", "once"), "n"].max())
    about = _(
        "Photos of {people} people of {dataset}, made smaller and laid on grey, "
        "{px} pixels in all; each is compared with another photo of the "
        "same person and with those of the others. Known again: found, and at or above the "
        "threshold of the published net. In percent, strangers in 1000; in brackets 95 % intervals "
        "over people."
    ).format(people=people, dataset=rows["dataset"].iloc[0], px=rows["input_px"].iloc[0])
    shown = (("found", 100, 1), ("known_again", 100, 1), ("strangers", 1000, 1))
    cells = []
    for size in sorted(rows.index.get_level_values("size_px").unique()):
        line = [f"{size}"]
        for measure, scale, digits in shown:
            for reading in ("once", "closer"):
                row = rows.loc[(measure, reading, size)]
                line.append(_cell(row.to_dict(), scale, digits))
        cells.append(line)
    words = (_("Found"), _("Known again"), _("Strangers"))
    columns = [f"{word}, {reading}" for word in words for reading in (_("read once"), _("again"))]
    return about, pd.DataFrame(cells, columns=[_("Side, pixels"), *columns]), 0


def of_everybody(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole datasets and of no group in them; of several seeds those of the first."""
    rows = table[(table["group"].fillna("") == "") & (table["profile"] == "default")]
    rows = rows.sort_values("seed", kind="stable")
    return rows.drop_duplicates(["measure", "dataset", "system"]).sort_index()


def _systems(rows: pd.DataFrame) -> list[str]:
    there = list(dict.fromkeys(rows["system"]))
    return [
        *(one for one in RECOGNISER_LABELS if one in there),
        *(one for one in there if one not in RECOGNISER_LABELS),
    ]


def _label(system: str) -> str:
    """Name of a system; of one that an engine runs, that of the engine behind it."""
    net = _net_of(system)
    if net != system:
        return f"{recogniser_label(net)}, {engine_label(system.removeprefix(net + '_'))}"
    return recogniser_label(system)


def _net_of(system: str) -> str:
    """The net of a system, without the engine that runs it."""
    for engine in sorted(ENGINE_LABELS, key=len, reverse=True):
        if system.endswith(f"_{engine}"):
            return system.removesuffix(f"_{engine}")
    return system


def _cell(row: dict | None, scale: float, digits: int) -> str:
    if row is None:
        return "–"
    told = f"{scale * row['value']:.{digits}f}"
    if pd.isna(row["low"]):
        return told
    return f"{told} [{scale * row['low']:.{digits}f}, {scale * row['high']:.{digits}f}]"
