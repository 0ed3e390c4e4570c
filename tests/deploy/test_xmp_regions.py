"""Names written for photo managers are read again, and what others wrote stays."""

import numpy as np
import pytest
from exif import STORED
from PIL import Image
from sources import picture, quietly, save, write

from thesislib.data.columns import BOX
from thesislib.data.importers import SourceError
from thesislib.data.importers.xml_files import read_xml
from thesislib.data.importers.xmp import REGIONS, regions_of, value_of
from thesislib.deploy.xmp_regions import write_regions
from thesislib.faces import Face

ANNA, BORIS = (10.0, 6.0, 30.0, 30.0), (32.0, 6.0, 56.0, 36.0)


def faces(*named):
    return [Face(np.float32(box), 0.9, name) for name, box in named]


def named_in(folder, to, **options):
    table = quietly("xmp", folder, to, **options).table
    return table[["identity", *BOX]]


@pytest.mark.parametrize("orientation", STORED)
def test_what_is_written_is_read(tmp_path, orientation):
    stored = np.ascontiguousarray(STORED[orientation](np.asarray(picture())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = save(Image.fromarray(stored), tmp_path / "мои фото/1 a.jpg", exif=exif)
    before = photo.read_bytes()
    given = faces(("Анна & <Ким>", ANNA), ("", (1, 1, 9, 9)), ("Boris", BORIS))
    assert write_regions(photo, given) == photo.with_name("1 a.jpg.xmp")
    assert photo.read_bytes() == before
    found = named_in(tmp_path / "мои фото", tmp_path / "to")
    assert found["identity"].tolist() == ["Анна & <Ким>", "Boris"]
    np.testing.assert_allclose(found[BOX], [ANNA, BORIS], atol=0.06)
    # Once more: nothing is written twice.
    write_regions(photo, given)
    assert len(named_in(tmp_path / "мои фото", tmp_path / "again")) == 2


def test_nobody_named_writes_nothing(tmp_path):
    photo = save(picture(), tmp_path / "1.jpg")
    assert write_regions(photo, faces(("", ANNA))) is None
    assert [file.name for file in tmp_path.iterdir()] == ["1.jpg"]


OTHERS = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:dc="http://purl.org/dc/elements/1.1/">
<rdf:Description rdf:about="" dc:format="image/jpeg">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">At the sea</rdf:li></rdf:Alt></dc:title>
<mwg-rs:Regions rdf:parseType="Resource">
<mwg-rs:AppliedToDimensions stDim:w="128" stDim:h="96" stDim:unit="pixel"/>
<mwg-rs:RegionList><rdf:Bag>{regions}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
REGION = """<rdf:li rdf:parseType="Resource"><mwg-rs:Area stArea:x="0.3125" stArea:y="0.375"
 stArea:w="0.3125" stArea:h="0.5" stArea:unit="normalized"/>{name}
 <mwg-rs:Type>Face</mwg-rs:Type></rdf:li>"""


@pytest.mark.parametrize("name", ["1.jpg.xmp", "1.xmp"])
@pytest.mark.parametrize(
    ("there", "left"), [("<mwg-rs:Name>Anja</mwg-rs:Name>", "Anja"), ("<mwg-rs:Name/>", "Anna"),
                        ("", "Anna")],
)  # fmt: skip
def test_what_stands_beside_the_photo_stays(tmp_path, name, there, left):
    photo = save(picture(), tmp_path / "in/1.jpg")
    sidecar = write(photo.with_name(name), OTHERS.format(regions=REGION.format(name=there)))
    assert write_regions(photo, faces(("Anna", ANNA), ("Boris", BORIS))) == sidecar
    found = named_in(tmp_path / "in", tmp_path / "to")
    assert found["identity"].tolist() == [left, "Boris"]
    np.testing.assert_allclose(found[BOX], [ANNA, BORIS], atol=0.06)
    text = sidecar.read_text(encoding="utf-8")
    assert "At the sea" in text and 'dc:format="image/jpeg"' in text


def test_own_names_are_taken_back_and_those_of_people_stay(tmp_path):
    photo = save(picture(), tmp_path / "in/1.jpg")
    sidecar = write_regions(photo, faces(("Vera", ANNA), ("Boris", BORIS)))

    def named():
        regions = regions_of(read_xml(sidecar))
        return [value_of(region, f"{REGIONS}Name") for region in regions]

    # One was somebody else, and the other is nobody.
    assert write_regions(photo, faces(("Anna", ANNA), ("", BORIS))) == sidecar
    assert named() == ["Anna", ""]
    # A person gives one another name: that stays.
    text = sidecar.read_text(encoding="utf-8")
    assert text.count('mwg-rs:Name="Anna"') == 1
    write(sidecar, text.replace('mwg-rs:Name="Anna"', 'mwg-rs:Name="Anja"'))
    write_regions(photo, faces(("Anna", ANNA)))
    assert named() == ["Anja", ""]
    assert write_regions(photo, faces(("Anna", ANNA))) is None


@pytest.mark.parametrize("beside", [False, True])
def test_regions_within_the_photo_are_taken_along(tmp_path, beside):
    own = OTHERS.format(regions=REGION.format(name="<mwg-rs:Name>Anja</mwg-rs:Name>"))
    photo = save(picture(), tmp_path / "in/1.jpg", xmp=own.encode())
    if beside:
        write(photo.with_name("1.jpg.xmp"), OTHERS.format(regions=""))
    write_regions(photo, faces(("Anna", ANNA), ("Boris", BORIS)))
    found = named_in(tmp_path / "in", tmp_path / "to")
    assert found["identity"].tolist() == ["Anja", "Boris"]
    np.testing.assert_allclose(found[BOX], [ANNA, BORIS], atol=0.06)


def test_what_cannot_be_read_stays_as_it_is(tmp_path):
    photo = save(picture(), tmp_path / "1.jpg")
    other = OTHERS.format(regions="").replace('"128"', '"500"')
    for text, told in (("<x", r"1\.jpg\.xmp: no XML"), (other, "of a photo of another shape")):
        sidecar = write(photo.with_name("1.jpg.xmp"), text)
        with pytest.raises(SourceError, match=told):
            write_regions(photo, faces(("Anna", ANNA)))
        assert sidecar.read_text(encoding="utf-8") == text
