"""The one place that knows where things lie."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("THESIS_ROOT", Path(__file__).resolve().parents[1]))
DATA = ROOT / "data"
# The tests draw elsewhere, so that looking whether all is well changes nothing.
FIGURES = Path(os.environ.get("THESIS_FIGURES", ROOT / "figures"))
TABLES = FIGURES / "tables"
# Results on photos that not everybody has are read from what is committed, wherever one draws.
COMMITTED_TABLES = ROOT / "figures" / "tables"
# Pictures of real people are drawn here; the folder is never committed.
PRIVATE_FIGURES = FIGURES / "private"
RUNS = ROOT / "runs"
NOTEBOOKS = ROOT / "notebooks"


def synthetic(people: str) -> Path:
    """Folder of a set of synthetic people (a name in ``synthetic_sets.SETS``)."""
    return DATA / ("synthetic" if people == "quick" else f"synthetic-{people}")
