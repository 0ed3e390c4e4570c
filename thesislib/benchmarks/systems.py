"""Systems on engines: nets exported once, pipelines around them, and how accurate each is."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib import cache, seeds
from thesislib.baselines.detector_settings import DetectorSettings, framing_of
from thesislib.baselines.two_stage import TwoStage
from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import Dataset
from thesislib.deploy.engines import available as engines_of
from thesislib.deploy.export import ABOUT, FORM, export, read_about
from thesislib.deploy.graph import USER_SCORE
from thesislib.deploy.int8 import within_limits
from thesislib.deploy.recogniser import EngineClassifier, Recogniser
from thesislib.engine.evaluate import Report, evaluate
from thesislib.engine.predict import System
from thesislib.engine.timing import Stages
from thesislib.experiments import systems
from thesislib.experiments.config import Config, parts
from thesislib.metrics.boxes import BoxCalibration, box_iou
from thesislib.metrics.matching import match_at
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet

# Precisions that must prove themselves against fp32 before they are offered.
LOWERED = ("openvino_int8", "openvino_bf16")


def exported(
    net: JointNet | FaceClassifier,
    config: Config,
    input_px: int | None = None,
    calibration: int = 200,
    check: Dataset | None = None,
) -> Path:
    """Folder of a trained net's export, made once; int8 is calibrated on training photos.

    Args:
        net: trained.
        config: whose training part it has learned.
        input_px: shorter side that photos are scaled to; None for the net's own.
        calibration: photos to calibrate int8 on; 0 for no int8.
        check: of a joint net: photos of neither training nor test; layers are kept in fp32 until
            int8 is accurate enough on them.
    """
    joint = isinstance(net, JointNet)
    weights = cache.key(**{name: float(v.double().sum()) for name, v in net.state_dict().items()})
    folder = cache.folder(
        "exports",
        f"{config.data.name}-{'joint' if joint else 'classifier'}",
        weights=weights,
        settings=net.settings,
        input_px=input_px or net.input_px,
        calibration=calibration,
        check=check.content_hash if check else None,
        form=FORM,
    )
    if (folder / ABOUT).exists():
        return folder
    scaled = copy.deepcopy(net)
    scaled.input_px = input_px or net.input_px
    train = parts(config).train
    order = seeds.generator(config.seed, "calibration").permutation(len(train.photos))
    photos = [read_photo(train.folder / train.photos[at]) for at in order[:calibration]]
    if not joint:
        photos = [np.ascontiguousarray(photo.transpose(2, 0, 1)) for photo in photos]
    export(scaled, folder, photos, check)
    return folder


def available(folder: Path) -> list[str]:
    """Engines that an exported net can have here, the fastest first."""
    # A minute to compile, and slower than plain PyTorch, unless on a GPU.
    skipped = () if torch.cuda.is_available() else ("torch_compile",)
    return [name for name in engines_of(read_about(folder)) if name not in skipped]


def two_stage(
    config: Config,
    folder: Path,
    engine: str,
    sees: str,
    settings: DetectorSettings,
    px: int,
    threads: int,
) -> TwoStage:
    """The pipeline with its classifier on an engine.

    Args:
        config: whose training part the detector's framing is calibrated on.
        folder: the exported classifier.
        engine, threads: of the classifier.
        sees: ``photo`` or ``face``.
        settings: of the detector.
        px: side of what the classifier sees.
    """
    train, found = parts(config).train, systems.searched(config.data)[settings.upsampling]
    found = found[found["score"] > settings.threshold]
    framing = framing_of(found, list_photos(train, train.identities))
    classifier = EngineClassifier(folder, engine, threads)
    classifier.input_px = px
    return TwoStage(classifier, sees, settings.upsampling, framing, settings.threshold)


def accuracy(system: System, dataset: Dataset) -> dict[str, float]:
    """``joint_accuracy_50, mean_iou, recall_50`` over all faces; a pipeline's boxes calibrated.

    Joint accuracy is NaN where nobody in the dataset is named.
    """
    report = _report(system, dataset)
    iou = report.faces["iou_calibrated"]
    named = (report.faces["identity"] != "").any()
    return {
        "joint_accuracy_50": report.joint_accuracy(0.5) if named else float("nan"),
        "mean_iou": float(iou.mean()),
        "recall_50": float((iou >= 0.5).mean()),
    }


def stages_of(system: Any, threshold: float | None = None) -> Stages:
    """What a system does with one photo, in named steps that make up the whole call.

    Args:
        system: a pipeline, or one that has ``stages_at``.
        threshold: least score of a face, exclusive; in a pipeline of its detector's margins. None
            for the user's usual one.
    """
    if isinstance(system, TwoStage):
        return (system if threshold is None else pipeline_at(system, threshold)).stages
    return system.stages_at(USER_SCORE if threshold is None else threshold)


def pipeline_at(system: TwoStage, threshold: float) -> TwoStage:
    """The pipeline with another threshold of its detector's margins; boxes are framed alike."""
    other = copy.copy(system)
    other.threshold = threshold
    return other


