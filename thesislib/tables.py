"""Result tables: long-form CSV files, one row per number, and the names that stand in them.

Shares, IoUs and average precisions are stored in 0–1; percent is for printing. Tables are printed
and drawn by :mod:`thesislib.reporting`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from thesislib import storage

# Every row of every table carries these:
#   profile, seed, backbone, input_px: as they were trained
#   start: what training began from, "scratch" for random weights
#   precision: arithmetic of the training, or of the engine in the benchmark's limits
#   commit: short hash of the code that gave the row; empty where it is not known
#   run: cache key of the experiment's configuration and data, the same for all its systems;
#       empty in rows older than the column
#   command: gives the row again
RUN_COLUMNS = (
    "profile",
    "seed",
    "backbone",
    "start",
    "input_px",
    "precision",
    "commit",
    "run",
    "command",
)
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
SPLITS = ("photo", "session")
SYSTEMS = ("joint", "two_stage_photo", "two_stage_face", "two_stage_aligned")
# The published net and what it is compared with, in recogniser.csv and recogniser_speed.csv; nets
# of one's own have the names of their folders.
RECOGNISERS = ("default", "teacher_aligned", "dlib", "yunet_dlib")
# The joint net, trained for one of its two tasks alone; names are read at the other's boxes.
CONTROLS = ("boxes_only", "names_only")
# What is not trained here.
REFERENCES = (
    "chance",
    "pixel_nn_photo",
    "pixel_nn_face",
    "hog_nearest",
    "hog_class_mean",
    "constant_box",
    "dlib_aligned_class_mean",
    "dlib_aligned_nearest",
)
# Each compares the system of its row with the joint net on the same photos.
PAIRED = ("mcnemar_p", "sign_flip_p")
# How fast a system is, and the share of the cores that other processes had meanwhile.
TIMING_METRICS = ("fps", "others")
# Share of the cores that other processes may have; above it calls wait for a core, and their times
# say little of the systems. On two cores one busy process has a half.
BUSY = 0.15
METRICS = (
    "accuracy",
    "mean_iou",
    "mean_iou_found",
    "mean_iou_calibrated",
    "joint_accuracy_50",
    "joint_accuracy_75",
    "oracle_box_accuracy",
    "recall_50",
    "ap50",
    "ap50_95",
    *TIMING_METRICS,
    *PAIRED,
)
VARIANTS = ("class_mean", "nearest", "classifier", "classifier_embedding", "all", "scratch")
LEAST_SEEDS = 3  # in which a difference must have one sign, to be claimed
MAIN_ARM = "normalised"  # of Experiment 3: the one whose groups of people are shown
STARTED_ARM = "started"  # and the one that starts from dlib's recogniser
# What depends on how many people and scenes are searched: of people seen two scenes each are kept,
# so that they are not shown beside others in these.
OF_SIZE = (
    *("precision_at_1", "r_precision", "map_at_r", "rank_one", "fnir_at_fpir_1e2"),
    *("fnir_at_fpir_1e1", "silhouette", "davies_bouldin"),
)

EXPERIMENT1_KEYS = ("dataset", "split", "system", "profile", "seed", "run")
EXPERIMENT1_COLUMNS = (
    "dataset",
    "split",
    "system",
    "metric",
    "value",
    "low",
    "high",
    "n",
    *RUN_COLUMNS,
)
BENCHMARK_COLUMNS = (
    "system",
    "engine",
    "stage",
    "faces",
    "people",
    "batch",
    "threads",
    "ms_median",
    "ms_min",
    "ratio_to_thesis_pipeline",
    "peak_mb",
    "joint_accuracy_50",
    "mean_iou",
    "recall_50",
    "grid",
    "machine",
    "others",
    *RUN_COLUMNS,
)
# The same systems on crowds at each of some thresholds: what they cost, and what they find.
FRONTIER_COLUMNS = (
    "system",
    "engine",
    "threshold",
    "faces",
    "photos",
    "ms_median",
    "ms_min",
    "ratio_to_thesis_pipeline",
    "recall_50",
    "joint_accuracy_50",
    "false_boxes",
    "n",
    "grid",
    "people",
    "threads",
    "machine",
    "others",
    *RUN_COLUMNS,
)
_EXPERIMENT3_KEYS = ("dataset", "arm", "profile", "seed", "run")
# By table: the columns that tell its runs apart. The rows of a run replace those that the same
# run gave before. Times are compared within one run alone, so those of a new one replace all; of
# recognisers that bear one name only the last is kept.
KEYS = {
    "experiment1": EXPERIMENT1_KEYS,
    "experiment1_photos": EXPERIMENT1_KEYS,
    "experiment1_faces": EXPERIMENT1_KEYS,
    "training": EXPERIMENT1_KEYS,
    "stages": EXPERIMENT1_KEYS,
    # Of several seeds: all of a dataset's are replaced together.
    "experiment1_seeds": ("dataset", "split", "profile"),
    "experiment1_pairs": ("dataset", "split", "profile"),
    "experiment2": (
        "source",
        "target",
        "variant",
        "budget",
        "photos_per_person",
        "profile",
        "seed",
        "run",
    ),
    "experiment2_pairs": ("source", "target", "profile", "start"),
    "experiment3": _EXPERIMENT3_KEYS,
    "experiment3_seeds": ("dataset", "profile"),
    "experiment3_pairs": ("dataset", "profile"),
    "experiment3_curves": _EXPERIMENT3_KEYS,
    "experiment3_factors": _EXPERIMENT3_KEYS,
    "experiment3_map": _EXPERIMENT3_KEYS,
    "experiment3_similarities": _EXPERIMENT3_KEYS,
    "pretraining": ("dataset", "split", "profile", "seed", "run"),
    "stand_in": ("dataset", "profile", "seed", "run"),
    "stand_in_yaw": ("dataset", "profile", "seed", "run"),
    "stand_in_distances": ("dataset", "profile", "seed", "run"),
    "recogniser": ("dataset", "system", "profile", "seed"),
    "recogniser_speed": ("profile",),
    "face_sizes": ("dataset", "system", "profile"),
    "benchmark": ("profile",),
    "benchmark_limits": ("profile",),
    "benchmark_frontier": ("profile",),
    "benchmark_gate": ("profile",),
    "gallery_speed": ("profile",),
}

# Columns of names, which stay text whatever they look like: a person may be called "001" or "NA",
# and a commit "12e4567". In tables of Experiment 3 ``people`` is one too, in others a number.
_TEXTS = (
    *("dataset", "split", "system", "metric", "profile", "backbone", "start", "precision"),
    *("commit", "run", "command", "photo", "identity", "predicted_identity", "oracle_identity"),
    *("session", "source", "target", "variant", "arm", "measure", "engine", "stage"),
    *("machine", "device", "curve", "factor", "pairs", "method", "data"),
    *(
        "seeds",
        "seed_values",
        "against",
        "against_start",
        "budget",
        "against_budget",
        "against_people",
    ),
)
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
        "system": _text(_one_of((*SYSTEMS, *CONTROLS, *REFERENCES))),
        "metric": _text(_one_of(METRICS)),
        "value": pa.Column(float, pa.Check(np.isfinite, error="is not finite"), coerce=True),
        # A table without any interval has a column of None, which is no column of floats yet.
        "low": pa.Column(float, nullable=True, coerce=True),
        "high": pa.Column(float, nullable=True, coerce=True),
        "n": pa.Column(int, pa.Check.gt(0, error="is not above 0")),
        "profile": _text(),
        "seed": pa.Column(int, pa.Check.ge(0, error="is below 0")),
        "backbone": _text(),
        "start": _text(),
        "input_px": pa.Column(int, pa.Check.gt(0, error="is not above 0")),
        "precision": _text(_one_of(PRECISIONS)),
        "commit": pa.Column(str),
        "run": pa.Column(str),
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
    """Rows of Experiment 1 in the order of its columns, once they are as they should be.

    Raises:
        ValueError: they are not; ``name`` and the rows (from 0) are named.
    """
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
    """Read the table of Experiment 1.

    Args:
        path: CSV file with the columns :data:`EXPERIMENT1_COLUMNS`.

    Returns:
        One row per number, columns in that order; ``low`` and ``high`` are NaN where not given.

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


