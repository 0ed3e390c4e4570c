"""What is measured of a recogniser's answers to whole photos, each measure as rows of a table.

Every measure is of the product's own answers: whole photos in, the net's own boxes, landmarks and
embeddings out. A face that it does not find is compared by noise, so that a miss costs what a
wrong answer costs.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import seeds
from thesislib.baselines.dlib_pipeline import MIN_IOU
from thesislib.data.columns import BOX, LANDMARKS
from thesislib.data.schema import Dataset
from thesislib.data.splits import make_split
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.graph import USER_SCORE
from thesislib.deploy.threshold import FPIR, published_rates
from thesislib.engine.embed import annotated_faces
from thesislib.engine.evaluate import as_prediction, least_score, truths_of
from thesislib.engine.predict import predict
from thesislib.experiments.embedding_measures import enrolled
from thesislib.faces import Face
from thesislib.metrics import identification, verification
from thesislib.metrics.boxes import (
    apply_box_calibration,
    average_precision,
    box_iou,
    fit_box_calibration,
)
from thesislib.metrics.similarity import normalise
from thesislib.metrics.statistics import bootstrap_interval, person_bootstrap

ASKED, ENROLLED = 2, 10  # photos of a person in the enrolled measure: asked, and enrolled at most
LARGE_PX = 32.0  # shorter side of a face from which it counts in ap50_32px
FALSE_MATCHES = 1e-3  # share of all pairs of strangers that the threshold of the whole lets match
MIN_GROUP = 30  # faces of a group from which it is reported
GALLERY_PEOPLE, GALLERY_PHOTOS, GALLERIES = (5, 20), 3, 40  # enrolled, photos of each, drawn
WHOLE = ""  # the group that everybody is in


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a system says of a dataset's photos.

    Attributes:
        dataset: whose photos they are.
        found: per photo the faces found, best first.
        faces: one row per annotated face, see :func:`thesislib.engine.embed.annotated_faces`.
        match: int64 [F], place of each annotated face's detection in its photo, or -1.
        embeddings: float32 [F, E], noise where the face was not found.
    """

    dataset: Dataset
    found: list[list[Face]]
    faces: pd.DataFrame
    match: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def of(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.float32], list[str]]:
        """Embeddings and identities of some of the faces."""
        return self.embeddings[kept], self.faces["identity"][kept].tolist()


def answers_of(system: Any, dataset: Dataset, out: Path, progress: bool = True) -> Answers:
    """A system's answers, of scores above :func:`least_score`, kept in ``out`` while they come."""
    files = [dataset.folder / photo for photo in dataset.photos]
    found = predict(system, files, least_score(system), out=out, progress=progress)
    faces = annotated_faces(dataset)
    of_photo = dict(zip(dataset.photos, found, strict=True))
    match = np.full(len(faces), -1)
    noise = seeds.generator(0, "faces not found").normal(size=(len(faces), system.embedding_dim))
    embeddings = noise.astype(np.float32)
    boxes = faces[BOX].to_numpy(np.float32)
    for at, photo in enumerate(faces["photo"]):
        answer = of_photo[photo]
        if answer:
            overlap = box_iou(np.stack([one.box for one in answer]), boxes[at : at + 1])[:, 0]
            if overlap.max() >= MIN_IOU:
                match[at] = overlap.argmax()
                embeddings[at] = answer[match[at]].embedding
    return Answers(dataset, found, faces, match, embeddings)


# --- measures ---------------------------------------------------------------------------------


def verification_rows(answers: Answers, seed: int, draws: int) -> list[dict]:
    """``verification``, and where sessions are known ``verification_other_sittings``, in which
    everybody has one photo of each session."""
    known = (answers.faces["identity"] != "").to_numpy()
    cases = {"verification": known}
    if (answers.faces["session"] != "").any():
        first = ~answers.faces.duplicated(["identity", "session"]).to_numpy()
        cases = {"verification_other_sittings": known & first, **cases}
    rows = []
    for measure, kept in cases.items():
        embeddings, identities = answers.of(kept)

        def accuracy(vectors: Any, names: Any, copies: Any = None) -> float:
            return verification.verification_accuracy(vectors, names, seed=seed, copies=copies).mean

        low, high = person_bootstrap(accuracy, embeddings, identities, seed=seed, draws=draws)
        value = accuracy(embeddings, identities)
        rows.append(_row(measure, value, float(low), float(high), int(kept.sum())))
    return rows


