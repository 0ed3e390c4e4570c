"""The systems that experiments compare, trained as a config says, each training kept once."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from thesislib import cache, seeds
from thesislib.baselines.detector_settings import (
    LOWEST,
    UPSAMPLINGS,
    DetectorSettings,
    choose,
    framing_of,
    operating_points,
)
from thesislib.baselines.two_nets import TwoNets
from thesislib.baselines.two_stage import SEES, FaceStore, TwoStage
from thesislib.data.detector import DETECTION_COLUMNS, detections_table
from thesislib.data.images import read_photo
from thesislib.data.loading import Crops, list_photos
from thesislib.data.schema import Dataset
from thesislib.data.transforms import Augmentation
from thesislib.engine.checkpoint import DEFAULT, DLIB, best_device, load_net, start_from
from thesislib.engine.processes import this_process
from thesislib.engine.train import (
    joint_loss,
    kept_net,
    new_joint_net,
    provenance,
    stored_px,
    train_net,
    training_crops,
)
from thesislib.engine.train import train as train_joint
from thesislib.engine.transfer import learn_names, with_new_classifier
from thesislib.experiments.config import Config, parts, read, shows_progress
from thesislib.metrics.boxes import BoxCalibration
from thesislib.models.dlib_resnet import CHIP_PX
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import IdentityLoss
from thesislib.profiles import Profile

# By the name that tables have for a system: what people read.
LABELS = {
    "joint": "joint net",
    "two_stage_photo": "two-stage (photo)",
    "two_stage_face": "two-stage (face)",
    "two_stage_aligned": "two-stage (aligned)",
    "boxes_only": "boxes alone",
    "names_only": "names alone",
}
# Of random weights, what the default run trains more than once.
REPEATED = ("joint", "two_stage_photo")
# Terms of the loss that a single-task control learns by.
_TASKS = {"boxes_only": ("box", "confidence", "no_object"), "names_only": ("identity",)}
_PHOTO_CHUNK = 16  # photos searched at a time


def systems_of(config: Config) -> tuple[str, ...]:
    """The systems that a config compares.

    From random weights the thesis's; where they start from dlib's recogniser, the same recogniser
    in one pass and in two, on faces as they are detected and as dlib aligns them.
    """
    if config.is_started:
        return ("joint", "two_stage_face", "two_stage_aligned")
    return ("joint", "two_stage_photo", "two_stage_face")


def begins_with(config: Config, system: str) -> Path | None:
    """What a system's training begins with.

    The published net is distilled from dlib's recogniser to read whole photos; the pipeline, which
    cuts faces out, has that recogniser itself.
    """
    if config.is_started and system != "joint":
        return Path(DLIB)
    return config.start


def profile_of(config: Config, system: str) -> Profile:
    """A system's settings: dlib's recogniser sees a face at its own size."""
    if config.is_started and system != "joint":
        return dataclasses.replace(config.profile, input_px=CHIP_PX)
    return config.profile


def new_joint(config: Config, train: Dataset | None = None) -> JointNet:
    """The joint net before training, the same for the same config.

    Args:
        config: settings, data and seed.
        train: photos to learn from; None for the config's training part.
    """
    train = train or parts(config).train
    identities = train.identities
    photos = list_photos(train, identities)
    return new_joint_net(identities, photos, config.profile, config.seed)


def new_classifier(config: Config, train: Dataset | None = None) -> FaceClassifier:
    """The pipeline's classifier before training, with the backbone of :func:`new_joint`."""
    train, profile = train or parts(config).train, profile_of(config, "two_stage_face")
    torch.manual_seed(seeds.torch_seed(config.seed, "weights"))
    return FaceClassifier(
        train.identities,
        input_px=profile.input_px,
        backbone=profile.backbone,
        embedding_dim=profile.embedding_dim,
        normalised=profile.normalised,
    )


def trained_joint(config: Config, train: Dataset | None = None) -> JointNet:
    """The trained joint net; an interrupted training goes on, one that is done is opened.

    One that starts from the published net learns names alone: of a photo it sees what dlib's
    recogniser sees of a face, and that stays.

    Args:
        config: settings, data and seed.
        train: photos to learn from; None for the config's training part.

    Returns:
        the net in evaluation mode, on the GPU where there is one; ``net.provenance`` has its
        history, see :func:`history`.
    """
    train = train or parts(config).train
    if str(config.start) == DEFAULT:
        return _with_names(config, "joint", train)
    return train_joint(
        train,
        config.profile,
        net_folder(config, "joint", train),
        seed=config.seed,
        start=config.start,
        progress=shows_progress(),
    )


