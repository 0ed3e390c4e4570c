"""Tables that look like those of Experiment 3."""

import itertools

import numpy as np
import pandas as pd

from thesislib.reporting.labels import ARM_LABELS

RUN = {
    "profile": "quick",
    "seed": 0,
    "backbone": "resnet18",
    "start": "scratch",
    "input_px": 96,
    "precision": "bf16",
    "commit": "70fae51",
    "run": "0123abcd",
    "command": "make figures",
    "dataset": "synthetic",
    "arm": "normalised",
}
# d' of each group; all else follows from it.
GROUPS = {
    "seen": 3.1,
    "unseen": 1.9,
    "lfw": 1.2,
    "two_stage": 1.6,
    "untrained": 0.5,
    "shuffled": 0.0,
}
ARMS = tuple(ARM_LABELS)


def measures(dprime):
    """Values of Experiment 3 at a d', and half the width of their intervals."""
    share = 1 / (1 + np.exp(-1.7 * (dprime - 1)))
    return {
        "verification_accuracy": (0.5 + 0.48 * np.tanh(0.45 * dprime), 0.02),
        "tar_at_far_1e2": (0.01 + 0.98 * share**2, 0.05),
        "equal_error_rate": (0.5 - 0.48 * np.tanh(0.45 * dprime), 0.02),
        "precision_at_1": (0.06 + 0.93 * share, 0.04),
        "map_at_r": (0.04 + 0.8 * share, 0.04),
        "fnir_at_fpir_1e1": (0.9 - 0.85 * share, 0.06),
        "dprime": (dprime, 0.12),
        "silhouette": (-0.1 + 0.16 * dprime, 0.03),
        "compactness_ratio": (2.4 - 0.55 * dprime, 0.08),
    }


def results(groups=tuple(GROUPS), arms=("normalised",), seeds=(0,), datasets=("synthetic",)):
    random = np.random.default_rng(1)
    rows = []
    for dataset in datasets:
        for people in groups:
            for at, arm in enumerate(arms):
                for seed in seeds:
                    dprime = GROUPS.get(people, 1.4) + 0.08 * at + 0.1 * random.normal()
                    for metric, (value, half) in measures(max(0.01, dprime)).items():
                        rows.append(
                            RUN
                            | {
                                "dataset": dataset,
                                "people": people,
                                "arm": arm,
                                "seed": seed,
                                "metric": metric,
                                "value": value,
                                "low": value - half,
                                "high": value + half * 0.8,
                                "n": 240,
                            }
                        )
    return pd.DataFrame(rows)


def of_seeds(groups=tuple(GROUPS), arms=("normalised",), seeds=(0, 1, 2), datasets=("synthetic",)):
    """Rows of ``experiment3_seeds.csv``: means of those of single seeds."""
    by_seed = results(groups, arms, seeds, datasets)
    keys = ["dataset", "people", "arm", "metric"]
    rows = []
    for key, own in by_seed.groupby(keys, sort=False):
        arm = key[2]
        fewer = int(arm.partition("_")[2]) if arm.startswith(("people_", "photos_")) else None
        people = fewer if arm.startswith("people_") else 206
        photos = 12 * people if not arm.startswith("photos_") else fewer * people
        rows.append(
            RUN
            | dict(zip(keys, key, strict=True))
            | {
                "value": own["value"].mean(),
                "low": own["low"].mean(),
                "high": own["high"].mean(),
                "n": 240,
                "start": "default" if arm == "started" else "scratch",
                "persons": 60,
                "scenes": 4.0,
                "seeds": " ".join(map(str, seeds)),
                "seed_values": " ".join(f"{value:.4g}" for value in own["value"]),
                "learned_people": float(people),
                "learned_photos": float(photos),
            }
        )
    return pd.DataFrame(rows)


def curve_points(groups=tuple(GROUPS), seeds=(0,)):
    random = np.random.default_rng(2)
    rows = []
    for people in groups:
        for seed in seeds:
            genuine = np.sort(random.normal(GROUPS[people] / 3, 0.33, 300))[::-1]
            impostor = random.normal(0, 0.33, 3000)
            unknown = random.normal(0.35, 0.25, 120)
            thresholds = np.concatenate([genuine, impostor[::30], unknown])
            thresholds = np.sort(thresholds)[::-1]
            tar = (genuine >= thresholds[:, None]).mean(axis=1)
            points = {
                "roc": ((impostor >= thresholds[:, None]).mean(axis=1), tar, 10 / 3000),
                "open_set": ((unknown >= thresholds[:, None]).mean(axis=1), 1 - tar, 10 / 120),
                "cmc": (
                    np.arange(1, 25),
                    1 - (0.8 - 0.25 * GROUPS[people]) * 0.8 ** np.arange(24),
                    np.nan,
                ),
            }
            if people in ("seen", "unseen"):
                false = 3 * (unknown >= thresholds[:, None]).mean(axis=1)
                points["joint_open_set"] = (false, 0.93 * tar, 10 / 160)
            for curve, (xs, ys, supported) in points.items():
                own = {"people": people, "seed": seed, "curve": curve, "supported": supported}
                rows += [RUN | own | {"x": x, "y": y} for x, y in zip(xs, ys, strict=True)]
    return pd.DataFrame(rows)


