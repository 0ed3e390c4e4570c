"""What users would pick instead of this project, as far as it is installed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from thesislib.baselines.detector_settings import framing_of
from thesislib.baselines.references import NearestNames
from thesislib.data.detector import DETECTION_COLUMNS, detect_faces
from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import Dataset
from thesislib.data.transforms import warped
from thesislib.deploy.int8 import quietly
from thesislib.engine.timing import Stages
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
        return one_by_one(self.stages_at(score_threshold), photos)

    def stages_at(self, score_threshold: float) -> Stages:
        """The work on one photo, see :func:`thesislib.benchmarks.systems.stages_of`."""

        def detect(photo: np.ndarray) -> tuple:
            self.detector.setInputSize(photo.shape[1::-1])
            self.detector.setScoreThreshold(score_threshold)
            _, found = self.detector.detect(np.ascontiguousarray(photo[:, :, ::-1]))
            return photo, np.zeros((0, 15), np.float32) if found is None else found

        return [("detector", detect), ("preprocess", self._align), ("network", self._embed)]

    def _align(self, state: tuple) -> tuple:
        photo, found = state
        points = torch.from_numpy(found[:, 4:14]).unflatten(1, (5, 2))
        image = Image.fromarray(photo)
        transforms = chip_transforms(points).numpy()
        return found, [np.asarray(warped(image, one, CHIP_PX)) for one in transforms]

    def _embed(self, state: tuple) -> list[Face]:
        found, chips = state
        if not chips:
            return []
        vectors = self.net(np.stack(chips).transpose(0, 3, 1, 2))[0]
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            Face(box, score, embedding=vector)
            for box, score, vector in zip(boxes, found[:, 14].tolist(), vectors, strict=True)
        ]


class Enrolled:
    """A system that knows nobody, once people are enrolled: each face has the name of the nearest
    class mean.

    Args:
        system: has ``stages_at``, and its faces embeddings.
        train: portraits of the people; the best face of each, if one is found, is enrolled.

    Attributes:
        engine: the system's.
        calibration: from the system's framing of a face to the dataset's.

    Raises:
        ValueError: a face is found in none of the portraits.
    """

    def __init__(self, system: Any, train: Dataset) -> None:
        self.system, self.engine = system, system.engine
        photos = list_photos(train, train.identities)
        vectors, names, detections = [], [], []
        for photo in photos:
            (faces,) = system.predict_arrays([read_photo(train.folder / photo.name)])
            for face in faces[:1]:
                vectors.append(face.embedding)
                names.append(train.identities[int(photo.identities[0])])
                detections.append([photo.name, face.score, *face.box.tolist()])
        self.names = NearestNames(np.array(vectors), names, "class_mean")
        found = pd.DataFrame(detections, columns=DETECTION_COLUMNS)
        self.calibration = framing_of(found, photos)

    def predict_arrays(
        self, photos: Sequence[np.ndarray], score_threshold: float = 0.5
    ) -> list[list[Face]]:
        """Faces of decoded photos uint8 [H, W, 3], each with a name."""
        return one_by_one(self.stages_at(score_threshold), photos)

    def stages_at(self, score_threshold: float) -> Stages:
        """The work on one photo, see :func:`thesislib.benchmarks.systems.stages_of`."""
        return [*self.system.stages_at(score_threshold), ("classifier", self._name)]

    def _name(self, faces: list[Face]) -> list[Face]:
        names = self.names.of(np.array([face.embedding for face in faces]))
        return [
            dataclasses.replace(face, name=name) for face, name in zip(faces, names, strict=True)
        ]


def one_by_one(stages: Stages, photos: Sequence[np.ndarray]) -> list[list[Face]]:
    """What a system's stages make of each photo."""
    answers = []
    for photo in photos:
        value: Any = photo
        for _, work in stages:
            value = work(value)
        answers.append(value)
    return answers


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
