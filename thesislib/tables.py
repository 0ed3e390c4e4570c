"""Results: long-form CSV files, one row a number, and the tables printed from them.

Shares, IoUs and average precisions are stored in 0–1 and printed in percent. ``mcnemar_p`` stands
on the row of the two-stage system that the joint network was compared with.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from thesislib import storage

SPLITS = ("photo", "session")
SYSTEMS = ("joint", "two_stage_photo", "two_stage_face")
METRICS = (
    "accuracy",
    "mean_iou",
    "mean_iou_found",
    "mean_iou_calibrated",
    "joint_accuracy_50",
    "joint_accuracy_75",
    "oracle_box_accuracy",
    "ap50",
    "ap50_95",
    "fps",
    "mcnemar_p",
)
EXPERIMENT1_KEYS = ("dataset", "split", "system", "profile", "seed")
EXPERIMENT1_COLUMNS = (
    "dataset",
    "split",
    "system",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "profile",
    "seed",
    "backbone",
    "input_px",
    "command",
)

_TEXTS = ("dataset", "split", "system", "metric", "profile", "backbone", "command")
_NUMBERS = ("value", "low", "high")
_COUNTS = ("n", "seed", "input_px")


def _text(*checks: pa.Check) -> pa.Column:
    return pa.Column(str, [pa.Check.str_length(min_value=1, error="is empty"), *checks])


def _one_of(names: Sequence[str]) -> pa.Check:
    return pa.Check.isin(names, error=f"is none of {', '.join(names)}")


_SCHEMA = pa.DataFrameSchema(
    {
        "dataset": _text(),
        "split": _text(_one_of(SPLITS)),
        "system": _text(_one_of(SYSTEMS)),
        "metric": _text(_one_of(METRICS)),
        "value": pa.Column(float, pa.Check(np.isfinite, error="is not finite"), coerce=True),
        # A table without any interval has a column of None, which is no column of floats yet.
        "low": pa.Column(float, nullable=True, coerce=True),
        "high": pa.Column(float, nullable=True, coerce=True),
        "n": pa.Column(int, pa.Check.gt(0, error="is not above 0")),
        "profile": _text(),
        "seed": pa.Column(int, pa.Check.ge(0, error="is below 0")),
        "backbone": _text(),
        "input_px": pa.Column(int, pa.Check.gt(0, error="is not above 0")),
        "command": _text(),
    },
    strict=True,
)
# Apart from the columns' own checks, so that it only sees columns that are there and well typed.
_SCHEMA_BETWEEN_COLUMNS = pa.DataFrameSchema(
    checks=[
        pa.Check(
            lambda rows: (
                (rows["low"].isna() & rows["high"].isna())
                | ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"]))
            ),
            error="not low <= value <= high, nor low and high both empty",
        ),
        pa.Check(
            lambda rows: (rows["value"] >= 0) & ((rows["value"] <= 1) | (rows["metric"] == "fps")),
            error="value outside 0–1 (percent is for printing)",
        ),
        pa.Check(
            lambda rows: ~rows.duplicated([*EXPERIMENT1_KEYS, "metric"], keep=False),
            error="the same number is given twice",
        ),
    ]
)


def validated(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    if set(rows.columns) != set(EXPERIMENT1_COLUMNS):
        wrong = sorted(set(rows.columns) ^ set(EXPERIMENT1_COLUMNS))
        raise ValueError(f"{name}: columns missing or unknown: {', '.join(wrong)}")
    rows = rows[list(EXPERIMENT1_COLUMNS)].reset_index(drop=True)
    try:
        return _SCHEMA_BETWEEN_COLUMNS.validate(_SCHEMA.validate(rows, lazy=True), lazy=True)
    except pa.errors.SchemaErrors as error:
        raise ValueError(f"{name}: " + "; ".join(_complaints(error.failure_cases))) from None


def _complaints(cases: pd.DataFrame) -> list[str]:
    # Of a column of the wrong type pandera complains once as a whole and once for each row.
    by_row = cases[cases["index"].notna()]
    complaints = []
    for case in (by_row if len(by_row) else cases).itertuples():
        where = f"row {int(case.index)}" if len(by_row) else "all rows"
        # A check between columns is listed once for every column of the row.
        if case.schema_context == "Column":
            where += f", {case.column} {case.failure_case!r}"
        complaints.append(f"{where}: {case.check}")
    return list(dict.fromkeys(complaints))


def read_results(path: Path | str) -> pd.DataFrame:
    """Read a table of Experiment 1.

    Args:
        path: CSV file with the columns :data:`EXPERIMENT1_COLUMNS`.

    Returns:
        One row a number, columns in that order; ``low`` and ``high`` are NaN where not given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not hold such a table; the file and the rows (from 0, the header
            not counted) are named.
    """
    try:
        # Only low and high may be empty; everywhere else "NA" is a name like any other.
        rows = pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXTS, "str")
            | dict.fromkeys(_NUMBERS, np.float64)
            | dict.fromkeys(_COUNTS, np.int64),
            keep_default_na=False,
            na_values={"low": [""], "high": [""]},
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return validated(str(path), rows)


def merge_results(
    path: Path | str, rows: pd.DataFrame, keys: Sequence[str] = EXPERIMENT1_KEYS
) -> None:
    """Put the numbers of a run into a table, in place of those the same run gave before.

    All stored rows whose ``keys`` equal those of some new row go, whatever their metric; all
    others stay. To replace one metric only, add ``"metric"`` to the keys. The file holds floats to
    6 significant digits, in an order that does not depend on the order of the runs, so that the
    same numbers give the same bytes.

    Args:
        path: CSV file; made, with its folder, where missing.
        rows: the new rows, with the columns :data:`EXPERIMENT1_COLUMNS`; ``low`` and ``high``
            None or NaN where there is no interval.
        keys: the columns that say which stored rows are replaced.

    Raises:
        ValueError: no rows, unknown keys, or rows that are not as they should be, which are named
            (from 0); the file is left as it was.
    """
    path = Path(path)
    if len(rows) == 0:
        raise ValueError("rows: empty")
    unknown = [key for key in keys if key not in EXPERIMENT1_COLUMNS]
    if unknown or not keys:
        raise ValueError(f"keys: expected columns of the table, got {list(keys)}")
    keys = list(keys)
    rows = validated("rows", rows)
    with storage.folder_lock(path.parent, wait=True):
        if path.exists():
            stored = read_results(path)
            replaced = pd.MultiIndex.from_frame(stored[keys]).isin(
                pd.MultiIndex.from_frame(rows[keys])
            )
            rows = pd.concat([stored[~replaced], rows], ignore_index=True)
        rows = in_order(validated(str(path), rows))
        storage.write_text(path, rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def merge_table(
    path: Path | str, rows: pd.DataFrame, keys: Sequence[str] = EXPERIMENT1_KEYS
) -> None:
    """Put rows of any long-form table in place of those the same runs gave before.

    As :func:`merge_results`, for tables that stand behind the results (one row a photo, a face, an
    epoch, a turn) and those of other experiments: kept in the order given, unchecked.

    Args:
        path: CSV file; made, with its folder, where missing.
        rows: the new rows; must have the key columns.
        keys: the columns that say which stored rows are replaced.
    """
    path, keys = Path(path), list(keys)
    with storage.folder_lock(path.parent, wait=True):
        if path.exists():
            stored = read_table(path)
            replaced = pd.MultiIndex.from_frame(stored[keys]).isin(
                pd.MultiIndex.from_frame(rows[keys])
            )
            rows = pd.concat([stored[~replaced], rows], ignore_index=True)
        rows = rows.sort_values(keys, kind="stable", ignore_index=True)
        storage.write_text(path, rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


_NAMES = {"photo", "identity", "predicted_identity", "oracle_identity", "dataset", "session"}
_NAMES |= {"source", "target"}


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table that :func:`merge_table` wrote; only numbers can be missing, names are text."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[], dtype="str")
    for name in table:
        if name not in _NAMES:
            numbers = pd.to_numeric(table[name].replace({"": "nan"}), errors="coerce")
            if not (numbers.isna() & ~table[name].isin(["", "nan"])).any():
                table[name] = numbers
        if set(table[name]) <= {"True", "False"}:
            table[name] = table[name] == "True"
    return table


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    # The joint network before its baselines and accuracy before the rest, not by the alphabet.
    rank = {name: i for names in (SPLITS, SYSTEMS, METRICS) for i, name in enumerate(names)}
    return rows.sort_values(
        [*EXPERIMENT1_KEYS, "metric"],
        key=lambda column: (
            column.map(rank) if column.name in ("split", "system", "metric") else column
        ),
        kind="stable",
        ignore_index=True,
    )


MAIN_ARM = "normalised"
