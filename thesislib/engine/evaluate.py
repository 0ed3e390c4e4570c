"""How well a system finds and names the faces of a dataset: the one evaluation of all systems."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset, check_dataset
from thesislib.engine.predict import CHUNK, System, predict
from thesislib.engine.processes import share_out
from thesislib.faces import Face
from thesislib.metrics.boxes import (
    BoxCalibration,
    apply_box_calibration,
    average_precision,
    box_iou,
)
from thesislib.metrics.checks import NotSupportedError
from thesislib.metrics.matching import faces_table, jointly_correct, photos_table
from thesislib.metrics.statistics import bootstrap_interval

SCORE_THRESHOLD = 0.05  # low, as average precision asks for the whole curve


@dataclasses.dataclass(frozen=True)
class Report:
    """What a system found in a dataset, beside what is there.

    Attributes:
        faces: one row per annotated face, see :func:`thesislib.metrics.matching.faces_table`, with
            ``iou_calibrated`` and, of a system that names given boxes, ``oracle_identity``.
        photos: one row per photo with a face, see
            :func:`thesislib.metrics.matching.photos_table`.
        predictions: per photo of the dataset a mapping with ``boxes``, ``scores`` and
            ``identities``.
        truths: per photo of the dataset a mapping with ``boxes`` and ``identities``.
    """

    faces: pd.DataFrame
    photos: pd.DataFrame
    predictions: list[dict]
    truths: list[dict]

    @property
    def _known(self) -> np.ndarray:
        return (self.faces["identity"] != "").to_numpy()

    def joint_accuracy(self, iou: float = 0.5, calibrated: bool = True) -> float:
        """Share of the faces of known identity that are found and named rightly.

        Args:
            iou: least IoU with the annotated box, above 0 and at most 1.
            calibrated: use boxes brought to the dataset's framing, where the system has a
                calibration; a detector's idea of a face would be held against it otherwise.

        Returns:
            NaN where nobody is named.
        """
        return _mean(self._jointly_correct(iou, calibrated))

    def _jointly_correct(self, iou: float, calibrated: bool = True) -> np.ndarray:
        used = self.faces["iou_calibrated" if calibrated else "iou"]
        return jointly_correct(self.faces.assign(iou=used), iou)[self._known]

    def accuracy(self) -> float:
        """Share of photos whose highest-scoring detection bears the right identity (the thesis).

        Photos that show nobody of known identity are left out; NaN where all do.
        """
        return _mean(self.photos["correct"][self.photos["known"]])

    def mean_iou(self) -> float:
        """Mean IoU of the highest-scoring detection over photos with a face; 0 where none."""
        return float(self.photos["iou"].mean())

    def mean_iou_found(self) -> float:
        """Mean IoU over the photos whose highest-scoring detection lies on a face; NaN without."""
        return _mean(self.photos["iou"][self.photos["iou"] > 0])

    def oracle_box_accuracy(self) -> float:
        """Share of the faces of known identity named rightly at their annotated boxes.

        Returns:
            NaN where nobody is named.

        Raises:
            ValueError: the system does not name given boxes.
        """
        return _mean(self._oracle_correct())

    def _oracle_correct(self) -> np.ndarray:
        if "oracle_identity" not in self.faces:
            raise ValueError("the system does not name given boxes")
        return (self.faces["oracle_identity"] == self.faces["identity"]).to_numpy()[self._known]

    @functools.cached_property
    def _average_precision(self) -> dict[str, float]:
        return average_precision(self.predictions, self.truths)

    def average_precision(self, name: str = "ap50") -> float:
        """Average precision of the boxes, whoever is in them: ``ap50`` or ``ap50_95``."""
        return self._average_precision[name]

    def table(self, seed: int = 0, unit: str = "identity") -> pd.DataFrame:
        """All measures in long form: ``metric, value, low, high, n``.

        Args:
            seed: of the bootstrap.
            unit: column of the faces that is drawn: ``identity`` (a cluster bootstrap over
                people) or ``photo``.

        Returns:
            one row per measure, with its 95 % bootstrap interval; average precisions have none. n
            is the number of photos or faces. Measures of names are left out where nobody is named.
        """
        photos, faces = self.photos, self.faces
        known, found = photos["known"].to_numpy(), (photos["iou"] > 0).to_numpy()
        of_photo, of_face = _units(photos, unit), _units(faces, unit)
        shares = [
            ("accuracy", photos["correct"].to_numpy()[known], of_photo[known]),
            ("mean_iou", photos["iou"].to_numpy(), of_photo),
            ("mean_iou_found", photos["iou"].to_numpy()[found], of_photo[found]),
            ("mean_iou_calibrated", faces["iou_calibrated"].to_numpy(), of_face),
            ("joint_accuracy_50", self._jointly_correct(0.5), of_face[self._known]),
            ("joint_accuracy_75", self._jointly_correct(0.75), of_face[self._known]),
        ]
        if "oracle_identity" in faces:
            shares.append(("oracle_box_accuracy", self._oracle_correct(), of_face[self._known]))
        rows = []
        for metric, values, groups in shares:
            if not len(values):
                continue
            low, high = bootstrap_interval(values.astype(float), groups=groups, seed=seed)
            rows.append((metric, float(values.mean()), low, high, len(values)))
        rows += [
            (name, self.average_precision(name), np.nan, np.nan, len(self.predictions))
            for name in ("ap50", "ap50_95")
        ]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])


def evaluate(
    system: System,
    dataset: Dataset,
    calibration: BoxCalibration | None = None,
    out: Path | str | None = None,
    progress: bool = False,
) -> Report:
    """Run a system over all photos of a dataset and compare with its annotations.

    Under ``torchrun`` the photos are shared out; each process gets the whole report.

    Args:
        system: see :class:`thesislib.engine.predict.System`. One that has a method
            ``identify_boxes(photos, boxes)`` is asked for names at the annotated boxes too.
        dataset: whose people the system knows; other people's faces are to be found, but have no
            right name. People who were enrolled later: give a gallery as the system.
        calibration: from the system's framing of a face to the dataset's; None where the system
            has learned the dataset's own.
        out: a folder in which answers are kept, see :func:`thesislib.engine.predict.predict`.
        progress: show bars.

    Raises:
        TypeError: ``dataset`` is none, a folder's name, say.
        PhotoError, CheckpointError: see :func:`thesislib.engine.predict.predict`.
    """
    check_dataset(dataset)
    names = dataset.photos
    files = [dataset.folder / name for name in names]
    found = predict(system, files, SCORE_THRESHOLD, out=out, progress=progress)
    predictions = [as_prediction(faces) for faces in found]
    truths = truths_of(dataset)
    faces = faces_table(names, predictions, truths)
    with_face = [at for at, truth in enumerate(truths) if len(truth["boxes"])]
    photos = photos_table(
        [names[at] for at in with_face],
        [predictions[at] for at in with_face],
        [truths[at] for at in with_face],
    )
    if hasattr(system, "identify_boxes"):
        # A gallery on an exported net has no embeddings at given boxes.
        with contextlib.suppress(NotSupportedError):
            faces["oracle_identity"] = _oracle_identities(system.identify_boxes, files, truths)
    faces["iou_calibrated"] = _calibrated_iou(faces, calibration)
    return Report(faces, photos, predictions, truths)


def _mean(values: np.ndarray | pd.Series) -> float:
    return float(values.mean()) if len(values) else np.nan


def _units(rows: pd.DataFrame, unit: str) -> np.ndarray:
    """What is drawn with each row; where nobody knows who it is, the photo."""
    alone = "photo " + rows["photo"].astype(str)
    return rows[unit].where(rows[unit] != "", alone).to_numpy(object)


def as_prediction(faces: Sequence[Face]) -> dict:
    """Faces of a photo as the metrics take them: ``boxes``, ``scores`` and ``identities``."""
    return {
        "boxes": np.array([face.box for face in faces], dtype=np.float32).reshape(-1, 4),
        "scores": np.array([face.score for face in faces], dtype=np.float64),
        "identities": [face.name for face in faces],
    }


def truths_of(dataset: Dataset) -> list[dict]:
    """Annotated faces of each photo as the metrics take them: ``boxes`` and ``identities``."""
    rows = dict(iter(dataset.table.groupby("photo", sort=False)))
    truths = []
    for name in dataset.photos:
        faces = rows[name][rows[name]["x1"].notna()]
        boxes = faces[BOX].to_numpy(np.float32).reshape(-1, 4)
        truths.append({"boxes": boxes, "identities": faces["identity"].tolist()})
    return truths


def _oracle_identities(
    identify: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[list[str]]],
    files: Sequence[Path],
    truths: Sequence[dict],
) -> list[str]:
    def named(start: int) -> list[list[str]]:
        chunk = range(start, min(start + CHUNK, len(files)))
        chosen = [at for at in chunk if len(truths[at]["boxes"])]
        photos = [read_photo(files[at]) for at in chosen]
        return identify(photos, [truths[at]["boxes"] for at in chosen]) if chosen else []

    found = share_out(range(0, len(files), CHUNK), named)
    return [name for chunk in found for names in chunk for name in names]


def _calibrated_iou(faces: pd.DataFrame, calibration: BoxCalibration | None) -> np.ndarray:
    if calibration is None:
        return faces["iou"].to_numpy()
    iou = np.zeros(len(faces))
    found = faces["found"].to_numpy()
    predicted = faces.loc[found, BOX].to_numpy()
    truth = faces.loc[found, [f"true_{side}" for side in BOX]].to_numpy()
    calibrated = apply_box_calibration(predicted, calibration)
    iou[found] = [box_iou(a[None], b[None])[0, 0] for a, b in zip(calibrated, truth, strict=True)]
    return iou
