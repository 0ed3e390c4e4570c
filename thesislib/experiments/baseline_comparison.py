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
from thesislib.engine.evaluate import Report, units
from thesislib.engine.evaluate import evaluate as evaluate_system
from thesislib.engine.optimiser import precision
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
from thesislib.experiments.references import BY_DLIB, chance, is_measured, reference
from thesislib.experiments.references import about as about_reference
from thesislib.experiments.systems import (
    begins_with,
    calibration,
    detector,
    framing,
    history,
    net_folder,
    profile_of,
    system,
    systems_of,
    trained,
)
from thesislib.metrics.statistics import bootstrap_interval, mcnemar_exact, sign_flip_test
from thesislib.models.joint import JointNet
from thesislib.tables import (
    CONTROLS,
    EXPERIMENT1_KEYS,
    REFERENCES,
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
TIMED_SYSTEMS = (*SYSTEMS, "names_only")
TIMED_PHOTOS = 20  # that they take in turn
KNOWN = (*SYSTEMS, *CONTROLS, *REFERENCES)
_KEPT = ("results.csv", "photos.csv", "faces.csv", "detections.csv")


class Tested(NamedTuple):
    """What a system gave in the test part.

    Attributes:
        results: rows ``metric, value, low, high, n``, see
            :meth:`thesislib.engine.evaluate.Report.table`, with 95 % intervals over people.
        photos: one row per photo with a face, see :func:`thesislib.metrics.matching.photos_table`.
        faces: one row per face, see :class:`thesislib.engine.evaluate.Report`.
        detections: one row per detection, likewise.
    """

    results: pd.DataFrame
    photos: pd.DataFrame
    faces: pd.DataFrame
    detections: pd.DataFrame


def run(config: Config, systems: Iterable[str] = ()) -> pd.DataFrame:
    """Train, test and time systems; merge what was found into the tables of ``runs/figures``.

    Of a tuning run (``config.holdout``) nothing is timed or written. Under ``torchrun`` the
    processes train and test together; the main one alone times and writes.

    Args:
        config: data, split by photo or session, and settings.
        systems: names, of those in :data:`KNOWN`; none for :func:`compared`.

    Returns:
        their rows of ``experiment1.csv``; if two of them are compared, with the p-values of all
        pairs that one of them is in. Systems that are trained are timed, references are not.

    Raises:
        ValueError: a split that leaves people to be tested on whom no system has learned, or
            unknown systems.
    """
    names = list(systems) or list(compared(config))
    if unknown := sorted(set(names) - set(KNOWN)):
        raise ValueError(f"unknown systems {', '.join(unknown)}; choose of {', '.join(KNOWN)}")
    if config.split not in CLOSED_SPLITS:
        raise ValueError(
            f"a split by {config.split} tests on people whom no system has learned; "
            f"choose {' or '.join(CLOSED_SPLITS)}"
        )
    tested = {name: evaluate(config, name) for name in names}
    rows = [one.results.assign(system=name) for name, one in tested.items()]
    if config.holdout:
        return _with_columns(config, pd.concat(rows, ignore_index=True))
    timed = [name for name in names if name in TIMED_SYSTEMS]
    stages = pd.DataFrame()
    if timed:
        speed, stages = time(config, timed)
        rows.append(speed)
    results = _with_columns(config, pd.concat(rows, ignore_index=True))
    p_values = _with_columns(config, comparisons(config, names))
    behind = {
        PHOTOS_TABLE: _together(tested, "photos"),
        FACES_TABLE: _together(tested, "faces"),
        TRAINING_TABLE: training_table(config, [one for one in names if one not in REFERENCES]),
        STAGES_TABLE: stages,
    }
    if this_process().is_main_process:
        for file, table in behind.items():
            if len(table):  # nets that are taught names alone have no epochs
                merge_table(paths.TABLES / file, _with_columns(config, table))
        # This takes the p-values of these systems away; those of all pairs are put back.
        merge_results(paths.TABLES / RESULTS_TABLE, results)
        if len(p_values):
            keys = (*EXPERIMENT1_KEYS, "metric")
            merge_results(paths.TABLES / RESULTS_TABLE, p_values, keys)
    this_process().wait_for_everyone()
    return pd.concat([results, p_values], ignore_index=True) if len(p_values) else results


def compared(config: Config) -> tuple[str, ...]:
    """What a run compares where nobody says: its systems; from random weights also references,
    which are the same whatever the systems start from."""
    return systems_of(config) + (() if config.is_started else REFERENCES)


def _together(tested: Mapping[str, Tested], rows: str) -> pd.DataFrame:
    """The ``photos`` or ``faces`` of all systems, each with the commit it was tested at."""
    found = [
        getattr(one, rows).assign(system=name, commit=one.results["commit"].iloc[0])
        for name, one in tested.items()
        if name not in REFERENCES
    ]
    return pd.concat(found) if found else pd.DataFrame()


def results_columns(config: Config) -> dict[str, Any]:
    """What every row of a table of Experiment 1 carries."""
    return columns(config, key(config), command(config, "experiment1"))


def _with_columns(config: Config, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the columns that they lack, start and input as the system of each has them."""
    about = {name: about_system(config, name) for name in rows["system"].unique()}
    told = pd.DataFrame([about[name] for name in rows["system"]], index=rows.index)
    own = rows.assign(**{column: told[column] for column in told})
    return with_columns(own, results_columns(config))


def about_system(config: Config, name: str) -> dict[str, Any]:
    """The columns ``start``, ``backbone``, ``input_px`` and ``precision`` of a system's rows."""
    if name in REFERENCES:
        return about_reference(name)
    profile = profile_of(config, name)
    return {
        "start": start_name(begins_with(config, name)),
        "backbone": profile.backbone,
        "input_px": profile.input_px,
        "precision": precision(),
    }


# --- testing ----------------------------------------------------------------------------------


def evaluate(config: Config, name: str) -> Tested:
    """Test a system; asked again it reads what was found.

    The test part is read once for each config. Under ``torchrun`` its photos are shared out.

    Args:
        config: data and settings.
        name: of the system; it is trained if that was not done yet.
    """
    kept = _kept(config, name)
    if name == "chance":
        rows = cache.table(kept / _KEPT[0], lambda: chance(config).assign(commit=commit()))
        return Tested(rows, *(pd.DataFrame() for _ in _KEPT[1:]))

    @functools.cache
    def report() -> Report:
        if name in REFERENCES:
            tested: Any = reference(config, name)
            boxes = calibration(config) if name in BY_DLIB else None
        else:
            tested, boxes = system(config, name), framing(config, name)
        return evaluate_system(tested, parts(config).test, boxes, progress=shows_progress())

    def results() -> pd.DataFrame:
        table = report().table(seed=config.seed, unit="identity")
        table = table[[is_measured(name, metric) for metric in table["metric"]]]
        return table.assign(commit=commit())

    compute = (
        results,
        lambda: report().photos,
        lambda: report().faces,
        lambda: report().detections,
    )
    tables = [cache.table(kept / file, one) for file, one in zip(_KEPT, compute, strict=True)]
    return Tested(*tables)


def _kept(config: Config, name: str) -> Path:
    return cache.folder(
        "tests",
        f"{config.data.name}-{config.split}-{config.profile.name}-seed{config.seed}-{name}",
        **_depends_on(config, name),
        test=parts(config).test.content_hash,
        seed=config.seed,
    )


def is_tested(config: Config, name: str) -> bool:
    """Whether :func:`evaluate` has been asked before."""
    kept = _KEPT[:1] if name == "chance" else _KEPT
    return all((_kept(config, name) / file).exists() for file in kept)


def _depends_on(config: Config, name: str) -> dict[str, Any]:
    """What the answers of a system depend on, beside the photos it is asked."""
    found: dict[str, Any] = {}
    if name in REFERENCES:
        found["train"] = parts(config).train.content_hash
    else:
        asked = CONTROLS if name == "names_only" else (name,)
        found["nets"] = [net_folder(config, one).name for one in asked]
    if name in BY_DLIB or name.startswith("two_stage_"):
        found["detector"] = detector(config)._asdict()
    return found


def comparisons(config: Config, names: Iterable[str]) -> pd.DataFrame:
    """Tests of the joint net against each other system that was tested, each by itself.

    Args:
        config: data and settings.
        names: systems that were tested just now; pairs without one of them are left out.

    Returns:
        rows ``system, metric, value, low, high, n`` with metrics ``sign_flip_p``, over people,
        and ``mcnemar_p``, which takes photos as independent; both of accuracy; and ``commit``.
        Over seeds, and corrected for their number:
        :func:`thesislib.experiments.comparisons.compare`.
    """
    names = list(names)
    asked = {*compared(config), *names}
    there = [name for name in KNOWN if name in asked and is_tested(config, name)]
    rows = []
    for name in there if "joint" in there else []:
        named = is_measured(name, "accuracy") and name != "chance"
        if name != "joint" and named and {name, "joint"} & set(names):
            joint, other = (evaluate(config, one) for one in ("joint", name))
            known = joint.photos["known"].to_numpy()
            a, b = (one.photos["correct"].to_numpy()[known] for one in (joint, other))
            photos = joint.photos["photo"][known]
            who = photos.map(units(joint.faces, photos)).to_numpy(object)
            flipped = sign_flip_test(a.astype(float) - b, who, seed=config.seed)
            told = (np.nan, np.nan, int(known.sum()), other.results["commit"].iloc[0])
            rows += [
                (name, "mcnemar_p", mcnemar_exact(a, b), *told),
                (name, "sign_flip_p", flipped, *told),
            ]
    return pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n", "commit"])


# --- training and time ------------------------------------------------------------------------


def training_table(config: Config, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Training of systems in long form: ``system, epoch, metric, value``, with all columns.

    Without rows of nets that were taught names alone, which have no epochs.

    Args:
        config: data and settings.
        names: of systems that are trained; None for those that the config compares.
    """
    tables = [pd.DataFrame(columns=["epoch", "metric", "value", "system", "commit"])]
    for name in systems_of(config) if names is None else names:

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
        rows ``system, metric, value, low, high, n`` with metrics ``fps`` and ``others``, the share
        of the cores that other processes had; and one row per system, stage and turn: ``system,
        stage, turn, ms, others, threads, device``; both with ``commit``.
    """
    names = list(names) or list(systems_of(config))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    machine = {"threads": torch.get_num_threads(), "device": device}
    kept = cache.folder(
        "times",
        f"{config.data.name}-{config.split}-{config.profile.name}-seed{config.seed}",
        systems=[_depends_on(config, name) for name in names],
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
        if "others" in stages:  # earlier ones did not watch them
            rows.append((name, "others", stages["others"].iloc[0], np.nan, np.nan, len(ms)))
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
