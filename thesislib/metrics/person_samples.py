"""Measures of many bootstrap samples over persons at once, by weights in place of copies.

``statistics.person_bootstrap`` hands a measure the faces of every sample, copied. But a sample
differs from the data only in how often each person was drawn, and two faces are as similar in it
as in the data. With c_p the times that person p was drawn, a genuine pair of p counts c_p times,
as does a query or a probe of p, and a pair of p and q counts c_p c_q times: copies of one person
are never compared. So similarities are computed and sorted once, and a sample is a weighted sum
of what was counted in the data. Weights are whole numbers, so that counts, and all rates made of
them, are those of the copies exactly; other measures differ by rounding alone.

Resampling vectors: Efron & Tibshirani 1993, An Introduction to the Bootstrap; what a person drawn
several times stands for is said, with its source, at ``statistics.person_bootstrap``.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.compactness import overlaps
from thesislib.metrics.operating_points import checked_rate
from thesislib.metrics.similarity import DECIMALS, cosine, labelled, row_blocks
from thesislib.metrics.sorted_pairs import RocSamples, SortedPairs
from thesislib.metrics.verification import folds_of_people

Array = NDArray[np.float64]


class RetrievalSamples(NamedTuple):
    """Means over each sample's queries, [draws] each; see ``PersonSamples.retrieval``."""

    precision_at_1: Array
    r_precision: Array
    map_at_r: Array


class OpenSetSamples(NamedTuple):
    """Identification in each sample; see ``PersonSamples.open_set``."""

    rank_one: Array  # [draws]
    fnir: Array  # [rates, draws]


class _Moments(NamedTuple):
    """Of the similarities of pairs, by person, [people, people]: on the diagonal genuine pairs;
    above and below it impostor pairs, all of two persons in both places."""

    pairs: Array  # how many
    mean: Array
    squares: Array  # sum of squared differences from the mean
    repulsion: Array  # sum of exp(4 cosine - 4), see ``compactness.uniformity``


