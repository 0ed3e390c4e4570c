"""Experiment 1 over seeds: what systems reach together, and which differences may be claimed.

Trainings differ by their seed and test photos by the split that is drawn with it, so a number of
one run says little. Here the tests of several seeds are put together: of each system one number
with an interval over people, and of each pair of systems their difference on the same faces, with
a test that is corrected for the number of tests in the table. On the command line::

    python -m thesislib compare --data <folder> --split photo --profile laptop --seeds 0 1 2
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from thesislib import paths
from thesislib.engine.evaluate import measures
from thesislib.engine.processes import this_process
from thesislib.experiments import baseline_comparison as experiment1
from thesislib.experiments.config import Config, columns, command, key, started, with_columns
from thesislib.experiments.paired import difference, tested
from thesislib.experiments.references import is_measured
from thesislib.experiments.systems import systems_of
from thesislib.tables import CONTROLS, REFERENCES, merge_table

SEEDS_TABLE = "experiment1_seeds.csv"
PAIRS_TABLE = "experiment1_pairs.csv"
COMPARED = ("accuracy", "joint_accuracy_50", "oracle_box_accuracy", "mean_iou_calibrated")


class Arm(NamedTuple):
    """A system and what it begins with, as tables name them."""

    system: str
    start: str


@dataclasses.dataclass(frozen=True)
class OfSeeds:
    """What a system gave in the tests of several seeds.

    Attributes:
        system: its name.
        configs: by seed, whose test part it was given.
    """

    system: str
    configs: dict[int, Config]

    @functools.cached_property
    def by_seed(self) -> dict[int, experiment1.Tested]:
        """What was found, by seed."""
        return {
            seed: experiment1.evaluate(config, self.system) for seed, config in self.configs.items()
        }


def compare(
    configs: Sequence[Config], systems: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put tests of several seeds together; merge what was found into two tables.

    Systems are trained and tested where that was not done yet: those from random weights, those
    that start from dlib's recogniser, and references.

    Args:
        configs: of Experiment 1 from random weights, alike but for their seeds.
        systems: which are trained from random weights; none for all, single-task controls too.

    Returns:
        rows of ``experiment1_seeds.csv``, see :func:`over_seeds`, and of
        ``experiment1_pairs.csv``, see :func:`differences`.

    Raises:
        ValueError: configs that differ in more than their seeds, that start from a net, or an
            unknown system.
    """
    first = configs[0]
    if any(dataclasses.replace(one, seed=first.seed) != first for one in configs):
        raise ValueError("configs: they differ in more than their seeds")
    if first.start is not None:
        raise ValueError(f"configs: they start from {first.start}, not from random weights")
    known = (*systems_of(first), *CONTROLS)
    if unknown := sorted(set(systems) - set(known)):
        raise ValueError(f"unknown systems {', '.join(unknown)}; choose of {', '.join(known)}")
    arms = arms_of(configs, systems or known)
    seeds = [config.seed for config in configs]
    asked: Any = {"systems": list(systems)} if systems else {}
    about = columns(
        first,
        key(first, seeds=seeds, **asked),
        command(first, "compare", seed=None, seeds=seeds, **asked),
    )
    rows = pd.concat([over_seeds(arm, own) for arm, own in arms.items()], ignore_index=True)
    own = pd.DataFrame([about_arm(arm, tests) for arm, tests in arms.items()])
    own = own.set_index(["system", "start"])
    rows = rows.join(own, on=["system", "start"])
    found = differences(arms, first.seed)
    if len(found):
        found = found.join(own, on=["system", "start"])
    seeds_table, pairs_table = (with_columns(table, about) for table in (rows, found))
    if this_process().is_main_process:
        merge_table(paths.TABLES / SEEDS_TABLE, seeds_table)
        if len(found):
            merge_table(paths.TABLES / PAIRS_TABLE, pairs_table)
    this_process().wait_for_everyone()
    return seeds_table, pairs_table


def about_arm(arm: Arm, tests: OfSeeds) -> dict[str, Any]:
    """The columns of a system's rows that are its own."""
    config = next(iter(tests.configs.values()))
    return experiment1.about_system(config, arm.system) | arm._asdict()


