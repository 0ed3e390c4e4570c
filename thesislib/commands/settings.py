"""What commands share: settings of a profile as options, progress, and what is printed."""

import dataclasses
import os
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from thesislib.profiles import PROFILES, Margin, Profile

Split = Literal["photo", "session"]
# Beside one that must be given: a tuple alone may be empty.
More = Positional[tuple[Path, ...]]


def _changes() -> type:
    """A dataclass of all settings of a profile, each None: not changed."""
    # One option for a margin's three fields, in their order.
    hints = typing.get_type_hints(Profile) | {"margin": tuple[str, float, float]}
    fields = []
    for field in dataclasses.fields(Profile):
        if field.name != "name":
            told = arg(help="Overrides the profile.")
            hint = Annotated[hints[field.name] | None, told]  # type: ignore
            fields.append((field.name, hint, dataclasses.field(default=None)))
    return dataclasses.make_dataclass("Changes", fields, frozen=True)


if typing.TYPE_CHECKING:
    Changes: typing.TypeAlias = Any
    ProfileName: typing.TypeAlias = str
else:
    Changes = Annotated[_changes(), arg(name="", help="settings")]
    ProfileName = Literal[tuple(PROFILES)]


def given(changes: Any) -> dict[str, Any]:
    """The settings that were asked for."""
    asked = {name: v for name, v in dataclasses.asdict(changes).items() if v is not None}
    if "margin" in asked:
        asked["margin"] = Margin(*asked["margin"])
    return asked


def changed(profile: str, changes: Any) -> Profile:
    return dataclasses.replace(PROFILES[profile], **given(changes))


def progress() -> bool:
    return not os.environ.get("TQDM_DISABLE")


def show(table: Any, *keys: str) -> None:
    if is_main():
        shown = table[[*keys, "metric", "value", "low", "high", "n"]]
        print(shown.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def is_main() -> bool:
    from thesislib.engine.processes import this_process

    return this_process().is_main_process
