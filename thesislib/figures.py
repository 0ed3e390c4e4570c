"""Every figure of the project, drawn from tables, and the one way to save one.

A plot function takes tables, returns a figure and draws no conclusion: what is shown is in the
table. Widths are those of a page; a system has the same colour in every figure. As with pyplot's
own functions, the figure stays open until ``plt.show()`` or ``plt.close()``.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyBboxPatch, Polygon, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from thesislib import paths, storage
from thesislib.results import SPLITS, SYSTEM_LABELS, SYSTEMS, THESIS_EXPERIMENT1, THESIS_PEOPLE

STYLE = Path(__file__).parent / "thesis.mplstyle"
COLUMN, TEXT = 3.3, 6.9  # inches: one column of a page, and its whole text
DPI = 200
MANIFEST = "manifest.json"

# The two-stage systems share a detector: where their curves coincide, dashes show both.
DASHES = {"two_stage_face": (0, (2.5, 1.5))}
# Okabe and Ito's colours. Systems and verdicts share none.
COLOURS = {"joint": "#0072B2", "two_stage_photo": "#E69F00", "two_stage_face": "#CC79A7"}
TRUTH, RIGHT, WRONG = "#F0E442", "#009E73", "#D55E00"
GREY, PALE = "#777777", "#DDDDDD"
_LOSSES = {"box": "#D55E00", "confidence": "#009E73", "no_object": "#56B4E9", "identity": "#000000"}
_STAGES = {
    "detector": "#56B4E9",
    "preprocess": "#BBBBBB",
    "network": "#0072B2",
    "classifier": "#009E73",
    "postprocess": "#555555",
}
_INTERVALS = {
    "accuracy": "accuracy",
    "joint_accuracy_50": "joint accuracy\nIoU ≥ 0.5",
    "joint_accuracy_75": "joint accuracy\nIoU ≥ 0.75",
    "mean_iou_calibrated": "mean IoU,\ncalibrated",
    "upper_bound_accuracy": "name right,\nboxes given",
}
_NAMED = ("accuracy", "joint_accuracy_50", "upper_bound_accuracy")
# name in error_split's table, heading, colour
_VERDICTS = (
    ("right", "right", RIGHT),
    ("box", "right\nperson,\nIoU < 0.5", TRUTH),
    ("place", "wrong\nperson, right\nat true box", "#56B4E9"),
    ("identification", "wrong\nperson, also\nat true box", WRONG),
    ("missed", "not found", "#AAAAAA"),
)
_MIDDLE = {"ha": "center", "va": "center"}
_OUTLINE = [patheffects.withStroke(linewidth=1.9, foreground="#222222")]


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style, whatever style the notebook has."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with plt.style.context(STYLE):
            figure = draw(*args, **kwargs)
            # Ticks are made at the first drawing, in the style of that moment.
            figure.draw_without_rendering()
        return figure

    return drawn


def in_order(values: Sequence, order: Sequence) -> list:
    """The distinct values: those known to ``order`` first, in that order, then the others."""
    present = list(dict.fromkeys(values))
    return [v for v in order if v in present] + [v for v in present if v not in order]


def _label(system: str) -> str:
    return SYSTEM_LABELS.get(system, system)


def _line(system: str) -> dict:
    return {"color": _colour(system), "linestyle": DASHES.get(system, "-")}


def _colour(system: str) -> str:
    return COLOURS.get(system, GREY)


def log_ticks(axis: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers: decades, and steps between where few.

    Args:
        axis: with its limits set.
    """
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    span = high / low
    steps = (1, 2, 5) if span > 8 else (1, 1.5, 2, 3, 5, 7)
    if span > 300:
        steps = (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=steps))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


# --- saving ---------------------------------------------------------------------------------------


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
    faces: bool = False,
) -> Path:
    """Save a figure as PDF and PNG, with where it came from printed below it.

    The same figure gives the same bytes. Files go to ``<figures>/<dataset>-<split>/`` and are
    recorded in ``<figures>/manifest.json``; pictures of real people go to the private folder, of
    which nothing is recorded.

    Args:
        figure: what a function of this module returned.
        name: file name without suffix.
        dataset: its name; of people who do not exist if it begins with "synthetic".
        split: ``photo`` or ``session``.
        notebook: file name, in the notebooks' folder, of the notebook that draws the figure.
        data_hash: hash of the data that the figure is drawn from.
        profile: name of the profile.
        seed: of the run, or of the runs.
        caption: what the figure shows, for the manifest.
        faces: the figure shows faces.

    Returns:
        the PNG file.
    """
    people = "synthetic people" if dataset.startswith("synthetic") else dataset
    runs = f"seed {seed}" if isinstance(seed, int) else f"seeds {', '.join(map(str, seed))}"
    private = faces and not dataset.startswith("synthetic")
    key = f"{dataset}-{split}/{name}"
    base = (paths.PRIVATE_FIGURES if private else paths.FIGURES) / key
    files = {kind: base.with_name(f"{name}.{kind}") for kind in ("pdf", "png")}
    # Dates and versions would make every run's files differ.
    unstamped = {"pdf": ("CreationDate", "Producer", "Creator"), "png": ("Software",)}
    with plt.style.context(STYLE):
        # A figure has one such label, so a second save replaces the first one's.
        figure.supxlabel(
            f"profile {profile}, {people}, {split} split, {runs}",
            x=0.995,
            ha="right",
            fontsize=6.5,
            color=GREY,
        )
        for kind, file in files.items():
            metadata = dict.fromkeys(unstamped[kind])
            with storage.written_aside(file) as aside:
                smaller = {"pil_kwargs": {"optimize": True}} if kind == "png" else {}
                figure.savefig(aside, dpi=DPI, metadata=metadata, **smaller)
    if not private:
        record = {
            "notebook": notebook,
            "data_hash": data_hash,
            "profile": profile,
            "seed": seed,
            "caption": caption,
            "sha256": {kind: storage.bytes_hash(file) for kind, file in files.items()},
        }
        with storage.folder_lock(paths.FIGURES, wait=True):
            manifest = read_manifest(paths.FIGURES)
            manifest[key] = record
            storage.write_json(paths.FIGURES / MANIFEST, manifest)
    return files["png"]


