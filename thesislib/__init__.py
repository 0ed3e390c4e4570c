"""Joint face detection and identification in a single CNN: companion to the thesis.

>>> import thesislib as tl
>>> dataset = tl.read_dataset("data/synthetic")  # doctest: +SKIP
>>> net = tl.train(dataset, "laptop", out="runs/mine")  # doctest: +SKIP
>>> faces = net.predict("party.jpg")  # doctest: +SKIP
"""

import importlib
from typing import Any

from thesislib.environment import wait_briefly

# Before PyTorch is loaded, which reads it then.
wait_briefly()

# Where each word of the front door is found; loaded when it is first used.
_WORDS = {
    "read_dataset": "thesislib.data.schema",
    "Dataset": "thesislib.data.schema",
    "import_folder": "thesislib.data.importers",
    "import_photos": "thesislib.data.importers",
    "train": "thesislib.engine.train",
    "load": "thesislib.engine.checkpoint:load_net",
    "predict": "thesislib.engine.predict",
    "evaluate": "thesislib.engine.evaluate",
    "Report": "thesislib.engine.evaluate",
    "draw": "thesislib.reporting.draw",
    "Face": "thesislib.faces",
    "Gallery": "thesislib.deploy.gallery",
    "Recogniser": "thesislib.deploy.recogniser",
    "JointNet": "thesislib.models.joint",
    "Profile": "thesislib.profiles",
    "PROFILES": "thesislib.profiles",
}
__all__ = [*_WORDS]


def __getattr__(name: str) -> Any:
    if name not in _WORDS:
        raise AttributeError(f"module 'thesislib' has no attribute {name!r}")
    module, _, attribute = _WORDS[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_WORDS])
