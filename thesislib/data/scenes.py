"""Which sittings of a person are of one scene: told by what is seen around the faces.

Two clips of one interview, or two photos of one evening, share wall, light and shirt. Where one is
learned and the other tested, or two are compared, the scene is recognised and not the face.
"""

import functools
import itertools
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from thesislib import seeds
from thesislib.data.columns import BOX
from thesislib.data.images import read_photo
from thesislib.data.schema import Dataset

SIDE = 16  # pixels of the thumbnails that are compared
# Of the pairs of sittings of different people, the share whose surroundings may be this alike.
CHANCE = 0.01
# Of the sittings of one person, so many may be linked by chance to each. Were it more, those of a
# person who has hundreds would all hang together by chains.
CHANCE_LINKS = 0.2
_AROUND = (0.3, 0.5, 0.3, 0.2)  # of a box's sides: hair and neck are of the face
_OTHERS = 50_000  # pairs of sittings that are looked at for this
_PAIRS_AT_ONCE = 4096
_LEAST_SEEN = SIDE * SIDE // 8  # pixels around the faces of both, to be compared


class Surroundings(NamedTuple):
    """What is seen of a sitting around the faces.

    Attributes:
        colours: float [SIDE, SIDE, 3], means over its photos, 0 where a face hides them in all.
        seen: bool [SIDE, SIDE].
    """

    colours: NDArray[np.float64]
    seen: NDArray[np.bool_]


def surroundings(dataset: Dataset, photos: list[str]) -> Surroundings:
    """What is seen in some of a dataset's photos around all annotated faces, on average."""
    total, times = np.zeros((SIDE, SIDE, 3)), np.zeros((SIDE, SIDE, 1))
    for name in photos:
        photo = read_photo(dataset.folder / name)
        small = Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BOX)
        boxes = _boxes(dataset)[name]
        seen = seen_around(boxes, photo.shape[1], photo.shape[0])[..., None]
        total += np.asarray(small, dtype=np.float64) * seen
        times += seen
    return Surroundings(total / np.maximum(times, 1), times[..., 0] > 0)


