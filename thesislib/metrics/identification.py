"""Identification of enrolled people, closed and open set, of given faces and in whole photos."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from thesislib.metrics.similarity import (
    BLOCK,
    MIN_EXPECTED_ERRORS,
    NotSupportedError,
    _at_or_above,
    _similarity,
    checked,
    checked_rate,
    last_within,
    need_errors,
)

MIN_IOU = 0.5


class OpenSet(NamedTuple):
    """FNIR against FPIR by falling threshold; see :func:`open_set`. DIR is 1 - FNIR."""

    fpir: np.ndarray
    fnir: np.ndarray
    threshold: np.ndarray  # cosine; infinite for the first point
    rank_one: float  # share of mated probes whose mate comes first, at any score
    mated_probes: int
    non_mated_probes: int


class FnirAtFpir(NamedTuple):
    """A point of :class:`OpenSet`; see :func:`fnir_at_fpir`."""

    fnir: float
    fpir: float  # achieved, at most what was asked for
    threshold: float
    mated_probes: int
    non_mated_probes: int


class JointOpenSet(NamedTuple):
    """TPIR against FPIPI by falling threshold; see :func:`joint_open_set`."""

    tpir: np.ndarray
    fpipi: np.ndarray
    taken_for_another: np.ndarray  # known faces accepted as another known person / known faces
    threshold: np.ndarray  # of the score; infinite for the first point
    known_faces: int
    photos: int


class TpirAtFpipi(NamedTuple):
    """A point of :class:`JointOpenSet`; see :func:`tpir_at_fpipi`."""

    tpir: float
    fpipi: float  # achieved, at most what was asked for
    taken_for_another: float
    threshold: float
    known_faces: int
    photos: int


# Identification


class _Search(NamedTuple):
    mated: np.ndarray  # [probes] bool, whether the person is enrolled
    mate: np.ndarray  # [probes] score of the person, -inf if not enrolled
    best_other: np.ndarray  # [probes] highest score of anyone else
    rank: np.ndarray  # [probes] of the mate; ties count against it
    enrolled: int


def _search(
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    copies: np.ndarray | None,
) -> _Search:
    photos = checked(embeddings, identities, copies)
    gallery = np.asarray(gallery)
    if gallery.shape != photos.person.shape or gallery.dtype != bool:
        raise ValueError(f"gallery: expected [{len(photos.person)}] bool, one an embedding")
    if gallery.all() or not gallery.any():
        what = "gallery" if not gallery.any() else "probe"
        raise NotSupportedError(f"gallery: there is no {what} photo")
    enrolled, probes = photos.rows(gallery), photos.rows(~gallery)
    if len(np.unique(enrolled.person)) < 2:
        raise NotSupportedError("gallery: one person enrolled, and at least 2 are needed")
    enrolled = enrolled.rows(np.argsort(enrolled.group, kind="stable"))
    groups, first = np.unique(enrolled.group, return_index=True)
    people = enrolled.person[first]
    mated = np.isin(probes.group, groups)
    mate, best_other, rank = [], [], []
    size = max(1, BLOCK // len(enrolled.person))
    for start in range(0, len(probes.person), size):
        rows = slice(start, start + size)
        similarity = _similarity(probes.embeddings[rows], enrolled.embeddings)
        score = np.maximum.reduceat(similarity, first, axis=1)  # [rows, enrolled]
        own = probes.group[rows, None] == groups
        other = np.where(probes.person[rows, None] == people, -np.inf, score)
        mate.append(np.where(own, score, -np.inf).max(axis=1))
        best_other.append(other.max(axis=1))
        rank.append(1 + (other >= mate[-1][:, None]).sum(axis=1))
    found = (np.concatenate(one) for one in (mate, best_other, rank))
    return _Search(mated, *found, len(groups))


def cumulative_match(
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    *,
    copies: np.ndarray | None = None,
) -> np.ndarray:
    """How often a probe's person is among the first r of the gallery: the CMC of a closed set.

    A person's score is the highest over their gallery photos.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: enrolled; the others are probes, each of an enrolled person.
        copies: see :func:`person_bootstrap`.

    Returns:
        [people enrolled] float64; the first is rank-1 accuracy, the last 1 unless there are ties.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``gallery`` of another shape or
            dtype, a probe whose person is not enrolled.
        NotSupportedError: no probes, or fewer than two people enrolled.

    |{rank <= r}| / probes, where rank = 1 + the others scoring at least as high (Phillips, Grother
    & Micheals 2011, Evaluation Methods in Face Recognition; here with ties against).

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
    embeddings: np.ndarray,
    identities: Sequence[str],
    gallery: np.ndarray,
    *,
    copies: np.ndarray | None = None,
) -> OpenSet:
    """People missed against strangers let in, when not every probe's person is enrolled.

    A person's score is the highest over their gallery photos. A mated probe (its person is
    enrolled) is missed unless its person comes first, ahead of all others, at or above the
    threshold. A non-mated probe is a false positive if anyone's score is.

    Args:
        embeddings: [n, d] float.
        identities: [n] names.
        gallery: [n] bool: enrolled; the others are probes.
        copies: see :func:`person_bootstrap`.

    Returns:
        :class:`OpenSet`, exact: a point at each score where either rate changes.

    Raises:
        ValueError: bad embeddings (:func:`normalise`) or names, ``gallery`` of another shape or
            dtype.
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
    mated, strangers = int(found.mated.sum()), int((~found.mated).sum())
    if mated == 0 or strangers == 0:
        what = "is enrolled" if mated == 0 else "is not enrolled"
        raise NotSupportedError(f"gallery: there is no probe whose person {what}")
    first = found.mated & (found.rank == 1)
    hits, alarms = found.mate[first], found.best_other[~found.mated]
    threshold = np.append(np.inf, np.unique(np.concatenate([hits, alarms]))[::-1])
    return OpenSet(
        fpir=_at_or_above(alarms, threshold) / strangers,
        fnir=1 - _at_or_above(hits, threshold) / mated,
        threshold=threshold,
        rank_one=len(hits) / mated,
        mated_probes=mated,
        non_mated_probes=strangers,
    )


def fnir_at_fpir(curve: OpenSet, fpir: float, least: float = MIN_EXPECTED_ERRORS) -> FnirAtFpir:
    """Lowest share of enrolled people missed while at most ``fpir`` of the strangers get in.

    Args:
        curve: of :func:`open_set`.
        fpir: largest FPIR allowed, above 0 and at most 1; the project reports 0.01 and 0.1.
        least: false positives to be expected, fpir x non-mated probes; see :func:`tar_at_far`.

    Returns:
        :class:`FnirAtFpir`, with the FPIR achieved: the lowest at which this FNIR is reached.

    Raises:
        ValueError: ``fpir`` out of range.
        NotSupportedError: fewer than ``least`` false positives to be expected.

    The rule is that of the project's protocol for FAR, with probes for pairs.

    >>> gallery = np.array([True, True, False, False, False])
    >>> names = ["ann", "bob", "ann", "bob", "cat"]
    >>> curve = open_set([[1, 0], [0, 1], [4, 3], [5, 12], [3, 4]], names, gallery)
    >>> fnir_at_fpir(curve, 0.5, least=0).fnir
    0.5
    """
    fpir = checked_rate("fpir", fpir)
    need_errors("fpir", fpir, curve.non_mated_probes, "non-mated probes", least)
    at = last_within(curve.fpir, curve.fnir, fpir)
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
    """Known people found and named against strangers and walls taken for them, from whole photos.

    A detection counts for the face it was matched to if their IoU is at least 0.5, else it is
    background. It is accepted at T if its score is at or above T and it names somebody.

    Args:
        detections: one row a detection, with columns ``photo`` (str), ``score`` (float, similarity
            of the best gallery identity), ``predicted_identity`` (str, that identity; "" is never
            accepted), ``iou`` (float in 0–1, with the face it was matched to, 0 for none),
            ``identity`` (str, of that face; "" for a person not in the gallery, or background).
            Each face is matched to one detection at most.
        known_faces: faces of people in the gallery, found or not, at least 1.
        photos: photos looked at, with faces or without, at least 1.

    Returns:
        :class:`JointOpenSet`, exact: a point at each score.

    Raises:
        ValueError: a column missing, NaN, an IoU outside 0–1, a known person found twice in one
            photo, more known faces or photos in the table than in all; the row is named.
        NotSupportedError: no known faces, or no photos.

    TPIR(T) = known faces accepted as who they are / known faces; FPIPI(T) = (faces of unknown
    people + background accepted) / photos (Günther et al. 2017, Unconstrained Face Detection and
    Open-Set Face Recognition Challenge; the project's protocol, Experiment 3). Known
    faces taken for another are in neither, as there, and are reported apart.

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
    names = table["predicted_identity"] != ""
    right = table["predicted_identity"] == table["identity"]
    score = table["score"].to_numpy(dtype=np.float64)
    threshold = np.append(np.inf, np.unique(score[names])[::-1])
    accepted = [
        _at_or_above(score[which], threshold)
        for which in (names & known & right, names & ~known, names & known & ~right)
    ]
    return JointOpenSet(
        tpir=accepted[0] / known_faces,
        fpipi=accepted[1] / photos,
        taken_for_another=accepted[2] / known_faces,
        threshold=threshold,
        known_faces=int(known_faces),
        photos=int(photos),
    )


def tpir_at_fpipi(
    curve: JointOpenSet, fpipi: float, least: float = MIN_EXPECTED_ERRORS
) -> TpirAtFpipi:
    """Highest share of known faces found and named at ``fpipi`` false positives a photo or fewer.

    Args:
        curve: of :func:`joint_open_set`.
        fpipi: largest FPIPI allowed, above 0; the project reports 0.1.
        least: false positives to be expected, fpipi x photos; see :func:`tar_at_far`.

    Returns:
        :class:`TpirAtFpipi`, with the FPIPI achieved: the lowest at which this TPIR is reached.

    Raises:
        ValueError: ``fpipi`` not above 0.
        NotSupportedError: fewer than ``least`` false positives to be expected.

    >>> detections = pd.DataFrame({
    ...     "photo": ["a.jpg", "a.jpg"], "score": [0.9, 0.6], "predicted_identity": ["ann", "bob"],
    ...     "iou": [0.8, 0.1], "identity": ["ann", ""],
    ... })
    >>> tpir_at_fpipi(joint_open_set(detections, known_faces=2, photos=100), 0.1).tpir
    0.5
    """
    if not 0 < fpipi < np.inf:
        raise ValueError(f"fpipi: expected above 0, got {fpipi}")
    need_errors("fpipi", fpipi, curve.photos, "false positives a photo", least)
    at = last_within(curve.fpipi, curve.tpir, fpipi)
    return TpirAtFpipi(
        float(curve.tpir[at]),
        float(curve.fpipi[at]),
        float(curve.taken_for_another[at]),
        float(curve.threshold[at]),
        curve.known_faces,
        curve.photos,
    )
