"""Timing watches what else the machine does."""

import subprocess
import sys
import time
import warnings

import pytest

from thesislib.engine import timing
from thesislib.engine.timing import Load, take_turns

SYSTEMS = {"one": [("wait", time.sleep)]}


def fake(monkeypatch, times):
    """A machine of two cores; ``times`` are (wall, busy of both cores, own) of each look."""
    looks = iter(times)

    def look():
        wall, busy, own = next(looks)
        return 2 * busy, own, wall

    monkeypatch.setattr(Load, "_spent", lambda self: look())
    monkeypatch.setattr(Load, "_cores", staticmethod(lambda: [0, 1]))
    monkeypatch.setattr(timing, "_LEAST", -1e9)


@pytest.mark.parametrize(
    ("busy", "own", "others"),
    [(1.0, 2.0, 0.0), (1.0, 1.0, 0.5), (0.6, 0.2, 0.5), (0.1, 0.3, 0.0), (2.0, 0.0, 1.0)],
)
def test_the_share_of_others_is_what_is_left_of_the_cores(monkeypatch, busy, own, others):
    fake(monkeypatch, [(10, 5, 3), (11, 5 + busy, 3 + own)])
    assert Load().others() == pytest.approx(others)


def test_a_busy_process_is_seen():
    load = Load()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.5)
        others = load.others()
    finally:
        busy.kill()
        busy.wait()
    assert others > 0.5 / len(Load._cores())
    assert load.others() == others  # asked again at once


def test_what_was_timed_on_a_busy_machine_is_timed_again(monkeypatch):
    quiet, busy = (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)
    fake(monkeypatch, [quiet, busy, quiet, (1.0, 0.1, 0.1)])
    called = []
    systems = {"one": [("count", called.append)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = take_turns(systems, [0], runs=3, warm_ups=1, pause=0)
    assert len(called) == 8 and len(table) == 3
    assert table["others"].unique() == pytest.approx([0.05])


def test_a_machine_that_stays_busy_is_told(monkeypatch):
    quiet, busy = (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)
    fake(monkeypatch, [quiet, busy, quiet, busy])
    with pytest.warns(UserWarning, match="other processes had 100% of the cores"):
        table = take_turns(SYSTEMS, [0], runs=2, warm_ups=0, pause=0)
    assert (table["others"] == 1).all()
