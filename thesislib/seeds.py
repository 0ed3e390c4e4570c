"""The one place that turns a seed into random numbers.

Every draw in the project is a function of the run's seed and of *what* is drawn (a word and some
numbers, say ``("augment", epoch, photo)``), never of what was drawn before. An interrupted run
therefore resumes exactly, and work split over processes draws what one process would have drawn.
"""

import zlib

import numpy as np


def check(seed: int) -> None:
    """Refuse what is no seed.

    Raises:
        ValueError: a number below 0.
    """
    if seed < 0:
        raise ValueError(f"seed: expected a whole number of at least 0, got {seed}")


def _entropy(seed: int, keys: tuple) -> list[int]:
    check(seed)
    words = [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]
    return [int(seed), *words]


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """NumPy generator for the draw named by ``keys``.

    Raises:
        ValueError: a seed below 0.

    >>> float(generator(0, "light", 3).random()) == float(generator(0, "light", 3).random())
    True
    >>> float(generator(0, "light", 3).random()) == float(generator(0, "light", 4).random())
    False
    """
    return np.random.default_rng(np.random.SeedSequence(_entropy(seed, keys)))


def torch_seed(seed: int, *keys: int | str) -> int:
    """Integer in [0, 2**63) to seed PyTorch with, for the draw named by ``keys``.

    Raises:
        ValueError: a seed below 0.
    """
    state = np.random.SeedSequence(_entropy(seed, keys)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
