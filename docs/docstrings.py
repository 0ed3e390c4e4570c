"""Docstrings as Markdown; cross references and formulas in them are reStructuredText's."""

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?\.?([\w.\s]+?)`")
MATH = re.compile(r"^([ ]*)\.\. math::[ ]*\n((?:\1[ ]+\S.*\n?|[ ]*\n)+)", re.MULTILINE)


# Arguments that share a description, "rows, columns: of the grid.", with its further lines.
SHARED = re.compile(
    r"^(?P<indent>[ ]+)(?P<names>\w+(?:, \w+)+):(?P<text>.*\n?(?:(?P=indent)[ ]+\S.*\n?)*)",
    re.MULTILINE,
)
DOCTEST = re.compile(r"^(?P<indent>[ ]*)>>>.*\n?(?:(?P=indent)\S.*\n?)*", re.MULTILINE)
# "Raises: as the function that is called."
RAISES = re.compile(r"^(Raises:\n +)(?=(?:see|as) )", re.MULTILINE)
# Indices: to Markdown "[n][k]" would be a link.
INDICES = re.compile(r"\]\[")


class Docstrings(griffe.Extension):
    """Turns roles into links to the reference, ``.. math::`` into formulas, and so on."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrite every docstring, once all of them are known."""
        self._rewrite(pkg, pkg)

    def _rewrite(self, found: griffe.Object, package: griffe.Module) -> None:
        if found.docstring is not None:
            text = DOCTEST.sub(self._example, found.docstring.value)
            text = text if "```" in text else INDICES.sub(r"]\\[", text)
            text = MATH.sub(self._formula, text)
            text = RAISES.sub(r"\1Exception: ", SHARED.sub(self._each, text))
            found.docstring.value = ROLE.sub(lambda match: self._link(match, found, package), text)
        for member in found.members.values():
            if not member.is_alias:
                self._rewrite(member, package)

    def _example(self, match: re.Match) -> str:
        indent = match["indent"]
        return f"{indent}```pycon\n{match[0].rstrip()}\n{indent}```\n"

    def _each(self, match: re.Match) -> str:
        text = match["text"].rstrip("\n")
        return "".join(f"{match['indent']}{name}:{text}\n" for name in match["names"].split(", "))

    def _formula(self, match: re.Match) -> str:
        indent, body = match.groups()
        formula = textwrap.dedent(body).strip()
        return textwrap.indent(f"$$\n{formula}\n$$\n\n", indent)

    def _link(self, match: re.Match, found: griffe.Object, package: griffe.Module) -> str:
        # A name that is broken over two lines has a blank in it.
        name = re.sub(r"\s+", "", match.group(1))
        short = name.rpartition(".")[2]
        for path in (name, self._resolved(found, name)):
            if path is not None and self._has_page(path, package):
                return f"[`{short}`][{path}]"
        return f"`{short}`"

    def _has_page(self, path: str, package: griffe.Module) -> bool:
        inner = path.removeprefix(f"{package.name}.")
        if inner == path or any(part.startswith("_") for part in inner.split(".")):
            return False
        try:
            return package[inner].has_docstrings
        except KeyError:
            return False

    def _resolved(self, found: griffe.Object, name: str) -> str | None:
        try:
            return found.resolve(name)
        except griffe.NameResolutionError:
            return None
