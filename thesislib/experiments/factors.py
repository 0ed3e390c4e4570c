"""Nuisance factors: how much similarity does a degree of pose, of light, or another session cost?

Synthetic people come with what no collection of photos has: the pose and the light of every
photo.
"""

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib.data.columns import FACTOR
from thesislib.metrics.similarity import normalise
from thesislib.metrics.statistics import bootstrap_interval

_YAW_EDGES = np.array([0, 5, 10, 15, 20, 30, 40, 60, 120], float)  # degrees
_LIGHT_EDGES = np.array([0, 10, 20, 30, 45, 60, 90, 180], float)  # degrees
_LIGHT = [f"{FACTOR}light_azimuth", f"{FACTOR}light_elevation"]
_COLUMNS = ["factor", "pairs", "low", "high", "mean", "interval_low", "interval_high", "n"]


def light_directions(faces: pd.DataFrame) -> NDArray[np.float64]:
    """Unit vectors [n, 3] to the light, from its azimuth and elevation in degrees."""
    azimuth, elevation = np.radians(faces[_LIGHT].to_numpy(float)).T
    across = np.cos(elevation)
    return np.stack([across * np.sin(azimuth), np.sin(elevation), across * np.cos(azimuth)], axis=1)


def factor_differences(faces: pd.DataFrame) -> dict[str, tuple[NDArray, NDArray]]:
    """How much two faces differ in each factor that is known, and the bins it is shown in.

    Args:
        faces: annotation rows [n].

    Returns:
        by factor: differences float [n, n] (``yaw`` and ``light`` in degrees; ``session`` 0 for
        the same, 1 for another) and the edges of the bins.
    """
    found = {}
    if f"{FACTOR}yaw" in faces:
        yaw = faces[f"{FACTOR}yaw"].to_numpy(float)
        found["yaw"] = (np.abs(yaw[:, None] - yaw), _YAW_EDGES)
    if set(_LIGHT) <= set(faces):
        light = light_directions(faces)
        angle = np.degrees(np.arccos(np.clip(light @ light.T, -1, 1)))
        found["light"] = (angle, _LIGHT_EDGES)
    session = faces["session"].fillna("").astype(str).to_numpy()
    if (session != "").all():
        found["session"] = ((session[:, None] != session).astype(float), np.array([0.0, 1, 2]))
    return found


def factors(embeddings: NDArray, faces: pd.DataFrame, seed: int, draws: int) -> pd.DataFrame:
    """Mean cosine of two faces against how much they differ in one factor.

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
    rows = []
    for factor, (difference, edges) in factor_differences(faces).items():
        for low, high in itertools.pairwise(edges):
            within = pair & (difference >= low) & (difference < high)
            # What two people call their sessions does not make them one.
            others = pair & ~same if factor == "session" else within & ~same
            for kind, chosen in (("intra", within & same), ("inter", others)):
                if not chosen.any():
                    continue
                values = similarity[chosen]
                interval = (np.nan, np.nan)
                if kind == "intra":
                    owner = np.broadcast_to(person[:, None], chosen.shape)[chosen]
                    interval = bootstrap_interval(values, groups=owner, seed=seed, draws=draws)
                rows.append((factor, kind, low, high, values.mean(), *interval, len(values)))
    return pd.DataFrame(rows, columns=_COLUMNS)