def trained_control(config: Config, task: str, train: Dataset | None = None) -> JointNet:
    """The joint net, trained for one of its two tasks alone: same net, photos, seed and steps.

    Args:
        config, train: see :func:`trained_joint`.
        task: ``boxes_only`` or ``names_only``.

    Raises:
        ValueError: another task, or nets that start from dlib's recogniser, whose boxes or names
            were learned before.
    """
    if task not in _TASKS:
        raise ValueError(f"task {task!r} is unknown; choose {', '.join(_TASKS)}")
    if config.is_started:
        raise ValueError(f"{task}: a net that starts from {config.start} has learned both tasks")
    train, profile = train or parts(config).train, config.profile
    loss = joint_loss(profile)
    loss.weights = {
        term: weight if term in _TASKS[task] else 0.0 for term, weight in loss.weights.items()
    }
    return train_net(
        new_joint(config, train),
        loss,
        lambda: _crops(config, task, train),
        profile,
        net_folder(config, task, train),
        _about(config, task, train),
        start=config.start,
        progress=shows_progress(),
        label=LABELS[task],
    )


def trained_classifier(config: Config, sees: str, train: Dataset | None = None) -> FaceClassifier:
    """The trained classifier of the two-stage pipeline, see :func:`trained_joint`.

    Args:
        config, train: see :func:`trained_joint`.
        sees: ``photo``, ``face`` or ``aligned``, see
            :class:`thesislib.baselines.two_stage.TwoStage`.

    Raises:
        ValueError: unknown ``sees``.
    """
    if sees not in SEES:
        raise ValueError(f"sees={sees!r} is unknown; choose {', '.join(SEES)}")
    train, profile = train or parts(config).train, config.profile
    name = f"two_stage_{sees}"
    if config.is_started:
        return _with_names(config, name, train)
    return train_net(
        new_classifier(config, train),
        IdentityLoss(profile.label_smoothing),
        lambda: _crops(config, name, train),
        profile,
        net_folder(config, name, train),
        _about(config, name, train),
        start=config.start,
        progress=shows_progress(),
        label=LABELS[name],
    )


def _with_names(config: Config, system: str, train: Dataset) -> Any:
    """A net whose recogniser is there and stays as it is, once it has learned its people."""

    def taught(_: dict) -> tuple[Any, list[dict]]:
        net: Any
        if system == "joint":
            published = load_net(DEFAULT)
            published.input_px = config.profile.input_px
            net = with_new_classifier(published, train.identities, config.seed)
        else:
            net = new_classifier(config, train)
            start_from(net, DLIB)
        crops = _crops(config, system, train)
        net.to(best_device())
        learn_names(net, crops, config.profile, config.seed, shows_progress())
        return net, []

    return kept_net(net_folder(config, system, train), _about(config, system, train), taught)


def _crops(config: Config, system: str, train: Dataset) -> Crops:
    """What a system learns from: photos, or faces cut out."""
    profile, photos = profile_of(config, system), list_photos(train, train.identities)
    if system in ("joint", "two_stage_photo", *_TASKS):
        return training_crops(train, photos, profile, config.seed, shows_progress())
    store = FaceStore(
        train.folder,
        photos,
        detections(config, train),
        calibration(config, train),
        stored_px(profile),
        aligned=system == "two_stage_aligned",
        progress=shows_progress(),
    )
    augmentation = Augmentation(profile.crop_scale, profile.flip, profile.colour)
    # A store of faces stands in for one of photos.
    return Crops(store.photos, store, profile.input_px, augmentation, config.seed)  # type: ignore[arg-type]


def net_folder(config: Config, system: str, train: Dataset | None = None) -> Path:
    """Folder of a system's training, known by all that the net depends on.

    Args:
        config, train: see :func:`trained_joint`.
        system: a name in ``LABELS``.
    """
    about = _about(config, system, train or parts(config).train)
    del about["commit"]
    kind = f"{config.split}-holdout" if config.holdout else config.split
    name = f"{config.data.name}-{kind}-{config.profile.name}-seed{config.seed}-{system}"
    return cache.folder("nets", name, **about)


def _about(config: Config, system: str, train: Dataset) -> dict[str, Any]:
    """What a training depends on; that on faces cut out, on dlib's search for them too."""
    more: dict[str, Any] = {} if system == "joint" else {"system": system}
    if system in ("two_stage_face", "two_stage_aligned"):
        more["detector"] = detector(config, train)._asdict()
    profile, start = profile_of(config, system), begins_with(config, system)
    return provenance(train.content_hash, profile, config.seed, start, **more)


