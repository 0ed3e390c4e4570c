"""How fast, how accurate, and how close to the limit: every number of ``benchmark.csv`` in one run.

Systems take turns photo by photo, so that what else the machine does hits all alike; what is
quoted is a ratio, to the thesis's own pipeline (dlib with upsampling 1, then the classifier of the
photo in plain PyTorch) on the same photos and threads. On the command line::

    python -m thesislib benchmark [--size smoke] [--peers <folder of weights>]

What is trained, once, and kept under ``runs/``, see :mod:`thesislib.benchmarks.nets`.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib import cache, paths, tables
from thesislib.baselines.detector_settings import USUAL, DetectorSettings
from thesislib.benchmarks import nets, sweeps
from thesislib.benchmarks.limits import limits
from thesislib.benchmarks.nets import Bench
from thesislib.benchmarks.peak_memory import peak_memory
from thesislib.benchmarks.peers import peers
from thesislib.benchmarks.rows import Rows
from thesislib.benchmarks.systems import (
    accuracy,
    answer,
    available,
    exported,
    offered,
    two_stage,
)
from thesislib.benchmarks.timing import STAGES, stage_times, times
from thesislib.data.detector import detect_faces
from thesislib.deploy.engines import machine
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.checkpoint import load_net
from thesislib.engine.optimiser import precision
from thesislib.engine.timing import RUNS, joint_stages, take_turns
from thesislib.environment import commit
from thesislib.experiments import systems
from thesislib.experiments.config import Config, parts

TABLE, LIMITS_TABLE = "benchmark.csv", "benchmark_limits.csv"


def run(
    size: str = "benchmark", seed: int = 0, peers_folder: Path | None = None, progress: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train what is missing, measure everything, and write the tables below ``runs/``.

    Args:
        size: a name in ``nets.SIZES``.
        seed: of everything random.
        peers_folder: see :func:`thesislib.benchmarks.peers.peers`.
        progress: say what is being done.

    Returns:
        ``benchmark.csv`` and ``benchmark_limits.csv``.
    """
    bench = Bench(size, seed, progress)
    bench.say(f"{machine()}, {bench.threads} threads, seed {seed}")
    rows, others = Rows(bench), peers(peers_folder)
    refused = headline(bench, rows, others)
    limits_table = limits(bench, pd.DataFrame(rows.rows))
    sweeps.batches_and_threads(bench, rows, refused)
    sweeps.photo_sizes(bench, rows, refused)
    sweeps.identities(bench, rows)
    sweeps.faces(bench, rows, others)
    command = "python -m thesislib benchmark" + ("" if size == "benchmark" else f" --size {size}")
    about = {
        "machine": machine(),
        "profile": size,
        "seed": seed,
        "start": "scratch",
        "commit": commit(),
        "run": cache.key(size=size, seed=seed),
        "command": command if seed == 0 else f"{command} --seed {seed}",
    }
    table = pd.DataFrame(rows.rows).assign(precision=precision(), **about)
    table = table.reindex(columns=list(tables.BENCHMARK_COLUMNS))
    limits_table = limits_table.assign(**about, input_px=bench.size.input_px)
    tables.merge_table(paths.TABLES / TABLE, table)
    tables.merge_table(paths.TABLES / LIMITS_TABLE, limits_table)
    bench.say("done")
    return table, limits_table


def headline(bench: Bench, rows: Rows, others: dict[str, Any]) -> set[tuple[str, str]]:
    """Engines and backbones on portraits: time, ratio, accuracy, stages, memory.

    Args:
        bench: what is measured on.
        rows: to which rows are added.
        others: peers by name.

    Returns:
        engines and backbones that cost too much accuracy on the test photos.
    """
    size, first = bench.size, bench.size.backbones[0]
    config = nets.portrait_config(bench, first)
    named = exported(nets.classifier(bench), config, calibration=size.calibration)
    test = parts(config).test
    photos = nets.read_photos(test)
    found, folders = {}, {}
    for backbone in size.backbones:
        net, check = nets.joint_net(bench, backbone), nets.more_portraits(bench)
        bench.say(f"export, {backbone}")
        folder = exported(net, config, calibration=size.calibration, check=check)
        folders[backbone] = folder
        for engine in available(folder):
            found["joint", engine, backbone] = Recogniser(folder, engine, bench.threads)
    for upsampling in (1, 0):
        for engine in available(named):
            settings = DetectorSettings(upsampling, USUAL)
            key = (f"two_stage_up{upsampling}", engine, first)
            found[key] = two_stage(  # type: ignore[assignment]
                config, named, engine, "photo", settings, size.input_px, bench.threads
            )
    found |= {(name, "own", "own"): system for name, system in others.items()}
    bench.say(f"accuracy of {len(found)} systems on {len(photos)} test photos")
    own: dict[tuple, dict] = {key: accuracy(system, test) for key, system in found.items()}
    refused = set()
    for key in [key for key in found if not offered(key, own)]:
        bench.say(f"{key[1]}, {key[2]}: costs too much accuracy on test photos, not offered")
        del found[key]
        refused.add((key[1], key[2]))
    for key, columns in own.items():
        columns["grid"] = size.input_px // 64 if key[0] == "joint" else np.nan
    bench.say("timing, turn by turn")
    called = {key: functools.partial(answer, system) for key, system in found.items()}
    taken = times(called, photos, size.runs)
    bench.say("memory")
    # A compiled net would be compiled all over again.
    measured = [key for key in found if key[0] == "joint" and key[1] != "torch_compile"]
    with ThreadPoolExecutor(bench.threads) as pool:
        peaks = pool.map(lambda key: peak_memory(folders[key[2]], key[1], size.input_px), measured)
        for key, peak in zip(measured, peaks, strict=True):
            own[key]["peak_mb"] = peak
    rows.add_turns(taken, own)
    bench.say("stages")
    for system, engine, backbone in found:
        if system == "joint":
            for stage, ms in _stages(folders[backbone], engine, photos[0], bench).items():
                rows.add("joint", engine, ms, backbone, stage=stage, grid=size.input_px // 64)
    for upsampling in (0, 1):
        detector = functools.partial(detect_faces, upsampling=upsampling)
        ms = take_turns({"detector": [("total", detector)]}, photos, size.runs)["ms"].to_numpy()
        rows.add(f"two_stage_up{upsampling}", "dlib", ms, first, stage="detector")
    return refused


def _stages(folder: Path, engine: str, photo: np.ndarray, bench: Bench) -> dict[str, np.ndarray]:
    """Milliseconds of each stage by turn, of the engines that tell them apart."""
    runs = bench.size.runs
    if engine.startswith("openvino"):
        table = stage_times(folder, engine, photo, bench.threads, runs)
        return {stage: table[stage].to_numpy() for stage in STAGES}
    if engine == "torch":
        stages = joint_stages(load_net(folder, "cpu"), 0.5)
        turns = take_turns({"net": stages}, [photo], runs)
        return {str(stage): rows["ms"].to_numpy() for stage, rows in turns.groupby("stage")}
    return {}


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
    called: dict[tuple, Callable] = {
        key: functools.partial(answer, system) for key, system in found.items()
    }
    taken = times(called, nets.read_photos(test), runs)
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


def read_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The committed ``benchmark.csv`` and ``benchmark_limits.csv``."""
    table, limits_table = (
        tables.read_table(paths.PUBLISHED_TABLES / file) for file in (TABLE, LIMITS_TABLE)
    )
    return table, limits_table
