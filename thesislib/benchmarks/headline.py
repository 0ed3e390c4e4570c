"""How fast, how accurate, and how close to the limit: every number of ``benchmark.csv`` in one run.

Systems take turns photo by photo, so that what else the machine does hits all alike; what is
quoted is a ratio, to the thesis's own pipeline (dlib with upsampling 1, then the classifier of the
photo in plain PyTorch) on the same photos and threads. On the command line::

    python -m thesislib benchmark [--size smoke] [--peers <folder of weights>]

What is trained, once, and kept under ``runs/``, see :mod:`thesislib.benchmarks.nets`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from thesislib import cache, paths, tables
from thesislib.baselines.detector_settings import USUAL, DetectorSettings
from thesislib.benchmarks import crowds, nets, sweeps
from thesislib.benchmarks.limits import limits
from thesislib.benchmarks.nets import Bench
from thesislib.benchmarks.peak_memory import peak_memory
from thesislib.benchmarks.peers import Enrolled, yunet_dlib
from thesislib.benchmarks.rows import Rows
from thesislib.benchmarks.systems import (
    accuracy,
    available,
    exported,
    gate,
    stages_of,
    two_stage,
)
from thesislib.benchmarks.timing import turns, whole
from thesislib.deploy.engines import machine
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.checkpoint import DEFAULT, load_net
from thesislib.engine.optimiser import precision
from thesislib.engine.timing import RUNS
from thesislib.environment import commit
from thesislib.experiments import systems
from thesislib.experiments.config import Config, parts

TABLE, LIMITS_TABLE = "benchmark.csv", "benchmark_limits.csv"
FRONTIER_TABLE, GATE_TABLE = "benchmark_frontier.csv", "benchmark_gate.csv"


class Tables(NamedTuple):
    """What a benchmark gives: ``benchmark.csv``, ``benchmark_limits.csv``,
    ``benchmark_frontier.csv`` and ``benchmark_gate.csv``."""

    times: pd.DataFrame
    limits: pd.DataFrame
    frontier: pd.DataFrame
    gate: pd.DataFrame


def run(
    size: str = "benchmark", seed: int = 0, peers_folder: Path | None = None, progress: bool = True
) -> Tables:
    """Train what is missing, measure everything, and write the tables below ``runs/``.

    Args:
        size: a name in ``nets.SIZES``.
        seed: of everything random.
        peers_folder: with YuNet's weights, see :func:`thesislib.benchmarks.peers.yunet_dlib`; None
            leaves it out.
        progress: say what is being done.

    Raises:
        FileNotFoundError, ModuleNotFoundError, MissingExtraError: as ``yunet_dlib``.
    """
    bench = Bench(size, seed, progress)
    bench.say(f"{machine()}, {bench.threads} threads, seed {seed}")
    rows, frontier = Rows(bench), Rows(bench)
    others = strangers(bench, peers_folder)
    gates = {backbone: gate_of(bench, backbone) for backbone in bench.size.backbones}
    refused = {
        (engine, backbone)
        for backbone, gate in gates.items()
        for engine in gate.loc[~gate["offered"], "engine"]
    }
    headline(bench, rows, refused, others)
    limits_table = limits(bench, pd.DataFrame(rows.rows))
    sweeps.batches_and_threads(bench, rows, refused)
    sweeps.photo_sizes(bench, rows, refused)
    sweeps.identities(bench, rows)
    crowds.faces(bench, rows, frontier, others)
    command = "python -m thesislib benchmark" + ("" if size == "benchmark" else f" --size {size}")
    command += f" --seed {seed}" if seed else ""
    about = {
        "machine": machine(),
        "profile": size,
        "seed": seed,
        "start": "scratch",
        "commit": commit(),
        "run": cache.key(size=size, seed=seed),
        "command": command + (f" --peers {peers_folder.name}" if peers_folder else ""),
    }
    judged = pd.concat([gate.assign(backbone=name) for name, gate in gates.items()])
    parts_of = Tables(
        _told(rows, tables.BENCHMARK_COLUMNS, about),
        limits_table.assign(**about, input_px=bench.size.input_px),
        _told(frontier, tables.FRONTIER_COLUMNS, about),
        judged.assign(**about, input_px=bench.size.input_px, precision=precision()),
    )
    files = (TABLE, LIMITS_TABLE, FRONTIER_TABLE, GATE_TABLE)
    for file, table in zip(files, parts_of, strict=True):
        tables.merge_table(paths.TABLES / file, table)
    bench.say("done")
    return parts_of


def _told(rows: Rows, columns: Sequence[str], about: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(rows.rows).assign(precision=precision(), **about)
    return table.reindex(columns=list(columns))


def strangers(bench: Bench, peers_folder: Path | None) -> dict[tuple, Any]:
    """What knows nobody before people are enrolled: the published net at the benchmark's size, and
    YuNet with dlib's recogniser; by system, engine and backbone."""
    size = bench.size
    peers = [] if peers_folder is None else [yunet_dlib(peers_folder, bench.threads)]
    train = parts(nets.portrait_config(bench, size.backbones[0])).train
    bench.say("export, the published net")
    folder = exported(
        load_net(DEFAULT, "cpu"), nets.scene_config(bench), size.input_px, size.calibration
    )
    found: list[tuple[str, Any]] = [
        (DEFAULT, Recogniser(folder, available(folder)[0], bench.threads)),
        *(("yunet_dlib", peer) for peer in peers),
    ]
    return {(name, system.engine, "own"): Enrolled(system, train) for name, system in found}