def open_set_rows(answers: Answers, seed: int, draws: int) -> list[dict]:
    """Misses at two rates of strangers let in; half of the people are enrolled.

    Both rates are reported however few strangers they rest on: the interval says how little the
    lower one may be worth.
    """
    known = (answers.faces["identity"] != "").to_numpy()
    embeddings, identities = answers.of(known)
    sessions = answers.faces["session"].to_numpy(object)[known]
    gallery = enrolled(np.array(identities, object), sessions, seed)
    curve = identification.open_set(embeddings, identities, gallery)
    rows = []
    for measure, fpir in (("fnir_at_fpir_1e2", 0.01), ("fnir_at_fpir_1e1", 0.1)):
        value = identification.fnir_at_fpir(curve, fpir, 0).fnir

        def missed(
            vectors: Any, names: Any, gallery: Any, copies: Any, rate: float = fpir
        ) -> float:
            sample = identification.open_set(vectors, names, gallery, copies=copies)
            return identification.fnir_at_fpir(sample, rate, 0).fnir

        low, high = person_bootstrap(
            missed, embeddings, identities, seed=seed, draws=draws, gallery=gallery
        )
        # The bootstrap's bias that is taken off can lead out of the range of a share.
        low, high = np.clip([low, high], 0, 1)
        rows.append(_row(measure, value, float(low), float(high), curve.mated_probes))
    return rows


def published_rows(answers: Answers, model: str, seed: int) -> list[dict]:
    """What a gallery errs at the threshold that the net was published with for one stranger in ten:
    ``published_fpir_<people>`` and ``published_fnir_<people>``, on average over galleries of so
    many people, three photos each, drawn by the seed.

    Everybody else is a stranger to a gallery. A face that was not found has no name.

    Args:
        answers: of the net.
        model: its fingerprint.
        seed: of the galleries.

    Returns:
        no rows of a net with which nothing was published, or of too few people.
    """
    if published_rates(model) is None:
        return []
    known = (answers.faces["identity"] != "").to_numpy()
    embeddings, identities = answers.of(known)
    names, found = np.array(identities, object), answers.match[known] >= 0
    photos = pd.Series(names[found]).value_counts()
    able = np.array(sorted(photos.index[photos > GALLERY_PHOTOS]), object)
    rng = seeds.generator(seed, "galleries")
    rows = []
    for people in (size for size in GALLERY_PEOPLE if 2 * size <= len(able)):
        errors = []
        for _ in range(GALLERIES):
            chosen = rng.choice(able, people, replace=False)
            own = [rng.permutation(np.flatnonzero(found & (names == one))) for one in chosen]
            by = np.concatenate([places[:GALLERY_PHOTOS] for places in own])
            gallery = Gallery.of_embeddings(embeddings.shape[1], model)
            gallery.enrol_embeddings(names[by].tolist(), embeddings[by])
            gallery.calibrate(None, FPIR)
            given = np.array(gallery.identify(embeddings)[0], object)
            given[~found] = ""
            mated = np.isin(names, chosen)
            asked = mated & ~np.isin(np.arange(len(names)), by)
            errors.append([(given[~mated] != "").mean(), (given != names)[asked].mean()])
        for measure, value in zip(("fpir", "fnir"), np.mean(errors, axis=0), strict=True):
            rows.append(_row(f"published_{measure}_{people}", float(value), n=int(known.sum())))
    return rows


