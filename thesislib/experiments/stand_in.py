"""Are synthetic people a fair stand-in for real ones?

Five questions, each answered by a number that could have come out badly: does a detector that
learned from photos of real people take them for people; does it lose them as they turn away; can
they be told apart without looking at the face; is a person harder to know again in another
sitting, as real people are; and does a recogniser that learned from real people (dlib's, the extra
"teacher") see as many people in them as there are? On the command line::

    python -m thesislib stand-in --profile quick
"""

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from thesislib import cache, paths
from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.data.detector import detect_faces
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset
from thesislib.data.splits import make_split
from thesislib.engine.processes import this_process
from thesislib.environment import MissingExtraError, commit
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
from thesislib.models.dlib_resnet import EMBEDDING_DIM
from thesislib.synthetic import parameters, scene
from thesislib.synthetic.parameters import Parameters
from thesislib.synthetic.worker import DrawingPool
from thesislib.tables import merge_table

YAWS = tuple(range(-60, 61, 10))
TABLE = "stand_in.csv"
YAW_TABLE = "stand_in_yaw.csv"
DISTANCE_TABLE = "stand_in_distances.csv"
SAME_PERSON = 0.6  # dlib takes two faces nearer than this for one person's
DISTANCE_STEP = 0.02  # width of the histogram's bins
_PROBE_PX = (24, 32)  # rows and columns of the small photos that linear classifiers see
_SWEPT_PEOPLE, _FIRST_SWEPT = 30, 3_000_000
_RECOGNISED_PEOPLE, _FIRST_RECOGNISED = 50, 4_000_000
_RECOGNISED_YAW = 35  # degrees, up to which the recogniser's landmarks can be relied on


def detection_by_yaw(
    people: int, seed: int = 0, size: int = 320, progress: bool = True, workers: int = 1
) -> pd.DataFrame:
    """dlib's frontal detector (upsampling 1) on the same photos with the head turned step by step.

    Args:
        people: how many, one photo each at every angle of ``YAWS``.
        seed: of the people.
        size: shorter side of the photos in pixels.
        progress: show a bar.
        workers: processes to draw in; 1 draws in this process.

    Returns:
        One row per person and angle: ``identity, yaw`` (degrees), ``found`` (a detection's IoU
        with the face is at least 0.3, as dlib's idea of a face box is another).
    """
    asked = [(_FIRST_SWEPT + at, yaw) for at in range(people) for yaw in YAWS]
    shots = [(identity, 0, 0, {"yaw": float(yaw)}) for identity, yaw in asked]
    found = []
    with contextlib.closing(_drawn(shots, seed, size, workers, len(YAWS))) as drawn:
        bar = tqdm(drawn, "turning heads", len(shots), unit="photo", disable=not progress)
        for photo, faces in bar:
            boxes, _ = detect_faces(photo, upsampling=1)
            iou = box_iou(boxes, faces[0].box[None]) if len(boxes) else np.zeros(1)
            found.append(bool(iou.max() >= 0.3))
    return pd.DataFrame(asked, columns=["identity", "yaw"]).assign(found=found)


