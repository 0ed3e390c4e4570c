"""Face regions in photos, as photo managers write them."""

import numpy as np
import pytest
from exif import STORED, turned
from PIL import Image, PngImagePlugin
from sources import looks, picture, quietly, save, write

from thesislib.data.columns import BOX
from thesislib.data.importers import SourceError

# As elements, as attributes, and within rdf:Description: three ways of RDF to say the same.
REGIONS = {
    "digikam": """
<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="{kind}">
 <mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}"
  stArea:unit="normalized"/></rdf:Description></rdf:li>""",
    "exiftool": """
<rdf:li rdf:parseType="Resource"><mwg-rs:Area rdf:parseType="Resource"><stArea:h>{h}</stArea:h>
 <stArea:unit>normalized</stArea:unit><stArea:w>{w}</stArea:w><stArea:x>{x}</stArea:x>
 <stArea:y>{y}</stArea:y></mwg-rs:Area><mwg-rs:Name>{name}</mwg-rs:Name>
 <mwg-rs:Type>{kind}</mwg-rs:Type></rdf:li>""",
    "lightroom": """
<rdf:li><rdf:Description mwg-rs:Type="{kind}" mwg-rs:Name="{name}"><mwg-rs:Area>
 <rdf:Description stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}"/></mwg-rs:Area>
 </rdf:Description></rdf:li>""",
}
SIZE = (64, 48)
ANNA, BOB = (10.0, 6.0, 30.0, 30.0), (32.0, 6.0, 56.0, 36.0)


def packet(faces, size=SIZE, told=True, way="digikam"):
    """XMP with regions [(name, kind, box in pixels of a photo of that size)]."""
    items = ""
    for name, kind, (x1, y1, x2, y2) in faces:
        x, y = (x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1]
        w, h = (x2 - x1) / size[0], (y2 - y1) / size[1]
        items += REGIONS[way].format(name=name, kind=kind, x=x, y=y, w=w, h=h)
    dimensions = (
        f'<mwg-rs:AppliedToDimensions stDim:w="{size[0]}" stDim:h="{size[1]}" stDim:unit="pixel"/>'
    )
    return f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">
<rdf:Description rdf:about=""><mwg-rs:Regions rdf:parseType="Resource">
{dimensions if told else ""}
<mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def both(boxes=(ANNA, BOB), **options):
    return packet([("Анна", "Face", boxes[0]), ("Bob", "Face", boxes[1])], **options)


@pytest.mark.parametrize("way", REGIONS)
@pytest.mark.parametrize("told", [True, False])
def test_named_regions_are_faces(tmp_path, way, told):
    save(picture(), tmp_path / "photos/1.jpg", xmp=both(way=way, told=told))
    table = quietly("xmp", tmp_path / "photos", tmp_path / "to").table
    assert table["identity"].tolist() == ["Анна", "Bob"]
    np.testing.assert_allclose(table[BOX], [ANNA, BOB], atol=0.051)
    assert set(table["box_source"]) == {"annotation"}
    assert looks(tmp_path / "to") == {}


def with_xmp(path, text):
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", text.decode())
        save(picture(), path, pnginfo=info)
    elif path.suffix == ".tif":
        save(picture(), path, tiffinfo={700: text})
    else:
        save(picture(), path, xmp=text)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_format_that_carries_xmp_is_read(tmp_path, suffix):
    with_xmp(tmp_path / f"photos/1.{suffix}", both())
    assert quietly("xmp", tmp_path / "photos", tmp_path / "to").identities == ["Bob", "Анна"]


def test_a_photo_of_a_phone_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    (tmp_path / "photos").mkdir()
    heif.from_pillow(picture()).save(tmp_path / "photos/1.heic", xmp=both())
    table = quietly("xmp", tmp_path / "photos", tmp_path / "to").table
    np.testing.assert_allclose(table[BOX], [ANNA, BOB], atol=0.051)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("told", [True, False])
def test_regions_of_a_turned_photo_of_a_phone_are_turned(tmp_path, orientation, told):
    heif = pytest.importorskip("pillow_heif")
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, box = turned(SIZE, ANNA, orientation)
    text = packet([("Анна", "Face", box)], size=stored.shape[::-1], told=told)
    image = Image.fromarray(stored).convert("RGB")
    heif.from_pillow(image).save(tmp_path / "photos/1.heic", exif=exif.tobytes(), xmp=text)
    made = quietly("xmp", tmp_path / "photos", tmp_path / "to", allow=["one-person"])
    np.testing.assert_allclose(made.table[BOX], [ANNA], atol=0.051)


