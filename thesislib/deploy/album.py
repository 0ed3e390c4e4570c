"""The faces of a folder of photos as an album shows them: by person, named or not."""

from pathlib import Path

import numpy as np
import pandas as pd

from thesislib.data.columns import BOX
from thesislib.deploy.clusters import clusters
from thesislib.deploy.gallery import Gallery
from thesislib.engine.predict import photos_in


def faces_of_album(
    gallery: Gallery,
    photos: Path | str,
    score_threshold: float = 0.5,
    out: Path | str | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Find the faces of a folder of photos, name those of people enrolled, and put the others
    together by person.

    Args:
        gallery: who may be in them.
        photos: the folder.
        score_threshold, out, progress: as for :func:`thesislib.engine.predict.predict`.

    Returns:
        rows ``photo, x1, y1, x2, y2, score, name, name_score, group``, see
        :func:`thesislib.reporting.album.write`; of people enrolled the group is -1.

    Raises:
        ValueError: no photos, or nobody is enrolled.
    """
    photos = Path(photos)
    found = gallery.recognise(photos, score_threshold, out=out, progress=progress)
    names = [path.relative_to(photos).as_posix() for path in photos_in(photos)]
    rows, embeddings = [], []
    for photo, faces in zip(names, found, strict=True):
        for face in faces:
            rows.append((photo, *face.box.tolist(), face.score, face.name, face.name_score))
            embeddings.append(face.embedding)
    table = pd.DataFrame(rows, columns=["photo", *BOX, "score", "name", "name_score"])
    nobody = (table["name"] == "").to_numpy(bool)
    group = np.full(len(table), -1, dtype=np.int64)
    if nobody.any():
        vectors = np.stack(embeddings)[nobody]  # type: ignore[arg-type]
        group[nobody] = clusters(vectors, gallery.threshold, table["photo"][nobody])
    return table.assign(group=group)