def _drawn(
    shots: Sequence[tuple[int, int, int, Parameters | None]],
    seed: int,
    size: int,
    workers: int,
    of_person: int,
) -> Generator[tuple[np.ndarray, list[scene.DrawnFace]]]:
    """Photos of (identity, session, shot, changes) in their order, drawn by processes while earlier
    ones are looked at; ``of_person`` of them in a row are one person's."""
    if not shots:
        return
    identities, sessions, numbers, changes = zip(*shots, strict=True)
    seeds, sizes = ([one] * len(shots) for one in (seed, size))
    told = (identities, sessions, numbers, seeds, sizes, changes)
    if min(workers, len(shots) // of_person) <= 1:
        yield from map(scene.render_photo, *told)
        return
    with DrawingPool(min(workers, len(shots) // of_person)) as pool:
        yield from pool.map(scene.render_photo, *told, chunksize=of_person)


def teacher_embeddings(
    people: int, seed: int = 0, size: int = 320, progress: bool = True, workers: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dlib's embeddings of one photo of each of two sessions per person, less than 35 degrees away.

    Args:
        people: how many, none of them in a dataset.
        seed: of the people.
        size: shorter side of the photos in pixels.
        progress: show a bar.
        workers: processes to draw in; 1 draws in this process.

    Returns:
        float32 [2 * people, 128], and the numbers of the people and sessions, int [2 * people].

    Raises:
        MissingExtraError: dlib, or the package with its weights, is not installed.
    """
    pipeline = DlibPipeline()
    numbers = [(_FIRST_RECOGNISED + at, session) for at in range(people) for session in (0, 1)]
    shots = [
        (identity, session, _ahead(identity, session, seed), None) for identity, session in numbers
    ]
    vectors = []
    with contextlib.closing(_drawn(shots, seed, size, workers, 2)) as drawn:
        bar = tqdm(drawn, "recognising", len(shots), unit="photo", disable=not progress)
        for photo, faces in bar:
            vectors.append(pipeline.embeddings_at([photo], [faces[0].box[None]])[0][0])
    identities, sessions = np.array(numbers).reshape(-1, 2).T
    return np.array(vectors, np.float32).reshape(-1, EMBEDDING_DIM), identities, sessions


def _ahead(identity: int, session: int, seed: int) -> int:
    """The first shot of a session in which a person looks ahead."""
    return next(
        shot
        for shot in itertools.count()
        if abs(parameters.shot_parameters(identity, session, shot, seed)["yaw"]) < _RECOGNISED_YAW
    )


def pair_distances(
    embeddings: np.ndarray, identities: np.ndarray, sessions: np.ndarray
) -> pd.DataFrame:
    """Euclidean distances of the pairs of photos of two people, or of two sessions of one.

    Args:
        embeddings: float [n, d].
        identities: [n].
        sessions: [n], numbers or names within a person.

    Returns:
        One row per pair of photos: ``first, second`` (the people), ``distance``. Pairs of one
        session are left out.
    """
    first, second = np.triu_indices(len(embeddings), 1)
    same = identities[first] == identities[second]
    kept = ~same | (sessions[first] != sessions[second])
    first, second = first[kept], second[kept]
    away = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
    return pd.DataFrame(
        {"first": identities[first], "second": identities[second], "distance": away}
    )


def distance_measures(pairs: pd.DataFrame) -> dict[str, float]:
    """How far apart a recogniser sees people, of :func:`pair_distances`.

    Args:
        pairs: ``first, second, distance``.

    Returns:
        ``teacher_distance_between``, mean distance of different people;
        ``teacher_share_under_060``, share of their pairs that dlib takes for one person's, in 0–1;
        ``teacher_distance_within``, mean distance of one person's photos of different sessions.
        NaN where there is no such pair.
    """
    same = pairs["first"] == pairs["second"]
    between, within = pairs["distance"][~same], pairs["distance"][same]
    under = between < SAME_PERSON
    return {
        "teacher_distance_between": float(between.mean()),
        "teacher_share_under_060": float(under.mean()),
        "teacher_distance_within": float(within.mean()),
    }


def distance_histogram(pairs: pd.DataFrame) -> pd.DataFrame:
    """Shares of pairs by distance, in bins of 0.02.

    Args:
        pairs: as :func:`pair_distances` returns them.

    Returns:
        ``pair`` (``between`` people or ``within`` one), ``distance`` (where a bin begins),
        ``share`` (of the pairs of its kind, in 0–1), ``n`` (their number).
    """
    kind = np.where(pairs["first"] == pairs["second"], "within", "between")
    at = np.floor(pairs["distance"] / DISTANCE_STEP).astype(int)
    counts = at.groupby(kind).value_counts().rename_axis(["pair", "distance"])
    total = counts.groupby("pair").transform("sum")
    table = pd.DataFrame({"share": counts / total, "n": total}).sort_index().reset_index()
    return table.assign(distance=(table["distance"] * DISTANCE_STEP).round(2))


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


def measure(
    config: Config, people: int = _SWEPT_PEOPLE, recognised: int = _RECOGNISED_PEOPLE
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Answer the questions; asked again it reads what was found.

    Args:
        config: a split by photo of synthetic people with sessions. The same is trained on a split
            by session.
        people: how many turn their heads.
        recognised: how many dlib's recogniser sees. Where its weights are not installed, what it
            would say is left out.

    Returns:
        the rows that it merges into ``stand_in.csv`` (``measure, split, value, low, high, n,
        chance``), ``stand_in_yaw.csv`` (``yaw, found, low, high, n``; shares in 0–1) and
        ``stand_in_distances.csv`` (:func:`distance_histogram`; empty without the recogniser), all
        with all columns of a table but the split.

    Raises:
        ValueError: a split by something else.
    """
    if config.split != "photo":
        raise ValueError(f"a split by {config.split}; both others are made from one by photo")
    by_session = dataclasses.replace(config, split="session")
    run = key(config, people=people, recognised=recognised)
    kept = cache.folder("stand_in", config.data.name, run=run)

    def turned() -> pd.DataFrame:
        found = detection_by_yaw(
            people, config.seed, progress=shows_progress(), workers=torch.get_num_threads()
        )
        return found.assign(commit=commit())

    def answers() -> pd.DataFrame:
        rows = [_frontal(heads), *_probes(config), *named]
        return pd.DataFrame(rows).assign(commit=commit())

    def recognised_pairs() -> pd.DataFrame:
        found = teacher_embeddings(
            recognised, config.seed, progress=shows_progress(), workers=torch.get_num_threads()
        )
        return pair_distances(*found).assign(commit=commit())

    # Trained and tested by all processes together; the rest is the main one's.
    named = [_names(one) for one in (config, by_session)]
    with this_process().main_process_first():
        heads = cache.table(kept / "heads.csv", turned)
        table = cache.table(kept / TABLE, answers)
        pairs = _if_installed(lambda: cache.table(kept / "pairs.csv", recognised_pairs))
    about = columns(config, run, command(config, "stand-in", split=None))
    del about["split"]
    yaw = _by_yaw(heads).assign(commit=heads["commit"].iloc[0])
    distances = pd.DataFrame(columns=["pair", "distance", "share", "n"])
    if pairs is not None:
        first = pairs["commit"].iloc[0]
        told = pd.DataFrame(_distances(pairs)).assign(commit=first)
        table = pd.concat([table, told], ignore_index=True)
        distances = distance_histogram(pairs).assign(commit=first)
    table, yaw, distances = (with_columns(rows, about) for rows in (table, yaw, distances))
    if this_process().is_main_process:
        for name, rows in ((TABLE, table), (YAW_TABLE, yaw), (DISTANCE_TABLE, distances)):
            if len(rows):
                merge_table(paths.TABLES / name, rows)
    this_process().wait_for_everyone()
    return table, yaw, distances


def _if_installed(compute: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
    """What ``compute`` returns, or None with a warning where the recogniser is not installed."""
    try:
        return compute()
    except MissingExtraError as error:
        warnings.warn(
            f"{error}. What dlib's recogniser says of synthetic people is left out.", stacklevel=3
        )
        return None


def verdicts(table: pd.DataFrame, yaw: pd.DataFrame) -> pd.Series:
    """Whether the questions were answered as for real people, the last if it was asked.

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
    answers = pd.Series(
        {
            "within 30 degrees dlib finds at least 90 %": found >= 0.9,
            "at 60 degrees it finds less than half of that": found_away < 0.45,
            "across sittings the background names at most 3 times chance": background <= most,
            "across sittings the photo's colours name at most 3 times chance": photo <= most,
            "across sittings the joint net loses at least 20 % of the faces": lost >= 0.2,
        }
    )
    alike = value.get(("teacher_share_under_060", ""))
    if alike is not None:
        answers["of two people dlib takes at most 15 % of the pairs for one"] = alike <= 0.15
    return answers


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


def _distances(pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of :func:`distance_measures` with their intervals over people.

    A pair belongs to two people. People are drawn, and the pairs among those drawn are averaged,
    as often as both were drawn; pairs of one drawn twice are no pairs of different people.
    """
    value = distance_measures(pairs)
    people, place = np.unique(pairs[["first", "second"]], return_inverse=True)
    row, column = place.reshape(-1, 2).T
    same, away = row == column, pairs["distance"].to_numpy()
    quantities = (
        ("teacher_distance_between", ~same, away),
        ("teacher_share_under_060", ~same, away < SAME_PERSON),
        ("teacher_distance_within", same, away),
    )
    rows = []
    for name, kept, quantity in quantities:
        total, count = (np.zeros((len(people), len(people))) for _ in range(2))
        np.add.at(total, (row[kept], column[kept]), quantity[kept])
        np.add.at(count, (row[kept], column[kept]), 1)
        total, count = total + total.T, count + count.T

        def mean(drawn: np.ndarray, total: np.ndarray = total, count: np.ndarray = count) -> float:
            times = np.bincount(drawn.astype(int), minlength=len(total))
            # Of one person the pairs count as often as the person was drawn, not by its square.
            weight = np.outer(times, times) - np.diag(times * times - times)
            return float((weight * total).sum() / (weight * count).sum())

        low, high = bootstrap_interval(np.arange(len(people)), mean, seed=0)
        about = {"measure": name, "split": "", "value": value[name], "low": low, "high": high}
        rows.append({**about, "n": int(kept.sum()), "chance": np.nan})
    return rows


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
