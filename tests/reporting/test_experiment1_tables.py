"""Experiment 1 over seeds is printed as it is stored: who reaches what, and who leads whom."""

import pytest

from thesislib.reporting import experiment1_tables as printed
from thesislib.reporting import tables

from .test_tables import cells, difference, of_seeds, row, table


def without(metric, value, **changes):
    """A number that has no interval."""
    return of_seeds(metric=metric, value=value, low=None, high=None, **changes)


def given(system, start="none", value=0.5, **changes):
    """Names at the annotated boxes."""
    around = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return of_seeds(system=system, start=start, metric="oracle_box_accuracy", **around | changes)


THESIS = ["joint", "two-stage"]
FROM_SCRATCH, FROM_DLIB, REFERENCE = "random weights", "dlib's recogniser", "–"


# --- names ----------------------------------------------------------------------------------------


def test_names_stand_with_their_intervals_and_with_each_seed():
    results = table(
        of_seeds(),
        of_seeds(metric="joint_accuracy_50", value=0.9, low=0.85, high=0.95, seed_values="0.88 1"),
        given("joint", "scratch", 0.7, seed_values="0.1 0.2"),
        of_seeds(metric="mean_iou", value=0.123),
    )
    about, header, _, body = cells("experiment1", results)
    assert "95 % intervals in which people are drawn" in about
    assert header[:4] == ["System", "Begun from", "Accuracy", "Joint @0.5"]
    assert header[4:] == ["Names, boxes given", "Seeds"]
    assert body[-1] == [
        "joint net",
        "random weights",
        "96.3 [94.1, 98.0]",
        "90.0 [85.0, 95.0]",
        "70.0 [60.0, 80.0]",
        "88.0, 100.0",
    ]


def test_what_was_not_measured_is_a_dash():
    results = table(
        of_seeds(system="two_stage_photo"),
        of_seeds(system="two_stage_photo", metric="joint_accuracy_50"),
        given("hog_nearest", seed_values="0.4 0.6"),
        without("accuracy", 0.05, system="chance", start="none"),
        without("oracle_box_accuracy", 0.051, system="chance", start="none"),
    )
    _, _, _, body = cells("experiment1", results)
    shown = "96.3 [94.1, 98.0]"
    assert body[2:] == [
        ["two-stage (photo)", FROM_SCRATCH, shown, shown, "–", "95.0, 96.4, 97.5"],
        ["chance", "–", "5.0", "–", "5.1", "–"],
        # It finds no face, so that its seeds are those of names.
        ["nearest face, HOG", "–", "–", "–", "50.0 [40.0, 60.0]", "40.0, 60.0"],
    ]


def test_who_names_nobody_is_left_out_of_names_and_who_finds_none_of_boxes():
    results = table(
        of_seeds(),
        of_seeds(metric="mean_iou"),
        of_seeds(system="boxes_only", metric="mean_iou"),
        of_seeds(system="boxes_only", metric="mean_iou_calibrated"),
        of_seeds(system="names_only"),
        of_seeds(system="constant_box", start="none", metric="mean_iou"),
        given("pixel_nn_face"),
    )
    shown = [line[0] for line in cells("experiment1", results)[3]]
    assert shown == [*THESIS, "joint net", "names alone", "nearest face, pixels"]
    shown = [line[0] for line in cells("experiment1_boxes", results)[3]]
    assert shown == [*THESIS, "joint net", "boxes alone", "constant box"]


def test_the_thesis_comes_first_where_photos_were_split_and_nowhere_else():
    _, _, _, body = cells("experiment1", table(of_seeds()))
    told = "the thesis, Experiment 1, other photos"
    assert body[:2] == [
        ["joint", told, "98.15", "–", "–", "–"],
        ["two-stage", told, "97.54", "–", "–", "–"],
    ]
    assert len(body) == 3
    _, _, _, body = cells("experiment1", table(of_seeds(split="session")))
    assert [line[0] for line in body] == ["joint net"]
    _, _, _, body = cells("experiment1_boxes", table(of_seeds(metric="mean_iou")))
    assert body[:2] == [["joint", told, "78.88", *"––––"], ["two-stage", told, "79.82", *"––––"]]
    text = tables.markdown("experiment1_boxes", table(of_seeds(metric="mean_iou", split="session")))
    assert "thesis" not in text


