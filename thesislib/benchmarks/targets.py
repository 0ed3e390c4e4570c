"""The targets of speed beside what was measured."""

import numpy as np
import pandas as pd

MOST_GAP = 0.05  # between the medians of stages and that of whole calls, as a share of these


def targets(table: pd.DataFrame, limits_table: pd.DataFrame) -> pd.DataFrame:
    """Each target beside what was measured.

    Args:
        table: ``benchmark.csv``.
        limits_table: ``benchmark_limits.csv``.

    Returns:
        ``target, least, most, measured, met``.
    """
    single = table[
        (table["stage"] == "total") & (table["batch"] == 1) & table["joint_accuracy_50"].notna()
    ]
    joint = single[single["system"] == "joint"]
    rows = []
    for backbone, least in (("resnet34", 5.3), ("resnet18", 10.0)):
        best = joint[joint["backbone"] == backbone]["ratio_to_thesis_pipeline"].max()
        rows.append((f"{backbone}, best engine, FPS against the thesis's pipeline", least, best))
    engine = "openvino_int8"
    same = single[(single["engine"] == engine) & (single["backbone"] == "resnet34")]
    ms = same.set_index("system")["ms_median"]
    for system in ("two_stage_up1", "two_stage_up0"):
        if {"joint", system} <= set(ms.index):
            what = f"resnet34, int8, FPS against {system} with int8"
            rows.append((what, 2.5, ms[system] / ms["joint"]))
    share = limits_table[
        (limits_table["engine"] == engine) & (limits_table["backbone"] == "resnet34")
    ]
    rows += [("resnet34, share of int8 peak", 0.5, value) for value in share["share_of_peak"]]
    judged = [(what, least, np.nan, value, value >= least) for what, least, value in rows]
    crowd = table[table["recall_50"].notna() & table["joint_accuracy_50"].isna()]
    for grid, own in crowd[crowd["system"] == "joint"].groupby("grid"):
        by_faces = own.set_index("faces")["ms_median"]
        most, least = by_faces.index.max(), by_faces.index.min()
        value = by_faces[most] / by_faces[least]
        what = f"grid {grid:.0f}, time of {most} faces against {least}"
        judged.append((what, np.nan, 1.15, value, value <= 1.15))
    stages = table[table["stage"].isin(["preprocess", "network", "postprocess"])]
    stages = stages[stages["system"] == "joint"]
    for (backbone, engine), own in stages.groupby(["backbone", "engine"]):
        ms = own.set_index("stage")["ms_median"]
        value = 1 - ms["network"] / ms.sum()
        what = f"{backbone}, {engine}, share of pre- and postprocessing"
        judged.append((what, np.nan, 0.15, value, value <= 0.15))
    gaps = stage_gaps(table)
    worst = gaps["gap"].max()
    judged.append(
        ("stages against their total, largest gap", np.nan, MOST_GAP, worst, worst <= MOST_GAP)
    )
    return pd.DataFrame(judged, columns=["target", "least", "most", "measured", "met"])


def stage_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """By how much the stages of the headline's systems differ from the whole call.

    Turn by turn they add up to it; their medians do so up to ``MOST_GAP`` of the whole.

    Args:
        table: ``benchmark.csv``.

    Returns:
        ``system, engine, backbone, stages, total`` (milliseconds) and ``gap``, their difference as
        a share of the total.
    """
    key = ["system", "engine", "backbone"]
    # The headline's rows come before all others.
    alike = (
        table[["people", "input_px", "batch"]] == table[["people", "input_px", "batch"]].iloc[0]
    ).all(axis=1)
    first = table[alike].drop_duplicates([*key, "stage"])
    ms = first.pivot(index=key, columns="stage", values="ms_median")
    total = ms.pop("total")
    found = pd.DataFrame({"stages": ms.sum(axis=1, min_count=1), "total": total}).dropna()
    found["gap"] = (found["stages"] - found["total"]).abs() / found["total"]
    return found.reset_index()
