"""Experiment 3: how compact are the embeddings of people who were not in the training?

A dataset's people are divided: some are never seen in training, and of the others one photo in
six is kept from it. Joint nets that differ in one thing, an *arm*, are trained on what is left,
and their embeddings of both groups are measured, beside controls. One arm is not trained but
starts from dlib's recogniser, and has the pipeline with the same recogniser beside it. On the
command line::

    python -m thesislib experiment3 --data <folder> --profile laptop
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from thesislib import paths
from thesislib.data.schema import DatasetError
from thesislib.engine.processes import this_process
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config, read
from thesislib.experiments.group_tables import RESULTS_TABLE, Part, mapped, measured, part_of
from thesislib.experiments.groups import (
    UNSEEN,
    Group,
    as_few_as_seen,
    one_per_session,
    people,
)
from thesislib.experiments.systems import begins_with, profile_of
from thesislib.metrics.statistics import shuffled
from thesislib.profiles import PROFILES, Margin, Profile
from thesislib.tables import MAIN_ARM, STARTED_ARM, merge_table

MIN_PEOPLE = 24  # in a dataset some of whose people are kept unseen
DRAWS = 2000  # of the bootstrap over people

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


# Of the arm that starts from dlib's recogniser: the pipeline's name among the people, and system.
_PIPELINES = {"two_stage": "two_stage_face", "two_stage_aligned": "two_stage_aligned"}


def arms_of(profile: Profile) -> list[str]:
    """Arms that a profile has time for."""
    if profile.name in ("laptop", "thesis"):
        return [*ARMS, STARTED_ARM]
    return [MAIN_ARM, STARTED_ARM]


def with_arm(config: Config, arm: str) -> Config:
    """The config of an arm: with its changes of the profile, and no other.

    Args:
        config: without the arm's changes.
        arm: a name in :data:`ARMS`, or :data:`thesislib.tables.STARTED_ARM`, see
            :func:`thesislib.experiments.config.started`.

    Raises:
        ValueError: unknown arm.
    """
    if arm == STARTED_ARM:
        return configs.started(config)
    if arm not in ARMS:
        known = ", ".join([*ARMS, STARTED_ARM])
        raise ValueError(f"arm {arm!r} is unknown; choose one of {known}")
    return dataclasses.replace(config, profile=dataclasses.replace(config.profile, **ARMS[arm]))


def make_config(
    data: Path | str | None = None,
    profile: str | Profile = "laptop",
    seed: int = 0,
    holdout: bool = False,
    **changes: Any,
) -> Config:
    """A config of this experiment from what a user says.

    Args:
        data: dataset folder, or the name of one in ``data/``; None for the profile's synthetic
            people, who are made if need be.
        profile, seed, holdout, changes: see :func:`thesislib.experiments.config.make_config`.
    """
    config = configs.make_config(data, profile, "identity", seed, holdout=holdout, **changes)
    many = config.profile.many_people
    if data is None or config.data.resolve() == paths.synthetic(many).resolve():
        config = dataclasses.replace(config, data=configs.make_synthetic(many))
    return config


def from_environment() -> Config:
    """What ``make figures`` asks for, see
    :func:`thesislib.experiments.config.from_environment`.

    Learned from DATA if some of its people can be kept unseen, see :func:`why_others`; else from
    synthetic people, who are made if need be.
    """
    asked = configs.from_environment()
    own = not configs.is_default(asked) and not why_others(asked)
    return make_config(asked.data if own else None, asked.profile, asked.seed)


def why_others(config: Config) -> str:
    """Why ``make figures`` asks other people than a dataset's: a sentence, or "" where it does not.

    Args:
        config: of the dataset; the default one, of few people, is not asked and gives "".
    """
    if configs.is_default(config):
        return ""
    named = len(read(config.data).identities)
    told = f"{named} people are named in it, and {MIN_PEOPLE} are needed to keep some unseen"
    if named >= MIN_PEOPLE:
        try:
            unseen = len(people(config).unseen.identities)
        except DatasetError as error:
            told = str(error)
        else:
            if unseen >= UNSEEN / 2 * named:
                return ""
            told = f"{unseen} of {named} people can be kept unseen, the others share photos"
    return f"{config.data.name} is left out here, and synthetic people take its place: {told}"


def run(
    config: Config,
    arms: Iterable[str] = (),
    others: Iterable[Path | str] = (),
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Train and measure arms, see :func:`run_arm`.

    Args:
        config, others, draws: see :func:`run_arm`.
        arms: names of arms, see :func:`with_arm`; none for those that the profile has time for.

    Returns:
        their rows of ``experiment3.csv``.
    """
    others, arms = list(others), list(arms) or arms_of(config.profile)
    tables = [run_arm(config, arm, others, draws)[RESULTS_TABLE] for arm in arms]
    return pd.concat(tables, ignore_index=True)


