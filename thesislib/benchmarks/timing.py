"""The one timing loop: systems take turns photo by photo."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from thesislib.deploy.export import INT8, OPENVINO
from thesislib.deploy.graph import PhotosToFaces
from thesislib.models.joint import JointNet

WARM_UPS, RUNS = 5, 30
# Seconds before a timed call. An engine's threads stay awake for some milliseconds after a call,
# and would take the cores from the engine whose turn is next.
PAUSE = 0.02


def take_turns(
    systems: dict, photos: Sequence, runs: int = RUNS, warm_ups: int = WARM_UPS
) -> dict[object, np.ndarray]:
    """Time systems on the same photos, one after the other on each.

    Args:
        systems: callables of one photo, by name.
        photos: taken in turn, from the first again after the last.
        runs: timed calls of each system.
        warm_ups: calls before those.

    Returns:
        milliseconds [runs] of each system.
    """
    times: dict[object, list[float]] = {name: [] for name in systems}
    for turn in range(warm_ups + runs):
        photo = photos[turn % len(photos)]
        for name, system in systems.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            system(photo)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: np.array(values[warm_ups:]) for name, values in times.items()}


def stage_times(folder: Path, engine: str, photo: np.ndarray, threads: int, runs: int) -> dict:
    """Milliseconds (median) of an OpenVINO engine's stages, by its own counters, node by node.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a joint net.
        engine: one of OpenVINO's.
        photo: uint8 [H, W, 3].
        threads: of the engine.
        runs: timed calls.

    Returns:
        ``preprocess``: before the first convolution; ``network``: from there to the last;
        ``postprocess``: what remains of the whole call, conversion to NumPy included.
    """
    import openvino as ov

    file = folder / (INT8 if engine == "openvino_int8" else OPENVINO)
    settings = {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True}
    settings["INFERENCE_NUM_THREADS"] = threads
    if engine == "openvino":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = ov.Core().compile_model(file, "CPU", settings).create_infer_request()
    rows = []
    for _ in range(WARM_UPS + runs):
        began = time.perf_counter()
        answer = request.infer([photo[None]])
        _ = [value.copy() for value in answer.values()]
        whole = 1000 * (time.perf_counter() - began)
        nodes = [(n.node_type, n.real_time.total_seconds() * 1000) for n in request.profiling_info]
        convolutions = [at for at, (kind, _) in enumerate(nodes) if kind == "Convolution"]
        before = sum(ms for _, ms in nodes[: convolutions[0]])
        network = sum(ms for _, ms in nodes[convolutions[0] : convolutions[-1] + 1])
        rows.append((before, network, whole - before - network))
    median = np.median(np.array(rows[WARM_UPS:]), axis=0)
    return dict(zip(("preprocess", "network", "postprocess"), median.tolist(), strict=True))


def torch_stage_times(net: JointNet, input_px: int, photo: np.ndarray, runs: int) -> dict:
    """As :func:`stage_times`, of plain PyTorch."""
    graph, rows = PhotosToFaces(net, input_px), []
    with torch.inference_mode():
        for _ in range(WARM_UPS + runs):
            marks = [time.perf_counter()]
            batch, scaled = graph.scale(torch.from_numpy(photo[None]))
            marks.append(time.perf_counter())
            outputs = net.heads(batch)
            marks.append(time.perf_counter())
            _ = [value.numpy() for value in graph.answer(*outputs, scaled, photo.shape[:2])]
            marks.append(time.perf_counter())
            rows.append(1000 * np.diff(marks))
    median = np.median(np.array(rows[WARM_UPS:]), axis=0)
    return dict(zip(("preprocess", "network", "postprocess"), median.tolist(), strict=True))
