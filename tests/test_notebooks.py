"""The committed notebooks were run, in order, without error, and hold nothing they must not."""

import ast
import base64
import builtins
import io
import json
import re
import symtable
from unittest.mock import MagicMock

import pandas as pd
import pytest
from PIL import Image

from thesislib import paths
from thesislib.tables import read_results, read_table

NOTEBOOKS = sorted((paths.ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [
        cell
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]


def test_there_are_notebooks():
    assert [path.name[:2] for path in NOTEBOOKS] == ["00", "01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_ran_once_and_in_order(path):
    # nbval compares nothing in a stripped notebook, so that it passes whatever happens.
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbval_has_outputs_to_compare(path):
    compared = [
        output
        for cell in code_cells(path)
        if "nbval-ignore-output" not in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
        if output["output_type"] in ("stream", "execute_result")
    ]
    assert compared


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_errors_no_warnings_no_paths_of_a_machine(path):
    for cell in code_cells(path):
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output.get("text")
    assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_are_in_the_notebook(path):
    images = [
        output["data"]["image/png"]
        for cell in code_cells(path)
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert images
    for image in images:
        Image.open(io.BytesIO(base64.b64decode(image))).verify()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs_are_of_synthetic_people(path):
    texts = [
        "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", ""))
        for cell in code_cells(path)
        for output in cell["outputs"]
    ]
    assert not re.search("ytf|caltech|lfw", " ".join(texts))


OF_SMOKE = {"dataset": "synthetic-smoke", "split": "photo", "data_hash": "abc"}
OF_SMOKE |= {"profile": "smoke", "seed": 99, "private": False}


def definitions(sources, *kinds):
    """What a notebook's statements of these kinds define, by name."""
    found: dict = {"display": MagicMock()}
    for source in sources:
        body = [one for one in ast.parse(source).body if isinstance(one, kinds)]
        exec(compile(ast.Module(body, []), "notebook", "exec"), found)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_of_committed_tables_say_nothing_of_the_run_that_draws_them(path):
    """They are published whatever run drew them, one of profile smoke included."""
    sources = ["".join(cell["source"]) for cell in code_cells(path)]
    names = definitions(sources, ast.Import, ast.ImportFrom, ast.FunctionDef)
    for name, value in names.items():
        module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
        if str(module).startswith("thesislib.reporting.figures"):
            names[name] = MagicMock()
    shown, of_tables = [], set()
    names["show"] = lambda figure, name, caption, **other: shown.append(OF_SMOKE | other)
    for source in sources:
        of_tables |= set(re.findall(r"(of_\w+) \|?= \{[^}]*\"data_hash\"", source))
        if any(f"**{name}" in source for name in of_tables):
            exec(source, names)
    for about in shown:
        assert about["profile"] != "smoke" and about["dataset"] != "synthetic-smoke"
        assert about["seed"] not in (99, [99])
        assert about["private"] or about["dataset"].startswith("synthetic")
    transfers = read_table(paths.PUBLISHED_TABLES / "experiment2.csv")
    real = not transfers["source"].str.startswith("synthetic").all()
    strangers = read_table(paths.PUBLISHED_TABLES / "experiment3_seeds.csv")["dataset"]
    of_real = (["04"] if real else []) + (["05"] if "celeba" in set(strangers) else [])
    assert bool(shown) == (path.stem[:2] in ("02", "03", "06", *of_real))


# --- what a reader sees -----------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_figures_are_shown_with_their_captions(path):
    for cell in code_cells(path):
        source = "".join(cell["source"])
        assert "plt.show" not in source and not re.search(r"(?<!\.)\bsave\(", source), source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tables_have_at_most_six_columns(path):
    for cell in code_cells(path):
        for output in cell["outputs"]:
            html = "".join(output.get("data", {}).get("text/html", ""))
            for number, row in enumerate(
                re.findall(r"(?s)<tr>(.*?)</tr>", html.partition("<tbody>")[2])
            ):
                cells = re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", row)
                numbered = cells[:1] == [str(number)]  # by pandas, where nothing else names a row
                assert len(cells) - numbered <= 6, "".join(cell["source"])


EXERCISES = NOTEBOOKS[1:6]


def texts(path):
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def solutions(path):
    """Code of each solution that is folded away."""
    folded = re.findall(r"(?s)<details .*?</details>", "\n".join(texts(path)))
    return [code for one in folded for code in re.findall(r"(?s)```python\n(.*?)```", one)]


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_a_notebook_ends_with_a_summary_and_exercises(path):
    *_, summary, exercises, way = texts(path)
    assert summary.startswith("## Summary\n") and 3 <= summary.count("\n- ") <= 5
    assert exercises.startswith("## Exercises\n")
    assert 3 <= exercises.count("<summary>Solution</summary>") <= 4
    assert len(solutions(path)) == exercises.count("<details ") == exercises.count("</details>")
    assert way == texts(path)[0].splitlines()[0]


def bound(tree):
    """Names that code gives a meaning to, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_solutions_use_what_the_notebook_has(path):
    code = "\n".join("".join(cell["source"]) for cell in code_cells(path))
    # What a function or a comprehension binds is gone after the cell.
    table = symtable.symtable(code, path.name, "exec")
    left = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    assert solutions(path)
    for solution in solutions(path):
        tree = ast.parse(solution)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert used - set(bound(tree)) - left - set(dir(builtins)) == set(), solution
        assert max(map(len, solution.splitlines())) <= 100, solution


# --- what the notebooks say of the default run ------------------------------------------------


def test_the_joint_net_of_notebook_02_finds_and_names_most_faces():
    results = read_results(paths.PUBLISHED_TABLES / "experiment1.csv")
    about = {"dataset": "synthetic", "split": "photo", "profile": "quick", "seed": 0}
    about |= {"system": "joint", "start": "scratch", "metric": "joint_accuracy_50"}
    (row,) = results[(results[list(about)] == pd.Series(about)).all(axis=1)].itertuples()
    assert row.value >= 0.85


def test_shuffled_names_of_notebook_05_give_chance():
    results = read_table(paths.PUBLISHED_TABLES / "experiment3.csv")
    shuffled = results[(results["people"] == "shuffled") & (results["dataset"] == "synthetic-many")]
    verified = shuffled["value"][shuffled["metric"] == "verification_accuracy"]
    assert len(verified) and verified.between(0.4, 0.6).all()
