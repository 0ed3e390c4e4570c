"""The two-stage baseline: dlib's frontal face detector, then a ResNet that names the person."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from thesislib.data.columns import BOX
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.data.loading import Photo
from thesislib.data.transforms import cut_face
from thesislib.engine.systems import System, _scaled
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    box_iou,
    fit_box_calibration,
)
from thesislib.metrics.matching import match_greedy
from thesislib.models.face_classifier import FaceClassifier


class TwoStage(System):
    """dlib's detector, then a classifier of the photo or of each detected face.

    Args:
        classifier: trained; put into evaluation mode.
        sees: ``"photo"``: the classifier names the whole photo once, as in the thesis;
            ``"face"``: it names each detected face, as a real pipeline would.
        input_px: side of what the classifier sees (shorter side for a photo).
        upsampling: of the detector.
        calibration: fitted on training photos; faces are cut out along the calibrated box.
    """

    def __init__(
        self,
        classifier: FaceClassifier,
        sees: str,
        input_px: int,
        upsampling: int,
        calibration: BoxCalibration,
    ) -> None:
        if sees not in ("photo", "face"):
            raise ValueError(f"sees must be 'photo' or 'face', not {sees!r}")
        self.name = f"two_stage_{sees}"
        self.classifier = classifier.eval()
        weight = next(classifier.parameters(), None)  # one on an engine has none
        self.device = torch.device("cpu") if weight is None else weight.device
        self.sees, self.input_px = sees, input_px
        self.upsampling, self.calibration = upsampling, calibration
        self.stages = [
            ("detector", self._detect),
            ("preprocess", self._preprocess),
            ("classifier", self._classify),
        ]

    def _detect(self, photo: np.ndarray):
        return photo, *detect_faces(photo, self.upsampling)

    def _cut(self, photo: np.ndarray, boxes: np.ndarray) -> torch.Tensor:
        """What the classifier sees for these boxes: [1 or D, 3, h, w]."""
        if self.sees == "photo":
            return _scaled(photo, self.input_px, self.device)[None]
        tensor = torch.from_numpy(photo).permute(2, 0, 1).to(self.device)
        return torch.stack([cut_face(tensor, box, self.input_px, FACE_MARGIN) for box in boxes])

    def _preprocess(self, state):
        photo, boxes, scores = state
        if not len(boxes):
            return boxes, scores, None
        calibrated = apply_box_calibration(boxes, self.calibration)
        return boxes, scores, self._cut(photo, calibrated)

    @torch.inference_mode()
    def _names(self, inputs: torch.Tensor) -> list[str]:
        found = self.classifier(inputs).argmax(dim=1).tolist()
        return [self.classifier.identities[at] for at in found]

    def _classify(self, state) -> dict:
        boxes, scores, inputs = state
        names = self._names(inputs) if inputs is not None else []
        if self.sees == "photo" and names:
            names = names * len(boxes)
        return {"boxes": boxes, "scores": scores, "identities": names}

    def identify_at(self, photo: np.ndarray, boxes: np.ndarray) -> list[str]:
        """Identities for given boxes [F, 4]: the upper bound of perfect detection."""
        names = self._names(self._cut(photo, boxes))
        return names * len(boxes) if self.sees == "photo" else names


# The face is cut out with this much around its box: hair line and ears help, the room does not.
FACE_MARGIN = 1.3


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
