"""The one way to save a figure, and the manifest of those saved."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from thesislib import fonts, paths, storage
from thesislib.reporting.figures.layout import problems
from thesislib.reporting.figures.style import DPI, house_style, short
from thesislib.reporting.labels import SYNTHETIC_PEOPLE, seeds_label, split_label
from thesislib.reporting.language import LANGUAGES, _, language

MANIFEST = "manifest.json"


def save(
    figure: Figure,
    name: str,
    *,
    dataset: str,
    split: str,
    notebook: str,
    data_hash: str,
    profile: str,
    seed: int | Sequence[int],
    caption: str,
    private: bool,
    faces: bool = False,
    compared: Sequence[str] = (),
) -> Path:
    """Save a figure as PDF and PNG, with its caption and where it came from in the files.

    The same figure gives the same bytes. Files go to ``<figures>/<dataset>-<split>/`` and are
    recorded in ``<figures>/manifest.json``, in Russian below ``<figures>/ru``; those that show
    faces of private people go to the private folder, of which nothing is recorded and nothing is
    published.

    Args:
        figure: what a function of this package returned.
        name: file name without suffix.
        dataset: its name.
        split: ``photo``, ``session`` or ``identity``.
        notebook: file name, in the notebooks' folder, of the notebook that draws the figure.
        data_hash: hash of the data that the figure is drawn from.
        profile: name of the profile, with what was changed in it.
        seed: of the run, or of the runs.
        caption: what the figure shows, for the manifest.
        private: ``dataset.private``: its people exist, whatever the dataset is called.
        faces: the figure shows faces.
        compared: splits that the figure compares, where it shows more than ``split``.

    Returns:
        the PNG file.
    """
    people = short(dataset, 40) if private else _(SYNTHETIC_PEOPLE)
    told = [_("profile {profile}").format(profile=profile), people]
    told += map(split_label, compared or [split])
    told.append(seeds_label([seed] if isinstance(seed, int) else seed))
    about = ", ".join(told)
    hidden = faces and private
    key = f"{dataset}-{split}/{name}"
    folder = folder_of(language())
    base = (folder / paths.PRIVATE_FIGURES.name if hidden else folder) / key
    within = {"pdf": {"Title": _(caption), "Subject": about}}
    within["png"] = {"Title": _(caption), "Description": about}
    files = {kind: base.with_name(f"{name}.{kind}") for kind in ("pdf", "png")}
    with house_style():
        faults = problems(figure)
        for kind, file in files.items():
            _write(figure, kind, file, within)
    if not hidden:
        record = {
            "notebook": notebook,
            "data_hash": data_hash,
            "profile": profile,
            "seed": seed,
            "caption": _(caption),
            "about": about,
            "private": private,
            "faces": faces,
            "problems": faults,
            "sha256": {kind: storage.bytes_hash(file) for kind, file in files.items()},
        }
        with storage.folder_lock(folder, wait=True):
            manifest = read_manifest(folder)
            manifest[key] = record
            storage.write_json(folder / MANIFEST, manifest)
    return files["png"]


def folder_of(language: str) -> Path:
    """Where figures go: those of other languages than English into a folder of their own."""
    return paths.FIGURES if language == "en" else paths.FIGURES / language


def _write(figure: Figure, kind: str, file: Path, told: dict[str, dict[str, str]]) -> None:
    # Dates and versions would make every run's files differ.
    unstamped = {"pdf": ("CreationDate", "Producer", "Creator"), "png": ("Software",)}
    smaller: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if kind == "png" else {}
    # A font with PostScript outlines, as the CJK one, is lost when embedded as TrueType.
    cjk = any(fonts.is_cjk(text.get_text()) for text in figure.findobj(Text))
    with (
        plt.rc_context({"pdf.fonttype": 3 if cjk else 42}),
        storage.atomic_write(file) as aside,
    ):
        about = dict.fromkeys(unstamped[kind]) | told[kind]
        figure.savefig(aside, dpi=DPI, metadata=about, **smaller)


def read_manifest(folder: Path | str) -> dict[str, dict[str, Any]]:
    """Records by ``<dataset>-<split>/<name>``; empty where there is no manifest."""
    path = Path(folder) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check_manifest(figures_folder: Path | str) -> list[str]:
    """Compare the figures in a folder with its manifest.

    Args:
        figures_folder: with ``manifest.json``; its folders ``private`` and of other languages are
            left out.

    Returns:
        complaints, empty where all is well: a file that is missing, that differs from its hash,
        that the manifest does not know, whose notebook is missing, or that cannot be read
        (:func:`thesislib.reporting.figures.layout.problems`).
    """
    folder = Path(figures_folder)
    complaints, known = [], set()
    for key, record in sorted(read_manifest(folder).items()):
        for kind, wanted in sorted(record["sha256"].items()):
            file = folder / f"{key}.{kind}"
            known.add(file)
            if not file.exists():
                complaints.append(f"{key}.{kind}: missing")
            elif storage.bytes_hash(file) != wanted:
                complaints.append(f"{key}.{kind}: differs from the manifest")
        complaints += [f"{key}: {told}" for told in record.get("problems", ())]
        if not (paths.NOTEBOOKS / record["notebook"]).is_file():
            complaints.append(f"{key}: its notebook {record['notebook']} is missing")
    for file in sorted(folder.rglob("*")):
        apart = file.relative_to(folder).parts[0] in (paths.PRIVATE_FIGURES.name, *LANGUAGES)
        if file.suffix in (".pdf", ".png") and not apart and file not in known:
            complaints.append(f"{file.relative_to(folder)}: not in the manifest")
    return complaints
