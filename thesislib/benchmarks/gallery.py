"""How long identifying takes in a large gallery, and what the quick search loses to the exact one.

Galleries are made up, in three ways that are hard for different reasons. *Alone*: one template a
person, anywhere on the sphere; probes at cosine 0.5 to 0.8 of it. *Together*: 20 templates a
person, at cosine 0.8 of the middle of them, probes at 0.6 to 0.9. *Narrow*: the same, but most of
the difference between people lies in few of the directions (28, counted by the participation ratio
of the variances) and all share a mean, as embeddings of a net that learned few people do.
On the command line::

    python -m thesislib gallery-speed [--templates 100000 1000000] [--probes 300]
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from thesislib import cache, paths, seeds
from thesislib.benchmarks.peak_memory import peak_mb
from thesislib.deploy.gallery import Gallery
from thesislib.engine.timing import PAUSE
from thesislib.environment import commit
from thesislib.tables import merge_table

TABLE = "gallery_speed.csv"
KINDS = ("alone", "together", "narrow")
TEMPLATES = (100_000, 1_000_000)
DIMENSION, PROBES, SEED = 512, 300, 0
_CHUNK = 10_000  # templates made at a time
_TIMED = 40  # probes identified one by one
_THRESHOLD = 0.5


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class People:
    """Made-up embeddings float32 of one of ``KINDS``; see the module."""

    def __init__(self, kind: str, dimension: int, seed: int) -> None:
        self.kind, self.dimension, self.seed = kind, dimension, seed
        self.each = 1 if kind == "alone" else 20
        self.spread = np.ones(dimension, np.float32)
        self.mean = np.zeros(dimension, np.float32)
        if kind == "narrow":
            self.spread /= np.sqrt(np.arange(1, dimension + 1, dtype=np.float32))
            self.mean += 0.7 * np.linalg.norm(self.spread) / np.sqrt(dimension)

    def _draw(self, draws: np.random.Generator, count: int) -> np.ndarray:
        return draws.standard_normal((count, self.dimension), dtype=np.float32) * self.spread

    def strangers(self, count: int, word: str = "strangers", at: int = 0) -> np.ndarray:
        """[count, d], each of another person."""
        draws = seeds.generator(self.seed, "gallery_speed", self.kind, word, at)
        return _unit(self._draw(draws, count) + self.mean)

    def _near(self, middles: np.ndarray, low: float, high: float, *keys: int | str) -> np.ndarray:
        draws = seeds.generator(self.seed, "gallery_speed", self.kind, *keys)
        off = self._draw(draws, len(middles))
        off = _unit(off - (off * middles).sum(axis=1, keepdims=True) * middles)
        cosine = draws.uniform(low, high, (len(middles), 1)).astype(np.float32)
        return cosine * middles + np.sqrt(1 - cosine**2) * off

    def templates(self, chunk: int) -> tuple[list[str], np.ndarray]:
        """Names and [``_CHUNK``, d] templates."""
        people = _CHUNK // self.each
        middles = np.repeat(self.strangers(people, "people", chunk), self.each, axis=0)
        names = [f"{chunk}-{at // self.each}" for at in range(_CHUNK)]
        near = middles if self.each == 1 else self._near(middles, 0.8, 0.8, "templates", chunk)
        return names, near

    def mates(self, count: int) -> np.ndarray:
        """[count, d] probes of people of the first chunk."""
        people = _CHUNK // self.each
        middles = self.strangers(people, "people")[np.arange(count) % people]
        low, high = (0.5, 0.8) if self.each == 1 else (0.6, 0.9)
        return self._near(middles, low, high, "mates")


def _milliseconds(
    gallery: Gallery, probes: np.ndarray, engines: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """By engine [n, 2] for each probe alone: on the wall, and of the processor, all threads.

    The engines take turns on each probe, so that what else the machine does hits both.
    """
    found: dict[str, list[np.ndarray]] = {engine: [] for engine in engines}
    for probe in probes:
        for engine, exact_up_to in engines.items():
            gallery.templates.exact_up_to = exact_up_to
            time.sleep(PAUSE)
            began = np.array([time.perf_counter(), time.process_time()])
            gallery.identify(probe, _THRESHOLD)
            ended = np.array([time.perf_counter(), time.process_time()])
            found[engine].append(1000 * (ended - began))
    return {engine: np.array(taken) for engine, taken in found.items()}


def measure(
    kind: str,
    templates: int,
    dimension: int = DIMENSION,
    probes: int = PROBES,
    seed: int = SEED,
) -> pd.DataFrame:
    """Fill one gallery and search it by both engines.

    Args:
        kind: one of ``KINDS``.
        templates: a multiple of 10 000.
        dimension: of the embeddings.
        probes: of enrolled people, and as many of strangers.
        seed: of the made-up people.

    Returns:
        a row per engine, with ``templates, people, dimension, data, engine``; ``ms_median`` and
        ``ms_min`` of identifying one probe at a time, from embedding to name; ``ms_cpu``, the
        median of processor time, which other work on the machine disturbs less (faiss needs one
        thread for one probe, so that an idle core takes as long); ``recall_at_1``, the share of
        probes of enrolled people whose nearest template is the one of the exact search;
        ``recall_strangers``, the same of strangers, and ``strangers_low``, by how much their best
        similarity is missed on average; ``build_seconds`` for enrolling and, for faiss, codes;
        ``peak_mb`` of the process so far; ``probes, cpus, seed``.

    Raises:
        ValueError: another kind or number of templates.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if templates < _CHUNK or templates % _CHUNK:
        raise ValueError(f"templates: expected a multiple of {_CHUNK}, got {templates}")
    people = People(kind, dimension, seed)
    gallery = Gallery.of_embeddings(dimension, "made up", exact_up_to=templates)
    built = 0.0
    for chunk in range(templates // _CHUNK):
        names, new = people.templates(chunk)
        began = time.perf_counter()
        gallery.enrol_embeddings(names, new)
        built += time.perf_counter() - began
    asked = {"mates": people.mates(probes), "strangers": people.strangers(probes)}
    rows: list[dict[str, Any]] = []
    exact: dict[str, np.ndarray] = {}
    engines = {"exact": templates, "faiss": 0}
    for engine, exact_up_to in engines.items():
        gallery.templates.exact_up_to = exact_up_to
        began = time.perf_counter()
        gallery.identify(asked["mates"][:1], _THRESHOLD)  # codes are made at the first search
        built += (time.perf_counter() - began) * (engine == "faiss")
        best = {what: gallery.search(these)[1][:, 0] for what, these in asked.items()}
        exact = exact or best
        rows.append(
            {
                "templates": templates,
                "people": len(gallery.identities),
                "dimension": dimension,
                "data": kind,
                "engine": engine,
                # Both engines end with the same float64 product: other scores, other templates.
                "recall_at_1": (best["mates"] == exact["mates"]).mean(),
                "recall_strangers": (best["strangers"] == exact["strangers"]).mean(),
                "strangers_low": (exact["strangers"] - best["strangers"]).mean(),
                "build_seconds": built,
                "peak_mb": peak_mb(),
                "probes": probes,
                "cpus": os.cpu_count(),
                "seed": seed,
            }
        )
    taken = _milliseconds(gallery, asked["mates"][:_TIMED], engines)
    for row in rows:
        wall, processor = taken[row["engine"]].T
        row |= {"ms_median": np.median(wall), "ms_min": wall.min(), "ms_cpu": np.median(processor)}
    return pd.DataFrame(rows)


def run(templates: Sequence[int] = TEMPLATES, probes: int = PROBES) -> pd.DataFrame:
    """Measure galleries of all kinds, and write ``gallery_speed.csv`` below ``runs/``.

    Args:
        templates: sizes of the galleries, multiples of 10 000.
        probes: see :func:`measure`.
    """
    command = "python -m thesislib gallery-speed"
    if tuple(templates) != TEMPLATES:
        command += f" --templates {' '.join(map(str, templates))}"
    if probes != PROBES:
        command += f" --probes {probes}"
    parts = []
    for count in templates:
        for kind in KINDS:
            parts.append(measure(kind, count, probes=probes))
            print(parts[-1].to_string(index=False, float_format=lambda v: f"{v:.4g}"), flush=True)
    small = tuple(templates) != TEMPLATES or probes != PROBES
    table = pd.concat(parts, ignore_index=True).assign(
        profile="smoke" if small else "benchmark",
        backbone="",
        start="",
        input_px=np.nan,
        precision="fp32",
        commit=commit(),
        run=cache.key(templates=list(templates), probes=probes, seed=SEED),
        command=command,
    )
    merge_table(paths.TABLES / TABLE, table)
    return table
