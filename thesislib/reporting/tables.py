"""The results as Markdown, for pages, and as LaTeX, for the thesis.

Shares are printed in percent, as ``96.3 [94.1, 98.0]`` where a 95 % interval is known; "–" stands
for what was not measured.
"""

import html
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from thesislib.reporting import (
    benchmark_tables,
    embedding_tables,
    experiment1_tables,
    recogniser_tables,
)
from thesislib.reporting.experiment1_tables import probability
from thesislib.reporting.labels import (
    TRANSFER_VARIANTS,
    seeds_label,
    split_label,
    started_from,
    variant_label,
)
from thesislib.reporting.language import N_, _, localised
from thesislib.reporting.latex import tabulars
from thesislib.tables import REFERENCES, one_run


class Printed(NamedTuple):
    """A table of text cells, what its columns mean, and how many of them are words."""

    about: str
    cells: pd.DataFrame
    words: int


def markdown(name: str, table: pd.DataFrame) -> str:
    """Print a table for a page.

    Args:
        name: one of :data:`TABLES`.
        table: the results that it is printed from, as read from its file.

    Returns:
        A paragraph on what the columns mean, and the table.

    Raises:
        ValueError: the results lack what the table shows, or hold several runs of it.
    """
    about, cells, words = _printed_of(name, table)
    # Names come from data, and one with "|" or "<" would break the page.
    escaped = cells.rename(columns=_escaped).map(_escaped)
    align = ["left"] * words + ["right"] * (cells.shape[1] - words)
    rows = escaped.to_markdown(index=False, disable_numparse=True, colalign=align)
    return f"{about}\n\n{rows}"


def _printed_of(name: str, table: pd.DataFrame) -> Printed:
    """A table in the language of the figures."""
    try:
        about, cells, words = TABLES[name].print(table)
    except KeyError as error:  # a column, of a table that an earlier version wrote
        raise ValueError(f"{TABLES[name].file}: no {error} for the table {name}") from error
    return Printed(localised(about), cells.rename(columns=localised).map(localised), words)


def _escaped(cell: str) -> str:
    return html.escape(cell, quote=False).replace("|", "\\|")


def latex(name: str, table: pd.DataFrame) -> str:
    """Print a table for the thesis, without a caption, see :mod:`thesislib.reporting.latex`.

    Args:
        name, table: as for :func:`markdown`.

    Raises:
        ValueError: the results lack what the table shows, or hold several runs of it.
    """
    _about, cells, words = _printed_of(name, table)
    return tabulars(cells, words)


def _by_metric(rows: pd.DataFrame) -> dict[str, pd.Series]:
    return {row["metric"]: row for _index, row in rows.iterrows()}


def _cell(row: pd.Series | None, scale: float, digits: int) -> str:
    if row is None:
        return "–"
    text = f"{scale * row['value']:.{digits}f}"
    if pd.notna(row.get("low")):
        text += f" [{scale * row['low']:.{digits}f}, {scale * row['high']:.{digits}f}]"
    return text


def _probability(row: pd.Series | None) -> str:
    return "–" if row is None else probability(row["value"])


# --- Experiment 2 ---------------------------------------------------------------------------------


_BUDGETS = {"none": "–", "equal": N_("equal"), "converged": N_("converged")}


