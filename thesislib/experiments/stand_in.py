"""Are synthetic people a fair stand-in for real ones?

Four questions, each answered by a number that could have come out badly: does a detector that
learned from photos of real people take them for people; does it lose them as they turn away; can
they be told apart without looking at the face; and is a person harder to know again in another
sitting, as real people are? On the command line::

    python -m thesislib stand-in --profile quick
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from thesislib import cache, paths
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.data.splits import make_split
from thesislib.engine.processes import this_process
from thesislib.environment import commit
from thesislib.experiments import baseline_comparison
from thesislib.experiments.config import (
    Config,
    columns,
    command,
    key,
    parts,
    read,
    shows_progress,
    with_columns,
)
from thesislib.metrics.boxes import box_iou
from thesislib.metrics.matching import jointly_correct
from thesislib.metrics.statistics import bootstrap_interval
from thesislib.synthetic import scene
from thesislib.tables import merge_table

YAWS = tuple(range(-60, 61, 10))
TABLE = "stand_in.csv"
YAW_TABLE = "stand_in_yaw.csv"
_PROBE_PX = (24, 32)  # rows and columns of the small photos that linear classifiers see
_SWEPT_PEOPLE, _FIRST_SWEPT = 30, 3_000_000


def detection_by_yaw(
    people: int, seed: int = 0, size: int = 320, progress: bool = True
) -> pd.DataFrame:
    """dlib's frontal detector (upsampling 1) on the same photos with the head turned step by step.

    Args:
        people: how many, one photo each at every angle of ``YAWS``.
        seed: of the people.
        size: shorter side of the photos in pixels.
        progress: show a bar.

    Returns:
        One row per person and angle: ``identity, yaw`` (degrees), ``found`` (a detection's IoU
        with the face is at least 0.3, as dlib's idea of a face box is another).
    """
    rows = []
    for at in tqdm(range(people), desc="turning heads", unit="person", disable=not progress):
        identity = _FIRST_SWEPT + at
        for yaw in YAWS:
            photo, faces = scene.render_photo(
                identity, 0, 0, seed, size, changes={"yaw": float(yaw)}
            )
            boxes, _ = detect_faces(photo, upsampling=1)
            iou = box_iou(boxes, faces[0].box[None]) if len(boxes) else np.zeros(1)
            rows.append((identity, yaw, bool(iou.max() >= 0.3)))
    return pd.DataFrame(rows, columns=["identity", "yaw", "found"])


def small_photos(dataset: Dataset, what: str) -> np.ndarray:
    """Photos as a linear classifier sees them.

    Args:
        dataset: one face a photo.
        what: ``photo``, or ``background``: all that may show the person, the face's box with
            hair above and body below, is painted over in grey.

    Returns:
        float32 [n, 24 * 32 * 3] in 0–1, in the table's order.
    """
    rows = []
    for row in dataset.table.itertuples():
        photo = read_photo(dataset.folder / row.photo)
        if what == "background":
            width, height = row.x2 - row.x1, row.y2 - row.y1
            left, right = row.x1 - 1.2 * width, row.x2 + 1.2 * width
            top = row.y1 - 0.9 * height
            photo[max(0, int(top)) :, max(0, int(left)) : int(right)] = 128
        rows.append(_shrink(photo).ravel())
    return np.stack(rows)


def _shrink(photo: np.ndarray) -> np.ndarray:
    """Mean colour of each of 24 x 32 parts of a photo, float32 in 0–1."""
    rows = np.linspace(0, photo.shape[0], _PROBE_PX[0] + 1).astype(int)[:-1]
    columns = np.linspace(0, photo.shape[1], _PROBE_PX[1] + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(photo.astype(np.float64), rows, 0), columns, 1)
    counts = np.add.reduceat(np.add.reduceat(np.ones(photo.shape[:2]), rows, 0), columns, 1)
    return (sums / counts[..., None] / 255).astype(np.float32)


def linear_probe(
    features: np.ndarray, identities: np.ndarray, train: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Name people by logistic regression.

    Args:
        features: float [n, d].
        identities: str [n].
        train: bool [n], the photos to learn from; the others are named.
        seed: of the solver.

    Returns:
        bool [n - train.sum()], whether each was named rightly.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=300, random_state=seed)
    )
    model.fit(features[train], identities[train])
    return model.predict(features[~train]) == identities[~train]


def measure(config: Config, people: int = _SWEPT_PEOPLE) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answer the four questions; asked again it reads what was found.

    Args:
        config: a split by photo of synthetic people with sessions. The same is trained on a split
            by session.
        people: how many turn their heads.

    Returns:
        the rows that it merges into ``stand_in.csv`` (``measure, split, value, low, high, n,
        chance``) and ``stand_in_yaw.csv`` (``yaw, found, low, high, n``; shares in 0–1), both
        with all columns of a table but the split.

    Raises:
        ValueError: a split by something else.
    """
    if config.split != "photo":
        raise ValueError(f"a split by {config.split}; both others are made from one by photo")
    by_session = dataclasses.replace(config, split="session")
    run = key(config, people=people)
    kept = cache.folder("stand_in", config.data.name, run=run)

    def turned() -> pd.DataFrame:
        found = detection_by_yaw(people, config.seed, progress=shows_progress())
        return found.assign(commit=commit())

    def answers() -> pd.DataFrame:
        rows = [_frontal(heads), *_probes(config), *named]
        return pd.DataFrame(rows).assign(commit=commit())

    # Trained and tested by all processes together; the rest is the main one's.
    named = [_names(one) for one in (config, by_session)]
    with this_process().main_process_first():
        heads = cache.table(kept / "heads.csv", turned)
        table = cache.table(kept / TABLE, answers)
    about = columns(config, run, command(config, "stand-in", split=None))
    del about["split"]
    yaw = _by_yaw(heads).assign(commit=heads["commit"].iloc[0])
    table, yaw = with_columns(table, about), with_columns(yaw, about)
    if this_process().is_main_process:
        for name, rows in ((TABLE, table), (YAW_TABLE, yaw)):
            merge_table(paths.TABLES / name, rows)
    this_process().wait_for_everyone()
    return table, yaw


def verdicts(table: pd.DataFrame, yaw: pd.DataFrame) -> pd.Series:
    """Whether each of the four questions was answered as for real people.

    Args:
        table, yaw: as :func:`measure` returns them.

    Returns:
        bool by what is claimed.
    """
    value = table.set_index(["measure", "split"])["value"]
    found = value["detected_within_30_degrees", ""]
    found_away = yaw["found"][yaw["yaw"].abs() == 60].max()
    most = 3 * table["chance"].max()
    background = value["linear_classifier_on_background", "session"]
    photo = value["linear_classifier_on_photo", "session"]
    lost = value["joint_accuracy_50", "photo"] - value["joint_accuracy_50", "session"]
    return pd.Series(
        {
            "within 30 degrees dlib finds at least 90 %": found >= 0.9,
            "at 60 degrees it finds less than half of that": found_away < 0.45,
            "across sittings the background names at most 3 times chance": background <= most,
            "across sittings the photo's colours name at most 3 times chance": photo <= most,
            "across sittings the joint net loses at least 20 % of the faces": lost >= 0.2,
        }
    )


def _by_yaw(turned: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for yaw, found in turned.groupby("yaw")["found"]:
        low, high = bootstrap_interval(found.to_numpy(float), seed=0)
        rows.append((yaw, found.mean(), low, high, len(found)))
    return pd.DataFrame(rows, columns=["yaw", "found", "low", "high", "n"])


def _row(
    measure: str, split: str, values: ArrayLike, chance: float, identities: ArrayLike
) -> dict[str, Any]:
    """A share with its interval over people."""
    right = np.asarray(values, float)
    low, high = bootstrap_interval(right, groups=identities, seed=0)
    return {
        "measure": measure,
        "split": split,
        "value": float(right.mean()),
        "low": low,
        "high": high,
        "n": len(right),
        "chance": chance,
    }


def _frontal(turned: pd.DataFrame) -> dict[str, Any]:
    near = turned[turned["yaw"].abs() <= 30]
    return _row("detected_within_30_degrees", "", near["found"], np.nan, near["identity"])


def _probes(config: Config) -> list[dict[str, Any]]:
    dataset = read(config.data)
    identities = dataset.table["identity"].to_numpy()
    chance = 1 / len(dataset.identities)
    rows = []
    for what in ("photo", "background"):
        features = small_photos(dataset, what)
        for kind in ("photo", "session"):
            split = make_split(dataset, kind, config.seed)
            part = dict(zip(split["photo"], split["part"], strict=True))
            train = (dataset.table["photo"].map(part) == "train").to_numpy()
            right = linear_probe(features, identities, train, config.seed)
            name = f"linear_classifier_on_{what}"
            rows.append(_row(name, kind, right, chance, identities[~train]))
    return rows


def _names(config: Config) -> dict[str, Any]:
    faces = baseline_comparison.evaluate(config, "joint").faces
    right = jointly_correct(faces.assign(iou=faces["iou_calibrated"]), 0.5)
    chance = 1 / len(parts(config).train.identities)
    return _row("joint_accuracy_50", config.split, right, chance, faces["identity"])
