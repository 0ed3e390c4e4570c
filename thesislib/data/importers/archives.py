"""Archives unpacked safely into a temporary folder."""

import contextlib
import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from thesislib.data.importers.source import SourceError
from thesislib.data.names import decoded, short_name

_UTF8 = 0x800  # flag of a zip member whose name is UTF-8
_UNICODE_PATH = 0x7075  # extra field of Info-ZIP with a name in UTF-8
_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST = 240  # bytes of a file's name: what disks take is 255
MAX_UNPACKED = 64 * 2**30  # bytes; beyond that an archive is a mistake or a bomb
# What reading a damaged archive, or one of a kind that is not known, leads to.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, NotImplementedError, RecursionError, ValueError, struct.error),
)


@contextlib.contextmanager
def unpacked(path: Path, said: list[str], encoding: str | None = None) -> Iterator[Path]:
    """The folder itself, or a temporary one with what an archive holds.

    Names of its files come out in the letters they were written in, whatever code page the archive
    keeps them in, with either slash between folders, and cut where no disk would take them.

    Args:
        path: a folder, or a zip or tar archive; a member whose name leads out of the archive is
            refused, and so is a link.
        said: to which is added how names were read.
        encoding: code page of an archive's names; None where it can be told from them.

    Raises:
        SourceError: an archive that is damaged, encrypted, unsafe, larger than ``MAX_UNPACKED``,
            with two members of one name, or with names in a code page that cannot be told.
    """
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / (path.name.strip(".").split(".")[0] or "archive")
        folder.mkdir()
        try:
            if zipfile.is_zipfile(path):
                _unpack_zip(path, folder, said, encoding)
            elif tarfile.is_tarfile(path):
                _unpack_tar(path, folder, said, encoding)
            else:
                raise SourceError(f"{path}: neither a folder nor a zip or tar archive")
        except SourceError:
            raise
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise SourceError(f"{temporary}: no room on the disk to unpack {path}") from None
            raise SourceError(f"{path}: damaged archive, or of a kind not read ({error})") from None
        yield folder


def _check_size(path: Path, total: int) -> None:
    if total > MAX_UNPACKED:
        raise SourceError(f"{path}: unpacks to more than {MAX_UNPACKED / 2**30:g} GiB")


def _unpack_zip(path: Path, to: Path, said: list[str], encoding: str | None) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.orig_filename.endswith("\\")
        ]
        _check_size(path, sum(member.file_size for member in members))
        known = [_unicode_name(member) for member in members]
        # Names that a zip does not tell to be UTF-8, Python takes for DOS's first code page.
        raw = [
            member.orig_filename.encode("cp437")
            for member, name in zip(members, known, strict=True)
            if name is None
        ]
        told = iter(_names(path, raw, said, encoding))
        names = [next(told) if name is None else name for name in known]
        taken: set[Path] = set()
        for member, name in zip(members, names, strict=True):
            if member.flag_bits & 1:
                raise SourceError(f"{path}: is encrypted; unpack it first")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise SourceError(f"{path}: member {name!r} is a link, which is not followed")
            with archive.open(member) as stored:
                _write(path, to, name, stored, taken)


def _unicode_name(member: zipfile.ZipInfo) -> str | None:
    """A member's name where the zip tells it in Unicode, by a flag or by an extra field.

    The field counts if it has the checksum of the name that it stands for (APPNOTE 6.3, section
    4.6.9).
    """
    if member.flag_bits & _UTF8:
        return member.orig_filename
    extra, raw = member.extra, member.orig_filename.encode("cp437")
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        checksum = struct.pack("<I", zlib.crc32(raw))
        if kind == _UNICODE_PATH and field[1:5] == checksum:
            return field[5:].decode()
    return None


def _unpack_tar(path: Path, to: Path, said: list[str], encoding: str | None) -> None:
    with tarfile.open(path) as archive:
        total, members = 0, []
        for member in archive:
            total += member.size
            _check_size(path, total)
            if not member.isdir():
                members.append(member)
        _check_end(path, archive)
        raw = [member.name.encode("utf-8", "surrogateescape") for member in members]
        taken: set[Path] = set()
        for member, name in zip(members, _names(path, raw, said, encoding), strict=True):
            try:
                stored = archive.extractfile(member)  # of a link what it leads to in the archive
            except KeyError:
                raise _leads_out(path, name) from None
            if stored is not None:
                _write(path, to, name, stored, taken)
            elif not member.issym():  # a device; a link to a folder adds nothing to that folder
                raise _leads_out(path, name)


def _check_end(path: Path, archive: tarfile.TarFile) -> None:
    """Read on to the end: tarfile takes a broken header for it, and leaves checksums unread.

    Raises:
        SourceError: there is more, or less, than an archive's end.
    """
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    end = file.read(tarfile.BLOCKSIZE)
    while file.read(2**20):
        pass
    if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise SourceError(f"{path}: damaged archive: it does not end where its members do")


def _leads_out(path: Path, name: str) -> SourceError:
    return SourceError(f"{path}: member {name!r} leads out of the archive")


def _names(path: Path, raw: Sequence[bytes], said: list[str], encoding: str | None) -> list[str]:
    """Names of an archive's members, which it does not always tell the code page of."""
    foreign = [name for name in raw if not name.isascii()]
    if encoding is not None:
        try:
            return [name.decode(encoding) for name in raw]
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(f"{path}: names are not in {encoding} ({error})") from None
    told = decoded(foreign)
    if told is None:
        raise SourceError(
            f"{path}: names such as {foreign[0].decode('cp437')!r} are in a code page that is not "
            "told; say which with --encoding, as in --encoding cp866"
        )
    if told[1] != "utf-8":
        said.append(f"names that are not UTF-8 are read as {told[1]}")
    return [name.decode(told[1]) for name in raw]


def _write(path: Path, to: Path, name: str, stored: IO[bytes], taken: set[Path]) -> None:
    """Write a member, unless its name leads out of the folder or is another one's."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if not pure.parts:
        return
    if pure.is_absolute() or ".." in pure.parts or _DRIVE.match(pure.parts[0]):
        raise _leads_out(path, name)
    parts = [short_name(part, most=_LONGEST) for part in pure.parts[:-1]]
    file = to.joinpath(*parts, short_name(pure.stem, pure.suffix, _LONGEST))
    if file in taken:
        raise SourceError(f"{path}: two members are named {name!r}; unpack it and rename one")
    taken.add(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as out:
        shutil.copyfileobj(stored, out)
