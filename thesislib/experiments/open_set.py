"""Whole photos, open set: are known people found and named, and strangers left alone?

People are enrolled with what a net sees of them in some photos, and looked for in others, among
people who are not enrolled. A face that is not found counts as a miss.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import seeds
from thesislib.data.columns import BOX
from thesislib.engine.embed import annotated_faces
from thesislib.engine.evaluate import as_prediction
from thesislib.experiments.embedding_measures import require_mated, thinned
from thesislib.experiments.groups import Group
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.identification import MIN_IOU, joint_open_set, tpir_at_fpipi
from thesislib.metrics.matching import match_greedy
from thesislib.metrics.operating_points import MIN_EXPECTED_ERRORS

FPIPI = 0.1  # false positives per photo at which the rate is reported


def faces_of_photos(group: Group, gallery: NDArray[np.bool_]) -> pd.DataFrame:
    """All annotated faces of a group's photos, with what the measure asks of each.

    Args:
        group: all known faces of its photos.
        gallery: bool [n], which of them are enrolled.

    Returns:
        annotation rows with ``enrolled``, ``known`` (somebody enrolled, in whatever photo),
        ``probe`` (nobody in the photo is enrolled from it) and ``unit``: who is drawn by the
        bootstrap, the person of a photo of one known person, else the photo by itself.
    """
    faces = annotated_faces(group.dataset)
    enrolled = np.zeros(len(faces), dtype=bool)
    enrolled[group.place[gallery]] = True
    faces["enrolled"] = enrolled
    faces["known"] = faces["identity"].isin(set(group.identities[gallery]))
    faces["probe"] = ~faces.groupby("photo")["enrolled"].transform("any")
    names = faces["identity"].where(faces["identity"] != "")
    alone = names.groupby(faces["photo"]).transform("nunique") == 1
    person = names.groupby(faces["photo"]).transform("first")
    return faces.assign(unit=person.where(alone, "photo " + faces["photo"]))


def open_set_detections(
    group: Group, found: Sequence[Sequence[Face]], gallery: NDArray[np.bool_]
) -> pd.DataFrame:
    """What a net finds in the photos of probes, named by the gallery's nearest embedding.

    A person is enrolled with the embedding of the detection that lies on their annotated face.

    Args:
        group, gallery: as for :func:`faces_of_photos`.
        found: per photo of the group's dataset the faces found, with embeddings.

    Returns:
        rows ``photo, score, predicted_identity, iou, identity`` as
        :func:`thesislib.metrics.identification.joint_open_set` takes them, and ``unit``, see
        :func:`faces_of_photos`.

    Raises:
        NotSupportedError: the net finds none of the faces that are to be enrolled.
    """
    faces = faces_of_photos(group, gallery)
    of_photo = dict(iter(faces.groupby("photo", sort=False)))
    answers = dict(zip(group.dataset.photos, found, strict=True))
    templates, owners = _templates(of_photo, answers)
    rows = []
    for photo, truth in of_photo.items():
        if not truth["probe"].all() or not answers[photo]:
            continue
        prediction = as_prediction(answers[photo])
        matched, overlap = match_greedy(
            prediction["boxes"], prediction["scores"], truth[BOX].to_numpy(float)
        )
        similarity = _embeddings(answers[photo]) @ templates.T
        for at, nearest in enumerate(similarity.argmax(axis=1)):
            face = truth.iloc[matched[at]]
            named = matched[at] >= 0 and overlap[at] >= MIN_IOU and face["known"]
            rows.append(
                (
                    photo,
                    float(similarity[at, nearest]),
                    owners[nearest],
                    float(overlap[at]),
                    face["identity"] if named else "",
                    truth["unit"].iloc[0],
                )
            )
    columns = ["photo", "score", "predicted_identity", "iou", "identity", "unit"]
    return pd.DataFrame(rows, columns=columns)


def _templates(
    of_photo: dict[str, pd.DataFrame], answers: dict[str, Sequence[Face]]
) -> tuple[NDArray[np.float32], list[str]]:
    """Embeddings [T, E] of the enrolled faces that were found, and whose they are."""
    templates, owners = [], []
    for photo, truth in of_photo.items():
        enrolled = truth[truth["enrolled"]]
        if not len(enrolled) or not answers[photo]:
            continue
        boxes = as_prediction(answers[photo])["boxes"]
        overlap = box_iou(boxes, enrolled[BOX].to_numpy(float))  # [found, enrolled]
        for at, name in enumerate(enrolled["identity"]):
            if overlap[:, at].max() >= MIN_IOU:
                templates.append(_embeddings(answers[photo])[overlap[:, at].argmax()])
                owners.append(name)
    if not templates:
        raise NotSupportedError("gallery: the net finds no face to enrol")
    return np.stack(templates), owners


def _embeddings(faces: Sequence[Face]) -> NDArray[np.float32]:
    return np.stack([face.embedding for face in faces if face.embedding is not None])


def open_set_in_photos(
    group: Group,
    found: Sequence[Sequence[Face]],
    gallery: NDArray[np.bool_],
    seed: int,
    draws: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """TPIR against FPIPI in whole photos.

    Args:
        group, found, gallery: as for :func:`open_set_detections`.
        seed: of the bootstrap over people.
        draws: of it.

    Returns:
        rows ``metric, value, low, high, n, achieved, trials`` (none if the rate is not supported;
        n and trials are the number of photos searched), and rows of the curve, see
        :func:`thesislib.experiments.embedding_measures.curves`.

    Raises:
        NotSupportedError: too few probes of enrolled people, or none of them can be enrolled.
    """
    detections = open_set_detections(group, found, gallery)
    faces = faces_of_photos(group, gallery)
    probes = faces[faces["probe"]].groupby("photo", sort=False)
    probes = probes.agg(unit=("unit", "first"), known=("known", "sum"))
    mated = int(probes["known"].sum())
    require_mated(mated)
    curve = joint_open_set(detections, mated, len(probes))
    drawn = thinned("joint_open_set", curve.fpipi, curve.tpir, MIN_EXPECTED_ERRORS / len(probes))
    try:
        point = tpir_at_fpipi(curve, FPIPI)
    except NotSupportedError:
        return pd.DataFrame(columns=["metric", "value", "low", "high", "n"]), drawn
    value = np.array([point.tpir, point.taken_for_another])
    ends = _interval(detections, probes, value, seed, draws)
    metrics = ["tpir_at_fpipi_1e1", "taken_for_another_at_fpipi_1e1"]
    rows = pd.DataFrame({"metric": metrics, "value": value, "low": ends[0], "high": ends[1]})
    rates = {"achieved": point.fpipi, "trials": len(probes)}
    return rows.assign(n=len(probes), **rates), drawn


def _interval(
    detections: pd.DataFrame,
    probes: pd.DataFrame,
    value: NDArray[np.float64],
    seed: int,
    draws: int,
) -> NDArray[np.float64]:
    """Lower and upper ends [2, 2] of 95 % intervals of both rates; NaN without draws."""
    units = probes["unit"].unique()
    size = probes.groupby("unit")["known"].agg(["sum", "size"]).loc[units].to_numpy()
    # A unit drawn twice counts twice: that is quicker than to copy its detections.
    ranked = detections.sort_values("score", ascending=False, kind="stable")
    owner = pd.Index(units).get_indexer(ranked["unit"])
    known = ((ranked["identity"] != "") & (ranked["iou"] >= MIN_IOU)).to_numpy()
    right = (ranked["identity"] == ranked["predicted_identity"]).to_numpy()
    kinds = np.stack([known & right, ~known, known & ~right])  # true, false, taken for another
    score = ranked["score"].to_numpy()
    points = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # the last of equal scores
    rng = seeds.generator(seed, "joint open set")
    values = []
    for _ in range(draws):
        times = np.bincount(rng.choice(len(units), len(units)), minlength=len(units))
        mated, photos = times @ size
        counted = times[owner]
        if not mated or not counted.any():
            continue
        accepted = np.cumsum(kinds * counted, axis=1)[:, points]
        true, false, taken = np.pad(accepted, ((0, 0), (1, 0)))  # nothing, to begin with
        # As ``operating_point``: of the points of the best TPIR, the one of lowest FPIPI.
        best = true[np.searchsorted(false / photos, FPIPI, side="right") - 1]
        values.append((best / mated, taken[np.searchsorted(true, best)] / mated))
    if not values:
        return np.full((2, 2), np.nan)
    # Shifted as the ends of ``person_bootstrap`` are, and for the same reason.
    ends = np.quantile(values, [0.025, 0.975], axis=0) + value - np.mean(values, axis=0)
    return np.clip(ends, 0, 1)
