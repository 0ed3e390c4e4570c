"""How small may a face be: photos of people made smaller, and compared with others of theirs.

On the command line::

    python -m thesislib face-sizes --data <folder>
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from thesislib import cache, paths, seeds, storage
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset, DatasetError, read_dataset
from thesislib.deploy.closer_look import CloserLook
from thesislib.deploy.enrolment import FACE_SCORE
from thesislib.deploy.threshold import usual_threshold
from thesislib.engine.checkpoint import load_net
from thesislib.engine.predict import System, answers_key, predict
from thesislib.environment import commit
from thesislib.experiments.config import data_folder
from thesislib.experiments.recogniser import system_name
from thesislib.faces import Face
from thesislib.metrics.statistics import bootstrap_interval
from thesislib.tables import merge_table

TABLE = "face_sizes.csv"
SIZES = (24, 32, 48, 64, 96)  # side of a face, pixels
PEOPLE = 120
MIN_PEOPLE = 10
_GREY = 127
_DRAWS = 2000


class Pair(NamedTuple):
    """Two photos of a person, and where the face is in each, pixels."""

    reference: str
    reference_box: NDArray[np.float64]
    probe: str
    box: NDArray[np.float64]


def pairs_of(dataset: Dataset, people: int, seed: int) -> list[Pair]:
    """Two photos each of some people, drawn by the seed.

    Raises:
        DatasetError: fewer than ten people have two photos.
    """
    rng = seeds.generator(seed, "face sizes")
    found = []
    named = dataset.table[dataset.table["identity"] != ""].dropna(subset=BOX)
    for _, rows in named.groupby("identity"):
        photos = rows.drop_duplicates("photo")
        if len(photos) > 1:
            boxes = photos[BOX].to_numpy(float)
            one, two = rng.permutation(len(photos))[:2]
            names = photos["photo"].tolist()
            found.append(Pair(names[one], boxes[one], names[two], boxes[two]))
    if len(found) < MIN_PEOPLE:
        raise DatasetError(
            f"{dataset.folder}: {len(found)} people have two photos, and at least {MIN_PEOPLE} are "
            "needed"
        )
    return [found[at] for at in sorted(rng.permutation(len(found))[:people])]


def shrunk(
    photo: np.ndarray, box: NDArray[np.float64], side: float, canvas: int
) -> tuple[np.ndarray, NDArray[np.float64]]:
    """A photo at another size, on an even grey, with its face in the middle.

    Args:
        photo: uint8 [H, W, 3].
        box: of its face, pixels.
        side: that the face, the root of its box's area, gets.
        canvas: sides of the result, pixels; what lies beyond is cut off.

    Returns:
        uint8 [canvas, canvas, 3], and the box in it.
    """
    scale = side / np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    height, width = (max(1, round(scale * length)) for length in photo.shape[:2])
    small = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (canvas, canvas), (_GREY, _GREY, _GREY))
    middle = scale * (box[:2] + box[2:]) / 2
    left, top = (round(canvas / 2 - at) for at in middle)
    picture.paste(small, (left, top))
    return np.asarray(picture), box * scale + np.array([left, top, left, top])


def face_at(faces: list[Face], box: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Embedding of the face found whose middle is nearest that of a box, and lies within it."""
    middle = (box[:2] + box[2:]) / 2
    near = [
        (float(np.abs((face.box[:2] + face.box[2:]) / 2 - middle).max()), face) for face in faces
    ]
    distance, face = min(near, key=lambda one: one[0], default=(np.inf, None))
    within = distance <= min(box[2] - box[0], box[3] - box[1]) / 2
    return face.embedding if face is not None and within else None


def measured(
    references: NDArray[np.float32], probes: list[NDArray[np.float32] | None], threshold: float
) -> dict[str, NDArray[np.float64]]:
    """What is found of small faces, person by person.

    Args:
        references: [P, E] unit length, of each person.
        probes: P, of each person another face, or None where it was not found.
        threshold: cosine from which two faces are one person.

    Returns:
        ``found`` [P], ``known_again`` [P] (found, and at or above the threshold) and
        ``strangers`` [P], the share of the other people at or above it, NaN where it was not found.
    """
    found = np.array([probe is not None for probe in probes])
    known, strangers = np.zeros(len(probes)), np.full(len(probes), np.nan)
    for at in np.flatnonzero(found):
        over = references @ np.asarray(probes[at]) >= threshold
        known[at] = over[at]
        strangers[at] = np.delete(over, at).mean()
    return {"found": found.astype(float), "known_again": known, "strangers": strangers}


