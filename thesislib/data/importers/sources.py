"""The sources that can be imported, by name."""

from collections.abc import Callable

from thesislib.data.importers.caltech_faces_1999 import caltech_faces_1999
from thesislib.data.importers.celeba import celeba
from thesislib.data.importers.coco import coco
from thesislib.data.importers.fei import fei
from thesislib.data.importers.folder import folder
from thesislib.data.importers.georgia_tech import georgia_tech
from thesislib.data.importers.lfw import lfw
from thesislib.data.importers.source import Entry
from thesislib.data.importers.wider_face import wider_face

SOURCES: dict[str, Callable[..., list[Entry]]] = {
    read.__name__: read
    for read in (georgia_tech, caltech_faces_1999, fei, lfw, celeba, wider_face, coco, folder)
}
