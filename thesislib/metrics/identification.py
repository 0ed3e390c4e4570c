"""Identification against a gallery: closed and open set, of given faces and in whole photos.

The *gallery* holds the embeddings of enrolled people; a *probe* is searched for in it. It is
*mated* if its person is enrolled. A person's score is the highest similarity over their gallery
embeddings. Ties count against the system.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.operating_points import (
    MIN_EXPECTED_ERRORS,
    check_expected_errors,
    checked_rate,
    count_at_or_above,
    operating_point,
)
from thesislib.metrics.similarity import cosine, labelled, row_blocks

MIN_IOU = 0.5  # of a detection with a face, for it to count as a detection of that face


class OpenSet(NamedTuple):
    """FNIR against FPIR by falling threshold; see ``open_set``. DIR is 1 - FNIR."""

    fpir: NDArray[np.float64]
    fnir: NDArray[np.float64]
    threshold: NDArray[np.float64]  # cosine; infinite for the first point
    rank_one: float  # share of mated probes whose mate comes first, at any score
    mated_probes: int
    non_mated_probes: int


class FnirAtFpir(NamedTuple):
    """A point of ``OpenSet``; see ``fnir_at_fpir``."""

    fnir: float
    fpir: float  # achieved, at most what was asked for
    threshold: float
    mated_probes: int
    non_mated_probes: int


class JointOpenSet(NamedTuple):
    """TPIR against FPIPI by falling threshold; see ``joint_open_set``."""

    tpir: NDArray[np.float64]
    fpipi: NDArray[np.float64]
    taken_for_another: NDArray[np.float64]  # known faces accepted as another person / known faces
    threshold: NDArray[np.float64]  # of the score; infinite for the first point
    known_faces: int
    photos: int


class TpirAtFpipi(NamedTuple):
    """A point of ``JointOpenSet``; see ``tpir_at_fpipi``."""

    tpir: float
    fpipi: float  # achieved, at most what was asked for
    taken_for_another: float
    threshold: float
    known_faces: int
    photos: int


class _Search(NamedTuple):
    mated: NDArray[np.bool_]  # [probes] whether the person is enrolled
    mate: NDArray[np.float64]  # [probes] score of the person, -inf if not enrolled
    best_other: NDArray[np.float64]  # [probes] highest score of any other person
    rank: NDArray[np.int64]  # [probes] of the mate; ties count against it
    enrolled: int


def _search(
    embeddings: ArrayLike,
    identities: Sequence[str],
    gallery: ArrayLike,
    copies: ArrayLike | None,
) -> _Search:
    sample = labelled(embeddings, identities, copies)
    in_gallery = np.asarray(gallery)
    if in_gallery.shape != sample.person.shape or in_gallery.dtype != bool:
        raise ValueError(f"gallery: expected [{len(sample.person)}] bool, one an embedding")
    if in_gallery.all() or not in_gallery.any():
        what = "gallery" if not in_gallery.any() else "probe"
        raise NotSupportedError(f"gallery: there is no {what} photo")
    enrolled, probes = sample.rows(in_gallery), sample.rows(~in_gallery)
    if len(np.unique(enrolled.person)) < 2:
        raise NotSupportedError("gallery: one person enrolled, and at least 2 are needed")
    enrolled = enrolled.rows(np.argsort(enrolled.group, kind="stable"))
    groups, first = np.unique(enrolled.group, return_index=True)
    people = enrolled.person[first]
    mate, best_other, rank = [], [], []
    for rows in row_blocks(len(probes.person), len(enrolled.person)):
        similarity = cosine(probes.vectors[rows], enrolled.vectors)
        score = np.maximum.reduceat(similarity, first, axis=1)  # [rows, enrolled people]
        own = probes.group[rows, None] == groups
        other = np.where(probes.person[rows, None] == people, -np.inf, score)
        mate.append(np.where(own, score, -np.inf).max(axis=1))
        best_other.append(other.max(axis=1))
        rank.append(1 + (other >= mate[-1][:, None]).sum(axis=1))
    return _Search(
        mated=np.isin(probes.group, groups),
        mate=np.concatenate(mate),
        best_other=np.concatenate(best_other),
        rank=np.concatenate(rank),
        enrolled=len(groups),
    )


def cumulative_match(
    embeddings: ArrayLike,
    identities: Sequence[str],
    gallery: ArrayLike,
    *,
    copies: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Cumulative match characteristic (CMC) of closed-set identification.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: in the gallery; the others are probes, each of an enrolled person.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        [people enrolled] float64, the share of probes whose person is among the first r; the
        first entry is rank-1 accuracy, the last is 1 unless there are ties.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``gallery`` of another
            shape or dtype, a probe whose person is not enrolled.
        NotSupportedError: no probes, or fewer than two people enrolled.

    |{rank <= r}| / probes, where rank = 1 + the number of others scoring at least as high
    (Phillips, Grother & Micheals 2011, Evaluation Methods in Face Recognition; here with ties
    against).

    >>> gallery = np.array([True, True, False, False])
    >>> cumulative_match([[1, 0], [0, 1], [4, 3], [2, 1]], ["ann", "bob", "bob", "ann"], gallery)
    array([0.5, 1. ])
    """
    found = _search(embeddings, identities, gallery, copies)
    if not found.mated.all():
        row = int(np.flatnonzero(~np.asarray(gallery))[(~found.mated).argmax()])
        raise ValueError(f"gallery: the person of the probe in row {row} is not enrolled")
    ranks = np.arange(1, found.enrolled + 1)
    return (found.rank[:, None] <= ranks).mean(axis=0)