def experiment2(table: pd.DataFrame) -> Printed:
    """A row per source, target, variant and length of training; means over seeds, their range."""
    if not len(table):
        raise ValueError("experiment2: no rows")
    counts = sorted(table["photos_per_person"].unique())
    about = _(
        "Joint accuracy @0.5 in percent of the new people's test faces, by photos per person; of "
        "{n} photos: names alone (share of photos whose best detection has the right "
        "identity, wherever its box is; of what finds no face, names at given boxes), seconds, "
        "joint accuracy on the old people with the classifier they had, and their names alone "
        "with class means of their photos as the net embeds them now. Steps: equal for all, or "
        "until photos that are neither trained on nor tested get no better. Means over seeds "
        "[range]; a number without a range is of one seed."
    ).format(n=counts[-1])
    header = [_("From → to"), _("What is trained"), _("Steps"), *(f"{count}" for count in counts)]
    header += [_("Names alone"), _("Seconds"), _("Old people"), _("Old names, enrolled anew")]
    rows = []
    for label, runs in _transfers(table):
        for variant in (*TRANSFER_VARIANTS, *REFERENCES):
            for budget, length in _BUDGETS.items():
                mine = runs[(runs["variant"] == variant) & (runs["budget"] == budget)]
                if len(mine):
                    by_count = [mine[mine["photos_per_person"] == count] for count in counts]
                    cells = _transfer_cells(_(length), by_count)
                    rows.append([label, variant_label(variant), *cells])
    return Printed(about, pd.DataFrame(rows, columns=header), 3)


def _transfer_cells(length: str, by_count: list[pd.DataFrame]) -> list[str]:
    most = by_count[-1]
    if length != "–" and len(most):
        steps = most["steps"].agg(["min", "max"]).astype(int)
        told = (
            f"{steps['min']}" if steps["min"] == steps["max"] else f"{steps['min']}–{steps['max']}"
        )
        length = f"{length}, {told}"
    named = "accuracy" if (most["metric"] == "accuracy").any() else "oracle_box_accuracy"
    return [
        length,
        *(_over_seeds(own, "joint_accuracy_50") for own in by_count),
        _over_seeds(most, named),
        _seconds(most["seconds"].mean()) if len(most) else "–",
        _over_seeds(most, "old_joint_accuracy_50"),
        _over_seeds(most, "old_accuracy_enrolled"),
    ]


def experiment2_pairs(table: pd.DataFrame) -> Printed:
    """What may be said of the variants of one source and target."""
    if not len(table):
        raise ValueError("experiment2_pairs: no rows")
    table = one_run(table, "experiment2_pairs", ("source", "target", "profile", "start"), ())
    about = _(
        "One variant less another on the same test faces of new people, in percentage points. "
        "Intervals hold together with 95 % (Bonferroni, {tests} tests); p: "
        "sign-flip test over people, corrected by Holm. Claimed: p below 0.05, an interval "
        "without 0, and the same sign in every one of at least three seeds."
    ).format(tests=table["tests"].iloc[0])
    header = [_("Photos"), _("What is trained"), _("Against"), _("Measure"), _("Difference")]
    header += [_("Seeds"), "p", _("Claimed")]
    rows = [
        [
            str(row["photos_per_person"]),
            _arm_of(row["variant"], row["budget"]),
            _arm_of(row["against"], row["against_budget"]),
            experiment1_tables.measure_label(row["metric"]),
            *experiment1_tables.difference_cells(row),
        ]
        for _index, row in table.iterrows()
    ]
    return Printed(about, pd.DataFrame(rows, columns=header), 4)


def _arm_of(variant: str, budget: str) -> str:
    label = variant_label(variant)
    return label if budget == "none" else f"{label}, {_(_BUDGETS.get(budget, budget))}"


