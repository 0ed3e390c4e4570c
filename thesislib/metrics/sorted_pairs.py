"""All pairs of faces in order of similarity, to be counted anew for each sample of a bootstrap.

The sorting, which takes longest, is done once; ``person_samples`` says why a sample can be
counted by weights, and checks what it asks here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from thesislib.metrics.similarity import DECIMALS, cosine, row_blocks

Array = NDArray[np.float64]


class RocSamples(NamedTuple):
    """Points of each sample's ROC curve; see ``person_samples.PersonSamples.roc``."""

    tar: Array  # [rates, draws]
    equal_error_rate: Array  # [draws]


class SortedPairs:
    """Pairs of faces by their similarity and their persons.

    TAR changes at genuine similarities alone. Each value that one has, V of them, is a *level*;
    the highest is the first. Impostor pairs are kept by the level that they reach.

    Args:
        vectors: [n, d] float64, of unit length.
        person: [n], persons numbered from 0, all faces of a person together, in their order; at
            least two persons, one of them with two faces.
    """

    def __init__(self, vectors: Array, person: NDArray[np.int64]) -> None:
        size = np.bincount(person)
        people = len(size)
        self.one, self.other = np.triu_indices(people, 1)  # each two persons, numbered
        genuine, owner, impostor, both = [], [], [], []
        start = 0
        for own, end in enumerate(np.cumsum(size)):
            similarity = cosine(vectors[start:end], vectors[start:])
            genuine.append(similarity[np.triu_indices(size[own], 1)])
            owner.append(np.full(len(genuine[-1]), own))
            impostor.append(similarity[:, size[own] :].ravel())
            first = own * people - own * (own + 1) // 2  # number of this person and the next
            both.append(np.tile(first + person[end:] - own - 1, size[own]))
            start = end
        lowered, level = np.unique(-np.concatenate(genuine), return_inverse=True)
        self.values = -lowered  # [V], similarity of each level
        # [V, people], how many of a person's pairs have the similarity.
        self.genuine = sparse.csr_array(
            (np.ones(len(level)), (level, np.concatenate(owner))), shape=(len(lowered), people)
        )
        # [impostor pairs] by falling similarity, which is kept with the opposite sign.
        self.lowered, self.both = -np.concatenate(impostor), np.concatenate(both)
        order = np.argsort(self.lowered)
        self.lowered, self.both = self.lowered[order], self.both[order]
        # The first level at or below each; V if there is none.
        self.level = np.searchsorted(lowered, self.lowered).astype(np.int32)
        # [2 V + 1, pairs of persons], how many are above the first level, at it, between it and
        # the second, ..., below the last.
        bounds = [np.searchsorted(self.lowered, lowered, side) for side in ("left", "right")]
        rows = np.concatenate([[0], np.stack(bounds, axis=1).ravel(), [len(order)]])
        self.impostor = sparse.csr_array(
            (np.ones(len(order)), self.both, rows), shape=(len(rows) - 1, len(self.one))
        )

    def roc(self, times: Array, rates: Sequence[float]) -> RocSamples:
        """TAR at each FAR, and the equal error rate.

        Args:
            times: [people, draws], how often each person was drawn; in each draw there is a
                genuine pair, and an impostor pair.
            rates: highest FARs allowed.
        """
        draws = times.shape[1]
        found = RocSamples(np.empty((len(rates), draws)), np.empty(draws))
        vertices = 2 * len(self.values) + 2
        for batch in row_blocks(draws, max(vertices, len(self.one))):
            drawn = times[:, batch]
            every = np.arange(drawn.shape[1])
            accepted = np.cumsum(self.genuine @ drawn, axis=0)
            false = np.cumsum(self.impostor @ (drawn[self.one] * drawn[self.other]), axis=0)
            # From (0, 0) two vertices a level, just above it and at it, to (1, 1).
            tar, far = np.zeros((2, vertices, len(every)))
            tar[2:] = (accepted / accepted[-1]).repeat(2, axis=0)
            far[1:] = false / false[-1]
            for at, rate in enumerate(rates):
                found.tar[at, batch] = tar[(far <= rate).sum(axis=0) - 1, every]
            excess = far - (1 - tar)  # it never falls, and begins with -1
            after = (excess < 0).sum(axis=0)
            before = after - 1
            weight = -excess[before, every] / (excess[after, every] - excess[before, every])
            low, high = far[before, every], far[after, every]
            found.equal_error_rate[batch] = low + weight * (high - low)
        return found

    def accuracies_of_folds(self, times: Array, fold: NDArray[np.int64]) -> Array:
        """Balanced accuracy of each fold of one sample, see ``verification.verification_accuracy``.

        Args:
            times: [people], how often each person was drawn.
            fold: [people], the fold of each, from 0; -1 of those who were not drawn.
        """
        folds, levels = int(fold.max()) + 1, len(self.values)
        drawn = np.flatnonzero(fold >= 0)
        of_person = np.zeros((len(times), folds))
        of_person[drawn, fold[drawn]] = times[drawn]
        genuine = self.genuine @ of_person
        share_fold = (fold[self.one] == fold[self.other]) & (fold[self.one] >= 0)
        within = np.flatnonzero(share_fold[self.both])  # with ten folds some 4 % of all
        lowered, both = self.lowered[within], self.both[within]
        own, weight = fold[self.one[both]], times[self.one[both]] * times[self.other[both]]
        cell = self.level[within].astype(np.int64) * folds + own
        impostor = np.bincount(cell, weights=weight, minlength=(levels + 1) * folds)
        accepted = np.cumsum(genuine, axis=0)  # [V, folds], at a level or above it
        false = np.cumsum(impostor.reshape(levels + 1, folds), axis=0)  # the last: all
        # A fold's threshold is learned from all the others.
        there = genuine.sum(axis=1, keepdims=True) > genuine
        learned = accepted.sum(axis=1, keepdims=True) - accepted
        learned_false = false.sum(axis=1, keepdims=True) - false
        # Between levels FAR alone rises, so that the best threshold is at one.
        margin = learned / learned[-1] - learned_false[:-1] / learned_false[-1]
        best = np.where(there, np.round(margin, DECIMALS), -np.inf).argmax(axis=0)
        accuracies = np.empty(folds)
        for one, at in enumerate(best):
            value = self.values[at]
            begin = int(np.searchsorted(lowered, -value, side="right"))  # the first one below
            others = (
                next((self.values[k] for k in range(at + 1, levels) if there[k, one]), -np.inf),
                next((-lowered[k] for k in range(begin, len(own)) if own[k] != one), -np.inf),
            )
            threshold = (value + max(others)) / 2 if max(others) > -np.inf else value
            between = slice(at + 1, np.searchsorted(-self.values, -threshold, side="right"))
            tar = (accepted[at, one] + genuine[between, one].sum()) / accepted[-1, one]
            between = slice(begin, np.searchsorted(lowered, -threshold, side="right"))
            wrong = false[at, one] + weight[between][own[between] == one].sum()
            accuracies[one] = (tar + (false[-1, one] - wrong) / false[-1, one]) / 2
        return accuracies
