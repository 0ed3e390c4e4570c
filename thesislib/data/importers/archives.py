"""Archives unpacked safely into a temporary folder."""

import contextlib
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from thesislib.data.importers.source import SourceError

MAX_UNPACKED = 64 * 2**30  # bytes; beyond that an archive is a mistake or a bomb


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder itself, or a temporary one with what an archive holds.

    Args:
        path: a folder, or a zip or tar archive; a member whose name or link leads out of the
            archive is refused.

    Raises:
        SourceError: an archive that is damaged, unsafe, or larger than ``MAX_UNPACKED``.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / path.name.split(".")[0]
        folder.mkdir()
        try:
            if zipfile.is_zipfile(path):
                _unpack_zip(path, folder)
            elif tarfile.is_tarfile(path):
                _unpack_tar(path, folder)
            else:
                raise SourceError(f"{path}: neither a folder nor a zip or tar archive")
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise SourceError(f"{path}: damaged or unsafe archive ({error})") from None
        yield folder


def _check_size(path: Path, total: int) -> None:
    if total > MAX_UNPACKED:
        raise SourceError(f"{path}: unpacks to more than {MAX_UNPACKED / 2**30:g} GiB")


def _unpack_zip(path: Path, to: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_size(path, sum(member.file_size for member in members))
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            linked = stat.S_ISLNK(member.external_attr >> 16)
            if name.is_absolute() or ".." in name.parts or linked:
                raise SourceError(f"{path}: member {member.filename!r} leads out of the archive")
        archive.extractall(to)


def _unpack_tar(path: Path, to: Path) -> None:
    with tarfile.open(path) as archive:
        total = 0
        for member in archive:
            total += member.size
            _check_size(path, total)
            try:
                archive.extract(member, to, filter="data")
            except tarfile.FilterError:
                raise SourceError(
                    f"{path}: member {member.name!r} leads out of the archive"
                ) from None
