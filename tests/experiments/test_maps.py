"""Maps of embeddings."""

import numpy as np
import pandas as pd
import pytest
import torch
from clusters import clusters

from thesislib import environment
from thesislib.experiments import maps


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


def test_faithfulness_is_the_mean_over_maps_with_its_range():
    table = pd.DataFrame(
        {
            "method": ["tsne"] * 4,
            "map_seed": [0, 0, 1, 1],
            "trustworthiness": [0.8, 0.8, 0.9, 0.9],
            "continuity": [0.6, 0.6, 0.5, 0.5],
        }
    )
    rows = maps.faithfulness(table).set_index("metric")
    found = rows.loc["trustworthiness_tsne"]
    assert found[["value", "low", "high", "n"]].tolist() == pytest.approx([0.85, 0.8, 0.9, 2])
    assert rows.loc["continuity_tsne", "value"] == pytest.approx(0.55)


def test_without_the_extra_it_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(environment.importlib, "import_module", missing)
    vectors, names = clusters(people=2, photos=4)
    with pytest.raises(environment.MissingExtraError, match=r"thesislib\[maps\]"):
        maps.maps(vectors, rows_of(names))
