"""The joint network drawn as a scheme."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Polygon, Rectangle

from thesislib.reporting.figures.style import MIDDLE, RIGHT, TEXT, styled
from thesislib.reporting.language import _

EDGE = "#333333"


class _Drawing:
    """Shapes of a diagram, in inches on one axis."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = plt.figure(figsize=(width, height))
        self.axis = self.figure.add_subplot()
        self.axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axis.axis("off")
        self.figure.get_layout_engine().set(w_pad=0, h_pad=0)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.axis.text(x, y, text, **{**MIDDLE, "fontsize": 7.5, "linespacing": 1.0} | style)

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through the points, with a head at the last."""
        xs, ys = zip(*points, strict=True)
        self.axis.plot(xs[:-1], ys[:-1], color=EDGE, linewidth=0.8, solid_joinstyle="miter")
        self.axis.annotate(
            "",
            points[-1],
            points[-2],
            arrowprops={
                "arrowstyle": "-|>,head_width=0.18,head_length=0.35",
                "color": EDGE,
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
                edgecolor=EDGE,
                linewidth=0.7,
            )
        )
        self.text(x, y, text)

    def cuboid(
        self, x: float, y: float, side: float, depth: float, cells: int, colour: str
    ) -> None:
        """A tensor seen from the front, its front face centred at (x, y), with its cells."""
        left, bottom = x - side / 2, y - side / 2
        style: dict[str, Any] = {"edgecolor": EDGE, "linewidth": 0.7, "joinstyle": "round"}
        lift = 0.5 * depth
        right, top = left + side, bottom + side
        over = [(left, top), (left + depth, top + lift), (right + depth, top + lift), (right, top)]
        beside = [(right, bottom), (right + depth, bottom + lift), over[2], (right, top)]
        for corners, alpha in ((over, 0.5), (beside, 0.75)):  # lit from above
            self.axis.add_patch(Polygon(corners, facecolor=to_rgba(colour, alpha), **style))
        self.axis.add_patch(Rectangle((left, bottom), side, side, facecolor=colour, **style))
        for cell in np.linspace(0, side, cells + 1)[1:-1]:
            line = {"color": EDGE, "linewidth": 0.4}
            self.axis.plot([left + cell] * 2, [bottom + 0.01, top - 0.01], **line)
            self.axis.plot([left + 0.01, right - 0.01], [bottom + cell] * 2, **line)

    def rows(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A table with one row per box, its middle rows left out."""
        count, left, bottom = 6, x - width / 2, y - height / 2
        style: dict[str, Any] = {"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.6}
        for at in range(count):
            if at == count - 2:
                self.text(x, bottom + 1.5 * height / count, "⋮", fontsize=7)
                continue
            corner = (left, bottom + (count - 1 - at) * height / count)
            self.axis.add_patch(Rectangle(corner, width, height / count, **style))

    def photo(self, x: float, y: float, side: float, cells: int, answered: bool) -> None:
        """A drawn photo of two people: under the grid, or with boxes and names."""
        left, bottom = x - side / 2, y - side / 2
        frame = Rectangle((left, bottom), side, side, facecolor="#EAF1F5", edgecolor="none")
        self.axis.add_patch(frame)
        people = (  # the one further back first
            (_("Bob"), 0.73, 0.6, 0.14, "#8D5B3F", "#222222", "#E9D5A1"),
            (_("Ann"), 0.31, 0.46, 0.2, "#C58C6D", "#5B3A29", "#7FB2D1"),
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
                line = {"color": EDGE, "linewidth": 0.5}
                self.axis.plot([left + cell] * 2, [bottom, bottom + side], **line)
                self.axis.plot([left, left + side], [bottom + cell] * 2, **line)
        self.axis.add_patch(
            Rectangle((left, bottom), side, side, fill=False, edgecolor=EDGE, linewidth=0.7)
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
        backbone: a name in ``thesislib.models.backbone.BACKBONES``.
        grid: cells a side.
        cell: side of a cell in pixels.
        anchors: how many, A.
        embedding_dim: length of an embedding.
        identities: how many people the classifier knows.
    """
    channels = 2048 if backbone == "resnet50" else 512
    pooling = cell // 32
    places = anchors * grid * grid
    cells = f"{grid} × {grid}"
    green, blue, orange, steel = "#8FD0B9", "#9CC8E3", "#F5CE7F", "#C9D3DA"
    d = _Drawing(TEXT, 2.05)
    up, low = 1.68, 0.56
    mid = (up + low) / 2
    below = 0.29  # from the middle of a tensor to the text under it

    d.photo(0.47, mid, 0.9, grid, answered=False)
    d.text(0.47, mid - 0.52, _("photo") + f"\n{input_px} × {input_px} × 3", va="top")

    # The backbone narrows: space becomes channels.
    x1, x2 = 1.07, 1.61
    corners = [(x1, mid - 0.45), (x1, mid + 0.45), (x2, mid + 0.27), (x2, mid - 0.27)]
    d.axis.add_patch(Polygon(corners, facecolor=steel, edgecolor=EDGE, linewidth=0.7))
    d.text((x1 + x2) / 2, mid, backbone.replace("resnet", "ResNet\n"))
    pooled = _("no pooling")
    if pooling > 1:
        pooled = _("{n} × {n} pooling").format(n=pooling)
    d.text((x1 + x2) / 2, mid - 0.52, _("stride 32") + f",\n{pooled}", va="top")
    d.arrow((0.92, mid), (x1, mid))

    d.cuboid(2.06, mid, 0.42, 0.2, grid, steel)
    d.text(2.18, mid - 0.52, _("feature map") + f"\n{cells} × {channels}", va="top")
    d.arrow((x2, mid), (1.85, mid))

    d.arrow((2.48, mid), (2.62, mid), (2.62, up), (2.76, up))
    d.arrow((2.62, mid), (2.62, low), (2.76, low))
    d.block(3.1, up, 0.68, 0.46, _("regression\nhead") + "\n1 × 1", green)
    d.block(3.1, low, 0.68, 0.46, _("embedding\nhead") + "\n1 × 1", blue)

    d.arrow((3.44, up), (3.57, up))
    d.cuboid(3.78, up, 0.42, 0.1, grid, green)
    d.text(3.82, up - below, _("offsets, confidence") + f"\n{cells} × ({anchors} · 5)", va="top")
    d.arrow((4.1, up), (4.32, up))
    d.block(4.72, up, 0.8, 0.46, _("decode at\ncells and\nanchors"), "white")
    d.arrow((5.12, up), (5.25, up))
    d.rows(5.5, up, 0.5, 0.42, green)
    d.text(5.42, up - below, _("boxes, confidence") + f"\n{places} × 5", va="top")

    d.arrow((3.44, low), (3.57, low))
    d.cuboid(3.78, low, 0.42, 0.16, grid, blue)
    shape = f"{cells} × ({anchors} · {embedding_dim})"
    d.text(3.82, low - below, _("embeddings") + f"\n{shape}", va="top")
    d.arrow((4.16, low), (4.32, low))
    d.block(4.72, low, 0.8, 0.46, _("classifier") + "\nConv3d\n1 × 1 × 1", orange)
    d.arrow((5.12, low), (5.25, low))
    d.cuboid(5.46, low, 0.42, 0.12, grid, orange)
    d.text(5.46, low - below, _("identities") + f"\n{cells} × ({anchors} · {identities})", va="top")

    d.arrow((5.76, up), (5.98, up), (5.98, mid + 0.17))
    d.arrow((5.8, low), (5.98, low), (5.98, mid - 0.17))
    d.block(5.98, mid, 0.34, 0.34, "NMS", "white")
    d.arrow((6.15, mid), (6.27, mid))
    d.photo(6.57, mid, 0.58, grid, answered=True)
    d.text(6.55, mid - 0.36, _("boxes, scores,\nidentities,\nembeddings"), va="top", fontsize=7)
    return d.figure
