"""The stored results keep what they hold, and two trainings never share a row."""

import errno
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thesislib import storage, tables


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
        "start": "scratch",
        "input_px": 320,
        "precision": "bf16",
        "commit": "70fae51",
        "run": "0123abcd",
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
        row(run="4567cdef"),
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
    run = ["synthetic", "photo", "joint", "quick", 0, "0123abcd"]
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


@pytest.mark.parametrize("name", ["NA", "001", "null", "1e5", "True", "Анна Ким"])
def test_names_that_look_like_nothing_or_numbers_stay_names(path, tmp_path, name):
    texts = {"dataset": name, "command": 'run --set "a, b"', "run": "12e45678", "commit": "0012345"}
    tables.merge_results(path, table(row(**texts)))
    stored = tables.read_results(path).iloc[0]
    assert {column: stored[column] for column in texts} == texts
    behind = tmp_path / "experiment1_faces.csv"
    faces = {"photo": f"{name}.png", "identity": name, "predicted_identity": "", "iou": 0.5}
    faces |= {"oracle_identity": name, "session": name, "found": True, "x1": None}
    tables.merge_table(behind, table(row(**texts) | faces, row(**texts) | faces | {"x1": 2.0}))
    read = tables.read_table(behind)
    for column, wanted in (texts | faces).items():
        if column != "x1":
            assert read[column].tolist() == [wanted, wanted], column
    assert read["found"].dtype == bool
    assert np.isnan(read["x1"][0]) and read["x1"][1] == 2


def test_a_column_of_numbered_names_that_nobody_expected_stays_text(tmp_path):
    path = tmp_path / "other.csv"
    rows = pd.DataFrame([row(badge="001", shift=1.0), row(badge="002", shift=-0.5)])
    tables.merge_table(path, rows, keys=("dataset",))
    read = tables.read_table(path)
    assert read["badge"].tolist() == ["001", "002"]
    assert read["shift"].tolist() == [1.0, -0.5]


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
        ({"precision": "no"}, "row 1, precision 'no': is none of fp32, bf16, fp16"),
        ({"start": ""}, "row 1, start '': is empty"),
        ({"run": 12345678}, "run"),
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


# Comparisons of two systems


def compared(**changes):
    """The joint net and both pipelines, each of which is compared with it."""
    systems = ("joint", "two_stage_photo", "two_stage_face")
    rows = [row(system=system, **changes) for system in systems]
    for metric in tables.PAIRED:
        rows += [plain(metric, 0.02, system=system, **changes) for system in systems[1:]]
    return table(*rows)


def of_pairs(path):
    stored = tables.read_results(path)
    pairs = stored[stored["metric"].isin(tables.PAIRED)]
    return sorted(set(zip(pairs["system"], pairs["seed"], strict=True)))


@pytest.mark.parametrize(
    ("again", "left"),
    [
        ("joint", [("two_stage_face", 1), ("two_stage_photo", 1)]),
        ("two_stage_face", [("two_stage_face", 1), ("two_stage_photo", 0), ("two_stage_photo", 1)]),
    ],
)
def test_new_predictions_of_a_system_take_its_old_comparisons_away(path, again, left):
    tables.merge_results(path, pd.concat([compared(), compared(seed=1)]))
    tables.merge_results(path, table(row(system=again, value=0.95)))
    assert of_pairs(path) == left


def test_new_comparisons_come_with_new_predictions(path):
    tables.merge_results(path, compared())
    tables.merge_results(path, table(row(), plain("mcnemar_p", 0.5, system="two_stage_face")))
    stored = tables.read_results(path)
    pairs = stored[stored["metric"].isin(tables.PAIRED)]
    assert pairs[["system", "metric", "value"]].to_numpy().tolist() == [
        ["two_stage_face", "mcnemar_p", 0.5]
    ]


