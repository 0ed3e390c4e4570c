"""The printed tables say what is stored, whatever the names in it."""

import re

import numpy as np
import pandas as pd
import pytest

from thesislib import tables as ground
from thesislib.reporting import tables

RUN = {
    "profile": "quick",
    "seed": 0,
    "backbone": "resnet18",
    "start": "scratch",
    "input_px": 96,
    "precision": "bf16",
    "commit": "70fae51",
    "run": "0123abcd",
    "command": "make figures",
}


def row(**changes):
    one = {"dataset": "synthetic", "split": "photo", "system": "joint", "metric": "accuracy"}
    one |= {"value": 0.963, "low": 0.941, "high": 0.98, "n": 300}
    return one | RUN | changes


def table(*rows):
    return pd.DataFrame(list(rows))


def plain(metric, value, **changes):
    return row(metric=metric, value=value, low=None, high=None, **changes)


def cells(name, results):
    """The rows of a printed table, and what stands above it."""
    about, rows = tables.markdown(name, results).split("\n\n")
    header, rule, *body = (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows.splitlines()
    )
    assert len({len(header), len(rule), *map(len, body)}) == 1
    return about, header, rule, body


def of_seeds(**changes):
    """A row of ``experiment1_seeds.csv``."""
    several = {"people": 30, "seeds": "0 1 2", "seed_values": "0.95 0.964 0.975"}
    return row(command="compare", **several) | changes


def difference(**changes):
    """A row of ``experiment1_pairs.csv``: the joint net leads by ten points, and that holds."""
    one = {"against": "two_stage_photo", "against_start": "scratch", "p": 0.002, "p_holm": 0.016}
    one |= {"value": 0.1, "low": 0.05, "high": 0.15, "tests": 8, "holds": True}
    return of_seeds(metric="joint_accuracy_50", seed_values="0.09 0.1 0.11", **one) | changes


# --- Experiment 1 ---------------------------------------------------------------------------------
# See also test_experiment1_tables.py.


def test_words_stand_on_the_left_and_numbers_on_the_right():
    for name, results, words in (
        ("experiment1", table(of_seeds()), 2),
        ("experiment1_pairs", table(difference()), 3),
    ):
        _, header, rule, _ = cells(name, results)
        assert [line.strip("-") for line in rule] == [":"] * len(header)
        numbers = len(header) - words
        assert [line.endswith(":") for line in rule] == [False] * words + [True] * numbers


def test_latex_of_a_small_table():
    face = {"system": "two_stage_face"}
    results = table(of_seeds(), of_seeds(**face), of_seeds(metric="joint_accuracy_50", **face))
    lines = tables.latex("experiment1", results).splitlines()
    assert lines[1] == r"\begin{tabular}{lrrrr}"
    assert [lines[at] for at in (2, 4, -3, -2)] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    given = r"\begin{tabular}[b]{@{}r@{}}Names, \\ boxes given\end{tabular}"
    assert lines[3] == rf"System & Accuracy & Joint @0.5 & {given} & Seeds \\"
    begun = r"\multicolumn{5}{l}{\textit{Begun from: the thesis, Experiment 1, other photos}} \\*"
    assert lines[5:7] == [begun, r"joint & 98.15 & -- & -- & -- \\"]
    assert lines[10:12] == [
        r"joint net & 96.3 [94.1, 98.0] & -- & -- & -- \\",
        r"two-stage (face) & 96.3 [94.1, 98.0] & 96.3 [94.1, 98.0] & -- & 95.0, 96.4, 97.5 \\",
    ]
    pairs = tables.latex("experiment1_pairs", table(difference(value=-0.1)))
    assert "& $-$10.0 [+5.0, +15.0] & +9.0, +10.0, +11.0 & 0.016 & yes" in pairs


def test_a_table_is_printed_in_the_language_of_figures(monkeypatch):
    face = {"system": "two_stage_face"}
    results = table(of_seeds(), of_seeds(**face), of_seeds(metric="joint_accuracy_50", **face))
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    about, header, _, body = cells("experiment1", results)
    assert "IoU не меньше 0,5" in about and "95-процентными" in about
    assert header[:3] == ["Система", "Начало", "Доля верных ответов"]
    assert body[0][1:3] == ["диплом, эксперимент 1, другие фото", "98,15"]
    assert body[-1] == [
        "двухэтапная (лицо)",
        "случайные веса",
        *["96,3 [94,1; 98,0]"] * 2,
        "–",
        "95,0; 96,4; 97,5",
    ]
    assert "двухэтапная (лицо) & 96,3 [94,1; 98,0]" in tables.latex("experiment1", results)


