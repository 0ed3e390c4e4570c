"""Who is seen in training and who is not, and the faces whose embeddings are measured together."""

import dataclasses
import functools
from collections import Counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib import cache
from thesislib.data.scenes import CHANCE, CHANCE_LINKS, with_scenes
from thesislib.data.schema import ANNOTATIONS, Dataset, DatasetError, check_named, subset
from thesislib.data.splits import inseparable, make_split
from thesislib.engine.embed import annotated_faces
from thesislib.engine.processes import this_process
from thesislib.experiments.config import Config, read, shows_progress

UNSEEN = 0.25  # share of the people who are never trained on
KEPT_SCENES = 2  # of each person seen, at least, so that there are pairs to compare


@dataclasses.dataclass(frozen=True)
class People:
    """A dataset whose people are divided; sessions are scenes, see :func:`scenes_of`.

    Attributes:
        dataset: the whole.
        split: table ``photo, part``.
        train: photos that are learned.
        seen: photos of the same people in scenes that are kept from training.
        unseen: all photos of people who are never trained on.
    """

    dataset: Dataset
    split: pd.DataFrame
    train: Dataset
    seen: Dataset
    unseen: Dataset


def scenes_of(dataset: Dataset) -> Dataset:
    """A dataset whose sessions are scenes, see :func:`thesislib.data.scenes.with_scenes`; asked
    again they are read."""
    check_named(dataset)
    chances = {"chance": CHANCE, "chance_links": CHANCE_LINKS}
    folder = cache.folder("scenes", dataset.name, data=dataset.content_hash, **chances)

    def found() -> pd.DataFrame:
        return with_scenes(dataset, shows_progress()).table[["photo", "session"]]

    with this_process().main_process_first():
        session = cache.table(folder / "scenes.csv", found)["session"].fillna("").astype(str)
    return Dataset(dataset.folder, dataset.table.assign(session=session.to_numpy(object)))


def people(config: Config) -> People:
    """Divide the people of a config's dataset.

    In a tuning run (``config.holdout``) the people never seen are taken from the training part of
    the true split, whose own unseen people and kept photos are not read.

    Raises:
        DatasetError: the dataset breaks the form, its people cannot be parted, or nobody was
            photographed in two scenes.
    """
    return _divided(read(config.data), config.seed, config.holdout)


@functools.lru_cache(maxsize=4)
def _divided(dataset: Dataset, seed: int, holdout: bool) -> People:
    check_named(dataset)
    make_split(dataset, "photo", seed)  # tells all who have too few photos, whoever is drawn
    dataset = whole = scenes_of(dataset)
    for _ in range(1 + holdout):
        apart = make_split(whole, "identity", seed, UNSEEN)
        known = subset(whole, apart["photo"][apart["part"] == "train"])
        seen = apart["photo"].isin(_kept(known, seed))
        part = np.where(apart["part"] == "test", "unseen", np.where(seen, "seen", "train"))
        split = apart.assign(part=part)
        whole = subset(dataset, split["photo"][part == "train"])
    parts = (subset(dataset, split["photo"][part == name]) for name in ("train", "seen", "unseen"))
    return People(dataset, split, *parts)


def _kept(known: Dataset, seed: int) -> set[str]:
    """Photos of people seen that are kept from training: whole scenes, two of a person who has
    three, one of who has two."""
    units = list(inseparable(known, "session").values())
    of_photo = known.table.groupby("photo")["identity"].agg(lambda names: set(names) - {""})
    people_of = [set().union(*of_photo[photos]) for photos in units]
    while True:
        counts = Counter(person for people in people_of for person in people)
        once = {person for person, count in counts.items() if count < 2}
        if not once:
            break
        # Who has one is learned, with all that is in those photos; others may then have one left.
        left = [at for at, people in enumerate(people_of) if not people & once]
        units, people_of = [units[at] for at in left], [people_of[at] for at in left]
    photos = {photo for unit in units for photo in unit}
    if not any(people_of):
        raise DatasetError(
            f"{known.folder / ANNOTATIONS}: nobody was photographed in two scenes, one to learn "
            "and one to test"
        )
    split = make_split(subset(known, photos), "session", seed, least=KEPT_SCENES)
    return set(split["photo"][split["part"] == "test"])


@dataclasses.dataclass(frozen=True)
class Group:
    """Faces of known people.

    Attributes:
        dataset: the photos that show somebody known.
        faces: annotation rows of the known faces, n of them.
        place: int64 [n], of each among all annotated faces of the dataset, those of nobody known
            included: its row in :func:`thesislib.engine.embed.embed`.
    """

    dataset: Dataset
    faces: pd.DataFrame
    place: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: Dataset) -> "Group":
        """All known faces of a dataset."""
        known = dataset.table["x1"].notna() & (dataset.table["identity"] != "")
        dataset = subset(dataset, dataset.table["photo"][known])
        faces = annotated_faces(dataset)
        place = np.flatnonzero(faces["identity"] != "")
        return cls(dataset, faces.iloc[place].reset_index(drop=True), place)

    @property
    def identities(self) -> NDArray[np.object_]:
        """Names [n]."""
        return self.faces["identity"].to_numpy(object)

    @property
    def sessions(self) -> NDArray[np.object_]:
        """Sessions [n]; "" where there is none."""
        return self.faces["session"].fillna("").astype(str).to_numpy(object)

    def select(self, chosen: NDArray[np.bool_]) -> "Group":
        """The chosen faces alone, bool [n], in the same photos."""
        faces = self.faces[chosen].reset_index(drop=True)
        return dataclasses.replace(self, faces=faces, place=self.place[chosen])


def one_per_scene(group: Group, embedded: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """The first face of every scene of a person, bool [n].

    Pairs of one person are then always of two scenes, which share neither shirt nor light.

    Args:
        group: n faces.
        embedded: bool [n], the faces that are asked; None for all.
    """
    chosen = np.ones(len(group.faces), dtype=bool) if embedded is None else embedded.copy()
    chosen[chosen] = ~group.faces[chosen].duplicated(["identity", "session"]).to_numpy()
    return chosen
