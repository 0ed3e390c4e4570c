"""Rows of Experiment 1 that nothing is trained for: what the task is worth without learning it."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from thesislib import cache, storage
from thesislib.baselines.dlib_pipeline import DlibPipeline, in_place_of
from thesislib.baselines.references import (
    PIXELS,
    ConstantBox,
    EnrolledByDlib,
    FacesAlike,
    NearestPhoto,
    hog,
    thumbnail,
)
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.engine.checkpoint import best_device
from thesislib.engine.embed import annotated_faces
from thesislib.engine.processes import this_process
from thesislib.experiments.config import Config, parts, read, shows_progress
from thesislib.experiments.systems import detector, searched
from thesislib.models.dlib_resnet import CHIP_PX
from thesislib.tables import REFERENCES

_NAMES = ("accuracy", "joint_accuracy_50", "joint_accuracy_75", "oracle_box_accuracy")
_BOXES = ("mean_iou", "mean_iou_found", "mean_iou_calibrated", "recall_50", "ap50", "ap50_95")
# What can be measured of those that find no face, or name none; of all others everything.
MEASURED = {
    "chance": ("accuracy", "oracle_box_accuracy"),
    "constant_box": _BOXES,
    **dict.fromkeys(("pixel_nn_face", "hog_nearest", "hog_class_mean"), ("oracle_box_accuracy",)),
    "boxes_only": _BOXES,
    "names_only": _NAMES,
}
BY_DLIB = ("dlib_aligned_class_mean", "dlib_aligned_nearest")


def is_measured(system: str, metric: str) -> bool:
    """Whether a metric says anything of a system."""
    return metric in MEASURED.get(system, (metric,))


def reference(config: Config, name: str, train: Dataset | None = None) -> Any:
    """A reference by its name in ``tables.REFERENCES``.

    Args:
        config: data, split and seed; nothing else plays a part.
        name: of the reference, but ``chance``, which is no system, see :func:`chance`.
        train: photos that it has; None for the config's training part.

    Raises:
        ValueError: unknown name.
        MissingExtraError: what it asks for is not installed: dlib with its weights, scikit-image.
    """
    train = train or parts(config).train
    match name:
        case "pixel_nn_photo":
            return NearestPhoto(train)
        case "constant_box":
            return ConstantBox(train)
        case "pixel_nn_face":
            return FacesAlike(train, thumbnail, "nearest")
        case "hog_nearest":
            return FacesAlike(train, hog, "nearest")
        case "hog_class_mean":
            return FacesAlike(train, hog, "class_mean")
        case "dlib_aligned_nearest" | "dlib_aligned_class_mean":
            return _enrolled_by_dlib(config, name, train)
    raise ValueError(f"reference {name!r} is unknown; choose of {', '.join(REFERENCES[1:])}")


def _enrolled_by_dlib(config: Config, name: str, train: Dataset) -> EnrolledByDlib:
    pipeline = _pipeline(*detector(config))
    every, vectors = annotated_faces(read(config.data)), _embeddings(config, pipeline)
    own = annotated_faces(train)  # some of whose people may be left without a name
    place = {row: at for at, row in enumerate(every[["photo", *BOX]].itertuples(index=False))}
    at = [place[row] for row in own[["photo", *BOX]].itertuples(index=False)]
    named = (own["identity"] != "").to_numpy()
    return EnrolledByDlib(
        pipeline,
        vectors[at][named],
        own["identity"][named].tolist(),
        "nearest" if name == "dlib_aligned_nearest" else "class_mean",
    )


class _Remembering(DlibPipeline):
    """dlib's pipeline, which is asked about the same test photos again and again."""

    def __init__(self, upsampling: int, threshold: float) -> None:
        super().__init__(upsampling, best_device(), threshold)
        self._found: dict[str, Any] = {}

    def found(self, photo: np.ndarray, score_threshold: float = 0.0) -> Any:
        """As :meth:`DlibPipeline.found`."""
        answer = functools.partial(super().found, photo, score_threshold)
        return self._once(photo, f"found above {score_threshold}", answer)

    def embeddings_at(
        self, photos: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """As :meth:`DlibPipeline.embeddings_at`."""
        answers = []
        for photo, own in zip(photos, boxes, strict=True):
            answer = functools.partial(super().embeddings_at, [photo], [own])
            answers += self._once(photo, f"at {own.tolist()}", answer)
        return answers

    def _once(self, photo: np.ndarray, asked: str, answer: Callable[[], Any]) -> Any:
        key = hashlib.sha256(photo.tobytes() + f"{photo.shape} {asked}".encode()).hexdigest()
        if key not in self._found:
            self._found[key] = answer()
        return self._found[key]


@functools.lru_cache(maxsize=1)
def _pipeline(upsampling: int, threshold: float) -> _Remembering:
    return _Remembering(upsampling, threshold)


def _embeddings(config: Config, pipeline: DlibPipeline) -> np.ndarray:
    """dlib's embeddings of all annotated faces of a dataset, computed once for all its splits."""
    dataset = read(config.data)
    folder = cache.folder(
        "dlib",
        f"{dataset.name}-embeddings",
        data=dataset.content_hash,
        system=pipeline.answers_key,
    )
    kept = folder / "embeddings.npy"
    with this_process().main_process_first():
        if not kept.exists():
            found = searched(config.data)[pipeline.upsampling]
            found = found[found["score"] > pipeline.threshold]
            vectors = _at_detections(dataset, pipeline, found)
            with storage.atomic_write(kept) as aside, open(aside, "wb") as file:
                np.save(file, vectors, allow_pickle=False)
    return np.load(kept, allow_pickle=False)


def _at_detections(
    dataset: Dataset, pipeline: DlibPipeline, detections: pd.DataFrame
) -> np.ndarray:
    """Embeddings of annotated faces by a pipeline whose detector has searched the photos before."""
    boxes = {name: rows[BOX].to_numpy(np.float32) for name, rows in detections.groupby("photo")}
    none, vectors = np.empty((0, 4), np.float32), []
    faces = annotated_faces(dataset).groupby("photo", sort=False)
    for photo, rows in tqdm(faces, desc="embedding", unit="photo", disable=not shows_progress()):
        used = in_place_of(rows[BOX].to_numpy(np.float32), boxes.get(photo, none))
        vectors.append(pipeline.embed(read_photo(dataset.folder / str(photo)), used))
    return np.concatenate(vectors)


def chance(config: Config) -> pd.DataFrame:
    """What guessing gives: one person of all who are known, each as likely.

    Returns:
        rows ``metric, value, low, high, n`` without intervals, as nothing was sampled.
    """
    train, test = parts(config).train, parts(config).test
    faces = int((test.table["identity"] != "").sum())
    rows = [
        (metric, 1 / len(train.identities), np.nan, np.nan, faces) for metric in MEASURED["chance"]
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])


def about(name: str) -> dict[str, Any]:
    """The columns ``start``, ``backbone``, ``input_px`` and ``precision`` of a reference's rows."""
    by_dlib = name in BY_DLIB
    return {
        "start": "none",
        "backbone": "dlib" if by_dlib else "none",
        "input_px": CHIP_PX if by_dlib else PIXELS,
        "precision": "fp32",
    }
