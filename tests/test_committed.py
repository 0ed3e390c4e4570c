"""What is committed agrees with itself.

Numbers in pages are not pinned here: placeholders in the pages say which number of which table
stands there, and these tests hold the pages to the tables.
"""

import re

import pytest

from thesislib import paths, storage, tables
from thesislib.benchmarks import headline
from thesislib.benchmarks.targets import MOST_GAP, stage_gaps
from thesislib.reporting import publish, readme
from thesislib.reporting.figures import save

TABLES = sorted(paths.PUBLISHED_TABLES.glob("*.csv"))


@pytest.mark.parametrize("page", publish.pages(), ids=lambda page: page.name)
def test_numbers_in_pages_are_those_of_the_tables(page):
    assert readme.check(page, paths.PUBLISHED_TABLES) == []


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_says_where_it_comes_from(path):
    table = tables.read_table(path)
    assert path.stem in tables.KEYS
    assert set(tables.RUN_COLUMNS) <= set(table.columns)
    assert set(tables.KEYS[path.stem]) <= set(table.columns)
    assert table["commit"].str.fullmatch("[0-9a-f]{7,40}").all()
    assert table["run"].str.fullmatch("([0-9a-f]{8})?").all()
    assert (table["command"] != "").all()
    assert "smoke" not in set(table["profile"])


def test_the_results_of_experiment_1_are_valid():
    results = tables.read_results(paths.PUBLISHED_TABLES / "experiment1.csv")
    assert {"joint", "two_stage_photo", "two_stage_face"} <= set(results["system"])


def test_latex_and_table_agree():
    rows = tables.read_table(paths.PUBLISHED_TABLES / "experiment1_seeds.csv")
    text = (paths.PUBLISHED_TABLES / "experiment1.tex").read_text(encoding="utf-8")
    assert text == publish.latex_of_experiment1(rows)


def test_manifest_knows_every_figure_and_no_figure_is_stale():
    assert save.check_manifest(paths.PUBLISHED) == []


def test_no_figure_is_of_profile_smoke():
    profiles = {record["profile"] for record in save.read_manifest(paths.PUBLISHED).values()}
    assert not [profile for profile in profiles if "smoke" in profile]


def test_figures_are_drawn_from_one_dataset_and_from_the_committed_table():
    manifest = save.read_manifest(paths.PUBLISHED)
    hashes = {}
    for key, record in manifest.items():
        hashes.setdefault(key.split("/")[0], set()).add(record["data_hash"])
    assert {len(found) for found in hashes.values()} == {1}
    timed = storage.bytes_hash(paths.PUBLISHED_TABLES / "benchmark.csv")
    told = "benchmark.csv is newer than its figures: `make figures`, then `make publish` again"
    assert hashes["synthetic-benchmark-photo"] == {timed}, told


GROUPS = {
    "race: Black": "Black",
    "race: East Asian": "East Asian",
    "race: Southeast Asian": "Southeast Asian",
    "race: Indian": "Indian",
    "race: Latino_Hispanic": "Latino",
    "race: Middle Eastern": "Middle Eastern",
    "race: White": "White",
    "age: 3-9": "of 3 to 9",
    "age: 10-19": "of 10 to 19",
    "gender: Female": "women",
    "gender: Male": "men",
}


@pytest.mark.parametrize(("system", "clause"), [("default", 0), ("teacher_aligned", 1)])
def test_the_model_card_names_the_groups_whose_strangers_are_confused_most(system, clause):
    table = tables.read_table(paths.PUBLISHED_TABLES / "recogniser.csv")
    rows = table[(table["measure"] == "false_match_rate") & (table["dataset"] == "fairface")]
    rows = rows[(rows["system"] == system) & (rows["group"] != "") & (rows["low"] > 0.001)]
    card = (paths.ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    said = " ".join(card.split()).partition("than strangers at large: ")[2].split(". ")[0]
    named = said.split("; ")[clause]
    found = {group for group, name in GROUPS.items() if re.search(rf"\b{name}\b", named)}
    assert found == set(rows["group"])


def test_stages_of_the_benchmark_are_those_of_the_time_that_is_quoted():
    table = tables.read_table(paths.PUBLISHED_TABLES / "benchmark.csv")
    gaps = stage_gaps(table)
    assert {"joint", "two_stage_up0", "two_stage_up1"} <= set(gaps["system"])
    assert gaps["gap"].max() <= MOST_GAP, gaps[gaps["gap"] > MOST_GAP].to_string()


def test_the_benchmark_s_share_of_the_peak_is_of_the_time_that_is_quoted():
    table, limits, frontier, gate = headline.read_tables()
    quoted = table[(table["stage"] == "total") & table["joint_accuracy_50"].notna()]
    ms = quoted[quoted["system"] == "joint"].set_index(["backbone", "engine"])["ms_median"]
    for _, row in limits[limits["engine"] != "training"].iterrows():
        seconds = ms[row["backbone"], row["engine"]] / 1000
        share = row["operations"] / seconds / row["peak"]
        assert row["share_of_peak"] == pytest.approx(share, rel=1e-3)
    assert frontier["photos"].min() >= 100 and gate["n"].min() >= 500


def test_readme_begins_with_what_it_is_a_picture_and_the_two_commands():
    head = "\n".join((paths.ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20])
    picture = re.search(r"!\[.+\]\((.+?)\)", head)
    assert picture
    assert (paths.ROOT / picture.group(1)).is_file()
    assert "make figures" in head
    assert "make test" in head
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"[A-Z]+_MINUTES", text)
    assert len(text.splitlines()) <= 150
