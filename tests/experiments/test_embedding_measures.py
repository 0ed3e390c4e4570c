"""Measures of one group's embeddings: against those of the metrics, and against loops."""

import numpy as np
import pytest
from clusters import clusters

from thesislib.experiments.embedding_measures import (
    COMPARED,
    CURVE_POINTS,
    Faces,
    by_query,
    curves,
    enrolled,
    measure,
    over_seeds,
    similarities,
)
from thesislib.metrics import compactness, identification, retrieval, verification
from thesislib.metrics.statistics import person_bootstrap, person_draws, shifted_interval


def without_sessions(names, seed=0):
    return enrolled(names, np.full(len(names), "", object), seed)


# --- the gallery ------------------------------------------------------------------------------


def test_enrolled_people_are_half_and_their_probes_are_of_later_sessions():
    names = np.repeat(np.array([f"p{at}" for at in range(10)], object), 6)
    sessions = np.tile(np.array(["2", "1", "1", "2", "1", "2"], object), 10)
    gallery = enrolled(names, sessions, seed=3)
    people = set(names[gallery])
    assert len(people) == 5
    for person in people:
        own = names == person
        assert set(sessions[own & gallery]) == {"1"} and set(sessions[own & ~gallery]) == {"2"}
    assert (gallery == enrolled(names, sessions, seed=3)).all()
    assert (gallery != enrolled(names, sessions, seed=4)).any()


def test_no_probe_is_from_an_enrolled_session():
    names = np.repeat(np.array([f"p{at}" for at in range(8)], object), 9)
    sessions = np.tile(np.repeat(np.array(["a", "b", "c"], object), (2, 3, 4)), 8)
    names[-9:] = "once"
    sessions[-9:] = "a"  # a single session: a stranger, since all probes would be from it
    gallery = enrolled(names, sessions, seed=0)
    people = set(names[gallery])
    assert len(people) == 3 and "once" not in people
    for person in people:
        own = names == person
        assert set(sessions[own & gallery]) == {"a"}
        assert set(sessions[own & ~gallery]) == {"b", "c"}


# --- the measures -----------------------------------------------------------------------------


def test_measures_are_those_of_the_metrics():
    vectors, names = clusters(people=30, photos=5)
    gallery = without_sessions(names)
    table = measure(Faces(vectors, names, gallery, 0), draws=0)
    value = table.set_index("metric")["value"]
    curve = verification.roc(vectors, names)
    found = identification.open_set(vectors, names, gallery)
    retrieved = retrieval.retrieval(vectors, names)
    wanted = {
        "verification_accuracy": verification.verification_accuracy(vectors, names, seed=0).mean,
        "tar_at_far_1e2": verification.tar_at_far(curve, 0.01).tar,
        "tar_at_far_1e3": verification.tar_at_far(curve, 0.001).tar,
        "equal_error_rate": verification.equal_error_rate(curve),
        "precision_at_1": retrieved.precision_at_1,
        "r_precision": retrieved.r_precision,
        "map_at_r": retrieved.map_at_r,
        "rank_one": found.rank_one,
    }
    for name in ("dprime", "compactness_ratio", "silhouette", "davies_bouldin", "alignment"):
        wanted[name] = getattr(compactness, name)(vectors, names)
    wanted["uniformity"] = compactness.uniformity(vectors, names)
    # 75 probes of strangers cannot tell an FPIR of 1 % or 10 %.
    assert value.to_dict() == wanted
    assert (table["n"] == 150).all() and table["low"].isna().all()


def test_what_data_cannot_support_has_no_row():
    vectors, names = clusters(people=3, photos=5)
    found = set(measure(Faces(vectors, names, without_sessions(names), 0), draws=0)["metric"])
    # Three people are too few for ten folds, 75 impostor pairs for FAR 1 %, 10 strangers for FPIR,
    # 3 probes of people enrolled for anything.
    absent = {"verification_accuracy", "tar_at_far_1e2", "tar_at_far_1e3", "fnir_at_fpir_1e1"}
    assert not found & {*absent, "rank_one"}
    assert {"map_at_r", "dprime", "silhouette"} <= found


def test_a_measure_at_a_rate_tells_the_rate_reached_and_of_how_many():
    vectors, names = clusters(people=30, photos=8, spread=2.0)
    gallery = without_sessions(names)
    rows = measure(Faces(vectors, names, gallery, 0), draws=0).set_index("metric")
    far = verification.tar_at_far(verification.roc(vectors, names), 0.01)
    fpir = identification.fnir_at_fpir(identification.open_set(vectors, names, gallery), 0.1)
    assert rows.loc["tar_at_far_1e2", "value"] == far.tar
    assert rows.loc["tar_at_far_1e2", "achieved"] == far.far
    assert rows.loc["tar_at_far_1e2", "trials"] == far.impostor_pairs
    assert rows.loc["fnir_at_fpir_1e1", "value"] == fpir.fnir
    assert rows.loc["fnir_at_fpir_1e1", "achieved"] == fpir.fpir
    assert rows.loc["fnir_at_fpir_1e1", "trials"] == fpir.non_mated_probes
    assert rows.loc[["map_at_r", "rank_one"], ["achieved", "trials"]].isna().all(axis=None)


