"""How close to the limit: what this machine can do, and what a net asks of it."""

import copy
import functools
import math
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thesislib.engine.train import precision
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
    best, end = math.inf, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * n**3 / best


def best_seconds(work: Callable, seconds: float = 0.7) -> float:
    """Shortest of the calls that fit into that time."""
    best, end = np.inf, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def machine_limits() -> pd.DataFrame:
    """Peaks measured on this machine: ``limit, value``, in operations or bytes a second.

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

    def count(module, inputs, output):
        nonlocal moved
        moved += inputs[0].numel() + module.weight.numel() + output.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    try:
        batch, _ = net.batch([torch.from_numpy(photo).permute(2, 0, 1)])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net.heads(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return float(counter.get_total_flops()), float(moved)
