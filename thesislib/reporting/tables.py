"""The results as Markdown and LaTeX."""

import html

import pandas as pd

from thesislib.reporting.labels import (
    ARM_LABELS,
    ENGINE_LABELS,
    PEOPLE_LABELS,
    PIPELINE_LABELS,
    SYSTEM_LABELS,
    THESIS_EXPERIMENT1,
    THESIS_PEOPLE,
    THESIS_PHOTOS,
    TRANSFER_VARIANTS,
)
from thesislib.tables import EXPERIMENT1_KEYS, in_order, validated


def _share(row: pd.Series | None, digits: int = 1) -> str:
    return _cell(row, scale=100, digits=digits)


def _cell(row: pd.Series | None, scale: float, digits: int) -> str:
    if row is None:
        return "–"
    text = f"{scale * row['value']:.{digits}f}"
    if pd.notna(row.get("low")):
        text += f" [{scale * row['low']:.{digits}f}, {scale * row['high']:.{digits}f}]"
    return text


def _probability(row: pd.Series | None) -> str:
    if row is None:
        return "–"
    return f"{row['value']:.3f}" if row["value"] >= 0.001 else "<0.001"


def _runs(table: pd.DataFrame) -> list[tuple[tuple[str, str, str], str, dict, int]]:
    """What a printed row is made of: its labels, its photos, its numbers by metric, its digits."""
    runs = []
    for system, rows in THESIS_EXPERIMENT1.groupby("system", sort=False):
        labels = (rows["source"].iloc[0], system, f"{THESIS_PEOPLE} people")
        numbers = {row["metric"]: row for _, row in rows.iterrows()}
        runs.append((labels, str(THESIS_PHOTOS), numbers, 2))
    for key, rows in in_order(table).groupby(list(EXPERIMENT1_KEYS), sort=False):
        dataset, split, system, profile, seed = key
        labels = (f"{dataset}, {split} split", SYSTEM_LABELS[system], f"{profile}, seed {seed}")
        numbers = {row["metric"]: row for _, row in rows.iterrows()}
        photos = str(numbers["accuracy"]["n"]) if "accuracy" in numbers else "–"
        runs.append((labels, photos, numbers, 1))
    return runs


