"""The targets of speed beside what was measured."""

import numpy as np
import pandas as pd


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
    for (backbone, engine), own in stages.groupby(["backbone", "engine"]):
        ms = own.set_index("stage")["ms_median"]
        value = 1 - ms["network"] / ms.sum()
        what = f"{backbone}, {engine}, share of pre- and postprocessing"
        judged.append((what, np.nan, 0.15, value, value <= 0.15))
    return pd.DataFrame(judged, columns=["target", "least", "most", "measured", "met"])
