"""What tables and figures call things: one name a thing.

Dictionaries have the English names; functions give them in the language of the figures.
"""

import re
from collections.abc import Sequence

import pandas as pd

from thesislib.reporting.language import N_, _, ngettext
from thesislib.tables import BUSY, REFERENCES, SYSTEMS

SYSTEM_LABELS = {
    "joint": N_("joint net"),
    "two_stage_photo": N_("two-stage (photo)"),
    "two_stage_face": N_("two-stage (face)"),
    "two_stage_aligned": N_("two-stage (aligned)"),
    "chance": N_("chance"),
    "pixel_nn_photo": N_("nearest photo, pixels"),
    "pixel_nn_face": N_("nearest face, pixels"),
    "hog_nearest": N_("nearest face, HOG"),
    "hog_class_mean": N_("class mean, HOG"),
    "constant_box": N_("constant box"),
    "dlib_aligned_class_mean": N_("class mean, dlib"),
    "dlib_aligned_nearest": N_("nearest face, dlib"),
    "boxes_only": N_("boxes alone"),
    "names_only": N_("names alone"),
}

# What the thesis printed, kept to its own two decimals; it gives no intervals.
THESIS_LABELS = {"joint": N_("joint"), "two-stage": N_("two-stage")}
THESIS_EXPERIMENT1 = pd.DataFrame(
    [
        ("joint", "accuracy", 0.9815),
        ("joint", "mean_iou", 0.7888),
        ("joint", "fps", 34.5),
        ("two-stage", "accuracy", 0.9754),
        ("two-stage", "mean_iou", 0.7982),
        ("two-stage", "fps", 6.5),
    ],
    columns=["system", "metric", "value"],
)

TRANSFER_VARIANTS = {
    "class_mean": N_("class means, no training"),
    "nearest": N_("nearest photo, no training"),
    "classifier": N_("classifier"),
    "classifier_embedding": N_("classifier, embedding head"),
    "all": N_("everything"),
    "scratch": N_("from scratch"),
}

PEOPLE_LABELS = {
    "seen": N_("seen in training"),
    "unseen": N_("never seen"),
    "lfw": N_("LFW, another collection"),
    "caltech_faces": N_("Caltech, another collection"),
    "ytf": N_("YTF, another collection"),
    "celeba": N_("CelebA, another collection"),
    "two_stage": N_("two-stage classifier"),
    "two_stage_aligned": N_("two-stage, aligned"),
    "untrained": N_("untrained net"),
    "shuffled": N_("shuffled labels"),
}
# What a group of people who were never seen is called by what sees them.
_SEEN_BY = {
    "two_stage": N_("two-stage (face)"),
    "two_stage_aligned": N_("two-stage (aligned)"),
    "untrained": N_("joint net, untrained"),
    "shuffled": N_("joint net, names shuffled"),
}
# What is compared in an ablation: losses, dimensions, where the embedding is read.
ARM_GROUPS = (
    {"linear": N_("cross-entropy (thesis)"), "normalised": N_("normalised softmax")}
    | {f"cosface_{scale}": f"CosFace, scale {scale}" for scale in (8, 16, 32)}
    | {f"arcface_{scale}": f"ArcFace, scale {scale}" for scale in (8, 16, 32)},
    {f"dim{dim}": f"dimension {dim}" for dim in (64, 128, 256, 512)},
    {"roi": N_("pooled under the box")},
    {f"people_{n}": f"{n} people" for n in (10, 20, 50, 65, 100, 130, 200, 260)}
    | {f"photos_{n}": f"{n} photo{'s' * (n > 1)} a person" for n in (1, 2, 3, 4, 5, 6, 8)},
    {"started": N_("from dlib's recogniser")},
)
ARM_LABELS = {arm: label for group in ARM_GROUPS for arm, label in group.items()}

# What a net learned from, in a column "arm" or in a caption.
SYNTHETIC_PEOPLE = N_("synthetic people")
_SPLITS = {
    "photo": N_("photo split"),
    "session": N_("session split"),
    "identity": N_("identity split"),
}

ENGINE_LABELS = {
    "torch": "PyTorch",
    "torch_compile": "torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO fp32",
    "openvino_bf16": "OpenVINO bf16",
    "openvino_int8": "OpenVINO int8",
    "own": N_("as they come"),
}
RECOGNISER_LABELS = {
    "default": N_("the published net"),
    "default_closer": N_("with a closer look"),
    "teacher_aligned": N_("dlib, aligned"),
    "dlib": N_("dlib itself"),
    "yunet_dlib": N_("YuNet, then dlib's recogniser"),
}
PIPELINE_LABELS = {
    "two_stage_up1": N_("two-stage, upsampling 1"),
    "two_stage_up0": N_("two-stage, upsampling 0"),
}


# Of systems with dlib's recogniser: distilled into the published net, or its own.
STARTS = {"default": N_("from the published net"), "dlib": N_("from dlib's recogniser")}
_BEGUN = {
    "scratch": N_("random weights"),
    "default": N_("the published net"),
    "dlib": N_("dlib's recogniser"),
    "none": "–",  # of references, which are not trained
}
_STARTED = ", started"  # behind the name of such a system, where it stands beside one from scratch
STARTED_SYSTEMS = tuple(f"{system}{_STARTED}" for system in SYSTEMS)


