"""Figures of the benchmark are drawn from its tables, and show what is in them."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from thesislib.reporting import benchmark_tables
from thesislib.reporting.figures import benchmark
from thesislib.tables import BENCHMARK_COLUMNS, FRONTIER_COLUMNS


@pytest.fixture
def table():
    """Made-up rows in the form of ``benchmark.csv``."""
    rows = []

    def add(system, engine, ms, backbone="resnet34", **other):
        row = {"system": system, "engine": engine, "ms_median": ms, "backbone": backbone}
        row |= {"stage": "total", "faces": 1, "people": 20, "batch": 1, "input_px": 320}
        rows.append(row | {"ratio_to_thesis_pipeline": 160 / ms} | other)

    for backbone, ms in (("resnet34", 9.0), ("resnet18", 5.0)):
        for engine, times in (("openvino_int8", 1), ("openvino", 8), ("torch", 14)):
            add("joint", engine, ms * times, backbone, joint_accuracy_50=0.9, recall_50=1, grid=5)
        for batch in (2, 4, 8):
            add("joint", "openvino_int8", ms * (0.8 + 0.2 / batch), backbone, batch=batch)
    for up in (0, 1):
        for engine, ms in (("openvino_int8", 20), ("torch", 110)):
            pipeline, total = f"two_stage_up{up}", ms + 45 * up
            add(pipeline, engine, total, joint_accuracy_50=0.8, recall_50=0.9)
    for faces in (1, 2, 4, 8, 16, 32):
        for grid in (5, 10, 20):
            recall = min(1, grid**2 / (20 * faces))
            add("joint", "openvino_int8", 5, "resnet18", faces=faces, grid=grid, recall_50=recall)
        for engine, each in (("torch", 70), ("openvino_int8", 6)):
            ms = 50 + each * faces
            add("two_stage_up1", engine, ms, faces=faces, recall_50=0.9)
    for px in (160, 640):
        add("joint", "openvino_int8", 5 * (px / 320) ** 2, "resnet18", input_px=px)
        add("two_stage_up1", "torch", 160 * (px / 320) ** 2, input_px=px)
    # A stage of the headline's calls, which is no sweep over people.
    add("yunet_dlib", "openvino", 0.1, "own", stage="classifier")
    for people in (10, 1000, 100_000):
        for system in ("joint", "gallery"):
            for faces in (1, 32):
                ms = 0.01 + faces * people / 2e6
                add(system, "torch", ms, stage="classifier", people=people, faces=faces)
    about = {"threads": 2, "machine": "m", "profile": "benchmark", "seed": 0, "run": "0123abcd"}
    return pd.DataFrame(rows).assign(**about).reindex(columns=list(BENCHMARK_COLUMNS))


@pytest.fixture
def limits():
    rows = []
    for backbone, operations in (("resnet34", 2.1e10), ("resnet18", 1.04e10)):
        for engine, precision, size, ms, peak in (
            ("openvino_int8", "int8", 1, 8, 4.4e12),
            ("openvino_bf16", "bf16", 2, 12, 2.8e12),
            ("openvino", "fp32", 4, 63, 3.5e11),
            ("torch", "fp32", 4, 110, 3.5e11),
        ):
            rate = operations / (ms * operations / 2.1e10 / 1000)
            rows.append((backbone, engine, precision, operations, 8e7 * size, rate, peak))
    names = ["backbone", "engine", "precision", "operations", "bytes", "operations_per_second"]
    rows = pd.DataFrame(rows, columns=[*names, "peak"]).assign(memory=1.2e10)
    return rows.assign(share_of_peak=rows["operations_per_second"] / rows["peak"])


def test_cost_of_faces_shows_time_and_recall(table):
    left, right = benchmark.cost_of_faces(table).axes
    assert len(left.lines) == len(right.lines) == 5
    shown = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert shown == [
        "joint net, 5 × 5 cells, OpenVINO int8",
        "joint net, 10 × 10 cells, OpenVINO int8",
        "joint net, 20 × 20 cells, OpenVINO int8",
        "two-stage, upsampling 1, PyTorch",
        "two-stage, upsampling 1, OpenVINO int8",
    ]
    np.testing.assert_allclose(right.lines[1].get_ydata(), 100 * np.minimum(
        1, 100 / (20 * np.array([1, 2, 4, 8, 16, 32]))))  # fmt: skip
    assert np.allclose(left.lines[0].get_ydata(), 5)
    assert {line.get_marker() for line in left.lines} == {"o", "s"}  # told apart without colour
    slow = next(line for line in left.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(slow.get_ydata(), [120, 190, 330, 610, 1170, 2290])


def test_ratios_are_drawn_as_they_stand(table):
    (axis,) = benchmark.engine_ratios(table).axes
    shown = sorted(patch.get_width() for patch in axis.patches)
    rows = table[table["joint_accuracy_50"].notna()]
    np.testing.assert_allclose(shown, sorted(rows["ratio_to_thesis_pipeline"]))
    texts = [text.get_text() for text in axis.texts]
    assert " joint net, ResNet34" in texts and " two-stage, upsampling 0, ResNet34" in texts
    assert len(axis.get_yticklabels()) == len(rows)
    reference = next(text for text in axis.texts if text.get_text() == "1: the thesis's pipeline")
    (line,) = (line for line in axis.lines if np.ptp(line.get_xdata()) == 0)
    assert line.get_xdata()[0] == reference.xy[0] == 1


def test_a_bar_has_its_ratio_time_and_share_in_columns(table):
    (axis,) = benchmark.engine_ratios(table).axes

    def row(y):
        def place(text):
            return text.xy if isinstance(text, Annotation) else text.get_position()

        return [text.get_text() for text in axis.texts if place(text)[1] == y]

    assert row(-1.2) == ["ms per photo", "found and named, %", "1: the thesis's pipeline"]
    assert row(0) == [" joint net, ResNet34"]
    assert row(1) == ["17.8", "9.0", "90.0"]
    told = [text for text in axis.texts if text.get_text() in ("9.0", "126.0")]
    assert len({text.get_position()[0] for text in told}) == 1


def test_the_roofline_has_a_point_an_engine(limits):
    axis, shares = benchmark.roofline(limits).axes
    points = [line for line in axis.lines if len(line.get_xdata()) == 1]
    assert len(points) == len(limits)
    found = [float(line.get_ydata()[0]) for line in points]
    np.testing.assert_allclose(sorted(found), sorted(limits["operations_per_second"] / 1e9))
    shown = [patch.get_width() for patch in shares.patches]
    np.testing.assert_allclose(sorted(shown), sorted(100 * limits["share_of_peak"]))


def test_the_roofs_are_named_above_their_lines(limits):
    figure = benchmark.roofline(limits)
    axis = figure.axes[0]
    texts = {text.get_text(): text for text in axis.texts}
    assert set(texts) == {
        *("peak of int8: 4400", "peak of bf16: 2800", "peak of fp32: 350", "memory: 12 GB/s"),
    }
    figure.draw_without_rendering()
    for name, text in texts.items():
        if name.startswith("peak"):
            peak = axis.transData.transform((1, float(name.split(": ")[1])))[1]
            assert text.get_window_extent().y0 > peak
    roofs = [line for line in axis.lines if len(line.get_xdata()) > 1]
    assert all(line.get_ydata()[0] < 0.4 * line.get_ydata()[-1] for line in roofs)  # a slope each
    assert not axis.get_legend() and figure.legends
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert {"100", "1000", "2000"} <= set(ticks)


def test_cost_of_work_has_its_three_parts(table):
    sizes, batches, people = benchmark.cost_of_work(table).axes
    drawn = {
        axis: {line.get_label(): line for line in axis.lines} for axis in (sizes, batches, people)
    }
    assert set(drawn[sizes]) == {
        "joint net, ResNet18, OpenVINO int8",
        "two-stage, upsampling 1, PyTorch",
    }
    assert drawn[sizes]["joint net, ResNet18, OpenVINO int8"].get_xdata().tolist() == [
        160,
        320,
        640,
    ]
    assert set(drawn[batches]) == {"ResNet34, OpenVINO int8", "ResNet18, OpenVINO int8"}
    line = drawn[batches]["ResNet34, OpenVINO int8"]
    assert line.get_xdata().tolist() == [1, 2, 4, 8]
    np.testing.assert_allclose(line.get_ydata(), [9, 8.1, 7.65, 7.425])
    sizes.figure.draw_without_rendering()
    assert [label.get_text() for label in sizes.get_xticklabels()] == ["160", "320", "640"]
    assert {"0.01", "1"} <= {label.get_text() for label in people.get_yticklabels()}
    ticks = [label.get_text() for label in people.get_xticklabels()]
    assert {"10", "1000", "10\N{THIN SPACE}000", "100\N{THIN SPACE}000"} <= set(ticks)
    assert set(drawn[people]) == {
        "classifier, 1 face",
        "classifier, 32 faces",
        "gallery, exact search, 1 face",
        "gallery, exact search, 32 faces",
    }
    line = drawn[people]["classifier, 32 faces"]
    np.testing.assert_allclose(line.get_ydata(), 0.01 + 32 * np.array([10, 1000, 1e5]) / 2e6)


@pytest.fixture
def frontier():
    """Made-up rows in the form of ``benchmark_frontier.csv``."""
    rows = []
    for faces in (1, 2, 16):
        for grid in (5, 10):
            for threshold in (0.2, 0.5, 0.8):
                recall = (1 - threshold) * grid / 10
                row = {"system": "joint", "engine": "openvino", "threshold": threshold}
                row |= {"faces": faces, "grid": grid, "ms_median": 9.0, "recall_50": recall}
                row |= {"joint_accuracy_50": recall / 2, "false_boxes": 0.4 - threshold / 2}
                rows.append(row)
        for threshold in (-0.6, 0.0):
            row = {"system": "two_stage_up1", "engine": "openvino", "threshold": threshold}
            row |= {"faces": faces, "ms_median": 50.0 + faces, "recall_50": 0.5 - threshold / 2}
            rows.append(row | {"joint_accuracy_50": 0.4, "false_boxes": -threshold})
        rows.append(rows[-1] | {"engine": "torch", "ms_median": 90.0})
    about = {"threads": 2, "machine": "m", "profile": "benchmark", "seed": 0, "run": "0123abcd"}
    about |= {"n": 100, "photos": 100, "input_px": 320}
    return pd.DataFrame(rows).assign(**about).reindex(columns=list(FRONTIER_COLUMNS))


def test_the_frontier_has_a_curve_a_system_and_a_point_a_threshold(frontier):
    figure = benchmark.frontier(frontier)
    above, below = np.reshape(figure.axes, (2, 2))  # 1 and 16 faces
    assert [axis.get_title() for axis in above] == ["1 face a photo", "16 faces a photo"]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [
        "joint net, 5 × 5 cells, OpenVINO fp32",
        "joint net, 10 × 10 cells, OpenVINO fp32",
        "two-stage, upsampling 1, OpenVINO fp32",
        "more than 0.1 false boxes a photo",
    ]
    curves = [line for line in above[1].lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(curves[1].get_ydata(), [80, 50, 20])
    np.testing.assert_allclose(curves[2].get_xdata(), [66, 66])
    np.testing.assert_allclose(curves[2].get_ydata(), [80, 50])
    named = [line for line in below[0].lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(named[1].get_ydata(), [40, 25, 10])
    # Hollow where there are more than 0.1 false boxes a photo: at 0.2 and 0.5, and at -0.6.
    hollow = [
        len(line.get_xdata())
        for line in above[1].lines
        if line.get_linestyle() == "None" and line.get_markerfacecolor() == "white"
    ]
    assert hollow == [2, 2, 1]


def test_in_russian(table, limits, frontier, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    left, right = benchmark.cost_of_faces(table).axes
    assert left.get_xlabel() == "лиц на фото" and right.get_ylabel().endswith("IoU ≥ 0,5, %")
    (ratios,) = benchmark.engine_ratios(table).axes
    assert {"1: двухэтапная система диплома", "17,8"} <= {text.get_text() for text in ratios.texts}
    above = benchmark.frontier(frontier).axes[:2]
    assert [axis.get_title() for axis in above] == ["1 лицо на фото", "16 лиц на фото"]
    people = benchmark.cost_of_work(table).axes[2]
    named = {text.get_text() for text in people.get_legend().get_texts()}
    assert {"классификатор, 1 лицо", "галерея, полный перебор, 32 лица"} <= named
    assert benchmark.roofline(limits).axes[0].get_ylabel() == "10⁹ операций в секунду"


def test_tables_in_russian(table, limits, frontier, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    times = dict.fromkeys(("ms", "ms_network", "ms_alone", "ms_awake"), 9.0)
    times |= dict.fromkeys(("share_of_peak_network", "share_of_peak_awake"), 0.5)
    gate = limits.assign(n=520, offered=True, joint_accuracy_50=0.8, mean_iou=0.7)
    for about, cells, _ in (
        benchmark_tables.portraits(table),
        benchmark_tables.faces(table),
        benchmark_tables.frontier(frontier),
        benchmark_tables.gate(gate),
        benchmark_tables.limits(limits.assign(**times)),
    ):
        assert re.search("[а-я]", about) and cells.columns.is_unique
        words = " ".join(cells.columns)
        assert "Движок" in words and not re.search("[a-z]{3}", words.replace("IoU", ""))
    about, cells, _ = benchmark_tables.portraits(table)
    assert about.startswith("m, потоков: 2, 320 пикселей;")
    assert benchmark_tables.gate(gate)[1]["Предлагается"].tolist() == ["да"] * len(gate)


@pytest.mark.parametrize("column", ["machine", "profile", "seed", "run"])
def test_times_of_two_runs_are_not_drawn_together(table, limits, frontier, column):
    def two(rows):
        return pd.concat([rows.assign(**{column: value}) for value in ("a", "b")])

    for draw in (benchmark.cost_of_faces, benchmark.engine_ratios, benchmark.cost_of_work):
        with pytest.raises(ValueError, match=rf"benchmark: several in column {column} \(a, b\)"):
            draw(two(table))
    with pytest.raises(ValueError, match=rf"benchmark_frontier: several in column {column}"):
        benchmark.frontier(two(frontier))
    with pytest.raises(ValueError, match=rf"benchmark_limits: several in column {column} \(a, b\)"):
        benchmark.roofline(two(limits))
