"""What is committed agrees with itself, and with what this machine gets."""

import os
import re
from pathlib import Path

import pytest

from thesislib import paths, tables
from thesislib.experiments import embeddings, pretraining, stand_in, transfer
from thesislib.reporting import tables
from thesislib.reporting.figures import save
from thesislib.reporting.readme import read_from

FIGURES = paths.ROOT / "figures"
TABLE = FIGURES / "tables" / "experiment1.csv"
# The same code on another processor rounds otherwise, and training amplifies it: about two
# standard errors of a share of 80 photos.
TOLERANCE = 0.10


def test_readme_and_table_agree():
    table = tables.read_results(TABLE)
    assert (
        read_from(paths.ROOT / "README.md", "experiment1").strip()
        == tables.experiment1_markdown(table).strip()
    )


def test_readme_and_tables_of_new_people_and_of_people_never_seen_agree():
    readme = paths.ROOT / "README.md"
    table = tables.read_table(FIGURES / "tables" / "experiment2.csv")
    assert read_from(readme, "experiment2") == tables.experiment2_markdown(table)
    table = tables.read_table(FIGURES / "tables" / "experiment3.csv")
    printed = tables.experiment3_markdown(table, tables.MAIN_ARM)
    assert read_from(readme, "experiment3") == printed


def test_latex_and_table_agree():
    latex = (FIGURES / "tables" / "experiment1.tex").read_text()
    assert latex.strip() == tables.experiment1_latex(tables.read_results(TABLE)).strip()


def test_manifest_knows_every_figure_and_no_figure_is_stale():
    assert save.check_manifest(FIGURES) == []


def test_figures_carry_the_hash_of_the_default_dataset():
    default = paths.synthetic("quick")
    if not (default / "annotations.csv").exists():
        pytest.skip("the default dataset was not made yet: run the notebooks first")
    from thesislib.data.schema import read_dataset

    if os.environ.get("CI"):  # pixels may round otherwise on another processor
        pytest.skip("bytes of rendered photos are compared on the machine that drew the figures")
    manifest = save.read_manifest(FIGURES)
    hashes = {v["data_hash"] for k, v in manifest.items() if k.startswith("synthetic-photo/")}
    assert hashes == {read_dataset(default).content_hash}


def test_this_machine_gets_the_committed_numbers():
    here = Path(os.environ.get("THESIS_FIGURES", "")) / "tables" / "experiment1.csv"
    if not os.environ.get("THESIS_FIGURES") or not here.exists():
        pytest.skip("numbers of this machine are made by the notebooks: run `make test`")
    key = ["dataset", "split", "profile", "seed", "system", "metric"]
    ours = tables.read_results(here).set_index(key)["value"]
    committed = tables.read_results(TABLE).set_index(key)["value"]
    shares = [k for k in ours.index if k[-1] not in ("fps", "mcnemar_p")]
    assert len(shares) >= 20
    far = {
        k: (ours[k], committed[k]) for k in shares if not abs(ours[k] - committed[k]) <= TOLERANCE
    }
    assert not far


def test_default_profile_learns_its_people():
    table = tables.read_results(TABLE)
    row = table[
        (table["dataset"] == "synthetic")
        & (table["profile"] == "quick")
        & (table["system"] == "joint")
        & (table["metric"] == "joint_accuracy_50")
    ]
    assert len(row) == 1
    assert row["value"].item() >= 0.85


def test_synthetic_people_are_a_fair_stand_in():
    table, yaw = (
        tables.read_table(FIGURES / "tables" / file)
        for file in (stand_in.TABLE, stand_in.YAW_TABLE)
    )
    answers = stand_in.verdicts(table, yaw)
    assert len(answers) == 5
    assert answers.all(), answers


def prose():
    """The README's text, lines joined."""
    return " ".join((paths.ROOT / "README.md").read_text().split())


def test_readme_tells_what_the_stand_in_table_says():
    table = tables.read_table(FIGURES / "tables" / stand_in.TABLE)
    share = (100 * table.set_index(["measure", "split"])["value"]).map("{:.0f}".format)
    for told in (
        f"finds {share['detected_within_30_degrees', '']} % of them within 30 degrees",
        f"whole photo names {share['linear_classifier_on_photo', 'session']} % of them",
        f"background alone {share['linear_classifier_on_background', 'session']} %",
        f"from {share['joint_accuracy_50', 'photo']} % by photo "
        f"to {share['joint_accuracy_50', 'session']} % by sitting",
    ):
        assert told in prose(), told


def test_readme_tells_what_the_pretraining_table_says():
    table = tables.read_table(FIGURES / "tables" / pretraining.TABLE)
    ytf = table[(table["dataset"] == "ytf") & (table["seed"] == 0)]
    share = 100 * ytf.set_index(["split", "arm", "metric"])["value"]
    scratch, taught = pretraining.ARMS
    names, boxes = "joint_accuracy_50", "mean_iou"
    for told in (
        f"names {share['photo', taught, names]:.1f} instead of "
        f"{share['photo', scratch, names]:.1f} % of the faces",
        f"IoU {share['photo', taught, boxes]:.1f} instead of "
        f"{share['photo', scratch, boxes]:.1f} %",
        f"split by clip {share['session', taught, names]:.1f} instead of "
        f"{share['session', scratch, names]:.1f} %",
    ):
        assert told in prose(), told


