"""The stored results keep what they hold, and the printed tables say what is stored."""

import errno
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thesislib import storage, tables
from thesislib.reporting import labels, readme, tables


def row(**changes):
    one = {
        "dataset": "synthetic",
        "split": "photo",
        "system": "joint",
        "metric": "accuracy",
        "value": 0.963,
        "low": 0.941,
        "high": 0.98,
        "n": 300,
        "profile": "quick",
        "seed": 0,
        "backbone": "mobilenet_v3_large",
        "input_px": 320,
        "command": "doit experiment1",
    }
    return one | changes


def table(*rows):
    return pd.DataFrame(list(rows))


def plain(metric, value, **changes):
    return row(metric=metric, value=value, low=None, high=None, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tables" / "experiment1.csv"


# Stored


def test_what_is_merged_is_read_back(path):
    rows = table(row(), plain("fps", 34.5, n=30), row(system="two_stage_face"))
    tables.merge_results(path, rows)
    stored = tables.read_results(path)
    assert stored.columns.tolist() == list(tables.EXPERIMENT1_COLUMNS)
    assert stored["metric"].tolist() == ["accuracy", "fps", "accuracy"]
    assert stored["value"].tolist() == [0.963, 34.5, 0.963]
    assert stored["low"].isna().tolist() == [False, True, False]
    assert stored["seed"].dtype == np.int64


def test_merge_replaces_the_same_run_whole_and_keeps_all_others(path):
    others = [
        row(dataset="ytf"),
        row(split="session"),
        row(system="two_stage_photo"),
        row(profile="full"),
        row(seed=1),
    ]
    tables.merge_results(path, table(row(), plain("fps", 30.0), *others))
    before = tables.read_results(path)
    tables.merge_results(path, table(row(value=0.95), plain("ap50", 0.9)))
    after = tables.read_results(path)
    assert _of_run(after)[["metric", "value"]].to_numpy().tolist() == [
        ["accuracy", 0.95],
        ["ap50", 0.9],
    ]
    kept = after.drop(_of_run(after).index).reset_index(drop=True)
    assert len(kept) == len(others)
    expected = before.drop(_of_run(before).index).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, expected)


def _of_run(rows):
    run = ["synthetic", "photo", "joint", "quick", 0]
    return rows[(rows[list(tables.EXPERIMENT1_KEYS)] == run).all(axis=1)]


def test_merge_by_metric_replaces_that_number_only(path):
    tables.merge_results(path, table(row(), plain("fps", 30.0)))
    keys = (*tables.EXPERIMENT1_KEYS, "metric")
    tables.merge_results(path, table(plain("fps", 35.0)), keys=keys)
    assert tables.read_results(path)["value"].tolist() == [0.963, 35.0]


def test_bytes_do_not_depend_on_the_order_of_the_runs(tmp_path):
    rows = [
        row(system=system, seed=seed, metric=metric, value=1 / 3, low=0.1 / 3, high=2 / 3)
        for system in tables.SYSTEMS
        for seed in (2, 10)
        for metric in ("ap50", "accuracy")
    ]
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    tables.merge_results(a, table(*rows))
    for one in reversed(rows):
        tables.merge_results(b, table(one), keys=(*tables.EXPERIMENT1_KEYS, "metric"))
    assert a.read_bytes() == b.read_bytes()
    lines = a.read_text().splitlines()
    assert lines[0] == ",".join(tables.EXPERIMENT1_COLUMNS)
    assert lines[1].startswith("synthetic,photo,joint,accuracy,0.333333,0.0333333,0.666667,300,")
    assert [line.split(",")[2] for line in lines[1::4]] == list(tables.SYSTEMS)
    # Reading what was rounded and writing it again changes nothing.
    tables.merge_results(a, tables.read_results(a))
    assert a.read_bytes() == b.read_bytes()


