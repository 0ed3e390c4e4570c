"""Tables of the pages in another language, as LaTeX and Markdown."""

import pytest

from thesislib import paths
from thesislib.reporting import printed, readme

QUERY = "experiment1_pairs?dataset=synthetic&split=photo&profile=quick&metric=joint_accuracy_50"


@pytest.fixture
def page(tmp_path):
    file = tmp_path / "page.md"
    file.write_text(f"One: <!-- table:{QUERY} -->\n<!-- /table -->\n`<!-- table:none -->`\n")
    return file


@pytest.mark.parametrize("language", ["en", "ru"])
def test_tables_of_pages_are_written_beside_the_figures(page, tmp_path, monkeypatch, language):
    monkeypatch.setenv("FIGURES_LANGUAGE", language)
    files = printed.write([page, page], to=tmp_path / "to")
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "to/tables/experiment1_pairs-1.tex", "to/README.md"
    ]  # fmt: skip
    tex, text = (file.read_text(encoding="utf-8") for file in files)
    assert tex.startswith(f"% {QUERY}\n") and "\\begin{tabular}" in tex and "\\toprule" in tex
    assert f"`{QUERY}`" in text and ("# Tables" in text or "# Таблицы" in text)


def test_every_table_of_the_docs_can_be_printed(tmp_path):
    files = printed.write(to=tmp_path)
    names = {file.stem.rpartition("-")[0] for file in files[:-1]}
    assert {"experiment1", "experiment2", "experiment3", "benchmark"} <= names


def test_what_no_table_fills_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table:experiment1?dataset=nobodys --><!-- /table -->")
    with pytest.raises(ValueError, match="no row matches"):
        printed.write([page], to=tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert readme.tables_in(page) == ["experiment1?dataset=nobodys"]
    with pytest.raises(ValueError, match="unknown table"):
        readme.rows_of("nothing", paths.PUBLISHED_TABLES)
