"""How compact embeddings are, and what makes them so: dots and intervals of the table."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import embeddings
from thesislib.reporting.labels import ARM_LABELS
from thesislib.tables import MAIN_ARM, STARTED_ARM

from .embedding_tables import ARMS, of_seeds


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def labels(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


# --- measures -------------------------------------------------------------------------------------


def test_compactness_shows_each_value_interval_and_seed():
    rows = of_seeds(("seen", "unseen", "lfw"), seeds=(0, 1))
    figure = embeddings.compactness(rows)
    assert [axis.get_title() for axis in figure.axes] == [
        "verification\naccuracy", "MAP@R", "precision@1", "d′", "silhouette",
    ]  # fmt: skip
    # It depends on how many scenes there are, and of people seen two are kept.
    own = rows[(rows["metric"] == "map_at_r") & (rows["people"] != "seen")]
    lines = figure.axes[1].lines
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() in ("^", "s")]
    assert dots == pytest.approx(list(100 * own["value"]))
    ends = [
        tuple(line.get_xdata())
        for line in lines
        if line.get_marker() == "None" and line.get_linewidth() == 1.5
    ]
    assert ends == [pytest.approx(pair) for pair in zip(100 * own.low, 100 * own.high, strict=True)]
    seeds = [list(line.get_xdata()) for line in lines if line.get_marker() == "."]
    expected = [[100 * float(one) for one in told.split()] for told in own["seed_values"]]
    assert seeds == [pytest.approx(values) for values in expected]


def test_compactness_marks_chance_and_the_better_side():
    figure = embeddings.compactness(of_seeds(("seen", "unseen")))
    accuracy, retrieval, *_ = figure.axes
    dotted = [line for line in accuracy.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [50]
    assert not [line for line in retrieval.lines if line.get_linestyle() == ":"]
    assert accuracy.get_xlabel() == "%, better →"


def test_shares_are_drawn_on_the_whole_scale_and_what_is_not_comparable_is_a_dash():
    figure = embeddings.compactness(of_seeds(("seen", "unseen")))
    accuracy, retrieval, *_others = figure.axes
    assert list(accuracy.get_xticks()) == list(retrieval.get_xticks()) == [0, 50, 100]
    assert accuracy.get_xlim() == retrieval.get_xlim()
    dashes = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert dashes == [[], ["–"], ["–"], [], ["–"]]
    (seen,) = {line.get_ydata()[0] for line in accuracy.lines if line.get_marker() == "o"}
    assert retrieval.texts[0].get_position()[1] == seen


def test_a_note_says_what_may_be_compared():
    told = embeddings.compactness(of_seeds(("seen", "unseen"))).get_supxlabel()
    assert "Compare lines of one block" in told and "only two scenes each" in " ".join(told.split())
    told = embeddings.compactness(of_seeds(("unseen",))).get_supxlabel()
    assert not told


def test_nets_that_start_elsewhere_have_a_colour_of_their_own():
    rows = pd.concat([of_seeds(("unseen", "lfw")), of_seeds(("lfw",), arms=(STARTED_ARM,))])
    axis = embeddings.compactness(rows, metrics=("dprime",)).axes[0]
    colours = [line.get_color() for line in axis.lines if line.get_marker() in ("^", "s")]
    assert len(colours) == len(set(colours)) == 3


def test_people_stand_in_blocks_with_what_sees_them():
    groups = ("lfw", "unseen", "seen", "hog_nearest", "two_stage", "lfw_dlib_aligned_nearest")
    rows = pd.concat([of_seeds(groups), of_seeds(("unseen",), arms=(STARTED_ARM, "roi"))])
    assert labels(embeddings.compactness(rows).axes[0]) == [
        "seen in training:",
        "joint net",
        "never seen:",
        "joint net",
        "joint net, from the published net",
        "two-stage (face)",
        "nearest face, HOG",
        "LFW, another collection:",
        "joint net",
        "nearest face, dlib",
    ]


def test_compactness_of_little():
    rows = of_seeds(("unseen", "my_photos"), seeds=(0,)).assign(low=np.nan, high=np.nan)
    figure = embeddings.compactness(rows[rows["metric"] == "dprime"])
    assert len(figure.axes) == 1 and figure.axes[0].get_xlabel() == "better →"
    assert figure.get_supxlabel().endswith("Without an interval: too few people for one.")
    assert labels(figure.axes[0]) == ["never seen:", "joint net", "my_photos:", "joint net"]
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "."]  # of one seed


def test_compactness_of_a_measure_it_does_not_know():
    rows = of_seeds(("unseen",)).replace({"metric": {"dprime": "odd_measure"}})
    figure = embeddings.compactness(rows, metrics=("odd_measure",))
    assert figure.axes[0].get_title() == "odd measure"


def test_a_difference_that_means_nothing_does_not_fill_a_panel():
    rows = of_seeds(("unseen",), arms=("linear", "normalised"), seeds=(0,))
    rows = rows[rows["metric"] == "verification_accuracy"].assign(low=np.nan, high=np.nan)
    rows["value"], rows["seed_values"] = [0.73, 0.74], ["0.73", "0.74"]
    axis = embeddings.ablation(rows).axes[0]
    assert np.ptp(axis.get_xlim()) == pytest.approx(10)
    assert axis.figure.get_supxlabel() == "Without an interval: too few people for one."


def test_ablation_has_a_line_an_arm_and_two_bases():
    rows = of_seeds(("unseen", "seen"), arms=(*ARMS, "another"))
    figure = embeddings.ablation(rows)
    named = ARM_LABELS | {STARTED_ARM: "from the published net"}  # as its rows say
    assert labels(figure.axes[0]) == [*named.values(), "another"]
    own = rows[(rows["people"] == "unseen") & (rows["metric"] == "map_at_r")]
    drawn = [line for line in figure.axes[1].lines if line.get_marker() == "^"]
    assert len(drawn) == len(ARM_LABELS) + 1
    bases = [line for line in figure.axes[1].lines if line.get_color() == "#AAAAAA"]
    for line, arm in zip(bases, ("linear", "normalised"), strict=True):
        wanted = 100 * own.loc[own["arm"] == arm, "value"].item()
        assert line.get_xdata()[0] == pytest.approx(wanted)
    assert texts(figure) == ["cross-entropy (thesis)", "normalised softmax"]


def test_ablation_without_bases_and_with_one_measure():
    rows = of_seeds(("unseen",), arms=("dim64",), seeds=(0,))
    rows = rows[rows["metric"] == "dprime"]
    figure = embeddings.ablation(rows)
    (axis,) = figure.axes
    assert axis.get_title() == "d′"
    assert labels(axis) == ["dimension 64"]
    bar, dot = axis.lines
    assert dot.get_xdata() == pytest.approx(rows["value"])
    assert bar.get_xdata() == pytest.approx([rows["low"].item(), rows["high"].item()])
    assert not figure.legends


def test_learning_goes_up_the_number_of_people():
    arms = (MAIN_ARM, "people_65", "people_20", "photos_3")
    rows = pd.concat(
        [of_seeds(("unseen", "lfw", "seen"), arms=arms), of_seeds(("hog_nearest", "untrained"))]
    )
    figure = embeddings.learning(rows, metrics=("map_at_r",))
    (axis,) = figure.axes
    drawn = [line for line in axis.lines if line.get_marker() == "^"]
    (line,) = drawn
    own = rows[(rows["people"] == "unseen") & (rows["metric"] == "map_at_r")].set_index("arm")
    assert list(line.get_ydata()) == pytest.approx(
        [100 * own.loc[arm, "value"] for arm in ("people_20", "people_65", MAIN_ARM)]
    )
    assert [label.get_text() for label in axis.get_xticklabels()] == ["20", "65", "206"]
    assert "never seen, nearest face, HOG" in texts(figure)
    assert not any("untrained" in text for text in texts(figure))
    assert not [one for one in axis.lines if one.get_marker() == "o"]  # of people seen
    with pytest.raises(ValueError, match="no rows of arms people_<number>"):
        embeddings.learning(of_seeds(("unseen",)))


@pytest.mark.parametrize("name", ["compactness", "ablation", "learning"])
def test_what_is_missing_and_several_datasets_are_told(name):
    draw = getattr(embeddings, name)
    with pytest.raises(ValueError, match="experiment3_seeds: no rows"):
        draw(pd.DataFrame())
    two = of_seeds(("unseen",), datasets=("a", "b"))
    with pytest.raises(ValueError, match=r"several in column dataset \(a, b\); choose one"):
        draw(two)


def test_measures_and_people_that_are_missing_are_told():
    rows = of_seeds(("seen",))
    with pytest.raises(ValueError, match="no rows of fps"):
        embeddings.compactness(rows, metrics=("fps",))
    with pytest.raises(ValueError, match="no rows of people unseen; there are seen"):
        embeddings.ablation(rows)