def test_printed_names_do_not_break_the_page():
    odd = "a|b_<c>&5%"
    _, _, _, body = cells("experiment1", table(of_seeds(start=odd)))
    assert body[-1][1] == r"a\|b_&lt;c&gt;&amp;5%"
    latex = tables.latex("experiment1", table(of_seeds(start=odd)))
    assert r"joint net & a|b\_$<$c$>$\&5\% &" in latex
    pairs = table(difference(against_start=odd, p_holm=1e-7))
    _, _, _, body = cells("experiment1_pairs", pairs)
    assert body[0][1] == r"two-stage (photo), a\|b_&lt;c&gt;&amp;5%"
    assert body[0][5] == "&lt;0.001"
    assert "& $<$0.001 &" in tables.latex("experiment1_pairs", pairs)


@pytest.mark.parametrize("name", ["001", "1e5", "007.50", "Анна Ким", "王小明"])
def test_printed_names_are_left_as_they_are(name):
    _, _, _, body = cells("experiment1", table(of_seeds(start=name)))
    assert body[-1][1] == name


# --- Experiment 2 ---------------------------------------------------------------------------------


def transfer_rows(*rows):
    one = {"source": "a", "target": "b", "variant": "classifier", "photos_per_person": 1}
    one |= {"metric": "joint_accuracy_50", "value": 0.5, "seconds": 1.23, "budget": "equal"} | RUN
    one |= {"steps": 60}
    return pd.DataFrame([one | change for change in rows])


def test_experiment_2_is_printed_as_means_over_seeds_with_their_range():
    results = transfer_rows(
        {"value": 0.5},
        {"value": 0.7, "seed": 1},
        {"photos_per_person": 4, "value": 0.8},
        {"photos_per_person": 4, "metric": "accuracy", "value": 0.85},
        {"photos_per_person": 4, "metric": "old_joint_accuracy_50", "value": 0.9},
        {"photos_per_person": 4, "metric": "old_accuracy_enrolled", "value": 0.95},
        {"photos_per_person": 4, "value": 0.82, "budget": "converged", "steps": 240},
        {"photos_per_person": 4, "value": 0.84, "budget": "converged", "steps": 480, "seed": 1},
        {"variant": "nearest", "budget": "none", "photos_per_person": 4, "value": 0.4, "steps": 0},
        {"variant": "scratch", "photos_per_person": 4, "value": 0.1},
        {"variant": "hog_nearest", "budget": "none", "photos_per_person": 4, "value": 0.3}
        | {"metric": "oracle_box_accuracy"},
    )
    about, header, _, body = cells("experiment2", results)
    assert "of one seed" in about and "of 4 photos" in about
    assert header[2:] == [
        "Steps",
        "1",
        "4",
        "Names alone",
        "Seconds",
        "Old people",
        "Old names, enrolled anew",
    ]
    assert [line[1:] for line in body] == [
        ["nearest photo, no training", "–", "–", "40.0", "–", "1.2", "–", "–"],
        ["classifier", "equal, 60", "60.0 [50.0, 70.0]", "80.0", "85.0", "1.2", "90.0", "95.0"],
        ["classifier", "converged, 240–480", "–", "83.0 [82.0, 84.0]", "–", "1.2", "–", "–"],
        ["from scratch", "equal, 60", "–", "10.0", "–", "1.2", "–", "–"],
        ["nearest face, HOG", "–", "–", "–", "30.0", "1.2", "–", "–"],
    ]
    assert {line[0] for line in body} == {"a → b, quick"}
    with pytest.raises(ValueError, match="experiment2: no rows"):
        tables.markdown("experiment2", results[:0])


def test_experiment_2_averages_no_two_runs_or_profiles():
    results = transfer_rows({"value": 0.2}, {"value": 0.4, "run": "4567cdef"}, {"profile": "full"})
    _, _, _, body = cells("experiment2", results)
    assert [[line[0], line[3]] for line in body] == [
        ["a → b, full", "50.0"],
        ["a → b, quick, run 0123abcd", "20.0"],
        ["a → b, quick, run 4567cdef", "40.0"],
    ]


