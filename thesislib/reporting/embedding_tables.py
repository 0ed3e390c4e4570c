"""Tables of Experiment 3 over seeds: groups of people, arms, and their differences.

Each is of one dataset and profile; the cells are those of :mod:`thesislib.reporting.tables`.
"""

from collections.abc import Iterator

import pandas as pd

from thesislib.reporting.experiment1_tables import difference_cells, finding
from thesislib.reporting.labels import (
    ARM_LABELS,
    PEOPLE_LABELS,
    STARTS,
    arm_label,
    people_label,
    seen_by,
    system_label,
)
from thesislib.reporting.language import N_, _
from thesislib.tables import MAIN_ARM, OF_SIZE, REFERENCES, STARTED_ARM, one_run

_COLUMNS = {
    "verification_accuracy": (N_("Verification"), 100),
    "map_at_r": ("MAP@R", 100),
    "precision_at_1": (N_("Precision@1"), 100),
    "fnir_at_fpir_1e1": (N_("FNIR at FPIR 10 %"), 100),
    "dprime": ("d′", 1),
}
COMPARED = {"map_at_r": "MAP@R", "precision_at_1": N_("precision@1")}
_MEASURES = N_(
    "One photo of every scene of a person; people of all seeds, and their scenes on average. "
    "Verification: share of pairs of photos told right, one "
    "person or two; chance is 50 %. MAP@R, precision@1: are the nearest photos of the same person? "
    "FNIR: share of enrolled people's photos that are not named where 10 % of strangers' are "
    "(FPIR). d′: distance between the mean similarity within people and between them, in standard "
    "deviations. Means over seeds, with 95 % intervals in which people are drawn; a number without "
    "one comes from too few people. Of people seen two scenes are kept, and MAP@R, precision@1 and "
    "FNIR depend on how many are searched: they are not shown beside others. Seeds: MAP@R of each."
)
_ORDER = {name: at for at, name in enumerate((*PEOPLE_LABELS, *REFERENCES))}
_Table = tuple[str, pd.DataFrame, int]


def systems(table: pd.DataFrame) -> _Table:
    """Who is compared and what sees them: joint nets, pipelines, references, controls."""
    rows = []
    for people, arm, own in _lines(table):
        if arm in (MAIN_ARM, STARTED_ARM):
            rows.append([*seen_by(people, own["start"].iloc[0]), *_cells(own)])
    groups = [*map(people_label, PEOPLE_LABELS), *(row[0] for row in rows)]
    rows.sort(key=lambda row: groups.index(row[0]))
    return _(_MEASURES), pd.DataFrame(rows, columns=_header(_("People"), _("Seen by"))), 2


def arms(table: pd.DataFrame) -> _Table:
    """People never seen, by what was changed in training."""
    found = {
        arm: own
        for group, arm, own in _lines(table)
        if group == "unseen" and not arm.startswith(("people_", "photos_"))
    }
    order = [*ARM_LABELS, *found]
    rows = [
        [arm_name(arm, found[arm]["start"].iloc[0]), *_cells(found[arm])]
        for arm in sorted(found, key=order.index)
    ]
    told = _("People never seen, by what was changed in training.")
    return f"{told} {_(_MEASURES)}", pd.DataFrame(rows, columns=_header(_("Arm"))), 1


def learning(table: pd.DataFrame) -> _Table:
    """People never seen, by how many people and photos were learned.

    Raises:
        ValueError: no rows of fewer people or photos.
    """
    rows = []
    for people, arm, own in _lines(table):
        fewer = arm.startswith(("people_", "photos_"))
        if (fewer or arm == MAIN_ARM) and people in _grouped(table):
            learned = [round(own[f"learned_{what}"].iloc[0]) for what in ("people", "photos")]
            rows.append([seen_by(people)[0], *map(str, learned), *_cells(own)])
    if not table["arm"].str.startswith(("people_", "photos_")).any():
        raise ValueError("experiment3_seeds: no rows of arms people_<number> or photos_<number>")
    rows.sort(key=lambda row: (row[0] != people_label("unseen"), row[0], int(row[1]), int(row[2])))
    told = _(
        "People never seen, by how many people and photos were learned, on average over seeds, in "
        "equally many steps."
    )
    header = _header(_("People"), _("People learned"), _("Photos learned"))
    return f"{told} {_(_MEASURES)}", pd.DataFrame(rows, columns=header), 1


