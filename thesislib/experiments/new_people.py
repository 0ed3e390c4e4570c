"""Who is new to a net, and a few photos of each of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thesislib import seeds
from thesislib.data.schema import Dataset, DatasetError, subset
from thesislib.experiments.config import Config, parts, read


@dataclasses.dataclass(frozen=True)
class NewPeople:
    """People of the target who take part, the same for every number of photos.

    Attributes:
        dataset: the target.
        identities: those who have enough photos, in alphabetical order.
        train: training photos that show one of them; nobody else is named.
        test: test photos, likewise.
    """

    dataset: Dataset
    identities: list[str]
    train: Dataset
    test: Dataset

    def without(self, photos: Sequence[str]) -> Dataset:
        """Training photos but these."""
        return subset(self.train, [name for name in self.train.photos if name not in set(photos)])


def new_people(source: Config, target: Path, at_least: int) -> NewPeople:
    """The target, split by photo as the source's seed says, and who of it takes part.

    Args:
        source: of the net that is given new people.
        target: dataset folder.
        at_least: photos that a person must have in the training part.

    Raises:
        DatasetError: somebody is in the source too, or fewer than two people have enough photos.
    """
    divided = parts(Config(target, source.profile, "photo", source.seed))
    known = set(read(source.data).identities) & set(divided.dataset.identities)
    if known:
        raise DatasetError(
            f"{target}: {sorted(known)[0]!r} is in {source.data} too; the people of a transfer "
            "must be new"
        )
    faces = divided.train.table[divided.train.table["identity"] != ""]
    photos = faces.groupby("identity")["photo"].nunique()
    identities = sorted(photos.index[photos >= at_least])
    if len(identities) < 2:
        raise DatasetError(
            f"{target}: {len(identities)} people have {at_least} training photos, and at least 2 "
            "are needed"
        )
    train, test = (_naming(part, identities) for part in (divided.train, divided.test))
    return NewPeople(divided.dataset, identities, train, test)


def _naming(dataset: Dataset, identities: Sequence[str]) -> Dataset:
    """The photos that show one of these people; others in them have no name."""
    named = dataset.table["identity"].isin(identities)
    table = dataset.table.assign(identity=dataset.table["identity"].where(named, ""))
    return subset(Dataset(dataset.folder, table), table["photo"][named])


def few_photos(dataset: Dataset, photos_per_person: int, seed: int) -> Dataset:
    """A dataset with so many photos of each person; a larger number holds those of a smaller.

    In a photo of several people some may have enough already: they are shown without a name.

    Args:
        dataset: that has as many photos of everybody.
        photos_per_person: at least 1.
        seed: of the choice.
    """
    order = seeds.generator(seed, "few photos").permutation(len(dataset.photos))
    rank = {dataset.photos[photo]: at for at, photo in enumerate(order)}
    faces = dataset.table[dataset.table["identity"] != ""]
    drawn = faces.iloc[np.argsort(faces["photo"].map(rank), kind="stable")]
    chosen = drawn.index[drawn.groupby("identity").cumcount() < photos_per_person]
    named = dataset.table.index.isin(chosen)
    table = dataset.table.assign(identity=dataset.table["identity"].where(named, ""))
    return subset(Dataset(dataset.folder, table), table["photo"][named])
