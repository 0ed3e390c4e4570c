"""Embeddings of annotated faces: where a face lies is given, so that only its embedding counts."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.engine.predict import CHUNK
from thesislib.engine.processes import share_out


class Embedder(Protocol):
    """What gives embeddings of faces at given boxes."""

    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Per photo embeddings float32 [F, E], NaN where there is none, at boxes [F, 4]."""
        ...


def embed(system: Embedder, dataset: Dataset, progress: bool = False) -> np.ndarray:
    """Embeddings of all annotated faces of a dataset.

    Args:
        system: a joint net, which reads the whole photo, or a pipeline, whose classifier sees the
            face cut out.
        dataset: photos and boxes.
        progress: show a bar.

    Returns:
        float32 [F, E], not normalised, in the order of :func:`annotated_faces`; NaN where the
        net's grid has no place for a face.
    """
    faces = annotated_faces(dataset)
    boxes = {
        name: rows[BOX].to_numpy(np.float32) for name, rows in faces.groupby("photo", sort=False)
    }
    names = list(boxes)

    def of_chunk(start: int) -> np.ndarray:
        chosen = names[start : start + CHUNK]
        photos = [read_photo(dataset.folder / name) for name in chosen]
        return np.concatenate(system.embeddings_at(photos, [boxes[name] for name in chosen]))

    starts = range(0, len(names), CHUNK)
    with tqdm(total=len(starts), desc="embedding", unit="batch", disable=not progress) as bar:
        return np.concatenate(share_out(starts, of_chunk, bar))


def annotated_faces(dataset: Dataset) -> pd.DataFrame:
    """Annotation rows of a dataset's faces, photo by photo, numbered from 0."""
    faces = dataset.table[dataset.table["x1"].notna()]
    order = faces["photo"].map({name: at for at, name in enumerate(dataset.photos)})
    return faces.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
