"""Publishing changes what is committed; nothing else does."""

import dataclasses
import shutil

import pandas as pd
import pytest

from thesislib import paths, storage, tables
from thesislib.experiments import config as configs
from thesislib.profiles import get_profile
from thesislib.reporting import publish, readme
from thesislib.reporting.figures import save

from .test_tables import RUN, of_seeds, plain, row, table

PAGE = """# Title

<!-- table:experiment1 -->
<!-- /table -->
Named <!-- value:experiment1?metric=joint_accuracy_50&seed=0&format=percent1 --><!-- /value -->.
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A clone with pages, notebooks, and earlier published results."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "runs" / "figures")
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "figures")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for page in ("README.md", "docs/deep/page.md"):
        (tmp_path / page).write_text(PAGE)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01.ipynb").write_text("old")
    rows = [row(seed=5), row(seed=0, run="", command="old program", value=0.95)]
    tables.merge_results(published("experiment1.csv"), table(*rows))
    earlier = of_seeds(run="89abcdef", value=0.951, low=0.9, high=0.97)
    tables.merge_table(published("experiment1_seeds.csv"), table(earlier))
    return tmp_path


def published(name):
    return paths.PUBLISHED / "tables" / name


def ran(*rows, name="experiment1.csv"):
    path = paths.FIGURES / "tables" / name
    (tables.merge_results if name == "experiment1.csv" else tables.merge_table)(path, table(*rows))


def draw(name, text="figure", dataset="synthetic", private=False, faces=False, profile="quick"):
    """A figure of the runs, with its record."""
    key = f"{dataset}-photo/{name}"
    folder = paths.FIGURES / "private" if private and faces else paths.FIGURES
    files = {kind: folder / f"{key}.{kind}" for kind in ("pdf", "png")}
    for kind, file in files.items():
        storage.write_text(file, f"{text} {kind}")
    record = {"notebook": "01.ipynb", "data_hash": "abc", "profile": profile, "seed": 0}
    record |= {"caption": name, "private": private, "faces": faces}
    record["sha256"] = {kind: storage.bytes_hash(file) for kind, file in files.items()}
    manifest = save.read_manifest(paths.FIGURES)
    storage.write_json(paths.FIGURES / save.MANIFEST, manifest | {key: record})
    return key


def everything(folder):
    return {
        file.relative_to(folder): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock" and "runs" not in file.parts
    }


NEW = row(metric="joint_accuracy_50", value=0.9, low=0.85, high=0.95)
TOGETHER = [of_seeds(), of_seeds(metric="mean_iou", value=0.8, low=0.7, high=0.9)]


def test_tables_figures_notebooks_and_pages_are_published(project):
    ran(row(), NEW)
    ran(*TOGETHER, name="experiment1_seeds.csv")
    key = draw("errors")
    storage.write_text(paths.RUNS / "notebooks" / publish.DEFAULT_RUN / "01.ipynb", "executed")
    changed = publish.publish()
    assert sorted(str(file.relative_to(project)) for file in changed) == [
        "README.md",
        "docs/deep/page.md",
        "figures/README.md",
        "figures/manifest.json",
        "figures/synthetic-photo/errors.pdf",
        "figures/synthetic-photo/errors.png",
        "figures/tables/experiment1.csv",
        "figures/tables/experiment1.tex",
        "figures/tables/experiment1_seeds.csv",
        "notebooks/01.ipynb",
    ]
    results = tables.read_results(published("experiment1.csv"))
    shown = results[["seed", "run", "metric", "value"]].to_numpy().tolist()
    # The row of an unknown run gives way to the one of today; that of seed 5 stays.
    assert shown == [
        [0, "0123abcd", "accuracy", 0.963],
        [0, "0123abcd", "joint_accuracy_50", 0.9],
        [5, "0123abcd", "accuracy", 0.963],
    ]
    for page in publish.pages():
        assert "-->90.0 %<!-- /value -->" in page.read_text()
        assert "| 96.3 [94.1, 98.0] |" in page.read_text()
        assert readme.check(page, paths.PUBLISHED / "tables") == []
    # The earlier comparison of the same command gives way too, in the LaTeX as in the table.
    together = tables.read_table(published("experiment1_seeds.csv"))
    assert together["run"].tolist() == ["0123abcd"] * 2
    tex = published("experiment1.tex").read_text()
    assert tex == publish.latex_of_experiment1(together)
    assert "96.3 [94.1, 98.0]" in tex and "95.1" not in tex
    assert save.check_manifest(paths.PUBLISHED) == []
    assert save.read_manifest(paths.PUBLISHED)[key] == save.read_manifest(paths.FIGURES)[key]
    assert (paths.NOTEBOOKS / "01.ipynb").read_text() == "executed"
    assert publish.publish() == [], "a second time changes nothing"


def test_latex_has_names_and_boxes_of_each_dataset_split_and_profile():
    several = [{}, {"dataset": "ytf", "split": "session"}, {"profile": "full"}, {"dataset": "ytf"}]
    rows = []
    for at, about in enumerate(several):
        value = {"value": 0.5 + at / 100, "low": 0.4, "high": 0.6}
        rows += [of_seeds(**value | about), of_seeds(metric="mean_iou", **value | about)]
    _, *pieces = publish.latex_of_experiment1(table(*rows)).split("% ")
    assert [piece.splitlines()[0] for piece in pieces] == [
        "synthetic, photo split, profile full",
        "synthetic, photo split, profile quick",
        "ytf, photo split, profile quick",
        "ytf, session split, profile quick",
    ]
    for piece, value in zip(pieces, ("52.0", "50.0", "53.0", "51.0"), strict=True):
        assert piece.count(r"\toprule") == piece.count(r"\bottomrule") == 2
        names, boxes = piece.split(r"\bottomrule")[:2]
        assert "& Accuracy &" in names and f"& {value} [40.0, 60.0] &" in names
        assert "& Mean IoU &" in boxes and f"& {value} [40.0, 60.0] &" in boxes
        assert ("the thesis" in names) == ("photo split" in piece)


def test_latex_of_several_runs_of_one_dataset_is_refused():
    with pytest.raises(ValueError, match=r"several in column run \(0123abcd, 4567cdef\)"):
        publish.latex_of_experiment1(table(of_seeds(), of_seeds(run="4567cdef")))


def test_latex_is_made_of_several_seeds_and_not_of_one_run(project):
    ran(row(), NEW)
    assert "experiment1.tex" not in {file.name for file in publish.publish()}
    assert not published("experiment1.tex").exists()
    ran(*TOGETHER, of_seeds(dataset="ytf", profile="smoke"), name="experiment1_seeds.csv")
    assert {file.name for file in publish.publish()} == {
        "experiment1_seeds.csv",
        "experiment1.tex",
        "README.md",
        "page.md",
    }
    before = published("experiment1.tex").read_text()
    assert "smoke" not in before
    ran(row(value=0.97), NEW)
    assert {file.name for file in publish.publish()} == {"experiment1.csv"}
    assert published("experiment1.tex").read_text() == before
    published("experiment1.tex").write_text("other")
    assert {file.name for file in publish.publish()} == {"experiment1.tex"}


def test_other_runs_and_earlier_figures_stay(project):
    draw("errors", "first")
    draw("iou", "first")
    ran(row(), NEW)
    publish.publish()
    shutil.rmtree(paths.FIGURES)
    draw("errors", "second")
    ran(row(seed=1), plain("fps", 9.0, seed=1))
    before = everything(paths.PUBLISHED)
    changed = {file.name for file in publish.publish()}
    assert {"errors.pdf", "errors.png", "manifest.json"} <= changed
    assert "iou.png" not in changed
    after = everything(paths.PUBLISHED)
    assert before.keys() == after.keys()
    assert tables.read_results(published("experiment1.csv"))["seed"].tolist() == [0, 0, 1, 1, 5]
    assert set(save.read_manifest(paths.PUBLISHED)) == {
        "synthetic-photo/errors",
        "synthetic-photo/iou",
    }


def test_the_same_command_with_new_numbers_takes_the_place_of_the_old_ones(project):
    ran(row(), NEW)
    publish.publish()
    shutil.rmtree(paths.FIGURES)
    ran(row(run="4567cdef", value=0.97), NEW | {"run": "4567cdef"})
    publish.publish()
    results = tables.read_results(published("experiment1.csv"))
    assert results[["seed", "run"]].drop_duplicates().to_numpy().tolist() == [
        [0, "4567cdef"],
        [5, "0123abcd"],
    ]


def test_a_training_of_other_settings_stays_beside_the_first(project):
    ran(row(), NEW)
    ran(row(run="4567cdef", command="make figures EPOCHS=1", value=0.97))
    publish.publish()
    results = tables.read_results(published("experiment1.csv"))
    assert set(results.loc[results["seed"] == 0, "run"]) == {"0123abcd", "4567cdef"}


def test_figures_of_a_run_that_is_no_profiles_are_published(project):
    ran(row(), NEW)
    draw("speed", profile="benchmark")
    publish.publish()
    assert list(paths.PUBLISHED.rglob("speed.png"))


def test_a_changed_profile_is_told_in_figures_and_those_are_left_out(project):
    changed = dataclasses.replace(get_profile("quick"), epochs=3)
    assert configs.profile_label(changed) == "quick with epochs 3"
    assert configs.profile_label(get_profile("quick")) == "quick"
    ran(row(), NEW)
    draw("errors", profile=configs.profile_label(changed))
    publish.publish()
    assert not list(paths.PUBLISHED.rglob("errors.*"))


def test_profile_smoke_is_left_out(project):
    ran(row(), NEW, row(profile="smoke"))
    draw("errors", profile="smoke")
    ran(row(profile="smoke", arm="linear"), name="experiment3.csv")
    executed = paths.RUNS / "notebooks" / "synthetic-smoke-photo-smoke-seed0" / "01.ipynb"
    storage.write_text(executed, "executed")
    publish.publish()
    assert (paths.NOTEBOOKS / "01.ipynb").read_text() == "old"
    for page in publish.pages():
        assert "-->90.0 %<!-- /value -->" in page.read_text() and "smoke" not in page.read_text()
    assert set(tables.read_results(published("experiment1.csv"))["profile"]) == {"quick"}
    assert not published("experiment3.csv").exists()
    assert not list(paths.PUBLISHED.rglob("errors.*"))


# --- what is refused, and changes nothing ---------------------------------------------------------


def refused(project, message):
    before = everything(project)
    with pytest.raises(ValueError, match=message):
        publish.publish()
    assert everything(project) == before


def test_nothing_to_publish_is_an_error(project):
    refused(project, "nothing to publish; run `make figures` first")


def test_results_that_are_never_published_are_told_of(project):
    ran(row(profile="smoke"))
    draw("errors", profile="smoke with epochs 3")
    refused(project, "nothing to publish; only results of the profile smoke are there")
    draw("errors", profile="quick with epochs 3")
    told = r"only figures of changed profiles are there \(quick with epochs 3, smoke\); run `make"
    refused(project, told)


def test_pictures_of_private_datasets_are_refused(project):
    ran(row(), NEW)
    draw("detections", dataset="synthetic-staff", private=True, faces=True)
    refused(project, "synthetic-staff-photo/detections: shows people of a private dataset")


def test_numbers_of_private_datasets_are_published(project):
    ran(row(), NEW)
    draw("errors", dataset="ytf", private=True)
    draw("contact_sheet", faces=True)
    publish.publish()
    assert (paths.PUBLISHED / "ytf-photo" / "errors.png").exists()
    assert (paths.PUBLISHED / "synthetic-photo" / "contact_sheet.png").exists()


def test_a_private_dataset_named_as_the_default_one_is_refused(project):
    ran(row(), NEW)
    draw("errors", dataset="synthetic", private=True)
    storage.write_text(paths.RUNS / "notebooks" / publish.DEFAULT_RUN / "01.ipynb", "executed")
    refused(project, "of a private dataset with the name of the default one")


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_figure_that_is_not_the_one_saved_is_refused(project, spoil):
    ran(row(), NEW)
    file = paths.FIGURES / f"{draw('errors')}.png"
    file.write_text("other") if spoil == "change" else file.unlink()
    refused(project, r"errors\.png: not the figure that was saved")


def test_runs_that_readers_cannot_tell_apart_are_refused(project):
    ran(row(), NEW)
    ran(row(run="4567cdef"))
    refused(project, r"experiment1\.csv: rows of several runs of `make figures`")


def test_a_table_of_an_unknown_name_is_refused(project):
    ran(row(), NEW)
    pd.DataFrame([row()]).to_csv(paths.FIGURES / "tables" / "notes.csv", index=False)
    refused(project, "no keys are known for a table notes")


def test_a_page_that_the_tables_do_not_fill_is_told(project):
    ran(row())
    with pytest.raises(ValueError, match=r"README\.md:5: value:experiment1\?.*: no row matches"):
        publish.publish()
    assert (project / "README.md").read_text() == PAGE


def test_the_benchmark_is_published_as_a_whole(project):
    def of(machine, engine):
        return RUN | {"machine": machine, "engine": engine, "ms_median": 1.0, "system": "joint"}

    ran(row(), NEW)
    for machine, engines in (("old", ("torch", "openvino")), ("new", ("torch",))):
        ran(*(of(machine, engine) for engine in engines), name="benchmark.csv")
        publish.publish()
        found = tables.read_table(published("benchmark.csv"))
        assert found["machine"].tolist() == [machine] * len(engines)


def test_what_changed_is_printed(project, capsys):
    from thesislib.__main__ import main

    ran(row(), NEW)
    assert main(["publish"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "figures/tables/experiment1.csv" in printed
    assert printed[-1] == "4 files changed; `git diff` shows how"
    assert main(["publish"]) == 0
    assert capsys.readouterr().out == "nothing changed\n"


def test_a_notebook_of_own_photos_is_not_published(project):
    ran(row(), NEW)
    own = paths.RUNS / "notebooks" / publish.DEFAULT_RUN / "01.ipynb"
    source = r'["    print(\"own photos: True\")  # so\n"]'
    storage.write_text(own, f'{{"source": {source}, "outputs": []}}')
    publish.publish()
    storage.write_text(own, f'{{"source": {source}, "text": ["own photos: True\\n"]}}')
    with pytest.raises(ValueError, match=r"01\.ipynb: shows photos of your own"):
        publish.publish()
