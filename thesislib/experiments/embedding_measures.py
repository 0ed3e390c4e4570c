"""What is measured of one group's embeddings, with intervals over people.

Verification, retrieval, identification against a gallery, and compactness, by the names that they
have in ``experiment3.csv``; the definitions are in :mod:`thesislib.metrics`. Embeddings are
compared in their full dimension.
"""

import dataclasses
import functools
from collections.abc import Callable
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

GAINS = ("map_at_r", "precision_at_1", "dprime")  # measures in which two nets are compared
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


# --- the measures -----------------------------------------------------------------------------


@dataclasses.dataclass
class _Faces:
    """Embeddings to be measured; what several measures are read from is computed once.

    Attributes:
        embeddings: float [n, E].
        identities: [n] names.
        gallery: bool [n], see :func:`enrolled`.
        seed: of the folds.
    """

    embeddings: NDArray
    identities: Strings
    gallery: NDArray[np.bool_]
    seed: int

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
        draws: number of samples.
    """

    faces: _Faces
    draws: int

    @functools.cached_property
    def people(self) -> PersonSamples:
        names = self.faces.identities.tolist()
        times = person_draws(len(set(names)), self.draws, seed=self.faces.seed)
        return PersonSamples(self.faces.embeddings, names, times)

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

# Shares, whose intervals are cut to 0–1: a shifted end of the bootstrap may lie beyond.
_SHARES: dict[str, Callable[[_Faces], float]] = {
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
MEASURES: dict[str, Callable[[_Faces], float]] = {
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


def measure(
    embeddings: NDArray,
    identities: Strings,
    gallery: NDArray[np.bool_],
    seed: int,
    draws: int,
) -> pd.DataFrame:
    """All measures of one group's embeddings that it can support.

    Args:
        embeddings: float [n, E]; rows with NaN (the grid had no place for the face) are left out.
        identities: [n] names.
        gallery: bool [n], see :func:`enrolled`.
        seed: of folds and bootstrap.
        draws: of the bootstrap over people; 0 gives no intervals.

    Returns:
        rows ``metric, value, low, high, n, achieved, trials``; n is the number of faces. Where a
        rate of errors is stated, ``achieved`` is the rate reached, of ``trials`` impostor pairs
        or probes of strangers. A measure that these data cannot support has no row. Where there
        are too few people to draw from, the interval of the verification accuracy is Student's t
        over its folds.
    """
    embedded = ~np.isnan(embeddings).any(axis=1)
    embeddings, identities, gallery = (
        array[embedded] for array in (embeddings, identities, gallery)
    )
    faces = _Faces(embeddings, identities, gallery, seed)
    rows = []
    for name, of in MEASURES.items():
        try:
            rows.append((name, of(faces), np.nan, np.nan, len(identities), *_rate(faces, name)))
        except NotSupportedError:
            continue
    table = pd.DataFrame(rows, columns=[*_ROWS, "achieved", "trials"])
    samples = _Samples(faces, draws)
    for family in (*_APART, _TOGETHER):
        of_family = table["metric"].isin(family)
        if draws and of_family.any():
            found = table.loc[of_family].set_index("metric")["value"]
            table.loc[of_family, ["low", "high"]] = _interval(found, samples)
    shares = table["metric"].isin(list(_SHARES))
    table.loc[shares, ["low", "high"]] = table.loc[shares, ["low", "high"]].clip(0, 1)
    return table


def _rate(faces: _Faces, name: str) -> tuple[float, float]:
    """The rate that a measure achieves of the one it states, and the number of its trials."""
    if name in _TAR:
        accepted = faces.tar_at_far(_TAR[name])
        return accepted.far, accepted.impostor_pairs
    if name in _FNIR:
        missed = faces.fnir_at_fpir(_FNIR[name])
        return missed.fpir, missed.non_mated_probes
    return np.nan, np.nan


def _interval(found: pd.Series, samples: _Samples) -> NDArray[np.float64]:
    """Lower and upper ends [measures, 2] of 95 % intervals; NaN where they are not supported.

    Args:
        found: the measures, by name.
        samples: of the same faces.
    """
    try:
        drawn = np.stack([_SAMPLED[name](samples) for name in found.index], axis=1)
        return np.stack(shifted_interval(found.to_numpy(), drawn), axis=1)
    except NotSupportedError:
        if "verification_accuracy" not in found:
            return np.full((len(found), 2), np.nan)
    faces = samples.faces
    folds = faces.of(verification.verification_accuracy, seed=faces.seed)
    half = stats.t.ppf(0.975, len(folds.accuracies) - 1) * folds.standard_error
    return np.array([[folds.mean - half, folds.mean + half]])


def gains(
    embeddings: NDArray, reference: NDArray, identities: Strings, seed: int, draws: int
) -> pd.DataFrame:
    """How much better one net's embeddings are than another's of the same faces.

    Both nets see the same people in every draw of the bootstrap: what makes a draw easy for both
    takes nothing from the comparison, while the intervals of each alone may overlap.

    Args:
        embeddings: float [n, E]; faces with NaN here or in ``reference`` are left out.
        reference: float [n, R], of the net that is compared with.
        identities: [n] names.
        seed: of the bootstrap over people.
        draws: of it, at least 1.

    Returns:
        rows ``metric, value, low, high, n``: differences in the measures :data:`GAINS`, named
        ``<measure>_gain``; none if the data cannot support them.
    """
    embedded = ~(np.isnan(embeddings).any(axis=1) | np.isnan(reference).any(axis=1))
    names = identities[embedded]
    nobody = np.zeros(len(names), dtype=bool)
    own, other = (
        _Faces(vectors[embedded], names, nobody, seed) for vectors in (embeddings, reference)
    )
    try:
        value = [MEASURES[name](own) - MEASURES[name](other) for name in GAINS]
        of_own, of_other = _Samples(own, draws), _Samples(other, draws)
        drawn = [_SAMPLED[name](of_own) - _SAMPLED[name](of_other) for name in GAINS]
        low, high = shifted_interval(value, np.stack(drawn, axis=1))
    except NotSupportedError:
        return pd.DataFrame(columns=_ROWS)
    columns = {"metric": [f"{name}_gain" for name in GAINS], "value": value}
    return pd.DataFrame(columns).assign(low=low, high=high, n=len(names))


# --- curves and similarities ------------------------------------------------------------------


def curves(embeddings: NDArray, identities: Strings, gallery: NDArray[np.bool_]) -> pd.DataFrame:
    """ROC, FNIR against FPIR, and CMC of one group.

    Args:
        embeddings: float [n, E], without NaN.
        identities: [n] names.
        gallery: bool [n], see :func:`enrolled`.

    Returns:
        rows ``curve, x, y, supported``, the last the lowest x at which as many errors are to be
        expected as a rate must have; curves that the data cannot support are left out.
    """
    tables = [pd.DataFrame(columns=["curve", "x", "y", "supported"])]
    try:
        roc = verification.roc(embeddings, identities.tolist())
        lowest = MIN_EXPECTED_ERRORS / roc.impostor_pairs
        tables.append(thinned("roc", roc.far, roc.tar, lowest))
        found = identification.open_set(embeddings, identities.tolist(), gallery)
        require_mated(found.mated_probes)
        lowest = MIN_EXPECTED_ERRORS / found.non_mated_probes
        tables.append(thinned("open_set", found.fpir, found.fnir, lowest))
        closed = np.isin(identities, np.unique(identities[gallery]))
        cmc = identification.cumulative_match(
            embeddings[closed], identities[closed].tolist(), gallery[closed]
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


def similarities(embeddings: NDArray, identities: Strings) -> pd.DataFrame:
    """Histogram of the cosines of genuine (``intra``) and impostor (``inter``) pairs.

    Args:
        embeddings: float [n, E], without NaN.
        identities: [n] names.

    Returns:
        rows ``pairs, low, high, share``; the shares of a kind of pairs sum to 1.
    """
    tables = []
    intra, inter = pair_similarities(embeddings, identities.tolist())
    for kind, values in (("intra", intra), ("inter", inter)):
        share = np.histogram(values, _BINS)[0] / max(1, len(values))
        bins = {"low": _BINS[:-1], "high": _BINS[1:], "share": share}
        tables.append(pd.DataFrame({"pairs": kind, **bins}))
    return pd.concat(tables, ignore_index=True)