def read_table(path: Path | str) -> pd.DataFrame:
    """Read any table that :func:`merge_table` wrote.

    Names are text whatever they look like (``001``, ``NA``, ``True``); in columns of numbers an
    empty cell is NaN.
    """
    table = pd.read_csv(path, keep_default_na=False, na_values=[], dtype="str")
    texts = [*_TEXTS, "people"] if Path(path).stem.startswith("experiment3") else _TEXTS
    for name in table.columns.difference(texts):
        column = table[name]
        if len(column) and set(column) <= {"True", "False"}:
            table[name] = column == "True"
        # No number is written as "007", so it is a name even where no name was expected.
        elif not column.str.match(r"[+-]?0\d").any():
            numbers = pd.to_numeric(column.replace({"": "nan"}), errors="coerce")
            if not (numbers.isna() & ~column.isin(["", "nan"])).any():
                table[name] = numbers
    return table


def merge_results(
    path: Path | str,
    rows: pd.DataFrame,
    keys: Sequence[str] = EXPERIMENT1_KEYS,
    supersede: bool = False,
) -> None:
    """Put the numbers of a run into the table of Experiment 1, in place of its former ones.

    All stored rows whose ``keys`` equal those of some new row go, whatever their metric. So do
    the *p* values that compare a replaced result with another system's: they are of predictions
    that are no longer those of the table. All others stay. To replace one metric alone, add
    ``"metric"`` to the keys. The file holds floats to 6 significant digits, in an order that does
    not depend on the order of the runs, so that the same numbers give the same bytes.

    Args:
        path: CSV file; made, with its folder, where missing.
        rows: the new rows, with the columns :data:`EXPERIMENT1_COLUMNS`; ``low`` and ``high``
            None or NaN where there is no interval.
        keys: the columns that say which stored rows are replaced.
        supersede: replace also what an earlier version of the code or data gave, see
            :func:`merge_table`.

    Raises:
        ValueError: no rows, unknown keys, or rows that are not as they should be, which are named
            (from 0); the file is left as it was.
    """
    path, keys = Path(path), list(keys)
    if len(rows) == 0:
        raise ValueError("rows: empty")
    unknown = [key for key in keys if key not in EXPERIMENT1_COLUMNS]
    if unknown or not keys:
        raise ValueError(f"keys: expected columns of the table, got {keys}")
    rows = validated("rows", rows)
    with storage.folder_lock(path.parent, wait=True):
        if path.exists():
            stored = read_results(path)
            gone = _replaced(stored, rows, keys, supersede) | _stale_comparisons(stored, rows)
            rows = pd.concat([stored[~gone], rows], ignore_index=True)
        _write(path, in_order(validated(str(path), rows)))