class PersonSamples:
    """Bootstrap samples over persons, to be measured.

    Each measure is what the function of the same name in :mod:`thesislib.metrics` gives for a
    sample with copies. The time that a sample takes hardly depends on the dimension. Memory: for
    ``roc`` and ``verification_accuracy`` some 60 bytes a pair of faces, 210 MB for 2744 faces; for
    ``open_set`` some 40 bytes a probe and draw.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        times: [draws, people] int, how often each person was drawn, in order of name, as of
            ``statistics.person_draws``.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``times`` of another
            shape, with a negative number or a draw of nobody.

    Every measure raises NotSupportedError where a sample does not support it, and names the draw.

    >>> faces, names = [[5, 0], [4, 3], [3, 4], [0, 5]], ["ann", "ann", "bob", "bob"]
    >>> PersonSamples(faces, names, [[1, 1], [1, 2]]).roc([0.25]).tar
    array([[1., 1.]])
    """

    def __init__(self, embeddings: ArrayLike, identities: Sequence[str], times: ArrayLike) -> None:
        sample = labelled(embeddings, identities)
        self._size = np.bincount(sample.person)
        drawn = np.asarray(times)
        people = len(self._size)
        if drawn.ndim != 2 or drawn.shape[1] != people or drawn.dtype.kind not in "iu":
            raise ValueError(f"times: expected [draws, {people}] integers, one a person")
        if (drawn < 0).any() or not drawn.any(axis=1).all():
            raise ValueError("times: expected integers from 0, and in each draw one above it")
        # A person's faces lie together, so that sums over them are sums of neighbours.
        self._order = np.argsort(sample.person, kind="stable")
        self._vectors, self._person = sample.vectors[self._order], sample.person[self._order]
        self._first = np.cumsum(self._size) - self._size
        self._times = np.ascontiguousarray(drawn.T, dtype=np.float64)  # [people, draws]
        self._one, self._other = np.triu_indices(people, 1)  # every two persons

    # --- what measures have in common ---------------------------------------------------------

    def _faces(self) -> Iterator[tuple[int, slice, Array]]:
        """Each person, the rows of their faces, and those faces' similarities [faces, n] to all."""
        for person, first in enumerate(self._first):
            rows = slice(first, first + self._size[person])
            yield person, rows, cosine(self._vectors[rows], self._vectors)

    def _by_person(self, of_face: NDArray) -> Array:
        """Sums [rows, people] over each person's faces of values [rows, n]."""
        return np.add.reduceat(of_face, self._first, axis=1, dtype=np.float64)

    def _best_drawn(self, score: Array) -> Array:
        """Highest of the scores [rows, people] of those who were drawn, [rows, draws]."""
        best = np.empty((len(score), self._times.shape[1]))
        people, every_draw = np.argsort(-score, axis=1), np.arange(self._times.shape[1])
        for rows in row_blocks(*best.shape):
            own, row = people[rows], np.arange(rows.stop - rows.start)[:, None]
            place = np.zeros((len(own), len(every_draw)), dtype=np.int64)
            # Some 63 % of people are drawn, so that few steps lead to somebody who was.
            while (missing := self._times[own[row, place], every_draw] == 0).any():
                place += missing
            best[rows] = score[rows][row, own[row, place]]
        return best

    def _refuse(self, unsupported: NDArray[np.bool_], why: str) -> None:
        if unsupported.any():
            draw = int(unsupported.argmax())
            raise NotSupportedError(f"draw {draw} of {len(unsupported)}: {why}")

    def _require_genuine_pairs(self) -> None:
        nobody = (self._times[self._size > 1] == 0).all(axis=0)
        self._refuse(nobody, "identities: nobody has two photos, so there is no genuine pair")

    def _require_impostor_pairs(self) -> None:
        alone = (self._times > 0).sum(axis=0) == 1
        self._refuse(alone, "identities: one person only, so there is no impostor pair")

    @functools.cached_property
    def _faces_drawn(self) -> Array:
        return self._size @ self._times

    @functools.cached_property
    def _moments(self) -> _Moments:
        moments = _Moments(*np.zeros((4, len(self._size), len(self._size))))
        for person, rows, similarity in self._faces():
            pair = np.ones(similarity.shape, dtype=bool)
            pair[:, rows] = np.triu(pair[:, rows], 1)
            count = self._by_person(pair).sum(axis=0)
            total = self._by_person(np.where(pair, similarity, 0)).sum(axis=0)
            mean = total / np.maximum(count, 1)
            away = np.where(pair, similarity - mean.repeat(self._size), 0)
            moments.pairs[person], moments.mean[person] = count, mean
            moments.squares[person] = self._by_person(away**2).sum(axis=0)
            repulsion = np.where(pair, np.exp(4 * similarity - 4), 0)
            moments.repulsion[person] = self._by_person(repulsion).sum(axis=0)
        return moments

    def _totals(self, of_pairs: Array) -> tuple[Array, Array]:
        """Sums [draws] over genuine and over impostor pairs of sums [people, people]."""
        genuine = np.diag(of_pairs) @ self._times
        return genuine, (self._times * (np.triu(of_pairs, 1) @ self._times)).sum(axis=0)

    # --- verification -------------------------------------------------------------------------

    @functools.cached_property
    def _pairs(self) -> SortedPairs:
        return SortedPairs(self._vectors, self._person)

    def roc(self, rates: Sequence[float]) -> RocSamples:
        """TAR at each FAR, and the equal error rate.

        Args:
            rates: highest FARs allowed, above 0 and at most 1; however few false accepts are to
                be expected.

        Returns:
            ``RocSamples``, see ``verification.tar_at_far`` and ``verification.equal_error_rate``.

        Raises:
            ValueError: a rate out of range.
            NotSupportedError: in a sample no genuine pair, or no impostor pair.
        """
        rates = [checked_rate("rates", rate) for rate in rates]
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        return self._pairs.roc(self._times, rates)

    def verification_accuracy(self, folds: int = 10, *, seed: int) -> Array:
        """Balanced accuracy over folds of people.

        Args:
            folds: at least 2.
            seed: of the assignment to folds.

        Returns:
            [draws] in 0–1, the mean of ``verification.verification_accuracy``.

        Raises:
            ValueError: ``folds`` below 2.
            NotSupportedError: in a sample fewer than two people per fold, one of them with two
                faces.
        """
        draws = self._times.shape[1]
        found = np.empty(draws)
        for draw, times in enumerate(self._times.T):
            fold = np.full(len(times), -1)
            try:
                fold[times > 0] = folds_of_people(self._size[times > 0] > 1, folds, seed=seed)
            except NotSupportedError as error:
                raise NotSupportedError(f"draw {draw} of {draws}: {error}") from None
            found[draw] = self._pairs.accuracies_of_folds(times, fold).mean()
        return found

    # --- retrieval and identification ---------------------------------------------------------

    def retrieval(self) -> RetrievalSamples:
        """Precision at 1, R-precision and MAP@R, see ``retrieval.retrieval``.

        Raises:
            NotSupportedError: in a sample no genuine pair, or no impostor pair.
        """
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        totals = np.zeros((3, self._times.shape[1]))
        for person, rows, similarity in self._faces():
            relevant = int(self._size[person]) - 1
            if relevant == 0:
                continue
            found = np.arange(1, relevant + 1)[:, None]  # of the person's faces, so far
            for at, of_query in enumerate(similarity):
                genuine = np.sort(np.delete(of_query[rows], at))[::-1]
                before = self._by_person(of_query >= genuine[:, None])
                before[:, person] = 0
                place = found + before @ self._times  # [relevant, draws], in the query's list
                right = place <= relevant
                means = (place[0] == 1, right.mean(axis=0), (right * found / place).mean(axis=0))
                totals += self._times[person] * np.stack(means)
        return RetrievalSamples(*(totals / (self._size * (self._size > 1) @ self._times)))

    def open_set(self, gallery: ArrayLike, rates: Sequence[float]) -> OpenSetSamples:
        """Rank-one identification, and FNIR at each FPIR, against a gallery.

        Args:
            gallery: [n] bool: in the gallery; the others are probes.
            rates: highest FPIRs allowed, above 0 and at most 1; however few false positives are
                to be expected.

        Returns:
            ``OpenSetSamples``, see ``identification.open_set`` and
            ``identification.fnir_at_fpir``.

        Raises:
            ValueError: ``gallery`` of another shape or dtype, a rate out of range.
            NotSupportedError: in a sample no mated probes, no non-mated ones, or fewer than two
                people enrolled.
        """
        rates = [checked_rate("rates", rate) for rate in rates]
        given = np.asarray(gallery)
        if given.shape != self._person.shape or given.dtype != bool:
            raise ValueError(f"gallery: expected [{len(self._person)}] bool, one an embedding")
        given = given[self._order]
        enrolled, first = np.unique(self._person[given], return_index=True)
        few = (self._times[enrolled] > 0).sum(axis=0) < 2
        self._refuse(few, "gallery: fewer than 2 people enrolled")
        is_mated = np.isin(self._person, enrolled)
        mated, non_mated = (
            np.bincount(self._person[~given & which], minlength=len(self._size)) @ self._times
            for which in (is_mated, ~is_mated)
        )
        self._refuse(mated == 0, "gallery: there is no probe whose person is enrolled")
        self._refuse(non_mated == 0, "gallery: there is no probe whose person is not enrolled")

        mates, hits, false = [], [], []
        strangers: list[int] = []  # the person of each non-mated probe
        for person, rows, similarity in self._faces():
            searched = similarity[~given[rows]][:, given]
            score = np.full((len(searched), len(self._size)), -np.inf)
            score[:, enrolled] = np.maximum.reduceat(searched, first, axis=1)
            mate = score[:, [person]].copy()
            score[:, person] = -np.inf
            best = self._best_drawn(score)
            if person in enrolled:
                mates.append(mate)
                hits.append((mate > best) * self._times[person])
            else:
                false.append(best)
                strangers += [person] * len(best)
        mate, hit, positive = (np.concatenate(some) for some in (mates, hits, false))
        order = np.argsort(-positive, axis=0)
        weight = np.take_along_axis(self._times[strangers], order, axis=0)
        reached = np.cumsum(weight, axis=0) / non_mated
        positive = np.take_along_axis(positive, order, axis=0)
        fnir = np.empty((len(rates), len(mated)))
        for at, rate in enumerate(rates):
            # The highest score at which too many strangers are accepted; 1 or more accept all.
            first_over = (reached <= rate).sum(axis=0)
            lowest = np.append(positive, np.full((1, len(mated)), -np.inf), axis=0)
            above = mate > lowest[first_over, np.arange(len(mated))]
            fnir[at] = 1 - (hit * above).sum(axis=0) / mated
        return OpenSetSamples(rank_one=hit.sum(axis=0) / mated, fnir=fnir)

    # --- compactness --------------------------------------------------------------------------

    def dprime(self) -> Array:
        """The decidability d' [draws], see ``compactness.dprime``.

        Raises:
            NotSupportedError: in a sample no genuine pair, no impostor pair, or similarities that
                do not vary.
        """
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        moments = self._moments
        mean, variance = _spread(self._times, *(np.diag(one) for one in moments[:3]))
        of_impostors = [one[self._one, self._other] for one in moments[:3]]
        other, other_variance = np.empty_like(mean), np.empty_like(mean)
        for batch in row_blocks(len(mean), len(self._one)):
            both = self._times[self._one, batch] * self._times[self._other, batch]
            other[batch], other_variance[batch] = _spread(both, *of_impostors)
        spread = np.sqrt((variance + other_variance) / 2)
        why = "embeddings: similarities do not vary, and d' is not defined"
        self._refuse(spread < 10.0**-DECIMALS, why)
        return np.abs(mean - other) / spread

    def compactness_ratio(self) -> Array:
        """Genuine distance over that to the nearest other [draws], see
        ``compactness.compactness_ratio``.

        Raises:
            NotSupportedError: in a sample no genuine pair, no impostor pair, or a nearest
                distance of 0 throughout.
        """
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        nearest = np.zeros(self._times.shape[1])
        for person, _, similarity in self._faces():
            score = np.maximum.reduceat(similarity, self._first, axis=1)
            score[:, person] = -np.inf
            nearest += self._times[person] * (1 - self._best_drawn(score)).sum(axis=0)
        self._refuse(nearest == 0, "embeddings: every photo equals one of another person")
        return self.alignment() / 2 / (nearest / self._faces_drawn)

    def silhouette(self) -> Array:
        """Mean silhouette [draws], see ``compactness.silhouette``.

        Distances of 0, which scikit-learn leaves to rounding, are exact here.

        Raises:
            NotSupportedError: in a sample no genuine pair, or no impostor pair.
        """
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        total = np.zeros(self._times.shape[1])
        for person, _, similarity in self._faces():
            if self._size[person] == 1:
                continue
            distance = self._by_person(1 - similarity)
            own = distance[:, [person]] / (self._size[person] - 1)
            distance /= self._size
            distance[:, person] = np.inf
            other = -self._best_drawn(-distance)
            larger = np.maximum(own, other)
            total += self._times[person] * ((other - own) / np.where(larger, larger, 1)).sum(axis=0)
        return total / self._faces_drawn

    def davies_bouldin(self) -> Array:
        """Davies–Bouldin index [draws], see ``compactness.davies_bouldin``.

        Raises:
            NotSupportedError: in a sample no genuine pair, no impostor pair, or two people with
                the same centre.
        """
        self._require_genuine_pairs()
        self._require_impostor_pairs()
        worst = self._best_drawn(np.stack(list(overlaps(self._vectors, self._person))))
        worst = np.where(self._times > 0, worst, 0)
        why = "embeddings: the photos of two people have one centre"
        self._refuse(worst.max(axis=0) == np.inf, why)
        return (self._times * worst).sum(axis=0) / self._times.sum(axis=0)

    def alignment(self) -> Array:
        """Alignment [draws], see ``compactness.alignment``.

        Raises:
            NotSupportedError: in a sample no genuine pair.
        """
        self._require_genuine_pairs()
        total, _ = self._totals(self._moments.pairs * (2 - 2 * self._moments.mean))
        return total / self._totals(self._moments.pairs)[0]

    def uniformity(self) -> Array:
        """Uniformity [draws], see ``compactness.uniformity``.

        Raises:
            NotSupportedError: a sample of fewer than two faces, or of copies of one face.
        """
        pairs = np.add(*self._totals(self._moments.pairs))
        self._refuse(pairs == 0, "embeddings: fewer than two photos")
        return np.log(np.add(*self._totals(self._moments.repulsion)) / pairs)


def _spread(weight: Array, count: Array, mean: Array, squares: Array) -> tuple[Array, Array]:
    """Mean and variance [draws] of similarities in kinds of their own number, mean and squares.

    Args:
        weight: [kinds, draws], how often each kind counts.
        count, mean, squares: [kinds], see ``_Moments``.
    """
    total = count @ weight
    middle = (count * mean) @ weight / total
    # About the mean, so that similarities that are alike give 0 but for rounding.
    away = (mean[:, None] - middle) ** 2
    return middle, (squares @ weight + (count[:, None] * away * weight).sum(axis=0)) / total
