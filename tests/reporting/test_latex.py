"""Tables for LaTeX fit on a page, and each part of one tells what its rows are of."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from thesislib import paths
from thesislib.reporting import latex, tables
from thesislib.tables import read_table


def printed(cells, words):
    """The tables that are printed, each as its lines without the rules."""
    text = latex.tabulars(pd.DataFrame(cells), words)
    found = re.findall(
        r"^\\begin{(tabular|longtable)}{([^\n]*)}\n(.*?)\n\\end{\1}", text, re.DOTALL | re.M
    )
    rules = ("rule", "space", "end")
    return [
        (kind, form, [line for line in body.split("\n") if line and not line.endswith(rules)])
        for kind, form, body in found
    ]


def test_a_narrow_table_is_one():
    ((kind, form, lines),) = printed({"System": ["joint", "two"], "IoU": ["78.9", "79.8"]}, 1)
    assert (kind, form) == ("tabular", "lr")
    assert lines == [r"System & IoU \\", r"joint & 78.9 \\", r"two & 79.8 \\"]


def test_a_wide_table_becomes_several_with_the_words_of_its_rows():
    numbers = {f"{at} faces": ["96.3 [94.1, 98.0]"] * 2 for at in range(8)}
    parts = printed({"System": ["joint", "two-stage"]} | numbers, 1)
    assert len(parts) == 2
    found = []
    for _kind, form, (header, *rows) in parts:
        assert form == "lrrrr"
        assert [row.split(" & ")[0] for row in rows] == ["joint", "two-stage"]
        found += header.removesuffix(r" \\").split(" & ")[1:]
    assert found == list(numbers)


def test_numbers_that_tell_rows_apart_stand_in_each_part():
    numbers = {f"{at}": ["96.3 [94.1, 98.0]"] * 2 for at in range(8)}
    sizes = {"Input": ["320", "480"]}
    for words, start in ((1, {"Net": ["ours", "ours"]}), (0, {})):
        for _, _, (header, *rows) in printed(start | sizes | numbers, words):
            assert "Input" in header
            assert [any(cell in row for row in rows) for cell in sizes["Input"]] == [True, True]


def test_words_are_broken_where_that_saves_a_part():
    long = "a system that has a name of very many words, all of them short"
    cells = {"System": [long, long[2:]]} | {f"{at}": ["96.3 [94.1, 98.0]"] * 2 for at in range(4)}
    ((_, form, _),) = printed(cells, 1)
    width = float(re.fullmatch(r">{\\raggedright\\arraybackslash}p{([\d.]+)em}rrrr", form)[1])
    assert 2 < width < 15


def test_what_is_said_again_and_again_becomes_headings():
    cells = {
        "Begun from": ["random weights"] * 4 + ["the published net"] * 4,
        "System": list("abcd") * 2,
    }
    cells |= {f"{at}": ["96.3 [94.1, 98.0]"] * 8 for at in range(5)}
    ((_, form, lines),) = printed(cells, 2)
    assert form == "lrrrrr"
    headings = [at for at, line in enumerate(lines) if "multicolumn" in line]
    assert headings == [1, 6]
    assert lines[6] == r"\multicolumn{6}{l}{\textit{Begun from: the published net}} \\*"


def test_of_two_headings_the_one_that_stays_is_not_said_again():
    # The second changes alone, then the first, and the second is said again with it.
    rows = [("a", "x"), ("a", "y"), ("b", "y")]
    assert latex._changes(rows) == [("a", "x"), ("y",), ("b", "y")]


def test_a_long_table_goes_on_overleaf():
    for rows, kind in ((30, "tabular"), (60, "longtable")):
        cells = {"System": [f"s{at}" for at in range(rows)], "IoU": ["78.9"] * rows}
        assert [part[0] for part in printed(cells, 1)] == [kind]


def test_long_names_of_numbers_are_broken():
    ((_, _, lines),) = printed({"a": ["b"], "Faces found and named, in 10 %": ["1"]}, 1)
    name = r"Faces found \\ and named, in \\ 10~\%"
    assert lines[0] == r"a & \begin{tabular}[b]{@{}r@{}}" + name + r"\end{tabular} \\"


def test_signs_of_latex_are_text():
    ((_, _, lines),) = printed({"a": ['5% <_> ≥ 3 × 3 → "x" \\'], "b": ["–"], "c": ["-2 [-3]"]}, 1)
    wanted = r"5\% $<$\_$>$ $\ge$ 3 $\times$ 3 $\to$ ''x'' \textbackslash{} & -- & $-$2 [$-$3] \\"
    assert lines[1] == wanted


def every_table():
    """Name and rows of each table of the committed results, of one dataset and profile."""
    for name, source in tables.TABLES.items():
        rows = read_table(paths.PUBLISHED_TABLES / source.file)
        told = [column for column in ("dataset", "split", "profile", "start") if column in rows]
        told = [] if source.file.startswith("recogniser") else told
        for _, own in rows.groupby(told) if told else [((), rows)]:
            try:
                yield name, tables.latex(name, own)
            except ValueError:
                continue  # a dataset that the table does not show


HEAD = r"""\documentclass[12pt,a4paper]{article}
\usepackage[margin=2.5cm]{geometry}
\usepackage[T2A]{fontenc}\usepackage[utf8]{inputenc}\usepackage[russian,english]{babel}
\usepackage{booktabs,array,longtable}
\begin{document}"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
@pytest.mark.parametrize("asked", ["en", "ru"])
def test_every_table_fits_on_a_page(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("FIGURES_LANGUAGE", asked)
    found = list(every_table())
    assert {"experiment1", "experiment2_pairs", "experiment3", "recogniser"} <= dict(found).keys()
    chosen = r"\selectlanguage{russian}" if asked == "ru" else ""
    pages = [rf"\typeout{{Table {name}}}\noindent {text} \clearpage" for name, text in found]
    document = "\n".join([HEAD, chosen, *pages, r"\end{document}"])
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    log = (tmp_path / "all.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert not [line for line in log.split("\n") if line.startswith("Overfull")]
