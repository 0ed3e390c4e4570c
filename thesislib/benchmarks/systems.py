"""Systems on engines: nets exported once, pipelines around them, and how accurate each is."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thesislib import cache, seeds
from thesislib.baselines.detector_settings import DetectorSettings, framing_of
from thesislib.baselines.two_stage import TwoStage
from thesislib.data.images import read_photo
from thesislib.data.loading import list_photos
from thesislib.data.schema import Dataset
from thesislib.deploy.engines import available as engines_of
from thesislib.deploy.export import ABOUT, FORM, export, read_about
from thesislib.deploy.int8 import within_limits
from thesislib.deploy.recogniser import EngineClassifier
from thesislib.engine.evaluate import evaluate
from thesislib.engine.predict import System
from thesislib.experiments import systems
from thesislib.experiments.config import Config, parts
from thesislib.metrics.boxes import BoxCalibration
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
    framing: BoxCalibration | None = getattr(system, "calibration", None)
    report = evaluate(_FindsAndNames(system), dataset, framing)
    iou = report.faces["iou_calibrated"]
    named = (report.faces["identity"] != "").any()
    return {
        "joint_accuracy_50": report.joint_accuracy(0.5) if named else float("nan"),
        "mean_iou": float(iou.mean()),
        "recall_50": float((iou >= 0.5).mean()),
    }


class _FindsAndNames:
    """A system that is not asked for names at the annotated boxes as well."""

    def __init__(self, system: Any) -> None:
        self.predict_arrays = system.predict_arrays


def offered(key: tuple, found: Mapping[tuple, dict[str, float]]) -> bool:
    """Whether an engine of the joint net is as accurate on test photos as fp32.

    Args:
        key: ``("joint", engine, backbone, ...)``, or of another system, which is always offered.
        found: :func:`accuracy` of each.
    """
    full = found.get((key[0], "openvino", *key[2:]))
    lowered = key[0] == "joint" and key[1] in LOWERED and full is not None
    return not lowered or within_limits(found[key], full or {})


def answer(system: System, photo: np.ndarray) -> list:
    """A system's answer to one photo: what is timed."""
    return system.predict_arrays([photo], 0.5)[0]