def similarity_bins(groups=tuple(GROUPS), seeds=(0,)):
    random = np.random.default_rng(3)
    edges = np.linspace(-1, 1, 51)
    rows = []
    for people in groups:
        for seed in seeds:
            for pairs, middle, spread, count in (
                ("inter", 0.05, 0.16, 20000),
                ("intra", 0.05 + 0.16 * GROUPS[people], 0.17, 900),
            ):
                drawn = np.clip(random.normal(middle, spread, count), -1, 1)
                counts, _ = np.histogram(drawn, edges)
                rows += [
                    RUN
                    | {
                        "people": people,
                        "seed": seed,
                        "pairs": pairs,
                        "low": low,
                        "high": high,
                        "share": share,
                    }
                    for low, high, share in zip(edges[:-1], edges[1:], counts / count, strict=True)
                ]
    return pd.DataFrame(rows)


def map_points(map_seeds=(0, 1), people=(20, 20), photos=8):
    random = np.random.default_rng(4)
    rows = []
    for method, scale in (("umap", 8.0), ("tsne", 30.0)):
        for map_seed in map_seeds:
            for group, count, spread in (
                ("seen", people[0], 0.05),
                ("unseen", people[1], 0.12),
            ):
                for person in range(count):
                    middle = random.uniform(-1, 1, 2)
                    for photo in range(photos):
                        x, y = scale * (middle + spread * random.normal(size=2))
                        rows.append(
                            RUN
                            | {
                                "method": method,
                                "map_seed": map_seed,
                                "photo": f"{group}/{person:04d}/{photo}.png",
                                "identity": f"{group[:1]}{person:04d}",
                                "people": group,
                                "x": x,
                                "y": y,
                                "factor_yaw": random.uniform(-60, 60),
                                "factor_light_azimuth": random.uniform(-65, 65),
                                "session": photo // 4,
                                "trustworthiness": 0.94 - 0.01 * map_seed,
                                "continuity": 0.96,
                            }
                        )
    return pd.DataFrame(rows)


def factor_bins(groups=("seen", "unseen"), seeds=(0,), factors=("yaw", "light", "session")):
    random = np.random.default_rng(5)
    rows = []
    for people in groups:
        for seed in seeds:
            for factor in factors:
                edges = np.array(
                    {"session": [0, 1, 2], "light": [0, 10, 20, 30, 45, 60, 90, 180]}.get(
                        factor, [0, 5, 10, 15, 20, 30, 40, 60, 120]
                    )
                )
                fall = {"yaw": 0.006, "light": 0.0018, "session": 0.14}[factor]
                for low, high in itertools.pairwise(edges):
                    for pairs, top in (("intra", 0.2 + 0.17 * GROUPS[people]), ("inter", 0.07)):
                        difference = low if factor == "session" else (low + high) / 2
                        mean = top - fall * difference * (1 if pairs == "intra" else 0.1)
                        mean += 0.008 * random.normal()
                        half = 0.03 if pairs == "intra" else np.nan
                        rows.append(
                            RUN
                            | {
                                "people": people,
                                "seed": seed,
                                "factor": factor,
                                "pairs": pairs,
                                "low": low,
                                "high": high,
                                "mean": mean,
                                "interval_low": mean - half,
                                "interval_high": mean + half,
                                "n": 90,
                            }
                        )
    return pd.DataFrame(rows)


def faces(map_table):
    """A flat colour a person, with a darker disc."""
    random = np.random.default_rng(6)
    shades = {name: random.uniform(90, 230, 3) for name in sorted(set(map_table["identity"]))}
    grid = np.hypot(*np.mgrid[-1:1:48j, -1:1:48j])[..., None]
    return {
        (row.photo, row.identity): (shades[row.identity] * np.where(grid < 0.7, 0.6, 1)).astype(
            np.uint8
        )
        for row in map_table.itertuples()
    }
