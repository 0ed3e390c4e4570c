"""The comparison of two starts, on a stand-in for an experiment that trains nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thesislib import paths, tables
from thesislib.experiments import pretraining
from thesislib.metrics import statistics
from thesislib.profiles import Profile

PROFILE = Profile("laptop", epochs=6, batch=32)
FROM_RANDOM = np.array([1, 0, 0, 0, 1, 0, 0, 1], bool)
FROM_SYNTHETIC = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What pretraining asks of an experiment."""

    start: Path | None = None
    data: Path = Path("ytf")
    split_kind: str = "photo"
    profile: Profile = PROFILE
    seed: int = 3
    train_photos: tuple = (None,) * 100

    def columns(self):
        return {"dataset": "ytf", "split": "photo", "profile": "laptop", "seed": 3, "command": ""}

    def evaluate(self, system):
        assert system == "joint"
        correct = FROM_SYNTHETIC if self.start else FROM_RANDOM
        rows = [("accuracy", correct.mean()), ("mean_iou", 0.7), ("ap50", 0.9)]
        rows = pd.DataFrame(rows, columns=["metric", "value"]).assign(low=0.0, high=1.0, n=8)
        return rows, pd.DataFrame({"correct": correct}), None


def test_both_starts_are_tested_on_the_same_photos_after_as_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "TABLES", tmp_path)
    table = pretraining.compare(Trained(), tmp_path / "start.safetensors")
    value = table.set_index(["arm", "metric"])["value"]
    assert value["random weights", "accuracy"] == pytest.approx(3 / 8)
    assert value["synthetic people", "accuracy"] == pytest.approx(7 / 8)
    assert set(table["metric"]) == {"accuracy", "mean_iou", "mcnemar_p"}
    p = statistics.mcnemar_exact(FROM_RANDOM, FROM_SYNTHETIC)
    assert value["synthetic people", "mcnemar_p"] == p
    assert set(table["steps"]) == {100 // 32 * 6}
    assert set(table["command"]) == {
        "python -m thesislib.pretraining --data ytf --split photo --epochs 6 --batch 32 --seed 3"
    }
    assert len(tables.read_table(tmp_path / pretraining.TABLE)) == 5
