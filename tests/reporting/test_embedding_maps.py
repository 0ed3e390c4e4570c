"""Maps of embeddings: every photo once, with how far to trust them."""

import pandas as pd
import pytest

from thesislib.reporting.figures import embedding_curves, embedding_maps

from .embedding_tables import curve_points, faces, factor_bins, map_points, similarity_bins


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# --- maps -----------------------------------------------------------------------------------------


def test_map_prints_what_it_is_worth_and_names_those_in_colour():
    points = map_points(people=(8, 3), photos=3)
    points.loc[points["people"] == "unseen", "trustworthiness"] -= 0.1
    figure = embedding_maps.embedding_map(points)
    assert [axis.get_title() for axis in figure.axes] == [
        "UMAP, seen in training",
        "UMAP, never seen",
        "t-SNE, seen in training",
        "t-SNE, never seen",
    ]
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "trustworthiness 0.940, continuity 0.960",
        "trustworthiness 0.840, continuity 0.960",
    ] * 2
    shown = texts(figure)
    assert {"s0000", "s0005", "u0002", "others never seen"} <= set(shown)
    assert "s0006" not in shown


def test_map_draws_every_photo_once():
    figure = embedding_maps.embedding_map(map_points((0, 1), (8, 3), 4))
    drawn = [sum(len(c.get_offsets()) for c in axis.collections) for axis in figure.axes]
    assert drawn == [32, 12] * 2  # of the first map alone


def test_groups_of_a_map_have_one_scale():
    rows = map_points((0,), (8, 3), 4)
    seen, unseen, *_ = embedding_maps.embedding_map(rows).axes
    assert seen.get_xlim() == unseen.get_xlim() and seen.get_ylim() == unseen.get_ylim()
    own = rows[rows["method"] == "umap"]
    assert seen.get_xlim()[0] < own["x"].min() and own["x"].max() < seen.get_xlim()[1]
    assert seen.get_ylim()[0] < own["y"].min() and own["y"].max() < seen.get_ylim()[1]


def test_lines_lead_from_the_middle_of_a_person_to_each_of_their_photos():
    rows = map_points((0,), (1, 0), 3)
    rows = rows[rows["method"] == "tsne"]
    (axis,) = embedding_maps.embedding_map(rows).axes
    middle = rows[["x", "y"]].median()
    for line, photo in zip(axis.lines, rows.itertuples(), strict=True):
        assert list(line.get_xdata()) == [middle["x"], photo.x]
        assert list(line.get_ydata()) == [middle["y"], photo.y]


def test_thumbnails_of_a_map_do_not_overlap():
    rows = map_points((0,))
    figure = embedding_maps.embedding_map(rows, faces(rows))
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [artist.offsetbox.get_window_extent() for artist in axis.artists]
        assert len(boxes) > 3
        for at, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:at])


def test_map_of_one_method_and_group_with_a_thumbnail_that_is_missing():
    rows = map_points((0,), (2, 0), 3)
    rows = rows[rows["method"] == "tsne"]
    shown = faces(rows)
    shown.pop(("seen/0000/0.png", "s0000"))
    figure = embedding_maps.embedding_map(rows, shown)
    (axis,) = figure.axes
    assert axis.get_title() == "t-SNE, seen in training"
    assert len(axis.artists) == 2, "a face of each person, of a photo that there is one of"
    assert {"s0000", "s0001", "others seen in training"} == set(texts(figure)) - {" "}
    unseen = map_points((0,), (2, 2), 3).query("method == 'umap' and people == 'unseen'")
    two = embedding_maps.embedding_map(pd.concat([rows, unseen]))
    absent = [axis.get_title() for axis in two.axes if axis.texts]
    assert absent == ["UMAP, seen in training", "t-SNE, never seen"]


def test_each_of_two_people_in_a_photo_is_drawn_with_their_own_face():
    rows = map_points((0,), (2, 0), 3)
    rows = rows[rows["method"] == "tsne"].reset_index(drop=True)
    rows["photo"] = rows["photo"].str.replace("/0001/", "/0000/")
    shown = faces(rows)
    assert rows["photo"].nunique() == 3 and len(shown) == 6
    (axis,) = embedding_maps.embedding_map(rows, shown).axes
    assert sum(len(c.get_offsets()) for c in axis.collections) == 6
    drawn = {tuple(artist.offsetbox.get_data()[0, 0]) for artist in axis.artists}
    assert drawn == {tuple(face[0, 0]) for face in shown.values()} and len(drawn) == 2


# --- what all have in common ----------------------------------------------------------------------

DRAW = {
    "experiment3_curves": (embedding_curves.curves, curve_points),
    "experiment3_similarities": (
        lambda table, arm="normalised": embedding_curves.similarity_histograms(
            table, pd.DataFrame(), arm
        ),
        similarity_bins,
    ),
    "experiment3_factors": (embedding_curves.factor_curves, factor_bins),
    "experiment3_map": (
        lambda table, arm="normalised": embedding_maps.embedding_map(table, arm=arm),
        lambda: map_points((0,), (2, 2), 3),
    ),
}


@pytest.mark.parametrize("name", DRAW)
def test_rows_that_are_missing_or_of_two_datasets_are_an_error(name):
    draw, make = DRAW[name]
    rows = make()
    with pytest.raises(ValueError, match=f"{name}: no rows$"):
        draw(pd.DataFrame())
    with pytest.raises(ValueError, match=f"{name}: no rows of arm roi; there are normalised"):
        draw(rows, arm="roi")
    with pytest.raises(ValueError, match=r"column dataset \(synthetic, ytf\); choose one"):
        draw(pd.concat([rows, rows.assign(dataset="ytf")]))
    with pytest.raises(ValueError, match=r"column profile \(laptop, quick\); choose one"):
        draw(pd.concat([rows, rows.assign(profile="laptop")]))


def test_same_table_gives_the_same_picture(tmp_path):
    rows = map_points((0,))
    for name in ("a.png", "b.png"):
        embedding_maps.embedding_map(rows, faces(rows)).savefig(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