def test_variants_that_were_compared_stand_with_what_may_be_said():
    told = {"variant": "nearest", "budget": "none", "against": "classifier"}
    told |= {"against_budget": "converged", "metric": "accuracy", "photos_per_person": 8}
    numbers = {"value": 0.031, "low": 0.01, "high": 0.052, "seed_values": "0.02 0.042"}
    numbers |= {"p_holm": 0.0004, "tests": 12, "holds": True}
    one = {"source": "a", "target": "b"} | told | numbers | RUN
    about, _, _, body = cells("experiment2_pairs", pd.DataFrame([one]))
    assert "12 tests" in about
    assert [body[0][:4], body[0][4:]] == [
        ["8", "nearest photo, no training", "classifier, converged", "accuracy"],
        ["+3.1 [+1.0, +5.2]", "+2.0, +4.2", "&lt;0.001", "yes"],
    ]
    with pytest.raises(ValueError, match="several in column target"):
        tables.markdown("experiment2_pairs", pd.DataFrame([one, one | {"target": "c"}]))
    with pytest.raises(ValueError, match="experiment2_pairs: no rows"):
        tables.markdown("experiment2_pairs", pd.DataFrame([one])[:0])


# --- pre-training and benchmark -------------------------------------------------------------------


def test_pretraining_is_printed_by_what_it_began_from():
    keys = {"steps": 654, "metric": "joint_accuracy_50", "dataset": "ytf"}
    results = table(
        row(**keys | {"value": 0.5, "low": 0.4, "high": 0.6, "arm": "random weights"}),
        row(**keys | {"value": 0.6, "low": 0.5, "high": 0.7, "arm": "synthetic people"}),
        plain(**keys | {"metric": "mcnemar_p", "value": 1e-5, "arm": "synthetic people"}),
    )
    _, header, _, body = cells("pretraining", results)
    assert header == ["Data", "Begun from", "Steps", "Joint @0.5", "Mean IoU", "p"]
    data = "ytf, photo split, quick, seed 0"
    assert body == [
        [data, "random weights", "654", "50.0 [40.0, 60.0]", "–", "–"],
        [data, "synthetic people", "654", "60.0 [50.0, 70.0]", "–", "&lt;0.001"],
    ]


def benchmark_rows():
    same = RUN | {"stage": "total", "machine": "m", "threads": 2, "input_px": 320}
    portraits = [
        ("two_stage_up1", "torch", "resnet34", 100.0, 1.0, 0.8, np.nan),
        ("joint", "openvino_int8", "resnet18", 8.0, 12.5, 0.9, 300.4),
        ("joint", "onnxruntime", "resnet18", 9.0, 11.1, 0.9, 300.4),
    ]
    rows = [
        same
        | {"system": system, "engine": engine, "backbone": backbone, "ms_median": ms, "faces": 1}
        | {"ratio_to_thesis_pipeline": ratio, "joint_accuracy_50": share, "mean_iou": 0.75}
        | {"recall_50": 1.0, "peak_mb": peak}
        for system, engine, backbone, ms, ratio, share, peak in portraits
    ]
    for system, grid, counts in (("joint", 5, (1, 32)), ("two_stage_up0", np.nan, (1, 4, 32))):
        for faces in counts:
            one = {"system": system, "engine": "openvino", "grid": grid, "faces": faces}
            rows.append(same | one | {"ms_median": 2.0 * faces, "recall_50": 1 / faces})
    return pd.DataFrame(rows)


def test_the_benchmark_is_printed_with_recall_beside_each_time():
    results = benchmark_rows()
    about, _, _, body = cells("benchmark", results)
    assert about.startswith("m, 2 threads, 320 pixels,")
    assert body == [  # ONNX Runtime is neither fastest nor plain
        ["joint net, ResNet18", "OpenVINO int8", "8.0", "12.5", "90", "75.0", "300"],
        ["two-stage, upsampling 1, ResNet34", "PyTorch", "100.0", "1.0", "80", "75.0", "–"],
    ]
    _, header, _, body = cells("benchmark_faces", results)
    assert header == ["System", "Engine", "1 face", "4 faces", "32 faces"]
    assert body == [
        ["joint net, 5 x 5 cells", "OpenVINO fp32", "2.0 / 100", "–", "64.0 / 3"],
        ["two-stage, upsampling 0", "OpenVINO fp32", "2.0 / 100", "8.0 / 25", "64.0 / 3"],
    ]


