"""How well a system finds and names the faces of a dataset: the one evaluation of all systems."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
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
from thesislib.metrics.precision_recall import (
    average_precision_interval,
    average_precision_of,
    detections_right,
)
from thesislib.metrics.statistics import bootstrap_interval, share_interval

SCORE_THRESHOLD = 0.05  # low, as average precision asks for the whole curve


@dataclasses.dataclass(frozen=True)
class Report:
    """What a system found in a dataset, beside what is there.

    Attributes:
        faces: one row per annotated face, see :func:`thesislib.metrics.matching.faces_table`, with
            ``iou_calibrated`` and, of a system that names given boxes, ``oracle_identity``.
        photos: one row per photo with a face, see
            :func:`thesislib.metrics.matching.photos_table`.
        detections: one row per detection, those on no face included, see
            :func:`thesislib.metrics.precision_recall.detections_right`; boxes calibrated.
        predictions: per photo of the dataset a mapping with ``boxes``, ``scores`` and
            ``identities``; boxes calibrated.
        truths: per photo of the dataset a mapping with ``boxes`` and ``identities``.
    """

    faces: pd.DataFrame
    photos: pd.DataFrame
    detections: pd.DataFrame
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
        """Average precision of the calibrated boxes, whoever is in them: ``ap50``, ``ap50_95``."""
        return self._average_precision[name]

    def table(
        self, seed: int = 0, unit: str = "identity", metrics: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Measures in long form: ``metric, value, low, high, n``.

        Args:
            seed: of the bootstrap.
            unit: column of the faces that is drawn: ``identity`` (a cluster bootstrap over
                people) or ``photo``.
            metrics: which; none for all.

        Returns:
            see :func:`measures`, and ``ap50_95``, which has no interval.
        """
        rows = measures(self.faces, self.photos, self.detections, seed, unit, metrics)
        if metrics and "ap50_95" not in metrics:
            return rows
        value, n = self.average_precision("ap50_95"), len(self.photos)
        more = pd.DataFrame([("ap50_95", value, np.nan, np.nan, n)], columns=rows.columns)
        return pd.concat([rows, more], ignore_index=True)


def measures(
    faces: pd.DataFrame,
    photos: pd.DataFrame,
    detections: pd.DataFrame,
    seed: int = 0,
    unit: str = "identity",
    metrics: Sequence[str] = (),
) -> pd.DataFrame:
    """Measures of Experiment 1 from the tables of a test, or of several together.

    Args:
        faces, photos, detections: as in :class:`Report`; photos of several tests have names of
            their own.
        seed: of the bootstrap.
        unit: column of the faces that is drawn: ``identity`` (a cluster bootstrap over people; a
            face or photo of nobody known is drawn alone) or ``photo``.
        metrics: which; none for all.

    Returns:
        one row per measure, ``metric, value, low, high, n``, with its 95 % interval, of shares as
        in :func:`thesislib.metrics.statistics.share_interval`; n is the number of photos or
        faces. Measures of names are left out where nobody is named.
    """
    who = units(faces, photos["photo"], unit)
    of_photo, of_face = photos["photo"].map(who).to_numpy(object), _units(faces, unit)
    known, found = photos["known"].to_numpy(bool), (photos["iou"] > 0).to_numpy()
    named = (faces["identity"] != "").to_numpy()
    calibrated = faces.assign(iou=faces["iou_calibrated"])
    shares = [
        ("accuracy", photos["correct"].to_numpy(bool)[known], of_photo[known]),
        ("mean_iou", photos["iou"].to_numpy(), of_photo),
        ("mean_iou_found", photos["iou"].to_numpy()[found], of_photo[found]),
        ("mean_iou_calibrated", faces["iou_calibrated"].to_numpy(), of_face),
        ("recall_50", faces["iou_calibrated"].to_numpy() >= 0.5, of_face),
        ("joint_accuracy_50", jointly_correct(calibrated, 0.5)[named], of_face[named]),
        ("joint_accuracy_75", jointly_correct(calibrated, 0.75)[named], of_face[named]),
    ]
    if "oracle_identity" in faces:
        right = (faces["oracle_identity"] == faces["identity"]).to_numpy()[named]
        shares.append(("oracle_box_accuracy", right, of_face[named]))
    rows = []
    for metric, values, groups in shares:
        if not len(values) or (metrics and metric not in metrics):
            continue
        interval = share_interval if values.dtype == bool else bootstrap_interval
        low, high = interval(values, groups=groups, seed=seed)
        rows.append((metric, float(values.mean()), low, high, len(values)))
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])
    if metrics and "ap50" not in metrics:
        return table
    # Photos without a face, in which something was found, are drawn too.
    everywhere = units(faces, [*photos["photo"], *detections["photo"]], unit)
    counts = dict.fromkeys(everywhere, 0) | faces.groupby("photo").size().to_dict()
    scores, hits = detections["score"].to_numpy(float), detections["right"].to_numpy(bool)
    once = np.ones((1, len(detections)))
    (ap50,) = average_precision_of(scores, hits, once, [sum(counts.values())])
    low, high = average_precision_interval(detections, everywhere, counts, seed=seed)
    return pd.DataFrame(
        [*rows, ("ap50", float(ap50), low, high, len(photos))], columns=table.columns
    )


def units(faces: pd.DataFrame, photos: Iterable[str], unit: str = "identity") -> dict[str, str]:
    """Who is drawn with each photo: the only person in it; photos of several, or of nobody known,
    alone.

    Args:
        faces: ``photo, identity``.
        photos: names.
        unit: ``identity``, or ``photo``: every photo alone.
    """
    people = faces.groupby("photo")["identity"].unique().to_dict() if unit == "identity" else {}
    who = {}
    for photo in photos:
        own = people.get(photo, ())
        who[photo] = own[0] if len(own) == 1 and own[0] else f"photo {photo}"
    return who


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
    found = predict(system, files, least_score(system), out=out, progress=progress)
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
    if calibration is not None:
        for prediction in predictions:
            prediction["boxes"] = apply_box_calibration(prediction["boxes"], calibration)
    detections = detections_right(names, predictions, truths)
    return Report(faces, photos, detections, predictions, truths)


def least_score(system: System) -> float:
    """Score above which a system's answers are taken; of a detector with a threshold of its own
    all."""
    return SCORE_THRESHOLD if getattr(system, "highest_score", 1.0) == 1.0 else 0.0


def _mean(values: np.ndarray | pd.Series) -> float:
    return float(values.mean()) if len(values) else np.nan


def _units(faces: pd.DataFrame, unit: str) -> np.ndarray:
    """Who is drawn with each face; where nobody knows who it is, the photo."""
    alone = "photo " + faces["photo"].astype(str)
    return faces[unit].where(faces[unit] != "", alone).to_numpy(object)


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
