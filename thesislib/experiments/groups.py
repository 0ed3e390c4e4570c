"""Who is seen in training and who is not, and the faces whose embeddings are measured together."""

import dataclasses
import functools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thesislib.data.schema import Dataset, check_named, subset
from thesislib.data.splits import make_split
from thesislib.engine.embed import annotated_faces
from thesislib.experiments.config import Config, read

UNSEEN = 0.25  # share of the people who are never trained on


@dataclasses.dataclass(frozen=True)
class People:
    """A dataset whose people are divided.

    Attributes:
        dataset: the whole.
        split: table ``photo, part``.
        train: photos that are learned.
        seen: photos of the same people that are kept from training.
        unseen: all photos of people who are never trained on.
    """

    dataset: Dataset
    split: pd.DataFrame
    train: Dataset
    seen: Dataset
    unseen: Dataset


def people(config: Config) -> People:
    """Divide the people of a config's dataset.

    In a tuning run (``config.holdout``) the people never seen are taken from the training part of
    the true split, whose own unseen people and kept photos are not read.

    Raises:
        DatasetError: the dataset breaks the form, or its people cannot be parted.
    """
    return _divided(read(config.data), config.seed, config.holdout)


@functools.lru_cache(maxsize=4)
def _divided(dataset: Dataset, seed: int, holdout: bool) -> People:
    check_named(dataset)
    make_split(dataset, "photo", seed)  # tells all who have too few photos, whoever is drawn
    whole = dataset
    for _ in range(1 + holdout):
        apart = make_split(whole, "identity", seed, UNSEEN)
        known = subset(whole, apart["photo"][apart["part"] == "train"])
        kept = make_split(known, "photo", seed)
        seen = apart["photo"].isin(kept["photo"][kept["part"] == "test"])
        part = np.where(apart["part"] == "test", "unseen", np.where(seen, "seen", "train"))
        split = apart.assign(part=part)
        whole = subset(dataset, split["photo"][part == "train"])
    parts = (subset(dataset, split["photo"][part == name]) for name in ("train", "seen", "unseen"))
    return People(dataset, split, *parts)


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


def one_per_session(group: Group) -> NDArray[np.bool_]:
    """The first face of every session of a person, bool [n].

    Pairs of one person are then always of two sessions, which share neither shirt nor light.
    """
    return ~group.faces.duplicated(["identity", "session"]).to_numpy()


def as_few_as_seen(group: Group, seed: int) -> NDArray[np.bool_]:
    """As many faces per person as are kept of people seen, drawn alike; bool [n].

    Retrieval asks whether *the* other photo of a person is found, or one of eleven, most of them
    of one clip: groups with more photos per person look better.

    Args:
        group: of people unseen.
        seed: of the split.
    """
    split = make_split(group.dataset, "photo", seed)
    return group.faces["photo"].isin(split["photo"][split["part"] == "test"]).to_numpy()
