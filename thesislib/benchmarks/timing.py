"""Times of an exported net's stages: the whole call, divided by the engine's own counters."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thesislib.data.transforms import scaled_photo
from thesislib.deploy.export import INT8, OPENVINO, read_about
from thesislib.deploy.graph import USER_SCORE
from thesislib.engine.timing import RUNS, WARM_UPS, take_turns
from thesislib.environment import require

STAGES = ("preprocess", "network", "postprocess")


def times(
    systems: Mapping[Any, Callable], photos: list, runs: int = RUNS, warm_ups: int = WARM_UPS
) -> dict[tuple, np.ndarray]:
    """Milliseconds [runs] of whole calls by system, taken turn by turn.

    Args:
        systems: callables of one photo, by key.
        photos: taken in turn.
        runs, warm_ups: see :func:`thesislib.engine.timing.take_turns`.
    """
    numbered = {str(at): [("total", system)] for at, system in enumerate(systems.values())}
    table = take_turns(numbered, photos, runs, warm_ups)
    of_system = dict(list(table.groupby("system")["ms"]))
    return {key: of_system[str(at)].to_numpy() for at, key in enumerate(systems)}


def stage_times(
    folder: Path, engine: str, photo: np.ndarray, threads: int, runs: int = RUNS
) -> pd.DataFrame:
    """Stages of an OpenVINO engine's calls, by its own counters, node by node.

    Args:
        folder: what :func:`thesislib.deploy.export.export` wrote of a joint net.
        engine: one of OpenVINO's.
        photo: uint8 [H, W, 3].
        threads: of the engine.
        runs: timed calls.

    Returns:
        one row per turn, milliseconds: ``preprocess``, scaling and what is before the first
        convolution; ``network``, from there to the last; ``postprocess``, what remains of the
        call, conversion to NumPy included; and ``total``, the call on the clock, which is their
        sum.
    """
    ov = require("openvino", extra="deploy")
    file = folder / (INT8 if engine == "openvino_int8" else OPENVINO)
    settings = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    settings["INFERENCE_NUM_THREADS"] = threads
    if engine == "openvino":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = ov.Core().compile_model(file, "CPU", settings).create_infer_request()

    px = read_about(folder)["input_px"]

    def scale(photo: np.ndarray) -> np.ndarray:
        return scaled_photo(photo, px).permute(1, 2, 0).numpy()

    def call(photo: np.ndarray) -> list[np.ndarray]:
        inputs = (photo[None], np.array(USER_SCORE, dtype=np.float32))
        return [value.copy() for value in request.infer(inputs).values()]

    rows = []
    for turn in range(WARM_UPS + runs):
        stages = {"net": [("scale", scale), ("graph", call)]}
        scaling, whole = take_turns(stages, [photo], 1, 0)["ms"]
        nodes = [(n.node_type, n.real_time.total_seconds() * 1000) for n in request.profiling_info]
        convolutions = [at for at, (kind, _) in enumerate(nodes) if kind == "Convolution"]
        if turn >= WARM_UPS:
            counted = [ms for _, ms in nodes]
            before, *others, whole = divided(counted, convolutions[0], convolutions[-1], whole)
            rows.append((scaling + before, *others, scaling + whole))
    return pd.DataFrame(rows, columns=[*STAGES, "total"])


def divided(nodes: list[float], first: int, last: int, whole: float) -> tuple[float, ...]:
    """A call's time by stage: before node ``first``, to ``last``, what remains, and the whole.

    Args:
        nodes: milliseconds of each, by the engine's counters.
        first, last: the first and the last convolution.
        whole: milliseconds of the call on the clock.
    """
    # Counters that were interrupted, or ran side by side, may add up to more than the call.
    scale = min(1.0, whole / sum(nodes))
    before, network = scale * sum(nodes[:first]), scale * sum(nodes[first : last + 1])
    return before, network, whole - before - network, whole
