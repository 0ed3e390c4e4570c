"""What a task is worth: systems that learn nothing here, to compare others with.

The most similar training photo, copied, shows how alike test and training photos are; the same
box in every photo, how alike faces lie; gradients of a face, what a descriptor from before the
networks knows; dlib's recogniser, what one would install instead.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.environment import require
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou

PIXELS = 32  # side of the grey pictures that are compared
HOG_PX, HOG_CELLS, HOG_BINS = 64, 8, 9
Rule = Literal["nearest", "class_mean"]
Describe = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


def thumbnail(photo: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A photo, or a face cut out of one, as a small grey picture of zero mean and unit length.

    Args:
        photo: uint8 [H, W, 3] RGB.

    Returns:
        float64 [PIXELS * PIXELS]; zeros where the photo is of one grey.
    """
    grey = Image.fromarray(photo).convert("L").resize((PIXELS, PIXELS), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float64).ravel()
    centred = pixels - pixels.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-9 else np.zeros_like(centred)


def hog(face: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histograms of oriented gradients of a face (Dalal and Triggs 2005, section 6).

    ``skimage.feature.hog`` of the face scaled to ``HOG_PX`` grey pixels a side: ``HOG_CELLS`` by
    ``HOG_CELLS`` cells of ``HOG_BINS`` directions, in blocks of 2 by 2 cells.

    Args:
        face: uint8 [H, W, 3] RGB.

    Returns:
        float64 [(HOG_CELLS - 1)^2 * 4 * HOG_BINS].

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    feature = require("skimage.feature", extra="references")
    grey = Image.fromarray(face).convert("L").resize((HOG_PX, HOG_PX), Image.Resampling.BILINEAR)
    side = HOG_PX // HOG_CELLS
    return feature.hog(
        np.asarray(grey),
        orientations=HOG_BINS,
        pixels_per_cell=(side, side),
        cells_per_block=(2, 2),
    )


def cut_out(photo: NDArray[np.uint8], box: ArrayLike) -> NDArray[np.uint8]:
    """What of a photo lies in a box, at least a pixel a side."""
    height, width = photo.shape[:2]
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    left, top = (int(v) for v in np.clip(np.floor([x1, y1]), 0, [width - 1, height - 1]))
    right, bottom = (
        int(v) for v in np.clip(np.ceil([x2, y2]), [left + 1, top + 1], [width, height])
    )
    return photo[top:bottom, left:right]


class NearestNames:
    """Who a face is: the person of the nearest training face, or of the nearest class mean.

    Args:
        vectors: float [n, d] of training faces.
        identities: [n] their names.
        rule: which of the two.

    Raises:
        ValueError: no training faces, or lengths that differ.
    """

    def __init__(self, vectors: ArrayLike, identities: Sequence[str], rule: Rule) -> None:
        self.vectors = np.asarray(vectors, dtype=np.float64)
        self.names = np.asarray(identities, dtype=object)
        if not len(self.names) or len(self.vectors) != len(self.names):
            raise ValueError(f"{len(self.vectors)} vectors and {len(self.names)} names")
        if rule == "class_mean":
            people = sorted(set(identities))
            means = [self.vectors[self.names == person].mean(axis=0) for person in people]
            self.vectors, self.names = np.stack(means), np.asarray(people, dtype=object)

    def at(self, vectors: ArrayLike) -> NDArray[np.int64]:
        """Which training face, or mean, is nearest by Euclidean distance; of several, the first.

        Args:
            vectors: float [m, d].

        Returns:
            int64 [m].
        """
        probes = np.asarray(vectors, dtype=np.float64)
        # |a - b|^2 less |a|^2, which is the same for all of a row.
        distances = (self.vectors**2).sum(axis=1)[None] - 2 * probes @ self.vectors.T
        return distances.argmin(axis=1)

    def of(self, vectors: ArrayLike) -> list[str]:
        """Names of faces, see :meth:`at`; m may be 0."""
        return self.names[self.at(vectors)].tolist() if len(np.asarray(vectors)) else []


class NearestPhoto:
    """Copies what is annotated in the training photo that looks most alike (:func:`thumbnail`).

    Args:
        train: photos with named faces.
    """

    highest_score = 1.0

    def __init__(self, train: Dataset) -> None:
        faces = train.table[(train.table["identity"] != "") & train.table["x1"].notna()]
        vectors, self.answers = [], []
        for photo, rows in faces.groupby("photo", sort=False):
            vectors.append(thumbnail(read_photo(train.folder / str(photo))))
            self.answers.append((_shares(rows), rows["identity"].tolist()))
        self.photos = NearestNames(
            np.stack(vectors), [str(at) for at in range(len(vectors))], "nearest"
        )

    def predict_arrays(
        self, photos: Sequence[NDArray[np.uint8]], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces as in the nearest photo; see :class:`thesislib.engine.predict.System`."""
        found = []
        for photo in photos:
            (nearest,) = self.photos.at(thumbnail(photo)[None])
            found.append(_faces(photo, *self.answers[nearest]))
        return found

    def identify_boxes(
        self, photos: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray]
    ) -> list[list[str]]:
        """Names at given boxes, per photo float [F, 4]: of the copied face that overlaps most."""
        named = []
        for copied, own in zip(self.predict_arrays(photos), boxes, strict=True):
            there = np.array([face.box for face in copied])
            nearest = box_iou(there, np.asarray(own).reshape(-1, 4)).argmax(axis=0)
            named.append([copied[at].name for at in nearest])
        return named


class ConstantBox:
    """The box in which training faces lie, in every photo; it names nobody.

    Args:
        train: photos with faces; the median of each side is taken, as a share of the photo's.
    """

    highest_score = 1.0

    def __init__(self, train: Dataset) -> None:
        self.box = np.median(_shares(train.table[train.table["x1"].notna()]), axis=0)

    def predict_arrays(
        self, photos: Sequence[NDArray[np.uint8]], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """One face a photo; see :class:`thesislib.engine.predict.System`."""
        return [_faces(photo, self.box[None], [""]) for photo in photos]


def _shares(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Boxes [n, 4] of annotation rows as shares of their photos' sides."""
    return rows[BOX].to_numpy(float) / rows[["width", "height", "width", "height"]].to_numpy(float)


def _faces(photo: NDArray[np.uint8], shares: NDArray, names: Sequence[str]) -> list[Face]:
    sides = np.tile(photo.shape[1::-1], 2)
    return [
        Face((share * sides).astype(np.float32), 1.0, name)
        for share, name in zip(shares, names, strict=True)
    ]


class FacesAlike:
    """Names faces whose boxes are given, by the training faces that look most alike.

    Args:
        train: photos with named faces.
        describe: :func:`thumbnail` or :func:`hog`.
        rule: see :class:`NearestNames`.
    """

    highest_score = 1.0

    def __init__(self, train: Dataset, describe: Describe, rule: Rule) -> None:
        self.describe = describe
        known = train.table[(train.table["identity"] != "") & train.table["x1"].notna()]
        vectors, names = [], []
        for photo, rows in known.groupby("photo", sort=False):
            pixels = read_photo(train.folder / str(photo))
            vectors += [describe(cut_out(pixels, box)) for box in rows[BOX].to_numpy(float)]
            names += rows["identity"].tolist()
        self.names = NearestNames(np.stack(vectors), names, rule)

    def predict_arrays(
        self, photos: Sequence[NDArray[np.uint8]], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """No face: it finds none."""
        return [[] for _ in photos]

    def identify_boxes(
        self, photos: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray]
    ) -> list[list[str]]:
        """Names at given boxes, per photo float [F, 4] pixels."""
        return [
            self.names.of([self.describe(cut_out(photo, box)) for box in own])
            for photo, own in zip(photos, boxes, strict=True)
        ]


class Described:
    """Descriptors of faces in place of embeddings, see :class:`thesislib.engine.embed.Embedder`.

    Args:
        describe: :func:`thumbnail` or :func:`hog`.
        whole_photo: whether the photo is described, whichever of its faces is asked about.
    """

    def __init__(self, describe: Describe, whole_photo: bool = False) -> None:
        self.describe, self.whole_photo = describe, whole_photo

    def embeddings_at(
        self, photos: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray]
    ) -> list[NDArray]:
        """Per photo descriptors float32 [F, d] at boxes float [F, 4] pixels; NaN where all is 0, of
        a face of one grey."""
        found = []
        for photo, own in zip(photos, boxes, strict=True):
            seen = [photo if self.whole_photo else cut_out(photo, box) for box in own]
            told = np.stack([self.describe(one) for one in seen]).astype(np.float32)
            found.append(np.where(told.any(axis=1, keepdims=True), told, np.float32(np.nan)))
        return found


class EnrolledByDlib:
    """What one would install instead: dlib's detector and recogniser, and the faces enrolled.

    Faces are compared by the Euclidean distance of dlib's embeddings, as the package
    ``face_recognition`` compares them, but without a distance beyond which nobody is named:
    everybody is known here.

    Args:
        pipeline: dlib's.
        vectors: float [n, 128], its embeddings of training faces, not normalised.
        identities: [n] their names.
        rule: see :class:`NearestNames`.
    """

    highest_score = float("inf")  # an SVM's margins

    def __init__(
        self, pipeline: DlibPipeline, vectors: ArrayLike, identities: Sequence[str], rule: Rule
    ) -> None:
        self.pipeline, self.names = pipeline, NearestNames(vectors, identities, rule)

    def predict_arrays(
        self, photos: Sequence[NDArray[np.uint8]], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces that dlib finds, named; see :class:`thesislib.engine.predict.System`."""
        answers = []
        for photo in photos:
            boxes, scores, vectors = self.pipeline.found(photo, score_threshold)
            names = self.names.of(vectors)
            rows = zip(boxes, scores.tolist(), names, strict=True)
            answers.append([Face(box, score, name) for box, score, name in rows])
        return answers

    def identify_boxes(
        self, photos: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray]
    ) -> list[list[str]]:
        """Names at given boxes, per photo float [F, 4] pixels."""
        return [self.names.of(vectors) for vectors in self.pipeline.embeddings_at(photos, boxes)]