def _stale_comparisons(stored: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Stored *p* values of a pair of systems of which one has new predictions."""
    predicted = rows[~rows["metric"].isin([*TIMING_METRICS, *PAIRED])]
    pair = [key for key in EXPERIMENT1_KEYS if key != "system"]
    stale = _matches(stored, predicted, list(EXPERIMENT1_KEYS))
    stale |= _matches(stored, predicted[predicted["system"] == "joint"], pair)
    return stale & stored["metric"].isin(PAIRED).to_numpy()


def merge_table(
    path: Path | str, rows: pd.DataFrame, keys: Sequence[str] = (), supersede: bool = False
) -> None:
    """Put rows of any table in place of those that the same runs gave before.

    As :func:`merge_results`, for the tables behind the results (one row per photo, face, epoch or
    turn) and those of the other experiments: values are not checked, rows keep their order.

    Args:
        path: CSV file; made, with its folder, where missing.
        rows: the new rows, with the keys and with :data:`RUN_COLUMNS`.
        keys: the columns that say which stored rows are replaced; those that :data:`KEYS` has
            for the file's name where not given.
        supersede: replace also stored rows that differ in the key ``run`` alone, if their command
            is the same, so that it gives other numbers now, or if their run is not known.

    Raises:
        ValueError: no rows, a column is missing, or no keys are known for the file's name; the
            file is left as it was.
    """
    path = Path(path)
    keys = list(keys or KEYS.get(path.stem, ()))
    if not keys:
        raise ValueError(f"{path}: no keys are known for a table {path.stem}; give them")
    if len(rows) == 0:
        raise ValueError(f"{path}: no rows")
    missing = [name for name in dict.fromkeys([*keys, *RUN_COLUMNS]) if name not in rows]
    if missing:
        raise ValueError(f"{path}: columns missing in the rows: {', '.join(missing)}")
    with storage.folder_lock(path.parent, wait=True):
        if path.exists():
            stored = read_table(path)
            if lacking := [name for name in keys if name not in stored]:
                raise ValueError(
                    f"{path}: columns missing in the file: {', '.join(lacking)}. An earlier "
                    "version wrote it; remove it and run again: what was computed is kept"
                )
            gone = _replaced(stored, rows, keys, supersede)
            rows = pd.concat([stored[~gone], rows], ignore_index=True)
        _write(path, rows.sort_values(keys, kind="stable", ignore_index=True))


def _matches(stored: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> np.ndarray:
    """bool per stored row: some new row has the same keys."""
    if len(keys) == 1:
        return stored[keys[0]].isin(rows[keys[0]]).to_numpy()
    return pd.MultiIndex.from_frame(stored[keys]).isin(pd.MultiIndex.from_frame(rows[keys]))


def _replaced(
    stored: pd.DataFrame, rows: pd.DataFrame, keys: list[str], supersede: bool
) -> np.ndarray:
    gone = _matches(stored, rows, keys)
    if supersede and "run" in keys:
        told = [key for key in keys if key != "run"]
        gone |= _matches(stored, rows, [*told, "command"])
        gone |= _matches(stored, rows, told) & (stored["run"] == "").to_numpy()
    return gone


def _write(path: Path, rows: pd.DataFrame) -> None:
    storage.write_text(path, rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of Experiment 1 as they are read: the joint net first, accuracy before the rest."""
    names = (SPLITS, (*SYSTEMS, *CONTROLS, *REFERENCES), METRICS)
    rank = {name: at for group in names for at, name in enumerate(group)}
    return rows.sort_values(
        [*EXPERIMENT1_KEYS, "metric"],
        key=lambda column: (
            column.map(rank) if column.name in ("split", "system", "metric") else column
        ),
        kind="stable",
        ignore_index=True,
    )


def one_run(
    rows: pd.DataFrame,
    what: str,
    columns: Sequence[str] = ("dataset", "split", "profile", "seed"),
    by: Sequence[str] = ("system",),
) -> pd.DataFrame:
    """Refuse rows of several runs, which must not be averaged or counted together.

    Args:
        rows: of any table.
        what: its name, for the message.
        columns: those that must hold one value each; those the rows lack are passed over.
        by: ``run`` must hold one value for each combination of these.

    Returns:
        ``rows``.

    Raises:
        ValueError: a column holds several values, which are named.
    """
    for column in columns:
        if column in rows:
            _check_one(rows[column], what)
    if "run" in rows and len(rows):
        present = [column for column in by if column in rows]
        for _, own in rows.groupby(present) if present else [((), rows)]:
            _check_one(own["run"], what)
    return rows


def _check_one(values: pd.Series, what: str) -> None:
    found = sorted({str(value) for value in values})
    if len(found) > 1:
        raise ValueError(
            f"{what}: several in column {values.name} ({', '.join(found)}); choose one"
        )
