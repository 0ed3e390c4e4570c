"""Figures of Experiment 2, drawn from tables that look like its own."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from thesislib import transfer_figures

RUN = {"profile": "quick", "backbone": "resnet18", "input_px": 96, "command": "make figures"}
# Where a variant ends up with one photo a person and with eight, its seconds, and what it forgets.
SHAPES = {
    "class_mean": (0.55, 0.84, 0.8, 0.0),
    "classifier": (0.42, 0.86, 6.0, 0.0),
    "classifier_embedding": (0.4, 0.9, 9.0, 0.22),
    "all": (0.36, 0.94, 95.0, 0.55),
    "scratch": (0.08, 0.62, 100.0, 0.9),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def table(pairs=(("synthetic", "synthetic-disjoint"),), seeds=(0, 1, 2)):
    random = np.random.default_rng(0)
    rows = []
    for pair, (source, target) in enumerate(pairs):
        for variant, (one, eight, seconds, forgotten) in SHAPES.items():
            for photos in (1, 2, 4, 8):
                for seed in seeds:
                    value = one + (eight - one) * np.log2(photos) / 3 - 0.1 * pair
                    kept = 1 - forgotten * (0.8 + 0.2 * np.log2(photos) / 3)
                    values = {
                        "accuracy": value + 0.04,
                        "joint_accuracy_50": value,
                        "mean_iou": 0.7,
                        "old_joint_accuracy_50": 0.95 * kept,
                        "old_mean_iou": 0.81 * (0.5 + 0.5 * kept),
                        "old_ap50": 0.97 * (0.4 + 0.6 * kept),
                    }
                    for metric, exact in values.items():
                        noise = 0 if variant == "class_mean" and "old" in metric else 0.02
                        drawn = np.clip(exact + noise * random.normal(), 0, 1)
                        rows.append(
                            RUN
                            | {
                                "source": source,
                                "target": target,
                                "variant": variant,
                                "photos_per_person": photos,
                                "metric": metric,
                                "value": drawn,
                                "low": max(0, drawn - 0.06),
                                "high": min(1, drawn + 0.06),
                                "n": 80,
                                "seconds": seconds * photos**0.3 * (1 + 0.05 * random.random()),
                                "steps": 0 if variant == "class_mean" else 200,
                                "seed": seed,
                            }
                        )
    return pd.DataFrame(rows)
