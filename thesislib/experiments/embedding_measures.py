"""What is measured of one group's embeddings, with intervals over people.

Verification, retrieval, identification against a gallery, and compactness, by the names that they
have in ``experiment3.csv``; the definitions are in :mod:`thesislib.metrics`. Embeddings are
compared in their full dimension.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from thesislib import seeds
from thesislib.metrics import compactness, identification, retrieval, verification
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import MIN_EXPECTED_ERRORS
from thesislib.metrics.person_samples import (
    OpenSetSamples,
    PersonSamples,
    RetrievalSamples,
)
from thesislib.metrics.similarity import pair_similarities
from thesislib.metrics.sorted_pairs import RocSamples
from thesislib.metrics.statistics import person_draws, shifted_interval

COMPARED = ("map_at_r", "precision_at_1")  # in which two nets are compared, query by query
# Below, a handful of pairs decides what is measured.
MIN_GENUINE_PAIRS = 30
_BINS = np.round(np.linspace(-1, 1, 41), 2)  # of similarities
CURVE_POINTS = 200
_ROWS = ["metric", "value", "low", "high", "n"]

Strings = NDArray[np.object_]


def enrolled(identities: Strings, sessions: Strings, seed: int) -> NDArray[np.bool_]:
    """Which faces make the gallery: of half of the people, drawn, half of their sessions.

    The first sessions, whole, so that no probe is from an enrolled session; where a session is
    not known, every face is taken for one. Drawn are people who have at least two.

    Args:
        identities: [n] names.
        sessions: [n] names of sessions, whose order is that of enrolment; "" if unknown.
        seed: of the drawing.

    Returns:
        bool [n].

    >>> names = np.array(["ann"] * 4 + ["bob"] * 4, object)
    >>> enrolled(names, np.array(["1", "1", "2", "2"] * 2, object), seed=0).astype(int)
    array([0, 0, 0, 0, 1, 1, 0, 0])
    """
    sittings = sessions.astype(str)
    if (sittings == "").any():
        sittings = np.arange(len(identities))
    rows = pd.DataFrame({"person": identities.astype(str), "session": sittings})
    of_person = rows.groupby("person")["session"].unique().map(sorted)
    several = of_person[of_person.map(len) >= 2]
    drawn = seeds.generator(seed, "enrolled").permutation(several.index.to_numpy(str))
    gallery = np.zeros(len(identities), dtype=bool)
    for person in drawn[: len(drawn) // 2]:
        first = several[person][: len(several[person]) // 2]
        gallery |= ((rows["person"] == person) & rows["session"].isin(first)).to_numpy()
    return gallery


def genuine_pairs(identities: Strings) -> int:
    """How many pairs of faces are of one person.

    >>> genuine_pairs(np.array(["ann", "bob", "ann", "ann"], object))
    3
    """
    faces = pd.Series(identities).value_counts()
    return int((faces * (faces - 1) // 2).sum())


# --- the measures -----------------------------------------------------------------------------


@dataclasses.dataclass
class Faces:
    """Embeddings to be measured; what several measures are read from is computed once.

    Attributes:
        embeddings: float [n, E]; rows with NaN (the grid had no place for the face) are left out.
        identities: [n] names.
        gallery: bool [n], see :func:`enrolled`.
        seed: of folds, and of a bootstrap of these faces alone.
    """

    embeddings: NDArray
    identities: Strings
    gallery: NDArray[np.bool_]
    seed: int

    def __post_init__(self) -> None:
        embedded = ~np.isnan(self.embeddings).any(axis=1)
        self.embeddings, self.identities, self.gallery = (
            array[embedded] for array in (self.embeddings, self.identities, self.gallery)
        )

    @functools.cached_property
    def are_enough(self) -> bool:
        """Whether there are two people, and pairs enough of one, for anything to be measured."""
        several = len(set(self.identities)) > 1
        return several and genuine_pairs(self.identities) >= MIN_GENUINE_PAIRS

    def of(self, measure: Callable[..., Any], *more: Any, **settings: Any) -> Any:
        """A measure of :mod:`thesislib.metrics` of these embeddings."""
        return measure(self.embeddings, self.identities, *more, **settings)

    @functools.cached_property
    def roc(self) -> verification.Roc:
        return self.of(verification.roc)

    @functools.cached_property
    def retrieval(self) -> retrieval.Retrieval:
        return self.of(retrieval.retrieval)

    @functools.cached_property
    def open_set(self) -> identification.OpenSet:
        curve = self.of(identification.open_set, self.gallery)
        require_mated(curve.mated_probes)
        return curve

    def tar_at_far(self, far: float) -> verification.TarAtFar:
        return verification.tar_at_far(self.roc, far)

    def fnir_at_fpir(self, fpir: float) -> identification.FnirAtFpir:
        return identification.fnir_at_fpir(self.open_set, fpir)


@dataclasses.dataclass
class _Samples:
    """Samples of the bootstrap over people, all measured at once; the same people are drawn for
    the same seed.

    However few errors are to be expected, a measure at a stated rate of them is supported: that
    is asked of the data.

    Attributes:
        faces: what is drawn from.
        times: int [draws, people], how often each person is drawn, in order of name.
    """

    faces: Faces
    times: NDArray[np.int64]

    @functools.cached_property
    def people(self) -> PersonSamples:
        if not self.times.any(axis=1).all():
            raise NotSupportedError("identities: a sample holds none of these people")
        return PersonSamples(self.faces.embeddings, self.faces.identities.tolist(), self.times)

    @functools.cached_property
    def roc(self) -> RocSamples:
        return self.people.roc(list(_TAR.values()))

    @functools.cached_property
    def retrieval(self) -> RetrievalSamples:
        return self.people.retrieval()

    @functools.cached_property
    def open_set(self) -> OpenSetSamples:
        return self.people.open_set(self.faces.gallery, list(_FNIR.values()))


def require_mated(probes: int) -> None:
    """Refuse rates of misses among too few probes of enrolled people.

    Raises:
        NotSupportedError: fewer than the errors that a rate must let expect.
    """
    if probes < MIN_EXPECTED_ERRORS:
        raise NotSupportedError(
            f"gallery: {probes} probes of enrolled people, and at least {MIN_EXPECTED_ERRORS} "
            "are needed"
        )


# At a stated rate of errors: the value is reported with the rate achieved, and of how many trials.
_TAR = {"tar_at_far_1e2": 0.01, "tar_at_far_1e3": 0.001}
_FNIR = {"fnir_at_fpir_1e2": 0.01, "fnir_at_fpir_1e1": 0.1}

# Shares, whose intervals are cut to 0–1.
_SHARES: dict[str, Callable[[Faces], float]] = {
    "verification_accuracy": lambda f: f.of(verification.verification_accuracy, seed=f.seed).mean,
    "tar_at_far_1e2": lambda f: f.tar_at_far(_TAR["tar_at_far_1e2"]).tar,
    "tar_at_far_1e3": lambda f: f.tar_at_far(_TAR["tar_at_far_1e3"]).tar,
    "equal_error_rate": lambda f: verification.equal_error_rate(f.roc),
    "precision_at_1": lambda f: f.retrieval.precision_at_1,
    "r_precision": lambda f: f.retrieval.r_precision,
    "map_at_r": lambda f: f.retrieval.map_at_r,
    "rank_one": lambda f: f.open_set.rank_one,
    "fnir_at_fpir_1e2": lambda f: f.fnir_at_fpir(_FNIR["fnir_at_fpir_1e2"]).fnir,
    "fnir_at_fpir_1e1": lambda f: f.fnir_at_fpir(_FNIR["fnir_at_fpir_1e1"]).fnir,
}
MEASURES: dict[str, Callable[[Faces], float]] = {
    **_SHARES,
    "dprime": lambda f: f.of(compactness.dprime),
    "compactness_ratio": lambda f: f.of(compactness.compactness_ratio),
    "silhouette": lambda f: f.of(compactness.silhouette),
    "davies_bouldin": lambda f: f.of(compactness.davies_bouldin),
    "alignment": lambda f: f.of(compactness.alignment),
    "uniformity": lambda f: f.of(compactness.uniformity),
}
# Of each sample of a bootstrap, [draws].
_SAMPLED: dict[str, Callable[[_Samples], NDArray[np.float64]]] = {
    "verification_accuracy": lambda s: s.people.verification_accuracy(seed=s.faces.seed),
    "tar_at_far_1e2": lambda s: s.roc.tar[0],
    "tar_at_far_1e3": lambda s: s.roc.tar[1],
    "equal_error_rate": lambda s: s.roc.equal_error_rate,
    "precision_at_1": lambda s: s.retrieval.precision_at_1,
    "r_precision": lambda s: s.retrieval.r_precision,
    "map_at_r": lambda s: s.retrieval.map_at_r,
    "rank_one": lambda s: s.open_set.rank_one,
    "fnir_at_fpir_1e2": lambda s: s.open_set.fnir[0],
    "fnir_at_fpir_1e1": lambda s: s.open_set.fnir[1],
    "dprime": lambda s: s.people.dprime(),
    "compactness_ratio": lambda s: s.people.compactness_ratio(),
    "silhouette": lambda s: s.people.silhouette(),
    "davies_bouldin": lambda s: s.people.davies_bouldin(),
    "alignment": lambda s: s.people.alignment(),
    "uniformity": lambda s: s.people.uniformity(),
}
# Measured in the same samples of the bootstrap. With few people a sample may hold too few of them
# to enrol, or to assign to folds; then only these measures lose their interval.
_APART = (("verification_accuracy",), ("rank_one", *_FNIR))
_TOGETHER = tuple(name for name in MEASURES if name not in {n for names in _APART for n in names})


def measure(faces: Faces, draws: int) -> pd.DataFrame:
    """All measures of one group's embeddings that it can support.

    Args:
        faces: the group.
        draws: of the bootstrap over people; 0 gives no intervals.

    Returns:
        rows ``metric, value, low, high, n, achieved, trials``; n is the number of faces. Where a
        rate of errors is stated, ``achieved`` is the rate reached, of ``trials`` impostor pairs
        or probes of strangers. A measure that these data cannot support has no row, and none has
        one where there are fewer than :data:`MIN_GENUINE_PAIRS` pairs of one person. Where there
        are too few people to draw from, the interval of the verification accuracy is Student's t
        over its folds.
    """
    rows = [
        (name, value, np.nan, np.nan, len(faces.identities), *_rate(faces, name))
        for name, value in _values(faces).items()
    ]
    table = pd.DataFrame(rows, columns=[*_ROWS, "achieved", "trials"])
    if draws and len(table):
        people = len(set(faces.identities))
        samples = [_Samples(faces, person_draws(people, draws, seed=faces.seed))]
        table = _with_intervals(table, samples)
        alone = (table["metric"] == "verification_accuracy") & table["low"].isna()
        if alone.any():
            folds = faces.of(verification.verification_accuracy, seed=faces.seed)
            half = stats.t.ppf(0.975, len(folds.accuracies) - 1) * folds.standard_error
            ends = np.clip([folds.mean - half, folds.mean + half], 0, 1)
            table.loc[alone, ["low", "high"]] = ends
    return table


def _values(faces: Faces) -> dict[str, float]:
    """The measures that the faces support, by name."""
    found: dict[str, float] = {}
    for name, of in MEASURES.items() if faces.are_enough else ():
        try:
            found[name] = of(faces)
        except NotSupportedError:
            continue
    return found


def over_seeds(by_seed: Mapping[int, Faces], draws: int, seed: int) -> pd.DataFrame:
    """Measures of one group in several trainings and divisions of the people, put together.

    Args:
        by_seed: the group of each seed; people may be in several of them.
        draws: of the bootstrap, at least 1: people are drawn out of all, and whoever is drawn is
            so in every seed.
        seed: of it.

    Returns:
        rows ``metric, value, low, high, n, persons, scenes, seeds, seed_values``: the mean over
        seeds, its interval, faces of all seeds summed, people of any seed, faces of a person (one
        a scene, on average over seeds), and the value of each seed, in words. Measures that one of
        the seeds does not support are left out.
    """
    values = [_values(faces) for faces in by_seed.values()]
    shared = [name for name in MEASURES if all(name in own for own in values)]
    names = sorted({name for faces in by_seed.values() for name in faces.identities})
    each = [len(faces.identities) / len(set(faces.identities)) for faces in by_seed.values()]
    rows = [
        {
            "metric": name,
            "value": float(np.mean([own[name] for own in values])),
            "low": np.nan,
            "high": np.nan,
            "n": sum(len(faces.identities) for faces in by_seed.values()),
            "persons": len(names),
            "scenes": float(np.mean(each)),
            "seeds": " ".join(map(str, by_seed)),
            "seed_values": " ".join(f"{own[name]:.4g}" for own in values),
        }
        for name in shared
    ]
    table = pd.DataFrame(rows, columns=[*_ROWS, "persons", "scenes", "seeds", "seed_values"])
    if not len(table):
        return table
    times = person_draws(len(names), draws, seed=seed)
    place = {name: at for at, name in enumerate(names)}
    samples = [
        _Samples(faces, times[:, [place[name] for name in sorted(set(faces.identities))]])
        for faces in by_seed.values()
    ]
    return _with_intervals(table, samples)


def _with_intervals(table: pd.DataFrame, samples: Sequence[_Samples]) -> pd.DataFrame:
    """The rows of measures, with the intervals that these samples support; several are averaged
    sample by sample."""
    table = table.copy()
    for family in (*_APART, _TOGETHER):
        of_family = table["metric"].isin(family)
        if not of_family.any():
            continue
        found = table[of_family]
        try:
            drawn = np.mean(
                [
                    np.stack([_SAMPLED[name](one) for name in found["metric"]], axis=1)
                    for one in samples
                ],
                axis=0,
            )
        except NotSupportedError:
            continue
        low_high = np.stack(shifted_interval(found["value"].to_numpy(), drawn), axis=1)
        table.loc[of_family, ["low", "high"]] = low_high
    shares = table["metric"].isin(list(_SHARES))
    # A shifted end of the bootstrap may lie beyond.
    table.loc[shares, ["low", "high"]] = table.loc[shares, ["low", "high"]].clip(0, 1)
    return table


def _rate(faces: Faces, name: str) -> tuple[float, float]:
    """The rate that a measure achieves of the one it states, and the number of its trials."""
    if name in _TAR:
        accepted = faces.tar_at_far(_TAR[name])
        return accepted.far, accepted.impostor_pairs
    if name in _FNIR:
        missed = faces.fnir_at_fpir(_FNIR[name])
        return missed.fpir, missed.non_mated_probes
    return np.nan, np.nan


def by_query(faces: Faces, metric: str) -> NDArray[np.float64]:
    """A measure of :data:`COMPARED` of each face as the query, [n]; NaN where it is none."""
    return np.asarray(getattr(faces.of(retrieval.of_queries), metric), dtype=np.float64)


# --- curves and similarities ------------------------------------------------------------------


def curves(faces: Faces) -> pd.DataFrame:
    """ROC, FNIR against FPIR, and CMC of one group.

    Returns:
        rows ``curve, x, y, supported``, the last the lowest x at which as many errors are to be
        expected as a rate must have; curves that the data cannot support are left out.
    """
    tables = [pd.DataFrame(columns=["curve", "x", "y", "supported"])]
    try:
        roc = faces.roc
        lowest = MIN_EXPECTED_ERRORS / roc.impostor_pairs
        tables.append(thinned("roc", roc.far, roc.tar, lowest))
        found = faces.open_set
        lowest = MIN_EXPECTED_ERRORS / found.non_mated_probes
        tables.append(thinned("open_set", found.fpir, found.fnir, lowest))
        names, gallery = faces.identities, faces.gallery
        closed = np.isin(names, np.unique(names[gallery]))
        cmc = identification.cumulative_match(
            faces.embeddings[closed], names[closed].tolist(), gallery[closed]
        )
        tables.append(thinned("cmc", np.arange(1, len(cmc) + 1), cmc, np.nan))
    except NotSupportedError:
        pass  # what was not reached needs more than what was
    return tables[0] if len(tables) == 1 else pd.concat(tables[1:], ignore_index=True)


def thinned(name: str, x: NDArray, y: NDArray, supported: float) -> pd.DataFrame:
    """A curve as a page shows it: points evenly spread along the logarithm of x, and both ends.

    Args:
        name: of the curve.
        x: [V], at least 0 and never falling.
        y: [V].
        supported: see :func:`curves`.
    """
    floor = x[x > 0].min() if (x > 0).any() else 1.0
    along = np.log(np.maximum(x, floor))
    wanted = np.linspace(along[0], along[-1], CURVE_POINTS)
    at = np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
    return pd.DataFrame({"curve": name, "x": x[at], "y": y[at], "supported": supported})


def similarities(faces: Faces) -> pd.DataFrame:
    """Histogram of the cosines of genuine (``intra``) and impostor (``inter``) pairs.

    Returns:
        rows ``pairs, low, high, share``; the shares of a kind of pairs sum to 1.
    """
    tables = []
    intra, inter = faces.of(pair_similarities)
    for kind, values in (("intra", intra), ("inter", inter)):
        share = np.histogram(values, _BINS)[0] / max(1, len(values))
        bins = {"low": _BINS[:-1], "high": _BINS[1:], "share": share}
        tables.append(pd.DataFrame({"pairs": kind, **bins}))
    return pd.concat(tables, ignore_index=True)
