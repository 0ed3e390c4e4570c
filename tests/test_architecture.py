"""The layout holds: who may import whom, no room too large, nothing heavy at the front door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from thesislib import paths

PACKAGE = paths.ROOT / "thesislib"
MODULES = {
    ".".join(file.relative_to(paths.ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
GROUND = {
    "paths",
    "seeds",
    "storage",
    "cache",
    "tables",
    "faces",
    "profiles",
    "environment",
    "fonts",
}
# What a room may import, beside the ground and itself.
MAY_IMPORT = {
    "ground": set(),
    "metrics": set(),
    "data": set(),
    "models": {"data"},
    "baselines": {"data", "metrics", "models"},
    "synthetic": {"data"},
    "engine": {"models", "baselines", "data", "metrics"},
    "deploy": {"engine", "models", "baselines", "data", "metrics"},
    "experiments": {
        "deploy",
        "engine",
        "models",
        "baselines",
        "data",
        "metrics",
        "synthetic",
    },
    "benchmarks": {
        "experiments",
        "deploy",
        "engine",
        "models",
        "baselines",
        "data",
        "metrics",
        "synthetic",
    },
    "reporting": {"data"},
    "widgets": {"reporting", "deploy", "engine", "models", "baselines", "data", "metrics"},
}
MAY_IMPORT["commands"] = set(MAY_IMPORT) - {"ground"}
# Methods of a net that are the front door's words; their work is done in the rooms above.
FRONT_DOOR = {("models.joint", "engine.predict"), ("models.joint", "engine.checkpoint")}
FRONT_DOOR |= {("models.joint", "deploy.export")}


def room(module):
    first = module.removeprefix("thesislib.").split(".")[0]
    return "ground" if first in GROUND else first


def imports():
    """Pairs of modules, the first of which imports the second, anywhere in its code."""
    for name, file in MODULES.items():
        if name in ("thesislib", "thesislib.__main__"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        skipped = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("thesislib"):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield name, whole if whole in MODULES else node.module
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("thesislib"):
                        yield name, alias.name


ARROWS = sorted(set(imports()))


def test_every_room_is_known():
    rooms = {room(name) for name in MODULES if name not in ("thesislib", "thesislib.__main__")}
    assert rooms == set(MAY_IMPORT)


def test_each_room_imports_only_what_stands_below_it():
    wrong = []
    for importer, imported in ARROWS:
        pair = (importer.removeprefix("thesislib."), imported.removeprefix("thesislib."))
        there = {room(importer), "ground"} | MAY_IMPORT[room(importer)]
        if imported != "thesislib" and room(imported) not in there and pair not in FRONT_DOOR:
            wrong.append(f"{importer} imports {imported}")
    assert not wrong
    assert len(ARROWS) > 100


def test_models_never_import_the_loading_of_data_and_reporting_reads_tables_alone():
    for importer, imported in ARROWS:
        if room(importer) == "models":
            assert not imported.startswith("thesislib.data.loading")
            assert not imported.startswith("thesislib.data.schema")
        if room(importer) == "reporting":
            allowed = ("thesislib.data.images", "thesislib.data.columns")
            assert room(imported) in ("ground", "reporting") or imported in allowed


def test_no_import_goes_round_in_a_circle():
    below = {name: set() for name in MODULES}
    for importer, imported in ARROWS:
        pair = (importer.removeprefix("thesislib."), imported.removeprefix("thesislib."))
        if pair not in FRONT_DOOR:
            below[importer].add(imported)
    left = set(below)
    while left:
        free = {name for name in left if not (below[name] & left) - {name}}
        assert free, f"a circle among {sorted(left)}"
        left -= free


@pytest.mark.parametrize("name", MODULES)
def test_no_module_is_over_about_500_lines(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 540


def test_there_is_no_room_for_odds_and_ends():
    names = {name.split(".")[-1] for name in MODULES}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


IMPORT = """
import sys, time
began = time.perf_counter()
import thesislib
print(time.perf_counter() - began)
print(*{"torch", "torchvision", "pandas", "matplotlib", "dlib"} & set(sys.modules))
print("train" in dir(thesislib), "predict" in dir(thesislib))
"""


def test_the_front_door_opens_in_a_moment():
    """Three tries: what else the machine does is not the library's."""
    best = 9.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path.home(),
        )
        seconds, loaded, words = done.stdout.splitlines()
        assert loaded == "" and words == "True True"
        best = min(best, float(seconds))
    assert best < 0.3


def test_an_unknown_word_is_an_attribute_error():
    import thesislib

    with pytest.raises(AttributeError, match="no attribute 'detect'"):
        thesislib.detect  # noqa: B018


def test_nothing_is_imported_that_one_system_alone_has():
    """Windows has none of these; where one is needed, it is imported within a function."""
    unix = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "posix"}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            imported = {one.name for one in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                imported = {node.module}
            assert not imported & unix, name
