"""Where things lie: in the clone, in the current folder, or where one says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import thesislib
from thesislib import paths

PACKAGE = Path(thesislib.__file__).parent


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("THESIS_ROOT", raising=False)


def project(folder, text):
    package = folder / "thesislib"
    package.mkdir()
    if text is not None:
        (folder / "pyproject.toml").write_text(text)
    return package


def test_a_clone_is_the_root(tmp_path, monkeypatch):
    package = project(tmp_path, '[project]\nname = "thesislib"\n')
    monkeypatch.chdir(tmp_path.parent)
    assert paths.find_root(package) == tmp_path
    assert paths.find_root(PACKAGE) == PACKAGE.parent, "this clone"


@pytest.mark.parametrize("text", [None, '[project]\nname = "another"\n', "[tool.ruff]\n"])
def test_an_installed_package_works_in_the_current_folder(tmp_path, monkeypatch, text):
    package = project(tmp_path, text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert paths.find_root(package) == tmp_path / "work"


def test_thesis_root_wins(tmp_path, monkeypatch):
    package = project(tmp_path, '[project]\nname = "thesislib"\n')
    monkeypatch.setenv("THESIS_ROOT", str(tmp_path / "elsewhere"))
    assert paths.find_root(package) == tmp_path / "elsewhere"


def test_runs_write_below_runs_and_published_results_lie_elsewhere(tmp_path):
    code = (
        "from thesislib import paths;"
        "print(*(getattr(paths, name) for name in ('RUNS', 'FIGURES', 'TABLES', 'PRIVATE_FIGURES',"
        "'PUBLISHED', 'PUBLISHED_TABLES', 'DATA', 'NOTEBOOKS')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"THESIS_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [str(Path(path).relative_to(tmp_path)) for path in told] == [
        "runs",
        "runs/figures",
        "runs/figures/tables",
        "runs/figures/private",
        "figures",
        "figures/tables",
        "data",
        "notebooks",
    ]


@pytest.mark.parametrize(
    ("photos", "name"),
    [
        ("Anna's photos", "Anna's photos"),
        ("люди/", "люди"),
        ("/far/away/people.zip", "people"),
        ("people.TAR.GZ", "people"),
        ("v1.2.tgz", "v1.2"),
        ("photos/..", ""),
        (".", ""),
    ],
)
def test_a_dataset_is_named_after_its_photos(tmp_path, monkeypatch, photos, name):
    monkeypatch.chdir(tmp_path)
    assert paths.dataset_of(photos) == paths.DATA / (name or tmp_path.name)


def test_a_folder_named_as_archives_are_keeps_its_name(tmp_path):
    (tmp_path / "people.zip").mkdir()
    assert paths.dataset_of(tmp_path / "people.zip") == paths.DATA / "people.zip"


def test_sets_of_synthetic_people_have_folders_of_their_own():
    assert paths.synthetic("quick") == paths.DATA / "synthetic"
    assert paths.synthetic("many") == paths.DATA / "synthetic-many"
