"""An open-set recogniser: people enrolled by their embeddings, and who a new face is, or nobody.

Up to ``EXACT_TEMPLATES`` the search is a matrix product and exact. Beyond, faiss compares codes of
512 bits, the signs of random projections, whose Hamming distance follows the angle (Charikar 2002,
Similarity Estimation Techniques from Rounding Algorithms, section 3), and the 1000 nearest are
compared exactly. Such an index has nothing to train, takes 64 bytes a template and seconds to
build, and people come and go without building it again (:mod:`thesislib.gallery_speed`).
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

from thesislib import seeds, storage
from thesislib.engine.checkpoint import CheckpointError, load_checkpoint
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import MIN_EXPECTED_ERRORS
from thesislib.metrics.similarity import DECIMALS, normalise

EXACT_TEMPLATES = 100_000
FACE_SCORE = 0.5  # at which a detection is as likely a face as not
_CODE_BITS = 512
_SHORTLIST = 1000  # templates that codes leave for exact comparison
_SPARE = 8  # templates kept beyond those asked for: float32 may swap near neighbours
_BLOCK = 2**23  # similarities at a time: 32 MB
_ROWS = 2**14  # templates coded at a time
_GROWTH = 1.1  # times the people that a threshold was chosen among: FPIR is that much higher
_PROBES = 32  # probes compared with the codes at a time


class Calibration(NamedTuple):
    """A threshold and what it was chosen on; see :meth:`Gallery.calibrate`."""

    threshold: float  # cosine
    fpir: float  # achieved, at most what was asked for
    strangers: int  # photos
    people: int  # enrolled at the time


class Gallery:
    """Templates of enrolled people, and the search among them.

    A person's score is the highest cosine over their templates; a mean template is one only if
    the caller enrolls it. ``len`` is the number of templates.

    Args:
        dimension: length of an embedding, at least 1.
        model: what tells the model of the embeddings from every other, say the hash of its
            checkpoint (:func:`storage.bytes_hash`); embeddings of two models cannot be compared.
        exact_up_to: templates up to which the search is exact.

    Raises:
        ValueError: no dimension, or no model.

    Attributes:
        calibration: the last :class:`Calibration`, or None.

    >>> gallery = Gallery(2, "a model")
    >>> gallery.enrol("ann", [1, 0])
    >>> gallery.enrol("bob", [[0, 1], [0.6, 0.8]])
    >>> names, similarities = gallery.identify([[5, 0], [4, 3], [1, -1]], threshold=0.9)
    >>> names, similarities.round(2)
    (['ann', 'bob', ''], array([1.  , 0.96, 0.71]))
    """

    def __init__(self, dimension: int, model: str, exact_up_to: int = EXACT_TEMPLATES) -> None:
        if dimension < 1:
            raise ValueError(f"dimension: expected at least 1, got {dimension}")
        _check_name("model", model)
        self.dimension, self.model, self.exact_up_to = dimension, model, exact_up_to
        self.calibration: Calibration | None = None
        # One row a template; rows from len(self._names) on are room to grow.
        self._templates = np.empty((0, dimension), np.float32)
        self._codes = np.empty((0, _CODE_BITS // 8), np.uint8)
        self._names: list[str] = []
        self._counts: Counter[str] = Counter()  # templates of each person
        self._most = 0  # highest of the counts
        self._coded = 0  # rows whose codes are made
        self._centre: np.ndarray | None = None  # of the embeddings, when the first codes are made

    def __len__(self) -> int:
        return len(self._names)

    @property
    def identities(self) -> list[str]:
        """Names of the people enrolled, in order of name."""
        return sorted(self._counts)

    def _checked(self, embeddings: np.ndarray) -> np.ndarray:
        embeddings = np.asarray(embeddings)
        embeddings = normalise(embeddings[None] if embeddings.ndim == 1 else embeddings)
        if embeddings.shape[1] != self.dimension:
            raise ValueError(
                f"embeddings: of dimension {embeddings.shape[1]}, and the gallery is of "
                f"{self.dimension}"
            )
        return embeddings

    # Who is in it

    def enrol(self, identity: str | Sequence[str], embeddings: np.ndarray) -> None:
        """Add templates, all of them or, on an error, none; a person may be enrolled again.

        Args:
            identity: a person's name, or for many people at once [n] names.
            embeddings: [d] or [n, d] real numbers, of any length but 0.

        Raises:
            ValueError: an empty name, another number of names than of embeddings, another
                dimension, or bad embeddings (:func:`embedding_metrics.normalise`).
        """
        new = self._checked(embeddings)
        names = [identity] * len(new) if isinstance(identity, str) else list(identity)
        if len(names) != len(new):
            raise ValueError(f"identity: {len(names)} names for {len(new)} embeddings")
        for name in names:
            _check_name("identity", name)
        start, end = len(self), len(self) + len(new)
        if end > len(self._templates):  # half as much again, so that growing seldom copies
            room = max(end, len(self._templates) * 3 // 2)
            self._templates = _grown(self._templates, start, room)
            self._codes = _grown(self._codes, self._coded, room)
        self._templates[start:end] = new
        self._names += names
        self._counts.update(names)
        self._most = max(self._most, *(self._counts[name] for name in set(names)))

    def enrol_photo(
        self, identity: str, answer: dict, photo: str, score_threshold: float = FACE_SCORE
    ) -> None:
        """Enrol the one face of a photo.

        Args:
            identity: the person's name.
            answer: of :class:`systems.Joint` to the photo, with ``scores`` [D] in 0–1 and
                ``embeddings`` [D, d].
            photo: its name, for the errors.
            score_threshold: detections below it are no faces.

        Raises:
            ValueError: no face or several, no embeddings in the answer, or as :meth:`enrol`.
        """
        for what in ("scores", "embeddings"):
            if what not in answer:
                raise ValueError(f"{photo}: the answer has no {what}; the joint net's has")
        scores = np.asarray(answer["scores"])
        faces = np.flatnonzero(scores >= score_threshold)
        if len(faces) == 0:
            best = f"; the best detection has {scores.max():.2f}" if len(scores) else ""
            raise ValueError(f"{photo}: no face with a score of {score_threshold:g} or more{best}")
        if len(faces) > 1:
            raise ValueError(f"{photo}: {len(faces)} faces, and one was expected; cut it out")
        try:
            self.enrol(identity, np.asarray(answer["embeddings"])[faces[0]])
        except ValueError as error:
            raise ValueError(f"{photo}: {error}") from None

    def remove(self, identity: str) -> None:
        """Forget a person.

        Args:
            identity: the person's name.

        Raises:
            ValueError: nobody of that name is enrolled.
        """
        if identity not in self._counts:
            raise ValueError(f"identity: {identity!r} is not enrolled")
        gone = [row for row, name in enumerate(self._names) if name == identity]
        kept = len(self) - len(gone)
        # The last rows move into the gaps, so that the time does not go with the gallery's size.
        holes = [row for row in gone if row < kept]
        movers = sorted(set(range(kept, len(self))) - set(gone))
        self._templates[holes] = self._templates[movers]
        for hole, mover in zip(holes, movers, strict=True):
            self._names[hole] = self._names[mover]
        if self._coded and holes:
            self._codes[holes] = self._encode(self._templates[holes])
        self._coded = min(self._coded, kept)
        del self._names[kept:], self._counts[identity]
        self._most = max(self._counts.values(), default=0)

    # Who it is

    def search(self, embeddings: np.ndarray, k: int = 1) -> tuple[list[list[str]], np.ndarray]:
        """The k people who are most alike, best first.

        Args:
            embeddings: probes [n, d] or one [d], as for :meth:`enrol`.
            k: people wanted of each probe.

        Returns:
            names [n][k], and their scores [n, k] float64, cosine in -1–1.

        Raises:
            ValueError: nobody is enrolled, more people wanted than are, or bad embeddings.
            ImportError: more than ``exact_up_to`` templates, and no faiss.
        """
        probes = self._checked(embeddings)
        people = len(self._counts)
        if people == 0:
            raise ValueError("the gallery is empty: enrol somebody first")
        if not 1 <= k <= people:
            raise ValueError(f"k: {k}, and {people} people are enrolled")
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
        templates = self._templates[rows].astype(np.float64)
        lengths = np.sqrt(np.einsum("td,td->t", templates, templates))
        cosines = np.round(np.einsum("td,d->t", templates, probe) / lengths, DECIMALS)
        scores: dict[str, float] = {}
        for at in np.argsort(-cosines, kind="stable"):
            scores.setdefault(self._names[rows[at]], float(cosines[at]))
            if len(scores) == k:
                break
        return list(scores.items())

    def _by_product(self, probes: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """Rows of the ``count`` nearest templates of each probe, in no order; all if fewer."""
        templates = self._templates[: len(self)]
        count = min(count, len(self))
        size = max(1, _BLOCK // len(self))
        for start in range(0, len(probes), size):
            cosines = probes[start : start + size].astype(np.float32) @ templates.T
            yield from np.argpartition(cosines, -count, axis=1)[:, -count:]

    def _by_codes(self, probes: np.ndarray, count: int) -> Iterator[np.ndarray]:
        """The same by Hamming distance, and at least ``_SHORTLIST`` of them."""
        try:
            import faiss
        except ImportError:
            raise ImportError(
                f"a gallery of more than {self.exact_up_to} templates is searched with faiss, "
                "which is not installed: pip install faiss-cpu"
            ) from None
        if self._centre is None:
            self._centre = self._templates[: len(self)].mean(axis=0, dtype=np.float64)
        for start in range(self._coded, len(self), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self)))
            self._codes[rows] = self._encode(self._templates[rows])
        self._coded = len(self)
        count = min(max(count, _SHORTLIST), len(self))
        threads = faiss.omp_get_max_threads()
        for start in range(0, len(probes), _PROBES):
            codes = self._encode(probes[start : start + _PROBES])
            # One probe is one thread's work: a team would but wait for its members.
            faiss.omp_set_num_threads(min(threads, len(codes)))
            try:
                rows = faiss.knn_hamming(codes, self._codes[: len(self)], count)[1]
            finally:
                faiss.omp_set_num_threads(threads)
            yield from rows

    def _encode(self, embeddings: np.ndarray) -> np.ndarray:
        centred = (embeddings - self._centre).astype(np.float32)
        return np.packbits(centred @ _projections(self.dimension) > 0, axis=1)

    def calibrate(self, embeddings: np.ndarray, fpir: float) -> Calibration:
        """Choose the lowest threshold at which at most ``fpir`` of the strangers get in.

        Args:
            embeddings: [n, d], of people none of whom is enrolled. FPIR grows with the gallery:
                calibrate again when many people came. The same search finds strangers here and
                later, so what codes miss of them is allowed for.
            fpir: largest FPIR allowed, above 0 and at most 1.

        Returns:
            :class:`Calibration`, kept as ``calibration``.

        Raises:
            ValueError: ``fpir`` out of range, or as :meth:`search`.
            NotSupportedError: fewer than ``MIN_EXPECTED_ERRORS`` false positives to be expected.

        FPIR(T) = strangers whose best score is at or above T / strangers (Grother, Ngan & Hanaoka,
        Face Recognition Technology Evaluation, Part 2: Identification, NISTIR 8271).
        """
        if not 0 < fpir <= 1:
            raise ValueError(f"fpir: expected above 0 and at most 1, got {fpir}")
        best = np.sort(self.search(embeddings)[1][:, 0])[::-1]
        strangers = len(best)
        if fpir * strangers < MIN_EXPECTED_ERRORS * (
            1 - 1e-9
        ):  # a product may fall short by rounding
            raise NotSupportedError(
                f"fpir: {fpir:g} of {strangers} photos of strangers is {fpir * strangers:.3g}, "
                f"and at least {MIN_EXPECTED_ERRORS} are needed"
            )
        allowed = int((np.arange(1, strangers + 1) / strangers <= fpir).sum())
        threshold = np.nextafter(best[allowed], np.inf) if allowed < strangers else -1.0
        achieved = float((best >= threshold).mean())
        self.calibration = Calibration(float(threshold), achieved, strangers, len(self._counts))
        return self.calibration

    def identify(
        self, embeddings: np.ndarray, threshold: float | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Who each face is: the person with the best score if it is at or above the threshold.

        Args:
            embeddings: probes [n, d] or one [d], as for :meth:`enrol`.
            threshold: cosine; None for the one of ``calibration``, whose FPIR holds for as many
                people as were enrolled then, and grows with them.

        Returns:
            names [n], "" for unknown, and the best score of each [n] float64. Two people with
            equal scores are a tie, which counts against the system: "".

        Raises:
            ValueError: no threshold, NaN for one, one of a calibration since which the people
                became more by over a tenth, or as :meth:`search`.
        """
        if threshold is None:
            if self.calibration is None:
                raise ValueError("threshold: none was given, and the gallery is not calibrated")
            people, then = len(self._counts), self.calibration.people
            if people > _GROWTH * then:
                raise ValueError(
                    f"threshold: calibrated among {then} people, and {people} are enrolled, among "
                    "whom more strangers get in: calibrate again, or give a threshold"
                )
            threshold = self.calibration.threshold
        if np.isnan(threshold):
            raise ValueError("threshold: NaN")
        # An empty gallery is search's to refuse.
        names, scores = self.search(embeddings, min(2, max(1, len(self._counts))))
        known = scores[:, 0] >= threshold
        if scores.shape[1] == 2:
            known &= scores[:, 0] > scores[:, 1]
        found = [one[0] if yes else "" for one, yes in zip(names, known, strict=True)]
        return found, scores[:, 0]

    # On disk

    def save(self, path: Path | str) -> None:
        """Write one safetensors file, whole or not at all: all else is JSON within it.

        Args:
            path: where to, ``<name>.safetensors``.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        calibration = self.calibration and self.calibration._asdict()
        about = {"model": self.model, "dimension": self.dimension, "calibration": calibration}
        # Names are data too: a header may not grow beyond 100 MB.
        names = np.frombuffer(json.dumps(self._names).encode(), np.uint8)
        tensors = {"names": names, "templates": self._templates[: len(self)]}
        about["checksum"] = _checksum(about, tensors)
        with storage.atomic_write(path) as aside:
            save_file(tensors, aside, metadata={"about": json.dumps(about)})

    @classmethod
    def load(
        cls, path: Path | str, model: str, dimension: int, exact_up_to: int = EXACT_TEMPLATES
    ) -> "Gallery":
        """Read a gallery that :meth:`save` wrote.

        Args:
            path: the file.
            model, dimension: those of the embeddings it will be compared with.
            exact_up_to: as for the class.

        Raises:
            CheckpointError: missing, truncated, altered, of another kind, a pickle among them,
                which is never executed; or made with another model or dimension.
        """
        read, about = load_checkpoint(path, "gallery")
        if not isinstance(about, dict) or set(read) != {"names", "templates"}:
            raise CheckpointError(f"{path}: this is not a gallery")
        # Copied: what was read is a view of the file, which another programme may write over.
        tensors = {name: tensor.numpy().copy() for name, tensor in read.items()}
        if about.pop("checksum", None) != _checksum(about, tensors):
            raise CheckpointError(f"{path}: altered since it was saved: its checksum does not fit")
        for what, wanted in (("model", model), ("dimension", dimension)):
            if about[what] != wanted:
                raise CheckpointError(
                    f"{path}: holds embeddings of {what} {about[what]}, and {wanted} is wanted"
                )
        gallery = cls(dimension, model, exact_up_to)
        gallery._templates = tensors["templates"]
        gallery._codes = np.empty((len(gallery._templates), _CODE_BITS // 8), np.uint8)
        gallery._names = json.loads(tensors["names"].tobytes())
        gallery._counts = Counter(gallery._names)
        gallery._most = max(gallery._counts.values(), default=0)
        if about["calibration"]:
            gallery.calibration = Calibration(**about["calibration"])
        return gallery


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or name == "":
        raise ValueError(f"{what}: this is no name: {name!r}")


def _grown(rows: np.ndarray, used: int, room: int) -> np.ndarray:
    grown = np.empty((room, rows.shape[1]), rows.dtype)
    grown[:used] = rows[:used]
    return grown


@functools.cache
def _projections(dimension: int) -> np.ndarray:
    """float32 [dimension, 512]; bases rather than single vectors, which scatter less."""
    draws = seeds.generator(0, "gallery", "projections")
    bases = [
        np.linalg.qr(draws.standard_normal((dimension, dimension)))[0]
        for _ in range(-(-_CODE_BITS // dimension))
    ]
    return np.concatenate(bases, axis=1)[:, :_CODE_BITS].astype(np.float32)


def _checksum(about: dict, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).ravel())
    return digest.hexdigest()