def run(
    data: Path | str,
    net: Path | str = "default",
    sizes: tuple[int, ...] = SIZES,
    people: int = PEOPLE,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure a net on faces of some sizes, read once and with a closer look; the rows are merged
    into ``face_sizes.csv``.

    Interrupted it goes on.

    Args:
        data: dataset of people with two photos or more.
        net: as :func:`thesislib.engine.checkpoint.load_net` takes it.
        sizes: sides of faces, pixels of a photo as large as the net's input.
        people: how many, drawn by the seed.
        seed: of them.
        progress: show bars.

    Returns:
        rows ``dataset, system, size_px, reading, measure, value, low, high, n``.

    Raises:
        DatasetError: a dataset that breaks the form, or of too few people who are found.
        ValueError: a net that does not read at landmarks.
    """
    dataset, loaded = read_dataset(data_folder(data)), load_net(net)
    readings: dict[str, System] = {"once": loaded, "closer": CloserLook(loaded)}
    pairs, canvas = pairs_of(dataset, people, seed), loaded.input_px
    about = {"data": dataset.content_hash, "people": people, "seed": seed, "canvas": canvas}
    files = [dataset.folder / pair.reference for pair in pairs]
    kept = cache.folder("face-sizes", dataset.name, **about)
    out = kept / f"references-{answers_key(loaded)[:12]}"
    answers = predict(loaded, files, FACE_SCORE, out, progress)
    references: list[Any] = [
        face_at(faces, pair.reference_box) for faces, pair in zip(answers, pairs, strict=True)
    ]
    there = [at for at, one in enumerate(references) if one is not None]
    if len(there) < MIN_PEOPLE:
        raise DatasetError(f"{dataset.folder}: {len(there)} people are found in a photo of theirs")
    known = np.stack([references[at] for at in there])
    rows = []
    for size in sizes:
        photos, places = _photos(dataset, pairs, size, canvas, kept)
        for reading, system in readings.items():
            out = kept / f"{size}-{reading}-{answers_key(system)[:12]}"
            found = predict(system, photos, FACE_SCORE, out=out, progress=progress)
            probes = [face_at(found[at], places[at]) for at in there]
            tested = measured(known, probes, usual_threshold(loaded))
            rows += _rows(tested, size, reading, seed)
    table = pd.DataFrame(rows).assign(
        dataset=dataset.name,
        system=system_name(net),
        profile="default" if (tuple(sizes), people) == (SIZES, PEOPLE) else "smoke",
        seed=seed,
        backbone=loaded.backbone_name,
        start="dlib",
        input_px=canvas,
        precision="fp32",
        commit=commit(),
        run=cache.key(net=answers_key(loaded), sizes=sizes, **about),
        command=_command(dataset, net, people, seed),
    )
    merge_table(paths.TABLES / TABLE, table)
    return table


def _command(dataset: Dataset, net: Path | str, people: int, seed: int) -> str:
    given = {"net": Path(net).name, "people": people, "seed": seed}
    usual = {"net": "default", "people": PEOPLE, "seed": 0}
    words = [f" --{name} {value}" for name, value in given.items() if value != usual[name]]
    return f"python -m thesislib face-sizes --data {dataset.name}{''.join(words)}"


def _photos(
    dataset: Dataset, pairs: list[Pair], size: int, canvas: int, kept: Path
) -> tuple[list[Path], list[NDArray[np.float64]]]:
    """Files of the photos made smaller, without loss, and the boxes in them."""
    files, boxes = [], []
    for at, pair in enumerate(pairs):
        picture, box = shrunk(read_photo(dataset.folder / pair.probe), pair.box, size, canvas)
        file = kept / f"photos-{size}" / f"{at:04d}.png"
        if not file.exists():
            with storage.atomic_write(file) as new:
                Image.fromarray(picture).save(new)
        files.append(file)
        boxes.append(box)
    return files, boxes


def _rows(
    tested: Mapping[str, NDArray[np.float64]], size: int, reading: str, seed: int
) -> list[dict[str, Any]]:
    rows = []
    for measure, values in tested.items():
        there = values[~np.isnan(values)]
        low, high = (
            bootstrap_interval(there, draws=_DRAWS, seed=seed) if len(there) else (np.nan, np.nan)
        )
        value = float(there.mean()) if len(there) else np.nan
        told = {"size_px": size, "reading": reading, "measure": measure}
        rows.append(told | {"value": value, "low": low, "high": high, "n": len(there)})
    return rows