def open_set(
    embeddings: ArrayLike,
    identities: Sequence[str],
    gallery: ArrayLike,
    *,
    copies: ArrayLike | None = None,
) -> OpenSet:
    """Open-set identification: FNIR against FPIR, where some probes' people are not enrolled.

    A mated probe is missed (a false negative) unless its person has the highest score, above all
    others, and that score is at or above the threshold. A non-mated probe is a false positive if
    anyone's score is at or above it.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: in the gallery; the others are probes.
        copies: [n] int, in a bootstrap sample; see ``similarity.labelled``.

    Returns:
        ``OpenSet``, exact: a point at each score where either rate changes.

    Raises:
        ValueError: bad embeddings (``similarity.normalise``) or names, ``gallery`` of another
            shape or dtype.
        NotSupportedError: no mated probes, no non-mated ones, or fewer than two people enrolled.

    FNIR(T) = mated probes with the mate not at rank 1 or below T / mated probes; FPIR(T) =
    non-mated probes with a candidate at or above T / non-mated probes (Grother, Ngan & Hanaoka,
    Face Recognition Technology Evaluation, Part 2: Identification, NISTIR 8271; here at rank 1).
    DIR(T) = 1 - FNIR(T) (Phillips, Grother & Micheals 2011).

    >>> gallery = np.array([True, True, False, False, False])
    >>> names = ["ann", "bob", "ann", "bob", "cat"]
    >>> curve = open_set([[1, 0], [0, 1], [4, 3], [5, 12], [3, 4]], names, gallery)
    >>> curve.fpir, curve.fnir
    (array([0., 0., 1.]), array([1. , 0.5, 0. ]))
    """
    found = _search(embeddings, identities, gallery, copies)
    mated, non_mated = int(found.mated.sum()), int((~found.mated).sum())
    if mated == 0 or non_mated == 0:
        what = "is enrolled" if mated == 0 else "is not enrolled"
        raise NotSupportedError(f"gallery: there is no probe whose person {what}")
    hits = found.mate[found.mated & (found.rank == 1)]
    false_positives = found.best_other[~found.mated]
    threshold = np.append(np.inf, np.unique(np.concatenate([hits, false_positives]))[::-1])
    return OpenSet(
        fpir=count_at_or_above(false_positives, threshold) / non_mated,
        fnir=1 - count_at_or_above(hits, threshold) / mated,
        threshold=threshold,
        rank_one=len(hits) / mated,
        mated_probes=mated,
        non_mated_probes=non_mated,
    )


