"""Time of a recogniser against a detector with a recogniser of chips, by faces in a photo.

Systems take turns on the same photos of synthetic people. On the command line::

    python -m thesislib recogniser-speed [--nets <nets>] [--peers <folder of weights>]
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from thesislib import cache, paths
from thesislib.baselines.dlib_pipeline import DlibPipeline
from thesislib.benchmarks.peers import DlibItself, yunet_dlib
from thesislib.benchmarks.timing import times
from thesislib.deploy.engines import available, machine
from thesislib.deploy.export import read_about
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.checkpoint import load_net
from thesislib.engine.timing import RUNS
from thesislib.environment import commit
from thesislib.experiments.recogniser import exported, system_name
from thesislib.metrics.statistics import bootstrap_interval
from thesislib.models.joint import JointNet
from thesislib.synthetic.scene import render_scene
from thesislib.tables import PRECISIONS, merge_table

TABLE, MEASURES_TABLE = "recogniser_speed.csv", "recogniser.csv"
FACES = (1, 2, 4, 8, 16, 32)
PHOTOS, PHOTO_PX = 4, 480  # of each number of faces, and their shorter side
SMALL_PX = 320  # the other size at which the first net is timed
REFERENCE = ("dlib", "own")  # to which ratios are: dlib's detector and recogniser, by dlib


def run(
    nets: Sequence[Path | str] = ("default",),
    faces: Sequence[int] = FACES,
    *,
    runs: int = RUNS,
    peers: Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Time nets, dlib's pipeline by dlib and with its recogniser in PyTorch, and, where it is
    installed, YuNet with dlib's recogniser.

    Args:
        nets: each as :func:`thesislib.engine.checkpoint.load_net` takes it; the first at two sizes
            and on every engine, the others on the engine that is tried first.
        faces: in a photo, each number for itself.
        runs: timed calls of each system.
        peers: folder with YuNet's weights, see :func:`thesislib.benchmarks.peers.yunet_dlib`.
        seed: of the photos.
        progress: say what is being done.

    Raises:
        ValueError: no nets, two of one name, or one whose folder has another system's; less than
            one run or face.

    Returns:
        the rows of ``recogniser_speed.csv``. Times of 1 and 32 faces, of each system's fastest
        engine of those timed, go into ``recogniser.csv`` too.
    """
    names = [system_name(net) for net in nets]
    if runs < 1 or not faces or min(faces) < 1:
        raise ValueError(f"runs: {runs}, faces: {list(faces)}; all must be 1 or more")
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"nets: {', '.join(names) or 'none'}; one or more are needed, of other names"
        )
    loaded: list[JointNet] = [load_net(net, "cpu") for net in nets]
    threads = torch.get_num_threads()
    found: dict[tuple, Any] = {
        (*REFERENCE, PHOTO_PX): DlibItself(upsampling=1),
        ("teacher_aligned", "torch", PHOTO_PX): DlibPipeline(upsampling=1),
    }
    if peers is not None:
        pipeline = yunet_dlib(peers, threads)
        found["yunet_dlib", pipeline.engine, PHOTO_PX] = pipeline
    sized = [(path, net, net.input_px) for path, net in zip(nets, loaded, strict=True)]
    if loaded[0].input_px != SMALL_PX:
        sized.insert(1, (nets[0], loaded[0], SMALL_PX))
    for path, net, px in sized:
        folder = exported(net, px)
        engines = available(read_about(folder))
        for engine in engines if path == nets[0] else engines[:1]:
            found[Path(path).name, engine, px] = Recogniser(folder, engine, threads)
    # Each at its own usual threshold: dlib's scores are no probabilities.
    called = {key: functools.partial(_answer, system) for key, system in found.items()}
    rows = []
    for count in faces:
        if progress:
            print(f"{count} faces, {len(called)} systems", flush=True)
        photos = [render_scene(at, (0, 100), seed, PHOTO_PX, count)[0] for at in range(PHOTOS)]
        detected = {
            key: float(np.mean([len(system(photo)) for photo in photos]))
            for key, system in called.items()
        }
        taken = times(called, photos, runs)
        reference = taken[*REFERENCE, PHOTO_PX]
        for (system, engine, px), ms in taken.items():
            ratio = reference / ms  # turn by turn: what disturbed the machine disturbed both
            low, high = bootstrap_interval(ratio, np.median, seed=seed)
            lowered = engine.rpartition("_")[2]
            rows.append(
                {
                    "system": system,
                    "engine": engine,
                    "input_px": px,
                    "precision": lowered if lowered in PRECISIONS else "fp32",
                    "faces": count,
                    "found": detected[system, engine, px],
                    "ms_median": float(np.median(ms)),
                    "ms_min": float(ms.min()),
                    "ratio_to_dlib": float(np.median(ratio)),
                    "low": low,
                    "high": high,
                    "n": runs,
                }
            )
    about = {
        "dataset": "synthetic",
        "threads": threads,
        "machine": machine(),
        "profile": "default" if runs == RUNS and tuple(faces) == FACES else "smoke",
        "seed": seed,
        "backbone": "dlib",
        "start": "dlib",
        "commit": commit(),
        "run": cache.key(
            nets=[net.answers_key for net in loaded],
            faces=list(faces),
            runs=runs,
            peers=peers is not None,
            seed=seed,
        ),
        "command": _command(nets, faces, runs, peers, seed),
    }
    table = pd.DataFrame(rows).assign(**about)
    merge_table(paths.TABLES / TABLE, table)
    if len(told := measures(table, loaded[0].input_px)):
        merge_table(paths.TABLES / MEASURES_TABLE, told)
    return table


