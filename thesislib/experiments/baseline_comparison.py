"""Experiment 1: joint detection and identification against the two-stage pipeline.

Each system is trained once, tested once and timed with the others turn by turn. What was found is
kept, so that the same config asked again reads it; an interrupted run goes on. On the command
line::

    python -m thesislib experiment1 --data <folder> --split photo --profile laptop
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from thesislib import cache, paths, seeds
from thesislib.data.images import read_photo
from thesislib.engine.evaluate import Report
from thesislib.engine.evaluate import evaluate as evaluate_system
from thesislib.engine.processes import this_process
from thesislib.engine.timing import joint_stages, take_turns
from thesislib.environment import commit
from thesislib.experiments.config import (
    Config,
    columns,
    command,
    key,
    parts,
    shows_progress,
    start_name,
    with_columns,
)
from thesislib.experiments.systems import (
    begins_with,
    framing,
    history,
    net_folder,
    profile_of,
    system,
    systems_of,
    trained,
)
from thesislib.metrics.statistics import bootstrap_interval, mcnemar_exact
from thesislib.models.joint import JointNet
from thesislib.tables import (
    EXPERIMENT1_KEYS,
    SYSTEMS,
    merge_results,
    merge_table,
    read_table,
)
from thesislib.tables import SPLITS as CLOSED_SPLITS

RESULTS_TABLE = "experiment1.csv"
PHOTOS_TABLE = "experiment1_photos.csv"
FACES_TABLE = "experiment1_faces.csv"
TRAINING_TABLE = "training.csv"
STAGES_TABLE = "stages.csv"
TIMED = 40  # calls of each system
TIMED_PHOTOS = 20  # that they take in turn
_KEPT = ("results.csv", "photos.csv", "faces.csv")


class Tested(NamedTuple):
    """What a system gave in the test part.

    Attributes:
        results: rows ``metric, value, low, high, n``, see
            :meth:`thesislib.engine.evaluate.Report.table`, with 95 % intervals over people.
        photos: one row per photo with a face, see :func:`thesislib.metrics.matching.photos_table`.
        faces: one row per face, see :class:`thesislib.engine.evaluate.Report`.
    """

    results: pd.DataFrame
    photos: pd.DataFrame
    faces: pd.DataFrame


def run(config: Config, systems: Iterable[str] = ()) -> pd.DataFrame:
    """Train, test and time systems; merge what was found into the tables of ``runs/figures``.

    Of a tuning run (``config.holdout``) nothing is timed or written. Under ``torchrun`` the
    processes train and test together; the main one alone times and writes.

    Args:
        config: data, split by photo or session, and settings.
        systems: names, of those in ``tables.SYSTEMS``; none for those that the config compares,
            see :func:`thesislib.experiments.systems.systems_of`.

    Returns:
        their rows of ``experiment1.csv``; if two of them are compared, with the p-values of all
        pairs that one of them is in.

    Raises:
        ValueError: a split that leaves people to be tested on whom no system has learned, or
            unknown systems.
    """
    names = list(systems) or list(systems_of(config))
    if unknown := sorted(set(names) - set(SYSTEMS)):
        raise ValueError(f"unknown systems {', '.join(unknown)}; choose of {', '.join(SYSTEMS)}")
    if config.split not in CLOSED_SPLITS:
        raise ValueError(
            f"a split by {config.split} tests on people whom no system has learned; "
            f"choose {' or '.join(CLOSED_SPLITS)}"
        )
    tested = {name: evaluate(config, name) for name in names}
    rows = [one.results.assign(system=name) for name, one in tested.items()]
    if config.holdout:
        return _with_columns(config, pd.concat(rows, ignore_index=True))
    speed, stages = time(config, names)
    results = _with_columns(config, pd.concat([*rows, speed], ignore_index=True))
    compared = _with_columns(config, comparisons(config, names))
    behind = {
        PHOTOS_TABLE: _together(tested, "photos"),
        FACES_TABLE: _together(tested, "faces"),
        TRAINING_TABLE: training_table(config, names),
        STAGES_TABLE: stages,
    }
    if this_process().is_main_process:
        for file, table in behind.items():
            if len(table):  # nets that are taught names alone have no epochs
                merge_table(paths.TABLES / file, _with_columns(config, table))
        # This takes the p-values of these systems away; those of all pairs are put back.
        merge_results(paths.TABLES / RESULTS_TABLE, results)
        if len(compared):
            keys = (*EXPERIMENT1_KEYS, "metric")
            merge_results(paths.TABLES / RESULTS_TABLE, compared, keys)
    this_process().wait_for_everyone()
    return pd.concat([results, compared], ignore_index=True) if len(compared) else results


def _together(tested: Mapping[str, Tested], rows: str) -> pd.DataFrame:
    """The ``photos`` or ``faces`` of all systems, each with the commit it was tested at."""
    return pd.concat(
        getattr(one, rows).assign(system=name, commit=one.results["commit"].iloc[0])
        for name, one in tested.items()
    )


def results_columns(config: Config) -> dict[str, Any]:
    """What every row of a table of Experiment 1 carries."""
    return columns(config, key(config), command(config, "experiment1"))


def _with_columns(config: Config, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the columns that they lack, start and input as the system of each has them."""
    systems = rows["system"].unique()
    starts = {name: start_name(begins_with(config, name)) for name in systems}
    inputs = {name: profile_of(config, name).input_px for name in systems}
    own = rows.assign(start=rows["system"].map(starts), input_px=rows["system"].map(inputs))
    return with_columns(own, results_columns(config))


