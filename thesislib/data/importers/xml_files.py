"""XML, read safely."""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml
from defusedxml.ElementTree import fromstring

from thesislib.data.importers.source import SourceError


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        SourceError: see :func:`xml_of`.
    """
    return xml_of(path, path.read_bytes())


def xml_of(where: Path, text: bytes) -> Element:
    """The root of an XML text.

    Args:
        where: the file it stands in, for messages.
        text: in whatever encoding it declares.

    Raises:
        SourceError: it is no XML, or swells when it is read.
    """
    try:
        return fromstring(text)
    except (ParseError, defusedxml.DefusedXmlException, ValueError, LookupError) as error:
        raise SourceError(f"{where}: no XML that can be read ({error})") from None