def test_the_frontier_is_printed_with_what_each_point_finds():
    same = RUN | {"machine": "m", "photos": 100, "input_px": 320, "engine": "openvino"}
    rows = []
    for faces in (1, 2, 16):
        one = same | {"faces": faces, "ms_median": 9.0, "false_boxes": 0.25, "recall_50": 0.9}
        joint = {"system": "joint", "grid": 10, "threshold": 0.5, "joint_accuracy_50": 0.8}
        rows.append(one | joint)
        one |= {"system": "two_stage_up1", "grid": np.nan, "threshold": -0.3}
        rows.append(one | {"joint_accuracy_50": np.nan, "ms_median": 50.0 + faces})
        rows.append(rows[-1] | {"engine": "torch"})
    about, header, _, body = cells("benchmark_frontier", pd.DataFrame(rows))
    assert "the same 100 photos of 320 pixels" in about
    assert header == ["System", "Engine", "Score", "1 face", "16 faces"]
    assert body == [
        [
            "joint net, 10 x 10 cells",
            "OpenVINO fp32",
            "0.5",
            *["9.0 / 90 / 80 / 0.25"] * 2,
        ],
        [
            "two-stage, upsampling 1",
            "OpenVINO fp32",
            "-0.3",
            "51.0 / 90 / – / 0.25",
            "66.0 / 90 / – / 0.25",
        ],
    ]


def test_the_gate_and_the_limits_are_printed():
    judged = [("openvino", 0.95, 0.8, True), ("openvino_bf16", 0.93, 0.79, False)]
    names = ["engine", "joint_accuracy_50", "mean_iou", "offered"]
    same = RUN | {"machine": "m", "backbone": "resnet18"}
    results = pd.DataFrame(judged, columns=names).assign(n=520, **same)
    about, _, _, body = cells("benchmark_gate", results)
    assert "on 520 faces" in about
    assert body == [
        ["ResNet18", "OpenVINO fp32", "95.0", "80.0", "yes"],
        ["ResNet18", "OpenVINO bf16", "93.0", "79.0", "no"],
    ]
    times = {"ms": 10.0, "ms_network": 8.0, "ms_alone": 9.0, "ms_awake": 6.0}
    shares = {"share_of_peak": 0.5, "share_of_peak_network": 0.6, "share_of_peak_awake": 0.8}
    rows = [same | times | shares | {"engine": engine} for engine in ("openvino_int8", "training")]
    _, header, _, body = cells("benchmark_limits", pd.DataFrame(rows))
    assert dict(zip(header, *body, strict=True)) == {
        "Net": "ResNet18",
        "Engine": "OpenVINO int8",
        "Call": "10.0",
        "Network": "8.0",
        "Alone": "9.0",
        "Awake": "6.0",
        "% of peak": "50",
        "%, network": "60",
        "%, awake": "80",
    }


def test_the_benchmark_of_nothing_and_of_two_machines_is_refused():
    results = benchmark_rows()
    with pytest.raises(ValueError, match="no rows of portraits"):
        tables.markdown("benchmark", results[results["joint_accuracy_50"].isna()])
    with pytest.raises(ValueError, match="no rows of scenes"):
        tables.markdown("benchmark_faces", results[results["joint_accuracy_50"].notna()])
    two = pd.concat([results, results.assign(machine="n")])
    with pytest.raises(ValueError, match=r"several in column machine \(m, n\); choose one"):
        tables.markdown("benchmark", two)


def test_every_printed_table_names_a_known_file():
    for source in tables.TABLES.values():
        assert source.file.removesuffix(".csv") in ground.KEYS


def test_a_table_of_an_earlier_version_is_told_by_the_column_it_lacks():
    with pytest.raises(ValueError, match=r"experiment1_seeds.csv: no 'low' for the table"):
        tables.markdown("experiment1", table(of_seeds()).drop(columns="low"))
