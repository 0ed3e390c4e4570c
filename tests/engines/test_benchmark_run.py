"""The benchmark from drawing people to its tables, in small."""

import pytest

from thesislib import paths
from thesislib.benchmarks import headline, nets
from thesislib.benchmarks.targets import stage_gaps
from thesislib.data.images import read_photo
from thesislib.data.schema import read_dataset
from thesislib.experiments import config as configs
from thesislib.tables import read_table


def test_a_whole_run_in_small_writes_its_tables_below_runs(kept_folders):
    published = sorted(paths.PUBLISHED_TABLES.glob("benchmark*.csv"))
    before = [file.read_bytes() for file in published]
    table, limits, frontier, gate = headline.run("smoke", progress=False)
    assert [file.read_bytes() for file in published] == before and len(published) >= 2
    written = read_table(kept_folders / "tables" / "benchmark.csv")
    assert len(written) == len(table) and set(written["profile"]) == {"smoke"}
    assert {"total", "preprocess", "network", "postprocess", "detector", "classifier"} == set(
        written["stage"]
    )
    assert (written["ms_median"] >= written["ms_min"]).all() and (written["ms_min"] > 0).all()
    reference = written[(written["system"] == "two_stage_up1") & (written["engine"] == "torch")]
    assert (reference["ratio_to_thesis_pipeline"].dropna() == 1).all()
    peaks = written[(written["system"] == "joint") & (written["faces"] == 1)]["peak_mb"].dropna()
    assert len(peaks) >= 3 and peaks.between(100, 10_000).all()
    crowd = written[written["faces"] == 4]
    assert crowd[crowd["system"] != "gallery"]["recall_50"].notna().any()
    assert set(written["command"]) == {"python -m thesislib benchmark --size smoke"}

    # Of two turns the median is the mean, so that stages of the same calls add up exactly.
    gaps = stage_gaps(table)
    assert set(gaps["system"]) == {"joint", "two_stage_up0", "two_stage_up1", "default"}
    assert len(gaps) > 8 and gaps["gap"].max() < 1e-9

    assert {"training", "torch"} <= set(limits["engine"])
    timed = table[(table["system"] == "joint") & table["peak_mb"].notna()].set_index("engine")
    for _, row in limits[limits["engine"] != "training"].iterrows():
        quoted = timed.loc[row["engine"], "ms_median"] / 1000
        assert row["share_of_peak"] == pytest.approx(row["operations"] / quoted / row["peak"])
        assert row["share_of_peak_network"] > row["share_of_peak"] > 0 and row["ms_awake"] > 0
    names = {"threshold", "photos", "false_boxes", "recall_50", "ms_median"}
    assert frontier[list(names)].notna().all().all()
    assert frontier["joint_accuracy_50"].notna().any()
    settings = frontier.groupby(["system", "engine", "faces"])["threshold"].nunique()
    assert settings.loc["two_stage_up1", "torch"].eq(1).all()
    assert settings.drop(("two_stage_up1", "torch")).eq(4).all()
    assert gate["engine"].iloc[0] == "openvino" and (gate["n"] == 6).all()
    portraits = read_dataset(paths.DATA / "synthetic-smoke-portraits")
    judged = nets.gate(nets.Bench("smoke", progress=False))
    assert not photos_of(portraits) & photos_of(judged)
    configs._read.cache_clear()


def photos_of(dataset):
    """Pixels of a dataset's photos."""
    return {read_photo(dataset.folder / name).tobytes() for name in dataset.photos}