def test_names_that_look_like_nothing_stay_names(path):
    tables.merge_results(path, table(row(dataset="NA", command='run --set "a, b"')))
    stored = tables.read_results(path).iloc[0]
    assert (stored["dataset"], stored["command"]) == ("NA", 'run --set "a, b"')


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"metric": "f1"}, "row 1, metric 'f1': is none of accuracy, mean_iou"),
        ({"system": "ours"}, "row 1, system 'ours': is none of joint, two_stage_photo"),
        ({"split": "test"}, "row 1, split 'test': is none of photo, session"),
        ({"dataset": ""}, "row 1, dataset '': is empty"),
        ({"value": np.nan}, "row 1, value nan: not_nullable"),
        ({"value": np.inf}, "row 1, value inf: is not finite"),
        ({"value": "much"}, "row 1, value 'much': coerce_dtype"),
        ({"value": 0.99}, "row 1: not low <= value <= high"),
        ({"low": 0.97}, "row 1: not low <= value <= high"),
        ({"low": None}, "row 1: not low <= value <= high"),
        ({"value": 96.3, "low": 94.1, "high": 98.0}, "row 1: value outside 0–1"),
        ({"metric": "fps", "value": -3.0, "low": None, "high": None}, "row 1: value outside 0–1"),
        ({"n": 0}, "row 1, n 0: is not above 0"),
        ({"n": 1.5}, "all rows, n 'float64': dtype('int64')"),
        ({"seed": -1}, "row 1, seed -1: is below 0"),
        ({"input_px": 0}, "row 1, input_px 0: is not above 0"),
        ({"seed": 5}, "row 1: the same number is given twice; row 2: the same number"),
    ],
)
def test_bad_rows_are_refused_by_number_and_the_file_stays(path, bad, message):
    tables.merge_results(path, table(row()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"^rows: ") as refusal:
        tables.merge_results(path, table(row(), row(**({"seed": 5} | bad)), row(seed=5)))
    assert message in str(refusal.value)
    assert path.read_bytes() == before
    assert _files(path) == {"experiment1.csv", ".lock"}


def _files(path):
    return {file.name for file in path.parent.iterdir()}


def test_missing_and_unknown_columns_and_keys_are_refused(path):
    with pytest.raises(ValueError, match=r"^rows: columns missing or unknown: loss, seed"):
        tables.merge_results(path, table(row()).drop(columns="seed").assign(loss=1))
    with pytest.raises(ValueError, match=r"^rows: empty"):
        tables.merge_results(path, table(row())[:0])
    for keys in (("dataset", "phase"), ()):
        with pytest.raises(ValueError, match=r"^keys: expected columns of the table"):
            tables.merge_results(path, table(row()), keys=keys)
    assert not path.exists()


def test_keys_that_would_leave_a_number_twice_are_refused(path):
    tables.merge_results(path, table(row()))
    with pytest.raises(
        ValueError, match=r"experiment1\.csv: row 0: the same number is given twice"
    ):
        tables.merge_results(
            path, table(row(backbone="resnet18")), keys=(*tables.EXPERIMENT1_KEYS, "backbone")
        )
    assert tables.read_results(path)["backbone"].tolist() == ["mobilenet_v3_large"]


def test_a_spoilt_file_is_refused_by_name_and_kept(path):
    tables.merge_results(path, table(row()))
    good = path.read_text()
    for spoilt, message in (
        (good.replace("accuracy", "acuracy"), "row 0, metric 'acuracy'"),
        (good.replace("0.963", ""), "experiment1.csv"),
        (good.replace("metric", "measure"), "columns missing or unknown: measure, metric"),
        ("", "No columns"),
    ):
        path.write_text(spoilt)
        with pytest.raises(ValueError, match=r"experiment1\.csv: ") as refusal:
            tables.read_results(path)
        assert message in str(refusal.value)
        with pytest.raises(ValueError, match=r"experiment1\.csv: "):
            tables.merge_results(path, table(row()))
        assert path.read_text() == spoilt
    with pytest.raises(FileNotFoundError):
        tables.read_results(path.with_name("none.csv"))


def _full_disk(monkeypatch):
    write = Path.write_bytes

    def half_then_full(self, text, **_):
        write(self, text.encode()[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half_then_full)


def test_on_a_full_disk_the_old_table_stays(path, monkeypatch):
    tables.merge_results(path, table(row()))
    before = path.read_bytes()
    _full_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        tables.merge_results(path, table(row(seed=1)))
    assert path.read_bytes() == before
    assert _files(path) == {"experiment1.csv", ".lock"}
    monkeypatch.undo()
    tables.merge_results(path, table(row(seed=1)))
    assert len(tables.read_results(path)) == 2


def test_a_writer_waits_until_another_has_written(tmp_path):
    path = tmp_path / "experiment1.csv"
    tables.merge_results(path, table(row(seed=0)))
    with storage.folder_lock(path.parent):
        writer = threading.Thread(target=tables.merge_results, args=(path, table(row(seed=1))))
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()
        assert tables.read_results(path)["seed"].tolist() == [0]
    writer.join(30)
    assert tables.read_results(path)["seed"].tolist() == [0, 1]


# Printed

SMALL = table(
    plain("mcnemar_p", 0.125, system="two_stage_face"),
    row(system="two_stage_face", value=0.95, low=0.92, high=0.97),
    row(),
    row(metric="joint_accuracy_50", value=0.9, low=0.85, high=0.95, n=320),
    row(metric="joint_accuracy_75", value=0.7, low=0.6, high=0.8, n=320),
    row(metric="oracle_box_accuracy", value=1.0, low=1.0, high=1.0),
    row(metric="mean_iou", value=0.8, low=0.78, high=0.82),
    row(metric="mean_iou_calibrated", value=0.85, low=0.83, high=0.87),
    plain("ap50", 0.987),
    plain("fps", 41.27, n=30),
)


def test_markdown_of_a_small_table():
    note, names, boxes = tables.experiment1_markdown(SMALL).split("\n\n")
    assert "95 % bootstrap intervals over photos" in note
    names, boxes = names.splitlines(), boxes.splitlines()
    assert names[0] == (
        "| Data | System | Run | Photos | Accuracy | Joint @0.5 | Joint @0.75 | Boxes given "
        "| p against joint |"
    )
    assert names[1] == "| --- | --- | --- |" + " ---: |" * 6
    assert names[2:] == [
        "| the thesis, Experiment 1 | joint | 285 people | 651 | 98.15 | – | – | – | – |",
        "| the thesis, Experiment 1 | two-stage | 285 people | 651 | 97.54 | – | – | – | – |",
        "| synthetic, photo split | joint net | quick, seed 0 | 300 | 96.3 [94.1, 98.0] "
        "| 90.0 [85.0, 95.0] | 70.0 [60.0, 80.0] | 100.0 [100.0, 100.0] | – |",
        "| synthetic, photo split | two-stage (face) | quick, seed 0 | 300 | 95.0 [92.0, 97.0] "
        "| – | – | – | 0.125 |",
    ]
    assert boxes[0] == "| Data | System | Run | Mean IoU | Mean IoU, calibrated | AP50 | FPS |"
    assert boxes[2:] == [
        "| the thesis, Experiment 1 | joint | 285 people | 78.88 | – | – | 34.5 |",
        "| the thesis, Experiment 1 | two-stage | 285 people | 79.82 | – | – | 6.5 |",
        "| synthetic, photo split | joint net | quick, seed 0 | 80.0 [78.0, 82.0] "
        "| 85.0 [83.0, 87.0] | 98.7 | 41.3 |",
        "| synthetic, photo split | two-stage (face) | quick, seed 0 | – | – | – | – |",
    ]


def test_latex_of_a_small_table():
    names, boxes = tables.experiment1_latex(SMALL).split("\n\n")
    lines = names.splitlines()
    assert lines[0] == r"\begin{tabular}{lllrrrrrr}"
    assert [lines[i] for i in (1, 3, -2, -1)] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert lines[4] == (
        r"the thesis, Experiment 1 & joint & 285 people & 651 & 98.15 & -- & -- & -- & -- \\"
    )
    assert lines[7] == (
        r"synthetic, photo split & two-stage (face) & quick, seed 0 & 300 & 95.0 [92.0, 97.0] "
        r"& -- & -- & -- & 0.125 \\"
    )
    assert boxes.splitlines()[0] == r"\begin{tabular}{lllrrrr}"
    assert "80.0 [78.0, 82.0] & 85.0 [83.0, 87.0] & 98.7 & 41.3" in boxes


def test_printed_names_do_not_break_the_page():
    odd = table(row(dataset="a|b_<c>&5%"), plain("mcnemar_p", 1e-7, dataset="a|b_<c>&5%"))
    markdown, latex = tables.experiment1_markdown(odd), tables.experiment1_latex(odd)
    assert r"| a\|b_&lt;c&gt;&amp;5%, photo split |" in markdown
    assert "| &lt;0.001 |" in markdown
    assert r"a|b\_$<$c$>$\&5\%, photo split &" in latex
    assert r"& $<$0.001 \\" in latex


def test_every_run_has_a_row_and_the_thesis_comes_first():
    rows = [row(seed=seed, profile=profile) for seed in (1, 0) for profile in ("quick", "full")]
    for columns in tables.experiment1_markdown(table(*rows)).split("\n\n")[1:]:
        runs = [line.split(" | ")[2] for line in columns.splitlines()[2:]]
        assert runs == ["285 people"] * 2 + [
            "full, seed 0",
            "full, seed 1",
            "quick, seed 0",
            "quick, seed 1",
        ]


def test_the_thesis_rows_are_printed_beside_no_results_yet():
    empty = table(row())[:0]
    assert "98.15" in tables.experiment1_markdown(empty)
    assert "98.15" in tables.experiment1_latex(empty)
    assert set(labels.THESIS_EXPERIMENT1["source"]) == {"the thesis, Experiment 1"}


def test_printing_refuses_bad_rows():
    for printed in (tables.experiment1_markdown, tables.experiment1_latex):
        with pytest.raises(ValueError, match=r"^table: row 0, metric 'f1'"):
            printed(table(row(metric="f1")))


# Written into a page

PAGE = "# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nThe end.\n"


def test_the_page_and_the_table_agree(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    text = tables.experiment1_markdown(SMALL)
    readme.write_into(page, "results", text)
    assert readme.read_from(page, "results") == text
    assert page.read_text().startswith("# Title\n\n<!-- results:begin -->\n\nShares")
    assert page.read_text().endswith("|\n\n<!-- results:end -->\n\nThe end.\n")
    once = page.read_bytes()
    readme.write_into(page, "results", text)
    assert page.read_bytes() == once


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            PAGE.replace("<!-- results:begin -->", ""),
            "expected <!-- results:begin --> once, found 0",
        ),
        (PAGE.replace("<!-- results:end -->", ""), "expected <!-- results:end --> once, found 0"),
        (PAGE + PAGE, "expected <!-- results:begin --> once, found 2"),
        ("<!-- results:end --> <!-- results:begin -->", "<!-- results:end --> stands before"),
    ],
)
def test_a_page_without_its_pair_of_comments_is_refused(tmp_path, page, message):
    path = tmp_path / "README.md"
    path.write_text(page)
    with pytest.raises(ValueError, match=r"README\.md: ") as refusal:
        readme.write_into(path, "results", "new")
    assert message in str(refusal.value)
    with pytest.raises(ValueError, match=r"README\.md: "):
        readme.read_from(path, "results")
    assert path.read_text() == page


