"""Photos chosen in the browser, kept in a folder of this machine.

Importing it needs ipywidgets.
"""

import io
from collections.abc import Callable
from html import escape
from pathlib import Path, PureWindowsPath
from typing import Any

from PIL import Image

from thesislib import environment, storage
from thesislib.data.images import DRAWN, PHOTO_SUFFIXES, PhotoError, read_photo
from thesislib.data.names import plain_name, short_name

widgets: Any = environment.require("ipywidgets", extra="notebooks")


class PhotoUpload(widgets.VBox):
    """A button that takes photos from the browser and writes them into a folder.

    With a person's name in the field they go into a folder of that name, as
    :meth:`thesislib.deploy.gallery.Gallery.enrol_folder` reads it. What is no photo is not kept.

    Args:
        folder: made with the first photo.
        of_people: whether there is a field for the person's name, which then is needed.
        changed: called without arguments after photos were written.
    """

    def __init__(
        self,
        folder: Path | str,
        of_people: bool = False,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self.of_people, self.changed = Path(folder), of_people, changed
        self.name = widgets.Text(placeholder="name of the person")
        self.button = widgets.FileUpload(accept="image/*", multiple=True)
        self.message = widgets.HTML()
        self.button.observe(lambda change: self._take(change["new"]), names="value")
        row = [self.name, self.button] if of_people else [self.button]
        super().__init__([widgets.HBox(row), self.message])

    def add(self, name: str, content: bytes) -> Path:
        """Write one photo; of two with the same name the later one gets a number.

        Args:
            name: of the file, as the browser tells it.
            content: its bytes.

        Returns:
            where it was written.

        Raises:
            PhotoError: it is no photo that can be read; nothing is kept.
            ValueError: the field for the person's name is empty.
        """
        folder = self._folder()
        name = _file_name(name, content)
        path, number = folder / name, 1
        while path.exists() and path.read_bytes() != content:
            number += 1
            path = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
        try:
            with storage.atomic_write(path) as new:
                new.write_bytes(content)
                read_photo(new)
        except PhotoError as error:
            why = str(error).split(": ", 1)[-1]
            raise PhotoError(f"{name}: {why}") from None
        return path

    def _folder(self) -> Path:
        if not self.of_people:
            return self.folder
        person = plain_name(self.name.value)
        if not person:
            raise ValueError("whose photos are these? Write the name first")
        if set(person) & set("/\\:") or person.startswith("."):
            raise ValueError(f"{person}: a folder is to bear this name; leave out / \\ : and dots")
        return self.folder / person

    def _take(self, files: Any) -> None:
        if not files:
            return
        written, wrong = [], []
        for file in files:
            try:
                written.append(self.add(file["name"], bytes(file["content"])))
            except (PhotoError, ValueError, OSError) as error:
                wrong.append(str(error))
        count = "1 photo" if len(written) == 1 else f"{len(written)} photos"
        told = [f"{count} written to {written[0].parent}"] if written else []
        self.message.value = "<br>".join(escape(line) for line in [*told, *wrong])
        self.button.value = ()  # the same file may be chosen again
        if written and self.changed is not None:
            self.changed()


def _file_name(name: str, content: bytes) -> str:
    """A name by which the photo is found again: that of the browser, with an ending that photos
    have."""
    plain = PureWindowsPath(name).name.strip(" .")  # whichever way the slashes lean
    if plain.lower().endswith(DRAWN):
        plain = f"{plain[: -len(DRAWN)]} recognised.jpg"
    path = Path(plain or "photo")
    ending = path.suffix.lower()
    if ending not in PHOTO_SUFFIXES:
        try:
            with Image.open(io.BytesIO(content)) as image:
                ending = {"JPEG": ".jpg", "MPO": ".jpg"}.get(
                    image.format or "", f".{image.format}".lower()
                )
        except OSError:  # no photo: told when it is read
            ending = ".jpg"
        path = Path(f"{path.name}{ending}")
    return short_name(path.stem, path.suffix)
