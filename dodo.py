"""What depends on what; `make figures` runs it. A task runs again when its inputs' content changed.

Trained nets know for themselves what they depend on (thesislib.experiment1); here only the order
of things is kept, and whether there is anything to do at all.
"""

import ast
import hashlib
import json
import os
import sys
from pathlib import Path

from doit.reporter import ConsoleReporter
from doit.tools import Interactive

from thesislib import paths
from thesislib.profiles import get_profile

ROOT = Path(__file__).parent
PACKAGE = ROOT / "thesislib"
FIGURES = Path(os.environ.get("THESIS_FIGURES", ROOT / "figures"))
PROFILE, SPLIT, SEED = (
    os.environ.get(name) or default
    for name, default in (("PROFILE", "quick"), ("SPLIT", "photo"), ("SEED", "0"))
)
DEFAULT = paths.synthetic(get_profile(PROFILE).people)
DATA = Path(os.environ.get("DATA") or DEFAULT)
# What else is asked for in place of the profile's.
CHANGED = {name: os.environ[name] for name in ("EPOCHS", "BATCH") if os.environ.get(name)}
TARGET = Path(os.environ["TARGET"]) if os.environ.get("TARGET") else None
RUN = "-".join(
    [
        DATA.name,
        SPLIT,
        PROFILE,
        f"seed{SEED}",
        *(f"{k.lower()}{v}" for k, v in CHANGED.items()),
        *([f"to-{TARGET.name}"] if TARGET else []),
    ]
)
NOTEBOOKS = (
    "01_data_preparation",
    "02_joint_training",
    "03_baseline_comparison",
    "04_transfer_learning",
    "05_embeddings",
)
RESULTS = FIGURES / "tables" / "experiment1.csv"
# Made by `make benchmark`, drawn by a notebook.
BENCHMARK = [paths.PUBLISHED_TABLES / f"{name}.csv" for name in ("benchmark", "benchmark_limits")]


class Reporter(ConsoleReporter):
    """doit's own, and a word when there was nothing to do."""

    executed = 0

    def execute_task(self, task):
        self.executed += bool(task.actions)
        super().execute_task(task)

    def complete_run(self):
        super().complete_run()
        if not self.executed and not self.failures:
            self.write(f"Nothing changed: the figures of {RUN} are up to date.\n")


DOIT_CONFIG = {"verbosity": 2, "reporter": Reporter, "dep_file": ".doit.db", "backend": "json"}


def modules(source: str, found: set[Path] | None = None) -> set[Path]:
    """Files of this project that some Python source imports, directly or by others."""
    found = set() if found is None else found
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("thesislib"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("thesislib")]
        else:
            continue
        for name in names:
            path = ROOT.joinpath(*name.split("."))
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.is_file() and file not in found:
                    found.add(file)
                    modules(file.read_text(), found)
    return found


def data_state() -> str:
    """Hash of the datasets' content."""
    digest = hashlib.sha256()
    for folder in filter(None, (DATA, TARGET)):
        if not (folder / "annotations.csv").is_file():
            return "none yet"
        for file in [folder / "annotations.csv", *sorted((folder / "photos").rglob("*"))]:
            if file.is_file():
                digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def remember() -> dict:
    """Last action of a task: the default dataset exists only after the first run."""
    return {"data": data_state()}


def unchanged(task, values) -> bool:
    return values.get("data") == data_state()


def task_experiment():
    """Train, test and time all systems; write figures/tables."""
    if not DATA.is_dir() and DATA != DEFAULT:
        sys.exit(f"DATA={DATA}: no such folder; DATA must name a dataset folder")
    if TARGET and not TARGET.is_dir():
        sys.exit(f"TARGET={TARGET}: no such folder; TARGET must name a dataset folder")
    words = [sys.executable, "-m", "thesislib.experiment1", "--profile", PROFILE]
    words += ["--split", SPLIT, "--seed", SEED, "--data", str(DATA)]
    for name, value in CHANGED.items():
        words += [f"--{name.lower()}", value]
    code = (PACKAGE / "experiment1.py").read_text()

    yield {
        "name": RUN,
        "actions": [Interactive(words, shell=False), remember],  # so that progress bars move
        "file_dep": [PACKAGE / "experiment1.py", *modules(code)],
        "targets": [RESULTS],
        "uptodate": [unchanged],
    }


def task_notebook():
    """Execute the notebooks in order; they draw the figures from the tables."""
    before = [f"experiment:{RUN}"]
    for name in NOTEBOOKS:
        notebook = ROOT / "notebooks" / f"{name}.ipynb"
        cells = json.loads(notebook.read_text())["cells"]
        source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        tables = BENCHMARK if "benchmark.read_tables" in source else []
        executed = ROOT / "runs" / "notebooks" / RUN / notebook.name
        convert = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"]
        convert += ["--ExecutePreprocessor.record_timing=False", "--log-level", "ERROR"]
        # A busy machine takes longer than the usual minute to start a kernel.
        convert += ["--ExecutePreprocessor.startup_timeout=600"]
        convert += ["--output-dir", str(executed.parent), str(notebook)]
        yield {
            "name": f"{name}:{RUN}",
            "actions": [Interactive(["env", "TQDM_DISABLE=1", *convert], shell=False), remember],
            "file_dep": [notebook, *modules(source), PACKAGE / "thesis.mplstyle", *tables],
            "targets": [executed, *figure_files(notebook.name)],
            "uptodate": [unchanged],
            "task_dep": list(before),
        }
        before.append(f"notebook:{name}:{RUN}")


def figure_files(notebook: str) -> list[Path]:
    """Figures that the manifest says this notebook draws of this run, and of the benchmark."""
    manifest = FIGURES / "manifest.json"
    if not manifest.is_file():
        return []
    many = paths.synthetic(get_profile(PROFILE).many_people).name
    drawn = (f"{DATA.name}-{SPLIT}/", f"{DATA.name}-identity/", f"{many}-identity/")
    drawn += ("synthetic-benchmark-photo/",)
    return [
        FIGURES / f"{key}.{kind}"
        for key, record in json.loads(manifest.read_text()).items()
        if record["notebook"] == notebook and key.startswith(drawn)
        for kind in ("pdf", "png")
    ]


def task_readme():
    """Write the results into the README and the thesis's LaTeX table."""
    tables = [RESULTS.with_name(f"experiment{number}.csv") for number in (1, 2, 3)]
    return {
        "actions": [Interactive([sys.executable, "-m", "thesislib.results"], shell=False)],
        "file_dep": [*filter(Path.is_file, [*tables, *BENCHMARK]), PACKAGE / "results.py"],
        "task_dep": ["notebook"],
        "targets": [FIGURES / "tables" / "experiment1.tex"],
    }
