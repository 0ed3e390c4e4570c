"""What a gallery's threshold costs: strangers who get in, and people enrolled who are not named."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from thesislib.deploy.gallery import Gallery
from thesislib.deploy.threshold import published_rates
from thesislib.metrics.checks import NotSupportedError


def expected_errors(
    gallery: Gallery, thresholds: ArrayLike, strangers: ArrayLike | None = None
) -> pd.DataFrame:
    """Errors to be expected of a gallery, told by strangers and by the photos of the people
    enrolled, each compared with the others.

    Args:
        gallery: people enrolled, some of them by two photos or more.
        thresholds: [T] cosines.
        strangers: [n, E], embeddings of people none of whom is enrolled; None for those that the
            net was published with.

    Returns:
        rows ``threshold, fpir, fnir``: the share of strangers who are taken for somebody (of the
        published ones 1 - (1 - FMR)^people, NaN where the share FMR of matching pairs was not
        measured), and of photos of people enrolled that get no name or another's.

    Raises:
        NotSupportedError: nobody is enrolled by two photos, or nothing is known of strangers.
        ValueError: nobody is enrolled, or bad embeddings.
    """
    thresholds = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    own, others = _left_out(gallery)
    if not len(own):
        raise NotSupportedError("gallery: nobody is enrolled by two photos or more")
    if strangers is None:
        fpir = _of_published_strangers(gallery, thresholds)
    else:
        best = gallery.search(strangers)[1][:, 0]
        fpir = (best >= thresholds[:, None]).mean(axis=1)
    right = (own >= thresholds[:, None]) & (own > others)
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "fpir": fpir,
            "fnir": 1 - right.mean(axis=1),
        }
    )


def _of_published_strangers(gallery: Gallery, thresholds: np.ndarray) -> np.ndarray:
    """Share of them who are taken for somebody at each threshold."""
    rates = published_rates(gallery.model)
    if rates is None:
        raise NotSupportedError("gallery: nothing is known of strangers to its net")
    matching = np.exp(
        np.interp(
            thresholds,
            rates["threshold"].to_numpy(float),
            np.log(rates["false_match_rate"].to_numpy(float)),
            left=np.nan,
            right=np.nan,
        )
    )
    return 1 - (1 - matching) ** len(gallery.identities)


def _left_out(gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
    """Highest cosines of each photo of who has several: to the person's others, and to the rest."""
    names = np.array(gallery.templates.names, dtype=object)
    if not len(names):
        raise ValueError("the gallery is empty: enrol somebody first")
    cosines = np.asarray(gallery.templates.vectors, dtype=np.float64)
    cosines = cosines @ cosines.T
    np.fill_diagonal(cosines, -np.inf)
    same = names[:, None] == names
    own = np.where(same, cosines, -np.inf).max(axis=1)
    others = np.where(same, -np.inf, cosines).max(axis=1)
    several = np.isfinite(own)
    return own[several], others[several]
