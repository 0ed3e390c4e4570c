"""What starts from dlib's recogniser stands beside what starts from scratch, and apart from it."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting import tables
from thesislib.reporting.figures import comparison, transfer
from thesislib.reporting.figures.style import SYSTEM_ORDER, system_colour, system_line
from thesislib.reporting.labels import STARTED_SYSTEMS, system_label, told_apart
from thesislib.tables import RUN_COLUMNS, SYSTEMS

SCRATCH = [("joint", "scratch"), ("two_stage_photo", "scratch"), ("two_stage_face", "scratch")]
STARTED = [("joint", "default"), ("two_stage_face", "dlib"), ("two_stage_aligned", "dlib")]
LABELS = ["joint net", "two-stage (photo)", "two-stage (face)"]
LABELS += [
    f"{name},\nfrom dlib's recogniser"
    for name in ("joint net", "two-stage (face)", "two-stage (aligned)")
]


def faces(n=60):
    """Random outcomes of the faces of both runs; the started systems name all they find."""
    random = np.random.default_rng(0)
    rows = []
    for system, start in SCRATCH + STARTED:
        for at in range(n):
            iou = random.random()
            named = "ann" if start != "scratch" else random.choice(["ann", "bob"])
            told = {"identity": "ann", "predicted_identity": named, "oracle_identity": named}
            told |= {"found": True, "iou": iou, "iou_calibrated": iou, "photo": f"{at}.jpg"}
            run = "a" if start == "scratch" else "b"
            rows.append({"system": system, "start": start, "run": run, "profile": "quick", **told})
    return pd.DataFrame(rows)


def results():
    about = {"dataset": "synthetic", "split": "photo", "profile": "quick", "seed": 0, "n": 80}
    about |= dict.fromkeys(RUN_COLUMNS, "x") | {"profile": "quick", "seed": 0, "input_px": 96}
    about |= {"precision": "fp32"}
    rows = []
    for at, (system, start) in enumerate(SCRATCH + STARTED):
        numbers = {"value": 0.9 - at / 20, "low": 0.5, "high": 0.95, "system": system}
        run = "a" if start == "scratch" else "b"
        rows.append(about | numbers | {"start": start, "run": run, "metric": "accuracy"})
    return pd.DataFrame(rows)


def test_systems_are_told_apart_by_what_they_start_from():
    rows = told_apart(faces())
    assert list(dict.fromkeys(rows["system"].map(system_label))) == LABELS
    assert set(rows["system"]) <= set(SYSTEM_ORDER)
    scratch = faces().query("start == 'scratch'")
    assert told_apart(scratch)["system"].tolist() == scratch["system"].tolist()
    bare = scratch.drop(columns="start")
    pd.testing.assert_frame_equal(told_apart(bare), bare)
    other = scratch.assign(start="a-net-of-mine")
    assert set(told_apart(other)["system"]) == set(scratch["system"])


def test_each_has_a_colour_of_its_own_and_the_dashes_of_its_system():
    names = [*SYSTEMS, *STARTED_SYSTEMS]
    assert len({system_colour(name) for name in names}) == len(names)
    for system, begun in zip(SYSTEMS, STARTED_SYSTEMS, strict=True):
        assert system_line(system)["linestyle"] == system_line(begun)["linestyle"]


def test_figures_of_both_runs_have_a_row_or_line_for_each():
    split = comparison.error_split(faces())
    assert [label.get_text() for label in split.axes[0].get_yticklabels()] == LABELS
    curves = comparison.iou_distribution(faces())
    assert [text.get_text() for text in curves.axes[0].get_legend().get_texts()][:6] == LABELS


def test_shares_of_errors_are_of_one_start_each():
    shares = comparison.error_shares(told_apart(faces()))
    assert shares["faces"].tolist() == [60] * 6
    wrong = shares["identification"] + shares["place"]
    assert (wrong.iloc[:3] > 0.2).all() and (wrong.iloc[3:] == 0).all()


def test_both_runs_without_their_start_are_refused():
    with pytest.raises(ValueError, match="several in column run"):
        comparison.error_split(faces().drop(columns="start"))


def test_the_table_says_what_a_row_started_from():
    together = results().assign(run="a", seeds="0", seed_values="0.9")
    printed = tables.TABLES["experiment1"].print(together).cells
    own = printed[~printed["Begun from"].str.contains("thesis")]
    assert own[["System", "Begun from"]].agg(tuple, axis=1).tolist() == [
        ("joint net", "random weights"),
        ("two-stage (photo)", "random weights"),
        ("two-stage (face)", "random weights"),
        ("joint net", "the published net"),
        ("two-stage (face)", "dlib's recogniser"),
        ("two-stage (aligned)", "dlib's recogniser"),
    ]
    assert own["Accuracy"].tolist()[::3] == ["90.0 [50.0, 95.0]", "75.0 [50.0, 95.0]"]


def transfers():
    rows = []
    for start, run in (("scratch", "a"), ("default", "b")):
        for variant in ("class_mean", "classifier"):
            for seed in (0, 1):
                for metric in ("joint_accuracy_50", "old_ap50"):
                    value = 0.5 if start == "scratch" else 0.9
                    rows.append((start, run, variant, seed, metric, value))
    names = ["start", "run", "variant", "seed", "metric", "value"]
    about = {"source": "old", "target": "new", "profile": "quick", "photos_per_person": 8}
    about |= {"budget": "none", "steps": 0}
    return pd.DataFrame(rows, columns=names).assign(**about, seconds=1.0, low=0.1, high=0.95)


def test_new_people_of_both_nets_have_panels_and_lines_of_their_own():
    figure = transfer.transfer_accuracy(transfers())
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert sorted(titles) == ["old → new", "old → new\nfrom the published net"]
    transfer.transfer_time(transfers())
    assert len(transfer.forgetting(transfers()).axes) == 2
    cells = tables.experiment2(transfers()).cells
    shown = cells.groupby("From → to")["8"].agg(set).to_dict()
    assert shown == {
        "old → new, quick": {"50.0 [50.0, 50.0]"},
        "old → new, quick, from the published net": {"90.0 [90.0, 90.0]"},
    }
