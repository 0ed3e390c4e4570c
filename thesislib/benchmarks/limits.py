"""How close to the limit: what this machine can do, and what a net asks of it."""

import copy
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thesislib.benchmarks import nets
from thesislib.benchmarks.nets import Bench
from thesislib.benchmarks.systems import exported, stages_of
from thesislib.benchmarks.timing import turns, whole
from thesislib.deploy.recogniser import Recogniser
from thesislib.engine.optimiser import precision
from thesislib.engine.timing import PAUSE
from thesislib.experiments.config import parts
from thesislib.models.joint import JointNet


def training_flops(model: torch.nn.Module, size: int) -> float:
    """Floating-point operations to train on one photo of ``size`` x ``size`` pixels.

    Forward operations as PyTorch counts them, times three: the backward pass computes a gradient
    for the inputs and one for the weights of each layer.
    """
    copied = copy.deepcopy(model).cpu().eval()
    photo = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copied(photo)
    return 3.0 * counter.get_total_flops()


def peak_flops(device: str = "cpu", seconds: float = 1.0) -> float:
    """Measured peak of matrix products on this machine, FLOP/s, in training's :func:`precision`."""
    n = 8192 if device == "cuda" else 1536
    dtype = torch.bfloat16 if precision() == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()

    return 2.0 * n**3 / best_seconds(multiply, seconds)


def best_seconds(work: Callable, seconds: float = 0.7) -> float:
    """Shortest of the calls that fit into that time."""
    best, end = np.inf, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def machine_limits() -> pd.DataFrame:
    """Peaks measured on this machine: ``limit, value``, in operations or bytes per second.

    PyTorch's matrix products in ``fp32``, ``bf16`` and ``int8`` (a multiplication and an addition
    are two operations), the best of three sizes; ``memory`` is a copy of 256 MB, read and written.
    """
    rows = {}
    for name, dtype in (
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("int8", torch.int8),
    ):
        rates = []
        for n in (1024, 1536, 2048):
            if name == "int8":
                a = torch.randint(-127, 127, (n, n), dtype=dtype)
                multiply = functools.partial(torch._int_mm, a, a)
            else:
                a = torch.randn(n, n).to(dtype)
                multiply = functools.partial(torch.matmul, a, a)
            rates.append(2 * n**3 / best_seconds(multiply))
        rows[name] = max(rates)
    source = torch.zeros(64 * 2**20, dtype=torch.float32)
    target = torch.empty_like(source)
    rows["memory"] = 2 * source.nbytes / best_seconds(lambda: target.copy_(source))
    return pd.DataFrame({"limit": rows.keys(), "value": rows.values()})


def work_of(net: JointNet, photo: np.ndarray) -> tuple[float, float]:
    """Operations of one photo, and numbers moved if each layer reads and writes memory once.

    Args:
        net: in evaluation mode.
        photo: uint8 [H, W, 3] in the network's scale.

    Returns:
        operations as PyTorch's FlopCounterMode counts them, and the sizes of the inputs, weights
        and outputs of all convolutions, in numbers.
    """
    moved = 0

    def count(module: Any, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + module.weight.numel() + output.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    try:
        batch = torch.from_numpy(photo).permute(2, 0, 1)[None].to(net.device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return float(counter.get_total_flops()), float(moved)


def limits(bench: Bench, measured: pd.DataFrame) -> pd.DataFrame:
    """Each engine's point in the roofline figure, beside the machine's measured peaks.

    A net's share of the peak is that of the headline: of the very calls, photo to answer, whose
    median is quoted. Where the rest of the time is, the same calls tell by their stages, and calls
    without what comes between those of the headline: without other systems' turns, and without
    the pause in which an engine's threads fall asleep and the caches are left to others.

    Args:
        bench: whose nets they are.
        measured: rows of ``benchmark.csv``.

    Returns:
        ``backbone, engine, precision, operations, bytes, ms, ms_network, ms_alone, ms_awake,
        operations_per_second, peak, memory, share_of_peak, share_of_peak_network,
        share_of_peak_awake``. Milliseconds are medians: ``ms`` of the headline's calls,
        ``ms_network`` of their network stage, ``ms_alone`` of whole calls with the pause and
        nothing else between them, ``ms_awake`` of calls that follow one another at once. An
        engine named ``training`` is PyTorch while it trains.
    """
    bench.say("the machine's limits")
    peaks = machine_limits().set_index("limit")["value"]
    joint = measured[(measured["system"] == "joint") & measured["grid"].notna()]
    rows = []
    for backbone, of_net in joint.groupby("backbone", sort=False):
        net = nets.joint_net(bench, str(backbone))
        config = nets.portrait_config(bench, str(backbone))
        folder = exported(net, config, calibration=bench.size.calibration, check=nets.gate(bench))
        photos = nets.read_photos(parts(config).test)
        operations, moved = work_of(net, photos[0])
        for engine, of_engine in of_net.groupby("engine", sort=False):
            own = of_engine.set_index("stage")["ms_median"]
            stages = {engine: stages_of(Recogniser(folder, str(engine), bench.threads))}
            alone, awake = (
                float(np.median(whole(turns(stages, photos, bench.size.runs, pause=pause))[engine]))
                for pause in (PAUSE, 0.0)
            )
            lowered = {"openvino_int8": "int8", "openvino_bf16": "bf16"}
            kind = lowered.get(str(engine), "fp32")
            of_calls = (own["total"], own["network"], alone, awake)
            rows.append((backbone, engine, kind, operations, moved, *of_calls))
        # Of a crop, as it was trained on; each layer's numbers move thrice.
        trained = training_flops(net, bench.size.input_px)
        ms = 1000 / training_speed(net)["photos_per_second"]
        of_calls = (ms, np.nan, np.nan, np.nan)
        rows.append((backbone, "training", precision(), trained, 3 * moved, *of_calls))
    columns = ["backbone", "engine", "precision", "operations", "bytes", "ms", "ms_network"]
    table = pd.DataFrame(rows, columns=[*columns, "ms_alone", "ms_awake"])
    table["bytes"] *= table["precision"].map({"int8": 1, "bf16": 2, "fp32": 4})
    table["peak"], table["memory"] = table["precision"].map(peaks), peaks["memory"]
    table["operations_per_second"] = table["operations"] / (table["ms"] / 1000)
    for told in ("", "_network", "_awake"):
        rate = table["operations"] / (table[f"ms{told}"] / 1000)
        table[f"share_of_peak{told}"] = rate / table["peak"]
    return table


def training_speed(net: JointNet) -> dict[str, float]:
    """How fast a net was trained.

    Args:
        net: that was trained by :func:`thesislib.engine.train.train`.

    Returns:
        ``photos_per_second`` (median over epochs), ``share_of_peak`` (of the operations per second
        that a large matrix product reaches here) and ``data_wait_share`` (of the time, spent
        waiting for data).
    """
    history = pd.DataFrame((net.provenance or {})["history"])
    photos = float(history["photos_per_second"].median())
    operations = photos * training_flops(net, net.input_px)
    return {
        "photos_per_second": photos,
        "share_of_peak": operations / peak_flops("cuda" if torch.cuda.is_available() else "cpu"),
        "data_wait_share": float(history["data_wait_share"].median()),
    }
