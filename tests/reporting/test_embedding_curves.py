"""Curves, similarities and nuisance factors are drawn as the tables have them."""

import numpy as np
import pandas as pd
import pytest

from thesislib.reporting.figures import embedding_curves

from .embedding_tables import curve_points, factor_bins, results, similarity_bins


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# --- curves ---------------------------------------------------------------------------------------


def test_curves_end_where_the_data_do_not_support_them():
    rows = curve_points(("unseen",))
    axis = embedding_curves.curves(rows).axes[0]
    own = rows[rows["curve"] == "roc"].sort_values("x", kind="stable")
    line, chance = axis.lines
    assert chance.get_linestyle() == ":" and list(chance.get_xdata()) == list(chance.get_ydata())
    well = own[own["x"] >= 10 / 3000]
    assert len(well) < len(own)
    assert line.get_xdata() == pytest.approx(100 * well["x"].to_numpy())
    assert line.get_ydata() == pytest.approx(100 * well["y"].to_numpy())


def test_up_is_better_in_every_panel_and_all_have_one_scale():
    rows = curve_points(("unseen",))
    figure = embedding_curves.curves(rows)
    assert {axis.get_ylim() for axis in figure.axes} == {(0, 102)}
    own = rows[(rows["curve"] == "open_set") & (rows["x"] >= 10 / 120)]
    own = own.sort_values("x", kind="stable")
    drawn = figure.axes[1].lines[0]
    assert drawn.get_ydata() == pytest.approx(100 * (1 - own["y"].to_numpy()))  # TPIR of FNIR


def test_what_depends_on_how_many_are_searched_is_not_shown_of_people_seen():
    figure = embedding_curves.curves(curve_points(("seen", "unseen")))
    seen, unseen = "#0072B2", "#D55E00"
    drawn = [[line.get_color() for line in axis.lines] for axis in figure.axes]
    assert drawn[0][:2] == [seen, unseen]
    assert drawn[1:] == [[unseen]] * 3


def test_nets_that_know_nobody_are_pale_and_share_an_entry():
    figure = embedding_curves.curves(curve_points(("unseen", "untrained", "shuffled")))
    colours = [line.get_color() for line in figure.axes[1].lines]
    assert colours == ["#BBBBBB", "#BBBBBB", "#D55E00"]  # behind the others
    assert texts(figure) == [
        "never seen, joint net",
        "untrained net, shuffled labels",
        "chance (ROC)",
    ]


def test_curves_that_were_not_measured_say_so():
    rows = curve_points(("unseen", "lfw"), seeds=(0, 1))
    figure = embedding_curves.curves(rows[rows["curve"] != "joint_open_set"])
    assert [text.get_text() for text in figure.axes[3].texts] == ["not measured"]
    assert texts(figure)[:2] == ["never seen, joint net", "LFW, another collection, joint net"]
    figure = embedding_curves.curves(rows[rows["curve"] == "cmc"])
    missing = [[text.get_text() for text in axis.texts] == ["not measured"] for axis in figure.axes]
    assert missing == [True, True, False, True]
    ranks = figure.axes[2]
    assert len(ranks.lines) == 4  # two groups, two seeds
    own = rows[(rows["curve"] == "cmc") & (rows["people"] == "unseen") & (rows["seed"] == 0)]
    assert ranks.lines[0].get_ydata() == pytest.approx(100 * own["y"].to_numpy())
    assert ranks.get_xlim() == (1, 20)


# --- similarities ---------------------------------------------------------------------------------


def test_histograms_show_shares_and_print_dprime():
    rows, measured = similarity_bins(("seen", "unseen")), results(("seen",))
    figure = embedding_curves.similarity_histograms(rows, measured)
    dprime = measured[measured["metric"] == "dprime"].iloc[0]
    printed = f"d′ = {dprime.value:.2f} [{dprime.low:.2f}, {dprime.high:.2f}]"
    assert figure.axes[0].get_title() == f"seen in training,\njoint net\n{printed}"
    assert figure.axes[1].get_title() == "never seen,\njoint net"
    inter = rows[(rows["people"] == "seen") & (rows["pairs"] == "inter")]
    assert figure.axes[0].patches[0].get_data().values == pytest.approx(100 * inter["share"])


