"""What users would pick instead of this project, as far as it is installed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np


def peers(folder: Path | None) -> dict[str, Callable]:
    """What users would pick instead, as far as it is installed and its weights are at hand.

    OpenCV's YuNet (Wu et al. 2023) finds faces and SFace (Zhong et al. 2021) embeds each;
    facenet-pytorch's MTCNN (Zhang et al. 2016) finds faces only. Neither
    knows the dataset's people.

    Args:
        folder: with OpenCV's ``face_detection_yunet*.onnx`` and ``face_recognition_sface*.onnx``;
            None for no peers. Of each peer that is left out it is printed why.

    Returns:
        functions from a photo uint8 [H, W, 3] to an answer with ``boxes`` and ``scores``.
    """
    if folder is None:
        return {}
    found: dict[str, Callable] = {}
    if importlib.util.find_spec("cv2") is None:
        print("peer yunet_sface: opencv-python is not installed; left out")
    else:
        names = [f"{name}*.onnx" for name in ("face_detection_yunet", "face_recognition_sface")]
        files = [sorted(folder.glob(name)) for name in names]
        if all(files):
            found["yunet_sface"] = _yunet_sface(*(matching[0] for matching in files))
        else:
            print(f"peer yunet_sface: no {' and '.join(names)} in {folder}; left out")
    if importlib.util.find_spec("facenet_pytorch") is None:
        print("peer mtcnn: facenet-pytorch is not installed; left out")
    else:
        found["mtcnn"] = _mtcnn()
    return found


def _yunet_sface(detector_file: Path, recogniser_file: Path) -> Callable:
    import cv2

    detector = cv2.FaceDetectorYN.create(str(detector_file), "", (320, 320))
    recogniser = cv2.FaceRecognizerSF.create(str(recogniser_file), "")

    def system(photo: np.ndarray) -> dict:
        bgr = np.ascontiguousarray(photo[:, :, ::-1])
        detector.setInputSize(photo.shape[1::-1])
        _, faces = detector.detect(bgr)
        faces = np.zeros((0, 15), np.float32) if faces is None else faces
        for face in faces:
            recogniser.feature(recogniser.alignCrop(bgr, face))
        boxes = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1)
        return {"boxes": boxes, "scores": faces[:, 14], "identities": [""] * len(faces)}

    return system


def _mtcnn() -> Callable:
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True)

    def system(photo: np.ndarray) -> dict:
        boxes, scores = detector.detect(photo)
        boxes = np.zeros((0, 4)) if boxes is None else boxes
        scores = np.zeros(0) if len(boxes) == 0 else scores
        return {"boxes": boxes, "scores": scores, "identities": [""] * len(boxes)}

    return system