def test_readme_tells_what_the_table_of_embeddings_says():
    table = tables.read_table(FIGURES / "tables" / "experiment3.csv")
    ytf = table[table["dataset"] == "ytf"].set_index(["metric", "arm", "people"])
    assert {arm for _, arm, _ in ytf.index} == set(embeddings.ARMS)
    share = 100 * ytf["value"]
    told = prose()

    def of_main(metric, people):
        return f"{share[metric, 'normalised', people]:.0f}"

    verified = "verification_accuracy"
    for sentence in (
        f"told right in {of_main(verified, 'unseen_apart')} %, where an untrained net has "
        f"{of_main(verified, 'untrained_apart')}, chance 50",
        f"the face cut out, {of_main(verified, 'two_stage_apart')};",
        f"missed in {of_main('fnir_at_fpir_1e1', 'unseen')} % of the photos",
        f"people seen in {of_main('fnir_at_fpir_1e1', 'seen')} %.",
        f"seen in training rises from {share['map_at_r', 'normalised', 'seen']:.0f} to "
        f"{share['map_at_r', 'arcface_16', 'seen']:.0f} %; of people never seen it stays, "
        f"{share['map_at_r', 'normalised', 'unseen']:.1f} and "
        f"{share['map_at_r', 'arcface_16', 'unseen']:.1f} %.",
    ):
        assert sentence in told, sentence
    gain = ytf.loc["map_at_r_gain"]
    helped = {arm for arm, people in gain.index[gain["low"] > 0] if people == "unseen"}
    assert helped == {"roi"}
    assert "gains in MAP@R beyond doubt" in told
    apart = ytf.loc["dprime_gain"]
    assert (
        apart["high"]["arcface_32", "unseen"] < 0
        and apart["high"]["arcface_32", "unseen_apart"] < 0
    )
    assert apart["low"]["linear", "unseen_apart"] > 0


def test_readme_tells_what_the_transfer_table_says():
    table = tables.read_table(FIGURES / "tables" / "experiment2.csv")
    real = table[(table["source"] == "ytf") & (table["photos_per_person"] == 8)]
    share = 100 * real.groupby(["variant", "metric"])["value"].mean()
    names, old = "joint_accuracy_50", "old_joint_accuracy_50"
    for sentence in (
        f"means find and name {share['class_mean', names]:.1f} % of the 399 test faces, the "
        f"retrained classifier {share['classifier', names]:.1f} %, with the embedding head "
        f"{share['classifier_embedding', names]:.1f} %",
        f"same 150 steps {share['all', names]:.1f} %, a new net {share['scratch', names]:.1f} %",
        f"fall from {share['class_mean', old]:.1f} to {share['classifier_embedding', old]:.1f} % "
        f"with the embedding head, to {share['all', old]:.1f} % with everything",
        f"(AP50 from {share['class_mean', 'old_ap50']:.1f} to {share['all', 'old_ap50']:.1f} %)",
    ):
        assert sentence in prose(), sentence
    reverse = table[table["source"] == "caltech_faces"]
    share = 100 * reverse.groupby(["variant", "metric", "photos_per_person"])["value"].mean()
    for sentence in (
        f"reaches a mean IoU of {share['class_mean', 'mean_iou', 8]:.0f} %, one that is trained "
        f"further {share['all', 'mean_iou', 8]:.0f} %",
        f"class means have {share['class_mean', 'accuracy', 8]:.1f} % of the photos right, the "
        f"retrained classifier {share['classifier', 'accuracy', 8]:.1f} %",
        f"one photo a person ({share['all', names, 1]:.1f} % found and named), which it sees "
        f"seven times, than from eight ({share['all', names, 8]:.1f} %)",
    ):
        assert sentence in prose(), sentence
    steps = reverse[reverse["variant"] != "class_mean"]["steps"]
    assert (steps == 150).all() and set(reverse["seed"]) == set(transfer.SEEDS)


def test_readme_tells_what_the_benchmark_s_table_says():
    table = tables.read_table(FIGURES / "tables" / "benchmark.csv")
    printed = read_from(paths.ROOT / "README.md", "benchmark")
    assert printed == tables.benchmark_markdown(table)
    crowd = table[table["recall_50"].notna() & table["joint_accuracy_50"].isna()]
    nets = crowd[crowd["system"] == "joint"].set_index(["grid", "faces"])
    recall = (100 * nets["recall_50"]).map("{:.0f} %".format)
    told = f"finds {recall[5, 32]} of them, 10 x 10 {recall[10, 32]}, 20 x 20 {recall[20, 32]}."
    assert told in prose()
    slower = [nets["ms_median"][grid, 32] / nets["ms_median"][grid, 1] for grid in (5, 10, 20)]
    assert f"grows by at most {100 * max(slower) - 100:.0f} %," in prose()


def test_lock_has_exact_versions_and_no_addresses():
    lines = (paths.ROOT / "requirements.lock").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.match(r"^[A-Za-z0-9_.\-]+==[^ ]+( ; .+)?$", line), line
    assert "requirements.lock" in (paths.ROOT / "environment.yml").read_text()


def test_readme_begins_with_what_it_is_a_picture_and_the_two_commands():
    head = "\n".join((paths.ROOT / "README.md").read_text().splitlines()[:20])
    picture = re.search(r"!\[.+\]\((.+?)\)", head)
    assert picture
    assert (paths.ROOT / picture.group(1)).is_file()
    assert "make figures" in head
    assert "make test" in head