def test_verification_of_few_people_has_an_interval_over_folds():
    vectors, names = clusters(people=21, photos=4, spread=1.5)
    nobody = np.zeros(len(names), dtype=bool)
    rows = measure(Faces(vectors, names, nobody, 0), draws=20).set_index("metric")
    found = verification.verification_accuracy(vectors, names, seed=0)
    low, high = rows.loc["verification_accuracy", ["low", "high"]]
    assert high - found.mean == pytest.approx(2.262 * found.standard_error, rel=1e-3)
    assert low + high == pytest.approx(2 * found.mean)


def test_intervals_hold_the_value_and_faces_without_a_place_are_left_out():
    vectors, names = clusters(people=24, photos=4, spread=1.5)
    vectors[5] = np.nan
    table = measure(Faces(vectors, names, without_sessions(names), 0), draws=60)
    assert (table["n"] == 95).all()
    there = table.dropna(subset=["low"])
    assert len(there) > 10
    assert (there["low"] <= there["value"] + 1e-9).all()
    assert (there["value"] <= there["high"] + 1e-9).all()
    shares = there[there["metric"].isin(["map_at_r", "precision_at_1", "verification_accuracy"])]
    assert shares[["low", "high"]].stack().between(0, 1).all()


def of_a_sample(name, vectors, names, gallery, copies):
    """A measure of a bootstrap sample, of faces that it holds several times."""
    given = {"embeddings": vectors, "identities": names, "copies": copies}
    if name == "verification_accuracy":
        return verification.verification_accuracy(**given, seed=7).mean
    if name in ("equal_error_rate", "tar_at_far_1e2", "tar_at_far_1e3"):
        curve = verification.roc(**given)
        if name == "equal_error_rate":
            return verification.equal_error_rate(curve)
        return verification.tar_at_far(curve, {"2": 1e-2, "3": 1e-3}[name[-1]], 0).tar
    if name in ("precision_at_1", "r_precision", "map_at_r"):
        return getattr(retrieval.retrieval(**given), name)
    if name == "rank_one" or name.startswith("fnir"):
        curve = identification.open_set(**given, gallery=gallery)
        if name == "rank_one":
            return curve.rank_one
        return identification.fnir_at_fpir(curve, {"1": 0.1, "2": 0.01}[name[-1]], 0).fnir
    return getattr(compactness, name)(**given)


def test_intervals_are_those_of_samples_that_hold_copies():
    vectors, names = clusters(people=50, photos=7, spread=1.6)
    keep = np.ones(len(names), dtype=bool)
    keep[[1, 2, 3, 4, 5, 6, 8, 9, 15]] = False  # one person of one photo, others of few
    vectors, names = vectors[keep], names[keep]
    gallery = without_sessions(names)
    table = measure(Faces(vectors, names, gallery, 7), draws=12).set_index("metric")
    assert len(table) == 15  # but of FNIR at an FPIR of 1 %, which needs 1000 probes of strangers

    def everything(embeddings, identities, copies, gallery):
        return [of_a_sample(name, embeddings, identities, gallery, copies) for name in table.index]

    ends = person_bootstrap(everything, vectors, names.tolist(), seed=7, draws=12, gallery=gallery)
    shares = ~table.index.isin(["dprime", "compactness_ratio", "davies_bouldin", "uniformity"])
    shares &= ~table.index.isin(["silhouette", "alignment"])
    for column, expected in zip(("low", "high"), ends, strict=True):
        expected = np.where(shares, np.clip(expected, 0, 1), expected)
        np.testing.assert_allclose(table[column], expected, atol=1e-9)


def test_where_a_handful_of_pairs_decides_nothing_is_measured():
    vectors, names = clusters(people=10, photos=3)  # thirty pairs of one person
    nobody = np.zeros(len(names), dtype=bool)
    assert len(measure(Faces(vectors, names, nobody, 0), draws=0))
    names[0] = "somebody else"
    assert not len(measure(Faces(vectors, names, nobody, 0), draws=5))
    one, _ = clusters(people=1, photos=9)  # thirty-six pairs, and nobody else
    assert not len(measure(Faces(one, np.full(9, "ann", object), nobody[:9], 0), draws=5))
    alone = {0: Faces(vectors, names, nobody, 0)}
    assert not len(over_seeds(alone, draws=5, seed=0))


