"""A gallery of enrolled people: who a new face is, or nobody (open-set identification)."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from thesislib.data.names import plain_name, told_names
from thesislib.data.schema import Dataset
from thesislib.deploy import gallery_file
from thesislib.deploy.assignment import one_person_each
from thesislib.deploy.closer_look import with_closer_look
from thesislib.deploy.embedding_net import EmbeddingNet, EmbeddingsOnly
from thesislib.deploy.enrolment import FACE_SCORE, Remark, faces_alone, faces_of_people, person_of
from thesislib.deploy.templates import EXACT_TEMPLATES, Templates
from thesislib.deploy.threshold import (
    Calibration,
    calibrate,
    checked_threshold,
    published_calibration,
    usual_threshold,
)
from thesislib.engine.checkpoint import CheckpointError
from thesislib.engine.embed import annotated_faces, embed
from thesislib.engine.predict import Photos, answers_key, predict
from thesislib.faces import Face
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.similarity import normalise


class Gallery:
    """People enrolled by their faces, and who a new face is, or nobody.

    A person's score is the highest cosine over their templates; a mean template is one only if
    the caller enrols it. ``len`` is the number of templates. A gallery is a system: it can be
    given to :func:`thesislib.engine.evaluate.evaluate`.

    >>> import thesislib as tl
    >>> gallery = tl.Gallery(tl.load("runs/mine"))  # doctest: +SKIP
    >>> gallery.enrol("Anna", "anna.jpg")  # doctest: +SKIP
    >>> gallery.recognise("party.jpg")  # doctest: +SKIP

    >>> gallery = Gallery.of_embeddings(2, "a net")
    >>> gallery.enrol_embeddings(["Anna", "Boris", "Boris"], [[1, 0], [0, 1], [0.6, 0.8]])
    >>> names, scores = gallery.identify([[5, 0], [4, 3], [1, -1]], threshold=0.9)
    >>> names, scores.round(2)
    (['Anna', 'Boris', ''], array([1.  , 0.96, 0.71]))

    Args:
        net: a :class:`thesislib.models.joint.JointNet` or
            :class:`thesislib.deploy.recogniser.Recogniser`; embeddings of two nets cannot be
            compared.
        threshold: lowest cosine, -1 to 1, at which a face is the enrolled person. What is right
            depends on the net; None for the one that the net was published with, or else one
            calibrated on nothing. :meth:`calibrate` chooses it by the share of strangers let in.
        exact_up_to: templates up to which the search is exact, see
            :mod:`thesislib.deploy.templates`.

    Attributes:
        net: as given, or in a :class:`thesislib.deploy.closer_look.CloserLook`.
        model: the net's fingerprint when the gallery was made.
        templates: what people are compared with.
        calibration: the last :class:`Calibration`, or None.

    Raises:
        TypeError: a net without embeddings, or a threshold that is no number.
        ValueError: a threshold out of range.
    """

    def __init__(
        self,
        net: EmbeddingNet,
        threshold: float | None = None,
        exact_up_to: int = EXACT_TEMPLATES,
    ) -> None:
        for attribute in ("predict_arrays", "embedding_dim", "fingerprint"):
            if not hasattr(net, attribute):
                raise TypeError(
                    "net: expected one that finds faces and gives their embeddings (a JointNet or "
                    f"a Recogniser), got {type(net).__name__}"
                )
        self.net, self.model = with_closer_look(net), net.fingerprint
        self.templates = Templates(net.embedding_dim, exact_up_to)
        self.calibration: Calibration | None = None
        self.threshold = usual_threshold(net) if threshold is None else threshold

    @classmethod
    def of_embeddings(
        cls,
        embedding_dim: int,
        model: str,
        threshold: float | None = None,
        exact_up_to: int = EXACT_TEMPLATES,
    ) -> "Gallery":
        """A gallery without a net: it takes embeddings, and no photos.

        Args:
            embedding_dim: length of an embedding, at least 1.
            model: what tells the net of the embeddings from every other.
            threshold, exact_up_to: as for the class.

        Raises:
            ValueError: no dimension, or no model.
        """
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim: expected at least 1, got {embedding_dim}")
        _check_name("model", model)
        return cls(EmbeddingsOnly(embedding_dim, model), threshold, exact_up_to)

    def __len__(self) -> int:
        return len(self.templates)

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self.templates.dimension

    @property
    def identities(self) -> list[str]:
        """Names of the people enrolled, in order of name."""
        return sorted(self.templates.counts)

    @property
    def threshold(self) -> float:
        """Lowest cosine at which a face is the enrolled person; calibrated or set by hand.

        To set it drops the calibration.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = checked_threshold(value)
        self.calibration = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the net's answers depend on, the people and the threshold."""
        about = [answers_key(self.net), self.templates.names, self.threshold]
        digest = hashlib.sha256(json.dumps(about).encode())
        digest.update(np.ascontiguousarray(self.templates.vectors).tobytes())
        return digest.hexdigest()

    def _probes(self, embeddings: ArrayLike) -> np.ndarray:
        """Checked embeddings, of which there may be none: a photo need not show a face."""
        array = np.asarray(embeddings)
        if array.shape in ((0,), (0, self.embedding_dim)):
            return np.zeros((0, self.embedding_dim))
        return self._checked(array)

    def _checked(self, embeddings: ArrayLike) -> np.ndarray:
        array = np.asarray(embeddings)
        array = normalise(array[None] if array.ndim == 1 else array)
        if array.shape[1] != self.embedding_dim:
            raise ValueError(
                f"embeddings: of dimension {array.shape[1]}, and the gallery is of "
                f"{self.embedding_dim}"
            )
        return array

    # --- who is in it -------------------------------------------------------------------------

    def enrol(self, name: str, photos: Photos, score_threshold: float = FACE_SCORE) -> None:
        """Add a person by photos that show them alone: all photos or, on an error, none.

        Args:
            name: the person's, in the form of :func:`thesislib.data.names.plain_name`; who is
                enrolled already gets further templates.
            photos: a photo, several, or a folder of them, as for
                :func:`thesislib.engine.predict.predict`.
            score_threshold: detections with scores up to this one are no faces.

        Raises:
            PhotoError: a photo cannot be read.
            TypeError: neither path, array nor PIL image.
            ValueError: an empty name, no photos, a threshold out of range, or a photo with no face
                or several; it is named.
            NotSupportedError: a gallery without a net.
        """
        _check_name("name", name)
        self.enrol_embeddings(name, faces_alone(self.net, photos, score_threshold))

    def enrol_folder(
        self, folder: Path | str, score_threshold: float = FACE_SCORE, progress: bool = False
    ) -> list[Remark]:
        """Add everybody who has a folder of photos, or a photo, in a folder.

        A folder ``people/Anna`` holds photos of Anna, in folders of its own as well; a photo
        ``people/Boris.jpg`` is one of Boris. In a photo of several people the foremost face is
        meant, if it is clearly the largest. A face that is small, dark, blurred or turned away is
        left out where there is a better one of the person.

        Args:
            folder: of the people.
            score_threshold: detections with scores up to this one are no faces.
            progress: show a bar.

        Returns:
            photos that show no such face, cannot be read, or are poor, and why.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: no photos in it, or none of them can serve; a threshold out of range.
            NotSupportedError: a gallery without a net.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of people")
        names, embeddings, remarks = faces_of_people(
            self.net, [folder], lambda photo: person_of(photo, folder), score_threshold, progress
        )
        self.enrol_embeddings(names, embeddings)
        return remarks

    def enrol_person(
        self, name: str, photos: Sequence[Path | str], score_threshold: float = FACE_SCORE
    ) -> list[Remark]:
        """Add a person by photos that may show others too, as :meth:`enrol_folder` reads them.

        Args:
            name: the person's.
            photos: files, and folders of them.
            score_threshold: detections with scores up to this one are no faces.

        Returns:
            photos that are left out, or poor, and why.

        Raises:
            PhotoError: a file cannot be read.
            ValueError: an empty name, no photos, or none of them can serve; a threshold out of
                range.
            NotSupportedError: a gallery without a net.
        """
        _check_name("name", name)
        names, embeddings, remarks = faces_of_people(
            self.net, [Path(one) for one in photos], lambda _: name, score_threshold
        )
        self.enrol_embeddings(names, embeddings)
        return remarks

    def enrol_embeddings(self, names: str | Sequence[str], embeddings: ArrayLike) -> None:
        """Add templates, all of them or, on an error, none; a person may be enrolled again.

        Args:
            names: a person's, or for many people at once [n] names.
            embeddings: [E] or [n, E] real numbers, of any length but 0.

        Raises:
            ValueError: an empty name, another number of names than of embeddings, another
                dimension, or bad embeddings (:func:`thesislib.metrics.similarity.normalise`).
        """
        new = self._checked(embeddings)
        each = [names] * len(new) if isinstance(names, str) else list(names)
        if len(each) != len(new):
            raise ValueError(f"names: {len(each)} for {len(new)} embeddings")
        for name in each:
            _check_name("names", name)
        self.templates.add([plain_name(name) for name in each], new)

    def enrol_dataset(self, dataset: Dataset, progress: bool = False) -> None:
        """Add everybody in a dataset, by all of their annotated faces.

        Faces of people whose name is not known are left out, as are faces for which the net's grid
        has no place.

        Args:
            dataset: photos, boxes and names.
            progress: show a bar.

        Raises:
            NotSupportedError: the net gives no embeddings at given boxes.
            ValueError: the dataset has no face of somebody known.
        """
        embeddings = embed(self._embedder(), dataset, progress)
        names = annotated_faces(dataset)["identity"].to_numpy(object)
        usable = (names != "") & ~np.isnan(embeddings).any(axis=1)
        if not usable.any():
            raise ValueError(f"{dataset.folder}: no face of anybody known")
        self.enrol_embeddings(names[usable].tolist(), embeddings[usable])

    def remove(self, name: str) -> None:
        """Forget a person.

        Raises:
            ValueError: nobody of that name is enrolled.
        """
        name = plain_name(name)
        if name not in self.templates.counts:
            enrolled = told_names(self.identities) or "nobody"
            raise ValueError(f"name: {name!r} is not enrolled; enrolled: {enrolled}")
        self.templates.remove(name)

    # --- who it is ----------------------------------------------------------------------------

    def recognise(
        self,
        photos: Photos,
        score_threshold: float = 0.5,
        out: Path | str | None = None,
        progress: bool = False,
    ) -> list:
        """Faces of photos, named by the gallery.

        Args:
            photos, score_threshold, out, progress: as for
                :func:`thesislib.engine.predict.predict`.

        Returns:
            as :func:`thesislib.engine.predict.predict`; each face's ``name`` is the enrolled
            person's, "" for nobody, and ``name_score`` the cosine to that person, or the highest.
            No two faces of a photo are the same person, see
            :func:`thesislib.deploy.assignment.one_person_each`.

        Raises:
            ValueError: nobody is enrolled, or as :meth:`identify`.
            NotSupportedError: a gallery without a net.
        """
        return predict(self, photos, score_threshold, out=out, progress=progress)

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos, named by the gallery; see :meth:`recognise`.

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes.
            score_threshold: detections with scores up to this one are dropped.
        """
        self._check_not_empty()
        found = self.net.predict_arrays(photos, score_threshold)
        return [self._named(faces) if faces else faces for faces in found]

    def _named(self, faces: list[Face]) -> list[Face]:
        vectors: list[Any] = [face.embedding for face in faces]
        names, scores = self.identify_together(np.stack(vectors))
        return [
            dataclasses.replace(face, name=name, name_score=score)
            for face, name, score in zip(faces, names, scores.tolist(), strict=True)
        ]

    def identify_together(self, embeddings: ArrayLike) -> tuple[list[str], np.ndarray]:
        """As :meth:`identify`, of the faces of one photo: no two of them are the same person.

        The score of a face that has a name is that person's, see
        :func:`thesislib.deploy.assignment.one_person_each`.
        """
        probes = self._probes(embeddings)
        self._check_not_empty()
        names, scores = self.search(probes, min(max(2, len(probes)), len(self.templates.counts)))
        found = one_person_each(names, scores.tolist(), self._checked_threshold())
        return [name for name, _ in found], np.array([score for _, score in found])

    def identify_boxes(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[list[str]]:
        """Who the faces at given boxes are (oracle boxes).

        Args:
            photos: uint8 [H, W, 3] RGB, of any sizes.
            boxes: per photo float [F, 4], pixels of it.

        Returns:
            per photo F names, "" for nobody, or where the net's grid has no place for a face.

        Raises:
            NotSupportedError: the net gives no embeddings at given boxes.
            ValueError: as :meth:`identify`.
        """
        answers = []
        for vectors in self._embedder().embeddings_at(photos, boxes):
            names = np.full(len(vectors), "", dtype=object)
            placed = ~np.isnan(vectors).any(axis=1)
            if placed.any():
                names[placed] = self.identify(vectors[placed])[0]
            answers.append(names.tolist())
        return answers

    def search(self, embeddings: ArrayLike, k: int = 1) -> tuple[list[list[str]], np.ndarray]:
        """The k people who are most alike, best first.

        Args:
            embeddings: probes [n, E] or one [E], as for :meth:`enrol_embeddings`; n may be 0.
            k: people wanted of each probe.

        Returns:
            names [n][k], and their scores [n, k] float64, cosine in -1 to 1.

        Raises:
            TypeError: ``k`` is no whole number.
            ValueError: nobody is enrolled, more people wanted than are, or bad embeddings.
            MissingExtraError: more than ``exact_up_to`` templates, and no faiss.
        """
        probes = self._probes(embeddings)
        self._check_not_empty()
        if not isinstance(k, int | np.integer) or isinstance(k, bool):
            raise TypeError(f"k: expected a whole number, got {k!r}")
        people = len(self.templates.counts)
        if not 1 <= k <= people:
            raise ValueError(f"k: {k}, and {people} people are enrolled")
        return self.templates.search(probes, int(k))

    def identify(
        self, embeddings: ArrayLike, threshold: float | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Who each face is: the person with the best score if it is at or above the threshold.

        Args:
            embeddings: probes [n, E] or one [E], as for :meth:`enrol_embeddings`; n may be 0.
            threshold: cosine; None for the gallery's. The FPIR of a calibrated one holds for as
                many people as were enrolled then, and grows with them.

        Returns:
            names [n], "" for unknown, and the best score of each [n] float64. Two people with
            equal scores are a tie, which counts against the system: "".

        Raises:
            TypeError: a threshold that is no number.
            ValueError: NaN for a threshold, a calibration since which the people became more by
                over a tenth, or as :meth:`search`.
        """
        threshold = self._checked_threshold(threshold)
        # An empty gallery is search's to refuse.
        names, scores = self.search(embeddings, min(2, max(1, len(self.templates.counts))))
        known = scores[:, 0] >= threshold
        if scores.shape[1] == 2:
            known &= scores[:, 0] > scores[:, 1]
        found = [one[0] if yes else "" for one, yes in zip(names, known, strict=True)]
        return found, scores[:, 0]

    def _checked_threshold(self, threshold: float | None = None) -> float:
        """A threshold, the gallery's own if none is given and as long as it holds."""
        if threshold is None:
            if self.calibration is not None:
                self.calibration.check(len(self.templates.counts))
            threshold = self.threshold
        return checked_threshold(threshold)

    def calibrate(self, embeddings: ArrayLike | None, fpir: float) -> Calibration:
        """Choose the lowest threshold at which at most ``fpir`` of the strangers get in.

        Args:
            embeddings: [n, E], of people none of whom is enrolled. FPIR grows with the gallery:
                calibrate again when many people came. The same search finds strangers here and
                later, so what codes miss of them is allowed for. None for the strangers with whom
                the net was published, of whom shares of matching pairs are known: relatives,
                children and people of one group match more often than those.
            fpir: largest FPIR allowed, above 0 and at most 1.

        Returns:
            what is kept as ``calibration``; its threshold becomes the gallery's.

        Raises:
            NotSupportedError: too few strangers, or none, and none were published with the net.
            TypeError, ValueError, MissingExtraError: as :meth:`search` and
                :func:`thesislib.deploy.threshold.calibrate`.
        """
        people = len(self.templates.counts)
        if embeddings is None:
            self._check_not_empty()
            calibration = published_calibration(self.model, fpir, people)
        else:
            best = self.search(self._checked(embeddings))[1][:, 0]
            calibration = calibrate(best, fpir, people)
        self.threshold = calibration.threshold
        self.calibration = calibration
        return calibration

    def _check_not_empty(self) -> None:
        if not len(self):
            raise ValueError("the gallery is empty: enrol somebody first")

    def _embedder(self) -> Any:
        if not hasattr(self.net, "embeddings_at"):
            raise NotSupportedError(
                f"{type(self.net).__name__}: gives no embeddings at given boxes; a JointNet does"
            )
        return self.net

    # --- on disk ------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write people and threshold to one safetensors file, whole or not at all.

        The net is not in it, but known by its fingerprint.

        Args:
            path: where to, ``<name>.safetensors``.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        about = {
            "model": self.model,
            "embedding_dim": self.embedding_dim,
            "threshold": self.threshold,
            "calibration": self.calibration and self.calibration._asdict(),
        }
        gallery_file.write(path, self.templates.names, self.templates.vectors, about)

    @classmethod
    def load(
        cls, path: Path | str, net: EmbeddingNet, exact_up_to: int = EXACT_TEMPLATES
    ) -> "Gallery":
        """Read a gallery that :meth:`save` wrote.

        Args:
            path: the file.
            net: as for the class: that with which it was made; :class:`EmbeddingsOnly` where
                there was none.
            exact_up_to: as for the class.

        Raises:
            CheckpointError: missing, truncated, altered, of another kind, a pickle among them,
                which is never executed; or made with another net.
        """
        names, embeddings, about = gallery_file.read(path)
        gallery = cls(net, about["threshold"], exact_up_to)
        for what in ("embedding_dim", "model"):
            wanted = getattr(gallery, what)
            if about[what] != wanted:
                raise CheckpointError(
                    f"{path}: holds embeddings of another net ({what} {about[what]}, not "
                    f"{wanted}): enrol the people again with this one"
                )
        if names:
            # Copied there: what was read is a view of the file, which others may write over.
            gallery.templates.add(names, embeddings)
        if about["calibration"]:
            gallery.calibration = Calibration(**about["calibration"])
        return gallery


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or plain_name(name) == "":
        raise ValueError(f"{what}: this is no name: {name!r}")
