"""Nuisance factors: how much similarity does a degree of pose, of light, or another session cost?

Synthetic people come with what no collection of photos has: the pose and the light of every
photo. Of other photos the pose is told from landmarks, and light and size from the pixels.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib.baselines.references import cut_out
from thesislib.data.columns import BOX, FACTOR
from thesislib.data.images import read_photo
from thesislib.engine.checkpoint import DEFAULT, load_net, net_file, start_hash
from thesislib.engine.predict import predict
from thesislib.experiments.config import shows_progress
from thesislib.faces import yaw_of
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.similarity import normalise
from thesislib.metrics.statistics import bootstrap_interval

_YAW_EDGES = np.array([0, 5, 10, 15, 20, 30, 40, 60, 120], float)  # degrees
_LIGHT_EDGES = np.array([0, 10, 20, 30, 45, 60, 90, 180], float)  # degrees
_BRIGHTNESS_EDGES = np.array([0, 10, 20, 30, 45, 60, 90, 256], float)  # of 255
_SIZE_EDGES = np.array([0, 32, 48, 64, 96, 128, 192, 10_000], float)  # pixels
_MIN_IOU = 0.5  # of a found face with the annotated one
_LIGHT = [f"{FACTOR}light_azimuth", f"{FACTOR}light_elevation"]
_COLUMNS = ["factor", "pairs", "low", "high", "mean", "interval_low", "interval_high", "n"]


def light_directions(faces: pd.DataFrame) -> NDArray[np.float64]:
    """Unit vectors [n, 3] to the light, from its azimuth and elevation in degrees."""
    azimuth, elevation = np.radians(faces[_LIGHT].to_numpy(float)).T
    across = np.cos(elevation)
    return np.stack([across * np.sin(azimuth), np.sin(elevation), across * np.cos(azimuth)], axis=1)


def landmarks_from() -> str | None:
    """Hash of the published net, whose landmarks tell the yaw; None where its file is missing."""
    return start_hash(DEFAULT) if net_file(DEFAULT).is_file() else None


def with_factors(folder: Path, faces: pd.DataFrame) -> pd.DataFrame:
    """Annotation rows with the factors that photos tell, where none were annotated.

    ``factor_yaw``, degrees, from the landmarks that the published net finds, NaN where it does not
    find the face; ``factor_brightness``, mean grey of the face, 0-255; ``factor_size``, pixels,
    root of its box's area. Without the net's file there is no yaw.

    Args:
        folder: of the photos.
        faces: annotation rows.
    """
    if any(name.startswith(FACTOR) for name in faces):
        return faces
    boxes = faces[BOX].to_numpy(float)
    size = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    names = list(dict.fromkeys(faces["photo"]))
    brightness, yaw = np.full((2, len(faces)), np.nan)
    found = None
    if landmarks_from() is not None:
        files = [folder / name for name in names]
        found = predict(load_net(DEFAULT), files, progress=shows_progress())
    for at, name in enumerate(names):
        own = np.flatnonzero(faces["photo"] == name)
        photo = read_photo(folder / name)
        brightness[own] = [cut_out(photo, boxes[row]).mean() for row in own]
        if found is not None and found[at]:
            overlap = box_iou(np.stack([face.box for face in found[at]]), boxes[own])
            points = np.stack([face.landmarks for face in found[at]])  # type: ignore[misc]
            told = yaw_of(points)[overlap.argmax(axis=0)]
            yaw[own] = np.where(overlap.max(axis=0) >= _MIN_IOU, told, np.nan)
    told_factors = {"brightness": brightness, "size": size}
    told_factors |= {"yaw": yaw} if found is not None else {}
    return faces.assign(**{f"{FACTOR}{name}": values for name, values in told_factors.items()})


def factor_differences(faces: pd.DataFrame) -> dict[str, tuple[NDArray, NDArray]]:
    """How much two faces differ in each factor that is known, and the bins it is shown in.

    Args:
        faces: annotation rows [n].

    Returns:
        by factor: differences float [n, n] (``yaw`` and ``light`` in degrees; ``brightness`` of
        255; ``session`` 0 for the same, 1 for another; ``size`` is no difference, but pixels of
        the smaller face) and the edges of the bins.
    """
    found = {}
    if f"{FACTOR}yaw" in faces:
        yaw = faces[f"{FACTOR}yaw"].to_numpy(float)
        found["yaw"] = (np.abs(yaw[:, None] - yaw), _YAW_EDGES)
    if set(_LIGHT) <= set(faces):
        light = light_directions(faces)
        angle = np.degrees(np.arccos(np.clip(light @ light.T, -1, 1)))
        found["light"] = (angle, _LIGHT_EDGES)
    if f"{FACTOR}brightness" in faces:
        grey = faces[f"{FACTOR}brightness"].to_numpy(float)
        found["brightness"] = (np.abs(grey[:, None] - grey), _BRIGHTNESS_EDGES)
    if f"{FACTOR}size" in faces:
        size = faces[f"{FACTOR}size"].to_numpy(float)
        found["size"] = (np.minimum(size[:, None], size), _SIZE_EDGES)
    session = faces["session"].fillna("").astype(str).to_numpy()
    if (session != "").all():
        found["session"] = ((session[:, None] != session).astype(float), np.array([0.0, 1, 2]))
    return found


def factors(embeddings: NDArray, faces: pd.DataFrame, seed: int, draws: int) -> pd.DataFrame:
    """Mean cosine of two faces against how much they differ in one factor.

    Pairs of one person are of two sessions, since two photos of one share more than that factor;
    the factor ``session`` alone counts those of one session too.

    Args:
        embeddings: float [n, E], without NaN.
        faces: their annotation rows.
        seed: of the bootstrap over people.
        draws: of it, at least 1.

    Returns:
        rows ``factor, pairs, low, high, mean, interval_low, interval_high, n``: ``pairs`` is
        ``intra`` (of one person) or ``inter``, n counts them. Inter-person pairs are very many
        and have no interval.
    """
    unit = normalise(embeddings)
    similarity = unit @ unit.T
    person = np.unique(faces["identity"].to_numpy(str), return_inverse=True)[1]
    pair = np.triu(np.ones_like(similarity, dtype=bool), 1)
    same = person[:, None] == person
    session = faces["session"].fillna("").astype(str).to_numpy()
    apart = (session[:, None] != session) | (session == "")
    rows = []
    for factor, (difference, edges) in factor_differences(faces).items():
        for low, high in itertools.pairwise(edges):
            within = pair & (difference >= low) & (difference < high)
            # What two people call their sessions does not make them one.
            others = pair & ~same if factor == "session" else within & ~same
            own = within & same if factor == "session" else within & same & apart
            for kind, chosen in (("intra", own), ("inter", others)):
                if not chosen.any():
                    continue
                values = similarity[chosen]
                interval = (np.nan, np.nan)
                if kind == "intra":
                    owner = np.broadcast_to(person[:, None], chosen.shape)[chosen]
                    interval = bootstrap_interval(values, groups=owner, seed=seed, draws=draws)
                rows.append((factor, kind, low, high, values.mean(), *interval, len(values)))
    return pd.DataFrame(rows, columns=_COLUMNS)
