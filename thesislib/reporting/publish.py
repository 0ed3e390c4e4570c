"""What ``make publish`` does: results of this machine's runs become those that are committed.

Runs write below ``runs/`` alone, so that drawing and testing change nothing that is committed.
Publishing is the one step that does, and a look at the difference tells what it did.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from thesislib import paths, storage, tables
from thesislib.profiles import CHANGED
from thesislib.reporting import captions, readme
from thesislib.reporting.figures.save import MANIFEST, read_manifest
from thesislib.reporting.language import language
from thesislib.reporting.tables import latex

DEFAULT_RUN = "synthetic-photo-quick-seed0"  # whose notebooks are committed
# What notebook 06 prints of a run that is private, as the file has it.
_OF_OWN_PHOTOS = r'"own photos: True\n"'
_MEANINGLESS = "smoke"  # the profile whose numbers mean nothing


def publish(
    runs_figures: Path | str | None = None, published: Path | str | None = None
) -> list[Path]:
    """Take over the tables, figures and notebooks of the runs, and the numbers in pages.

    Rows of a run replace those that it, or an earlier version of it, gave before; all others
    stay. Of figures, those of the runs' manifest are copied; of notebooks, those executed with
    the default run. Rows and figures of the profile ``smoke`` are left out, as are figures of a
    profile in which something was changed: they would take the place of the profile's own. Then
    the figures' README.md is written, and README.md and ``docs/`` are filled from the tables. Each
    file is written whole or not at all; all that can be refused is refused before the first is
    written.

    Args:
        runs_figures: ``paths.FIGURES`` where not given.
        published: ``paths.PUBLISHED`` where not given.

    Returns:
        the files that changed.

    Raises:
        ValueError: another language than English; nothing to publish; a figure that shows people of
            a private dataset, or that is not the one that was saved; rows of two runs that cannot
            be told apart; a table of an unknown name; last, a placeholder in a page that the tables
            do not fill.
    """
    if language() != "en":
        raise ValueError("FIGURES_LANGUAGE: what is published is in English")
    source = Path(runs_figures or paths.FIGURES)
    target = Path(published or paths.PUBLISHED)
    results = _results(source / "tables")
    figures = {
        key: record
        for key, record in read_manifest(source).items()
        if record["profile"] != _MEANINGLESS and CHANGED not in record["profile"]
    }
    if not results and not figures:
        raise ValueError(f"{source}: nothing to publish; {_why_nothing(source)}")
    _check_figures(source, figures)
    notebooks = _notebooks(figures)

    changed = []
    for name, rows in results.items():
        changed += _publish_table(target / "tables" / f"{name}.csv", rows)
    changed += _publish_figures(source, target, figures)
    # With the captions of all figures, those of earlier runs among them.
    told = captions.page(read_manifest(target), "{name}.png", "../notebooks/{name}.ipynb")
    changed += [target / "README.md"] if _write(target / "README.md", told) else []
    changed += [
        paths.NOTEBOOKS / file.name
        for file in notebooks
        if _copy(file, paths.NOTEBOOKS / file.name)
    ]
    changed += [page for page in pages() if readme.refresh(page, target / "tables")]
    return changed


def _why_nothing(source: Path) -> str:
    """What lies there instead of what could be published, and what to do."""
    todo = "run `make figures` first"
    profiles = {record["profile"] for record in read_manifest(source).values()}
    for file in (source / "tables").glob("*.csv"):
        profiles |= set(tables.read_table(file)["profile"])
    if not profiles:
        return todo
    if {name.split(CHANGED)[0] for name in profiles} == {_MEANINGLESS}:
        return f"only results of the profile smoke are there, which mean nothing; {todo}"
    return f"only figures of changed profiles are there ({', '.join(sorted(profiles))}); {todo}"


def pages() -> list[Path]:
    """The pages with numbers from the tables: the README and those of ``docs/``."""
    found = [paths.ROOT / "README.md", *sorted((paths.ROOT / "docs").rglob("*.md"))]
    return [page for page in found if page.is_file()]


def _results(folder: Path) -> dict[str, pd.DataFrame]:
    """The runs' tables by name, without rows that are not to be published."""
    found = {}
    for file in sorted(folder.glob("*.csv")):
        if file.stem not in tables.KEYS:
            raise ValueError(f"{file}: no keys are known for a table {file.stem}")
        rows = tables.read_table(file)
        rows = rows[rows["profile"] != _MEANINGLESS]
        if len(rows):
            _check_runs(file, rows)
            found[file.stem] = rows
    return found


