"""Experiment 3: how compact are the embeddings of people who were not in the training?

A dataset's people are divided: some are never seen in training, and of the others whole scenes are
kept from it. Joint nets that differ in one thing, an *arm*, are trained on what is left, and their
embeddings of both groups are measured, one face of every scene, beside controls and what needs no
training. One arm is not trained but starts from dlib's recogniser, and has the pipeline with the
same recogniser beside it. On the command line::

    python -m thesislib experiment3 --data <folder> --profile laptop --seeds 0 1 2
"""

import dataclasses
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thesislib import paths
from thesislib.data.schema import DatasetError
from thesislib.engine.optimiser import precision
from thesislib.engine.processes import this_process
from thesislib.experiments import config as configs
from thesislib.experiments.arms import CURVE, Arm, arm_of, arms_of
from thesislib.experiments.config import Config, read
from thesislib.experiments.embedding_measures import (
    COMPARED,
    MIN_GENUINE_PAIRS,
    by_query,
    genuine_pairs,
    over_seeds,
)
from thesislib.experiments.group_tables import (
    REFERENCES,
    RESULTS_TABLE,
    Part,
    mapped,
    measured,
    part_of,
)
from thesislib.experiments.groups import UNSEEN, Group, one_per_scene, people, scenes_of
from thesislib.experiments.paired import Difference, tested
from thesislib.experiments.references import about as about_reference
from thesislib.experiments.systems import begins_with, profile_of
from thesislib.metrics.statistics import shuffled
from thesislib.profiles import Profile
from thesislib.tables import KEYS, MAIN_ARM, STARTED_ARM, merge_table, read_table

SEEDS_TABLE = "experiment3_seeds.csv"
PAIRS_TABLE = "experiment3_pairs.csv"
MIN_PEOPLE = 24  # in a dataset some of whose people are kept unseen
DRAWS = 2000  # of the bootstrap over people
# The pipeline, by what tables call people as its classifier sees them.
_PIPELINES = {"two_stage": "two_stage_face", "two_stage_aligned": "two_stage_aligned"}


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
            group = Group.of(people(config).unseen)
        except DatasetError as error:
            told = str(error)
        else:
            unseen = len(set(group.identities))
            pairs = genuine_pairs(group.identities[one_per_scene(group)])
            if unseen < UNSEEN / 2 * named:
                told = f"{unseen} of {named} people can be kept unseen, the others share photos"
            elif pairs < MIN_GENUINE_PAIRS:
                told = f"people kept unseen have {pairs} pairs of photos of two scenes, and "
                told += f"{MIN_GENUINE_PAIRS} are needed"
            else:
                return ""
    return f"{config.data.name} is left out here, and synthetic people take its place: {told}"


