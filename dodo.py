"""What `make figures` runs, and in which order; a task runs again when its inputs change.

Trained nets and results are kept by the library, known by configuration, data and
``thesislib.cache.RESULTS_VERSION``; here only the order of things is kept, and whether there is
anything to do at all.
"""

import dataclasses
import os
import re
import shlex
import sys
from pathlib import Path

from doit.reporter import ConsoleReporter
from doit.tools import Interactive

from thesislib import cache, paths
from thesislib.__main__ import main
from thesislib.data.importers.target import BESIDE
from thesislib.data.names import short_name
from thesislib.data.schema import DatasetError
from thesislib.engine.checkpoint import start_hash
from thesislib.experiments import config as configs
from thesislib.experiments.config import Config
from thesislib.experiments.embeddings import why_others
from thesislib.experiments.systems import REPEATED
from thesislib.profiles import PROFILES
from thesislib.reporting.language import language

ROOT = Path(__file__).parent
NOTEBOOKS = (
    "00_start_here",
    "01_data_preparation",
    "02_joint_training",
    "03_baseline_comparison",
    "04_transfer_learning",
    "05_embeddings",
    "06_your_own_photos",
)
TIMED = "03_baseline_comparison"  # runs alone
# What draws the figures: cheap to run again when it was edited.
DRAWING = [
    path
    for path in sorted((ROOT / "thesislib" / "reporting").rglob("*"))
    if path.suffix in (".py", ".mplstyle", ".po")
]


class Reporter(ConsoleReporter):
    """doit's own, and a word when there was nothing to do."""

    executed = 0

    def execute_task(self, task):
        self.executed += bool(task.actions)
        super().execute_task(task)

    def complete_run(self):
        super().complete_run()
        if not self.executed and not self.failures:
            self.write("Nothing changed: the figures are up to date.\n")


DOIT_CONFIG = {"verbosity": 2, "reporter": Reporter, "dep_file": ".doit.db", "backend": "json"}
DOIT_CONFIG |= {"num_process": 2, "par_type": "thread"}  # a command of each of LANES


def asked() -> tuple[Config, Path | None]:
    """The config and the target of Experiment 2 that the environment asks for.

    Ends the program with a sentence where a folder is missing or may not be written to, a word is
    unknown, or a dataset cannot be learned from and tested.
    """
    if not os.access(ROOT, os.W_OK):
        sys.exit(f"{ROOT}: cannot be written to; make figures needs a clone of your own")
    try:
        language()  # which may be none that is here
        config, target = configs.from_environment(), configs.target_from_environment()
    except ValueError as error:
        sys.exit(str(error))
    made = configs.is_default(config)  # the first task generates it
    given = [] if made else [("DATA", config)]
    if target:
        given.append(("TARGET", dataclasses.replace(config, data=target, split="photo")))
    for name, one in given:
        if not one.data.is_dir():
            told = os.environ.get(name) or one.data  # the dataset that was to be made of PHOTOS
            sys.exit(f"{name}={told}: no such folder; {name} must name a dataset folder")
        try:
            configs.parts(one)  # what cannot be learned and tested is told before anything is
        except DatasetError as error:
            sys.exit(str(error))
    return config, target


def import_photos() -> int:
    """Make the dataset of PHOTOS, with the options in IMPORT; what doit does depends on its people.

    Returns:
        the command's exit status.
    """
    told = os.environ.get("IMPORT", "")
    try:
        to = configs.from_environment().data
    except ValueError as error:
        sys.exit(str(error))
    try:
        options = shlex.split(told)
    except ValueError as error:
        sys.exit(f"IMPORT={told}: {error}")
    return main(["data", "--to", str(to), *options, "--", "folder", os.environ["PHOTOS"]])


def run_name(config: Config, target: Path | None) -> str:
    """Name of the folder of this run's notebooks; runs of other settings or folders have others."""
    data = config.data.name
    if not configs.is_default(config):
        data += f"-{cache.key(folder=str(config.data.resolve()))}"
    name = f"{data}-{config.split}-{config.profile.name}-seed{config.seed}"
    usual = PROFILES[config.profile.name]
    words = [
        f"{field.name}{value}"
        for field in dataclasses.fields(usual)
        if (value := getattr(config.profile, field.name)) != getattr(usual, field.name)
    ]
    if target:
        words.append(f"to-{target.name}-{cache.key(folder=str(target.resolve()))}")
    # doit takes no = in a task's name, and * for any letters.
    return short_name(re.sub("[=*]", "_", "-".join([name, *words])))


def data_state(config: Config, target: Path | None) -> str:
    """What the datasets' files are: names, sizes and times."""
    files = []
    for folder in filter(None, (config.data, target)):
        if not (folder / "annotations.csv").is_file():
            return "none yet"
        for path in sorted(folder.rglob("*")):
            own = path.parent == folder and path.name in BESIDE
            if path.is_file() and not own and not path.name.startswith("."):
                stat = path.stat()
                files.append([str(path), stat.st_size, stat.st_mtime_ns])
    return cache.key(files=files)


def state_of(config: Config, target: Path | None) -> dict:
    """What the results depend on, in a few digits; a change runs the tasks again."""
    profile = dataclasses.asdict(config.profile)
    data = data_state(config, target)
    start = start_hash(configs.started(config).start)
    about = {"profile": profile, "split": config.split, "seed": config.seed, "data": data}
    return {"state": cache.key(**about, start=start)}


