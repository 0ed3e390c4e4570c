"""What users would pick instead of this project, as far as it is installed."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from thesislib.data.detector import detect_faces
from thesislib.data.transforms import warped
from thesislib.deploy.int8 import quietly
from thesislib.environment import dlib_file, require
from thesislib.faces import Face
from thesislib.models.backbone import Normalise
from thesislib.models.chips import chip_transforms
from thesislib.models.dlib_resnet import (
    CHIP_PX,
    EMBEDDING_DIM,
    dlib_recogniser,
    weights_file,
)


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


class DlibItself:
    """dlib's detector, landmarks, chips and recogniser, all by dlib: what one would install.

    Args:
        upsampling: of the detector.

    Raises:
        MissingExtraError: dlib, or the package with its weights, is not installed.
    """

    highest_score = float("inf")  # an SVM's margins
    embedding_dim = EMBEDDING_DIM

    def __init__(self, upsampling: int = 1) -> None:
        dlib = require("dlib", extra="dlib")
        landmarks = dlib_file("shape_predictor_5_face_landmarks.dat")
        self.rectangle = dlib.rectangle
        self.landmarks = dlib.shape_predictor(str(landmarks))
        self.net = dlib.face_recognition_model_v1(str(weights_file()))
        self.upsampling = upsampling

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.0
    ) -> list[list[Face]]:
        """Faces of decoded photos uint8 [H, W, 3], named by nobody; all that its detector finds."""
        return [self._faces(photo) for photo in photos]

    def _faces(self, photo: np.ndarray) -> list[Face]:
        boxes, scores = detect_faces(photo, self.upsampling)
        found = []
        for box, score in zip(boxes, scores.tolist(), strict=True):
            shape = self.landmarks(photo, self.rectangle(*box.round().astype(int).tolist()))
            vector = np.array(self.net.compute_face_descriptor(photo, shape), np.float32)
            found.append(Face(box, score, embedding=vector / np.linalg.norm(vector)))
        return found


class YunetDlib:
    """YuNet's boxes and landmarks, and dlib's recogniser on OpenVINO for the aligned chips: two
    networks' work, each at its fastest.

    Args:
        detector_file: YuNet's weights, ONNX.
        threads: of both.

    Attributes:
        engine: the recogniser's, as in :data:`thesislib.deploy.engines.ENGINES`.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        MissingExtraError: OpenVINO, or the package with dlib's weights, is not installed.
    """

    highest_score = 1.0
    embedding_dim = EMBEDDING_DIM

    def __init__(self, detector_file: Path, threads: int) -> None:
        import cv2

        ov = require("openvino", extra="deploy")
        cv2.setNumThreads(threads)
        self.detector = cv2.FaceDetectorYN.create(str(detector_file), "", (320, 320))
        net = nn.Sequential(Normalise.of("dlib"), dlib_recogniser()).eval()
        example = torch.zeros(1, 3, CHIP_PX, CHIP_PX, dtype=torch.uint8)
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        with quietly():
            model = ov.convert_model(net, example_input=example)
        core = ov.Core()
        self.net = core.compile_model(model, "CPU", settings)  # in bf16 where there is such a unit
        lowered = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.engine = "openvino_bf16" if lowered else "openvino"

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos uint8 [H, W, 3], named by nobody."""
        return [self._faces(photo, score_threshold) for photo in photos]

    def _faces(self, photo: np.ndarray, score_threshold: float) -> list[Face]:
        self.detector.setInputSize(photo.shape[1::-1])
        self.detector.setScoreThreshold(score_threshold)
        _, found = self.detector.detect(np.ascontiguousarray(photo[:, :, ::-1]))
        if found is None:
            return []
        points = torch.from_numpy(found[:, 4:14]).unflatten(1, (5, 2))
        image = Image.fromarray(photo)
        chips = [
            np.asarray(warped(image, transform.numpy(), CHIP_PX))
            for transform in chip_transforms(points)
        ]
        vectors = self.net(np.stack(chips).transpose(0, 3, 1, 2))[0]
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            Face(box, score, embedding=vector)
            for box, score, vector in zip(boxes, found[:, 14].tolist(), vectors, strict=True)
        ]


def yunet_dlib(folder: Path, threads: int) -> YunetDlib:
    """The pipeline with the weights ``*yunet*.onnx`` in a folder.

    Raises:
        FileNotFoundError: there are none.
        ModuleNotFoundError, MissingExtraError: see :class:`YunetDlib`.
    """
    files = sorted(folder.glob("*yunet*.onnx"))
    if not files:
        raise FileNotFoundError(f"{folder}: no *yunet*.onnx in it")
    return YunetDlib(files[0], threads)


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
