"""What the benchmark's tables print: text, cells, and how many columns are words."""

import pandas as pd

from thesislib.reporting.labels import (
    PIPELINE_LABELS,
    backbone_label,
    busy_sentence,
    engine_label,
    timed_system_label,
)
from thesislib.reporting.language import _, ngettext
from thesislib.tables import one_run


def portraits(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """Systems on portraits: of each its fastest engine, and plain PyTorch."""
    rows = _timed(table)
    rows = rows[rows["joint_accuracy_50"].notna()]
    if not len(rows):
        raise ValueError("benchmark: no rows of portraits")
    first = rows.iloc[0]
    about = _(
        "{machine}, {threads} threads, {px} pixels, photo in "
        "memory to answer, medians of at least 30 runs; of each system its fastest engine and "
        "plain PyTorch. Ratio: of frames per second to the thesis's own setting, dlib with "
        "upsampling 1 and ResNet34 in plain PyTorch. Joint accuracy and mean IoU in percent."
    ).format(machine=first["machine"], threads=first["threads"], px=first["input_px"])
    fastest = rows.groupby(["system", "backbone"])["ms_median"].transform("min")
    rows = rows[(rows["engine"] == "torch") | (rows["ms_median"] == fastest)]
    header = [_("System"), _("Engine"), _("ms per photo"), _("Ratio"), _("Joint @0.5")]
    header += [_("Mean IoU"), _("Memory, MB")]
    cells = [
        [
            _with_backbone(row),
            engine_label(row["engine"]),
            f"{row['ms_median']:.1f}",
            f"{row['ratio_to_thesis_pipeline']:.1f}",
            f"{100 * row['joint_accuracy_50']:.0f}",
            f"{100 * row['mean_iou']:.1f}",
            f"{row['peak_mb']:.0f}" if row["peak_mb"] > 0 else "–",
        ]
        for _at, row in rows.sort_values("ratio_to_thesis_pipeline", ascending=False).iterrows()
    ]
    return about + busy_sentence(rows), pd.DataFrame(cells, columns=header), 2


def faces(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """The cost of many faces in a photo."""
    rows = _timed(table)
    rows = rows[rows["recall_50"].notna() & rows["joint_accuracy_50"].isna()]
    if not len(rows):
        raise ValueError("benchmark: no rows of scenes")
    of_joint = rows["system"] == "joint"
    one, two = (
        ", ".join(map(backbone_label, own["backbone"].unique()))
        for own in (rows[of_joint], rows[rows["system"].isin(PIPELINE_LABELS)])
    )
    about = _(
        "Photos of many faces: ms per photo / % of the faces found at IoU 0.5 ({one}; the "
        "pipeline's classifier is a {two}, run on each face)."
    ).format(one=one, two=two)
    counts = sorted(int(count) for count in rows["faces"].unique())
    cells = []
    groups = rows.groupby(["system", "grid", "engine"], dropna=False, sort=False)
    for (system, grid, engine), own in groups:
        at = own.set_index("faces")
        pairs = [
            f"{at['ms_median'][count]:.1f} / {100 * at['recall_50'][count]:.0f}"
            if count in at.index
            else "–"
            for count in counts
        ]
        label = f"{timed_system_label(system)}{_cells_of(system, grid)}"
        cells.append([label, engine_label(engine), *pairs])
    header = [_("System"), _("Engine"), *(_faces(count) for count in counts)]
    return about + busy_sentence(rows), pd.DataFrame(cells, columns=header), 2


def frontier(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """What a system costs and finds at each threshold, in photos of few, some and many faces."""
    one_run(table, "benchmark_frontier", columns=("profile", "seed", "machine"), by=())
    if not len(table):
        raise ValueError("benchmark_frontier: no rows")
    table = table[table["engine"] != "torch"]
    counts = [count for count in (1, 4, 16) if count in set(table["faces"])]
    first = table.iloc[0]
    about = _(
        "By least score of a face (probability; of dlib's detector margin): ms per photo / % of "
        "the faces found at IoU 0.5 / % of the people known found and named rightly / boxes on no "
        "face, a photo. All see the same {photos} photos of {px} pixels "
        "for each number of faces, and know the same people."
    ).format(photos=first["photos"], px=first["input_px"])
    groups = table.groupby(["system", "grid", "engine", "threshold"], dropna=False, sort=False)
    cells = []
    for (system, grid, engine, threshold), own in groups:
        at = own.set_index("faces")
        cells.append(
            [
                f"{timed_system_label(system)}{_cells_of(system, grid)}",
                engine_label(engine),
                f"{threshold:g}",
                *(_point(at.loc[count]) for count in counts),
            ]
        )
    header = [_("System"), _("Engine"), _("Score"), *(_faces(count) for count in counts)]
    return about + busy_sentence(table), pd.DataFrame(cells, columns=header), 2


def _point(row: pd.Series) -> str:
    named = row["joint_accuracy_50"]
    return (
        f"{row['ms_median']:.1f} / {100 * row['recall_50']:.0f} / "
        f"{'–' if pd.isna(named) else f'{100 * named:.0f}'} / {row['false_boxes']:.2f}"
    )


def _cells_of(system: str, grid: float) -> str:
    if system != "joint":
        return ""
    cells = _("{n} x {n} cells").format(n=f"{grid:.0f}")
    return f", {cells}"


def _faces(count: int) -> str:
    return ngettext("{n} face", "{n} faces", count).format(n=count)


def gate(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """What engines of lower precision cost, on photos that were looked at for nothing else."""
    one_run(table, "benchmark_gate", columns=("profile", "seed", "machine"), by=())
    about = _(
        "Joint accuracy and mean IoU in percent on {n} faces that were neither "
        "trained on, calibrated with nor tested. An engine is offered if it costs at most half a "
        "point of the first and one of the second."
    ).format(n=table["n"].iloc[0])
    cells = [
        [
            backbone_label(row["backbone"]),
            engine_label(row["engine"]),
            f"{100 * row['joint_accuracy_50']:.1f}",
            f"{100 * row['mean_iou']:.1f}",
            _("yes") if row["offered"] else _("no"),
        ]
        for _at, row in table.iterrows()
    ]
    header = [_("Net"), _("Engine"), _("Joint @0.5"), _("Mean IoU"), _("Offered")]
    return about, pd.DataFrame(cells, columns=header), 2


def limits(table: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
    """Where the time of the headline's calls goes, and what share of the peak they reach."""
    one_run(table, "benchmark_limits", columns=("profile", "seed", "machine"), by=())
    table = table[table["engine"] != "training"]
    about = _(
        "Milliseconds, medians, and percent of what a matrix product of that precision reaches. "
        "Call: photo in memory to answer, systems in turns, as in the first table; network: the "
        "network's stage of the same calls; alone: calls with the same pause between them, but no "
        "other system's turn; awake: calls that follow one another at once."
    )
    told = ("ms", "ms_network", "ms_alone", "ms_awake")
    shares = ("share_of_peak", "share_of_peak_network", "share_of_peak_awake")
    cells = [
        [
            backbone_label(row["backbone"]),
            engine_label(row["engine"]),
            *(f"{row[name]:.1f}" for name in told),
            *(f"{100 * row[name]:.0f}" for name in shares),
        ]
        for _at, row in table.iterrows()
    ]
    header = [_("Net"), _("Engine"), _("Call"), _("Network"), _("Alone"), _("Awake")]
    header += [_("% of peak"), _("%, network"), _("%, awake")]
    return about, pd.DataFrame(cells, columns=header), 2


def _timed(table: pd.DataFrame) -> pd.DataFrame:
    one_run(table, "benchmark", columns=("profile", "seed", "machine"), by=())
    return table[table["stage"] == "total"]


def _with_backbone(row: pd.Series) -> str:
    label = timed_system_label(row["system"])
    return label if row["backbone"] == "own" else f"{label}, {backbone_label(row['backbone'])}"
