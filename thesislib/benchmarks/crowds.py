"""Time, faces found and names against the number of faces in a photo, and at every threshold.

A system that misses faces is quick: where dlib finds none, its classifier has nothing to do. So
time stands beside the share of faces found, by the same systems on the same photos.
"""

from typing import Any

import numpy as np

from thesislib.baselines.detector_settings import USUAL, DetectorSettings
from thesislib.baselines.two_stage import TwoStage
from thesislib.benchmarks import nets
from thesislib.benchmarks.nets import Bench
from thesislib.benchmarks.rows import REFERENCE, Rows
from thesislib.benchmarks.systems import (
    at_thresholds,
    available,
    exported,
    stages_of,
    two_stage,
)
from thesislib.benchmarks.timing import turns, whole
from thesislib.deploy.graph import USER_SCORE
from thesislib.deploy.recogniser import Recogniser

# Least scores of a face, exclusive: probabilities of nets, margins of dlib's detector.
SCORES, MARGINS = (0.2, USER_SCORE, 0.8, 0.95), (-0.6, -0.3, USUAL, 0.3)


def faces(bench: Bench, rows: Rows, frontier: Rows, others: dict[tuple, Any]) -> None:
    """Measure photos of each number of faces.

    The pipeline names each face by itself here, as it must where there are several.

    Args:
        bench: what is measured on.
        rows: to which rows of users' usual thresholds are added.
        frontier: to which rows of every threshold are added.
        others: peers by key.
    """
    found = _systems(bench) | others
    asked = {
        (*key, threshold): system
        for key, system in found.items()
        for threshold in _thresholds(system, key)
    }
    stages = {key: stages_of(system, key[-1]) for key, system in asked.items()}
    for count in bench.size.face_counts:
        crowd = nets.crowds(bench, count)
        bench.say(f"{count} faces, {len(found)} systems on {len(crowd.photos)} photos")
        shares: dict[tuple, dict[str, float]] = {}
        for key, system in found.items():
            of_system = at_thresholds(system, crowd, _thresholds(system, key))
            shares |= {(*key, threshold): one for threshold, one in of_system.items()}
        taken = whole(turns(stages, nets.read_photos(crowd), bench.size.runs))
        usual = {key: ms for key, ms in taken.items() if key[-1] in (USUAL, USER_SCORE)}
        told = {key: _grid(key) | {"recall_50": shares[key]["recall_50"]} for key in usual}
        rows.add_turns(usual, told, faces=count)
        told = {key: _grid(key) | {"threshold": key[-1]} | shares[key] for key in taken}
        frontier.add_turns(taken, told, faces=count, photos=len(crowd.photos))


def _systems(bench: Bench) -> dict[tuple, Any]:
    """By system, engine, backbone and, of a joint net, grid."""
    size, backbone, threads = bench.size, bench.size.backbones[-1], bench.threads
    config = nets.scene_config(bench)
    found: dict[tuple, Any] = {}
    for grid in size.grids:
        # fp32 or bf16 for all: what it finds stands beside its time, so that it needs no gate.
        folder = exported(nets.scene_net(bench, grid), config, calibration=0)
        engine = available(folder)[0]
        found["joint", engine, backbone, grid] = Recogniser(folder, engine, threads)
    named = exported(nets.face_classifier(bench), config, calibration=0)
    for upsampling, runner in ((1, "torch"), (1, engine), (0, engine)):
        settings = DetectorSettings(upsampling, USUAL)
        found[f"two_stage_up{upsampling}", runner, backbone] = two_stage(
            config, named, runner, "face", settings, size.face_px, threads
        )
    return found


def _thresholds(system: Any, key: tuple) -> tuple[float, ...]:
    """Of the thesis's own setting its own alone: it is what others are compared with."""
    if isinstance(system, TwoStage):
        return (USUAL,) if key[:2] == REFERENCE else MARGINS
    return SCORES


def _grid(key: tuple) -> dict[str, float]:
    return {"grid": key[3] if key[0] == "joint" else np.nan}
