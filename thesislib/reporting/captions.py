"""The page of all figures: caption, notebook, command and table of each."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thesislib.reporting.language import N_, _, ngettext

# By notebook: what computes its numbers, and the tables that they are in.
_SOURCES = {
    "01_data_preparation": ("data, stand-in", "stand_in*.csv"),
    "02_joint_training": ("train, recogniser", "training.csv, recogniser*.csv"),
    "03_baseline_comparison": (
        "experiment1, compare, benchmark",
        "experiment1*.csv, benchmark*.csv",
    ),
    "04_transfer_learning": ("experiment2", "experiment2*.csv"),
    "05_embeddings": ("experiment3", "experiment3*.csv"),
    "06_your_own_photos": ("recognise, face-sizes", "face_sizes.csv"),
}
_HEAD = N_(
    "Drawn from the tables in `figures/tables/` by the notebook named behind each caption, all of "
    "them by `make figures`; PDFs lie beside the pictures. A section's name is the dataset and the "
    "split."
)


def page(manifest: Mapping[str, Mapping[str, Any]], picture: str, notebook: str) -> str:
    """Every published figure with its caption and where it comes from, as Markdown.

    Args:
        manifest: by ``<dataset>-<split>/<name>``, as
            :func:`thesislib.reporting.figures.save.save` records them.
        picture: link to a figure's picture, with ``{name}`` for its key.
        notebook: link to a notebook, with ``{name}`` for its name without suffix.
    """
    heading = _("Figures")
    lines, group = [f"# {heading}", "", *textwrap.wrap(_(_HEAD), 100)], None
    for key, about in sorted(manifest.items()):
        section, name = key.split("/", 1)
        if section != group:
            group = section
            lines += ["", f"## {section}"]
        caption, drawn_by = about["caption"], Path(about["notebook"]).stem
        commands, tables = _SOURCES.get(drawn_by, ("", ""))
        lines += ["", f"### {name}", "", f"![{caption}]({picture.format(name=key)})", ""]
        told = f"{caption} [{drawn_by}]({notebook.format(name=drawn_by)})"
        if commands:
            told += f"; `thesislib {commands}`; `{tables}`"
        profile = _("profile {profile}").format(profile=about["profile"])
        lines.append(f"{told}; {profile}, {_seeds(about['seed'])}.")
    return "\n".join(lines) + "\n"


def _seeds(seed: int | list[int]) -> str:
    told = [seed] if isinstance(seed, int) else seed
    text = ngettext("seed {seeds}", "seeds {seeds}", len(told))
    return text.format(seeds=", ".join(map(str, told)))
