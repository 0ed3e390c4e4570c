"""The committed notebooks were run, in order, without error, and hold nothing they must not."""

import ast
import base64
import io
import json
import re
from unittest.mock import MagicMock

import pytest
from PIL import Image

from thesislib import paths
from thesislib.tables import read_table

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


OF_SMOKE = {"dataset": "synthetic-smoke", "split": "photo", "notebook": "", "data_hash": "abc"}
OF_SMOKE |= {"profile": "smoke", "seed": 99, "private": False}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_of_committed_tables_say_nothing_of_the_run_that_draws_them(path):
    """They are published whatever run drew them, one of profile smoke included."""
    sources = ["".join(cell["source"]) for cell in code_cells(path)]
    imports = [n for n in ast.parse(sources[0]).body if isinstance(n, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec(compile(ast.Module(imports, []), path.name, "exec"), names)
    saved = []
    drawn = {"save": lambda figure, name, **about: saved.append(about), "plt": MagicMock()}
    drawn |= {name: MagicMock() for name in names if "figures" in name or "embedding_" in name}
    drawn |= {name: MagicMock() for name in ("accuracy_and_cost", "learning_curves")}
    drawn |= {"about": OF_SMOKE, "about_means": OF_SMOKE | {"seed": [99]}}
    for source in sources:
        if re.search(r"\w+ = about\w* \| \{\"dataset\"", source):
            exec(source, names | drawn)
    for about in saved:
        assert about["profile"] != "smoke" and about["dataset"] != "synthetic-smoke"
        assert about["seed"] not in (99, [99]) and about["private"]
    transfers = read_table(paths.PUBLISHED_TABLES / "experiment2.csv")
    real = not transfers["source"].str.startswith("synthetic").all()
    strangers = read_table(paths.PUBLISHED_TABLES / "experiment3_seeds.csv")["dataset"]
    of_real = (["04"] if real else []) + (["05"] if "celeba" in set(strangers) else [])
    assert bool(saved) == (path.stem[:2] in ("02", *of_real))
