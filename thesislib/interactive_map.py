"""An interactive map of embeddings: one HTML file that needs no network."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd


def write(
    map_table: pd.DataFrame,
    path: Path | str,
    thumbnails: Mapping[str, np.ndarray] | None = None,
    title: str = "Embeddings",
) -> Path:
    """Write the map as HTML; the same table and thumbnails give the same bytes.

    A point shows its face, where there are thumbnails, and its row when the pointer is on it. One
    chooses the map (method, seed) and what colours it.

    Args:
        map_table: ``experiment3_map.csv`` of one dataset and arm: ``method, map_seed, photo,
            identity, people, x, y`` and, if known, ``factor_yaw, factor_light_azimuth`` (degrees)
            and ``session``.
        path: of the HTML file.
        thumbnails: photo to uint8 [h, w, 3] RGB; of people who do not exist, for the file holds
            them.
        title: above the map.

    Returns:
        ``path``.

    Raises:
        ValueError: no rows; several datasets, profiles or arms; a photo that a map lacks.
    """
    raise NotImplementedError
