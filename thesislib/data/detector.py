"""dlib's frontal face detector, in one photo and in many."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from thesislib import environment
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo

_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
DETECTION_COLUMNS = ["photo", "score", *BOX]
_of_thread = threading.local()  # a detector must not be used by two threads at a time


def _detector() -> Any:
    if not hasattr(_of_thread, "detector"):
        dlib = environment.require("dlib", extra="dlib")
        _of_thread.detector = dlib.get_frontal_face_detector()
    return _of_thread.detector


def detect_faces(
    photo: np.ndarray, upsampling: int, threshold: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Faces that dlib's HOG detector (King 2015) finds.

    Args:
        photo: uint8 [H, W, 3] RGB.
        upsampling: how often the photo is doubled before the search (80 px is the smallest face
            found at 0, 40 px at 1).
        threshold: of the SVM's margin; dlib's own is 0.

    Returns:
        boxes float32 [D, 4] pixels and scores float32 [D] (margins above the threshold), best
        first.

    Raises:
        MissingExtraError: dlib is not installed.
    """
    rectangles, scores, _ = _detector().run(np.ascontiguousarray(photo), upsampling, threshold)
    boxes = [[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in rectangles]
    order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    return (
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order],
        np.asarray(scores, dtype=np.float32)[order],
    )


def dlib_points(photo: np.ndarray, box: np.ndarray) -> np.ndarray:
    """dlib's five landmarks of a face: corners of the eyes and the base of the nose.

    Args:
        photo: uint8 [H, W, 3] RGB.
        box: [4] pixels, framed as dlib's detector frames a face.

    Returns:
        float32 [5, 2], x and y in pixels: outer and inner corner of the eye on the right of the
        photo, of the one on the left, and the nose (Kazemi & Sullivan 2014).

    Raises:
        MissingExtraError: dlib or its file of landmarks is not installed.
    """
    dlib = environment.require("dlib", extra="dlib")
    if not hasattr(_of_thread, "predictor"):
        _of_thread.predictor = dlib.shape_predictor(str(environment.dlib_file(_LANDMARKS)))
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    found = _of_thread.predictor(np.ascontiguousarray(photo), dlib.rectangle(x1, y1, x2, y2))
    # dlib counts from the middle of the first pixel.
    return np.array([[point.x + 0.5, point.y + 0.5] for point in found.parts()], np.float32)


def detections_table(
    folder: Path | str,
    photos: Sequence[str],
    upsampling: int,
    threshold: float = 0.0,
    progress: bool = True,
) -> pd.DataFrame:
    """dlib's detections in many photos.

    Threads share the photos: dlib leaves Python to others while it searches, and, unlike a fork,
    a thread is safe beside PyTorch and needs no guarded script.

    Args:
        folder: of the dataset.
        photos: paths relative to it.
        upsampling, threshold: as in :func:`detect_faces`.
        progress: show a bar.

    Returns:
        one row per detection: ``photo, score, x1, y1, x2, y2``; photos in the order given, of
        each the best first.

    Raises:
        PhotoError: a photo cannot be read; the message names it.
        MissingExtraError: dlib is not installed.
    """
    folder = Path(folder)

    def detect(photo: str) -> tuple[np.ndarray, np.ndarray]:
        return detect_faces(read_photo(folder / photo), upsampling, threshold)

    rows: list[list[object]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(detect, photos)
        bar = tqdm(found, total=len(photos), desc="dlib", unit="photo", disable=not progress)
        for photo, (boxes, scores) in zip(photos, bar, strict=True):
            rows += [
                [photo, s, *box] for s, box in zip(scores.tolist(), boxes.tolist(), strict=True)
            ]
    return pd.DataFrame(rows, columns=DETECTION_COLUMNS)