def seen_around(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels of a photo's thumbnail show no face, bool [SIDE, SIDE].

    Args:
        boxes: [F, 4] x1, y1, x2, y2, pixels of the photo.
        width, height: of the photo.
    """
    seen = np.ones((SIDE, SIDE), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        left, top, right, bottom = np.array(_AROUND) * [x2 - x1, y2 - y1, x2 - x1, y2 - y1]
        columns = np.array([x1 - left, x2 + right]) / width * SIDE
        rows = np.array([y1 - top, y2 + bottom]) / height * SIDE
        (c1, r1) = (max(0, int(np.floor(v[0]))) for v in (columns, rows))
        (c2, r2) = (max(0, int(np.ceil(v[1]))) for v in (columns, rows))
        seen[r1:r2, c1:c2] = False
    return seen


@functools.lru_cache(maxsize=2)
def _boxes(dataset: Dataset) -> dict[str, NDArray[np.float64]]:
    faces = dataset.table.dropna(subset=BOX)
    found = {name: own[BOX].to_numpy(float) for name, own in faces.groupby("photo")}
    return {name: found.get(name, np.empty((0, 4))) for name in dataset.photos}


def likeness(sittings: Sequence[Surroundings], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """How alike the surroundings of two sittings are: Pearson's correlation of their colours.

    Of each place the mean over all sittings is taken off, since photos are alike in being light
    above and dark below. Compared is what is seen in both.

    Args:
        sittings: n of them.
        pairs: int64 [m, 2], rows of sittings.

    Returns:
        float [m] in -1 to 1; NaN where too little is seen in both, or it does not vary.
    """
    colours = np.stack([one.colours.reshape(-1) for one in sittings])
    seen = np.stack([np.repeat(one.seen.reshape(-1), 3) for one in sittings])
    away = colours - (colours * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    found = np.full(len(pairs), np.nan)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        one, other = pairs[start : start + _PAIRS_AT_ONCE].T
        both = seen[one] & seen[other]
        count = np.maximum(both.sum(axis=1, keepdims=True), 1)
        a, b = (np.where(both, away[which], 0) for which in (one, other))
        a, b = (v - np.where(both, v.sum(axis=1, keepdims=True) / count, 0) for v in (a, b))
        length = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        enough = (count[:, 0] >= 3 * _LEAST_SEEN) & (length > 1e-6)
        product = (a * b).sum(axis=1) / np.maximum(length, 1e-6)
        found[start : start + len(one)] = np.where(enough, np.clip(product, -1, 1), np.nan)
    return found


def with_scenes(dataset: Dataset, progress: bool = False) -> Dataset:
    """The dataset with a session for each scene of a person, in place of the sessions it has.

    Sittings, which are sessions, or single photos where a person's face has no session, are of one
    scene where they share a photo of equal bytes, where their surroundings are more alike than
    those of 99 in 100 pairs of sittings of different people are, or where a chain of such sittings
    leads from one to the other. So about one pair of sittings in a hundred is taken for one scene
    by mistake, which costs faces to compare, and leaks nothing. Of a person with more than 21
    sittings surroundings must be the more alike, the more sittings there are, see
    :data:`CHANCE_LINKS`: scenes may then be missed.

    Args:
        dataset: with people who have names.
        progress: whether to show a bar.

    Returns:
        the dataset; sessions of named people are ``scene 000``, ``scene 001``, ... of each, in the
        order of their sittings, and none is empty.

    Warns:
        UserWarning: sittings that show too little around the faces to be compared; each is taken
            for a scene of its own.
    """
    table = dataset.table
    named = table["identity"] != ""
    sitting = table["session"].where(table["session"] != "", "photo " + table["photo"])
    photos = table[named].groupby([table["identity"], sitting], sort=True)["photo"].unique()
    owner = photos.index.get_level_values(0).to_numpy(object)
    bar = tqdm(photos, desc="scenes", unit="sitting", disable=not progress)
    seen = [surroundings(dataset, list(own)) for own in bar]
    bare = sum(int(one.seen.sum()) < _LEAST_SEEN for one in seen)
    if bare:
        warnings.warn(
            f"{dataset.folder}: {bare} of {len(seen)} sittings show too little around the faces to "
            "tell their scenes; each is taken for one of its own",
            stacklevel=2,
        )
    scene = linked(seen, owner, _of_equal_bytes(dataset, photos, owner))
    of = dict(zip(photos.index, scene, strict=True))
    told = [
        f"scene {of[who, where]:03d}" if who else session
        for who, where, session in zip(table["identity"], sitting, table["session"], strict=True)
    ]
    return Dataset(dataset.folder, table.assign(session=pd.Series(told, table.index, dtype=str)))


def _of_equal_bytes(
    dataset: Dataset, photos: pd.Series, owner: NDArray[np.object_]
) -> NDArray[np.int64]:
    """Pairs of sittings of one person that share a photo of equal bytes, [m, 2]."""
    first: dict[tuple[str, str], int] = {}
    pairs = [
        (first.setdefault((owner[at], dataset.photo_hashes[name]), at), at)
        for at, own in enumerate(photos)
        for name in own
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def linked(
    sittings: Sequence[Surroundings], owner: NDArray[np.object_], twins: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number the scenes of each person from 0, in the order of their first sittings.

    Args:
        sittings: n of them.
        owner: [n] whose sitting each is.
        twins: int64 [m, 2], pairs of sittings that are of one scene whatever they look like.

    Returns:
        int64 [n].
    """
    places = pd.Series(np.arange(len(owner))).groupby(owner).agg(list)
    own_pairs = np.array(
        [pair for at in places for pair in itertools.combinations(at, 2)], dtype=np.int64
    ).reshape(-1, 2)
    # All pairs of different people would be too many; the same are drawn whatever the run's seed.
    drawn = seeds.generator(0, "scenes").integers(len(owner), size=(_OTHERS, 2))
    others = likeness(sittings, drawn[owner[drawn[:, 0]] != owner[drawn[:, 1]]])
    others = others[~np.isnan(others)]
    further = places.map(len)[owner[own_pairs[:, 0]]].to_numpy() - 1  # sittings of the person
    chance = np.minimum(CHANCE, CHANCE_LINKS / np.maximum(further, 1))
    threshold = np.quantile(others, 1 - chance) if len(others) else np.full(len(chance), np.inf)
    alike = own_pairs[likeness(sittings, own_pairs) > threshold]
    one, other = np.concatenate([alike, twins]).T
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(owner), len(owner)))
    component = connected_components(links, directed=False)[1]
    scene = np.zeros(len(owner), dtype=np.int64)
    for at in places:
        first = dict.fromkeys(component[at].tolist())
        number = {part: count for count, part in enumerate(first)}
        scene[at] = [number[part] for part in component[at].tolist()]
    return scene
