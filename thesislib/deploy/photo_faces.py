"""The faces of a folder of photos, found once and named by one gallery after another."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib.data.columns import BOX
from thesislib.deploy.clusters import clusters
from thesislib.deploy.gallery import Gallery
from thesislib.deploy.quality import LEAST_PX
from thesislib.engine.predict import System, photos_in, predict


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoFaces:
    """Faces found in photos.

    Attributes:
        photos: the folder.
        table: a row per face, ``photo`` (path below the folder), ``x1, y1, x2, y2`` (pixels),
            ``score``.
        embeddings: float32 [n, E], row by row.
    """

    photos: Path
    table: pd.DataFrame
    embeddings: NDArray[np.float32]

    @classmethod
    def find(
        cls,
        net: System,
        photos: Path | str,
        score_threshold: float = 0.5,
        out: Path | str | None = None,
        progress: bool = False,
    ) -> "PhotoFaces":
        """Find the faces of a folder of photos.

        Args:
            net: what finds them and gives their embeddings.
            photos: the folder.
            score_threshold, out, progress: as for :func:`thesislib.engine.predict.predict`.

        Raises:
            ValueError: no photos in it, or no face in any of them.
        """
        photos = Path(photos)
        found = predict(net, photos, score_threshold, out=out, progress=progress)
        names = [path.relative_to(photos).as_posix() for path in photos_in(photos)]
        rows, embeddings = [], []
        for photo, faces in zip(names, found, strict=True):
            for face in faces:
                rows.append((photo, *face.box.tolist(), face.score))
                embeddings.append(face.embedding)
        if not rows:
            raise ValueError(f"{photos}: no face in {len(names)} photos")
        vectors: Any = embeddings
        return cls(photos, pd.DataFrame(rows, columns=["photo", *BOX, "score"]), np.stack(vectors))

    def named(self, gallery: Gallery) -> pd.DataFrame:
        """The table with the names of people enrolled, and who else is the same person.

        Args:
            gallery: of the net that found the faces.

        Returns:
            besides, ``name`` ("" for nobody), ``name_score`` and, of nobody, ``group``, a number
            for each person (:func:`thesislib.deploy.clusters.clusters`; of faces that are small
            one each); of people enrolled -1.

        Raises:
            ValueError: nobody is enrolled.
        """
        name = np.full(len(self.table), "", dtype=object)
        score = np.zeros(len(self.table))
        for at in self.table.groupby("photo").indices.values():
            name[at], score[at] = gallery.identify_together(self.embeddings[at])
        nobody = name == ""
        group = np.full(len(self.table), -1, dtype=np.int64)
        # Small faces are like each other, whoever they are: each of them is somebody else.
        x1, y1, x2, y2 = self.table[BOX].to_numpy(float).T
        large = nobody & (np.sqrt((x2 - x1) * (y2 - y1)) >= LEAST_PX)
        photos = self.table["photo"][large]
        group[large] = clusters(self.embeddings[large], gallery.threshold, photos)
        small = nobody & ~large
        group[small] = group.max() + 1 + np.arange(small.sum())
        return self.table.assign(name=name, name_score=score, group=group)
