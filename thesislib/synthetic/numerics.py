"""Elementary functions on tensors that round alike on every machine, and bumps made of them."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

CHUNK = 49152  # rays at a time, as few as keep the work in the processor's cache

# PyTorch leaves these three to a library that has other code, and other last digits, for each
# kind of processor; one digit is enough for a pixel of another value, and another JPEG.


def sqrt(x: torch.Tensor) -> torch.Tensor:
    root = torch.empty_like(x)
    with np.errstate(invalid="ignore"):  # callers mask what has no root
        np.sqrt(x.numpy(), out=root.numpy())
    return root


def exp(x: torch.Tensor) -> torch.Tensor:
    flat = x.reshape(-1)
    values = torch.empty_like(flat)
    # In parts, as float64 of a whole photo leaves the processor's cache.
    for part, of_part in zip(flat.split(CHUNK), values.split(CHUNK), strict=True):
        of_part.copy_(part.double().exp_())
    return values.view(x.shape)


def acos(x: torch.Tensor) -> torch.Tensor:
    return torch.acos(x.double()).float()


def bell(q: torch.Tensor) -> torch.Tensor:
    """About exp(-q) for q >= 0, and 0 from q = 8 on; several times faster."""
    return (-0.125 * q).add_(1).clamp_(min=0).square_().square_().square_()


def bump(x, y, cx, cy, sx, sy):
    across = (x - cx).mul_(0.7071 / sx).square_()
    return bell(across.add_((y - cy).mul_(0.7071 / sy).square_()))


def _step(x, low: float, high: float):
    t = (x - low).div_(high - low).clamp_(0, 1)
    return (-2 * t).add_(3).mul_(t.square_())


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head to camera rotation, [3, 3], from degrees; positive yaw turns the face to the right."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread, so that pixels do not depend on how work is cut in parts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
