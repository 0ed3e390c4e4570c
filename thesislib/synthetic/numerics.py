"""Elementary functions of tensors that give the same bits on every processor, and soft shapes.

PyTorch leaves the square root, exponential and arc cosine of float32 to a library that takes
other code, with other last digits, on each kind of processor. One digit is enough for a pixel of
another value, and then for another JPEG. The three here round alike everywhere, and on one thread
sums are split alike as well.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

CHUNK = 49152  # rays or values at a time: their work fits in a processor's cache


def sqrt(x: torch.Tensor) -> torch.Tensor:
    """Square root of a float32 tensor; NaN where ``x`` is negative."""
    root = torch.empty_like(x)
    with np.errstate(invalid="ignore"):  # callers mask what has no root
        np.sqrt(x.numpy(), out=root.numpy())
    return root


def exp(x: torch.Tensor) -> torch.Tensor:
    """Exponential of a float32 tensor, computed in float64."""
    flat = x.reshape(-1)
    values = torch.empty_like(flat)
    for part, of_part in zip(flat.split(CHUNK), values.split(CHUNK), strict=True):
        of_part.copy_(part.double().exp_())
    return values.view(x.shape)


def acos(x: torch.Tensor) -> torch.Tensor:
    """Arc cosine of a float32 tensor in radians, computed in float64."""
    return torch.acos(x.double()).float()


def bell(q: torch.Tensor) -> torch.Tensor:
    """About exp(-q) for q >= 0, as (1 - q / 8)**8, and 0 from q = 8 on; several times faster."""
    return (-0.125 * q).add_(1).clamp_(min=0).square_().square_().square_()


def bump(
    x: torch.Tensor, y: torch.Tensor, cx: float, cy: float, sx: float, sy: float
) -> torch.Tensor:
    """Soft spot at (cx, cy), 1 in its middle: about a Gaussian of deviations ``sx`` and ``sy``."""
    across = (x - cx).mul_(0.7071 / sx).square_()
    return bell(across.add_((y - cy).mul_(0.7071 / sy).square_()))


def smoothstep(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Cubic ramp 3t² - 2t³ from 0 at ``low`` to 1 at ``high``; it falls where low > high."""
    t = (x - low).div_(high - low).clamp_(0, 1)
    return (-2 * t).add_(3).mul_(t.square_())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread without gradients, so that no sum is split up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