ORDER = [
    ("joint", "scratch", "joint net", FROM_SCRATCH),
    ("two_stage_photo", "scratch", "two-stage (photo)", FROM_SCRATCH),
    ("two_stage_face", "scratch", "two-stage (face)", FROM_SCRATCH),
    ("boxes_only", "scratch", "boxes alone", FROM_SCRATCH),
    ("names_only", "scratch", "names alone", FROM_SCRATCH),
    ("joint", "default", "joint net", "the published net"),
    ("two_stage_face", "dlib", "two-stage (face)", FROM_DLIB),
    ("two_stage_aligned", "dlib", "two-stage (aligned)", FROM_DLIB),
    ("chance", "none", "chance", REFERENCE),
    ("constant_box", "none", "constant box", REFERENCE),
    ("dlib_aligned_nearest", "none", "nearest face, dlib", REFERENCE),
]


@pytest.mark.parametrize("seed", [0, 1])
def test_systems_from_random_weights_come_first_and_references_last(seed):
    rows = [
        of_seeds(system=system, start=start, metric=metric)
        for system, start, _, _ in ORDER
        for metric in ("accuracy", "mean_iou")
    ]
    results = table(*rows).sample(frac=1, random_state=seed)
    wanted = [[label, begun] for _, _, label, begun in ORDER]
    body = cells("experiment1", results)[3]
    assert [line[:2] for line in body[2:]] == wanted
    assert [line[:2] for line in cells("experiment1_boxes", results)[3][2:]] == wanted


# --- boxes ----------------------------------------------------------------------------------------


def test_boxes_stand_with_their_intervals_and_with_each_seed():
    found = {"mean_iou": 0.8, "mean_iou_calibrated": 0.85, "recall_50": 0.9, "ap50": 0.95}
    rows = [
        of_seeds(metric=metric, value=value, low=value - 0.02, high=value + 0.02)
        | {"seed_values": f"{value - 0.01:.4g} {value + 0.01:.4g}"}
        for metric, value in found.items()
    ]
    rows += [of_seeds(), without("ap50_95", 0.6)]
    rows += [of_seeds(system="constant_box", start="none", metric="mean_iou", value=0.25, low=0.2)]
    about, header, _, body = cells("experiment1_boxes", table(*rows))
    assert "0 where no face was found" in about
    assert header == ["System", "Begun from", "Mean IoU", "Calibrated", "Found", "AP50", "Seeds"]
    assert body[2:] == [
        [
            "joint net",
            "random weights",
            "80.0 [78.0, 82.0]",
            "85.0 [83.0, 87.0]",
            "90.0 [88.0, 92.0]",
            "95.0 [93.0, 97.0]",
            "84.0, 86.0",
        ],
        ["constant box", "–", "25.0 [20.0, 98.0]", "–", "–", "–", "–"],
    ]


# --- differences ----------------------------------------------------------------------------------


def test_a_difference_stands_with_its_interval_seeds_p_and_claim():
    behind = {"value": -0.031, "low": -0.05, "high": -0.012, "seed_values": "-0.03 -0.03 -0.033"}
    results = table(
        difference(),
        difference(against="two_stage_face", p_holm=1e-4, **behind),
        difference(against="names_only", value=0.02, low=-0.01, high=0.05, holds=False, p_holm=1.0),
    )
    about, header, _, body = cells("experiment1_pairs", results)
    assert "(Bonferroni, 8 tests)" in about
    assert header[:4] == ["Joint net from", "Against", "Measure", "Difference"]
    assert header[4:] == ["Seeds", "p", "Claimed"]
    three = "+9.0, +10.0, +11.0"
    joint, measure = "random weights", "joint @0.5"
    other = [f"{name}, random weights" for name in ("two-stage (photo)", "two-stage (face)")]
    assert body == [
        [joint, other[0], measure, "+10.0 [+5.0, +15.0]", three, "0.016", "yes"],
        [joint, other[1], measure, "-3.1 [-5.0, -1.2]", "-3.0, -3.0, -3.3", "&lt;0.001", "yes"],
        [joint, "names alone, random weights", measure, "+2.0 [-1.0, +5.0]", three, "1.000", "no"],
    ]