def read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def check_manifest(figures_folder: Path | str) -> list[str]:
    """Compare the figures in a folder with its manifest.

    Args:
        figures_folder: with ``manifest.json``; its folder ``private`` is left out.

    Returns:
        complaints, empty where all is well: a file that is missing, that differs from its hash,
        that the manifest does not know, or whose notebook is missing.
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
        if not (paths.NOTEBOOKS / record["notebook"]).is_file():
            complaints.append(f"{key}: its notebook {record['notebook']} is missing")
    for file in sorted(folder.rglob("*")):
        private = file.relative_to(folder).parts[0] == paths.PRIVATE_FIGURES.name
        if file.suffix in (".pdf", ".png") and not private and file not in known:
            complaints.append(f"{file.relative_to(folder)}: not in the manifest")
    return complaints


# --- photos ---------------------------------------------------------------------------------------


def _photo_grid(photos: Sequence[np.ndarray], columns: int, title_inches: float):
    """A figure with one axis a photo, each photo drawn in it; boxes keep the photo's pixels."""
    if not len(photos):
        raise ValueError("photos: empty")
    columns = min(columns, len(photos))
    rows = -(-len(photos) // columns)
    # A few photos are not blown up to the page's width.
    width = min(TEXT, columns * 2.3)
    cell = width / columns
    aspect = float(np.median([photo.shape[0] / photo.shape[1] for photo in photos]))
    height = rows * (cell * aspect + title_inches) + 0.15
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    printed = (cell - 0.04) * DPI
    for axis in axes.flat:
        axis.axis("off")
    for axis, photo in zip(axes.flat, photos, strict=False):
        tall, wide = photo.shape[:2]
        # The pixels that are printed, no more, in 32 tones a channel: a page of photos takes a
        # third of the bytes.
        scale = min(printed / wide, printed * aspect / tall)
        size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
        small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
        small = np.minimum((small.astype(int) + 4) // 8 * 8, 255).astype(np.uint8)
        axis.imshow(small, extent=(0, wide, tall, 0), interpolation="nearest")
    return figure, list(axes.flat[: len(photos)])


def _draw_box(axis: Axes, box: np.ndarray, colour: str, dashed: bool = False) -> None:
    axis.add_patch(
        Rectangle(
            (box[0], box[1]),
            box[2] - box[0],
            box[3] - box[1],
            fill=False,
            edgecolor=colour,
            linewidth=1.0,
            linestyle=(0, (3, 2)) if dashed else "-",
            path_effects=None if dashed else _OUTLINE,
        )
    )


@styled
def contact_sheet(
    photos: list[np.ndarray], boxes: list[np.ndarray], titles: list[str], columns: int = 6
) -> Figure:
    """Photos with their ground-truth boxes.

    Args:
        photos: uint8 [H, W, 3] RGB, of any sizes; about 24 fill a page.
        boxes: per photo [F, 4] pixels of that photo; F may be 0.
        titles: per photo a short line above it; cut where too long.
        columns: photos in a row.

    Raises:
        ValueError: no photos, or lists of different lengths.
    """
    figure, axes = _photo_grid(photos, columns, title_inches=0.17)
    for axis, one, title in zip(axes, boxes, titles, strict=True):
        axis.set_title(short(title, 132 // columns), fontsize=7, pad=2)
        for box in one:
            _draw_box(axis, box, TRUTH)
    return figure


@styled
def detections(photos: list[np.ndarray], faces: pd.DataFrame, columns: int = 4) -> Figure:
    """Photos with what a system found: green where the person is right, vermilion where wrong.

    Boxes are the system's own, not calibrated; ground-truth boxes are dashed. A wrong name has the
    right one below it, and a face that was not found says so.

    Args:
        photos: uint8 [H, W, 3] RGB, in the order in which the table first names each.
        faces: one system's rows of ``experiment1_faces.csv``: ``photo, identity,
            predicted_identity, found``, ``x1 ... y2`` and ``true_x1 ... true_y2`` in pixels.
        columns: photos in a row.

    Raises:
        ValueError: no photos, or not as many as the table names.
    """
    figure, axes = _photo_grid(photos, columns, title_inches=0.02)
    corners = ["x1", "y1", "x2", "y2"]
    for axis, (_, rows) in zip(axes, faces.groupby("photo", sort=False), strict=True):
        for _, face in rows.iterrows():
            truth = face[[f"true_{corner}" for corner in corners]].to_numpy(float)
            right = face["found"] and face["predicted_identity"] == face["identity"]
            colour = RIGHT if right else WRONG
            box = truth
            text = f"not found: {short(face['identity'])}"
            if face["found"]:
                box = face[corners].to_numpy(float)
                _draw_box(axis, box, colour)
                text = short(face["predicted_identity"], 22)
                if not right:
                    text += f"\nis {short(face['identity'] or 'unknown', 19)}"
            _draw_box(axis, truth, TRUTH, dashed=True)
            _name_box(axis, box, text, colour)
    handles = [
        Line2D([], [], color=RIGHT, label="right person"),
        Line2D([], [], color=WRONG, label="wrong person, or not found"),
        Line2D([], [], color="#C8B900", linestyle=(0, (3, 2)), label="ground truth"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7.5)
    width, height = figure.get_size_inches()
    figure.set_size_inches(max(width, 3.9), height + 0.2)  # the legend needs as much
    return figure


def _name_box(axis: Axes, box: np.ndarray, text: str, colour: str) -> None:
    """Write a name at a box: above it, else below it, and never past the photo's sides."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    lines = text.count("\n") + 1
    inches = (
        axis.figure.get_size_inches()[0] * axis.get_subplotspec().get_position(axis.figure).width
    )
    line = 0.125 / inches * (right - left)  # the height of a line, in the photo's pixels
    y, va = box[1] - 0.15 * line, "bottom"
    if y - lines * line < top:
        y, va = box[3] + 0.15 * line, "top"
    if va == "top" and y + lines * line > bottom:
        y = bottom - lines * line
    middle = (box[0] + box[2]) / 2
    reach = max(len(part) for part in text.split("\n")) * 0.055 / inches * (right - left) / 2
    x = min(max(middle, left + reach), max(right - reach, left + reach))
    axis.text(
        x,
        y,
        text,
        ha="center",
        va=va,
        color="white",
        fontsize=6.5,
        linespacing=1.05,
        clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0},
    )


# --- data and network -----------------------------------------------------------------------------


@styled
def box_statistics(boxes: pd.DataFrame, anchors: np.ndarray, input_px: int) -> Figure:
    """How large the faces are and where they lie: what anchors and grid have to serve.

    Args:
        boxes: one row a face: ``width, height`` of its photo and ``x1, y1, x2, y2``, pixels.
        anchors: float [A, 2], width and height in pixels of the network's input.
        input_px: shorter side of a photo in the network.
    """
    shorter = boxes[["width", "height"]].min(axis=1)
    wide, tall = boxes["x2"] - boxes["x1"], boxes["y2"] - boxes["y1"]
    scale = input_px / shorter
    figure, (sizes, places, shares) = plt.subplots(
        1, 3, figsize=(TEXT, 2.4), gridspec_kw={"width_ratios": [1, 1.1, 1]}
    )

    sizes.scatter(
        wide * scale, tall * scale, s=3, color=GREY, alpha=0.35, linewidth=0, rasterized=True
    )
    for w, h in np.asarray(anchors):
        sizes.add_patch(
            Rectangle((0, 0), w, h, fill=False, edgecolor=WRONG, linewidth=0.9, linestyle="--")
        )
        sizes.plot(w, h, "x", color=WRONG, markersize=6, markeredgewidth=1.6)
    sizes.text(
        0.04,
        1.0,
        "\n".join(["anchors", *(f"{w:.0f} × {h:.0f}" for w, h in np.asarray(anchors))]),
        transform=sizes.transAxes,
        va="top",
        color=WRONG,
        fontsize=7.5,
        linespacing=1.0,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )
    most = 1.08 * max((wide * scale).max(), (tall * scale).max(), np.max(anchors))
    sizes.set(xlim=(0, most), ylim=(0, most))
    sizes.set(xlabel=f"width, px at {input_px} px", ylabel="height, px", title="boxes and anchors")

    x = (boxes["x1"] + boxes["x2"]) / 2 / boxes["width"]
    y = (boxes["y1"] + boxes["y2"]) / 2 / boxes["height"]
    counts, *_ = np.histogram2d(y, x, bins=20, range=[[0, 1], [0, 1]])
    aspect = float((boxes["height"] / boxes["width"]).median())
    picture = places.imshow(
        counts / len(boxes) * 100,
        extent=(0, 1, 1, 0),
        cmap="Blues",
        vmin=0,
        aspect=aspect,
        interpolation="nearest",
    )
    places.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], title="face centres")
    places.set(xlabel="share of photo's width", ylabel="share of height")
    bar = figure.colorbar(picture, ax=places, shrink=0.75, aspect=15, pad=0.03)
    bar.set_label("% of faces", fontsize=7.5)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)

    shares.hist(np.sqrt(wide * tall) / shorter, bins=30, color="#56B4E9", edgecolor="white", lw=0.3)
    shares.set(
        xlabel="share of photo's shorter side", ylabel="faces", title="face size (root of area)"
    )
    shares.set_xlim(left=0)
    return figure


@styled
def dataset_overview(people: pd.DataFrame, looks: pd.DataFrame) -> Figure:
    """People, sittings, shapes of boxes and brightness: what one asks of a dataset first.

    Args:
        people: one row a known person: ``photos`` and ``sessions``, how many.
        looks: one row a photo: ``part`` (``train`` or ``test``), ``brightness`` in 0–1 and
            ``box_shape``, width by height of the largest face, NaN without a face.
    """
    figure, axes = plt.subplots(1, 4, figsize=(TEXT, 2.0))
    counted, sittings, shapes, light = axes
    for axis, name in ((counted, "photos"), (sittings, "sessions")):
        values = people[name].to_numpy()
        low, high = int(values.min()), int(values.max())
        step = max(1, -(-(high - low + 1) // 24))
        edges = np.arange(low, high + step + 1, step) - 0.5
        axis.hist(values, bins=edges, color="#56B4E9", edgecolor="white", lw=0.3)
        axis.set(xlim=(min(0, low) - 0.5, 1.15 * high + 0.5), ylabel="people")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    counted.set(title="photos a person", xlabel="photos")
    sittings.set(title="sittings a person", xlabel="sittings")
    shape = looks["box_shape"].dropna()
    shapes.hist(shape, bins=30, color="#56B4E9", edgecolor="white", lw=0.3)
    shapes.set(title="shape of boxes", xlabel="width / height", ylabel="photos")
    edges = np.linspace(0, 1, 26)
    for part, colour in (("train", "#0072B2"), ("test", WRONG)):
        values = looks.loc[looks["part"] == part, "brightness"]
        shares = np.histogram(values, edges)[0] / max(1, len(values)) * 100
        light.stairs(shares, edges, color=colour, label=part, linewidth=1.2)
    light.set(title="brightness", xlabel="mean grey value", ylabel="% of the part", xlim=(0, 1))
    light.legend(loc="upper right", fontsize=7, handlelength=1.2)
    return figure


_PROBES = {
    "linear_classifier_on_background": "linear classifier,\nbackground alone",
    "linear_classifier_on_photo": "linear classifier,\nwhole photo",
    "joint_accuracy_50": "joint net",
}


@styled
def stand_in(table: pd.DataFrame, yaw: pd.DataFrame, real: pd.DataFrame) -> Figure:
    """Whether synthetic people are a fair stand-in for real ones.

    Left, the share of heads that dlib's detector finds as they turn; right, how many faces are
    named rightly by what, within and across sittings, with 95 % intervals, beside the joint net
    on real people.

    Args:
        table: ``stand_in.csv``: ``measure, split, value, low, high, chance``; shares in 0–1.
        yaw: ``stand_in_yaw.csv``: ``yaw`` in degrees, ``found, low, high``; shares in 0–1.
        real: rows of ``experiment1.csv`` of the joint net's ``joint_accuracy_50`` on one dataset
            of real people: ``dataset, split, value, low, high``; may be empty.
    """
    figure, (turned, named) = plt.subplots(
        1, 2, figsize=(TEXT, 2.5), gridspec_kw={"width_ratios": [1, 1.5]}
    )
    turned.axvspan(-30, 30, color=PALE, linewidth=0, alpha=0.6)
    turned.axhline(90, color=GREY, linewidth=0.7, linestyle=":")
    turned.fill_between(
        yaw["yaw"], 100 * yaw["low"], 100 * yaw["high"], color="#56B4E9", alpha=0.35, linewidth=0
    )
    turned.plot(yaw["yaw"], 100 * yaw["found"], "o-", color="#0072B2", markersize=3)
    turned.set(xticks=[-60, -30, 0, 30, 60], ylim=(0, 103), xlim=(-63, 63))
    turned.set(xlabel="head turned, degrees", ylabel="found by dlib, %", title="detection")

    lines = [(_PROBES[name], table[table["measure"] == name]) for name in _PROBES]
    if len(real):
        lines.append((f"joint net,\n{real['dataset'].iloc[0]} (real people)", real))
    chance = 100 * float(table["chance"].dropna().iloc[0])
    style = {"photo": ("#0072B2", -0.16), "session": (WRONG, 0.16)}
    for at, (_, rows) in enumerate(lines):
        for row in rows.itertuples():
            colour, shift = style[row.split]
            y = at + shift
            named.plot([100 * row.low, 100 * row.high], [y, y], color=colour, linewidth=1.5)
            named.plot(100 * row.value, y, "o", color=colour, markersize=4.5)
    # Chance is that of the synthetic people; real ones are more.
    top = len(_PROBES) - 0.5
    for times, dash in ((1, "-"), (3, ":")):
        named.plot([times * chance] * 2, [-0.5, top], color=GREY, linewidth=0.8, linestyle=dash)
        label = "chance" if times == 1 else "3 ×"
        named.text(times * chance, -0.58, label, ha="center", va="bottom", fontsize=6.5, color=GREY)
    named.set(ylim=(len(lines) - 0.4, -0.5), xlim=(0, 101), xlabel="faces named rightly, %")
    named.set_yticks(range(len(lines)), [label for label, _ in lines], fontsize=7.5)
    named.tick_params(axis="y", length=0)
    named.grid(axis="x")
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"{split} split")
        for split, (colour, _) in style.items()
    ]
    named.legend(
        handles=handles, loc="lower right", fontsize=7, bbox_to_anchor=(1.0, 0.98), ncols=2
    )
    return figure


class _Drawing:
    """Shapes of a diagram, in inches on one axis."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = plt.figure(figsize=(width, height))
        self.axis = self.figure.add_subplot()
        self.axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axis.axis("off")
        self.figure.get_layout_engine().set(w_pad=0, h_pad=0)

    def text(self, x: float, y: float, text: str, **style) -> None:
        self.axis.text(x, y, text, **{**_MIDDLE, "fontsize": 7.5, "linespacing": 1.0} | style)

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through the points, with a head at the last."""
        xs, ys = zip(*points, strict=True)
        self.axis.plot(xs[:-1], ys[:-1], color="#333333", linewidth=0.8, solid_joinstyle="miter")
        self.axis.annotate(
            "",
            points[-1],
            points[-2],
            arrowprops={
                "arrowstyle": "-|>,head_width=0.18,head_length=0.35",
                "color": "#333333",
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )

    def block(self, x: float, y: float, w: float, h: float, text: str, colour: str) -> None:
        """A rounded box with text, its centre at (x, y)."""
        self.axis.add_patch(
            FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=colour,
                edgecolor="#333333",
                linewidth=0.7,
            )
        )
        self.text(x, y, text)

    def cuboid(self, x: float, y: float, side: float, depth: float, cells: int, colour: str):
        """A tensor seen from the front, its front face centred at (x, y), with its cells."""
        left, bottom = x - side / 2, y - side / 2
        style = {"edgecolor": "#333333", "linewidth": 0.7, "joinstyle": "round"}
        lift = 0.5 * depth
        right, top = left + side, bottom + side
        over = [(left, top), (left + depth, top + lift), (right + depth, top + lift), (right, top)]
        beside = [(right, bottom), (right + depth, bottom + lift), over[2], (right, top)]
        for corners, alpha in ((over, 0.5), (beside, 0.75)):  # lit from above
            self.axis.add_patch(Polygon(corners, facecolor=to_rgba(colour, alpha), **style))
        self.axis.add_patch(Rectangle((left, bottom), side, side, facecolor=colour, **style))
        for cell in np.linspace(0, side, cells + 1)[1:-1]:
            line = {"color": "white", "linewidth": 0.5}
            self.axis.plot([left + cell] * 2, [bottom + 0.01, top - 0.01], **line)
            self.axis.plot([left + 0.01, right - 0.01], [bottom + cell] * 2, **line)

    def rows(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A table with one row a box, its middle rows left out."""
        count, left, bottom = 6, x - width / 2, y - height / 2
        for at in range(count):
            if at == count - 2:
                self.text(x, bottom + 1.5 * height / count, "⋮", fontsize=7)
                continue
            corner = (left, bottom + (count - 1 - at) * height / count)
            style = {"facecolor": colour, "edgecolor": "#333333", "linewidth": 0.6}
            self.axis.add_patch(Rectangle(corner, width, height / count, **style))

    def photo(self, x: float, y: float, side: float, cells: int, answered: bool) -> None:
        """A drawn photo of two people: under the grid, or with boxes and names."""
        left, bottom = x - side / 2, y - side / 2
        frame = Rectangle((left, bottom), side, side, facecolor="#EAF1F5", edgecolor="none")
        self.axis.add_patch(frame)
        people = (  # the one further back first
            ("Bob", 0.73, 0.6, 0.14, "#8D5B3F", "#222222", "#E9D5A1"),
            ("Ann", 0.31, 0.46, 0.2, "#C58C6D", "#5B3A29", "#7FB2D1"),
        )
        for name, px, py, size, skin, hair, shirt in people:
            cx, cy, s = left + px * side, bottom + py * side, size * side
            shapes = (
                Ellipse((cx, cy - 2.35 * s), 3.4 * s, 2.9 * s, facecolor=shirt),
                Rectangle((cx - 0.3 * s, cy - 1.4 * s), 0.6 * s, 0.9 * s, facecolor=skin),
                Ellipse((cx, cy + 0.2 * s), 1.75 * s, 2.2 * s, facecolor=hair),
                Ellipse((cx, cy - 0.05 * s), 1.45 * s, 1.95 * s, facecolor=skin),
            )  # fmt: skip
            for shape in shapes:
                shape.set_edgecolor("none")
                shape.set_clip_path(frame)
                self.axis.add_patch(shape)
                shape.set_clip_path(frame)
            if answered:
                x1, y1 = cx - 0.95 * s, cy - 1.2 * s
                self.axis.add_patch(
                    Rectangle((x1, y1), 1.9 * s, 2.4 * s, fill=False, edgecolor=RIGHT, lw=1.2)
                )
                self.text(
                    cx,
                    cy + 1.2 * s + 0.06,
                    name,
                    fontsize=6.5,
                    color="white",
                    bbox={"facecolor": RIGHT, "edgecolor": "none", "pad": 0.7},
                )
        if not answered:
            for cell in np.linspace(0, side, cells + 1)[1:-1]:
                line = {"color": "white", "linewidth": 0.7, "alpha": 0.9}
                self.axis.plot([left + cell] * 2, [bottom, bottom + side], **line)
                self.axis.plot([left, left + side], [bottom + cell] * 2, **line)
        self.axis.add_patch(
            Rectangle((left, bottom), side, side, fill=False, edgecolor="#333333", linewidth=0.7)
        )


@styled
def network_scheme(
    input_px: int,
    backbone: str,
    grid: int,
    cell: int,
    anchors: int,
    embedding_dim: int,
    identities: int,
) -> Figure:
    """The joint net, from photo to answer, with the shape of every tensor.

    Args:
        input_px: side of the square photo that is drawn.
        backbone: a name in ``thesislib.model.BACKBONES``.
        grid: cells a side.
        cell: side of a cell in pixels.
        anchors: how many, A.
        embedding_dim: length of an embedding.
        identities: how many people the classifier knows.
    """
    channels = 2048 if backbone == "resnet50" else 512
    pooling = cell // 32
    places = anchors * grid * grid
    green, blue, orange, steel = "#8FD0B9", "#9CC8E3", "#F5CE7F", "#C9D3DA"
    d = _Drawing(TEXT, 2.4)
    up, low = 1.95, 0.73
    mid = (up + low) / 2
    below = 0.29  # from the middle of a tensor to the text under it

    d.photo(0.5, mid, 0.9, grid, answered=False)
    d.text(0.5, mid - 0.52, f"photo\n{input_px} × {input_px} × 3", va="top")

    # The backbone narrows: space becomes channels.
    x1, x2 = 1.13, 1.67
    corners = [(x1, mid - 0.45), (x1, mid + 0.45), (x2, mid + 0.27), (x2, mid - 0.27)]
    d.axis.add_patch(Polygon(corners, facecolor=steel, edgecolor="#333333", linewidth=0.7))
    d.text((x1 + x2) / 2, mid, backbone.replace("resnet", "ResNet\n"))
    pooled = f"{pooling} × {pooling} pooling" if pooling > 1 else "no pooling"
    d.text((x1 + x2) / 2, mid - 0.52, f"stride 32,\n{pooled}", va="top")
    d.arrow((0.97, mid), (x1, mid))

    d.cuboid(2.12, mid, 0.42, 0.2, grid, steel)
    d.text(2.17, mid - 0.52, f"feature map\n{grid} × {grid} × {channels}", va="top")
    d.arrow((x2, mid), (1.9, mid))

    d.arrow((2.54, mid), (2.69, mid), (2.69, up), (2.83, up))
    d.arrow((2.69, mid), (2.69, low), (2.83, low))
    d.block(3.13, up, 0.58, 0.46, "regression\nhead\n1 × 1", green)
    d.block(3.13, low, 0.58, 0.46, "embedding\nhead\n1 × 1", blue)

    d.arrow((3.42, up), (3.62, up))
    d.cuboid(3.84, up, 0.42, 0.1, grid, green)
    d.text(3.88, up - below, f"offsets, confidence\n{grid} × {grid} × ({anchors} · 5)", va="top")
    d.arrow((4.16, up), (4.4, up))
    d.block(4.68, up, 0.56, 0.46, "decode at\ncells and\nanchors", "white")
    d.arrow((4.96, up), (5.13, up))
    d.rows(5.38, up, 0.5, 0.42, green)
    d.text(5.38, up - below, f"boxes, confidence\n{places} × 5", va="top")

    d.arrow((3.42, low), (3.62, low))
    d.cuboid(3.84, low, 0.42, 0.24, grid, blue)
    d.text(
        3.9, low - below, f"embeddings\n{grid} × {grid} × ({anchors} · {embedding_dim})", va="top"
    )
    d.arrow((4.3, low), (4.4, low))
    d.block(4.68, low, 0.56, 0.46, "classifier\nConv3d\n1 × 1 × 1", orange)
    d.arrow((4.96, low), (5.13, low))
    d.cuboid(5.35, low, 0.42, 0.14, grid, orange)
    d.text(5.38, low - below, f"identities\n{grid} × {grid} × ({anchors} · {identities})", va="top")

    d.arrow((5.65, up), (5.98, up), (5.98, mid + 0.17))
    d.arrow((5.72, low), (5.98, low), (5.98, mid - 0.17))
    d.block(5.98, mid, 0.34, 0.34, "NMS", "white")
    d.arrow((6.15, mid), (6.28, mid))
    d.photo(6.57, mid, 0.58, grid, answered=True)
    d.text(6.57, mid - 0.36, "boxes, scores,\nidentities,\nembeddings", va="top")
    return d.figure


# --- training -------------------------------------------------------------------------------------


@styled
def training_curves(training: pd.DataFrame) -> Figure:
    """Losses of the joint net, and how well each system learns its people.

    The right panel shows accuracy on training batches, or the identity loss where some system
    has no accuracy.

    Args:
        training: one experiment's rows of ``training.csv``: ``system, epoch, metric, value``.
    """
    training = training.dropna(subset="value")
    systems = in_order(training["system"], SYSTEMS)
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT, 2.4))
    joint = training[training["system"] == "joint"]
    for metric, colour in _LOSSES.items():
        rows = joint[joint["metric"] == metric]
        if len(rows):
            left.plot(rows["epoch"], rows["value"], color=colour, label=metric.replace("_", " "))
    left.set(xlabel="epoch", ylabel="loss", title="joint net: terms of the loss, unweighted")
    if left.lines:
        left.set_yscale("log")
        left.legend(loc="upper left", bbox_to_anchor=(1, 1))
    else:
        left.text(0.5, 0.5, "not trained", ha="center", color=GREY, transform=left.transAxes)
        left.axis("off")

    metrics = training.groupby("system")["metric"].agg(set)
    exact = len(metrics) > 0 and all("identity_accuracy" in names for names in metrics)
    wanted = "identity_accuracy" if exact else "identity"
    for system in systems:
        rows = training[(training["system"] == system) & (training["metric"] == wanted)]
        values = rows["value"] * (100 if exact else 1)
        right.plot(rows["epoch"], values, **_line(system), label=_label(system))
    if exact:
        right.set(ylim=(0, 102), ylabel="accuracy, %", title="identity, on training batches")
    else:
        right.set(yscale="log", ylabel="cross-entropy", title="identity loss")
    right.set(xlabel="epoch")
    right.legend(loc="best")
    for axis in (left, right):
        axis.grid(axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


# --- results --------------------------------------------------------------------------------------


@styled
def experiment1_intervals(results: pd.DataFrame) -> Figure:
    """Shares of Experiment 1 with their 95 % intervals, beside the thesis's own numbers.

    The thesis measured other photos, so its numbers stand in a row of their own, hollow; its mean
    IoU is that of boxes as they came, without calibration. Each seed has a line, in their order.

    Args:
        results: rows of ``experiment1.csv``: ``dataset, split, profile, seed, system, metric,
            value, low, high``; shares in 0–1. Metrics that are not shown are passed over.
    """
    rows = results[results["metric"].isin(_INTERVALS)]
    groups = list(rows.groupby(["dataset", "split", "profile"], sort=False))
    groups.sort(key=lambda group: (group[0][0], SPLITS.index(group[0][1]), group[0][2]))

    # One lane a system and seed; a row of lanes a dataset, split and profile; the thesis on top,
    # which split by photo: beside another split it would only stretch the axis.
    with_thesis = (rows["split"] == "photo").any()
    lanes_of_thesis = {"joint": (0, "joint"), "two-stage": (1, "two_stage_photo")}
    shown_of_thesis = {"accuracy": "accuracy", "mean_iou": "mean_iou_calibrated"}
    points, edges, ticks = [], [], []
    if with_thesis:
        ticks.append((0.5, f"the thesis\n{THESIS_PEOPLE} people"))
    for row in THESIS_EXPERIMENT1.itertuples():
        if with_thesis and row.metric in shown_of_thesis:
            lane, system = lanes_of_thesis[row.system]
            points.append((shown_of_thesis[row.metric], lane, system, row.value, np.nan, np.nan))
    y = 1.0 if with_thesis else -2.0
    for (dataset, split, profile), group in groups:
        edges.append(y + 1)
        y += 2
        lanes = sorted(
            {(system, seed) for system, seed in zip(group["system"], group["seed"], strict=True)},
            key=lambda lane: (in_order(group["system"], SYSTEMS).index(lane[0]), lane[1]),
        )
        ticks.append((y + (len(lanes) - 1) / 2, f"{dataset}\n{split} split, {profile}"))
        for system, seed in lanes:
            own = group[(group["system"] == system) & (group["seed"] == seed)]
            points += [
                (row.metric, y, system, row.value, row.low, row.high) for row in own.itertuples()
            ]
            y += 1
        y += max(0, 2 - len(lanes)) - 1  # two lines of label need two lanes
    height = 0.155 * (y + 2) + 0.95
    figure, axes = plt.subplots(1, len(_INTERVALS), figsize=(TEXT, height), sharey=True)
    table = pd.DataFrame(points, columns=["metric", "y", "system", "value", "low", "high"])
    for axis, (metric, title) in zip(axes, _INTERVALS.items(), strict=True):
        own = table[table["metric"] == metric]
        for row in own.itertuples():
            colour, hollow = _colour(row.system), with_thesis and row.y <= 1
            if np.isfinite(row.low):
                axis.plot([100 * row.low, 100 * row.high], [row.y] * 2, color=colour, lw=1.5)
            axis.plot(
                100 * row.value,
                row.y,
                "o",
                color=colour,
                markersize=4.5,
                markerfacecolor="white" if hollow else colour,
                markeredgewidth=1.1,
            )
        # Shares of names have one axis, to be compared; where few boxes are good, another.
        alike = _NAMED if metric in _NAMED and len(own) else (metric,)
        shown = 100 * table.loc[table["metric"].isin(alike), ["value", "low", "high"]].to_numpy()
        shown = shown[np.isfinite(shown)]
        if len(shown):
            for edge in edges:
                axis.axhline(edge, color=PALE, linewidth=0.6)
            room = max(1.0, 0.08 * np.ptp(shown))
            axis.set_xlim(shown.min() - room, min(shown.max() + room, 101))
            axis.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
            axis.set_xlabel("%")
        else:
            axis.set(xlim=(0, 1), xticks=[])
            axis.text(0.5, y / 2, "not measured", **_MIDDLE, color=GREY)
        axis.grid(axis="x")
        if with_thesis and metric == "mean_iou_calibrated":
            title = "mean IoU, calibrated\n(thesis: as detected)"
        axis.set_title(title, fontsize=8, linespacing=1.0)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    axes[0].set_yticks(*zip(*ticks, strict=True), fontsize=7.5, linespacing=1.0)
    axes[0].set_ylim(y + 0.8, -0.9)
    systems = in_order(table["system"], SYSTEMS)  # the thesis's too
    handles = [
        Line2D([], [], color=_colour(system), marker="o", label=_label(system))
        for system in systems
    ]
    hollow = {"marker": "o", "markerfacecolor": "white", "lw": 0}
    if with_thesis:
        handles.append(Line2D([], [], color=GREY, **hollow, label="the thesis"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@styled
def iou_distribution(faces: pd.DataFrame) -> Figure:
    """Share of faces whose box reaches an IoU, against that IoU.

    Args:
        faces: one experiment's rows of ``experiment1_faces.csv``: ``system, iou,
            iou_calibrated``, 0 for a face not found.
    """
    figure, axis = plt.subplots(figsize=(COLUMN, 2.6))
    for system in in_order(faces["system"], SYSTEMS):
        rows = faces[faces["system"] == system]
        raw, calibrated = (np.sort(rows[name]) for name in ("iou", "iou_calibrated"))
        _reached(axis, calibrated, **_line(system), linewidth=1.8, label=_label(system))
        if not np.allclose(raw, calibrated):
            _reached(axis, raw, **_line(system), linewidth=0.8)
    for threshold in (0.5, 0.75):
        axis.axvline(threshold, color=GREY, linewidth=0.7, linestyle=":")
    axis.set(xlim=(0, 1), ylim=(0, 103), xlabel="IoU with ground truth, at least")
    axis.set(ylabel="share of faces, %", xticks=[0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="y")
    handles, _ = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="boxes not calibrated"))
    axis.legend(handles=handles, loc="lower left")
    return figure


def _reached(axis: Axes, iou: np.ndarray, **style) -> None:
    """Draw the share of ``iou``, sorted upwards, that is at least x."""
    n = len(iou)
    x = np.concatenate([[0], iou, [1]])
    y = np.concatenate([[100], 100 * (n - np.arange(n)) / max(n, 1), [0]])
    # The curve falls after a value, for that value still counts as reached.
    axis.step(x, y, where="pre", **style)


def error_shares(faces: pd.DataFrame) -> pd.DataFrame:
    """Split the faces of known people by what became of them.

    Each face counts once:

    - ``right``: found, right person, calibrated IoU of at least 0.5;
    - ``box``: found, right person, calibrated IoU below 0.5;
    - ``place``: found, wrong person, though the same net names the face rightly when it is given
      the true box: the fault is in where it looked;
    - ``identification``: found, wrong person, and wrong at the true box too;
    - ``missed``: not found.

    ``right`` is joint accuracy at 0.5.

    Args:
        faces: ``system, identity, predicted_identity, bound_identity, found, iou_calibrated``;
            rows whose ``identity`` is "" are left out.

    Returns:
        one row a system, in the systems' order: ``faces`` (how many) and the shares, in 0–1.
    """
    known = faces[faces["identity"] != ""]
    right = known["predicted_identity"] == known["identity"]
    bound = known["bound_identity"] == known["identity"]
    fits = known["iou_calibrated"] >= 0.5
    found = known["found"].astype(bool)
    verdict = np.select(
        [~found, right & fits, right, bound],
        ["missed", "right", "box", "place"],
        default="identification",
    )
    counts = pd.crosstab(known["system"], verdict)
    names = [name for name, _, _ in _VERDICTS]
    counts = counts.reindex(in_order(known["system"], SYSTEMS)).reindex(columns=names).fillna(0)
    totals = counts.sum(axis=1)
    shares = counts.div(totals, axis=0)
    shares.insert(0, "faces", totals.astype(int))
    return shares.rename_axis(index="system", columns=None)


@styled
def error_split(faces: pd.DataFrame) -> Figure:
    """What became of the faces, system by system: right, or wrong in which of four ways.

    Args:
        faces: one experiment's rows of ``experiment1_faces.csv``; definitions and columns in
            :func:`error_shares`.
    """
    shares = error_shares(faces)
    systems = len(shares)
    figure, (bars, numbers) = plt.subplots(
        1,
        2,
        figsize=(TEXT, 1.2 + 0.27 * systems),
        sharey=True,
        gridspec_kw={"width_ratios": [1, 2]},
    )
    left = np.zeros(systems)
    columns = [("faces", "white", [str(count) for count in shares["faces"]])]
    for name, heading, colour in _VERDICTS:
        values = 100 * shares[name].to_numpy()
        bars.barh(range(systems), values, 0.62, left=left, color=colour, edgecolor="white")
        left += values
        columns.append((heading, colour, [f"{value:.1f} %" for value in values]))
    # The table's headings are the bars' legend; they stand above it by points, however many rows.
    for at, (heading, colour, cells) in enumerate(columns):
        place = {"xy": (at + 0.5, 1), "xycoords": ("data", "axes fraction"), "ha": "center"}
        place["textcoords"] = "offset points"
        numbers.annotate("■", **place, xytext=(0, 2), color=colour, fontsize=10)
        numbers.annotate(heading, **place, xytext=(0, 13), fontsize=7.5, linespacing=1.05)
        for row, cell in enumerate(cells):
            numbers.text(at + 0.5, row, cell, **_MIDDLE)
    bars.set_yticks(range(systems), [_label(system) for system in shares.index])
    bars.set(ylim=(systems - 0.5, -0.6), xlim=(0, 100), xlabel="share of faces, %")
    bars.tick_params(axis="y", length=0)
    numbers.set_xlim(0, len(_VERDICTS) + 1)
    numbers.axis("off")
    return figure


@styled
def confusion(
    faces: pd.DataFrame, identities_order: Sequence[str] | None = None, pairs: int = 12
) -> Figure:
    """Who is taken for whom, and the pairs that are confused most.

    Found faces of known people only; a face taken for itself lies on the pale diagonal.

    Args:
        faces: one system's rows of ``experiment1_faces.csv``: ``identity, predicted_identity,
            found``.
        identities_order: people along both axes; by the alphabet where None. People of the table
            that it does not name come last.
        pairs: how many pairs are listed.
    """
    known = faces[faces["found"].astype(bool) & (faces["identity"] != "")]
    everyone = sorted({*known["identity"], *known["predicted_identity"]})
    order = list(identities_order) if identities_order is not None else everyone
    order += [name for name in everyone if name not in order]
    place = {name: at for at, name in enumerate(order)}
    wrong = known[known["identity"] != known["predicted_identity"]]
    counts = (
        wrong.groupby(["identity", "predicted_identity"])
        .size()
        .reset_index(name="faces")
        .sort_values(["faces", "identity", "predicted_identity"], ascending=[False, True, True])
    )
    figure, (axis, names) = plt.subplots(
        1, 2, figsize=(TEXT, 3.9), gridspec_kw={"width_ratios": [1.35, 1]}
    )
    n = max(len(order), 1)
    axis.plot([-0.5, n - 0.5], [-0.5, n - 0.5], color=PALE, linewidth=max(1.2, 90 / n), zorder=0)
    most = int(counts["faces"].max()) if len(counts) else 1

    def dots(on: Axes, x, y, faces: np.ndarray) -> None:
        size = 8 + 50 * (faces - 1) / max(most - 1, 1)
        on.scatter(x, y, size, faces, cmap="viridis_r", vmin=0.5, vmax=most + 0.5, linewidth=0)

    dots(
        axis,
        counts["predicted_identity"].map(place).astype(float),
        counts["identity"].map(place).astype(float),
        counts["faces"].to_numpy(float),
    )
    axis.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), box_aspect=1)
    axis.spines[["top", "right"]].set_visible(True)
    if n <= 30:  # more names than that cannot be read, and one looks at the list
        shortened = [short(name, 14) for name in order]
        size = 7 if n <= 24 else 6
        axis.set_xticks(range(len(order)), shortened, rotation=90, fontsize=size)
        axis.set_yticks(range(len(order)), shortened, fontsize=size)
        axis.grid(color="#EEEEEE", linewidth=0.4)
    axis.set(xlabel=f"taken for ({len(order)} people)", ylabel="person")
    names.axis("off")
    names.set(xlim=(0, 1), ylim=(pairs + 3.5, -1.2))
    share = 100 * len(wrong) / max(len(known), 1)
    names.text(
        0.02, -0.6, f"{len(wrong)} of {len(known)} faces ({share:.1f} %) taken for another",
        fontsize=8, va="center",
    )  # fmt: skip
    for row, pair in enumerate(counts.head(pairs).itertuples(), start=1):
        people = (pair.identity, pair.predicted_identity)
        # Where names cannot stand on the axes, their numbers there stand here.
        at = [f" ({place[who]})" if n > 30 else "" for who in people]
        cut = 17 if n <= 30 else 13
        text = " → ".join(short(who, cut) + where for who, where in zip(people, at, strict=True))
        names.text(0.07, row, str(pair.faces), ha="right", va="center", fontsize=7.5)
        names.text(0.11, row, text, va="center", fontsize=7.5)
    if len(counts) > pairs:
        rest = len(counts) - pairs
        names.text(
            0.11,
            pairs + 1,
            f"and {rest} more pair{'s' * (rest > 1)} (equals: by name)",
            color=GREY,
            fontsize=7.5,
            va="center",
        )
    if len(counts):
        shown = np.unique(np.linspace(1, most, min(most, 4)).round())
        x = 0.11 + 0.13 * np.arange(len(shown))
        dots(names, x, np.full(len(shown), pairs + 2.6), shown)
        for at, count in zip(x, shown, strict=True):
            names.text(at + 0.035, pairs + 2.6, f"{count:.0f}", fontsize=7.5, va="center")
        names.text(
            x[-1] + 0.11, pairs + 2.6, "face" if most == 1 else "faces", fontsize=7.5, va="center"
        )
    return figure


@styled
def stage_times(stages: pd.DataFrame) -> Figure:
    """Where the time goes from photo to answer.

    A bar is as long as the median over turns of the whole, which is printed at its end; FPS is its
    inverse. Its parts share it as the medians of the stages do, which need not add up to it.

    Args:
        stages: one experiment's rows of ``stages.csv``: ``system, stage, turn, ms``.
    """
    systems = in_order(stages["system"], SYSTEMS)
    medians = stages.groupby(["system", "stage"])["ms"].median()
    totals = stages.groupby(["system", "turn"])["ms"].sum().groupby("system").median()
    names = in_order(stages["stage"], list(_STAGES))
    figure, axis = plt.subplots(figsize=(TEXT, 0.8 + 0.3 * len(systems)))
    longest = 0.0
    for row, system in enumerate(systems):
        left, total = 0.0, totals[system]
        stretch = total / medians[system].sum()
        for stage in names:
            ms = stretch * medians.get((system, stage), 0.0)
            colour = _STAGES.get(stage, WRONG)
            axis.barh(row, ms, 0.62, left=left, color=colour, edgecolor="white", linewidth=0.4)
            left += ms
        longest = max(longest, left)
        axis.annotate(
            f"{total:.3g} ms, {1000 / total:.3g} FPS",
            (left, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axis.set_yticks(range(len(systems)), [_label(system) for system in systems])
    axis.set(ylim=(len(systems) - 0.5, -0.5), xlim=(0, longest * 1.25 or 1))
    axis.set(xlabel="ms a photo, median")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    handles = [Rectangle((0, 0), 1, 1, color=_STAGES.get(name, WRONG)) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), handlelength=1)
    return figure