def test_a_comparison_outlives_a_new_time_but_no_new_prediction_of_one_metric(path):
    tables.merge_results(path, pd.concat([compared(), table(plain("fps", 30.0))]))
    keys = (*tables.EXPERIMENT1_KEYS, "metric")
    tables.merge_results(path, table(plain("fps", 60.0)), keys=keys)
    assert len(of_pairs(path)) == 2
    tables.merge_results(path, table(row(system="two_stage_face", value=0.95)), keys=keys)
    assert of_pairs(path) == [("two_stage_photo", 0)]


# Other tables


def other(**changes):
    one = row(source="a", target="b", variant="all", budget="equal", photos_per_person=1)
    return one | {"seconds": 2.5} | changes


@pytest.mark.parametrize(
    "told_apart_by",
    [
        {"run": "4567cdef"},
        {"target": "c"},
        {"seed": 1},
        {"photos_per_person": 2},
        {"budget": "none"},
    ],
)
def test_two_trainings_never_share_a_row(tmp_path, told_apart_by):
    path = tmp_path / "experiment2.csv"
    tables.merge_table(path, table(other(value=0.25)))
    tables.merge_table(path, table(other(value=0.5, **told_apart_by)))
    assert sorted(tables.read_table(path)["value"]) == [0.25, 0.5]
    tables.merge_table(path, table(other(value=0.75)))
    assert sorted(tables.read_table(path)["value"]) == [0.5, 0.75]


def test_all_tables_but_those_of_one_run_are_keyed_by_it():
    times = {"benchmark", "benchmark_limits", "benchmark_frontier", "benchmark_gate"}
    times |= {"gallery_speed", "recogniser_speed"}
    times |= {"recogniser", "face_sizes"}  # of one net of a name at a time
    times |= {f"experiment{at}_pairs" for at in (1, 2, 3)}  # of one set of seeds
    times |= {"experiment1_seeds", "experiment3_seeds"}
    assert {name for name, keys in tables.KEYS.items() if "run" not in keys} == times


def test_a_table_without_keys_rows_or_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"odd\.csv: no keys are known for a table odd"):
        tables.merge_table(tmp_path / "odd.csv", table(other()))
    path = tmp_path / "experiment2.csv"
    with pytest.raises(ValueError, match=r"experiment2\.csv: no rows"):
        tables.merge_table(path, table(other())[:0])
    for column in ("variant", "commit", "run", "start", "precision"):
        rows = table(other()).drop(columns=column)
        with pytest.raises(ValueError, match=rf"columns missing in the rows: {column}"):
            tables.merge_table(path, rows)
    assert not path.exists()
    path.write_text("value\n1\n")
    with pytest.raises(ValueError, match=r"columns missing in the file: source, target"):
        tables.merge_table(path, table(other()))
    assert path.read_text() == "value\n1\n"


def test_what_is_superseded_goes_only_where_it_is_asked_for(tmp_path):
    old = [other(run="", command="old program", value=0.1), other(run="1111aaaa", value=0.2)]
    old += [other(run="2222bbbb", command="another --epochs 9", value=0.3)]
    old += [other(run="", command="old program", value=0.4, seed=5)]
    for supersede, left in ((False, [0.1, 0.2, 0.3, 0.4, 0.9]), (True, [0.3, 0.4, 0.9])):
        path = tmp_path / str(supersede) / "experiment2.csv"
        tables.merge_table(path, table(*old))
        tables.merge_table(path, table(other(run="3333cccc", value=0.9)), supersede=supersede)
        assert sorted(tables.read_table(path)["value"]) == left


def test_rows_of_several_runs_are_refused_by_name():
    rows = table(row(), row(system="two_stage_face", run="4567cdef"))
    assert tables.one_run(rows, "faces") is rows
    for changes in ({"seed": 1}, {"profile": "full"}, {"dataset": "ytf"}, {"run": "4567cdef"}):
        (column,) = changes
        with pytest.raises(ValueError, match=rf"^faces: several in column {column} \(.+, .+\);"):
            tables.one_run(table(row(), row(**changes)), "faces")
    tables.one_run(table(row(), row(seed=1)), "faces", columns=(), by=("seed",))
    tables.one_run(table(row())[["metric", "value"]], "faces")
