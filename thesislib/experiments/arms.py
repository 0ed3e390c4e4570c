"""Arms of Experiment 3: trainings that differ from the main one in a single thing."""

import dataclasses
import functools
import re
from typing import Any

from thesislib import seeds
from thesislib.data.schema import Dataset, subset
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.experiments.groups import people
from thesislib.profiles import Margin, Profile
from thesislib.tables import MAIN_ARM, STARTED_ARM

# What is changed in the profile; nothing else is. Smoothed targets would be a second change.
_BASE: dict[str, Any] = {"normalised": True, "label_smoothing": 0.0}
ARMS: dict[str, dict[str, Any]] = {
    "linear": {**_BASE, "normalised": False},  # the thesis's plain cross-entropy
    "normalised": _BASE,
    **{f"cosface_{s}": {**_BASE, "margin": Margin("cosface", 0.2, s)} for s in (8, 16, 32)},
    **{f"arcface_{s}": {**_BASE, "margin": Margin("arcface", 17.2, s)} for s in (8, 16, 32)},
    **{f"dim{d}": {**_BASE, "embedding_dim": d} for d in (64, 128, 256)},
    "roi": {**_BASE, "embedding_source": "roi"},
}
# Arms of a learning curve: as the main one, for as many steps to half an epoch, but with this many
# people, or photos of each.
CURVE = re.compile(r"(people|photos)_([1-9]\d*)")


@dataclasses.dataclass(frozen=True)
class Arm:
    """A training variant.

    Attributes:
        name: see :func:`arm_of`.
        config: with the arm's changes of the profile.
    """

    name: str
    config: Config

    @property
    def train(self) -> Dataset:
        """The photos that are learned."""
        return _learned(self.config, self.name)


def arms_of(profile: Profile) -> list[str]:
    """Arms that a profile has time for."""
    if profile.name in ("laptop", "thesis"):
        return [*ARMS, STARTED_ARM]
    return [MAIN_ARM, STARTED_ARM]


def arm_of(config: Config, name: str) -> Arm:
    """An arm of a config.

    Args:
        config: without the arm's changes.
        name: in :data:`ARMS`; ``people_<n>`` or ``photos_<n>``, with so many people or photos of
            each to learn from, drawn with the config's seed, smaller ones within larger ones;
            or :data:`thesislib.tables.STARTED_ARM`, see
            :func:`thesislib.experiments.config.started`.

    Raises:
        ValueError: unknown arm, or more people than there are.
    """
    if name == STARTED_ARM:
        return Arm(name, configs.started(config))
    fewer = CURVE.fullmatch(name)
    if name not in ARMS and not fewer:
        known = ", ".join([*ARMS, STARTED_ARM])
        raise ValueError(
            f"arm {name!r} is unknown; choose one of {known}, people_<number>, photos_<number>"
        )
    profile = dataclasses.replace(config.profile, **ARMS[MAIN_ARM if fewer else name])
    own = dataclasses.replace(config, profile=profile)
    if not fewer:
        return Arm(name, own)
    whole, part = (
        len(photos) // min(profile.batch, len(photos))
        for photos in (people(config).train.photos, _learned(own, name).photos)
    )
    # As many steps: else fewer photos would also mean less training.
    epochs = max(1, round(profile.epochs * whole / part))
    return Arm(name, dataclasses.replace(own, profile=dataclasses.replace(profile, epochs=epochs)))


def _learned(config: Config, name: str) -> Dataset:
    fewer = CURVE.fullmatch(name)
    train = people(config).train
    return _fewer(train, fewer[1], int(fewer[2]), config.seed) if fewer else train


@functools.lru_cache(maxsize=8)
def _fewer(train: Dataset, what: str, count: int, seed: int) -> Dataset:
    """The photos of so many people, the others in which have no name, or so many of each."""
    table = train.table
    names = train.identities
    if what == "people":
        if count > len(names):
            raise ValueError(f"arm people_{count}: there are {len(names)} people to learn from")
        drawn = seeds.generator(seed, "fewer people").permutation(len(names))[:count]
        chosen = table["identity"].isin([names[at] for at in drawn])
        own = subset(train, table["photo"][chosen])
        others = ~own.table["identity"].isin(set(table["identity"][chosen]))
        identity = own.table["identity"].mask(others, "")
        return Dataset(own.folder, own.table.assign(identity=identity))
    photos: set[str] = set()
    for person in names:
        mine = sorted(set(table["photo"][table["identity"] == person]))
        drawn = seeds.generator(seed, "fewer photos", person).permutation(len(mine))
        photos |= {mine[at] for at in drawn[:count]}
    return subset(train, photos)
