"""Names of faces written where photo managers read them: as XMP regions in a file beside the photo.

The photo itself is not touched.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, register_namespace, tostring

import numpy as np

from thesislib import storage
from thesislib.data.images import photo_orientation, photo_size, photo_xmp
from thesislib.data.importers.sizes import boxes_as_told
from thesislib.data.importers.source import SourceError
from thesislib.data.importers.xml_files import read_xml, xml_of
from thesislib.data.importers.xmp import (
    AREA,
    RDF,
    REGIONS,
    SIZE,
    box_of_region,
    regions_of,
    stored_size,
    told_size,
    value_of,
)
from thesislib.faces import Face
from thesislib.metrics.boxes import box_iou

_SAME = 0.4  # IoU from which a region that is there already is of the face
_META = "{adobe:ns:meta/}"
# Marks a name that was written here, by its value: a name that differs is a person's.
_THESISLIB = "{urn:thesislib:recognised}"
_OWN = f"{_THESISLIB}Name"
_PREFIXES = {
    "recognised": _THESISLIB,
    "x": _META,
    "rdf": RDF,
    "mwg-rs": REGIONS,
    "stArea": AREA,
    "stDim": SIZE,
}
# Those of what else photos carry: names would be read all the same, but not by people.
_OTHERS = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
}


def write_regions(photo: Path | str, faces: Sequence[Face]) -> Path | None:
    """Write the named faces of a photo into ``1.jpg.xmp`` beside ``1.jpg``, or the ``1.xmp`` there.

    What stands there already, or in the photo where there is no such file, stays: a region of a
    face without a name gets it, one with a name that a person gave keeps it. Names written here
    before, and not changed since, are taken back first. Regions are of the photo as it is
    stored, before EXIF's turn (Metadata Working Group 2010, Guidelines for Handling Image Metadata
    2.0, section 5.9).

    Args:
        photo: the file.
        faces: found in it; those without a name are left out.

    Returns:
        the file beside the photo; None where there is nothing to change in it.

    Raises:
        PhotoError: the photo cannot be read.
        SourceError: what stands beside it, or in it, is no XMP that can be read, or is of a photo
            of another shape; it stays as it is.
        OSError: the file cannot be written; what was there stays.
    """
    photo = Path(photo)
    named = [face for face in faces if face.name]
    beside = [photo.with_name(f"{name}.xmp") for name in (photo.name, photo.stem)]
    sidecar = next((file for file in beside if file.exists()), beside[0])
    if not named and not sidecar.exists():
        return None
    root = _there_already(photo, sidecar)
    changed = _withdraw_own(root)
    told = told_size(root) or stored_size(photo)
    frame = (told, photo_size(photo), photo_orientation(photo))
    found = np.array([face.box for face in named], np.float32).reshape(-1, 4)
    boxes = boxes_as_told(found, *frame, stored=True)
    if boxes is None:
        raise SourceError(f"{sidecar}: its regions are of a photo of another shape")
    faces_there = list(regions_of(root))
    old = [box_of_region(photo, region, told) for region in faces_there]
    overlap = box_iou(boxes, np.array(old)) if old else np.zeros((len(boxes), 0))
    listed = _region_list(root, told)
    for face, box, shared in zip(named, boxes, overlap, strict=True):
        if not len(shared) or shared.max() < _SAME:
            region = _add(listed, face.name, box, told)
        else:
            region = faces_there[int(shared.argmax())]
            if value_of(region, f"{REGIONS}Name"):
                continue
            _set(region, f"{REGIONS}Name", face.name)
        _set(region, _OWN, face.name)
        changed = True
    if not changed:
        return None
    for prefix, space in _PREFIXES.items():
        register_namespace(prefix, space[1:-1])
    for prefix, uri in _OTHERS.items():
        register_namespace(prefix, uri)
    indent(root)
    storage.write_text(sidecar, tostring(root, encoding="unicode") + "\n")
    return sidecar


def _there_already(photo: Path, sidecar: Path) -> Element:
    """What the file beside the photo says, or what the photo says; regions of the file count."""
    packet = photo_xmp(photo).strip(b"\0 \r\n")
    own = xml_of(photo, packet) if packet else Element(f"{_META}xmpmeta")
    if not sidecar.exists():
        return own
    root = read_xml(sidecar)
    size = told_size(own) or stored_size(photo)
    if next(regions_of(root), None) is None and told_size(root) in (None, size):
        listed = _region_list(root, size)
        for region in regions_of(own):
            box = np.array(box_of_region(photo, region, size))
            _add(listed, value_of(region, f"{REGIONS}Name"), box, size)
    return root


def _region_list(root: Element, size: tuple[int, int]) -> Element:
    """Where regions are listed, made if it is not there."""
    found = next(root.iter(f"{REGIONS}RegionList"), None)
    if found is None:
        rdf = root if root.tag == f"{RDF}RDF" else root.find(f"{RDF}RDF")
        rdf = SubElement(root, f"{RDF}RDF") if rdf is None else rdf
        about = SubElement(rdf, f"{RDF}Description", {f"{RDF}about": ""})
        regions = _resource(about, f"{REGIONS}Regions")
        dimensions = _resource(regions, f"{REGIONS}AppliedToDimensions")
        for side, pixels in zip("wh", size, strict=True):
            dimensions.set(SIZE + side, str(pixels))
        dimensions.set(f"{SIZE}unit", "pixel")
        found = SubElement(regions, f"{REGIONS}RegionList")
    bag = found.find(f"{RDF}Bag")
    return SubElement(found, f"{RDF}Bag") if bag is None else bag


def _resource(parent: Element, name: str) -> Element:
    return SubElement(parent, name, {f"{RDF}parseType": "Resource"})


def _withdraw_own(root: Element) -> bool:
    """Take back the names that were written here; says whether there were any.

    Their regions stay, of faces without a name.
    """
    own = [region for region in regions_of(root) if value_of(region, _OWN)]
    withdrawn = False
    for region in own:
        name = value_of(region, f"{REGIONS}Name")
        if name == value_of(region, _OWN):
            _set(region, f"{REGIONS}Name", "")
            withdrawn = True
        _set(region, _OWN, "")
    return withdrawn


def _set(region: Element, name: str, value: str) -> None:
    """Give a region a value, in place of the one it has; "" for none."""
    region.attrib.pop(name, None)
    for old in region.findall(name):
        region.remove(old)
    if value and f"{RDF}parseType" in region.attrib:  # which may have no values as attributes
        SubElement(region, name).text = value
    elif value:
        region.set(name, value)


def _add(bag: Element, name: str, box: np.ndarray, size: tuple[int, int]) -> Element:
    """A region of a face; an area has its middle and its sides, in shares of the photo's."""
    region = SubElement(SubElement(bag, f"{RDF}li"), f"{RDF}Description")
    region.set(f"{REGIONS}Name", name)
    region.set(f"{REGIONS}Type", "Face")
    x1, y1, x2, y2 = (box / np.tile(size, 2)).tolist()
    shares = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1}
    area = SubElement(region, f"{REGIONS}Area")
    for side, share in shares.items():
        area.set(AREA + side, f"{share:.6f}")
    area.set(f"{AREA}unit", "normalized")
    return region