def gate_of(bench: Bench, backbone: str) -> pd.DataFrame:
    """A backbone's engines, judged: see :func:`thesislib.benchmarks.systems.gate`."""
    folder, check = _joint_folder(bench, backbone), nets.gate(bench)
    bench.say(f"gate, {backbone}, {len(check.photos)} photos")
    judged = gate(folder, check, bench.threads)
    for row in judged[~judged["offered"]].itertuples():
        bench.say(f"{row.engine}, {backbone}: costs too much accuracy, not offered")
    return judged


def _joint_folder(bench: Bench, backbone: str) -> Path:
    config = nets.portrait_config(bench, bench.size.backbones[0])
    net, check = nets.joint_net(bench, backbone), nets.gate(bench)
    bench.say(f"export, {backbone}")
    return exported(net, config, calibration=bench.size.calibration, check=check)


def headline(
    bench: Bench, rows: Rows, refused: set[tuple[str, str]], others: dict[tuple, Any]
) -> None:
    """Engines and backbones on portraits: time, ratio, accuracy, stages, memory.

    Stages are timed within the very calls whose time is the total.

    Args:
        bench: what is measured on.
        rows: to which rows are added.
        refused: engines and backbones that did not pass the gate.
        others: peers by key.
    """
    size, first = bench.size, bench.size.backbones[0]
    config = nets.portrait_config(bench, first)
    named = exported(nets.classifier(bench), config, calibration=size.calibration)
    test = parts(config).test
    photos = nets.read_photos(test)
    found: dict[tuple, Any] = {}
    folders = {}
    for backbone in size.backbones:
        folders[backbone] = _joint_folder(bench, backbone)
        for engine in available(folders[backbone]):
            if (engine, backbone) not in refused:
                key = ("joint", engine, backbone)
                found[key] = Recogniser(folders[backbone], engine, bench.threads)
    for upsampling in (1, 0):
        for engine in available(named):
            settings = DetectorSettings(upsampling, USUAL)
            found[f"two_stage_up{upsampling}", engine, first] = two_stage(
                config, named, engine, "photo", settings, size.input_px, bench.threads
            )
    found |= others
    bench.say(f"accuracy of {len(found)} systems on {len(photos)} test photos")
    own: dict[tuple, dict] = {key: accuracy(system, test) for key, system in found.items()}
    for key, columns in own.items():
        columns["grid"] = size.input_px // 64 if key[0] == "joint" else np.nan
    bench.say("timing, turn by turn")
    taken = turns({key: stages_of(system) for key, system in found.items()}, photos, size.runs)
    bench.say("memory")
    # A compiled net would be compiled all over again.
    measured = [key for key in found if key[0] == "joint" and key[1] != "torch_compile"]
    with ThreadPoolExecutor(bench.threads) as pool:
        peaks = pool.map(lambda key: peak_memory(folders[key[2]], key[1], size.input_px), measured)
        for key, peak in zip(measured, peaks, strict=True):
            own[key]["peak_mb"] = peak
    rows.add_turns(whole(taken), own)
    for (system, engine, backbone), stages in taken.items():
        grid = own[system, engine, backbone]["grid"]
        for stage, ms in stages.items():
            rows.add(system, engine, ms, backbone, stage=stage, grid=grid)


def compare_engines(config: Config, runs: int = RUNS) -> pd.DataFrame:
    """The headline in small: an experiment's nets, plain and on the best engine here.

    Without int8, whose calibration takes longer than all the rest.

    Args:
        config: whose joint net and classifier of photos are exported, at the profile's sizes.
        runs: timed calls of each.

    Returns:
        ``system, engine, ms_median, ratio`` (of frames per second, to the pipeline in plain
        PyTorch) and ``joint_accuracy_50, mean_iou, recall_50`` on the test photos.
    """
    threads, profile = torch.get_num_threads(), config.profile
    settings = systems.detector(config)
    joint = exported(systems.trained_joint(config), config, calibration=0)
    named = exported(systems.trained_classifier(config, "photo"), config, calibration=0)
    found: dict[tuple, Any] = {}
    for engine in (available(joint)[0], "torch"):
        found["joint", engine] = Recogniser(joint, engine, threads)
    for engine in (available(named)[0], "torch"):
        found["two_stage_photo", engine] = two_stage(
            config, named, engine, "photo", settings, profile.input_px, threads
        )
    test = parts(config).test
    measured = {key: accuracy(system, test) for key, system in found.items()}
    stages = {key: stages_of(system) for key, system in found.items()}
    taken = whole(turns(stages, nets.read_photos(test), runs))
    rows = [
        {
            "system": key[0],
            "engine": key[1],
            "ms_median": float(np.median(ms)),
            "ratio": float(np.median(taken["two_stage_photo", "torch"] / ms)),
            **measured[key],
        }
        for key, ms in taken.items()
    ]
    return pd.DataFrame(rows)


def read_tables() -> Tables:
    """The committed tables."""
    files = (TABLE, LIMITS_TABLE, FRONTIER_TABLE, GATE_TABLE)
    return Tables(*(tables.read_table(paths.PUBLISHED_TABLES / file) for file in files))