def told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in which systems that start from dlib's recogniser have names of their own.

    Args:
        rows: of a table of Experiment 1, with ``system`` and ``start``; without ``start`` they
            stay as they are.
    """
    if "start" not in rows:
        return rows
    system = rows["system"].astype(str)
    return rows.assign(system=system.where(~rows["start"].isin(STARTS), system + _STARTED))


def system_label(system: str) -> str:
    """Name of a system of Experiment 1, see also :func:`told_apart`; a system that is not known
    bears its own."""
    if system.endswith(_STARTED):
        return f"{system_label(system.removesuffix(_STARTED))},\n{started_from('dlib')}"
    return _looked_up(SYSTEM_LABELS, system)


def _looked_up(labels: dict[str, str], name: str) -> str:
    return _(labels[name]) if name in labels else name


def begun_from(start: str) -> str:
    """What a system's training began from, in a column of that name."""
    return _looked_up(_BEGUN, start)


def started_from(start: str) -> str:
    """What a system's training began from, behind the system's name: ``from random weights``."""
    if start == "scratch":
        return _("from random weights")
    return _(STARTS[start]) if start in STARTS else _("from {start}").format(start=start)


def variant_label(variant: str) -> str:
    """Name of what Experiment 2 trains, or of a reference."""
    if variant in TRANSFER_VARIANTS:
        return _(TRANSFER_VARIANTS[variant])
    return system_label(variant)


def split_label(split: str) -> str:
    """How photos were split into those for training and those for the test."""
    if split in _SPLITS:
        return _(_SPLITS[split])
    return _("{split} split").format(split=split)


def seeds_label(seeds: Sequence[int]) -> str:
    """``seed 0``, ``seeds 0, 1, 2``."""
    told = ", ".join(map(str, seeds))
    return ngettext("seed {seeds}", "seeds {seeds}", len(seeds)).format(seeds=told)


def engine_label(engine: str) -> str:
    """Name of an engine; one that is not known bears its own."""
    return _looked_up(ENGINE_LABELS, engine)


def recogniser_label(system: str) -> str:
    """Name of the published net or of what it is compared with; another bears its own."""
    return _looked_up(RECOGNISER_LABELS, system)


def people_label(people: str) -> str:
    """Name of a group of people; one that is not known bears its own."""
    return _looked_up(PEOPLE_LABELS, people)


def arm_label(arm: str) -> str:
    """Name of an arm of Experiment 3; one that is not known bears its own."""
    number = re.search(r"\d+$", arm)
    if arm not in ARM_LABELS or number is None:
        return _looked_up(ARM_LABELS, arm)
    n = int(number[0])
    labels = {
        "cosface_": _("CosFace, scale {n}"),
        "arcface_": _("ArcFace, scale {n}"),
        "dim": _("dimension {n}"),
        "people_": ngettext("{n} person", "{n} people", n),
        "photos_": ngettext("{n} photo a person", "{n} photos a person", n),
    }
    return labels[arm[: number.start()]].format(n=n)


def seen_by(people: str, start: str = "scratch") -> tuple[str, str]:
    """Of a row of Experiment 3 who is compared, and what sees them.

    >>> seen_by("lfw_hog_nearest")
    ('LFW, another collection', 'nearest face, HOG')
    >>> seen_by("two_stage", "dlib")
    ('never seen', "two-stage (face), from dlib's recogniser")
    """
    for reference in REFERENCES:
        if people == reference:
            return people_label("unseen"), system_label(reference)
        if people.endswith(f"_{reference}"):
            return people_label(people.removesuffix(f"_{reference}")), system_label(reference)
    system = _(_SEEN_BY.get(people, SYSTEM_LABELS["joint"]))
    if start in STARTS:
        system += f", {started_from(start)}"
    return people_label("unseen" if people in _SEEN_BY else people), system


def backbone_label(backbone: str) -> str:
    """``ResNet18`` for ``resnet18``."""
    return backbone.replace("resnet", "ResNet")


def timed_system_label(system: str) -> str:
    """Name of a system of the benchmark, whose pipelines differ in the detector's upsampling."""
    return _looked_up(SYSTEM_LABELS | RECOGNISER_LABELS | PIPELINE_LABELS, system)


def busy_label(rows: pd.DataFrame) -> str:
    """What is to be told of times, "" of those from a machine with nothing else to do.

    Args:
        rows: what was timed, with the column ``others``: the share of the cores that other
            processes had, NaN where it was not watched; tables of earlier versions lack it.
    """
    most = rows["others"].max() if "others" in rows else 0.0
    if not most > BUSY:
        return ""
    told = _("on a busy machine: other processes had {share:.0f} % of the cores")
    return told.format(share=100 * most)


def busy_sentence(rows: pd.DataFrame) -> str:
    """The same as a sentence that follows others, with a space before it."""
    told = busy_label(rows)
    return " " + _("Timed {busy}.").format(busy=told) if told else ""
