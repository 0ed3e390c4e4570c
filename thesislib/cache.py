"""The one cache: what was computed is known by its configuration, its data and a version number.

Code is not part of the key. A change of code that changes results raises ``RESULTS_VERSION`` by
hand; any other edit leaves what was computed as it is.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thesislib import paths, storage

if TYPE_CHECKING:
    import pandas as pd

# Raised by hand whenever the same configuration and data would give other results.
RESULTS_VERSION = 1
CONFIG = "config.json"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot be part of a key: {value!r}")


def canonical(config: dict[str, Any]) -> str:
    """A configuration as JSON, the same whatever the order of its keys.

    Raises:
        TypeError: a value that is neither plain JSON, a dataclass nor a path.
    """
    return json.dumps(config, sort_keys=True, ensure_ascii=False, default=_plain)


def key(**config: Any) -> str:
    """Eight hexadecimal digits that tell this configuration from every other.

    Args:
        config: everything the results depend on: settings, hashes of the data, seed. Plain JSON
            values, dataclasses and paths.

    >>> key(seed=0, data="a") == key(data="a", seed=0)
    True
    >>> key(seed=0, data="a") == key(seed=1, data="a")
    False
    """
    text = canonical({"version": RESULTS_VERSION, **config})
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder(kind: str, name: str, **config: Any) -> Path:
    """The folder ``runs/<kind>/<name>-<key>`` of a configuration, made if it is not there.

    The configuration is written into it as ``config.json``, for people to read.
    """
    path = paths.RUNS / kind / f"{name}-{key(**config)}"
    if not (path / CONFIG).exists():
        settings = json.loads(canonical({"version": RESULTS_VERSION, **config}))
        storage.write_json(path / CONFIG, settings)
    return path


def table(path: Path, compute: Callable[[], "pd.DataFrame"]) -> "pd.DataFrame":
    """The table in a CSV file, computed and written if it is not there.

    Args:
        path: of the file, in a folder that :func:`folder` gave.
        compute: called without arguments.

    Returns:
        what was read back, so that the first call and every later one give the same.
    """
    from thesislib.tables import read_table

    if not path.exists():
        storage.write_text(path, compute().to_csv(index=False, lineterminator="\n"))
    return read_table(path)
