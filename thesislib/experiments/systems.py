"""The systems that experiments compare, trained as a config says, each training kept once."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from thesislib import cache, seeds
from thesislib.baselines.two_stage import SEES, FaceStore, TwoStage, calibrate
from thesislib.data.detector import detections_table
from thesislib.data.loading import Crops, Photo, list_photos
from thesislib.data.schema import Dataset
from thesislib.data.transforms import Augmentation
from thesislib.engine.processes import this_process
from thesislib.engine.train import new_joint_net, provenance, stored_px, train_net, training_crops
from thesislib.engine.train import train as train_joint
from thesislib.experiments.config import Config, parts, read, shows_progress
from thesislib.metrics.boxes import BoxCalibration
from thesislib.models.face_classifier import FaceClassifier
from thesislib.models.joint import JointNet
from thesislib.models.loss import IdentityLoss

# By the name that tables have for a system: what people read.
LABELS = {
    "joint": "joint net",
    "two_stage_photo": "two-stage (photo)",
    "two_stage_face": "two-stage (face)",
}


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
    train, profile = train or parts(config).train, config.profile
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

    Args:
        config: settings, data and seed.
        train: photos to learn from; None for the config's training part.

    Returns:
        the net in evaluation mode, on the GPU where there is one; ``net.provenance`` has its
        history, see :func:`history`.
    """
    train = train or parts(config).train
    return train_joint(
        train,
        config.profile,
        net_folder(config, "joint", train),
        seed=config.seed,
        start=config.start,
        progress=shows_progress(),
    )


def trained_classifier(config: Config, sees: str, train: Dataset | None = None) -> FaceClassifier:
    """The trained classifier of the two-stage pipeline, see :func:`trained_joint`.

    Args:
        config, train: see :func:`trained_joint`.
        sees: ``photo`` or ``face``, see :class:`thesislib.baselines.two_stage.TwoStage`.

    Raises:
        ValueError: unknown ``sees``.
    """
    if sees not in SEES:
        raise ValueError(f"sees={sees!r} is unknown; choose photo or face")
    train, profile = train or parts(config).train, config.profile
    photos = list_photos(train, train.identities)
    name = f"two_stage_{sees}"

    def crops() -> Crops:
        if sees == "photo":
            return training_crops(train, photos, profile, config.seed, shows_progress())
        return _face_crops(config, train, photos)

    return train_net(
        new_classifier(config, train),
        IdentityLoss(profile.label_smoothing),
        crops,
        profile,
        net_folder(config, name, train),
        _about(config, name, train),
        start=config.start,
        progress=shows_progress(),
        label=LABELS[name],
    )


def _face_crops(config: Config, train: Dataset, photos: list[Photo]) -> Crops:
    profile = config.profile
    store = FaceStore(
        train.folder,
        photos,
        detections(config),
        calibration(config, train),
        stored_px(profile),
        shows_progress(),
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
    if system == "two_stage_face":
        more["upsampling"] = config.profile.upsampling
    return provenance(train.content_hash, config.profile, config.seed, config.start, **more)


def trained(config: Config, system: str, train: Dataset | None = None) -> JointNet | FaceClassifier:
    """The trained net of a system by its name in ``LABELS``, see :func:`trained_joint`."""
    if system == "joint":
        return trained_joint(config, train)
    return trained_classifier(config, system.removeprefix("two_stage_"), train)


def history(net: JointNet | FaceClassifier) -> pd.DataFrame:
    """Of a trained net one row per epoch, see :func:`thesislib.engine.train.fit`."""
    return pd.DataFrame((net.provenance or {})["history"])


# --- whole systems ----------------------------------------------------------------------------


def system(config: Config, name: str, train: Dataset | None = None) -> JointNet | TwoStage:
    """A trained system by its name in ``LABELS``, see :func:`trained_joint`."""
    if name == "joint":
        return trained_joint(config, train)
    return two_stage(config, name.removeprefix("two_stage_"), train)


def two_stage(config: Config, sees: str, train: Dataset | None = None) -> TwoStage:
    """The trained two-stage pipeline.

    Args:
        config, train: see :func:`trained_joint`.
        sees: ``photo`` or ``face``.

    Raises:
        ValueError: unknown ``sees``, or dlib found none of the training part's faces.
    """
    classifier = trained_classifier(config, sees, train)
    return TwoStage(classifier, sees, config.profile.upsampling, calibration(config, train))


def detections(config: Config) -> pd.DataFrame:
    """dlib's detections in all photos of a config's dataset, kept once.

    Returns:
        see :func:`thesislib.data.detector.detections_table`.
    """
    dataset, upsampling = read(config.data), config.profile.upsampling
    kept = cache.folder("dlib", dataset.name, data=dataset.content_hash, upsampling=upsampling)
    with this_process().main_process_first():
        return cache.table(
            kept / "detections.csv",
            lambda: detections_table(dataset.folder, dataset.photos, upsampling, shows_progress()),
        )


def calibration(config: Config, train: Dataset | None = None) -> BoxCalibration:
    """From dlib's framing of a face to the dataset's, fitted on the training part.

    Raises:
        ValueError: dlib found none of its faces.
    """
    train = train or parts(config).train
    return calibrate(detections(config), list_photos(train, train.identities))