@pytest.mark.parametrize("name", ["1.jpg.xmp", "1.xmp", "1.XMP"])
def test_a_file_beside_the_photo_counts(tmp_path, name):
    save(picture(), tmp_path / "photos/1.jpg", xmp=both([BOB, ANNA]))
    write(tmp_path / "photos" / name, both().decode())
    table = quietly("xmp", tmp_path / "photos", tmp_path / "to").table
    np.testing.assert_allclose(table[BOX], [ANNA, BOB], atol=0.051)
    write(tmp_path / "photos" / name, packet([]).decode())  # no regions: the photo's own
    table = quietly("xmp", tmp_path / "photos", tmp_path / "again").table
    np.testing.assert_allclose(table[BOX], [BOB, ANNA], atol=0.051)


def test_only_faces_are_taken_and_unnamed_ones_are_of_nobody_known(tmp_path):
    faces = [("Анна", "Face", ANNA), ("Rex", "Pet", BOB), ("", "Focus", BOB), ("", "Face", BOB)]
    save(picture(1), tmp_path / "photos/1.jpg", xmp=packet(faces))
    save(picture(2), tmp_path / "photos/2.jpg", xmp=packet([("Bob", "", ANNA)]))
    save(picture(3), tmp_path / "photos/3.jpg", xmp=packet([("Rex", "Pet", BOB)]))
    save(picture(4), tmp_path / "photos/4.jpg")
    table = quietly("xmp", tmp_path / "photos", tmp_path / "to").table
    assert table["identity"].tolist() == ["Анна", "", "Bob"]
    no_region = "no region of a face: left out"
    assert looks(tmp_path / "to") == {"3.jpg": no_region, "4.jpg": no_region}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("told", [True, False])
def test_regions_are_of_the_photo_as_it_is_stored(tmp_path, orientation, told):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, box = turned(SIZE, ANNA, orientation)
    text = packet([("Анна", "Face", box)], size=stored.shape[::-1], told=told)
    image = Image.fromarray(stored).convert("RGB")
    save(image, tmp_path / "photos/1.jpg", exif=exif, xmp=text)
    made = quietly("xmp", tmp_path / "photos", tmp_path / "to", allow=["one-person"])
    np.testing.assert_allclose(made.table[BOX], [ANNA], atol=0.051)
    assert looks(tmp_path / "to") == {}


def test_regions_that_tell_the_upright_size_are_taken_so_and_listed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(picture(width=48, height=64), tmp_path / "photos/1.jpg", exif=exif, xmp=both())
    table = quietly("xmp", tmp_path / "photos", tmp_path / "to").table
    np.testing.assert_allclose(table[BOX], [ANNA, BOB], atol=0.051)
    assert looks(tmp_path / "to") == {
        "1.jpg": "its regions tell the size of the upright photo: taken so"
    }


def test_photos_cut_since_are_left_out(tmp_path):
    save(picture(1), tmp_path / "photos/1.jpg", xmp=both())
    save(picture(2, 48, 48), tmp_path / "photos/2.jpg", xmp=both())
    assert len(quietly("xmp", tmp_path / "photos", tmp_path / "to").photos) == 1
    assert "64 x 48 pixels, this one has 48 x 48" in looks(tmp_path / "to")["2.jpg"]


@pytest.mark.parametrize(
    "broken, reason",
    [
        (b"<x", "1.jpg: no XML that can be read"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "1.jpg: no XML that can be read"),
        (both().replace(b"stArea:w", b"stArea:v"), "1.jpg: a region of a face without its sides"),
        (both().replace(b'stArea:h="0.5', b'stArea:h="wide'), "a region of a face without its si"),
    ],
)
def test_broken_regions_are_listed(tmp_path, broken, reason):
    save(picture(1), tmp_path / "photos/1.jpg", xmp=broken)
    save(picture(2), tmp_path / "photos/2.jpg", xmp=both())
    assert len(quietly("xmp", tmp_path / "photos", tmp_path / "to").photos) == 1
    assert reason in looks(tmp_path / "to")["1.jpg"]
    assert str(tmp_path) not in looks(tmp_path / "to")["1.jpg"]


def test_photos_without_regions_and_regions_without_photos(tmp_path):
    write(tmp_path / "photos/gone.xmp", both().decode())
    save(picture(1), tmp_path / "photos/1.jpg")
    with pytest.raises(SourceError, match="no photos found; looked for photos with mwg-rs"):
        quietly("xmp", tmp_path / "photos", tmp_path / "to")
    save(picture(2), tmp_path / "photos/2.jpg", xmp=both())
    quietly("xmp", tmp_path / "photos", tmp_path / "to")
    assert looks(tmp_path / "to")["gone.xmp"] == "regions without their photo"