def _grouped(table: pd.DataFrame) -> set[str]:
    """Groups that arms of fewer people are measured on, but those seen: they are others each."""
    return set(table["people"][table["arm"].str.startswith(("people_", "photos_"))]) - {"seen"}


def pairs(table: pd.DataFrame) -> _Table:
    """What may be said of embeddings of the same faces."""
    table = _of_one(table, "experiment3_pairs")
    about = _(
        "Embeddings less others of the same faces, query by query, in percentage points. Intervals "
        "hold together with 95 % (Bonferroni, {tests} tests); p: sign-flip test over people, "
        "corrected by Holm. Claimed: p below 0.05, an interval without 0, and the same sign in "
        "every one of at least three seeds."
    ).format(tests=table["tests"].iloc[0])
    header = [_("People"), _("Embeddings"), _("Against"), _("Measure"), _("Difference")]
    header += [_("Seeds"), "p", _("Claimed")]
    rows = [
        [
            seen_by(row["people"])[0],
            *_told_of_both(row),
            measure_label(row["metric"]),
            *difference_cells(row),
        ]
        for _at, row in table.iterrows()
    ]
    return about, pd.DataFrame(rows, columns=header), 4


def measure_label(metric: str) -> str:
    """What is compared in a row of differences, one of :data:`COMPARED`."""
    return _(COMPARED[metric])


def findings(table: pd.DataFrame, metric: str = "map_at_r") -> list[str]:
    """What may be said, in sentences: one for each comparison of people never seen here.

    Args:
        table: rows of ``experiment3_pairs.csv`` of one dataset and profile.
        metric: which is compared, one of :data:`COMPARED`.
    """
    table = _of_one(table, "experiment3_pairs")
    if metric not in COMPARED:
        raise ValueError(f"metric {metric!r} is none of {', '.join(COMPARED)}")
    said = []
    chosen = table[(table["metric"] == metric) & (table["people"] == "unseen")]
    for _at, row in chosen.iterrows():
        said.append(finding(row, *_told_of_both(row), measure_label(metric)))
    return said


def _told_of_both(row: pd.Series) -> tuple[str, str]:
    """The embeddings of a row of differences, and those that they are compared with."""
    one = _told(row["people"], row["arm"], row["start"])
    return one, _told(row["against_people"], row["against"], row["against_start"])


def _told(people: str, arm: str, start: str) -> str:
    system = seen_by(people, start)[1]
    if arm in (MAIN_ARM, STARTED_ARM):
        return f"{system}, {arm_label(arm)}" if system == system_label("joint") else system
    return arm_label(arm)


def arm_name(arm: str, start: str) -> str:
    """Name of an arm; of the one that does not start from random weights, what it starts from."""
    return _(STARTS[start]) if arm == STARTED_ARM and start in STARTS else arm_label(arm)


def _header(*first: str) -> list[str]:
    measures = [_(name) for name, _scale in _COLUMNS.values()]
    return [*first, _("People × scenes"), *measures, _("Seeds")]


def _cells(own: pd.DataFrame) -> list[str]:
    numbers = {row["metric"]: row for _at, row in own.iterrows()}
    if own["people"].iloc[0] == "seen":
        numbers = {name: row for name, row in numbers.items() if name not in OF_SIZE}
    cells = [f"{int(own['persons'].max())} × {own['scenes'].max():.1f}"]
    for metric, (_name, scale) in _COLUMNS.items():
        cells.append(_number(numbers.get(metric), scale))
    seeds = numbers["map_at_r"]["seed_values"] if "map_at_r" in numbers else ""
    cells.append(", ".join(f"{100 * float(value):.1f}" for value in str(seeds).split()) or "–")
    return cells


def _number(row: pd.Series | None, scale: int) -> str:
    if row is None:
        return "–"
    digits = 1 if scale == 100 else 2
    text = f"{scale * row['value']:.{digits}f}"
    if pd.notna(row["low"]):
        text += f" [{scale * row['low']:.{digits}f}, {scale * row['high']:.{digits}f}]"
    return text


def _lines(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Group, arm and rows of each line, in the order of labels."""
    table = _of_one(table, "experiment3_seeds")
    place = table["people"].map(_ORDER).fillna(len(_ORDER))
    table = table.assign(place=place).sort_values("place", kind="stable")
    for (people, arm), own in table.groupby(["people", "arm"], sort=False):
        yield str(people), str(arm), own


def _of_one(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if not len(table):
        raise ValueError(f"{what}: no rows")
    return one_run(table, what, columns=("dataset", "profile"), by=())
