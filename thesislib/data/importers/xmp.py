"""Face regions that photo managers write into photos, or into files beside them."""

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from thesislib.data.images import (
    SWAPS_SIDES,
    PhotoError,
    photo_orientation,
    photo_size,
    photo_xmp,
)
from thesislib.data.importers.source import (
    AnnotatedFace,
    Box,
    Entry,
    Source,
    SourceError,
    box_of_middle,
)
from thesislib.data.importers.xml_files import read_xml, xml_of
from thesislib.data.names import plain_name

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
REGIONS = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
SIZE = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"


def xmp(source: Source) -> list[Entry]:
    """Photos with named face regions in XMP, as digiKam, Lightroom, Apple Photos and Picasa write.

    Regions (``mwg-rs:Regions``) stand in the photo, or in ``1.jpg.xmp`` or ``1.xmp`` beside it,
    which counts then. They are of the photo as it is stored, before EXIF's turn; where the size
    that they tell is that of the upright photo, they are taken so, and the photo is listed
    (Metadata Working Group 2010, Guidelines for Handling Image Metadata 2.0, sections 5.4 and 5.9).
    A face without a name is of somebody unknown. A photo without a face's region is left out:
    nobody may have looked at it.
    """
    beside = {source.shown(file).casefold(): file for file in source.files({".xmp"})}
    entries, used = [], set()
    for photo in source.photos():
        shown = source.shown(photo)
        sidecars = [f"{shown}.xmp".casefold(), f"{shown.removesuffix(photo.suffix)}.xmp".casefold()]
        at = next((name for name in sidecars if name in beside), None)
        used.add(at)
        try:
            entry = _entry(photo, beside[at] if at else None)
        except (PhotoError, SourceError) as error:
            source.note(photo, f"{str(error).replace(str(photo), photo.name)}: left out")
            continue
        if entry.faces:
            entries.append(entry)
            if entry.size not in (None, stored_size(photo)) and entry.size == photo_size(photo):
                source.note(photo, "its regions tell the size of the upright photo: taken so")
        else:
            source.note(photo, "no region of a face: left out")
    for name, file in beside.items():
        if name not in used:
            source.note(file, "regions without their photo")
    if not entries:
        raise source.nothing_found("photos with mwg-rs:Regions in their XMP")
    return entries


def _entry(photo: Path, sidecar: Path | None) -> Entry:
    """A photo with the faces of its sidecar's regions or, if that has none, of its own.

    Raises:
        PhotoError: it cannot be read.
        SourceError: XMP that cannot be read, or a region without an area.
    """
    roots = [read_xml(sidecar)] if sidecar else []
    packet = photo_xmp(photo).strip(b"\0 \r\n")
    if packet:
        roots.append(xml_of(photo, packet))
    for root in roots:
        size = told_size(root) or stored_size(photo)
        faces = tuple(
            AnnotatedFace(
                plain_name(value_of(region, REGIONS + "Name")), box_of_region(photo, region, size)
            )
            for region in regions_of(root)
        )
        if faces:
            return Entry(photo, faces, size=size, stored=True)
    return Entry(photo, ())


def stored_size(photo: Path) -> tuple[int, int]:
    """Width and height before EXIF's turn."""
    width, height = photo_size(photo)
    return (height, width) if photo_orientation(photo) in SWAPS_SIDES else (width, height)


def regions_of(root: Element) -> Iterator[Element]:
    """The regions of faces; of those that do not say what they are, those with a name."""
    for regions in root.iter(REGIONS + "RegionList"):
        for item in regions.iter(RDF + "li"):
            region = described(item)
            kind = value_of(region, REGIONS + "Type")
            if kind.casefold() == "face" or (not kind and value_of(region, REGIONS + "Name")):
                yield region


def described(node: Element) -> Element:
    """Where the properties of a resource stand: in it, or in an rdf:Description in it."""
    inner = node.find(RDF + "Description")
    return node if inner is None else inner


def value_of(node: Element, name: str) -> str:
    """A property, which RDF writes as an attribute or as an element."""
    return (node.get(name) or node.findtext(name) or "").strip()


def told_size(root: Element) -> tuple[int, int] | None:
    """Width and height of the photo that the regions were drawn on."""
    for node in root.iter(REGIONS + "AppliedToDimensions"):
        told = described(node)
        try:
            width, height = (round(float(value_of(told, SIZE + side))) for side in "wh")
        except (ValueError, OverflowError):
            continue
        if min(width, height) > 0:
            return width, height
    return None


def box_of_region(photo: Path, region: Element, size: tuple[int, int]) -> Box:
    """A region's box in pixels of a photo of that size; an area has its middle and its sides.

    Raises:
        SourceError: no such area.
    """
    area = region.find(REGIONS + "Area")
    if area is not None:
        told = described(area)
        unit = (1, 1) if value_of(told, AREA + "unit") == "pixel" else size
        try:
            x, y, width, height = (
                float(value_of(told, AREA + side)) for side in ("x", "y", "w", "h")
            )
            if not all(map(math.isfinite, (x, y, width, height))):
                raise ValueError
        except ValueError:
            pass
        else:
            wide, tall = unit
            return box_of_middle(x * wide, y * tall, width * wide, height * tall)
    raise SourceError(f"{photo}: a region of a face without its sides")