def _transfers(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows by source, target, profile and start; by run too where a seed has several."""
    told = ["source", "target", "profile", "start"]
    for (source, target, profile, start), rows in table.groupby(told):
        words = [f"{source} → {target}", profile]
        words += [started_from(start)] if start != "scratch" else []
        label = ", ".join(words)
        repeated = rows.groupby(["variant", "budget", "photos_per_person", "seed"])["run"].nunique()
        if (repeated > 1).any():
            for run, own in rows.groupby("run"):
                yield ", ".join([label, _("run {run}").format(run=run or "–")]), own
        else:
            yield label, rows


def _over_seeds(rows: pd.DataFrame, metric: str) -> str:
    values = 100 * rows["value"][rows["metric"] == metric]
    if not len(values):
        return "–"
    if len(values) == 1:
        return f"{values.item():.1f}"
    return f"{values.mean():.1f} [{values.min():.1f}, {values.max():.1f}]"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


# --- pre-training ---------------------------------------------------------------------------------


def pretraining(table: pd.DataFrame) -> Printed:
    """What the joint net learns from real people by what it began from."""
    about = _(
        "The joint net trained on real people for the same steps, from random weights and from a "
        "net that had learned synthetic people. In percent, with 95 % bootstrap intervals; p: "
        "exact McNemar test of accuracy against random weights on the same photos."
    )
    metrics = {"joint_accuracy_50": _("Joint @0.5"), "mean_iou": _("Mean IoU")}
    header = [_("Data"), _("Begun from"), _("Steps"), *metrics.values(), "p"]
    rows = []
    keys = ["dataset", "split", "profile", "seed", "run", "arm"]
    for (dataset, split, profile, seed, _run, arm), own in table.groupby(keys):
        numbers = _by_metric(own)
        rows.append(
            [
                ", ".join([dataset, split_label(split), profile, seeds_label([seed])]),
                _(arm),  # a name of labels
                str(int(own["steps"].iloc[0])),
                *(_cell(numbers.get(metric), 100, 1) for metric in metrics),
                _probability(numbers.get("mcnemar_p")),
            ]
        )
    return Printed(about, pd.DataFrame(rows, columns=header), 2)


class _Source(NamedTuple):
    """A printed table: the file it is printed from, and how."""

    file: str
    print: Callable[[pd.DataFrame], Printed]


def _printed(
    of_table: Callable[[pd.DataFrame], tuple[str, pd.DataFrame, int]],
) -> Callable[[pd.DataFrame], Printed]:
    return lambda table: Printed(*of_table(table))


TABLES = {
    "experiment1": _Source("experiment1_seeds.csv", _printed(experiment1_tables.names)),
    "experiment1_boxes": _Source("experiment1_seeds.csv", _printed(experiment1_tables.boxes)),
    "experiment1_pairs": _Source("experiment1_pairs.csv", _printed(experiment1_tables.pairs)),
    "experiment1_speed": _Source("experiment1.csv", _printed(experiment1_tables.speed)),
    "experiment2": _Source("experiment2.csv", experiment2),
    "experiment2_pairs": _Source("experiment2_pairs.csv", experiment2_pairs),
    "experiment3": _Source("experiment3_seeds.csv", _printed(embedding_tables.systems)),
    "experiment3_arms": _Source("experiment3_seeds.csv", _printed(embedding_tables.arms)),
    "experiment3_learning": _Source("experiment3_seeds.csv", _printed(embedding_tables.learning)),
    "experiment3_pairs": _Source("experiment3_pairs.csv", _printed(embedding_tables.pairs)),
    "pretraining": _Source("pretraining.csv", pretraining),
    "benchmark": _Source("benchmark.csv", _printed(benchmark_tables.portraits)),
    "benchmark_faces": _Source("benchmark.csv", _printed(benchmark_tables.faces)),
    "benchmark_frontier": _Source("benchmark_frontier.csv", _printed(benchmark_tables.frontier)),
    "benchmark_gate": _Source("benchmark_gate.csv", _printed(benchmark_tables.gate)),
    "benchmark_limits": _Source("benchmark_limits.csv", _printed(benchmark_tables.limits)),
    "recogniser": _Source("recogniser.csv", _printed(recogniser_tables.measures)),
    "recogniser_readings": _Source("recogniser.csv", _printed(recogniser_tables.readings)),
    "recogniser_curve": _Source("recogniser.csv", _printed(recogniser_tables.curve)),
    "recogniser_groups": _Source("recogniser.csv", _printed(recogniser_tables.groups)),
    "face_sizes": _Source("face_sizes.csv", _printed(recogniser_tables.face_sizes)),
    "recogniser_speed": _Source("recogniser_speed.csv", _printed(recogniser_tables.speed)),
}
