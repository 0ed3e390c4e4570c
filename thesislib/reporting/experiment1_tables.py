"""Tables of Experiment 1 over seeds: systems with intervals over people, and their differences.

Each is of one dataset, split and profile; the cells are those of
:mod:`thesislib.reporting.tables`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from thesislib.reporting.labels import (
    THESIS_EXPERIMENT1,
    THESIS_LABELS,
    begun_from,
    busy_sentence,
    started_from,
    system_label,
)
from thesislib.reporting.language import N_, _, localised, ngettext
from thesislib.tables import CONTROLS, LEAST_SEEDS, REFERENCES, SYSTEMS, one_run

_ORDER = {name: at for at, name in enumerate((*SYSTEMS, *CONTROLS, *REFERENCES))}
_STARTS = {"scratch": 0, "default": 1, "dlib": 1, "none": 2}
_INTERVALS = N_(
    "In percent, over the test faces of all seeds together, with 95 % intervals in which people "
    "are drawn."
)
MEASURES = {
    "accuracy": N_("accuracy"),
    "joint_accuracy_50": N_("joint @0.5"),
    "oracle_box_accuracy": N_("names, boxes given"),
    "mean_iou_calibrated": N_("mean IoU, calibrated"),
}


def measure_label(metric: str) -> str:
    """What is compared in a row of differences, one of :data:`MEASURES`."""
    return _(MEASURES[metric])


def names(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """Who is named rightly, by system; the thesis's own numbers first where photos were split."""
    measures = _(
        "Accuracy, the thesis's: the best detection of a photo has the right "
        "identity, wherever its box is. Joint @0.5: of all faces, those with the right identity "
        "and an IoU of at least 0.5, boxes calibrated. Names, boxes given: read at the annotated "
        "box; the two-stage classifier of the photo needs none. Seeds: joint @0.5 of each, or of "
        "what finds no face, names."
    )
    header = [_("System"), _("Begun from"), _("Accuracy"), _("Joint @0.5")]
    header += [_("Names, boxes given"), _("Seeds")]
    rows = []
    for system, begun, own in _thesis(table):
        rows.append([system, begun, f"{100 * own['accuracy']:.2f}", *"–––"])
    for arm in _arms(table):
        if arm.named:
            cells = [arm.share(metric) for metric in list(MEASURES)[:3]]
            rows.append(
                [*arm.labels, *cells, arm.seeds("joint_accuracy_50", "oracle_box_accuracy")]
            )
    return f"{_(_INTERVALS)} {measures}", pd.DataFrame(rows, columns=header), 2


def _thesis(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series]]:
    """System, where it is from, and numbers by metric of the thesis, which split by photo."""
    if "photo" in set(table["split"]):
        for system, own in THESIS_EXPERIMENT1.groupby("system", sort=False):
            begun = _("the thesis, Experiment 1, other photos")
            yield _(THESIS_LABELS[str(system)]), begun, own.set_index("metric")["value"]