def run_arm(
    config: Config,
    arm: str = MAIN_ARM,
    others: Iterable[Path | str] = (),
    draws: int = DRAWS,
) -> dict[str, pd.DataFrame]:
    """Train an arm if need be, measure it, and merge its rows into the tables of ``runs/figures``.

    Asked again, what was measured is read. Of a tuning run (``config.holdout``) nothing is
    written to the tables.

    Args:
        config: data, settings and seed, without the arm's changes.
        arm: see :func:`with_arm`. Of the main one, :data:`thesislib.tables.MAIN_ARM`, controls,
            curves and maps are made too; the others are compared with it. Of the one that starts
            from dlib's recogniser, the pipeline with the same recogniser is measured too.
        others: further datasets of people never seen; measured with the main arm alone.
        draws: of the bootstrap over people, at least 1.

    Returns:
        the arm's tables, by the name of their file.

    Raises:
        DatasetError: somebody of ``others`` is in the config's dataset too, or its people cannot
            be parted.
        ValueError: unknown arm.
    """
    own = with_arm(config, arm)
    if arm == MAIN_ARM:
        folders = [configs.data_folder(folder) for folder in others]
        _require_new(config, folders)
        parts = [*groups_of(own), *controls_of(own, folders)]
        found = [measured(own, part, draws) for part in parts]
        found.append(mapped(own, *parts[:2]))
    else:
        folders, main = [], with_arm(config, MAIN_ARM)
        found = [
            measured(own, part, draws, main if part.people in ("unseen", "unseen_apart") else None)
            for part in groups_of(own, drawn=False)
        ]
    if arm == STARTED_ARM:
        unseen = Group.of(people(own).unseen)
        for name, system in _PIPELINES.items():
            told = {
                "start": configs.start_name(begins_with(own, system)),
                "input_px": profile_of(own, system).input_px,
            }
            for part in two_stage_of(own, unseen, name, system):
                of_part = measured(own, part, draws)
                found.append({file: rows.assign(**told) for file, rows in of_part.items()})
    about = _columns(config, arm, folders, draws)
    tables = {}
    for file in sorted({file for one in found for file in one}):
        # Each for itself: the pipeline's say what it started from, and keep that.
        rows = [configs.with_columns(one[file], about) for one in found if file in one]
        tables[file] = pd.concat(rows, ignore_index=True)
    if this_process().is_main_process and not config.holdout:
        for file, rows in tables.items():
            merge_table(paths.TABLES / file, rows)
    this_process().wait_for_everyone()
    return tables


def groups_of(config: Config, drawn: bool = True) -> list[Part]:
    """The groups of people that every arm is measured on.

    ``seen`` and ``unseen``; of the unseen as few photos per person as of the seen
    (``unseen_matched``), and, where sessions are known, one face per session (``unseen_apart``).

    Args:
        config: of the arm.
        drawn: see :class:`thesislib.experiments.group_tables.Part`.
    """
    divided = people(config)
    group = Group.of(divided.unseen)
    seen = part_of(config, "seen", Group.of(divided.seen), in_photos=True, drawn=drawn)
    unseen = part_of(config, "unseen", group, in_photos=True, drawn=drawn)
    parts = [seen, unseen, unseen.select(as_few_as_seen(group, config.seed), "unseen_matched")]
    if (group.sessions != "").all():
        parts.append(unseen.select(one_per_session(group), "unseen_apart"))
    return parts


def controls_of(config: Config, others: Sequence[Path] = ()) -> list[Part]:
    """People of other datasets, and what keeps the numbers honest.

    The unseen people as an untrained net and as the pipeline's classifier see them (``untrained``,
    ``two_stage``), and with shuffled names, which must give chance (``shuffled``).

    Args:
        config: of the arm.
        others: further datasets of people never seen.
    """
    unseen = Group.of(people(config).unseen)
    untrained = part_of(config, "untrained", unseen, "untrained")
    names = shuffled(unseen.identities.tolist(), seed=config.seed)
    mixed = dataclasses.replace(unseen, faces=unseen.faces.assign(identity=names))
    parts = [part_of(config, folder.name, Group.of(read(folder))) for folder in others]
    parts += [untrained, part_of(config, "shuffled", mixed)]
    if (unseen.sessions != "").all():
        parts.append(untrained.select(one_per_session(unseen), "untrained_apart", drawn=False))
    return parts + two_stage_of(config, unseen)


def two_stage_of(
    config: Config, unseen: Group, people: str = "two_stage", system: str = "two_stage_face"
) -> list[Part]:
    """People never seen as the pipeline's classifier sees them.

    Args:
        config: of the arm.
        unseen: their faces.
        people: what tables call them; with ``_apart`` behind it, one face per session.
        system: ``two_stage_face`` or ``two_stage_aligned``.
    """
    whole = part_of(config, people, unseen, system)
    if (unseen.sessions == "").any():
        return [whole]
    return [whole, whole.select(one_per_session(unseen), f"{people}_apart", drawn=False)]


def _require_new(config: Config, others: Iterable[Path]) -> None:
    for folder in others:
        known = set(read(folder).identities) & set(read(config.data).identities)
        if known:
            raise DatasetError(
                f"{folder}: {sorted(known)[0]!r} is in {config.data} too; these people must be new"
            )


def _columns(config: Config, arm: str, others: Sequence[Path], draws: int) -> dict[str, Any]:
    """What every row of an arm's tables carries."""
    own, name = with_arm(config, arm), config.profile.name
    plain = dataclasses.replace(config, profile=PROFILES.get(name, Profile(name)))
    told = configs.command(
        own,
        "experiment3",
        usual=with_arm(plain, arm).profile,
        split=None,
        start=None,  # told by the arm
        arms=[arm],
        others=[folder.name for folder in others] or None,
        draws=None if draws == DRAWS else draws,
    )
    about = configs.columns(own, configs.key(own), told) | {"arm": arm}
    del about["split"]
    return about
