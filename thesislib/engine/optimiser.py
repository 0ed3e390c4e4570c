"""How weights are moved: the optimiser, its learning rate, and the arithmetic of training."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from thesislib.profiles import Profile


def learning_rate(step: int, steps: int, highest: float, warm_up: float) -> float:
    """One-cycle schedule: linear up over the first ``warm_up`` share, cosine down to zero.

    After Smith & Topin 2018 (super-convergence), without its momentum cycle.

    >>> [round(learning_rate(s, 10, 1.0, 0.2), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return highest * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return highest * 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(model: nn.Module, profile: Profile) -> torch.optim.Optimizer:
    """AdamW; biases, norms and scalars are not decayed.

    A module with an attribute ``learning_share`` learns at that share of the learning rate.
    """
    shares: dict[nn.Parameter, Any] = {
        parameter: module.learning_share
        for module in model.modules()
        if hasattr(module, "learning_share")
        for parameter in module.parameters()
    }
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for share in sorted({shares.get(p, 1.0) for p in parameters}, reverse=True):
        own = [p for p in parameters if shares.get(p, 1.0) == share]
        groups.append({"params": [p for p in own if p.ndim >= 2], "share": share})
        groups.append({"params": [p for p in own if p.ndim < 2], "weight_decay": 0.0})
        groups[-1]["share"] = share
    return torch.optim.AdamW(
        groups,
        lr=profile.learning_rate,
        weight_decay=profile.weight_decay,
        fused=True,
    )


def precision() -> str:
    """Arithmetic of training: ``"bf16"`` where the processor multiplies it natively, or ``"fp32"``.

    Weights, losses and optimiser stay in fp32 either way, and so do the heads of a grid, whose
    boxes and similarities need the digits. CPUs without bf16 units emulate it, slower than fp32.
    """
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16" if torch.cuda.is_available() or native else "fp32"


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Bit-equal reruns on the CPU; on a GPU speed goes first."""
    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(device.type == "cpu")
    # Else every new tensor is filled with NaN first, which takes time; none is read unwritten.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled
