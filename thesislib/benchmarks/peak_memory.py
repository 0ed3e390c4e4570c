"""Peak memory of an exported net at work, in a process that does nothing else.

Run by :func:`peak_memory` as ``python -m thesislib.benchmarks.peak_memory`` with the folder, the
engine and the pixels.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from thesislib.deploy.recogniser import Recogniser


def peak_memory(folder: Path, engine: str, photo_px: int) -> float:
    """Most resident memory in MB of a process that opens a net and answers ten photos.

    Args:
        folder: what :func:`thesislib.deploy.export.export` wrote of a joint net.
        engine: one of :data:`thesislib.deploy.engines.ENGINES`.
        photo_px: shorter side of the photos.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    words = [
        sys.executable,
        "-m",
        "thesislib.benchmarks.peak_memory",
        str(folder),
        engine,
        str(photo_px),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _answer_photos(folder: str, engine: str, photo_px: str) -> None:
    recogniser = Recogniser(folder, engine)
    side = int(photo_px)
    photo = np.zeros((side, side * 4 // 3, 3), np.uint8)
    for _ in range(10):
        recogniser.predict_arrays([photo])


def peak_mb() -> float:
    """Most resident memory of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage would count the process that started this one
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return float(found[1]) / 2**10
    used = psutil.Process().memory_info()
    if hasattr(used, "peak_wset"):  # Windows
        return used.peak_wset / 2**20
    import resource  # which Windows has not

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


if __name__ == "__main__":
    _answer_photos(*sys.argv[1:])
    print(peak_mb())