def arms_of(configs: Iterable[Config], systems: Sequence[str]) -> dict[Arm, OfSeeds]:
    """All that is compared: systems from random weights, those that start from dlib's recogniser,
    and references."""
    found: dict[Arm, dict[int, Config]] = {}
    for config in configs:
        begun = started(config)
        for one, names in ((config, (*systems, *REFERENCES)), (begun, systems_of(begun))):
            for name in names:
                arm = Arm(name, experiment1.about_system(one, name)["start"])
                found.setdefault(arm, {})[config.seed] = one
    return {arm: OfSeeds(arm.system, own) for arm, own in found.items()}


# --- numbers ----------------------------------------------------------------------------------


def over_seeds(arm: Arm, tests: OfSeeds) -> pd.DataFrame:
    """A system's measures over the test faces of all seeds together.

    Args:
        arm: the system.
        tests: of it.

    Returns:
        rows ``system, start, metric, value, low, high, n, people, seeds, seed_values``: the
        value over all faces, its 95 % interval over people, the seeds and the value of each, in
        words.
    """
    own = {seed: one.results.set_index("metric")["value"] for seed, one in tests.by_seed.items()}
    if arm.system == "chance":
        rows = next(iter(tests.by_seed.values())).results.drop(columns="commit")
    else:
        rows = measures(*_together(tests))
    rows = rows[[is_measured(arm.system, metric) for metric in rows["metric"]]]
    people = {person for one in tests.by_seed.values() for person in _people(one)}
    values = [
        " ".join(f"{values[metric]:.4g}" for values in own.values()) for metric in rows["metric"]
    ]
    return rows.reset_index(drop=True).assign(
        **arm._asdict(),
        people=len(people) or np.nan,
        seeds=" ".join(map(str, own)),
        seed_values=values,
    )


def _people(one: experiment1.Tested) -> set[str]:
    return set(one.faces["identity"]) - {""} if len(one.faces) else set()


def _together(tests: OfSeeds) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Faces, photos and detections of all seeds; a photo of each seed is another."""
    return tuple(  # type: ignore[return-value]
        pd.concat(
            [
                (table := getattr(one, kind)).assign(photo=f"{seed} " + table["photo"])
                for seed, one in tests.by_seed.items()
            ],
            ignore_index=True,
        )
        for kind in ("faces", "photos", "detections")
    )


# --- differences ------------------------------------------------------------------------------


def pairs_of(arms: Iterable[Arm]) -> list[tuple[Arm, Arm]]:
    """Which systems are compared: each joint net with all others of its start and with the
    references, and the one that starts from dlib's recogniser with the one that starts from
    random weights."""
    arms = [arm for arm in arms if arm.system != "chance"]
    scratch = [arm for arm in arms if arm.start == "scratch"]
    references = [arm for arm in arms if arm.system in REFERENCES]
    begun = [arm for arm in arms if arm not in scratch and arm not in references]
    pairs = []
    for own, more in ((scratch, []), (begun, [arm for arm in scratch if arm.system == "joint"])):
        for joint in (arm for arm in own if arm.system == "joint"):
            others = [arm for arm in own if arm != joint]
            pairs += [(joint, other) for other in (*others, *more, *references)]
    return pairs


def differences(arms: dict[Arm, OfSeeds], seed: int) -> pd.DataFrame:
    """Differences of systems on the same faces, over people and seeds.

    Args:
        arms: see :func:`arms_of`.
        seed: of bootstrap and sign flips.

    Returns:
        rows ``metric, system, start, against, against_start`` with what
        :func:`thesislib.experiments.paired.tested` tells of them.
    """
    found = []
    for one, other in pairs_of(arms):
        for metric in COMPARED:
            if is_measured(one.system, metric) and is_measured(other.system, metric):
                pair = {"metric": metric, **one._asdict()}
                pair |= {"against": other.system, "against_start": other.start}
                found.append((pair, difference(arms[one].by_seed, arms[other].by_seed, metric)))
    return tested(found, seed)