def named_rows(
    answers: Answers, asked: NDArray[np.bool_], known: NDArray[np.bool_], measure: str, seed: int
) -> list[dict]:
    """Share of faces found with an IoU of 0.5 and named rightly by the nearest class mean.

    Boxes are brought to the dataset's framing by a calibration fitted on the enrolled photos.

    Args:
        answers: of a system.
        asked: bool [F], which faces are asked for.
        known: bool [F], which are enrolled; there is no row where nobody is.
        measure: name of the row.
        seed: of the bootstrap.
    """
    faces, boxes = answers.faces, answers.faces[BOX].to_numpy(np.float32)
    detected = np.full_like(boxes, np.nan)
    of_photo = dict(zip(answers.dataset.photos, answers.found, strict=True))
    for at in np.flatnonzero(answers.match >= 0):
        detected[at] = of_photo[faces["photo"][at]][answers.match[at]].box
    enrolled_ = known & (answers.match >= 0)
    if not known.any():
        return []
    if not enrolled_.any():
        return [_row(measure, 0.0, 0.0, 0.0, int(asked.sum()))]
    calibration = fit_box_calibration(detected[enrolled_], boxes[enrolled_])
    vectors = normalise(answers.embeddings)
    names = np.unique(faces["identity"].to_numpy(str)[enrolled_])
    means = np.stack(
        [vectors[enrolled_ & (faces["identity"] == name)].mean(axis=0) for name in names]
    )
    nearest = names[(vectors[asked] @ normalise(means).T).argmax(axis=1)]
    found = answers.match[asked] >= 0
    iou = np.zeros(int(asked.sum()))
    if found.any():
        moved = apply_box_calibration(detected[asked][found], calibration)
        iou[found] = [
            box_iou(a[None], b[None])[0, 0] for a, b in zip(moved, boxes[asked][found], strict=True)
        ]
    identities = faces["identity"].to_numpy(str)[asked]
    right = (nearest == identities) & (iou >= 0.5)
    low, high = bootstrap_interval(right.astype(float), groups=identities, seed=seed)
    return [_row(measure, float(right.mean()), low, high, len(right))]


def session_rows(answers: Answers, seed: int) -> list[dict]:
    """Names by class means of the other clips, on the session split's test part."""
    split = make_split(answers.dataset, "session", seed)
    part = answers.faces["photo"].map(dict(zip(split["photo"], split["part"], strict=True)))
    known = answers.faces["identity"] != ""
    asked, enrolled_ = ((part == name) & known for name in ("test", "train"))
    return named_rows(
        answers, asked.to_numpy(), enrolled_.to_numpy(), "session_joint_accuracy_50", seed
    )


def enrolled_rows(answers: Answers, seed: int) -> list[dict]:
    """Two photos of everybody who has more are asked; up to ten of the others are enrolled."""
    faces = answers.faces.sample(frac=1, random_state=seed)
    place = faces.groupby("identity").cumcount().reindex(answers.faces.index).to_numpy()
    photos = answers.faces.groupby("identity")["photo"].transform("size")
    known = ((answers.faces["identity"] != "") & (photos > ASKED)).to_numpy()
    asked, enrolled_ = known & (place < ASKED), known & (place >= ASKED)
    enrolled_ &= place < ASKED + ENROLLED
    return named_rows(answers, asked, enrolled_, "enrolled_joint_accuracy_50", seed)


def detection_rows(answers: Answers) -> list[dict]:
    """``ap50`` of all faces, and, where some are as large, ``ap50_32px``, in which smaller ones
    are ignored."""
    predictions = [as_prediction(faces) for faces in answers.found]
    truths = truths_of(answers.dataset)
    rows = [_row("ap50", average_precision(predictions, truths)["ap50"], n=len(truths))]
    for truth in truths:
        sides = truth["boxes"][:, 2:] - truth["boxes"][:, :2]
        truth["ignored"] = sides.min(axis=1, initial=np.inf) < LARGE_PX
    if all(truth["ignored"].all() for truth in truths):
        return rows
    large = average_precision(predictions, truths)["ap50"]
    return [*rows, _row("ap50_32px", large, n=len(truths))]


def empty_rows(answers: Answers, threshold: float = USER_SCORE) -> list[dict]:
    """Boxes above the user's threshold per 100 photos in which there is no face.

    Args:
        answers: of a system.
        threshold: of the score; 0 for a detector that has one of its own.
    """
    truths = truths_of(answers.dataset)
    empty = [
        sum(face.score > threshold for face in found)
        for found, truth in zip(answers.found, truths, strict=True)
        if not len(truth["boxes"])
    ]
    low, high = bootstrap_interval(100.0 * np.array(empty), seed=0)
    return [_row("false_boxes_per_100_empty", 100 * float(np.mean(empty)), low, high, len(empty))]