def trained(config: Config, system: str, train: Dataset | None = None) -> JointNet | FaceClassifier:
    """The trained net of a system by its name in ``LABELS``, see :func:`trained_joint`."""
    if system == "joint":
        return trained_joint(config, train)
    if system in _TASKS:
        return trained_control(config, system, train)
    return trained_classifier(config, system.removeprefix("two_stage_"), train)


def history(net: JointNet | FaceClassifier) -> pd.DataFrame:
    """Of a trained net one row per epoch, see :func:`thesislib.engine.train.fit`; none of one
    that was taught names alone."""
    return pd.DataFrame((net.provenance or {})["history"])


# --- whole systems ----------------------------------------------------------------------------


def system(
    config: Config, name: str, train: Dataset | None = None
) -> JointNet | TwoStage | TwoNets:
    """A trained system by its name in ``LABELS``, see :func:`trained_joint`.

    ``names_only`` reads names at the boxes that ``boxes_only`` finds.
    """
    if name == "names_only":
        return TwoNets(*(trained_control(config, task, train) for task in _TASKS))
    if name in ("joint", *_TASKS):
        net = trained(config, name, train)
        assert isinstance(net, JointNet)
        return net
    return two_stage(config, name.removeprefix("two_stage_"), train)


def two_stage(config: Config, sees: str, train: Dataset | None = None) -> TwoStage:
    """The trained two-stage pipeline.

    Args:
        config, train: see :func:`trained_joint`.
        sees: ``photo``, ``face`` or ``aligned``.

    Raises:
        ValueError: unknown ``sees``.
    """
    classifier = trained_classifier(config, sees, train)
    settings = detector(config, train)
    framing = calibration(config, train)
    return TwoStage(classifier, sees, settings.upsampling, framing, settings.threshold)


def searched(data: Path) -> dict[int, pd.DataFrame]:
    """dlib's detections in all photos of a dataset's folder, by upsampling, kept once.

    Returns:
        see :func:`thesislib.data.detector.detections_table`; margins down to ``LOWEST``.
    """
    dataset = read(data)

    def kept(upsampling: int) -> pd.DataFrame:
        about = {"data": dataset.content_hash, "upsampling": upsampling, "threshold": LOWEST}
        return cache.table(
            cache.folder("dlib", dataset.name, **about) / "detections.csv",
            lambda: detections_table(
                dataset.folder, dataset.photos, upsampling, LOWEST, shows_progress()
            ),
        )

    with this_process().main_process_first():
        return {upsampling: kept(upsampling) for upsampling in UPSAMPLINGS}


def detector(config: Config, train: Dataset | None = None) -> DetectorSettings:
    """How the pipeline's detector is set, chosen on the training part.

    Args:
        config, train: see :func:`trained_joint`.
    """
    return _chosen(config.data, train or parts(config).train)


@functools.lru_cache(maxsize=16)
def _chosen(data: Path, train: Dataset) -> DetectorSettings:
    photos = list_photos(train, train.identities)
    return choose(operating_points(searched(data), photos))


def detections(config: Config, train: Dataset | None = None) -> pd.DataFrame:
    """dlib's detections in all photos of a config's dataset, at the setting of :func:`detector`."""
    settings = detector(config, train)
    found = searched(config.data)[settings.upsampling]
    return found[found["score"] > settings.threshold].reset_index(drop=True)


def calibration(config: Config, train: Dataset | None = None) -> BoxCalibration:
    """From dlib's framing of a face to the dataset's, fitted on the training part."""
    train = train or parts(config).train
    return framing_of(detections(config, train), list_photos(train, train.identities))


def framing(config: Config, system: str) -> BoxCalibration | None:
    """From a system's framing of a face to the dataset's, fitted on the training part.

    Returns:
        None of a net that has learned the dataset's own boxes: nothing to calibrate.
    """
    if system.startswith("two_stage_"):
        return calibration(config)
    if str(config.start) != DEFAULT:
        return None
    train, net = parts(config).train, trained_joint(config)

    def found() -> pd.DataFrame:
        rows: list[list[Any]] = []
        starts = range(0, len(train.photos), _PHOTO_CHUNK)
        for at in tqdm(starts, desc="framing", unit="batch", disable=not shows_progress()):
            names = train.photos[at : at + _PHOTO_CHUNK]
            photos = [read_photo(train.folder / name) for name in names]
            for name, faces in zip(names, net.predict_arrays(photos), strict=True):
                rows += [[name, face.score, *face.box.tolist()] for face in faces]
        return pd.DataFrame(rows, columns=DETECTION_COLUMNS)

    with this_process().main_process_first():
        detected = cache.table(net_folder(config, system) / "detections.csv", found)
    return framing_of(detected, list_photos(train, train.identities))