def test_differences_are_told_by_both_starts_and_by_measure():
    dlib = {"start": "default"}
    rows = [
        difference(metric="accuracy"),
        difference(metric="joint_accuracy_50"),
        difference(metric="oracle_box_accuracy", against="names_only"),
        difference(metric="mean_iou_calibrated", against="boxes_only"),
        difference(metric="oracle_box_accuracy", against="hog_nearest", against_start="none"),
        difference(against="joint", **dlib),
        difference(against="two_stage_aligned", against_start="dlib", **dlib),
        difference(against="dlib_aligned_nearest", against_start="none", **dlib),
    ]
    wanted = [
        ["random weights", "two-stage (photo), random weights", "accuracy"],
        ["random weights", "two-stage (photo), random weights", "joint @0.5"],
        ["random weights", "boxes alone, random weights", "mean IoU, calibrated"],
        ["random weights", "names alone, random weights", "names, boxes given"],
        ["random weights", "nearest face, HOG", "names, boxes given"],
        ["the published net", "joint net, random weights", "joint @0.5"],
        ["the published net", "two-stage (aligned), dlib's recogniser", "joint @0.5"],
        ["the published net", "nearest face, dlib", "joint @0.5"],
    ]
    for results in (table(*rows), table(*rows[::-1])):
        assert [line[:3] for line in cells("experiment1_pairs", results)[3]] == wanted


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1.0, "1.000"), (0.0499, "0.050"), (0.001, "0.001"), (0.00099, "<0.001"), (0.0, "<0.001")],
)
def test_a_probability_has_three_digits(p, shown):
    assert printed.probability(p) == shown


def test_what_may_be_said_is_said_in_sentences():
    results = table(
        difference(),
        difference(start="default", against="joint", value=-0.1, low=-0.15, high=-0.05),
        difference(against="hog_nearest", against_start="none", low=-0.01, holds=False),
        difference(metric="accuracy", value=0.2, high=0.25),
    )
    assert printed.findings(results) == [
        "The joint net from random weights is ahead of two-stage (photo) from random weights in "
        "joint @0.5: +10.0 [+5.0, +15.0] points.",
        "The joint net from the published net is behind joint net from random weights in "
        "joint @0.5: -10.0 [-15.0, -5.0] points.",
        "The joint net from random weights and nearest face, HOG cannot be told apart in "
        "joint @0.5: +10.0 [-1.0, +15.0] points.",
    ]
    (said,) = printed.findings(results, "accuracy")
    assert said.endswith("random weights in accuracy: +20.0 [+5.0, +25.0] points.")
    assert printed.findings(results, "mean_iou_calibrated") == []