def _check_runs(file: Path, rows: pd.DataFrame) -> None:
    """Refuse rows that differ in their run alone."""
    keys = tables.KEYS[file.stem]
    if "run" not in keys:
        return
    told = [column for column in (*keys, "arm", "start", "command") if column in rows]
    told = list(dict.fromkeys(column for column in told if column != "run"))
    several = rows.groupby(told)["run"].transform("nunique") > 1
    if several.any():
        raise ValueError(
            f"{file}: rows of several runs of `{rows.loc[several, 'command'].iloc[0]}`, by an "
            "older version of the code or of another dataset of the same name; readers could not "
            "tell them apart. Remove the file and run the command again: what was computed is "
            "read from the cache"
        )


def _check_figures(folder: Path, figures: dict[str, dict[str, Any]]) -> None:
    for key, record in figures.items():
        if record["private"] and record["faces"]:
            raise ValueError(f"{folder / key}: shows people of a private dataset")
        for kind, wanted in record["sha256"].items():
            file = folder / f"{key}.{kind}"
            if not file.is_file() or storage.bytes_hash(file) != wanted:
                raise ValueError(f"{file}: not the figure that was saved; draw it again")


def _notebooks(figures: dict[str, dict[str, Any]]) -> list[Path]:
    """The executed notebooks of the default run; they hold pictures too."""
    # A dataset of real people may bear the default one's name.
    dataset, split, *_ = DEFAULT_RUN.split("-")
    for key, record in figures.items():
        if key.startswith(f"{dataset}-{split}/") and record["private"]:
            raise ValueError(f"{key}: of a private dataset with the name of the default one")
    found = sorted((paths.RUNS / "notebooks" / DEFAULT_RUN).glob("*.ipynb"))
    for file in found:
        if _OF_OWN_PHOTOS in file.read_text(encoding="utf-8"):
            raise ValueError(f"{file}: shows photos of your own; run it as it was and publish then")
    return [file for file in found if (paths.NOTEBOOKS / file.name).is_file()]


def _publish_table(path: Path, rows: pd.DataFrame) -> list[Path]:
    before = _bytes(path)
    changed = []
    if path.stem == "experiment1":
        tables.merge_results(path, rows, supersede=True)
    else:
        tables.merge_table(path, rows, supersede=True)
    if path.stem == "experiment1_seeds":
        tex = path.with_name("experiment1.tex")
        changed += [tex] if _write(tex, latex_of_experiment1(tables.read_table(path))) else []
    return [path, *changed] if _bytes(path) != before else changed


def latex_of_experiment1(rows: pd.DataFrame) -> str:
    """Names and boxes of each dataset, split and profile in ``experiment1_seeds.csv``."""
    pieces = []
    for (dataset, split, profile), own in rows.groupby(["dataset", "split", "profile"]):
        pieces.append(f"% {dataset}, {split} split, profile {profile}")
        pieces += [latex(name, own) for name in ("experiment1", "experiment1_boxes")]
    return "\n".join(pieces)


def _publish_figures(
    source: Path, target: Path, figures: dict[str, dict[str, Any]]
) -> Iterable[Path]:
    for key, record in figures.items():
        for kind in record["sha256"]:
            if _copy(source / f"{key}.{kind}", target / f"{key}.{kind}"):
                yield target / f"{key}.{kind}"
    before = read_manifest(target)
    after = before | figures
    if after != before:
        storage.write_json(target / MANIFEST, after)
        yield target / MANIFEST


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless it is there already; whether it was not."""
    if _bytes(source) == _bytes(target):
        return False
    with storage.atomic_write(target) as aside:
        shutil.copyfile(source, aside)
    return True


def _write(path: Path, text: str) -> bool:
    if _bytes(path) == text.encode():
        return False
    storage.write_text(path, text)
    return True
