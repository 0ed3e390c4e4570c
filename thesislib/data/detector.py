"""dlib's frontal face detector, and its detections in many photos kept on disk."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import dlib
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo

DETECTION_COLUMNS = ["photo", "score", *BOX]


@cache
def _detector():
    return dlib.get_frontal_face_detector()


def detect_faces(photo: np.ndarray, upsampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces that dlib's HOG detector (King 2015) finds.

    Args:
        photo: uint8 [H, W, 3] RGB.
        upsampling: how often the photo is doubled before the search (80 px is the smallest face
            found at 0, 40 px at 1).

    Returns:
        boxes float32 [D, 4] pixels and scores float32 [D] (SVM margin, > 0), best first.
    """
    rectangles, scores, _ = _detector().run(np.ascontiguousarray(photo), upsampling, 0.0)
    boxes = [[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in rectangles]
    order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    return (
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order],
        np.asarray(scores, dtype=np.float32)[order],
    )


def _detect_file(job: tuple[Path, int]) -> tuple[np.ndarray, np.ndarray]:
    path, upsampling = job
    return detect_faces(read_photo(path), upsampling)


def detections_table(
    folder: Path, photos: Sequence[str], upsampling: int, path: Path, progress: bool = True
) -> pd.DataFrame:
    """dlib's detections in many photos, kept in a CSV file from one call to the next.

    Args:
        folder: of the dataset.
        photos: paths relative to it.
        upsampling: as :func:`detect_faces`.
        path: where the table is kept; it is made when not there.
        progress: show a bar.

    Returns:
        one row a detection: ``photo, score, x1, y1, x2, y2``.
    """
    if path.exists():
        return pd.read_csv(path)
    jobs = [(folder / photo, upsampling) for photo in photos]
    rows = []
    with ProcessPoolExecutor() as pool:
        found = pool.map(_detect_file, jobs, chunksize=8)
        bar = tqdm(found, total=len(jobs), desc="dlib", unit="photo", disable=not progress)
        for photo, (boxes, scores) in zip(photos, bar, strict=True):
            rows += [
                [photo, float(score), *map(float, box)]
                for box, score in zip(boxes, scores, strict=True)
            ]
    table = pd.DataFrame(rows, columns=DETECTION_COLUMNS)
    with storage.atomic_write(path) as aside:
        table.to_csv(aside, index=False)
    return table