def boxes(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """How well boxes lie, by system."""
    measures = _(
        "Mean IoU over all photos, 0 where no face was found. Calibrated: boxes of "
        "systems that learned another framing of a face, moved and scaled alike, as fits the "
        "training photos best. Found: faces with a calibrated IoU of at least 0.5. AP50: of "
        "calibrated boxes. Seeds: calibrated mean IoU of each."
    )
    header = [_("System"), _("Begun from"), _("Mean IoU"), _("Calibrated"), _("Found"), "AP50"]
    header += [_("Seeds")]
    shown = ("mean_iou", "mean_iou_calibrated", "recall_50", "ap50")
    rows = []
    for system, begun, own in _thesis(table):
        rows.append([system, begun, f"{100 * own['mean_iou']:.2f}", *"––––"])
    rows += [
        [*arm.labels, *(arm.share(metric) for metric in shown), arm.seeds("mean_iou_calibrated")]
        for arm in _arms(table)
        if "mean_iou" in arm.numbers
    ]
    return f"{_(_INTERVALS)} {measures}", pd.DataFrame(rows, columns=header), 2


def pairs(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """The joint net less each other system."""
    table = _of_one(table, "experiment1_pairs")
    tests = table["tests"].iloc[0]
    about = _(
        "The joint net less another system on the same faces, in percentage points. Intervals "
        "hold together with 95 % (Bonferroni, {tests} tests); p: sign-flip test over people, "
        "corrected by Holm for as many. Claimed: p below 0.05, an interval without 0, and the "
        "same sign in every one of at least three seeds."
    ).format(tests=tests)
    header = [_("Joint net from"), _("Against"), _("Measure"), _("Difference"), _("Seeds")]
    header += ["p", _("Claimed")]
    rows = []
    order = table.assign(
        a=table["start"].map(_STARTS),
        b=table["against_start"].map(_STARTS),
        c=table["against"].map(_ORDER),
        d=table["metric"].map({name: at for at, name in enumerate(MEASURES)}),
    ).sort_values(["a", "b", "c", "d"])
    for _index, row in order.iterrows():
        against = system_label(row["against"])
        if row["against_start"] != "none":
            against += f", {begun_from(row['against_start'])}"
        rows.append(
            [
                begun_from(row["start"]),
                against,
                measure_label(row["metric"]),
                *difference_cells(row),
            ]
        )
    return about, pd.DataFrame(rows, columns=header), 3


def difference_cells(row: pd.Series) -> list[str]:
    """Difference with interval, seeds, p and whether it is claimed, of a row of differences."""
    return [
        _points(row["value"], row["low"], row["high"]),
        ", ".join(f"{100 * float(value):+.1f}" for value in row["seed_values"].split()),
        probability(row["p_holm"]),
        _("yes") if row["holds"] else _("no"),
    ]


def findings(table: pd.DataFrame, metric: str = "joint_accuracy_50") -> list[str]:
    """What may be said of the joint nets, in sentences: one for each comparison.

    Args:
        table: rows of ``experiment1_pairs.csv`` of one dataset, split and profile.
        metric: which is compared, one of :data:`MEASURES`.
    """
    table = _of_one(table, "experiment1_pairs")
    if metric not in MEASURES:
        raise ValueError(f"metric {metric!r} is none of {', '.join(MEASURES)}")
    said = []
    for _index, row in table[table["metric"] == metric].iterrows():
        joint = _("the joint net {begun}").format(begun=started_from(row["start"]))
        other = system_label(row["against"])
        if row["against_start"] != "none":
            other += f" {started_from(row['against_start'])}"
        said.append(finding(row, joint, other, measure_label(metric)))
    return said


def finding(row: pd.Series, one: str, other: str, measure: str) -> str:
    """What may be said of a row of differences, in a sentence.

    Args:
        row: with ``value, low, high, seeds, holds``.
        one, other: what is compared.
        measure: in which.
    """
    seeds = len(str(row["seeds"]).split())
    if row["holds"] and row["value"] > 0:
        said = _("{one} is ahead of {other} in {measure}: {difference} points.")
    elif row["holds"]:
        said = _("{one} is behind {other} in {measure}: {difference} points.")
    elif seeds < LEAST_SEEDS:
        said = ngettext(
            "{one} less {other} in {measure}: {difference} points; of one training, so not "
            "claimed.",
            "{one} less {other} in {measure}: {difference} points; of {n} trainings, so not "
            "claimed.",
            seeds,
        )
    else:
        said = _("{one} and {other} cannot be told apart in {measure}: {difference} points.")
    difference = _points(row["value"], row["low"], row["high"])
    said = said.format(one=one, other=other, measure=measure, difference=difference, n=seeds)
    return localised(said[0].upper() + said[1:])


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def speed(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """Time of a photo, with the share of faces that are found in it.

    Args:
        table: rows of ``experiment1.csv``.
    """
    about = _(
        "Median time from the decoded photo to the answer, batch 1, systems that begin alike turn "
        "by turn on the same photos; only those can be compared. Times the joint net: of frames "
        "per second, on its line 1. Found: faces with a calibrated IoU of at least 0.5; where a "
        "detector finds none, nothing is named, and that takes no time."
    )
    header = [_("System"), _("Begun from"), _("Input, px"), _("ms"), _("FPS")]
    header += [_("Times the joint net"), _("Found, %")]
    if not (table["metric"] == "fps").any():
        raise ValueError("experiment1: no rows of times")
    table = table[table["seed"] == table["seed"].min()]
    one_run(table, "experiment1", ("dataset", "split", "profile"), by=("system", "start"))
    rows = []
    for _run, own in in_rows(table).groupby("run", sort=False):
        fps = own[own["metric"] == "fps"].set_index("system")
        found = own[own["metric"] == "recall_50"].set_index("system")["value"]
        joint = fps["value"].get("joint", float("nan"))
        for system, row in fps.iterrows():
            recall = found.get(system, float("nan"))
            rows.append(
                [
                    system_label(str(system)),
                    begun_from(row["start"]),
                    str(row["input_px"]),
                    f"{1000 / row['value']:.1f}",
                    f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]",
                    f"{row['value'] / joint:.2f}" if joint == joint else "–",
                    f"{100 * recall:.1f}" if recall == recall else "–",
                ]
            )
    others = table[table["metric"] == "others"].rename(columns={"value": "others"})
    return about + busy_sentence(others), pd.DataFrame(rows, columns=header), 2


class _Arm(NamedTuple):
    """A system and its numbers by metric."""

    labels: tuple[str, str]
    numbers: dict[str, pd.Series]

    @property
    def named(self) -> bool:
        return bool({"accuracy", "oracle_box_accuracy"} & set(self.numbers))

    def share(self, metric: str) -> str:
        row = self.numbers.get(metric)
        if row is None:
            return "–"
        text = f"{100 * row['value']:.1f}"
        if pd.notna(row["low"]):
            text += f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        return text

    def seeds(self, *metrics: str) -> str:
        for metric in metrics:
            if metric in self.numbers and pd.notna(self.numbers[metric]["low"]):
                told = self.numbers[metric]["seed_values"].split()
                return ", ".join(f"{100 * float(value):.1f}" for value in told)
        return "–"


def _arms(table: pd.DataFrame) -> Iterator[_Arm]:
    for (system, start), own in in_rows(_of_one(table, "experiment1_seeds")).groupby(
        ["system", "start"], sort=False
    ):
        labels = (system_label(str(system)), begun_from(str(start)))
        yield _Arm(labels, {row["metric"]: row for _index, row in own.iterrows()})


def in_rows(table: pd.DataFrame, start: str = "start", system: str = "system") -> pd.DataFrame:
    """Systems from random weights, then those from dlib's recogniser, then references.

    Args:
        table: with the two columns that are named.
        start, system: columns.
    """
    place = table[start].map(_STARTS).fillna(len(_STARTS))
    return (
        table.assign(place=place, rank=table[system].map(_ORDER))
        .sort_values(["place", "rank"], kind="stable")
        .drop(columns=["place", "rank"])
    )


def _of_one(table: pd.DataFrame, what: str) -> pd.DataFrame:
    if not len(table):
        raise ValueError(f"{what}: no rows")
    return one_run(table, what, columns=("dataset", "split", "profile"), by=())


def probability(p: float) -> str:
    """A *p* value as it is printed: three digits, or ``<0.001``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
