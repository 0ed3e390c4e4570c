"""What a threshold costs, by loops over the photos of a gallery."""

import numpy as np
import pandas as pd
import pytest
from clusters import clusters

from thesislib.deploy import expected_errors as module
from thesislib.deploy.expected_errors import expected_errors
from thesislib.deploy.gallery import Gallery
from thesislib.metrics.checks import NotSupportedError

RATES = pd.DataFrame(
    {"threshold": [0.5, 0.7, 0.8], "false_match_rate": [0.1, 0.01, 0.001], "strangers": 150}
)


@pytest.fixture
def gallery(monkeypatch):
    monkeypatch.setattr(module, "published_rates", lambda net: RATES if net == "net 1" else None)
    vectors, names = clusters(people=5, photos=4, spread=0.5)
    made = Gallery.of_embeddings(8, "net 1")
    made.enrol_embeddings(names.tolist(), vectors)
    made.enrol_embeddings("alone", np.eye(8)[0])
    return made


def test_errors_are_those_of_a_loop(gallery):
    thresholds = [0.4, 0.6, 0.75, 0.9]
    table = expected_errors(gallery, thresholds)
    names, vectors = gallery.templates.names, gallery.templates.vectors.astype(float)
    for row in table.itertuples():
        missed = asked = 0
        for at, name in enumerate(names):
            scores = {}
            for other, who in enumerate(names):
                if other != at:
                    scores[who] = max(scores.get(who, -1.0), float(vectors[at] @ vectors[other]))
            if name not in scores:
                continue
            asked += 1
            best = max(scores, key=scores.get)
            missed += best != name or scores[name] < row.threshold
        assert row.fnir == pytest.approx(missed / asked)
    # Half way between two thresholds the logarithm is half way; beyond the last nothing is known.
    assert np.isnan(table["fpir"].iloc[[0, 3]]).all()
    assert table["fpir"].iloc[1] == pytest.approx(1 - (1 - 10**-1.5) ** 6)
    assert table["fpir"].iloc[2] == pytest.approx(1 - (1 - 10**-2.5) ** 6)


def test_strangers_may_be_ones_own(gallery):
    strangers = clusters(people=30, photos=1, spread=0.5, seed=7)[0]
    table = expected_errors(gallery, [0.3, 0.8], strangers)
    best = [max(float(one @ own) for own in gallery.templates.vectors) for one in unit(strangers)]
    for row in table.itertuples():
        assert row.fpir == sum(score >= row.threshold for score in best) / 30


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_what_cannot_be_told_is_refused(gallery):
    other = Gallery.of_embeddings(2, "net 2")
    other.enrol_embeddings("Anna", np.eye(2))
    with pytest.raises(NotSupportedError, match="nothing is known of strangers"):
        expected_errors(other, [0.5])
    few = Gallery.of_embeddings(2, "net 1")
    with pytest.raises(ValueError, match="the gallery is empty"):
        expected_errors(few, [0.5])
    few.enrol_embeddings(["Anna", "Boris"], np.eye(2))
    with pytest.raises(NotSupportedError, match="nobody is enrolled by two photos"):
        expected_errors(few, [0.5])
