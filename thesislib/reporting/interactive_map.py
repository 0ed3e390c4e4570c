"""An interactive map of embeddings: one HTML file, with everything it needs, for any browser.

It is opened from where it lies, or shown within a notebook, see :func:`shown`.
"""

import base64
import colorsys
import io
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from thesislib.environment import require

# Before they are imported, so that what is missing is told with its extra.
require("matplotlib", extra="figures")
require("bokeh", extra="maps")

import matplotlib
import numpy as np
import pandas as pd
from bokeh.embed import json_item
from bokeh.layouts import column, row
from bokeh.models import Column, ColumnDataSource, CustomJS, Div, HoverTool, RadioButtonGroup
from bokeh.plotting import figure
from bokeh.resources import Resources
from matplotlib.colors import to_hex
from PIL import Image

from thesislib import storage
from thesislib.reporting.figures.embedding_maps import METHODS
from thesislib.reporting.figures.embeddings import people_style
from thesislib.reporting.figures.style import GREY, in_order
from thesislib.reporting.labels import PEOPLE_LABELS, people_label
from thesislib.reporting.language import N_, _, language, localised, ngettext

FACE_PX = 48  # of a thumbnail in the file; shown twice as large

# The browser is told to load nothing, so that the file works, and tells nobody, anywhere.
_PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: blob:; \
font-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'">
<title>{title}</title>
<style>body {{ font-family: Georgia, serif; margin: 1.5em; color: #222222 }}</style>
{scripts}
</head>
<body>
<h3>{title}</h3>
<div id="map"></div>
<script type="application/json" id="item">{item}</script>
<script>
Bokeh.embed.embed_item(JSON.parse(document.getElementById("item").textContent), "map")
</script>
</body>
</html>
"""
# What colours points: its button, what it shows.
_FACTORS = {
    "factor_yaw": (N_("yaw"), N_("head turned (yaw), degrees")),
    "factor_pitch": (N_("pitch"), N_("head raised (pitch), degrees")),
    "factor_light_azimuth": (N_("light"), N_("direction of light (azimuth), degrees")),
}
_SESSIONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_CHOOSE_MAP = """
const data = source.data, name = names[cb_obj.active];
data.x = data[name + " x"];
data.y = data[name + " y"];
source.change.emit();
below.text = texts[cb_obj.active];
const chosen = source.selected.indices;
plot.reset.emit();
// Whom one follows is followed in the next map, too.
setTimeout(() => { source.selected.indices = chosen; }, 0);
"""
_CHOOSE_COLOUR = """
source.data.colour = source.data["colour " + names[cb_obj.active]];
source.change.emit();
beside.text = texts[cb_obj.active];
"""
_CHOOSE_PERSON = """
const chosen = new Set(cb_obj.indices.map(i => source.data.identity[i]));
const all = [];
for (let i = 0; i < source.data.identity.length; i++)
  if (chosen.has(source.data.identity[i])) all.push(i);
if (all.length != cb_obj.indices.length) cb_obj.indices = all;
"""


def write(
    map_table: pd.DataFrame,
    path: Path | str,
    thumbnails: Mapping[tuple[str, str], np.ndarray] | None = None,
    title: str = N_("Embeddings of people seen and never seen"),
) -> Path:
    """Write the map as HTML; the same table and thumbnails give the same bytes.

    Under the pointer, a point shows its face, where there are thumbnails, and its row. One
    chooses the map (method, seed) and what colours it; a click leaves one person's photos.

    Args:
        map_table: ``experiment3_map.csv`` of one dataset and arm: ``dataset, profile, arm, method,
            map_seed, photo, identity, people, x, y, trustworthiness, continuity`` and, if known,
            ``factor_yaw, factor_pitch, factor_light_azimuth`` (degrees) and ``session``.
        path: of the HTML file.
        thumbnails: photo and identity to uint8 [h, w, 3] RGB; of people who do not exist, for the
            file holds them.
        title: above the map; the usual one in the figures' language.

    Returns:
        ``path``.

    Raises:
        ValueError: no rows; several datasets, profiles or arms; a face that a map lacks, or has
            twice.
    """
    path = Path(path)
    points, maps = _points(map_table)
    if thumbnails:
        keys = zip(points["photo"], points["identity"], strict=True)
        points["face"] = [_jpeg(thumbnails.get(key)) for key in keys]
    colourings = _colourings(points)
    layout = _layout(points, maps, colourings, faces=bool(thumbnails))
    item = _numbered(json_item(layout, "map"), {})
    scripts = Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).js_raw
    html = _PAGE.format(
        title=escape(_(title)),
        language=language(),
        scripts="\n".join(f"<script>\n{script}\n</script>" for script in scripts),
        # No text in the data may end the script.
        item=json.dumps(item, separators=(",", ":")).replace("<", "\\u003c"),
    )
    storage.write_text(path, html)
    return path


def _points(map_table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row per face with the coordinates of each map, and each map's name and text."""
    if not len(map_table):
        raise ValueError("experiment3_map: no rows")
    for name in ("dataset", "profile", "arm"):
        found = sorted(set(map_table[name]))
        if len(found) > 1:
            raise ValueError(
                f"experiment3_map: several in column {name} ({', '.join(found)}); choose one"
            )
    kept = ["photo", "identity", "people", "session", *_FACTORS]
    kept = [name for name in kept if name in map_table and map_table[name].notna().any()]
    points, maps = None, {}
    for method in in_order(map_table["method"], list(METHODS)):
        for map_seed, one in map_table[map_table["method"] == method].groupby("map_seed"):
            name = _("{method}, map seed {seed}").format(
                method=METHODS.get(method, method), seed=map_seed
            )
            at = one.set_index(["photo", "identity"])  # a photo may show several people
            twice = at.index[at.index.duplicated()]
            if len(twice):
                photo, identity = twice[0]
                raise ValueError(f"experiment3_map: {name} has {identity} in {photo} twice")
            if points is None:
                points = one[kept].reset_index(drop=True)
            faces = pd.MultiIndex.from_frame(points[["photo", "identity"]])
            lacking = sorted(set(faces) ^ set(at.index))
            if lacking:
                photo, identity = lacking[0]
                raise ValueError(
                    f"experiment3_map: {identity} in {photo} is not in every map: {name}"
                )
            at = at.reindex(faces)
            # Five digits are finer than a screen.
            points = points.assign(
                **{f"{name} {axis}": [float(f"{v:.5g}") for v in at[axis]] for axis in ("x", "y")}
            )
            maps[name] = _trust(one)
    return points, maps


def _trust(one: pd.DataFrame) -> str:
    """How far a map is to be trusted, by groups of people."""
    told = []
    for people in in_order(one["people"], list(PEOPLE_LABELS)):
        own = one[one["people"] == people].iloc[0]
        trust, kept = own["trustworthiness"], own["continuity"]
        text = _("{people}: trustworthiness {trust:.3f}, continuity {kept:.3f}")
        text = text.format(people=people_label(people), trust=trust, kept=kept)
        told.append(localised(text))
    return escape("; ".join(told))


def _jpeg(face: np.ndarray | None) -> str:
    """A data URL, or empty where there is no face."""
    if face is None:
        return ""
    picture = Image.fromarray(face)
    picture.thumbnail((FACE_PX, FACE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


class _Colouring(NamedTuple):
    """A choice of colours: its button, a colour a point, its legend in HTML."""

    button: str
    colours: list[str]
    legend: str


def _colourings(points: pd.DataFrame) -> dict[str, _Colouring]:
    people = sorted(set(points["identity"]))
    # Hues a golden section apart, in three shades: as different as that many can be.
    hues = {
        name: to_hex(colorsys.hls_to_rgb(at * 0.618 % 1, (0.4, 0.55, 0.7)[at % 3], 0.65))
        for at, name in enumerate(people)
    }
    groups = in_order(points["people"], list(PEOPLE_LABELS))
    group_colours = {name: people_style(name)["color"] for name in groups}
    told = ngettext(
        "{n} person; click a point to see one person alone, click beside it to see all",
        "{n} people, a colour each, ▲ where never seen in training; click a point to see one "
        "person alone, click beside it to see all",
        len(people),
    ).format(n=len(people))
    found = {
        "person": _Colouring(_("person"), [hues[name] for name in points["identity"]], told),
        "people": _Colouring(
            _("seen or not"),
            [group_colours[name] for name in points["people"]],
            _swatches({people_label(name): colour for name, colour in group_colours.items()}),
        ),
    }
    if "session" in points:
        sessions = sorted(set(points["session"].dropna()))
        if len(sessions) <= len(_SESSIONS):  # more cannot be told apart
            known = dict(zip(sessions, _SESSIONS, strict=False))
            found["session"] = _Colouring(
                _("sitting"),
                [known.get(session, GREY) for session in points["session"]],
                _swatches({str(name): colour for name, colour in known.items()}),
            )
    for factor, (button, label) in _FACTORS.items():
        if factor in points:
            found[factor] = _shaded(points[factor].to_numpy(float), _(button), _(label))
    return found


def _shaded(values: np.ndarray, button: str, label: str) -> _Colouring:
    """Colours by a number, grey where it is not known."""
    low, high = np.nanmin(values), np.nanmax(values)
    shades = matplotlib.colormaps["viridis"]
    colours = [
        to_hex(shades((value - low) / ((high - low) or 1))) if np.isfinite(value) else GREY
        for value in values
    ]
    ramp = ", ".join(to_hex(shades(at)) for at in np.linspace(0, 1, 9))
    legend = (
        f"{label}: {low:.0f} <span style='display:inline-block;width:10em;height:0.8em;"
        f"background:linear-gradient(to right,{ramp})'></span> {high:.0f}"
    )
    return _Colouring(button, colours, legend)


def _swatches(colours: Mapping[str, str]) -> str:
    return " &nbsp; ".join(
        f"<span style='color:{colour}'>■</span> {escape(name)}" for name, colour in colours.items()
    )


def _layout(
    points: pd.DataFrame,
    maps: Mapping[str, str],
    colourings: Mapping[str, _Colouring],
    faces: bool,
) -> Column:
    first = next(iter(maps))
    data = {name: points[name].tolist() for name in points}
    data["group"] = [people_label(name) for name in points["people"]]
    data["marker"] = ["triangle" if name == "unseen" else "circle" for name in points["people"]]
    data |= {f"colour {name}": one.colours for name, one in colourings.items()}
    data |= {"x": data[f"{first} x"], "y": data[f"{first} y"]}
    data["colour"] = data["colour person"]
    source = ColumnDataSource(data)

    told = {"photo": _("photo"), "session": _("sitting")}
    told |= {name: _(button) for name, (button, _label) in _FACTORS.items()}
    lines = [
        f"{label}: @{name}{'{0}' if name in _FACTORS else ''}"
        for name, label in told.items()
        if name in points
    ]
    picture = f"<img src='@face' width='{2 * FACE_PX}' alt=''>" if faces else ""
    text = "<br>".join(["<b>@identity</b>, @group", *lines])
    tooltip = f"<div style='max-width:20em'>{picture}<div>{text}</div></div>"
    plot = figure(
        sizing_mode="stretch_width",
        max_width=900,
        height=560,
        match_aspect=True,
        tools="pan,wheel_zoom,box_zoom,tap,reset",
        active_scroll="wheel_zoom",
        toolbar_location="right",
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    plot.axis.visible = False  # coordinates mean nothing
    plot.grid.visible = False
    plot.outline_line_color = "#DDDDDD"
    dots = plot.scatter(
        "x",
        "y",
        source=source,
        marker="marker",
        color="colour",
        size=8,
        line_color="white",
        line_width=0.5,
        nonselection_fill_alpha=0.08,
        nonselection_line_alpha=0,
    )
    plot.add_tools(HoverTool(tooltips=tooltip, renderers=[dots], limit=2))
    source.selected.js_on_change("indices", CustomJS(args={"source": source}, code=_CHOOSE_PERSON))

    texts = list(maps.values())
    below = Div(text=texts[0])
    legends = [one.legend for one in colourings.values()]
    beside = Div(text=legends[0])
    choose_map = RadioButtonGroup(labels=list(maps), active=0)
    choose_map.js_on_change(
        "active",
        CustomJS(
            args={
                "source": source,
                "names": list(maps),
                "texts": texts,
                "below": below,
                "plot": plot,
            },
            code=_CHOOSE_MAP,
        ),
    )
    choose_colour = RadioButtonGroup(labels=[one.button for one in colourings.values()], active=0)
    choose_colour.js_on_change(
        "active",
        CustomJS(
            args={
                "source": source,
                "names": list(colourings),
                "texts": legends,
                "beside": beside,
            },
            code=_CHOOSE_COLOUR,
        ),
    )
    beginning = {"margin": (11, 5, 5, 5), "width": 60}
    return column(
        row(Div(text=_("map:"), **beginning), choose_map),
        row(Div(text=_("colour:"), **beginning), choose_colour),
        beside,
        plot,
        below,
        sizing_mode="stretch_width",
    )


def _numbered(value: object, numbers: dict[str, str]) -> object:
    """A copy with Bokeh's objects counted from 1: Bokeh counts on from one file to the next."""
    if isinstance(value, list | tuple):
        return [_numbered(one, numbers) for one in value]
    if not isinstance(value, dict):
        return value
    copy: dict[str, object] = {}
    for key, one in value.items():
        if key in ("id", "root_id"):
            copy[key] = numbers.setdefault(one, f"m{len(numbers) + 1}")
        else:
            copy[key] = _numbered(one, numbers)
    return copy
