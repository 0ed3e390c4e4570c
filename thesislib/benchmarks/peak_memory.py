"""Peak memory of an exported net at work, in a process that does nothing else.

Run by :func:`peak_memory` as ``python -m thesislib.peak_memory <folder> <engine> <pixels>``.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from thesislib.deploy.recogniser import Recogniser


def peak_memory(folder: Path, engine: str, photo_px: int) -> float:
    """Most resident memory in MB of a process that opens a net and answers ten photos.

    Args:
        folder: what :func:`thesislib.export.export` wrote of a joint net.
        engine: one of :data:`thesislib.recogniser.ENGINES`.
        photo_px: shorter side of the photos.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    words = [sys.executable, "-m", "thesislib.peak_memory", str(folder), engine, str(photo_px)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _answer_photos(folder: str, engine: str, photo_px: str) -> None:
    recognise = Recogniser(folder, engine)
    side = int(photo_px)
    photo = np.zeros((side, side * 4 // 3, 3), np.uint8)
    for _ in range(10):
        recognise(photo)


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage would count the process that started this one
        return float(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    _answer_photos(*sys.argv[1:])
    print(_peak())
