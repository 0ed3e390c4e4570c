"""The threshold of a gallery against a loop over all that matter; what is refused."""

import numpy as np
import pandas as pd
import pytest

from thesislib.deploy import threshold as module
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.threshold import (
    STRANGERS,
    calibrate,
    checked_number,
    checked_threshold,
    published_calibration,
    published_rates,
)
from thesislib.engine.checkpoint import DEFAULT, load_net, net_file
from thesislib.metrics.checks import NotSupportedError


def naive_threshold(best, fpir):
    """The lowest of all thresholds that matter at which few enough strangers get in."""
    allowed = []
    for threshold in [-1.0, *best, *(np.nextafter(one, np.inf) for one in best)]:
        if sum(one >= threshold for one in best) / len(best) <= fpir:
            allowed.append(threshold)
    return min(allowed)


@pytest.mark.parametrize("fpir", [0.05, 0.1, 0.29, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("ties", [False, True])
def test_the_threshold_is_the_one_a_loop_finds(fpir, ties):
    best = np.random.default_rng(0).uniform(-1, 1, 200)
    if ties:
        best = best[np.arange(200) // 7]
    expected = naive_threshold(best, fpir)
    found = calibrate(best, fpir, people=12)
    assert found == (expected, (best >= expected).mean(), 200, 12)
    assert found.fpir <= fpir


def test_a_rate_that_the_strangers_cannot_support_is_refused():
    message = r"fpir: 0\.05 x 199 photos of strangers = 9\.95 expected errors, and at least 10"
    with pytest.raises(NotSupportedError, match=message):
        calibrate(np.zeros(199), 0.05, 1)
    calibrate(np.zeros(200), 0.05, 1)


@pytest.mark.parametrize("fpir", [0, -0.1, 1.1, np.nan])
def test_a_rate_that_is_no_rate_is_refused(fpir):
    with pytest.raises(ValueError, match="fpir: expected above 0 and at most 1"):
        calibrate(np.zeros(200), fpir, 1)


def test_a_calibration_is_of_as_many_people():
    calibration = calibrate(np.zeros(200), 0.5, 10)
    calibration.check(11)
    with pytest.raises(ValueError, match="calibrated among 10 people, and 12 are enrolled"):
        calibration.check(12)


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5]])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match="threshold: expected a number, got "):
        checked_threshold(value)
    with pytest.raises(TypeError, match="fpir: expected a number"):
        calibrate(np.zeros(200), value, 1)


@pytest.mark.parametrize("value", [np.nan, 50, -1.1])
def test_what_is_no_cosine_is_refused(value):
    with pytest.raises(ValueError, match="threshold: expected a cosine, -1 to 1, got "):
        checked_threshold(value)


@pytest.mark.parametrize("value", [0, 1, -1, np.float32(0.25), np.nextafter(1, 2)])
def test_every_kind_of_number_is_taken(value):
    assert checked_threshold(value) == checked_number("threshold", value) == value


# --- strangers that a net was published with --------------------------------------------------


@pytest.fixture
def rates(tmp_path, monkeypatch):
    """One pair in ten matches from 0.5 on, in a hundred from 0.7, in a thousand from 0.8."""
    table = pd.DataFrame({"net": "net 1", "false_match_rate": [0.1, 0.01, 0.001]})
    file = tmp_path / "strangers.csv"
    table.assign(threshold=[0.5, 0.7, 0.8], strangers=150).to_csv(file, index=False)
    monkeypatch.setattr(module.published_rates, "__defaults__", (file,))
    return table


def test_the_share_of_strangers_grows_with_the_people(rates):
    # Of one person a stranger is compared with, FPIR is the share of pairs that match.
    assert published_calibration("net 1", 0.01, 1) == (pytest.approx(0.7), 0.01, 150, 1)
    # Of twenty who are compared at 0.7, 1 - 0.99^20 of the strangers are taken for somebody.
    among_twenty = published_calibration("net 1", 1 - 0.99**20, 20)
    assert among_twenty.threshold == pytest.approx(0.7)
    # Half way between two rates, as logarithms go.
    between = published_calibration("net 1", 0.1 * 10**-0.5, 1).threshold
    assert between == pytest.approx(0.6)


def test_a_rate_that_was_not_measured_is_refused(rates):
    message = r"of 20 people, 0\.01 asks that 0\.0005 of the pairs .* below 0\.001 was measured"
    with pytest.raises(NotSupportedError, match=message):
        published_calibration("net 1", 0.01, 20)
    with pytest.raises(NotSupportedError, match="of strangers, are needed"):
        published_calibration("net 2", 0.01, 1)
    with pytest.raises(ValueError, match="fpir: expected above 0"):
        published_calibration("net 1", 0, 1)


@pytest.mark.skipif(not net_file(DEFAULT).exists(), reason="no net is published yet")
def test_the_published_net_has_its_strangers():
    table = published_rates(load_net(DEFAULT).fingerprint)
    assert STRANGERS.is_file() and len(table) > 20
    assert table["false_match_rate"].is_monotonic_decreasing
    assert table["threshold"].is_monotonic_increasing
    # Ten pairs at the rarest.
    pairs = table["strangers"] * (table["strangers"] - 1) / 2
    assert (table["false_match_rate"] * pairs).min() == pytest.approx(10, rel=0.01)


def test_among_more_people_the_promise_is_kept_and_a_choice_stays(monkeypatch):
    rates = pd.DataFrame(
        {"threshold": [0.1, 0.9], "false_match_rate": [0.5, 1e-4], "strangers": 300}
    )
    monkeypatch.setattr(module, "published_rates", lambda net: rates if net == "a net" else None)
    gallery = Gallery.of_embeddings(2, "a net")
    module.calibrate_again(gallery)  # of nobody
    assert gallery.calibration is None
    gallery.enrol_embeddings("Anna", [1, 0])
    module.calibrate_again(gallery)
    assert gallery.calibration.fpir == module.FPIR and gallery.calibration.people == 1
    gallery.calibrate(None, 0.2)
    gallery.enrol_embeddings("Boris", [0, 1])
    module.calibrate_again(gallery)
    assert gallery.calibration.fpir == 0.2 and gallery.calibration.people == 2
    angles = np.linspace(0, 3, 100)
    own = gallery.calibrate(np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.3)
    module.calibrate_again(gallery)
    assert gallery.calibration == own
    gallery.threshold = 0.77
    module.calibrate_again(gallery)
    assert gallery.threshold == 0.77 and gallery.calibration is None
    unknown = Gallery.of_embeddings(2, "another net")
    unknown.enrol_embeddings("Anna", [1, 0])
    module.calibrate_again(unknown)
    assert unknown.calibration is None
