"""The two-stage baseline: dlib's frontal face detector, then a ResNet that names the person."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import dlib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from thesislib import storage
from thesislib.data.dataset import BOX
from thesislib.data.loader import PADDING, Photo
from thesislib.data.photos import read_photo
from thesislib.metrics import (
    BoxCalibration,
    apply_box_calibration,
    box_iou,
    fit_box_calibration,
    match_greedy,
)

# The face is cut out with this much around its box: hair line and ears help, the room does not.
FACE_MARGIN = 1.3
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
    with storage.written_aside(path) as aside:
        table.to_csv(aside, index=False)
    return table


def calibrate(detections: pd.DataFrame, photos: Sequence[Photo]) -> BoxCalibration:
    """Four numbers that turn dlib's idea of a face box into the dataset's, from training photos.

    Raises:
        ValueError: dlib found none of the faces.
    """
    found = dict(list(detections.groupby("photo")))
    detected, truth = [], []
    for photo in photos:
        if photo.name not in found or not len(photo.boxes):
            continue
        rows = found[photo.name]
        boxes = rows[BOX].to_numpy(np.float32)
        matched, _ = match_greedy(boxes, rows["score"].to_numpy(), photo.boxes.numpy())
        detected += list(boxes[matched >= 0])
        truth += list(photo.boxes.numpy()[matched[matched >= 0]])
    if not detected:
        raise ValueError("box calibration: dlib found no annotated face in the training photos")
    return fit_box_calibration(np.asarray(detected), np.asarray(truth))


def cut_face(photo: torch.Tensor, box: np.ndarray, size: int, margin: float) -> torch.Tensor:
    """Square of ``margin`` times the box's longer side around its centre, resized.

    Args:
        photo: uint8 [3, H, W].
        box: [4] pixels.
        size: side of the result in pixels.
        margin: > 0; where the square leaves the photo it is padded.

    Returns:
        uint8 [3, size, size].
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    side = max(2, round(margin * max(x2 - x1, y2 - y1)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    height, width = photo.shape[1:]
    inside = photo[:, max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    pad = (max(0, -left), max(0, left + side - width), max(0, -top), max(0, top + side - height))
    square = F.pad(inside, pad, value=PADDING)[:, :side, :side]
    return resize(square, (size, size))


def resize(photo: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, antialiased: uint8 [3, H, W] to uint8 [3, *size]."""
    if tuple(photo.shape[1:]) == tuple(size):
        return photo
    return F.interpolate(photo[None], size=size, mode="bilinear", antialias=True)[0]


class FaceStore:
    """Detected faces of the training photos, cut out, in the place of whole photos.

    Where dlib missed the face the annotated box is used, so that both systems train on the same
    photos. Attributes ``photos`` (their annotations, one face filling each) and ``store[i]`` fit
    :class:`~thesislib.data.loader.Crops`.
    """

    def __init__(
        self,
        folder: Path,
        photos: Sequence[Photo],
        detections: pd.DataFrame,
        calibration: BoxCalibration,
        size: int,
        progress: bool = True,
    ) -> None:
        found = {name: rows[BOX].to_numpy(np.float32) for name, rows in detections.groupby("photo")}
        self.photos: list[Photo] = []
        self.faces: list[torch.Tensor] = []
        for photo in tqdm(photos, desc="cutting faces", unit="photo", disable=not progress):
            pixels = torch.from_numpy(read_photo(folder / photo.name)).permute(2, 0, 1)
            for truth, identity in zip(photo.boxes, photo.identities, strict=True):
                box = truth.numpy()
                if photo.name in found:
                    candidates = apply_box_calibration(found[photo.name], calibration)
                    overlap = box_iou(candidates, truth.numpy()[None])[:, 0]
                    if overlap.max() >= 0.5:
                        box = candidates[overlap.argmax()]
                self.faces.append(cut_face(pixels, box, size, FACE_MARGIN))
                self.photos.append(
                    Photo(
                        name=photo.name,
                        boxes=torch.tensor([[0.0, 0.0, size, size]]),
                        identities=identity[None],
                        size=(size, size),
                    )
                )

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, at: int) -> torch.Tensor:
        return self.faces[at]