def test_text_with_the_comment_in_it_and_a_full_disk_leave_the_page(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text(PAGE)
    with pytest.raises(ValueError, match="expected <!-- results:end --> once, found 2"):
        readme.write_into(path, "results", "a <!-- results:end --> b")
    _full_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        readme.write_into(path, "results", "new")
    assert path.read_text() == PAGE
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


# Experiments 2 and 3 for a README


def transfer_rows(rows):
    row = {
        "source": "a",
        "target": "b",
        "variant": "classifier",
        "photos_per_person": 1,
        "metric": "joint_accuracy_50",
        "value": 0.5,
        "seconds": 1.23,
        "seed": 0,
        "profile": "quick",
    }
    return pd.DataFrame([row | change for change in rows])


def test_experiment_2_is_printed_as_means_over_seeds_with_their_range():
    table = transfer_rows(
        rows=[
            {"value": 0.5},
            {"value": 0.7, "seed": 1},
            {"photos_per_person": 4, "value": 0.8},
            {"photos_per_person": 4, "metric": "accuracy", "value": 0.85},
            {"photos_per_person": 4, "metric": "old_joint_accuracy_50", "value": 0.9},
            {"variant": "scratch", "photos_per_person": 4, "value": 0.1},
        ]
    )
    lines = tables.experiment2_markdown(table).splitlines()
    assert "of one seed" in lines[0] and "learning 4 of each" in lines[0]
    assert lines[2] == (
        "| From → to | What is trained | 1 a person | 4 a person | By name alone (4) "
        "| Seconds (4) | Old people after |"
    )
    assert lines[4] == (
        "| a → b, quick | classifier | 60.0 [50.0, 70.0] | 80.0 | 85.0 | 1.2 | 90.0 |"
    )
    assert lines[5] == "| a → b, quick | from scratch | – | 10.0 | – | 1.2 | – |"
    with pytest.raises(ValueError, match="experiment2: no rows"):
        tables.experiment2_markdown(table[:0])


def test_experiment_3_is_printed_by_people_and_by_arm():
    row = {"dataset": "ytf", "profile": "laptop", "seed": 0, "n": 40, "low": np.nan, "high": np.nan}
    cells = [
        ("unseen", "normalised", "map_at_r", 0.25, 0.2, 0.3),
        ("unseen", "normalised", "dprime", 1.5, np.nan, np.nan),
        ("unseen_apart", "normalised", "map_at_r", 0.125, np.nan, np.nan),
        ("seen and unseen", "normalised", "trustworthiness_umap", 0.9, 0.9, 0.9),
        ("lfw", "normalised", "map_at_r", 0.1, np.nan, np.nan),
        ("unseen", "roi", "map_at_r", 0.5, np.nan, np.nan),
        ("unseen", "roi", "map_at_r_gain", 0.25, 0.1, 0.4),
        ("unseen_apart", "roi", "dprime_gain", -0.1, -0.3, 0.1),
    ]
    names = ("people", "arm", "metric", "value", "low", "high")
    table = pd.DataFrame([row | dict(zip(names, cell, strict=True)) for cell in cells])
    lines = tables.experiment3_markdown(table, "normalised").splitlines()
    rows = [line for line in lines if line.startswith("| ytf")]
    assert rows == [
        "| ytf, laptop | never seen | 40 | – | 25.0 [20.0, 30.0] | – | – | 1.50 |",
        "| ytf, laptop | never seen, other sittings | 40 | – | 12.5 | – | – | – |",
        "| ytf, laptop | LFW, another collection | 40 | – | 10.0 | – | – | – |",
        "| ytf, laptop | normalised softmax | 40 | – | 25.0 [20.0, 30.0] | – | – | 1.50 |",
        "| ytf, laptop | pooled under the box | 40 | – | 50.0 | – | – | – |",
        "| ytf, laptop | pooled under the box | **25.0 [10.0, 40.0]** | – | – "
        "| -0.10 [-0.30, 0.10] |",
    ]
    with pytest.raises(ValueError, match="no rows of arm linear"):
        tables.experiment3_markdown(table, "linear")


def test_the_benchmark_is_printed_with_recall_beside_each_time():
    same = {"stage": "total", "machine": "m", "threads": 2, "input_px": 320}
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
    for system, grid in (("joint", 5), ("two_stage_up0", np.nan)):
        for faces in (1, 32):
            row = {"system": system, "engine": "openvino", "grid": grid, "faces": faces}
            rows.append(same | row | {"ms_median": 2.0 * faces, "recall_50": 1 / faces})
    table = pd.DataFrame(rows)
    lines = tables.benchmark_markdown(table).splitlines()
    assert lines[0].startswith("m, 2 threads, 320 pixels,")
    assert "| joint, ResNet18 | OpenVINO int8 | 8.0 | 12.5 | 90 | 75.0 | 300 |" in lines
    assert "| two-stage, upsampling 1, ResNet34 | PyTorch | 100.0 | 1.0 | 80 | 75.0 | – |" in lines
    assert lines.index(next(line for line in lines if "| 12.5 |" in line)) < lines.index(
        next(line for line in lines if "| 1.0 |" in line)
    )
    assert not any("ONNX" in line for line in lines)  # neither fastest nor plain
    assert "| System | Engine | 1 face | 32 faces |" in lines
    assert "| joint, 5 x 5 cells | OpenVINO fp32 | 2.0 / 100 | 64.0 / 3 |" in lines
    assert "| two-stage, upsampling 0 | OpenVINO fp32 | 2.0 / 100 | 64.0 / 3 |" in lines
    with pytest.raises(ValueError, match="no rows of portraits"):
        tables.benchmark_markdown(table[table["joint_accuracy_50"].isna()])