def fnir_at_fpir(
    curve: OpenSet, fpir: float, min_expected_errors: float = MIN_EXPECTED_ERRORS
) -> FnirAtFpir:
    """Lowest FNIR at an FPIR of at most ``fpir``.

    Args:
        curve: of ``open_set``.
        fpir: highest FPIR allowed, above 0 and at most 1; the project reports 0.01 and 0.1.
        min_expected_errors: least number of false positives, ``fpir`` x non-mated probes, from
            which the rate is reported; 0 within ``statistics.person_bootstrap``, as for
            ``verification.tar_at_far``.

    Returns:
        ``FnirAtFpir``, with the FPIR achieved: the lowest at which this FNIR is reached.

    Raises:
        ValueError: ``fpir`` out of range.
        NotSupportedError: fewer false positives than ``min_expected_errors`` are to be expected.

    The project's protocol, Experiment 3; its rule for FAR, with probes in place of pairs.

    >>> gallery = np.array([True, True, False, False, False])
    >>> names = ["ann", "bob", "ann", "bob", "cat"]
    >>> curve = open_set([[1, 0], [0, 1], [4, 3], [5, 12], [3, 4]], names, gallery)
    >>> fnir_at_fpir(curve, 0.5, min_expected_errors=0).fnir
    0.5
    """
    fpir = checked_rate("fpir", fpir)
    check_expected_errors(
        "fpir", fpir, curve.non_mated_probes, "non-mated probes", min_expected_errors
    )
    at = operating_point(curve.fpir, curve.fnir, fpir)
    return FnirAtFpir(
        float(curve.fnir[at]),
        float(curve.fpir[at]),
        float(curve.threshold[at]),
        curve.mated_probes,
        curve.non_mated_probes,
    )


_DETECTION_COLUMNS = ("photo", "score", "predicted_identity", "iou", "identity")


def _checked_detections(detections: pd.DataFrame) -> pd.DataFrame:
    missing = [one for one in _DETECTION_COLUMNS if one not in detections.columns]
    if missing:
        raise ValueError(f"detections: column {missing[0]!r} is missing")
    table = detections[list(_DETECTION_COLUMNS)].reset_index(drop=True)
    for column in ("photo", "predicted_identity", "identity"):
        bad = ~table[column].map(lambda text: isinstance(text, str)).to_numpy(dtype=bool)
        if bad.any():
            raise ValueError(f"detections: {column} of row {int(bad.argmax())} is no text")
    for column, low, high in (("score", -np.inf, np.inf), ("iou", 0, 1)):
        values = table[column].to_numpy(dtype=np.float64)
        bad = ~np.isfinite(values) | (values < low) | (values > high)
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f"detections: {column} of row {row} is {values[row]}")
    return table