def of_seeds():
    """Three seeds, of people some of whom are in several."""
    vectors, names = clusters(people=30, photos=4, spread=1.2)
    noise = np.random.default_rng(3)
    found = {}
    for seed in range(3):
        chosen = np.isin(names, noise.permutation(np.unique(names))[:22])
        own = vectors[chosen] + noise.normal(size=vectors[chosen].shape) * 0.2
        nobody = np.zeros(chosen.sum(), dtype=bool)
        found[seed] = Faces(own, names[chosen], nobody, seed)
    return found


def test_seeds_are_averaged():
    by_seed = of_seeds()
    table = over_seeds(by_seed, draws=30, seed=0).set_index("metric")
    alone = [measure(faces, draws=0).set_index("metric")["value"] for faces in by_seed.values()]
    for name, row in table.iterrows():
        own = [values[name] for values in alone]
        assert row["value"] == pytest.approx(np.mean(own))
        assert [float(value) for value in row["seed_values"].split()] == pytest.approx(
            own, rel=1e-3
        )
    assert (table["seeds"] == "0 1 2").all() and (table["n"] == 3 * 22 * 4).all()
    everybody = set().union(*(faces.identities for faces in by_seed.values()))
    assert (table["persons"] == len(everybody)).all()


def test_whoever_is_drawn_is_drawn_in_every_seed():
    by_seed, draws = of_seeds(), 40
    names = sorted(set().union(*(faces.identities for faces in by_seed.values())))
    times = person_draws(len(names), draws, seed=5)
    samples = []
    for drawn in times:
        found = []
        for faces in by_seed.values():
            rows, copies = [], []
            for name, often in zip(names, drawn, strict=True):
                own = np.flatnonzero(faces.identities == name)
                for copy in range(often):
                    rows += own.tolist()
                    copies += [copy] * len(own)
            given = faces.embeddings[rows], faces.identities[rows].tolist()
            found.append(retrieval.retrieval(*given, copies=copies).map_at_r)
        samples.append(np.mean(found))
    row = over_seeds(by_seed, draws, seed=5).set_index("metric").loc["map_at_r"]
    low, high = shifted_interval(row["value"], samples)
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("metric", COMPARED)
def test_queries_have_the_mean_that_is_measured(metric):
    vectors, names = clusters(people=12, photos=4, spread=1.2)
    names[0] = "once"
    faces = Faces(vectors, names, np.zeros(len(names), dtype=bool), 0)
    values = by_query(faces, metric)
    assert np.isnan(values).tolist() == [True] + [False] * 47
    assert np.nanmean(values) == pytest.approx(
        measure(faces, 0).set_index("metric")["value"][metric]
    )


# --- curves and similarities ------------------------------------------------------------------


def test_curves_run_from_end_to_end_and_say_what_is_supported():
    vectors, names = clusters(people=40, photos=6, spread=1.2)
    table = curves(Faces(vectors, names, without_sessions(names), 0))
    assert set(table["curve"]) == {"roc", "open_set", "cmc"}
    whole = verification.roc(vectors, names)
    drawn = table[table["curve"] == "roc"]
    assert len(drawn) <= CURVE_POINTS
    points = set(zip(whole.far, whole.tar, strict=True))
    assert set(zip(drawn["x"], drawn["y"], strict=True)) <= points
    assert (drawn["x"].iloc[0], drawn["x"].iloc[-1], drawn["y"].iloc[-1]) == (0, 1, 1)
    assert drawn["supported"].iloc[0] == 10 / whole.impostor_pairs
    cmc = table[table["curve"] == "cmc"]
    assert (cmc["x"].iloc[0], cmc["x"].iloc[-1]) == (1, 20)
    assert cmc["supported"].isna().all()


def test_curves_that_the_data_cannot_support_are_left_out():
    vectors, names = clusters(people=4, photos=3)
    assert set(curves(Faces(vectors, names, without_sessions(names), 0))["curve"]) == {"roc"}
    alone = curves(Faces(vectors[:3], names[:3], np.zeros(3, dtype=bool), 0))
    assert alone.empty and list(alone) == ["curve", "x", "y", "supported"]


def test_similarities_against_loops():
    vectors, names = clusters(people=4, photos=3)
    table = similarities(Faces(vectors, names, without_sessions(names), 0))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    counts = {"intra": {}, "inter": {}}
    for i in range(12):
        for j in range(i):
            kind = "intra" if names[i] == names[j] else "inter"
            cosine = float(unit[i] @ unit[j])
            low = np.floor((cosine + 1) / 0.05) * 0.05 - 1
            counts[kind][round(low, 2)] = counts[kind].get(round(low, 2), 0) + 1
    for kind, total in (("intra", 12), ("inter", 54)):
        rows = table[table["pairs"] == kind]
        assert rows["share"].sum() == pytest.approx(1)
        found = {
            low: round(share * total) for low, share in rows[["low", "share"]].to_numpy() if share
        }
        assert found == counts[kind]
