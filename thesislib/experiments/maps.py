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
        continuity`` and the columns of the factors.

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
            trust, continuity = trustworthiness_and_continuity(unit, at, neighbours)
            about = {"method": method, "map_seed": seed, "x": at[:, 0], "y": at[:, 1]}
            about |= {"trustworthiness": trust, "continuity": continuity}
            tables.append(faces[kept].assign(**about))
    # UMAP's compiled code raises the threads of every library that shares its OpenMP, PyTorch's
    # among them; a training after it would round otherwise, and on a busy machine crawl.
    torch.set_num_threads(threads)
    return pd.concat(tables, ignore_index=True)


def faithfulness(table: pd.DataFrame) -> pd.DataFrame:
    """Trustworthiness and continuity of each method: mean over the seeds, and their range.

    Args:
        table: of :func:`maps`.

    Returns:
        rows ``metric, value, low, high, n``, n the number of points of a map.
    """
    rows = []
    for method, own in table.groupby("method"):
        of_map = own.groupby("map_seed")
        for name in ("trustworthiness", "continuity"):
            values = of_map[name].first()
            n = int(of_map.size().iloc[0])
            rows.append((f"{name}_{method}", values.mean(), values.min(), values.max(), n))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])
