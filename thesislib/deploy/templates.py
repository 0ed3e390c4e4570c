"""Templates of enrolled people, and the search for the people most like a face.

Up to ``EXACT_TEMPLATES`` the search is a matrix product and exact. Beyond, faiss compares codes of
512 bits, the signs of random projections, whose Hamming distance follows the angle (Charikar 2002,
Similarity Estimation Techniques from Rounding Algorithms, section 3), and the 1000 nearest are
compared exactly. Such an index takes 64 bytes a template and seconds to build, and people come and
go without building it again (:mod:`thesislib.benchmarks.gallery`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thesislib.environment import MissingExtraError, require
from thesislib.metrics.similarity import DECIMALS

EXACT_TEMPLATES = 100_000
_CODE_BITS = 512
_SHORTLIST = 1000  # templates that codes leave for exact comparison
_SPARE = 8  # templates kept beyond those asked for: float32 may swap near neighbours
_BLOCK = 2**23  # similarities at a time: 32 MB
_ROWS = 2**14  # templates coded at a time, and from which the codes' thresholds are taken
_PROBES = 32  # probes compared with the codes at a time


class Templates:
    """Unit vectors with names, several a person or one; ``len`` is their number.

    Args:
        dimension: length E of a vector.
        exact_up_to: templates up to which the search is exact.

    Attributes:
        names: of each template its person's.
        counts: of each person the number of templates.
    """

    def __init__(self, dimension: int, exact_up_to: int = EXACT_TEMPLATES) -> None:
        self.dimension, self.exact_up_to = dimension, exact_up_to
        self.names: list[str] = []
        # Rows from len(self.names) on are room to grow.
        self._rows = np.empty((0, dimension), np.float32)
        self.counts: Counter[str] = Counter()
        self._most = 0  # highest of the counts
        self._index: Any = None  # faiss's, of the codes of the first self._coded rows
        self._coded = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def vectors(self) -> np.ndarray:
        """float32 [n, E], in the order of ``names``; a view."""
        return self._rows[: len(self)]

    def add(self, names: Sequence[str], vectors: np.ndarray) -> None:
        """Add templates.

        Args:
            names: [n], each the person's.
            vectors: float [n, E], of unit length.
        """
        start, end = len(self), len(self) + len(vectors)
        if end > len(self._rows):  # half as much again, so that growing seldom copies
            rows = np.empty((max(end, len(self._rows) * 3 // 2), self.dimension), np.float32)
            rows[:start] = self.vectors
            self._rows = rows
        self._rows[start:end] = vectors
        self.names += names
        self.counts.update(names)
        self._most = max(self._most, *(self.counts[name] for name in set(names)))

    def remove(self, name: str) -> None:
        """Remove all templates of a person who has some."""
        gone = [row for row, of in enumerate(self.names) if of == name]
        kept = len(self) - len(gone)
        # The last rows move into the gaps, so that the time does not go with the number of rows.
        holes = [row for row in gone if row < kept]
        movers = sorted(set(range(kept, len(self))) - set(gone))
        if self._index is not None:
            stale = np.array([row for row in gone + movers if row < self._coded], np.int64)
            self._index.remove_ids(stale)
        self._rows[holes] = self._rows[movers]
        for hole, mover in zip(holes, movers, strict=True):
            self.names[hole] = self.names[mover]
        if self._index is not None:
            recoded = np.array([row for row in holes if row < self._coded], np.int64)
            if len(recoded):
                self._index.add_with_ids(self._rows[recoded], recoded)
        self._coded = min(self._coded, kept)
        self._rows[kept : len(self.names)] = 0  # nothing of the person stays
        del self.names[kept:], self.counts[name]
        self._most = max(self.counts.values(), default=0)

    def search(self, probes: np.ndarray, k: int) -> tuple[list[list[str]], np.ndarray]:
        """The k people most like each probe, best first.

        A person's score is the highest cosine over their templates.

        Args:
            probes: float64 [n, E], of unit length; n may be 0.
            k: from 1 to the number of people.

        Returns:
            names [n][k], and their scores [n, k] float64, cosines in -1 to 1.

        Raises:
            MissingExtraError: more than ``exact_up_to`` templates, and no faiss.
        """
        if not len(probes):
            return [], np.zeros((0, k))
        # So many templates cannot all be of fewer than k people.
        least = (k - 1) * self._most + 1
        nearest = self._by_product if len(self) <= self.exact_up_to else self._by_codes
        best = [
            self._best(probe, rows, k)
            for probe, rows in zip(probes, nearest(probes, least + _SPARE), strict=True)
        ]
        return [[name for name, _ in one] for one in best], np.array(
            [[score for _, score in one] for one in best]
        )

    def _best(self, probe: np.ndarray, rows: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The best people among some templates, compared in float64."""
        templates = self._rows[rows].astype(np.float64)
        lengths = np.sqrt(np.einsum("td,td->t", templates, templates))
        cosines = np.round(np.einsum("td,d->t", templates, probe) / lengths, DECIMALS)
        scores: dict[str, float] = {}
        for at in np.argsort(-cosines, kind="stable"):
            scores.setdefault(self.names[rows[at]], float(cosines[at]))
            if len(scores) == k:
                break
        return list(scores.items())

    def _by_product(self, probes: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """Rows of the ``count`` nearest templates of each probe, in no order; all if fewer."""
        templates = self.vectors
        count = min(count, len(self))
        size = max(1, _BLOCK // len(self))
        for start in range(0, len(probes), size):
            cosines = probes[start : start + size].astype(np.float32) @ templates.T
            yield from np.argpartition(cosines, -count, axis=1)[:, -count:]

    def _by_codes(self, probes: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """The same by Hamming distance, and at least ``_SHORTLIST`` of them."""
        faiss = self._faiss()
        if self._index is None:
            # A random rotation, and of each projection the median as threshold between 0 and 1:
            # embeddings that share a mean would else share most bits.
            codes = faiss.IndexLSH(self.dimension, _CODE_BITS, True, True)
            codes.train(self.vectors[:: -(-len(self) // _ROWS)])
            self._index = faiss.IndexIDMap(codes)
        for start in range(self._coded, len(self), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(self)))
            self._index.add_with_ids(self._rows[rows[0] : rows[-1] + 1], rows)
        self._coded = len(self)
        count = min(max(count, _SHORTLIST), len(self))
        threads = faiss.omp_get_max_threads()
        for start in range(0, len(probes), _PROBES):
            block = probes[start : start + _PROBES].astype(np.float32)
            # One probe is one thread's work: a team would but wait for its members.
            faiss.omp_set_num_threads(min(threads, len(block)))
            try:
                _, rows = self._index.search(block, count)
            finally:
                faiss.omp_set_num_threads(threads)
            yield from rows

    def _faiss(self) -> Any:
        try:
            return require("faiss", extra="gallery")
        except MissingExtraError as error:
            raise MissingExtraError(
                f"a gallery of more than {self.exact_up_to} templates is searched with faiss: "
                f"{error}"
            ) from None