def measures(table: pd.DataFrame, own_px: int) -> pd.DataFrame:
    """Rows of ``recogniser.csv``: milliseconds of 1 and 32 faces at a system's own size, by its
    fastest engine, and how many times as fast as dlib's pipeline that is.

    Args:
        table: ``recogniser_speed.csv``.
        own_px: the first net's input size; all others were timed at one size alone.
    """
    sizes = table.groupby("system")["input_px"].transform("nunique")
    own = table[(table["input_px"] == own_px) | (sizes == 1)]
    rows = []
    for _, of_system in own.groupby("system", sort=False):
        # The engine that is fastest over all numbers of faces: one for all rows.
        total = of_system.groupby("engine")["ms_median"].sum()
        fastest = of_system[of_system["engine"] == total.idxmin()]
        for row in fastest[fastest["faces"].isin([1, 32])].to_dict("records"):
            count = "1_face" if row["faces"] == 1 else f"{row['faces']}_faces"
            about = {name: row[name] for name in table if name in _SHARED}
            told = f"{row['machine']}, {row['threads']} threads, {row['engine']}"
            ms = {"measure": f"ms_{count}", "value": row["ms_median"], "low": np.nan}
            ratio = {"measure": f"ratio_{count}", "value": row["ratio_to_dlib"]}
            rows.append({**about, **ms, "high": np.nan, "machine": told})
            rows.append({**about, **ratio, "low": row["low"], "high": row["high"], "machine": told})
    return pd.DataFrame(rows).assign(group="")


_SHARED = {
    *("dataset", "system", "n", "profile", "seed", "backbone", "start", "input_px", "precision"),
    *("commit", "run", "command"),
}


def _answer(system: Any, photo: np.ndarray) -> list:
    return system.predict_arrays([photo])[0]


def _command(
    nets: Sequence[Path | str], faces: Sequence[int], runs: int, peers: Path | None, seed: int
) -> str:
    words = "python -m thesislib recogniser-speed"
    if tuple(map(str, nets)) != ("default",):
        words += f" --nets {' '.join(Path(net).name for net in nets)}"
    if tuple(faces) != FACES:
        words += f" --faces {' '.join(map(str, faces))}"
    if runs != RUNS:
        words += f" --runs {runs}"
    if peers is not None:
        words += f" --peers {Path(peers).name}"
    return words + (f" --seed {seed}" if seed else "")
