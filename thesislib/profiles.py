"""The one place that knows the settings: a profile is everything a run needs but data and seed."""

import dataclasses
import math

# Settings that are numbers of at least this much.
_AT_LEAST = {
    **dict.fromkeys(("input_px", "started_px", "stride", "pooling", "anchors"), 1),
    "embedding_dim": 1,
    **dict.fromkeys(("epochs", "batch", "transfer_steps", "trainings"), 1),
    **dict.fromkeys(("lambda_box", "lambda_no_object", "lambda_identity"), 0),
    **dict.fromkeys(("weight_decay", "colour", "workers"), 0),
}


@dataclasses.dataclass(frozen=True)
class Margin:
    """Additive margin on the cosine of the right identity, in training only.

    Attributes:
        kind: ``"cosface"``, cos t - m (Wang et al. 2018, CosFace, equation 4), or ``"arcface"``,
            cos(t + m) (Deng et al. 2019, ArcFace, equation 3).
        size: m; a cosine for cosface, degrees for arcface; at least 0.
        scale: fixed factor s of all cosines, above 0.

    Raises:
        ValueError: unknown kind, or a number out of range.
    """

    kind: str
    size: float
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in ("cosface", "arcface"):
            raise ValueError(f"margin {self.kind!r} is unknown; choose cosface or arcface")
        if not (0 <= self.size < math.inf and 0 < self.scale < math.inf):
            raise ValueError(f"margin of {self.size} at scale {self.scale} is out of range")


@dataclasses.dataclass(frozen=True)
class Profile:
    """Settings of the model, its training and its baseline.

    Input and crops are in pixels; learning rates are per step of a whole (global) batch.

    Raises:
        ValueError: a number out of its range; the message names the setting, its value and range.
    """

    name: str
    # network
    backbone: str = "resnet34"
    input_px: int = 320  # shorter side of a photo, and side of the training crops
    stride: int = 32  # of the feature map: 32, or 16 without the ResNet's last stage
    pooling: int = 2  # average pooling k x k of the feature map; a cell is stride x k pixels
    anchors: int = 3
    embedding_dim: int = 512
    normalised: bool = False  # classifier compares directions (NormFace); False is the thesis's
    margin: Margin | None = None  # in training: CosFace, ArcFace; None is the thesis's
    embedding_source: str = "grid"  # the thesis's; "roi", under the box; or "landmarks"
    # training
    epochs: int = 25
    batch: int = 128
    learning_rate: float = 1e-3  # the highest of the one-cycle schedule
    warm_up: float = 0.2  # share of all steps until the highest learning rate
    weight_decay: float = 0.05
    crop_scale: tuple[float, float] = (1.0, 1.0)  # of the shorter side; (1, 1) is the thesis's
    flip: float = 0.5
    colour: float = 0.2
    lambda_box: float = 2.0
    lambda_no_object: float = 1.0
    lambda_identity: float = 1.0
    label_smoothing: float = 0.0
    learned_balance: bool = False  # task uncertainty instead of the fixed lambdas
    transfer_steps: int = 1000  # optimiser steps to learn new people, Experiment 2
    trainings: int = 3  # how often a system is trained, Experiment 1
    started_px: int = 480  # input_px of a joint net that starts from dlib's recogniser
    # set of synthetic people, used when no dataset is given; a name in synthetic.sets.SETS
    people: str = "thesis"
    many_people: str = "thesis"  # likewise for Experiment 3, which keeps some people unseen
    new_people: str = "newcomers"  # and the new people of Experiment 2
    # bookkeeping
    workers: int = 0  # processes that make crops, one a core at most; 0 makes a thread do it

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            self._check(name, least <= getattr(self, name) < math.inf, f"at least {least}")
        self._check("learning_rate", 0 < self.learning_rate < math.inf, "above 0")
        for name in ("warm_up", "flip"):
            self._check(name, 0 <= getattr(self, name) <= 1, "0 to 1")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1")
        low, high = self.crop_scale
        self._check("crop_scale", 0 < low <= high < math.inf, "two numbers, 0 < low <= high")
        if self.backbone.startswith("resnet"):
            self._check("stride", self.stride in (16, 32), "16 or 32")
        cell = self.stride * self.pooling
        self._check("input_px", self.input_px >= cell, f"at least one cell, {cell} pixels")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)}")


PROFILES = {
    # The default: learns synthetic people on two CPU cores while one makes coffee.
    "quick": Profile(
        name="quick",
        backbone="resnet18",
        input_px=96,
        pooling=1,
        anchors=1,  # portraits differ little in size, and one embedding head sees every face
        normalised=True,
        epochs=16,
        batch=16,
        learning_rate=2e-3,
        crop_scale=(0.9, 1.1),
        label_smoothing=0.1,
        transfer_steps=60,
        started_px=192,  # the photos have 128 pixels, and their faces about 70
        people="quick",
        many_people="many",
    ),
    # The thesis's own setting, for a GPU and a dataset of the user's.
    "thesis": Profile(name="thesis", workers=8),
    # Real photos on two CPU cores, an hour or so.
    "laptop": Profile(
        name="laptop",
        backbone="resnet18",
        input_px=128,
        pooling=1,
        anchors=1,
        normalised=True,
        epochs=25,
        batch=32,
        learning_rate=1e-3,
        crop_scale=(0.9, 1.1),
        label_smoothing=0.1,
        transfer_steps=150,
    ),
    # The published net, which learns from dlib's recogniser: an hour on two CPU cores.
    "default": Profile(
        name="default",
        backbone="dlib",
        input_px=480,
        stride=4,
        pooling=1,
        embedding_dim=128,
        normalised=True,
        embedding_source="landmarks",
        epochs=5,
        batch=16,
        learning_rate=2e-3,
        warm_up=0.05,
        weight_decay=0.02,
    ),
    # Seconds, to see that everything runs; its numbers mean nothing.
    "smoke": Profile(
        name="smoke",
        backbone="resnet18",
        input_px=64,
        pooling=1,
        normalised=True,
        embedding_dim=64,
        epochs=2,
        batch=16,
        transfer_steps=2,
        trainings=1,
        started_px=128,
        people="smoke",
        many_people="smoke_many",
        new_people="smoke_newcomers",
    ),
}


# What a run keeps of its own profile where its nets start from dlib's recogniser.
_OF_THE_RUN = ["name", "epochs", "batch", "transfer_steps", "trainings", "started_px"]
_OF_THE_RUN += ["people", "many_people", "new_people", "workers"]


def started_profile(profile: Profile) -> Profile:
    """A profile for nets that start from dlib's recogniser.

    How the net is built and learns is the profile ``default``'s, but for the classifier, which is
    the thesis's plain linear one; how long, and from whom, the given one's.
    """
    own = {name: getattr(profile, name) for name in _OF_THE_RUN}
    own |= {"input_px": profile.started_px, "normalised": False}
    return dataclasses.replace(PROFILES["default"], **own)


CHANGED = " with "  # between a profile's name and what was changed in it, where figures tell both


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROFILES:
        raise ValueError(f"PROFILE={name} is unknown; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
