"""References of the experiments: what they are given, and that dlib is asked once."""

import numpy as np
import pytest
from conftest import face, noise

from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.data.schema import read_dataset, subset
from thesislib.experiments import references
from thesislib.experiments.config import Config, parts
from thesislib.profiles import Profile
from thesislib.tables import REFERENCES


@pytest.fixture
def config(write_dataset):
    rows = [
        face(f"photos/{who}{at}.png", who, (8, 6, 28, 26))
        for who in ("anna", "boris")
        for at in range(5)
    ]
    return Config(write_dataset(rows), Profile("tiny"))


def test_chance_is_one_of_all_who_are_known(config):
    rows = references.chance(config).set_index("metric")
    assert rows["value"].to_dict() == {"accuracy": 0.5, "oracle_box_accuracy": 0.5}
    assert set(rows["n"]) == {len(parts(config).test.table)}
    assert rows[["low", "high"]].isna().all(axis=None)


def test_a_reference_has_the_photos_that_it_is_given(config):
    everyone = read_dataset(config.data)
    anna = subset(everyone, ["photos/anna0.png", "photos/anna1.png"])
    system = references.reference(config, "hog_class_mean", anna)
    assert set(system.names.names) == {"anna"}
    usual = references.reference(config, "hog_class_mean")
    assert set(usual.names.names) == {"anna", "boris"}
    with pytest.raises(ValueError, match="'clairvoyance' is unknown; choose of pixel_nn_photo"):
        references.reference(config, "clairvoyance")


def test_only_what_is_found_and_named_is_measured():
    assert {name for name in REFERENCES if references.is_measured(name, "accuracy")} == {
        "chance",
        "pixel_nn_photo",
        "dlib_aligned_class_mean",
        "dlib_aligned_nearest",
    }
    assert references.is_measured("joint", "anything")
    assert not references.is_measured("boxes_only", "joint_accuracy_50")
    assert not references.is_measured("names_only", "mean_iou")


def test_dlib_is_asked_once_about_a_photo(monkeypatch):
    asked = []

    def found(self, photo, score_threshold=0.0):
        asked.append(("found", score_threshold))
        return np.zeros((1, 4)), np.ones(1), photo[:1, :2, 0].astype(float)

    def embeddings_at(self, photos, boxes):
        asked.append(("at", len(photos)))
        pairs = zip(photos, boxes, strict=True)
        return [np.full((len(own), 2), float(photo[0, 0, 0])) for photo, own in pairs]

    monkeypatch.setattr(DlibPipeline, "__init__", lambda *_: None)
    monkeypatch.setattr(DlibPipeline, "found", found)
    monkeypatch.setattr(DlibPipeline, "embeddings_at", embeddings_at)
    pipeline = references._Remembering(0, 0.0)
    one, other = noise(8, 8, seed=1), noise(8, 8, seed=2)
    for photo in (one, other, one):
        assert pipeline.found(photo, 0.0)[2].tolist() == photo[:1, :2, 0].tolist()
    boxes = [np.zeros((1, 4)), np.zeros((2, 4))]
    first, second = pipeline.embeddings_at([one, other], boxes)
    assert (first[0, 0], second.shape) == (one[0, 0, 0], (2, 2))
    pipeline.embeddings_at([one, other, one], [*boxes, np.ones((1, 4))])
    assert asked == [("found", 0.0)] * 2 + [("at", 1)] * 3