def at_thresholds(
    system: System, dataset: Dataset, thresholds: Sequence[float]
) -> dict[float, dict[str, float]]:
    """What a system finds at each of some thresholds, from one look at the photos.

    A box that scores less never takes the face of one that scores more, so that a higher threshold
    leaves the matches above it as they are.

    Args:
        system: a pipeline, or one whose scores are probabilities.
        dataset: whose faces are to be found and, where a name is known, named.
        thresholds: see :func:`stages_of`.

    Returns:
        by threshold ``recall_50`` (share of the faces found with an IoU of at least 0.5, boxes
        calibrated), ``joint_accuracy_50`` (share of the named faces that are found and named
        rightly; NaN where nobody is named), ``false_boxes`` (boxes on no face, a photo) and ``n``,
        faces.
    """
    least = 0.0
    if isinstance(system, TwoStage):  # whose scores are margins above its threshold
        least = min(thresholds)
        system = pipeline_at(system, least)
    report = _report(system, dataset)
    found, right, false = [np.empty(0)], [np.empty(0, bool)], [np.empty(0)]
    for told, truth in zip(report.predictions, report.truths, strict=True):
        scores = told["scores"] + least
        face = match_at(box_iou(told["boxes"], truth["boxes"]), scores, 0.5)
        hit = face >= 0
        score = np.full(len(truth["boxes"]), -np.inf)
        score[face[hit]] = scores[hit]
        names = np.full(len(truth["boxes"]), "", dtype=object)
        names[face[hit]] = np.asarray(told["identities"], dtype=object)[hit]
        found.append(score)
        right.append(names == np.asarray(truth["identities"], dtype=object))
        false.append(scores[~hit])
    score, named_right, wrong = (np.concatenate(parts) for parts in (found, right, false))
    known = np.array([name != "" for truth in report.truths for name in truth["identities"]])
    answers = {}
    for threshold in thresholds:
        above = score > threshold
        named = (above & named_right)[known]
        answers[threshold] = {
            "recall_50": float(above.mean()),
            "joint_accuracy_50": float(named.mean()) if len(named) else float("nan"),
            "false_boxes": float((wrong > threshold).sum() / len(report.truths)),
            "n": len(score),
        }
    return answers


def _report(system: System, dataset: Dataset) -> Report:
    framing: BoxCalibration | None = getattr(system, "calibration", None)
    return evaluate(_FindsAndNames(system), dataset, framing)


class _FindsAndNames:
    """A system that is not asked for names at the annotated boxes as well."""

    def __init__(self, system: Any) -> None:
        self.predict_arrays = system.predict_arrays
        self.highest_score = getattr(system, "highest_score", 1.0)


def gate(folder: Path, check: Dataset, threads: int) -> pd.DataFrame:
    """Judge a joint net's engines of lower precision against fp32, on photos of their own.

    An engine passes if it costs at most ``MOST_ACCURACY_LOST`` of joint accuracy and
    ``MOST_IOU_LOST`` of mean IoU.

    Args:
        folder: exported with the same ``check``.
        check: photos of neither training, calibration nor test.
        threads: of the engines.

    Returns:
        one row per engine that can be had here, fp32 first: ``engine, joint_accuracy_50, mean_iou,
        n`` (faces), ``offered``.
    """
    about = read_about(folder)
    full = about["int8"]["fp32"]  # measured on these photos when int8 was made
    faces = int(check.table["x1"].notna().sum())
    rows = [("openvino", full["joint_accuracy_50"], full["mean_iou"], faces, True)]
    for engine in available(folder):
        if engine in LOWERED:
            found = accuracy(Recogniser(folder, engine, threads), check)
            passed = within_limits(found, full)
            rows.append((engine, found["joint_accuracy_50"], found["mean_iou"], faces, passed))
    return pd.DataFrame(rows, columns=["engine", "joint_accuracy_50", "mean_iou", "n", "offered"])