def run(
    config: Config,
    arms: Iterable[str] = (),
    others: Iterable[Path | str] = (),
    run_seeds: Sequence[int] = (),
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Train and measure arms with several seeds, see :func:`run_arm`, and put the seeds together,
    see :func:`together`.

    Args:
        config: data and settings; its seed is the only one where none are given.
        arms: names of arms, see :func:`thesislib.experiments.arms.arm_of`; none for those that
            the profile has time for.
        others, draws: see :func:`run_arm`.
        run_seeds: of trainings and of how people are divided.

    Returns:
        their rows of ``experiment3.csv``.
    """
    others, arms = list(others), list(arms) or arms_of(config.profile)
    runs = [dataclasses.replace(config, seed=seed) for seed in run_seeds or [config.seed]]
    tables = [run_arm(one, arm, others, draws) for one in runs for arm in arms]
    together(runs, arms, others, draws)
    # Of very few people nothing is measured.
    found = [one[RESULTS_TABLE] for one in tables if RESULTS_TABLE in one]
    return pd.concat([pd.DataFrame(), *found], ignore_index=True)


def run_arm(
    config: Config,
    name: str = MAIN_ARM,
    others: Iterable[Path | str] = (),
    draws: int = DRAWS,
) -> dict[str, pd.DataFrame]:
    """Train an arm if need be, measure it, and merge its rows into the tables of ``runs/figures``.

    Asked again, what was measured is read. Of a tuning run (``config.holdout``) nothing is
    written to the tables.

    Args:
        config: data, settings and seed, without the arm's changes.
        name: of the arm. Of the main one, :data:`thesislib.tables.MAIN_ARM`, controls, references,
            curves and maps are made too; the others are compared with it.
        others: further datasets of people never seen; not measured with arms that change a loss,
            a dimension or where an embedding is read.
        draws: of the bootstrap over people, at least 1.

    Returns:
        the arm's tables, by the name of their file.

    Raises:
        DatasetError: somebody of ``others`` is in the config's dataset too, its people cannot be
            parted, or a folder of ``others`` is called as another group of people is.
        ValueError: unknown arm.
    """
    arm, folders = arm_of(config, name), [configs.data_folder(folder) for folder in others]
    _require_names(folders)
    parts = parts_of(arm, folders)
    found = []
    for part in parts:
        tables = measured(arm, part, draws)
        own = _about_system(arm, part.system)
        found.append({file: rows.assign(**own) for file, rows in tables.items()})
    if name == MAIN_ARM:
        found.append(mapped(arm, *parts[:2]))
    about = _columns([config], [name], folders, draws) | {"arm": name}
    merged = {}
    for file in sorted({file for one in found for file in one}):
        # Each for itself: those of a pipeline or a reference say what it began from.
        rows = [configs.with_columns(one[file], about) for one in found if file in one]
        merged[file] = pd.concat(rows, ignore_index=True)
    if this_process().is_main_process and not config.holdout:
        for file, rows in merged.items():
            merge_table(paths.TABLES / file, rows)
    this_process().wait_for_everyone()
    return merged


def parts_of(arm: Arm, others: Sequence[Path] = ()) -> list[Part]:
    """The groups of people that an arm is measured on, as its systems see them.

    ``seen`` (not of learning curves) and ``unseen``, and people of other datasets, by its name.
    What keeps the numbers honest, with the main arm alone: the unseen people as an untrained net
    (``untrained``), the pipeline (``two_stage``, ``two_stage_aligned``) and references see them,
    and with shuffled names, which must give chance (``shuffled``). With the arm that starts from
    dlib's recogniser too, the pipeline.

    Raises:
        DatasetError: somebody of ``others`` is in the arm's dataset too.
    """
    divided = people(arm.config)
    main, started = arm.name == MAIN_ARM, arm.name == STARTED_ARM
    unseen = Group.of(divided.unseen)
    parts = [part_of(arm, "unseen", unseen, searched=True, drawn=main or started)]
    if not CURVE.fullmatch(arm.name):  # where not all of them were learned
        seen = Group.of(divided.seen)
        parts.insert(0, part_of(arm, "seen", seen, searched=True, drawn=main or started))
    if main or started:
        parts += [part_of(arm, name, unseen, system) for name, system in _PIPELINES.items()]
    if main:
        parts += [part_of(arm, "untrained", unseen, "untrained")]
        parts += [part_of(arm, "shuffled", _shuffled(unseen, parts, arm.config.seed))]
        parts += [part_of(arm, name, unseen, name, drawn=False) for name in REFERENCES]
    if not (main or started or CURVE.fullmatch(arm.name)):
        return parts
    _require_new(arm.config, others)
    for folder in others:
        group = Group.of(scenes_of(read(folder)))
        parts.append(part_of(arm, folder.name, group, drawn=main))
        for name in REFERENCES if main else ():
            parts.append(part_of(arm, f"{folder.name}_{name}", group, name, drawn=False))
    return parts


def _shuffled(group: Group, parts: Sequence[Part], seed: int) -> Group:
    """The faces that are measured of people never seen, under each other's names: as many faces,
    and as many of each name. None shares a scene with another."""
    embedded = next(part for part in parts if part.people == "unseen").embedded
    group = group.select(one_per_scene(group, embedded))
    names = shuffled(group.identities.tolist(), seed=seed)
    scenes = [f"{at:06d}" for at in range(len(names))]
    return dataclasses.replace(group, faces=group.faces.assign(identity=names, session=scenes))


def _require_names(others: Sequence[Path]) -> None:
    """Refuse collections that tables could not tell from another group of people."""
    taken = ["seen", "unseen", *_PIPELINES, "untrained", "shuffled", *REFERENCES]
    for folder in others:
        own = [folder.name, *(f"{folder.name}_{reference}" for reference in REFERENCES)]
        if same := sorted(set(own) & set(taken)):
            raise DatasetError(
                f"{folder}: another group of people is called {same[0]!r} in the tables; rename "
                "the folder"
            )
        taken += own


def _require_new(config: Config, others: Iterable[Path]) -> None:
    for folder in others:
        known = set(read(folder).identities) & set(read(config.data).identities)
        if known:
            raise DatasetError(
                f"{folder}: {sorted(known)[0]!r} is in {config.data} too; these people must be new"
            )


# --- several seeds ----------------------------------------------------------------------------


class Line(NamedTuple):
    """A row of the tables of several seeds: an arm's embeddings of a group of people."""

    people: str
    arm: str


def together(
    runs: Sequence[Config],
    arms: Sequence[str],
    others: Iterable[Path | str] = (),
    draws: int = DRAWS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put several seeds together; merge what is found into two tables.

    Args:
        runs: alike but for their seeds.
        arms, others, draws: see :func:`run`.

    Returns:
        rows of ``experiment3_seeds.csv`` (:func:`over_seeds` of each group and arm), and of
        ``experiment3_pairs.csv`` (:func:`differences`).
    """
    folders, first = [configs.data_folder(folder) for folder in others], runs[0]
    parts: dict[Line, dict[int, Part]] = {}
    for config in runs:
        for name in arms:
            for part in parts_of(arm_of(config, name), folders):
                parts.setdefault(Line(part.people, name), {})[config.seed] = part
    # By all processes, which divide people together.
    trained = {name: [arm_of(config, name) for config in runs] for name in dict.fromkeys(arms)}
    learned = {name: _learned(of_seeds) for name, of_seeds in trained.items()}
    about = _columns(runs, arms, folders, draws)
    tables = {SEEDS_TABLE: pd.DataFrame(), PAIRS_TABLE: pd.DataFrame()}
    if this_process().is_main_process:
        rows = []
        for line, of_seed in parts.items():
            faces = {seed: part.apart(seed) for seed, part in of_seed.items()}
            own = _about_system(trained[line.arm][0], of_seed[first.seed].system)
            own |= learned[line.arm]
            found = over_seeds(faces, draws, first.seed)
            rows.append(found.assign(**own, **line._asdict()))
        tables[SEEDS_TABLE] = pd.concat(rows, ignore_index=True)
        tables[PAIRS_TABLE] = differences(parts, trained, first.seed)
        tables = {file: configs.with_columns(rows, about) for file, rows in tables.items()}
        if not first.holdout:
            _put(tables)
    this_process().wait_for_everyone()
    return tables[SEEDS_TABLE], tables[PAIRS_TABLE]


def _put(tables: Mapping[str, pd.DataFrame]) -> None:
    """Put rows in place of those of the same dataset and profile, in both tables or in neither.

    Warns:
        UserWarning: there are rows of more seeds, or of further arms, which stay.
    """
    path, rows = paths.TABLES / SEEDS_TABLE, tables[SEEDS_TABLE]
    if not len(rows):
        return
    stored = read_table(path) if path.exists() else rows
    for name in KEYS[path.stem]:
        stored = stored[stored[name] == rows[name].iloc[0]]
    more = [len(own["seeds"].iloc[0].split()) for own in (stored, rows) if len(own)]
    further = sorted(set(stored["arm"]) - set(rows["arm"]))
    if more[0] > more[-1] or further:
        what = f"further arms ({', '.join(further)})" if further else "more seeds"
        warnings.warn(
            f"{path}: has {what} of this dataset and profile; it stays as it is, and "
            f"{PAIRS_TABLE} too. Run all arms and seeds together, or remove these rows",
            stacklevel=3,
        )
        return
    for file, table in tables.items():
        if len(table):
            merge_table(paths.TABLES / file, table)


def _learned(arms: Sequence[Arm]) -> dict[str, float]:
    """How many people and photos an arm learned, on average over seeds."""
    return {
        "learned_people": float(np.mean([len(arm.train.identities) for arm in arms])),
        "learned_photos": float(np.mean([len(arm.train.photos) for arm in arms])),
    }


def pairs_of(lines: Collection[Line]) -> list[tuple[Line, Line]]:
    """Which embeddings are compared, of the same faces each: every arm with the main one; the main
    one with controls and references; the one that starts from dlib's recogniser with its
    pipelines, and with dlib's own."""
    pairs = []
    for group in ("unseen", *(line.people for line in lines if line.arm == MAIN_ARM)):
        main, started = Line(group, MAIN_ARM), Line(group, STARTED_ARM)
        before = "" if group == "unseen" else f"{group}_"
        references = [Line(f"{before}{name}", MAIN_ARM) for name in REFERENCES]
        controls = [Line(name, MAIN_ARM) for name in (*_PIPELINES, "untrained")]
        pipelines = [Line(name, STARTED_ARM) for name in _PIPELINES]
        own = group == "unseen"
        pairs += [(line, main) for line in lines if line.people == group and line != main]
        pairs += [(main, other) for other in (*(controls if own else ()), *references)]
        pairs += [(started, other) for other in (*(pipelines if own else ()), references[-1])]
    found = [(one, other) for one, other in pairs if one in lines and other in lines]
    return list(dict.fromkeys(found))


def differences(
    parts: dict[Line, dict[int, Part]], arms: Mapping[str, Sequence[Arm]], seed: int
) -> pd.DataFrame:
    """Differences of embeddings of the same faces, query by query, over people and seeds.

    Args:
        parts: of each line, by seed.
        arms: by name, of each seed.
        seed: of bootstrap and sign flips.

    Returns:
        rows ``metric, people, arm, start, against_people, against, against_start`` with what
        :func:`thesislib.experiments.paired.tested` tells of them.
    """
    start = {
        line: _about_system(arms[line.arm][0], next(iter(of_seed.values())).system)["start"]
        for line, of_seed in parts.items()
    }
    found = []
    for one, other in pairs_of(parts):
        for metric in COMPARED:
            told = {"metric": metric, "group": one.people, "arm": one.arm}
            told |= {"against_people": other.people, "against": other.arm}
            told |= {"start": start[one], "against_start": start[other]}
            found.append((told, _difference(parts[one], parts[other], metric)))
    # What other tables call people is a number; here it is a group's name.
    return tested(found, seed).rename(columns={"people": "persons", "group": "people"})


def _difference(one: dict[int, Part], other: dict[int, Part], metric: str) -> Difference | None:
    """Query by query, of the faces that both embed; None where they are too few."""
    by_seed, owners = {}, []
    for seed in one:
        pair = (one[seed], other[seed])
        chosen = one_per_scene(pair[0].group, pair[0].embedded & pair[1].embedded)
        faces = [part.faces(chosen, seed) for part in pair]
        if not faces[0].are_enough:
            return None
        a, b = (by_query(of, metric) for of in faces)
        asked = ~np.isnan(a)
        by_seed[seed] = (a - b)[asked]
        owners.append(faces[0].identities[asked])
    return Difference(by_seed, np.concatenate(owners))


# --- what rows say about it -------------------------------------------------------------------


def _about_system(arm: Arm, system: str) -> dict[str, Any]:
    """What a system's rows say of it where the arm's columns would not be true."""
    if system in REFERENCES:
        return about_reference(system)
    profile = profile_of(arm.config, system)
    return {
        "backbone": profile.backbone,
        "start": configs.start_name(begins_with(arm.config, system)),
        "input_px": profile.input_px,
        "precision": precision(),
    }


def _columns(
    runs: Sequence[Config], arms: Sequence[str], others: Sequence[Path], draws: int
) -> dict[str, Any]:
    """What every row of the tables carries, of one arm's or of several seeds together."""
    first = runs[0]
    own = first if len(arms) > 1 else arm_of(first, arms[0]).config
    seeds = [config.seed for config in runs]
    told = configs.command(
        first,  # what an arm changes is told by its name
        "experiment3",
        split=None,
        seed=None,
        seeds=seeds,
        arms=list(arms),
        others=[folder.name for folder in others] or None,
        draws=None if draws == DRAWS else draws,
    )
    about = configs.columns(own, configs.key(own, seeds=seeds, arms=list(arms)), told)
    del about["split"]
    return about