# --- testing ----------------------------------------------------------------------------------


def evaluate(config: Config, name: str) -> Tested:
    """Test a system; asked again it reads what was found.

    The test part is read once for each config. Under ``torchrun`` its photos are shared out.

    Args:
        config: data and settings.
        name: of the system; it is trained if that was not done yet.
    """
    kept = _kept(config, name)

    @functools.cache
    def report() -> Report:
        tested, boxes = system(config, name), framing(config, name)
        return evaluate_system(tested, parts(config).test, boxes, progress=shows_progress())

    def results() -> pd.DataFrame:
        table = report().table(seed=config.seed, unit="identity")
        return table.assign(commit=commit())

    compute = (results, lambda: report().photos, lambda: report().faces)
    tables = [cache.table(kept / file, one) for file, one in zip(_KEPT, compute, strict=True)]
    return Tested(*tables)


def _kept(config: Config, name: str) -> Path:
    return cache.folder(
        "tests",
        f"{config.data.name}-{config.split}-{config.profile.name}-seed{config.seed}-{name}",
        net=net_folder(config, name).name,
        test=parts(config).test.content_hash,
        upsampling=config.profile.upsampling,
        seed=config.seed,
    )


def comparisons(config: Config, names: Iterable[str]) -> pd.DataFrame:
    """McNemar's exact test of the joint net against each other system that was tested.

    Args:
        config: data and settings.
        names: systems that were tested just now; pairs without one of them are left out.

    Returns:
        rows ``system, metric, value, low, high, n`` with metric ``mcnemar_p``, and ``commit``.
    """
    names = list(names)
    asked = {*systems_of(config), *names}
    there = [
        name
        for name in SYSTEMS
        if name in asked and all((_kept(config, name) / file).exists() for file in _KEPT)
    ]
    rows = []
    for name in there if "joint" in there else []:
        if name != "joint" and {name, "joint"} & set(names):
            joint, other = (evaluate(config, one) for one in ("joint", name))
            known = joint.photos["known"].to_numpy()
            p = mcnemar_exact(joint.photos["correct"][known], other.photos["correct"][known])
            told = other.results["commit"].iloc[0]
            rows.append((name, "mcnemar_p", p, np.nan, np.nan, int(known.sum()), told))
    return pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n", "commit"])


# --- training and time ------------------------------------------------------------------------


def training_table(config: Config, names: Sequence[str] = ()) -> pd.DataFrame:
    """Training of systems in long form: ``system, epoch, metric, value``, with all columns.

    Without rows of nets that were taught names alone, which have no epochs.
    """
    tables = [pd.DataFrame(columns=["epoch", "metric", "value", "system", "commit"])]
    for name in names or systems_of(config):

        def long(name: str = name) -> pd.DataFrame:
            net = trained(config, name)
            epochs = history(net)
            if not len(epochs):
                return tables[0]
            rows = epochs.melt("epoch", var_name="metric", value_name="value")
            return rows.assign(system=name, commit=(net.provenance or {})["commit"])

        kept = cache.table(net_folder(config, name) / TRAINING_TABLE, long)
        tables.append(_with_columns(config, kept))
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def time(config: Config, names: Iterable[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames per second of systems, decoded photo to answer, batch 1, timed turn by turn.

    Under ``torchrun`` by the main process alone. Asked again on the same machine it reads what
    was found.

    Args:
        config: data and settings; test photos are taken.
        names: of the systems, which take turns; none for those that the config compares.

    Returns:
        rows ``system, metric, value, low, high, n`` with metric ``fps``, and one row per system,
        stage and turn: ``system, stage, turn, ms, threads, device``; both with ``commit``.
    """
    names = list(names) or list(systems_of(config))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    machine = {"threads": torch.get_num_threads(), "device": device}
    kept = cache.folder(
        "times",
        f"{config.data.name}-{config.split}-{config.profile.name}-seed{config.seed}",
        nets=[net_folder(config, name).name for name in names],
        upsampling=config.profile.upsampling,
        **machine,
    )

    stages_file = kept / STAGES_TABLE
    # Trained, where that is to be done, by all processes together.
    systems = {} if stages_file.exists() else {name: system(config, name) for name in names}

    def measure() -> pd.DataFrame:
        test = parts(config).test
        rng = seeds.generator(config.seed, "timing")
        chosen = rng.permutation(len(test.photos))[:TIMED_PHOTOS]
        photos = [read_photo(test.folder / test.photos[at]) for at in chosen]
        stages = {
            name: joint_stages(one) if isinstance(one, JointNet) else one.stages
            for name, one in systems.items()
        }
        return take_turns(stages, photos, TIMED).assign(**machine, commit=commit())

    with this_process().main_process_first():
        stages = cache.table(stages_file, measure)
    totals = stages.groupby(["system", "turn"])["ms"].sum().unstack("system")
    rows = []
    for name in names:
        ms = totals[name].to_numpy()
        low, high = bootstrap_interval(ms, np.median, seed=config.seed)
        rows.append((name, "fps", 1000 / np.median(ms), 1000 / high, 1000 / low, len(ms)))
    speed = pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n"])
    return speed.assign(commit=stages["commit"].iloc[0]), stages


# --- tables -----------------------------------------------------------------------------------


def own_rows(config: Config, file: str) -> pd.DataFrame:
    """A config's rows of one of the tables that :func:`run` writes.

    Args:
        config: of the run.
        file: name of the table, such as ``FACES_TABLE``.
    """
    table = read_table(paths.TABLES / file)
    return table[table["run"] == key(config)].reset_index(drop=True)