def _printed(table: pd.DataFrame) -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of the two tables, names first and boxes and speed second.

    Two, because one of eleven columns is read by nobody.
    """
    names, boxes = [], []
    for labels, photos, numbers, digits in _runs(validated("table", table)):
        get = numbers.get
        names.append(
            [
                *labels,
                photos,
                _share(get("accuracy"), digits),
                _share(get("joint_accuracy_50"), digits),
                _share(get("joint_accuracy_75"), digits),
                _share(get("oracle_box_accuracy"), digits),
                _probability(get("mcnemar_p")),
            ]
        )
        boxes.append(
            [
                *labels,
                _share(get("mean_iou"), digits),
                _share(get("mean_iou_calibrated"), digits),
                _share(get("ap50"), digits),
                _cell(get("fps"), scale=1, digits=1),
            ]
        )
    first = ["Data", "System", "Run"]
    return [
        (
            [
                *first,
                "Photos",
                "Accuracy",
                "Joint @0.5",
                "Joint @0.75",
                "Boxes given",
                "p against joint",
            ],
            names,
        ),
        ([*first, "Mean IoU", "Mean IoU, calibrated", "AP50", "FPS"], boxes),
    ]


def experiment1_markdown(table: pd.DataFrame) -> str:
    """Print Experiment 1 for a README: a table of names, and one of boxes and speed.

    The thesis's own rows come first, then a row for each dataset, split, system, profile and seed.

    Args:
        table: what :func:`read_results` gives; may have no rows.

    Returns:
        Markdown. Shares are in percent, as ``96.3 [94.1, 98.0]`` where an interval is known; "–"
        stands for what was not measured.

    Raises:
        ValueError: rows that :func:`read_results` would refuse.
    """
    parts = [
        "Shares, IoU and AP50 in percent, with 95 % bootstrap intervals over photos. Accuracy: the "
        "best detection of a photo bears the right name, wherever its box is. Joint: right name "
        "and IoU of at least the threshold, of all faces, the pipeline's boxes calibrated. Boxes "
        "given: right name read at the annotated box. p: McNemar's exact test of accuracy against "
        "the joint net's, same photos. Mean IoU and AP50: boxes as detected. Two-stage (photo): "
        "its classifier sees the whole photo, as the thesis's; (face): the detected face."
    ]
    for header, rows in _printed(table):
        parts.append(_markdown(header, rows, left=3))
    return "\n\n".join(parts)


def _markdown(header: list[str], rows: list[list[str]], left: int) -> str:
    """A table whose first ``left`` columns are text and whose others are numbers."""
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    # Names in the table are ours, yet one with "|" or "<" would break the page.
    escaped = [
        [html.escape(cell, quote=False).replace("|", "\\|") for cell in line] for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def experiment2_markdown(table: pd.DataFrame) -> str:
    """Print Experiment 2 for a README.

    Args:
        table: ``experiment2.csv``: ``source, target, variant, photos_per_person, metric, value,
            seconds, seed, profile``.

    Returns:
        Markdown: a row for each source, target and variant; shares in percent, means over seeds
        with their range.

    Raises:
        ValueError: no rows.
    """
    if not len(table):
        raise ValueError("experiment2: no rows")
    counts = sorted(table["photos_per_person"].unique())
    header = ["From → to", "What is trained", *(f"{count} a person" for count in counts)]
    header += [f"By name alone ({counts[-1]})", f"Seconds ({counts[-1]})", "Old people after"]
    rows = []
    for (source, target, profile), runs in table.groupby(["source", "target", "profile"]):
        for variant, label in TRANSFER_VARIANTS.items():
            mine = runs[runs["variant"] == variant]
            if not len(mine):
                continue
            most = mine[mine["photos_per_person"] == counts[-1]]
            rows.append(
                [
                    f"{source} → {target}, {profile}",
                    label,
                    *(
                        _over_seeds(mine[mine["photos_per_person"] == count], "joint_accuracy_50")
                        for count in counts
                    ),
                    _over_seeds(most, "accuracy"),
                    _seconds(most["seconds"].mean()) if len(most) else "–",
                    _over_seeds(most, "old_joint_accuracy_50"),
                ]
            )
    about = (
        "Joint accuracy @0.5 in percent of the new people's test faces, by photos a person, and of "
        f"the old people's after learning {counts[-1]} of each new one; by name alone: the share "
        "of photos whose best detection bears the right name, wherever its box is; means over "
        "seeds [range], where there is no range of one seed."
    )
    return f"{about}\n\n{_markdown(header, rows, left=2)}"


def _over_seeds(rows: pd.DataFrame, metric: str) -> str:
    values = 100 * rows["value"][rows["metric"] == metric]
    if not len(values):
        return "–"
    if len(values) == 1:
        return f"{values.item():.1f}"
    return f"{values.mean():.1f} [{values.min():.1f}, {values.max():.1f}]"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"


_EMBEDDING_COLUMNS = {
    "verification_accuracy": ("Verification", 100),
    "map_at_r": ("MAP@R", 100),
    "precision_at_1": ("Precision@1", 100),
    "fnir_at_fpir_1e1": ("FNIR at FPIR 10 %", 100),
    "dprime": ("d′", 1),
}


def experiment3_markdown(table: pd.DataFrame, main_arm: str) -> str:
    """Print Experiment 3 for a README: groups of people of the main arm, then the arms.

    Args:
        table: ``experiment3.csv``: ``dataset, profile, seed, people, arm, metric, value, low,
            high, n``.
        main_arm: the arm whose groups are printed.

    Returns:
        Markdown; shares in percent, 95 % intervals; "–" where the data cannot support a number.

    Raises:
        ValueError: no rows of the main arm.
    """
    if not (table["arm"] == main_arm).any():
        raise ValueError(f"experiment3: no rows of arm {main_arm}")
    groups = sorted(set(table["people"]) - {*PEOPLE_LABELS, "seen and unseen"})
    arms = ARM_LABELS | {arm: arm for arm in sorted(set(table["arm"]) - set(ARM_LABELS))}
    unseen = table[table["people"] == "unseen"]
    about = (
        "95 % bootstrap intervals over people; a bare number is one that too few people give an "
        "interval to, – one they do not support. Verification: are two photos of one person? 50 % "
        "is chance. MAP@R, precision@1: are the nearest photos of the same person? FNIR: share of "
        "enrolled people's photos that are not named, where 10 % of strangers' are (FPIR). d′: "
        "distance of similarities within people from those between, in standard deviations. Seen "
        "in training: further photos, most of them of sittings that were trained on. As few "
        "photos: as many a person as of those seen, drawn alike, but of fewer people, among whom "
        "one is found more easily. Other sittings: one photo a sitting. The rows of the two-stage "
        "classifier, of the untrained net and of shuffled labels are of the people never seen. "
        "Gallery and probes of FNIR share no sitting. Verification of few people: Student's t "
        "over ten folds."
    )
    return "\n\n".join(
        [
            about,
            _embedding_table(
                table[table["arm"] == main_arm],
                "people",
                PEOPLE_LABELS | {people: people for people in groups},
                "People",
            ),
            "People never seen, by what was changed in training:",
            _embedding_table(unseen, "arm", arms, "Arm"),
            f"The same against {arms[main_arm]}, person by person, each net "
            "trained once: differences, in bold where the interval leaves out 0.",
            _gains_table(table, arms),
        ]
    )


def _gains_table(table: pd.DataFrame, labels: dict[str, str]) -> str:
    """A row a dataset and arm that was compared: gains among people never seen."""
    shown = (("map_at_r_gain", "MAP@R", 100, 1), ("dprime_gain", "d′", 1, 2))
    groups = (("unseen", "never seen"), ("unseen_apart", "other sittings"))
    header = ["Data", "Arm"]
    header += [f"{name}, {people}" for _, people in groups for _, name, _, _ in shown]
    rows = []
    for (dataset, profile), runs in table.groupby(["dataset", "profile"]):
        for arm, label in labels.items():
            mine = runs[runs["arm"] == arm].set_index(["people", "metric"])
            cells = []
            for people, _ in groups:
                for metric, _, scale, digits in shown:
                    there = (people, metric) in mine.index
                    row = mine.loc[(people, metric)] if there else None
                    cell = _cell(row, scale, digits)
                    apart = there and (row["low"] > 0 or row["high"] < 0)
                    cells.append(f"**{cell}**" if apart else cell)
            if any(cell != "–" for cell in cells):
                rows.append([f"{dataset}, {profile}", label, *cells])
    return _markdown(header, rows, left=2)


def _embedding_table(table: pd.DataFrame, by: str, labels: dict[str, str], title: str) -> str:
    """A row for each of ``labels`` (value in column ``by``, name) that was measured."""
    header = ["Data", title, "Photos", *(name for name, _ in _EMBEDDING_COLUMNS.values())]
    rows = []
    for (dataset, profile), runs in table.groupby(["dataset", "profile"]):
        for value, label in labels.items():
            mine = runs[runs[by] == value]
            numbers = {row["metric"]: row for _, row in mine.iterrows()}
            if not numbers.keys() & _EMBEDDING_COLUMNS.keys():
                continue
            cells = [
                _cell(numbers.get(metric), scale, 1 if scale == 100 else 2)
                for metric, (_, scale) in _EMBEDDING_COLUMNS.items()
            ]
            rows.append([f"{dataset}, {profile}", label, str(int(mine["n"].max())), *cells])
    return _markdown(header, rows, left=2)


def _system_label(system: str) -> str:
    if system in PIPELINE_LABELS:
        return f"two-stage, {PIPELINE_LABELS[system]}"
    return "joint" if system == "joint" else system


def benchmark_markdown(table: pd.DataFrame) -> str:
    """Print the benchmark for a README: systems on portraits, then the cost of many faces.

    Args:
        table: ``benchmark.csv``.

    Returns:
        Markdown; times in milliseconds a photo (median), shares in percent.

    Raises:
        ValueError: no rows of portraits, or none of scenes.
    """
    total = table[table["stage"] == "total"]
    portraits = total[total["joint_accuracy_50"].notna()]
    scenes = total[total["recall_50"].notna() & total["joint_accuracy_50"].isna()]
    if not len(portraits) or not len(scenes):
        raise ValueError("benchmark: no rows of portraits or none of scenes")
    about = portraits.iloc[0]
    fastest = portraits.groupby(["system", "backbone"])["ms_median"].transform("min")
    portraits = portraits[(portraits["engine"] == "torch") | (portraits["ms_median"] == fastest)]
    words = (
        f"{about['machine']}, {about['threads']} threads, {about['input_px']} pixels, photo in "
        "memory to answer, medians of at least 30 runs; of each system its fastest engine and "
        "plain PyTorch. Ratio: of frames a second to the thesis's own setting, dlib with "
        "upsampling 1 and ResNet34 in plain PyTorch."
    )
    header = ["System", "Engine", "ms a photo", "Ratio", "Joint @0.5", "Mean IoU", "Memory, MB"]
    rows = [
        [
            f"{_system_label(row['system'])}, {row['backbone'].replace('resnet', 'ResNet')}",
            ENGINE_LABELS.get(row["engine"], row["engine"]),
            f"{row['ms_median']:.1f}",
            f"{row['ratio_to_thesis_pipeline']:.1f}",
            f"{100 * row['joint_accuracy_50']:.0f}",
            f"{100 * row['mean_iou']:.1f}",
            f"{row['peak_mb']:.0f}" if row["peak_mb"] > 0 else "–",
        ]
        for _, row in portraits.sort_values("ratio_to_thesis_pipeline", ascending=False).iterrows()
    ]
    counts = sorted(scenes["faces"].unique())
    crowd = []
    for key, own in scenes.groupby(["system", "grid", "engine"], dropna=False, sort=False):
        system, grid, engine = key
        cells = f", {grid:.0f} x {grid:.0f} cells" if system == "joint" else ""
        own = own.set_index("faces")
        crowd.append(
            [
                f"{_system_label(system)}{cells}",
                ENGINE_LABELS.get(engine, engine),
                *(
                    f"{own['ms_median'][count]:.1f} / {100 * own['recall_50'][count]:.0f}"
                    for count in counts
                ),
            ]
        )
    faces = [f"{count} face{'s' if count > 1 else ''}" for count in counts]
    return "\n\n".join(
        [
            words,
            _markdown(header, rows, left=2),
            "With many faces: ms a photo / % of the faces found at IoU 0.5 (ResNet18; the "
            "pipeline's classifier ResNet34, on each face):",
            _markdown(["System", "Engine", *faces], crowd, left=2),
        ]
    )


def experiment1_latex(table: pd.DataFrame) -> str:
    """Print the tables of :func:`experiment1_markdown` as two ``tabular`` of the booktabs package.

    Args:
        table: what :func:`read_results` gives; may have no rows.

    Returns:
        LaTeX, to be put within a ``table`` with a caption of one's own.

    Raises:
        ValueError: rows that :func:`read_results` would refuse.
    """
    parts = []
    for header, rows in _printed(table):
        head, *body = (
            " & ".join(_latex_text(cell) for cell in line) + r" \\" for line in [header, *rows]
        )
        columns = "lll" + "r" * (len(header) - 3)
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return "\n\n".join(parts)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "–": "--",
    }
)


def _latex_text(text: str) -> str:
    return text.translate(_LATEX)
