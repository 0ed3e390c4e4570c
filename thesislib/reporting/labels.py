"""What tables and figures call things: one name a thing."""

import pandas as pd

from thesislib.tables import REFERENCES, SYSTEMS

SYSTEM_LABELS = {
    "joint": "joint net",
    "two_stage_photo": "two-stage (photo)",
    "two_stage_face": "two-stage (face)",
    "two_stage_aligned": "two-stage (aligned)",
    "chance": "chance",
    "pixel_nn_photo": "nearest photo, pixels",
    "pixel_nn_face": "nearest face, pixels",
    "hog_nearest": "nearest face, HOG",
    "hog_class_mean": "class mean, HOG",
    "constant_box": "constant box",
    "dlib_aligned_class_mean": "class mean, dlib",
    "dlib_aligned_nearest": "nearest face, dlib",
    "boxes_only": "boxes alone",
    "names_only": "names alone",
}

# What the thesis printed, kept to its own two decimals; it gives no intervals.
THESIS_PHOTOS, THESIS_PEOPLE = 651, 285
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
).assign(source="the thesis, Experiment 1")

TRANSFER_VARIANTS = {
    "class_mean": "class means, no training",
    "nearest": "nearest photo, no training",
    "classifier": "classifier",
    "classifier_embedding": "classifier, embedding head",
    "all": "everything",
    "scratch": "from scratch",
}

PEOPLE_LABELS = {
    "seen": "seen in training",
    "unseen": "never seen",
    "lfw": "LFW, another collection",
    "caltech_faces": "Caltech, another collection",
    "ytf": "YTF, another collection",
    "celeba": "CelebA, another collection",
    "two_stage": "two-stage classifier",
    "two_stage_aligned": "two-stage, aligned",
    "untrained": "untrained net",
    "shuffled": "shuffled labels",
}
# What a group of people who were never seen is called by what sees them.
_SEEN_BY = {
    "two_stage": "two-stage (face)",
    "two_stage_aligned": "two-stage (aligned)",
    "untrained": "joint net, untrained",
    "shuffled": "joint net, names shuffled",
}
# What is compared in an ablation: losses, dimensions, where the embedding is read.
ARM_GROUPS = (
    {"linear": "cross-entropy (thesis)", "normalised": "normalised softmax"}
    | {f"cosface_{scale}": f"CosFace, scale {scale}" for scale in (8, 16, 32)}
    | {f"arcface_{scale}": f"ArcFace, scale {scale}" for scale in (8, 16, 32)},
    {f"dim{dim}": f"dimension {dim}" for dim in (64, 128, 256, 512)},
    {"roi": "pooled under the box"},
    {f"people_{n}": f"{n} people" for n in (10, 20, 50, 65, 100, 130, 200, 260)}
    | {f"photos_{n}": f"{n} photos a person" for n in (1, 2, 3, 4, 5, 6, 8)},
    {"started": "from dlib's recogniser"},
)
ARM_LABELS = {arm: label for group in ARM_GROUPS for arm, label in group.items()}

ENGINE_LABELS = {
    "torch": "PyTorch",
    "torch_compile": "torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO fp32",
    "openvino_bf16": "OpenVINO bf16",
    "openvino_int8": "OpenVINO int8",
    "own": "as they come",
}
RECOGNISER_LABELS = {
    "default": "the published net",
    "default_closer": "with a closer look",
    "teacher_aligned": "dlib, aligned",
    "dlib": "dlib itself",
    "yunet_dlib": "YuNet, then dlib's recogniser",
}
PIPELINE_LABELS = {"two_stage_up1": "upsampling 1", "two_stage_up0": "upsampling 0"}


# Of systems with dlib's recogniser: distilled into the published net, or its own.
STARTS = {"default": "from the published net", "dlib": "from dlib's recogniser"}
FROM_DLIB = STARTS["dlib"]
_BEGUN = {"scratch": "random weights", "none": "–"}  # of references, which are not trained
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
        return f"{system_label(system.removesuffix(_STARTED))},\n{FROM_DLIB}"
    return SYSTEM_LABELS.get(system, system)


def begun_from(start: str) -> str:
    """What a system's training began from, in a column of that name."""
    return _BEGUN.get(start, STARTS.get(start, start).removeprefix("from "))


def engine_label(engine: str) -> str:
    """Name of an engine; one that is not known bears its own."""
    return ENGINE_LABELS.get(engine, engine)


def people_label(people: str) -> str:
    """Name of a group of people; one that is not known bears its own."""
    return PEOPLE_LABELS.get(people, people)


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
    system = _SEEN_BY.get(people, SYSTEM_LABELS["joint"])
    if start in STARTS:
        system += f", {STARTS[start]}"
    return people_label("unseen" if people in _SEEN_BY else people), system


def backbone_label(backbone: str) -> str:
    """``ResNet18`` for ``resnet18``."""
    return backbone.replace("resnet", "ResNet")


def timed_system_label(system: str) -> str:
    """Name of a system of the benchmark, whose pipelines differ in the detector's upsampling."""
    if system in PIPELINE_LABELS:
        return f"two-stage, {PIPELINE_LABELS[system]}"
    return (SYSTEM_LABELS | RECOGNISER_LABELS).get(system, system)