TABLES = {"compare": "experiment1_seeds"}  # of commands that write one of another name
# Of the default run, whose small nets keep no two cores busy, these are run beside each other, with
# a thread each: none of them times anything. The second has no bars, which would be written over
# the first's.
LANES = (("stand-in", "experiment2", "experiment2-started"), ("compare", "experiment3"))


def waits_for(names: list[str], beside: bool) -> dict[str, list[str]]:
    """Which commands each must wait for: the one before, or before it in its lane.

    Args:
        names: of commands, in order.
        beside: whether there are lanes.
    """
    found = {}
    for name in names:
        lane = next((own for own in LANES if beside and name in own), None)
        own = [one for one in lane or names if one in names]
        before = own[: own.index(name)]
        found[name] = before[-1:] or (["experiment1-started"] if lane else [])
    return found


def interactive(words: list[str], bars: bool = True, threads: int | None = None) -> Interactive:
    """A command that writes to the terminal."""
    settings = {} if bars else {"TQDM_DISABLE": "1"}
    settings |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    return Interactive(words, shell=False, env=os.environ | settings)


def task_experiment():
    """Train, test and time everything, with progress bars; the library keeps what was done."""
    config, target = asked()
    run, words = run_name(config, target), [sys.executable, "-m", "thesislib"]
    default = configs.is_default(config)
    data = None if default else str(config.data)

    def command(experiment: str, one: Config = config, **options) -> list[str]:
        told = shlex.split(configs.command(one, experiment, **options))
        return [*words, *told[told.index(experiment) :]]

    new = target or paths.synthetic(config.profile.new_people)
    source, begun = config.data, configs.started(config)
    commands: dict[str, list[str]] = {}
    if default:
        commands["train-ahead"] = command("train-ahead", data=None)
    commands["experiment1"] = command("experiment1", data=data)
    commands["experiment1-started"] = command("experiment1", begun, data=data)
    about = {"seed": None, "seeds": [one.seed for one in configs.with_seeds(config)]}
    commands["compare"] = command("compare", data=data, **about, systems=list(REPEATED))
    if default and config.profile.name == "quick":
        commands["stand-in"] = command("stand-in", data=None, split=None)
    pair = {"data": None, "split": None, "source": str(source), "target": str(new)}
    commands["experiment2"] = command("experiment2", **pair)
    commands["experiment2-started"] = command("experiment2", begun, **pair)
    if not why_others(config):
        once = {"seed": None, "seeds": [config.seed]}
        commands["experiment3"] = command("experiment3", data=data, split=None, **once)
    waits = waits_for(list(commands), beside=default)
    for name, one in commands.items():
        in_lane = default and any(name in lane for lane in LANES)
        bars = not (in_lane and name in LANES[1])
        yield {
            "name": f"{name}:{run}",
            "actions": [
                interactive(one, bars, threads=1 if in_lane else None),
                (state_of, [config, target]),
            ],
            # Those of nets that start from dlib's recogniser are written into the same tables.
            "targets": []
            if name.endswith("-started") or name == "train-ahead"
            else [paths.TABLES / f"{TABLES.get(name, name.replace('-', '_'))}.csv"],
            "uptodate": [lambda task, values: values == state_of(config, target)],
            "task_dep": [f"experiment:{one}:{run}" for one in waits[name]],
        }


def task_notebook():
    """Execute the notebooks, two at a time but for the one that times something; they draw the
    figures from what experiments kept."""
    config, target = asked()
    run = run_name(config, target)
    if language() != "en":
        run += f"-{language()}"
    before: list[str] = []
    waits: list[str] = []
    for name in NOTEBOOKS:
        notebook = ROOT / "notebooks" / f"{name}.ipynb"
        executed = paths.RUNS / "notebooks" / run / notebook.name
        convert = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"]
        convert += ["--ExecutePreprocessor.record_timing=False", "--log-level", "ERROR"]
        # Pictures in widgets would be kept twice, and are seen only where a kernel runs.
        convert += ["--ExecutePreprocessor.store_widget_state=False"]
        # Else the kernel warns of its open line to this process.
        convert += ["--KernelManager.transport_encryption=auto"]
        # A busy machine takes longer than the usual minute to start a kernel.
        convert += ["--ExecutePreprocessor.startup_timeout=600"]
        convert += ["--output-dir", str(executed.parent), str(notebook)]
        published = [
            paths.PUBLISHED_TABLES / f"{t}.csv"
            for t in (
                *("benchmark", "experiment1_pairs", "experiment1_seeds", "experiment3"),
                *("face_sizes", "recogniser", "recogniser_speed"),
            )
        ]
        yield {
            "name": f"{name}:{run}",
            "actions": [
                interactive(convert, bars=False),
                (state_of, [config, target]),
            ],
            "file_dep": [notebook, *DRAWING, *filter(Path.is_file, published)],
            "targets": [executed],
            "uptodate": [lambda task, values: values == state_of(config, target)],
            "task_dep": ["experiment", *(before if name == TIMED else waits), *before[-2:-1]],
        }
        before.append(f"notebook:{name}:{run}")
        waits += before[-1:] if name == TIMED else []


def task_printed():
    """Write the pages' tables in another language beside its figures."""
    if language() == "en":
        return
    sources = [*paths.PUBLISHED_TABLES.glob("*.csv"), ROOT / "README.md", *ROOT.glob("docs/*.md")]
    yield {
        "name": language(),
        "actions": [interactive([sys.executable, "-m", "thesislib", "printed"])],
        "file_dep": [*DRAWING, *sources],
        "targets": [paths.FIGURES / language() / "README.md"],
        "task_dep": ["notebook"],
    }


if __name__ == "__main__":
    sys.exit(import_photos())
