"""What all figures share."""

from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from thesislib.reporting.figures import comparison, style, training
from thesislib.reporting.figures.layout import problems
from thesislib.reporting.labels import STARTED_SYSTEMS
from thesislib.tables import SYSTEMS


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((0.2, 2000), ["1", "10", "100", "1000"]),
        ((0.9, 30), ["1", "2", "5", "10", "20"]),
        ((90, 400), ["100", "150", "200", "300"]),
    ],
)
def test_logarithmic_axis_has_plain_numbers(limits, labels):
    figure, axis = plt.subplots()
    axis.set_xlim(*limits)
    style.log_ticks(axis)
    figure.draw_without_rendering()
    shown = [
        label.get_text()
        for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
        if limits[0] <= place <= limits[1]
    ]
    assert shown == labels
    assert not any(label.get_text() for label in axis.get_xticklabels(minor=True))


def test_ticks_stand_where_they_are_asked_for():
    figure, axis = plt.subplots()
    axis.set(yscale="log", ylim=(1, 100))
    style.ticks_at(axis, "y", [2, 20])
    figure.draw_without_rendering()
    assert [label.get_text() for label in axis.get_yticklabels()] == ["2", "20"]
    assert not len(axis.get_yticks(minor=True))


def test_a_figure_is_drawn_in_the_house_style_whatever_the_notebook_has():
    @style.styled
    def draw():
        return plt.figure()

    with plt.rc_context({"figure.dpi": 33}):
        assert draw().dpi == 150
        assert plt.rcParams["figure.dpi"] == 33


def test_known_values_come_first_in_their_order():
    assert style.in_order(["z", "b", "a", "b"], ["a", "b", "c"]) == ["a", "b", "z"]


def test_a_long_name_is_cut_to_its_length():
    assert style.short("Anna", 4) == "Anna"
    assert style.short("Annabella", 4) == "Ann…"


def test_dollars_in_a_name_are_no_mathematics():
    figure = plt.figure()
    text = figure.text(0.5, 0.5, style.short("$_$"))
    figure.draw_without_rendering()  # which fails at what is no formula
    assert text._preprocess_math(text.get_text()) == ("$_$", False)


def test_text_that_cannot_be_read_is_found():
    # The test of all other figures' texts can fail.
    figure, axis = plt.subplots(figsize=(2, 1))
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, "within", ha="center")
    assert problems(figure) == []
    axis.text(0.55, 0.5, "upon", ha="center")
    assert problems(figure) == ["'within' lies on 'upon'"]
    axis.texts[-1].remove()
    axis.text(0.9, 0.5, "half of this is beside the page")
    assert "'half of this is beside the page' is cut off" in problems(figure)
    axis.texts[-1].remove()


def lightness(colour):
    """CIE L* of a colour, 0 to 100: what is left of it in grey, and to those blind for colours."""
    linear = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in to_rgb(colour)
    ]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def alike(lines):
    """Pairs of curves, colour and dashes, that cannot be told apart in grey."""
    return [
        (one, other)
        for (one, (colour, dashes)), (other, (against, its)) in combinations(lines.items(), 2)
        if dashes == its and abs(lightness(colour) - lightness(against)) < 15
    ]


def test_lightness_is_that_of_the_definition():
    assert [round(lightness(one), 1) for one in ("black", "#777777", "white")] == [0, 50.0, 100]


def test_curves_drawn_together_can_be_told_apart_in_grey():
    lines = {name: style.system_line(name) for name in (*SYSTEMS, *STARTED_SYSTEMS)}
    assert not alike({name: (line["color"], line["linestyle"]) for name, line in lines.items()})
    assert not alike(
        {name: (colour, dashes) for name, (_, colour, dashes) in training.TERMS.items()}
    )
    assert alike({"one": ("#0072B2", "-"), "other": ("#AA5500", "-")})


@pytest.mark.parametrize(
    "colours",
    [
        [colour for _, colour in comparison.STAGES.values()],
        [colour for *_, colour in comparison.VERDICTS],
    ],
)
def test_parts_of_a_bar_can_be_told_apart_in_grey(colours):
    steps = [abs(lightness(one) - lightness(other)) for one, other in combinations(colours, 2)]
    assert min(steps) > 10