def test_what_may_be_said_is_said_in_russian(monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", "ru")
    results = table(
        difference(),
        difference(start="default", against="joint", value=-0.1, low=-0.15, high=-0.05),
        difference(against="hog_nearest", against_start="none", low=-0.01, holds=False),
        difference(against="chance", against_start="none", holds=False, seeds="0 1"),
    )
    measure = "по показателю «найдено и названо»"
    assert printed.findings(results) == [
        "Единая сеть со случайных весов лучше, чем двухэтапная (фото) со случайных весов, "
        f"{measure}: +10,0 [+5,0; +15,0] п. п.",
        "Единая сеть на основе опубликованной сети хуже, чем единая сеть со случайных весов, "
        f"{measure}: -10,0 [-15,0; -5,0] п. п.",
        f"Единая сеть со случайных весов и ближайшее лицо, HOG неотличимы {measure}: "
        "+10,0 [-1,0; +15,0] п. п.",
        "Показатель «найдено и названо», единая сеть со случайных весов минус случайное "
        "угадывание: +10,0 [+5,0; +15,0] п. п.; 2 обучения, поэтому не доказано.",
    ]


def test_what_does_not_hold_is_not_said_however_far_from_0_it_is():
    (said,) = printed.findings(table(difference(holds=False)))
    assert "cannot be told apart" in said and "ahead" not in said
    assert cells("experiment1_pairs", table(difference(holds=False)))[3][0][-1] == "no"


# --- speed ----------------------------------------------------------------------------------------


def fps(value, system="joint", **changes):
    """Frames per second in a run, as ``experiment1.csv`` has them."""
    around = {"value": value, "low": value - 5, "high": value + 10, "n": 40}
    return row(metric="fps", system=system, **around | changes)


BEGUN = {"run": "4567cdef", "input_px": 150, "start": "dlib"}


def test_times_are_compared_with_the_joint_net_of_the_same_run():
    results = table(
        fps(40.0, "two_stage_face", **BEGUN),
        fps(10.0, **BEGUN | {"start": "default", "input_px": 480}),
        fps(25.0, "two_stage_photo"),
        fps(100.0, "hog_nearest", start="none"),
        fps(50.0),
        row(),
    )
    about, header, _, body = cells("experiment1_speed", results)
    assert "only those can be compared" in about
    assert header[:4] == ["System", "Begun from", "Input, px", "ms"]
    assert header[4:] == ["FPS", "Times the joint net", "Found, %"]
    assert body == [
        ["joint net", FROM_SCRATCH, "96", "20.0", "50.0 [45.0, 60.0]", "1.00", "–"],
        ["two-stage (photo)", FROM_SCRATCH, "96", "40.0", "25.0 [20.0, 35.0]", "0.50", "–"],
        ["nearest face, HOG", "–", "96", "10.0", "100.0 [95.0, 110.0]", "2.00", "–"],
        ["joint net", "the published net", "480", "100.0", "10.0 [5.0, 20.0]", "1.00", "–"],
        ["two-stage (face)", FROM_DLIB, "150", "25.0", "40.0 [35.0, 50.0]", "4.00", "–"],
    ]


def test_without_the_joint_net_in_a_run_nothing_is_compared():
    results = table(fps(50.0), fps(25.0, "two_stage_face", **BEGUN))
    body = cells("experiment1_speed", results)[3]
    assert [[line[0], line[5]] for line in body] == [
        ["joint net", "1.00"],
        ["two-stage (face)", "–"],
    ]


def test_beside_a_time_stands_how_many_faces_are_found_in_it():
    results = table(
        fps(50.0),
        fps(25.0, "two_stage_face"),
        fps(10.0, **BEGUN),
        row(metric="recall_50", value=0.987),
        row(metric="recall_50", value=0.5, low=0.4, high=0.6, **BEGUN),
        row(metric="ap50", value=0.3, low=0.2, system="two_stage_face"),
    )
    body = cells("experiment1_speed", results)[3]
    assert [line[-1] for line in body] == ["98.7", "–", "50.0"]


def test_times_of_the_lowest_seed_alone_are_shown():
    results = table(
        fps(30.0, seed=3),
        row(metric="recall_50", seed=3, value=0.1, low=0.0),
        fps(50.0, seed=1),
        fps(70.0, seed=2),
    )
    body = cells("experiment1_speed", results)[3]
    assert [line[4:] for line in body] == [["50.0 [45.0, 60.0]", "1.00", "–"]]


# --- what is refused ------------------------------------------------------------------------------

PRINTED = {
    "names": (printed.names, of_seeds, "experiment1_seeds"),
    "boxes": (printed.boxes, of_seeds, "experiment1_seeds"),
    "pairs": (printed.pairs, difference, "experiment1_pairs"),
    "findings": (printed.findings, difference, "experiment1_pairs"),
}


@pytest.mark.parametrize("name", PRINTED)
@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"dataset": "ytf"}, r"several in column dataset \(synthetic, ytf\)"),
        ({"split": "session"}, r"several in column split \(photo, session\)"),
        ({"profile": "full"}, r"several in column profile \(full, quick\)"),
        ({"run": "4567cdef"}, r"several in column run \(0123abcd, 4567cdef\)"),
    ],
)
def test_several_results_are_not_printed_as_one(name, other, complaint):
    function, of, what = PRINTED[name]
    with pytest.raises(ValueError, match=f"^{what}: {complaint}; choose one$"):
        function(table(of(), of(**other)))


@pytest.mark.parametrize("name", PRINTED)
def test_nothing_is_not_printed(name):
    function, of, what = PRINTED[name]
    with pytest.raises(ValueError, match=f"^{what}: no rows$"):
        function(table(of())[:0])


@pytest.mark.parametrize("column", ["dataset", "split", "profile", "run"])
def test_times_of_several_results_are_not_printed_as_one(column):
    other = {"dataset": "ytf", "split": "session", "profile": "full"}
    results = table(fps(50.0), fps(25.0, **{"run": "4567cdef", column: other.get(column, "1")}))
    with pytest.raises(ValueError, match=rf"^experiment1: several in column {column} \("):
        printed.speed(results)


def test_no_times_are_not_printed():
    with pytest.raises(ValueError, match=r"^experiment1: no rows"):
        printed.speed(table(fps(50.0))[:0])
