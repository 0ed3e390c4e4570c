"""The one place that knows where things lie.

Runs write below ``runs/``, their tables and figures included. What is committed, ``figures/`` and
the notebooks, is changed by :func:`thesislib.reporting.publish.publish` alone (``make publish``).
"""

import os
import re
import tomllib
from pathlib import Path


def find_root(package: Path) -> Path:
    """Folder that data, runs and figures lie in.

    ``THESIS_ROOT`` wins. Else it is the clone, if the package lies in one: if the folder above
    holds this project's ``pyproject.toml``. An installed package works in the current folder.

    Args:
        package: the folder ``thesislib``.
    """
    if asked := os.environ.get("THESIS_ROOT"):
        return Path(asked).expanduser().resolve()
    project = package.resolve().parent / "pyproject.toml"
    if project.is_file():
        about = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if about.get("name") == "thesislib":
            return project.parent
    return Path.cwd()


ROOT = find_root(Path(__file__).parent)
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"

RUNS = ROOT / "runs"
FIGURES = RUNS / "figures"
TABLES = FIGURES / "tables"
# Pictures of people of private datasets; never published.
PRIVATE_FIGURES = FIGURES / "private"

PUBLISHED = ROOT / "figures"
PUBLISHED_TABLES = PUBLISHED / "tables"


_ARCHIVE = re.compile(r"(\.tar)?\.(zip|tar|tgz|gz|tbz2?|bz2|txz|xz)$", re.IGNORECASE)


def dataset_of(photos: Path | str) -> Path:
    """Folder of the dataset that photos are made into where none is named: ``data/<its name>``.

    Args:
        photos: a folder, or an archive, whose suffix is left out.

    >>> dataset_of("Anna's photos/").name, dataset_of("people.tar.gz").name
    ("Anna's photos", 'people')
    """
    photos = Path(os.path.abspath(photos))  # of . and .. too there is a name
    return DATA / (photos.name if photos.is_dir() else _ARCHIVE.sub("", photos.name))


def synthetic(people: str) -> Path:
    """Folder of a set of synthetic people (a name in ``thesislib.synthetic.sets.SETS``)."""
    return DATA / ("synthetic" if people == "quick" else f"synthetic-{people}")
