"""Maps of embeddings."""

import numpy as np
import pandas as pd
import pytest
import torch
from clusters import clusters

from thesislib import environment
from thesislib.experiments import maps
from thesislib.metrics.projection import trustworthiness_and_continuity


def rows_of(names):
    rows = pd.DataFrame({"photo": [f"{at}.png" for at in range(len(names))], "identity": names})
    return rows.assign(session="", people="seen", factor_yaw=0.0)


def test_maps_are_the_same_again_and_say_how_far_to_trust_them():
    vectors, names = clusters(people=8, photos=8, spread=0.3)
    threads = torch.get_num_threads()
    table = maps.maps(vectors, rows_of(names), map_seeds=(0,))
    assert torch.get_num_threads() == threads
    assert set(table["method"]) == {"umap", "tsne"} and len(table) == 128
    assert table[["trustworthiness", "continuity"]].stack().between(0.7, 1).all()
    assert "factor_yaw" in table
    pd.testing.assert_frame_equal(table, maps.maps(vectors, rows_of(names), map_seeds=(0,)))
    other = maps.maps(vectors, rows_of(names), map_seeds=(1,))
    assert not np.allclose(table["x"], other["x"])


def test_each_group_of_people_is_trusted_for_itself():
    vectors, names = clusters(people=8, photos=8, spread=0.3)
    people = np.repeat(["seen", "unseen"], 32)
    table = maps.maps(vectors, rows_of(names).assign(people=people), map_seeds=(0,))
    at = table[table["method"] == "tsne"]
    for name in ("seen", "unseen"):
        own = (at["people"] == name).to_numpy()
        expected = trustworthiness_and_continuity(vectors[own], at.loc[own, ["x", "y"]], 15)
        for column, value in zip(("trustworthiness", "continuity"), expected, strict=True):
            assert set(at.loc[own, column]) == {value}


def test_faithfulness_is_the_mean_over_maps_and_has_no_interval():
    table = pd.DataFrame(
        {
            "method": ["tsne"] * 6,
            "people": ["seen", "seen", "unseen"] * 2,
            "map_seed": [0, 0, 0, 1, 1, 1],
            "trustworthiness": [0.8, 0.8, 0.5, 0.9, 0.9, 0.7],
            "continuity": [0.6, 0.6, 0.1, 0.5, 0.5, 0.3],
        }
    )
    rows = maps.faithfulness(table).set_index(["people", "metric"])
    found = rows.loc[("seen", "trustworthiness_tsne")]
    assert found[["value", "n"]].tolist() == pytest.approx([0.85, 2])
    assert rows[["low", "high"]].isna().all(axis=None)
    assert rows.loc[("unseen", "continuity_tsne"), "value"] == pytest.approx(0.2)


def test_without_the_extra_it_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(environment.importlib, "import_module", missing)
    vectors, names = clusters(people=2, photos=4)
    with pytest.raises(environment.MissingExtraError, match=r"thesislib\[maps\]"):
        maps.maps(vectors, rows_of(names))
