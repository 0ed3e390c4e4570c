"""Printed tables of the published net."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.tables import markdown


def row(measure, system, value, dataset="lfw", group="", low=np.nan, **more):
    about = {"profile": "default", "input_px": 480, "n": 40, "seed": 0, "run": "one"}
    told = {"measure": measure, "system": system, "value": value, "low": low}
    return about | told | {"high": value + 0.01, "dataset": dataset, "group": group} | more


def test_measures_stand_in_their_order_beside_dlibs():
    table = pd.DataFrame(
        [
            row("ap50", "default", 0.7512, "groups"),
            row("verification", "teacher_aligned", 0.985, low=0.98),
            row("verification", "default", 0.9756, low=0.9712),
            row("verification", "default", 0.5, profile="smoke"),
            row("verification", "default_openvino_int8", 0.973, low=0.971),
        ]
    )
    about, _, *lines = markdown("recogniser", table).split("\n")
    assert "480 pixels" in about
    assert "the published net" in lines[0] and "dlib, aligned" in lines[0]
    assert "the published net, OpenVINO int8" in lines[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells == [
        ["same person?", "lfw", "97.6 [97.1, 98.6]", "98.5 [98.0, 99.5]", "97.3 [97.1, 98.3]"],
        ["AP50", "groups", "0.751", "–", "–"],
    ]


def test_groups_stand_beside_dlibs():
    table = pd.DataFrame(
        [
            row("teacher_distance", "default", 0.2, group="age: 0-2", low=0.19),
            row("false_match_rate", "default", 0.004, group="age: 0-2", low=0.003),
            row("false_match_rate", "teacher_aligned", 0.003, group="age: 0-2", low=0.002),
            row("teacher_distance", "default", 0.1),
            row("teacher_distance", "default", 0.3, group="age: 0-2", seed=1),
        ]
    )
    lines = markdown("recogniser_groups", table).split("\n")[4:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    wanted = ["0.200 [0.190, 0.210]", "4.00 [3.00, 14.00]", "3.00 [2.00, 13.00]"]
    assert cells == [["age: 0-2", "40", *wanted]]
    table.loc[0, "dataset"] = "other"
    with pytest.raises(ValueError, match="recogniser: groups of other, lfw; choose one"):
        markdown("recogniser_groups", table)


def test_readings_stand_side_by_side():
    table = pd.DataFrame(
        [
            row("verification", "default", 0.978, low=0.973),
            row("verification", "roi", 0.8, low=0.79),
            row("verification", "roi_openvino_int8", 0.79, low=0.78),
            row("verification", "teacher_aligned", 0.985),
            row("ms_1_face", "default", 24.96, "synthetic", machine="here, 2 threads, torch"),
            row("ms_1_face", "roi", 20.0, "synthetic", machine="here, 2 threads, openvino_int8"),
        ]
    )
    about, *_ = markdown("recogniser_readings", table).split("\n")
    assert "milliseconds on PyTorch, OpenVINO int8;" in about
    lines = markdown("recogniser_readings", table).split("\n")[4:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells == [
        ["at landmarks", "97.8 [97.3, 98.8]", "–", "25.0", "–"],
        ["under the box", "80.0 [79.0, 81.0]", "–", "20.0", "–"],
    ]
    _, _, header, *_ = markdown("recogniser", table).split("\n")
    assert "roi" not in header  # they have a table of their own
    table.loc[5, "run"] = "another"
    assert markdown("recogniser_readings", table).split("\n")[-1].split("|")[4].strip() == "–"


def test_nets_by_what_they_learned_from():
    more = {"portraits": 5000, "views": 16000}
    table = pd.DataFrame(
        [
            row("teacher_distance_found", "default", 0.2, "fairface", low=0.19),
            row(
                "teacher_distance_found",
                "a",
                0.4,
                "fairface",
                low=0.39,
                portraits=5000,
                views=16000,
            ),
            row("verification", "a", 0.95, low=0.94, **more),
            row("verification", "b", 0.9, low=0.89, portraits=1000, views=16000),
            row("verification", "roi", 0.8, low=0.79),
            row("verification", "default", 0.7, profile="smoke"),
            row("verification", "b", 0.5, portraits=1000, views=16000, seed=1),
        ]
    )
    lines = markdown("recogniser_curve", table).split("\n")[4:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells == [
        ["1000", "16000", "–", "90.0 [89.0, 91.0]"],  # and no column of what no net has
        ["5000", "16000", "0.400 [0.390, 0.410]", "95.0 [94.0, 96.0]"],
        ["–", "–", "0.200 [0.190, 0.210]", "–"],
    ]
    _, _, header, *_ = markdown("recogniser", table).split("\n")
    assert [cell.strip() for cell in header.split("|")[1:-1]][2:] == ["the published net"]
    # Names of nets may have what stands between a net and its engine.
    table["system"] = table["system"].replace({"a": "views_16000"})
    assert "views" not in markdown("recogniser", table)


def test_times_by_faces():
    rows = [
        {"system": "dlib", "engine": "own", "input_px": 480, "faces": 1, "ms_median": 300.0,
         "ratio_to_dlib": 1.0},
        {"system": "default", "engine": "openvino_int8", "input_px": 480, "faces": 1,
         "ms_median": 20.0, "ratio_to_dlib": 15.0},
        {"system": "default", "engine": "openvino_int8", "input_px": 480, "faces": 32,
         "ms_median": 80.0, "ratio_to_dlib": 12.5},
        {"system": "roi", "engine": "openvino_int8", "input_px": 480, "faces": 1,
         "ms_median": 10.0, "ratio_to_dlib": 30.0},
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(machine="a processor", threads=2, found=30.75)
    about, _, header, _, *lines = markdown("recogniser_speed", table).split("\n")
    assert "a processor, 2 threads" in about and "32 faces" in header and "Found of 32" in header
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells == [
        ["dlib itself", "as they come", "480", "300.0 [1.0]", "–", "–"],
        ["the published net", "OpenVINO int8", "480", "20.0 [15.0]", "80.0 [12.5]", "31"],
    ]


def test_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    table = pd.DataFrame(
        [
            row("verification", "default", 0.978, low=0.973),
            row("verification", "roi", 0.8, low=0.79),
            row("verification", "a", 0.9, low=0.89, portraits=1000, views=16000),
        ]
    ).assign(machine="here, 2 threads, torch")
    about, _, header, _, line = markdown("recogniser", table).split("\n")
    assert about.startswith("На входе — целые фото") and "480 пикселей" in about
    assert header.startswith("| Показатель") and line.startswith("| тот же человек?")
    assert "| под рамкой " in markdown("recogniser_readings", table)
    assert "| Портреты " in markdown("recogniser_curve", table)


def test_tables_that_hold_none_of_it():
    with pytest.raises(ValueError, match="no rows of whole datasets"):
        markdown("recogniser", pd.DataFrame([row("ap50", "default", 1, profile="smoke")]))
    with pytest.raises(ValueError, match="no rows of nets that read elsewhere"):
        markdown("recogniser_readings", pd.DataFrame([row("ap50", "default", 1)]))
    with pytest.raises(ValueError, match="no rows of nets that learned from so many views"):
        markdown("recogniser_curve", pd.DataFrame([row("ap50", "default", 1)]))
    with pytest.raises(ValueError, match="no rows of groups"):
        markdown("recogniser_groups", pd.DataFrame([row("ap50", "default", 1)]))


def test_sizes_of_faces_read_once_and_again():
    rows = [
        {
            **{"dataset": "lfw", "profile": "default", "size_px": size, "reading": reading},
            **{"measure": measure, "value": value, "low": value - 0.1, "high": value + 0.1},
            **{"n": 120, "input_px": 480, "system": "default"},
        }
        for size, value in ((64, 0.5), (24, 0.2))
        for reading in ("once", "closer")
        for measure in ("found", "known_again", "strangers")
    ]
    table = pd.DataFrame(rows)
    table.loc[table["reading"] == "closer", "value"] += 0.05
    about, _, header, _, *lines = markdown("face_sizes", table).split("\n")
    assert "120 people of lfw" in about and "480 pixels" in about
    assert [cell.strip() for cell in header.split("|")[1:4]] == [
        *("Side, pixels", "Found, read once", "Found, again"),
    ]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:3] == ["24", "20.0 [10.0, 30.0]", "25.0 [10.0, 30.0]"]
    assert cells[1][5:] == ["500.0 [400.0, 600.0]", "550.0 [400.0, 600.0]"]
    with pytest.raises(ValueError, match="rows of one dataset"):
        markdown("face_sizes", pd.concat([table, table.assign(dataset="ytf")]))
