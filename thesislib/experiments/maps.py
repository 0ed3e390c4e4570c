"""Maps of embeddings by UMAP and t-SNE: illustrations, each with how far to trust it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from thesislib.data.columns import FACTOR
from thesislib.environment import require
from thesislib.metrics.projection import trustworthiness_and_continuity
from thesislib.metrics.similarity import normalise

MAP_SEEDS = (0, 1)
NEIGHBOURS = 15
PERPLEXITY = 30


def maps(
    embeddings: NDArray, faces: pd.DataFrame, map_seeds: Iterable[int] = MAP_SEEDS
) -> pd.DataFrame:
    """UMAP and t-SNE maps of embeddings.

    Args:
        embeddings: float [n, E], without NaN.
        faces: [n] annotation rows with a column ``people``.
        map_seeds: each gives a map of either method.

    Returns:
        rows ``method, map_seed, photo, identity, session, people, x, y, trustworthiness,
        continuity`` (of the group's points alone) and the columns of the factors.

    Raises:
        MissingExtraError: the extra ``maps`` is not installed.

    UMAP: McInnes et al. 2018; t-SNE: van der Maaten & Hinton 2008, as openTSNE computes it
    (Poličar et al. 2019), which gives the same map with any number of threads.
    """
    tsne, umap = require("openTSNE", extra="maps"), require("umap", extra="maps")
    unit = normalise(embeddings)
    n = len(unit)
    neighbours = min(NEIGHBOURS, (n - 1) // 2)
    kept = ["photo", "identity", "session", "people"]
    kept += [name for name in faces.columns if name.startswith(FACTOR)]
    tables = []
    threads = torch.get_num_threads()
    for seed in map_seeds:
        same_again = {"metric": "cosine", "random_state": seed, "n_jobs": 1}
        by_umap = umap.UMAP(n_neighbors=neighbours, **same_again)
        by_tsne = tsne.TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), **same_again)
        for method, draw in (("umap", by_umap.fit_transform), ("tsne", by_tsne.fit)):
            at = np.asarray(draw(unit), dtype=np.float64)
            about = {"method": method, "map_seed": seed, "x": at[:, 0], "y": at[:, 1]}
            tables.append(faces[kept].assign(**about, **_trust(unit, at, faces["people"])))
    # UMAP's compiled code raises the threads of every library that shares its OpenMP, PyTorch's
    # among them; a training after it would round otherwise, and on a busy machine crawl.
    torch.set_num_threads(threads)
    return pd.concat(tables, ignore_index=True)


def _trust(
    unit: NDArray[np.float64], at: NDArray[np.float64], people: pd.Series
) -> dict[str, NDArray[np.float64]]:
    """Trustworthiness and continuity of the map of each group by itself, [n] each."""
    found = {name: np.full(len(unit), np.nan) for name in ("trustworthiness", "continuity")}
    for group in people.unique():
        own = (people == group).to_numpy()
        neighbours = min(NEIGHBOURS, (int(own.sum()) - 1) // 2)
        if neighbours:
            values = trustworthiness_and_continuity(unit[own], at[own], neighbours)
            for name, value in zip(found, values, strict=True):
                found[name][own] = value
    return found


def faithfulness(table: pd.DataFrame) -> pd.DataFrame:
    """Trustworthiness and continuity of each method and group of people: means over map seeds.

    No interval: how maps of several seeds differ says nothing of other people. Each seed's is in
    the table of the maps.

    Args:
        table: of :func:`maps`.

    Returns:
        rows ``people, metric, value, low, high, n``, n the number of the group's points of a map.
    """
    rows = []
    for (method, people), own in table.groupby(["method", "people"]):
        of_map = own.groupby("map_seed")
        for name in ("trustworthiness", "continuity"):
            value, n = of_map[name].first().mean(), int(of_map.size().iloc[0])
            if np.isfinite(value):
                rows.append((people, f"{name}_{method}", value, np.nan, np.nan, n))
    return pd.DataFrame(rows, columns=["people", "metric", "value", "low", "high", "n"])