def test_histograms_average_seeds_and_print_their_range():
    rows, measured = similarity_bins(("seen",), (0, 1)), results(("seen",), seeds=(0, 1))
    figure = embedding_curves.similarity_histograms(rows, measured)
    intra = rows[rows["pairs"] == "intra"]
    wanted = (intra[intra["seed"] == 0]["share"].array + intra[intra["seed"] == 1]["share"]) / 2
    assert figure.axes[0].patches[2].get_data().values == pytest.approx(100 * wanted)
    low, high = sorted(measured.loc[measured["metric"] == "dprime", "value"])
    assert f"[{low:.2f}, {high:.2f}]" in figure.axes[0].get_title()


def test_histograms_of_one_kind_of_pairs_without_results():
    rows = similarity_bins(("seen", "unseen", "lfw", "shuffled"))
    rows = rows[rows["pairs"] == "inter"]
    figure = embedding_curves.similarity_histograms(rows, pd.DataFrame())
    assert [axis.get_title() for axis in figure.axes] == [
        "seen in training,\njoint net",
        "never seen,\njoint net",
        "LFW, another collection,\njoint net",
        "never seen,\njoint net, names shuffled",
    ]
    for axis, people in zip(figure.axes, ("seen", "unseen", "lfw", "shuffled"), strict=True):
        area, outline = axis.patches
        shares = 100 * rows.loc[rows["people"] == people, "share"]
        assert area.get_data().values == pytest.approx(shares)
        assert outline.get_data().edges[[0, -1]] == pytest.approx([-1, 1])
    assert texts(figure) == ["two photos of one person", "photos of two people"]


# --- factors --------------------------------------------------------------------------------------


def test_factor_curves_stand_at_the_middle_of_their_bins():
    rows = factor_bins(("unseen",))
    figure = embedding_curves.factor_curves(rows)
    own = rows[(rows["factor"] == "yaw") & (rows["pairs"] == "intra")]
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "^")
    assert line.get_xdata() == pytest.approx(((own["low"] + own["high"]) / 2).to_numpy())
    assert line.get_ydata() == pytest.approx(own["mean"].to_numpy())
    ends = [bar[:, 1].tolist() for bar in figure.axes[0].collections[0].get_segments()]
    assert ends == own[["interval_low", "interval_high"]].to_numpy().tolist()
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "difference in yaw,\ndegrees",
        "difference in light,\ndegrees",
        "sitting",
    ]
    assert [t.get_text() for t in figure.axes[2].get_xticklabels()] == ["the same", "another"]


def test_bins_of_few_pairs_are_left_out():
    rows = factor_bins(("unseen",))
    yaw = (rows["factor"] == "yaw") & (rows["pairs"] == "intra")
    few = yaw & (rows["low"] == rows["low"].min())
    figure = embedding_curves.factor_curves(rows.assign(n=np.where(few, 29, 30)))
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "^")
    own = rows[yaw & ~few]
    assert line.get_ydata() == pytest.approx(own["mean"].to_numpy())


def test_factors_of_several_seeds_are_their_means_and_groups_stand_beside_each_other():
    rows = factor_bins(factors=("yaw",), seeds=(0, 1))
    (axis,) = embedding_curves.factor_curves(rows).axes
    seen, unseen = (line for line in axis.lines if line.get_marker() in ("o", "^"))
    own = rows[(rows["people"] == "unseen") & (rows["pairs"] == "intra")]
    assert unseen.get_ydata() == pytest.approx(own.groupby("low")["mean"].mean().to_numpy())
    assert (unseen.get_xdata() > seen.get_xdata()).all()
    assert axis.get_xlim()[1] == pytest.approx(1.06 * 90)  # no further than the last bin


def test_factor_curves_of_a_single_factor():
    figure = embedding_curves.factor_curves(factor_bins(factors=("session",)))
    assert [axis.get_xlabel() for axis in figure.axes] == ["sitting"]
    assert len([line for line in figure.axes[0].lines if line.get_marker() in "o^"]) == 2
    with pytest.raises(ValueError, match="no rows of yaw, light, brightness, size, session"):
        embedding_curves.factor_curves(factor_bins().assign(factor="age"))