def joint_open_set(detections: pd.DataFrame, known_faces: int, photos: int) -> JointOpenSet:
    """Open-set detection and identification in whole photos: TPIR against FPIPI.

    A detection is one of the face it was matched to if their IoU is at least 0.5, else it is
    background. It is accepted at T if its score is at or above T and it bears a name.

    Args:
        detections: one row per detection, with columns ``photo`` (str), ``score`` (float,
            similarity of the best gallery identity), ``predicted_identity`` (str, that identity;
            "" is never accepted), ``iou`` (float in 0–1, with the face it was matched to, 0 for
            none), ``identity`` (str, of that face; "" for a person not in the gallery, or
            background). Each face is matched to one detection at most.
        known_faces: number of faces of people in the gallery, found or not, at least 1.
        photos: number of photos searched, with faces or without, at least 1.

    Returns:
        ``JointOpenSet``, exact: a point at each score.

    Raises:
        ValueError: a column missing, NaN, an IoU outside 0–1, a known person found twice in one
            photo, more known faces or photos in the table than in all; the row is named.
        NotSupportedError: no known faces, or no photos.

    TPIR(T) = known faces accepted with the right name / known faces; FPIPI(T) = (faces of unknown
    people + background accepted) / photos (Günther et al. 2017, Unconstrained Face Detection and
    Open-Set Face Recognition Challenge; the project's protocol, Experiment 3). Known faces
    accepted under another person's name are in neither, as there, and are reported apart.

    >>> detections = pd.DataFrame({
    ...     "photo": ["a.jpg", "a.jpg", "b.jpg"],
    ...     "score": [0.9, 0.6, 0.7],
    ...     "predicted_identity": ["ann", "ann", "bob"],
    ...     "iou": [0.8, 0.1, 0.9],
    ...     "identity": ["ann", "", "ann"],
    ... })
    >>> curve = joint_open_set(detections, known_faces=4, photos=2)
    >>> curve.tpir, curve.fpipi
    (array([0.  , 0.25, 0.25, 0.25]), array([0. , 0. , 0. , 0.5]))
    >>> curve.taken_for_another
    array([0.  , 0.  , 0.25, 0.25])
    """
    table = _checked_detections(detections)
    for name, count, what in (
        ("known_faces", known_faces, "known face"),
        ("photos", photos, "photo"),
    ):
        if count < 1:
            raise NotSupportedError(f"{name}: there is no {what}")
    if table["photo"].nunique() > photos:
        raise ValueError(f"photos: {photos}, but detections has {table['photo'].nunique()}")
    known = (table["identity"] != "") & (table["iou"] >= MIN_IOU)
    twice = table[known].duplicated(["photo", "identity"])
    if twice.any():
        row = int(twice.index[twice.to_numpy()][0])
        raise ValueError(
            f"detections: {table['identity'][row]!r} of row {row} is found in "
            f"{table['photo'][row]!r} already"
        )
    if known.sum() > known_faces:
        raise ValueError(f"known_faces: {known_faces}, but detections has {int(known.sum())}")
    named = table["predicted_identity"] != ""
    right = table["predicted_identity"] == table["identity"]
    score = table["score"].to_numpy(dtype=np.float64)
    threshold = np.append(np.inf, np.unique(score[named])[::-1])
    true_positives, false_positives, confusions = (
        count_at_or_above(score[which], threshold)
        for which in (named & known & right, named & ~known, named & known & ~right)
    )
    return JointOpenSet(
        tpir=true_positives / known_faces,
        fpipi=false_positives / photos,
        taken_for_another=confusions / known_faces,
        threshold=threshold,
        known_faces=int(known_faces),
        photos=int(photos),
    )


def tpir_at_fpipi(
    curve: JointOpenSet, fpipi: float, min_expected_errors: float = MIN_EXPECTED_ERRORS
) -> TpirAtFpipi:
    """Highest TPIR at an FPIPI of at most ``fpipi``.

    Args:
        curve: of ``joint_open_set``.
        fpipi: most false positives per photo allowed, above 0; the project reports 0.1.
        min_expected_errors: least number of false positives, ``fpipi`` x photos, from which the
            rate is reported; 0 within a bootstrap, as for ``verification.tar_at_far``.

    Returns:
        ``TpirAtFpipi``, with the FPIPI achieved: the lowest at which this TPIR is reached.

    Raises:
        ValueError: ``fpipi`` not above 0.
        NotSupportedError: fewer false positives than ``min_expected_errors`` are to be expected.

    The project's protocol, Experiment 3.

    >>> detections = pd.DataFrame({
    ...     "photo": ["a.jpg", "a.jpg"], "score": [0.9, 0.6], "predicted_identity": ["ann", "bob"],
    ...     "iou": [0.8, 0.1], "identity": ["ann", ""],
    ... })
    >>> tpir_at_fpipi(joint_open_set(detections, known_faces=2, photos=100), 0.1).tpir
    0.5
    """
    if not 0 < fpipi < np.inf:
        raise ValueError(f"fpipi: expected above 0, got {fpipi}")
    check_expected_errors("fpipi", fpipi, curve.photos, "photos", min_expected_errors)
    at = operating_point(curve.fpipi, curve.tpir, fpipi)
    return TpirAtFpipi(
        float(curve.tpir[at]),
        float(curve.fpipi[at]),
        float(curve.taken_for_another[at]),
        float(curve.threshold[at]),
        curve.known_faces,
        curve.photos,
    )