def distance_rows(
    answers: Answers, teacher: NDArray[np.float32], groups: Mapping[str, NDArray], seed: int
) -> list[dict]:
    """``teacher_distance``, of everybody and by group: squared distance of unit embeddings from
    the teacher's of the aligned face, over the spread of the teacher's about their mean; and
    ``teacher_distance_found``, of the faces that were found.

    All of dlib's embeddings lie on one side of zero: 1 knows nothing but their mean.

    Args:
        answers: of a net that was taught.
        teacher: float [F, E], of the annotated faces; NaN of those without landmarks, which are
            left out.
        groups: bool [F] by name.
        seed: of the bootstrap.
    """
    taught = np.isfinite(teacher).all(axis=1)
    told = normalise(teacher[taught])
    spread = np.square(told - told.mean(axis=0)).sum(axis=1).mean()
    away = np.full(len(teacher), np.nan)
    away[taught] = np.square(normalise(answers.embeddings[taught]) - told).sum(axis=1) / spread
    rows = []
    for name, of_group in groups.items():
        members = of_group & taught
        if members.sum() < MIN_GROUP:
            continue
        low, high = bootstrap_interval(away[members], seed=seed)
        row = _row("teacher_distance", float(away[members].mean()), low, high, int(members.sum()))
        rows.append(row | {"group": name})
    found = (answers.match >= 0) & taught
    if found.any():
        low, high = bootstrap_interval(away[found], seed=seed)
        mean = float(away[found].mean())
        rows.append(_row("teacher_distance_found", mean, low, high, int(found.sum())))
    return rows


def false_match_rows(
    answers: Answers, groups: Mapping[str, NDArray], seed: int, draws: int
) -> list[dict]:
    """``false_match_rate`` among strangers within each group, at the threshold at which one in a
    thousand pairs of all match. Of photos of which no two show one person.

    Args:
        answers: of a system; faces that it has not found are left out. There are no rows where it
            has found too few.
        groups: bool [F] by name.
        seed, draws: of the bootstrap over faces.
    """
    found = answers.match >= 0
    if found.sum() < MIN_GROUP:
        return []
    everybody = [str(at) for at in range(int(found.sum()))]
    threshold = verification.threshold_at(answers.embeddings[found], everybody, FALSE_MATCHES)

    def rate(vectors: Any, names: Any, copies: Any = None) -> float:
        return verification.false_match_rate(vectors, names, threshold, copies=copies)

    rows = []
    for name, members in groups.items():
        vectors = answers.embeddings[found & members]
        if len(vectors) < MIN_GROUP:
            continue
        strangers = everybody[: len(vectors)]
        low, high = person_bootstrap(rate, vectors, strangers, seed=seed, draws=draws)
        # The bootstrap's bias that is taken off can lead below zero.
        row = _row("false_match_rate", rate(vectors, strangers), max(float(low), 0.0), float(high))
        rows.append(row | {"n": len(vectors), "group": name})
    return rows


def landmark_rows(answers: Answers, seed: int) -> list[dict]:
    """Mean distance of landmarks from the annotated ones, in distances of the eyes.

    No rows of a net that finds no landmarks.
    """
    known = answers.faces[LANDMARKS].notna().all(axis=1).to_numpy() & (answers.match >= 0)
    if not known.any():
        return []
    true = answers.faces[LANDMARKS].to_numpy(float).reshape(-1, 5, 2)[known]
    of_photo = dict(zip(answers.dataset.photos, answers.found, strict=True))
    told = [
        of_photo[answers.faces["photo"][at]][answers.match[at]].landmarks
        for at in np.flatnonzero(known)
    ]
    if any(landmarks is None for landmarks in told):
        return []
    found = np.stack(told)
    eyes = np.linalg.norm(true[:, 1] - true[:, 0], axis=1)
    errors = np.linalg.norm(found - true, axis=2).mean(axis=1) / eyes
    low, high = bootstrap_interval(errors, seed=seed)
    return [_row("landmark_error", float(errors.mean()), low, high, len(errors))]


def _row(measure: str, value: float, low: float = np.nan, high: float = np.nan, n: int = 0) -> dict:
    row = {"measure": measure, "value": value, "low": low, "high": high, "n": n}
    return row | {"group": WHOLE}
