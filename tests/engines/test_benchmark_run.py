"""The benchmark from drawing people to its tables, in small."""

from thesislib import paths
from thesislib.benchmarks import headline
from thesislib.experiments import config as configs
from thesislib.tables import read_table


def test_a_whole_run_in_small_writes_its_tables_below_runs(kept_folders):
    published = sorted(paths.PUBLISHED_TABLES.glob("benchmark*.csv"))
    before = [file.read_bytes() for file in published]
    table, limits_table = headline.run("smoke", progress=False)
    assert [file.read_bytes() for file in published] == before and len(published) == 2
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
    assert {"training", "torch"} <= set(limits_table["engine"])
    assert (limits_table["share_of_peak"] > 0).all()
    configs._read.cache_clear()
