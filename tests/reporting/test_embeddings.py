"""How compact embeddings are, and what makes them so: dots and intervals of the table."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import embeddings
from thesislib.reporting.labels import ARM_LABELS, PEOPLE_LABELS

from .embedding_tables import ARMS, GROUPS, results


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# --- measures -------------------------------------------------------------------------------------


def test_compactness_shows_each_value_and_interval():
    rows = results(("seen", "unseen"), seeds=(0, 1))
    figure = embeddings.compactness(rows)
    assert [axis.get_title() for axis in figure.axes] == [
        "verification\naccuracy",
        "MAP@R",
        "precision@1",
        "d′",
        "silhouette",
        "intra / nearest\ninter distance",
    ]
    own = rows[rows["metric"] == "map_at_r"]
    lines = figure.axes[1].lines
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() in ("o", "^")]
    assert dots == pytest.approx(list(100 * own["value"]))
    ends = [tuple(line.get_xdata()) for line in lines if line.get_linestyle() == "-"]
    assert ends == [pytest.approx(pair) for pair in zip(100 * own.low, 100 * own.high, strict=True)]


def test_compactness_marks_chance_and_the_better_side():
    figure = embeddings.compactness(results())
    accuracy, retrieval, *_, ratio = figure.axes
    dotted = [line for line in accuracy.lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [50]
    assert not [line for line in retrieval.lines if line.get_linestyle() == ":"]
    assert (accuracy.get_xlabel(), ratio.get_xlabel()) == ("%, better →", "← better")
    labels = [label.get_text() for label in accuracy.get_yticklabels()]
    assert labels == [PEOPLE_LABELS[name] for name in GROUPS]


def test_compactness_of_little():
    rows = results(("unseen", "my_photos")).assign(low=np.nan, high=np.nan)
    figure = embeddings.compactness(rows[rows["metric"] == "dprime"])
    assert len(figure.axes) == 1
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["never seen", "my_photos"]
    two = pd.concat([rows, rows.assign(dataset="ytf")])
    labels = embeddings.compactness(two).axes[0].get_yticklabels()
    assert {"synthetic, quick:", "ytf, quick:"} <= {label.get_text() for label in labels}


def test_compactness_of_a_measure_it_does_not_know():
    rows = results(("unseen",)).replace({"metric": {"dprime": "odd_measure"}})
    figure = embeddings.compactness(rows, metrics=("odd_measure",))
    assert figure.axes[0].get_title() == "odd measure"


def test_a_difference_that_means_nothing_does_not_fill_a_panel():
    rows = results(("unseen",), arms=("linear", "normalised"))
    rows = rows[rows["metric"] == "verification_accuracy"].assign(low=np.nan, high=np.nan)
    rows["value"] = [0.73, 0.74]
    axis = embeddings.ablation(rows).axes[0]
    assert np.ptp(axis.get_xlim()) == pytest.approx(10)
    assert "too few for intervals" in axis.get_xlabel()


def test_ablation_has_a_line_an_arm_and_two_references():
    rows = results(("unseen", "seen"), arms=(*ARMS, "another"), seeds=(0, 1, 2))
    figure = embeddings.ablation(rows)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [*ARM_LABELS.values(), "another"]
    own = rows[(rows["people"] == "unseen") & (rows["metric"] == "map_at_r")]
    drawn = [line for line in figure.axes[1].lines if line.get_marker() == "^"]
    assert len(drawn) == 3 * len(labels)
    reference = [line for line in figure.axes[1].lines if line.get_color() == "#AAAAAA"]
    for line, arm in zip(reference, ("linear", "normalised"), strict=True):
        wanted = 100 * own.loc[own["arm"] == arm, "value"].mean()
        assert line.get_xdata()[0] == pytest.approx(wanted)
    assert texts(figure) == ["cross-entropy (thesis)", "normalised softmax"]


def test_ablation_without_references_and_with_one_measure():
    rows = results(("unseen",), arms=("dim64",))
    rows = rows[rows["metric"] == "dprime"]
    figure = embeddings.ablation(rows)
    (axis,) = figure.axes
    assert axis.get_title() == "d′"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dimension 64"]
    bar, dot = axis.lines
    assert dot.get_xdata() == pytest.approx(rows["value"])
    assert bar.get_xdata() == pytest.approx([rows["low"].item(), rows["high"].item()])
    assert not figure.legends


def test_compactness_and_ablation_say_what_is_missing():
    rows = results(("seen",))
    for draw in (embeddings.compactness, embeddings.ablation):
        with pytest.raises(ValueError, match="experiment3: no rows"):
            draw(pd.DataFrame())
    with pytest.raises(ValueError, match="no rows of arm roi; there are normalised"):
        embeddings.compactness(rows, arm="roi")
    with pytest.raises(ValueError, match="arm normalised: no rows of fps"):
        embeddings.compactness(rows, metrics=("fps",))
    with pytest.raises(ValueError, match="no rows of people unseen; there are seen"):
        embeddings.ablation(rows)
    with pytest.raises(ValueError, match=r"several in column dataset \(a, b\); choose one"):
        two = results(("unseen",), datasets=("a", "b"))
        embeddings.ablation(two)


@pytest.mark.parametrize("draw", [embeddings.compactness, embeddings.ablation])
def test_two_trainings_of_one_seed_are_refused(draw):
    rows = results(("unseen",))
    with pytest.raises(
        ValueError, match=r"several in column run \(0123abcd, 4567cdef\); choose one"
    ):
        draw(pd.concat([rows, rows.assign(run="4567cdef")]))


def test_another_seed_of_another_run_is_drawn_beside_it():
    first, second = results(("unseen",)), results(("unseen",), seeds=(1,)).assign(run="4567cdef")
    axis = embeddings.compactness(pd.concat([first, second])).axes[0]
    dots = [line for line in axis.lines if line.get_marker() == "^"]
    assert len({line.get_ydata()[0] for line in dots}) == 2
