"""Are synthetic people a fair stand-in for real ones?

Four questions, each answered by a number that could have come out badly: does a detector that
learned from photos of real people take them for people; does it lose them as they turn away; can
they be told apart without looking at the face; and is a person harder to know again in another
sitting, as real people are?
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from thesislib import paths, storage
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.data.splits import make_split
from thesislib.experiments.baseline_comparison import Experiment, from_environment, module_hash
from thesislib.metrics import matching, statistics
from thesislib.metrics.boxes import box_iou
from thesislib.synthetic import scene

YAWS = tuple(range(-60, 61, 10))
TABLE = "stand_in.csv"
YAW_TABLE = "stand_in_yaw.csv"
_PROBE_PX = (24, 32)  # rows and columns of the small photos that linear classifiers see
_SWEPT_PEOPLE, _FIRST_SWEPT = 30, 3_000_000
_CODE = [module_hash(name) for name in ("stand_in.py", "baseline.py", "data/synthetic.py")]


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
        One row a person and angle: ``identity, yaw`` (degrees), ``found`` (a detection's IoU
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


def measure(experiment: Experiment) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answer the four questions; asked again with nothing changed, read what was found.

    Args:
        experiment: a split by photo of synthetic people with sessions. The same is trained on a
            split by session.

    Returns:
        the tables that it writes: ``stand_in.csv`` (``measure, split, value, low, high, n,
        chance``) and ``stand_in_yaw.csv`` (``yaw, found, low, high, n``; shares in 0–1), both
        with the experiment's columns.
    """
    by_session = Experiment(
        experiment.data,
        "session",
        experiment.profile,
        experiment.seed,
        progress=experiment.progress,
    )
    depends = [
        experiment.run_folder("joint").name,
        by_session.run_folder("joint").name,
        *_CODE,
    ]
    kept = paths.RUNS / "stand_in" / storage.text_hash(" ".join(depends))[:12]
    files = [kept / YAW_TABLE, kept / TABLE]
    if not all(file.exists() for file in files):
        turned = detection_by_yaw(_SWEPT_PEOPLE, experiment.seed, progress=experiment.progress)
        storage.write_text(files[0], _by_yaw(turned).to_csv(index=False, float_format="%.6g"))
        rows = [_frontal(turned), *_probes(experiment)]
        rows += [_names(experiment), _names(by_session)]
        storage.write_text(files[1], pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))
    columns = experiment.columns() | {"command": "python -m thesislib.stand_in"}
    del columns["split"]
    yaw, table = (pd.read_csv(file).assign(**columns) for file in files)
    for name, rows in ((YAW_TABLE, yaw), (TABLE, table)):
        storage.write_text(paths.TABLES / name, rows.to_csv(index=False, float_format="%.6g"))
    return table, yaw


def verdicts(table: pd.DataFrame, yaw: pd.DataFrame) -> pd.Series:
    """Whether each of the four questions was answered as for real people.

    Args:
        table, yaw: as :func:`measure` returns them.

    Returns:
        bool by what is claimed.
    """
    value = table.assign(split=table["split"].fillna("")).set_index(["measure", "split"])["value"]
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
        low, high = statistics.bootstrap_interval(found.to_numpy(float), seed=0)
        rows.append((yaw, found.mean(), low, high, len(found)))
    return pd.DataFrame(rows, columns=["yaw", "found", "low", "high", "n"])


def _row(name, split, values, chance, groups=None) -> dict:
    low, high = statistics.bootstrap_interval(np.asarray(values, float), groups=groups, seed=0)
    return {
        "measure": name,
        "split": split,
        "value": float(np.mean(values)),
        "low": low,
        "high": high,
        "n": len(values),
        "chance": chance,
    }


def _frontal(turned: pd.DataFrame) -> dict:
    near = turned[turned["yaw"].abs() <= 30]
    groups = near["identity"].astype(str).to_numpy()
    return _row("detected_within_30_degrees", "", near["found"], np.nan, groups)


def _probes(experiment: Experiment) -> list[dict]:
    dataset = experiment.dataset
    identities = dataset.table["identity"].to_numpy()
    chance = 1 / len(dataset.identities)
    rows = []
    for what in ("photo", "background"):
        features = small_photos(dataset, what)
        for kind in ("photo", "session"):
            split = make_split(dataset, kind, experiment.seed)
            part = dict(zip(split["photo"], split["part"], strict=True))
            train = (dataset.table["photo"].map(part) == "train").to_numpy()
            right = linear_probe(features, identities, train, experiment.seed)
            rows.append(_row(f"linear_classifier_on_{what}", kind, right, chance))
    return rows


def _names(experiment: Experiment) -> dict:
    _, _, faces = experiment.evaluate("joint")
    right = matching.jointly_correct(faces.assign(iou=faces["iou_calibrated"]), 0.5)
    return _row("joint_accuracy_50", experiment.split_kind, right, 1 / len(experiment.identities))


if __name__ == "__main__":
    asked = from_environment()
    asked.prepare()
    print(measure(asked)[0].to_string(index=False))
