"""What is installed, and how its threads and processes wait and end."""

import functools
import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import subprocess
import threading
from pathlib import Path
from types import ModuleType


class EnvironmentMismatchError(ImportError):
    """Installed packages do not fit each other."""


class MissingExtraError(ImportError):
    """A package is missing that comes with one of thesislib's extras."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module that not every installation has.

    Args:
        module: its full name, such as ``"openvino"`` or ``"umap"``.
        extra: the extra of thesislib that installs it, such as ``"deploy"``.

    Returns:
        The module.

    Raises:
        MissingExtraError: it is not installed; the message has the command that installs it.
        ImportError: it is installed and fails to import, for instance because a package that it
            needs is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise  # the package is there: installing it again would not help
        raise MissingExtraError(
            f"{package} is not installed. It comes with the extra {extra!r}: "
            f"pip install 'thesislib[{extra}]'",
            name=error.name,
        ) from error


def dlib_file(name: str) -> Path:
    """A file of weights in the Python package ``face-recognition-models``.

    The package is looked up, not imported: importing it needs a module that Python has dropped.

    Raises:
        MissingExtraError: the package is not installed, or lacks the file.
    """
    found = importlib.util.find_spec("face_recognition_models")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "models" / name
        if path.is_file():
            return path
    raise MissingExtraError(
        f"dlib's {name} is not installed. It comes with the extra 'teacher': "
        "pip install 'thesislib[teacher]'",
        name="face_recognition_models",
    )


def wait_briefly() -> None:
    """Let OpenMP threads sleep soon while they wait for each other, unless the user has chosen.

    By default they spin for long. On a machine where anything else runs, a thread that spins takes
    the core from the one it waits for. Not to spin at all (``OMP_WAIT_POLICY=PASSIVE``) makes a
    small net a third slower on a quiet machine (docs/speed.md). The OpenMP library reads the
    setting once, when it is loaded, so this must run before torch is imported; later it changes
    nothing. A value of ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` in the environment wins.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def check_versions() -> None:
    """Import torchvision's compiled operators once and say plainly when they do not fit torch.

    Raises:
        EnvironmentMismatchError: torchvision was built for another torch, which otherwise shows
            much later as ``operator torchvision::nms does not exist``.
    """
    import torch

    try:
        import torchvision

        _ = torch.ops.torchvision.nms
    except (RuntimeError, AttributeError, ImportError) as error:
        raise EnvironmentMismatchError(
            f"torch {_version('torch')} and torchvision {_version('torchvision')} do not fit each "
            f"other ({error}). Install the pair that requirements.lock names: run `make env`, or "
            "pip install -r requirements.lock"
        ) from error
    del torchvision


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


@functools.cache
def commit() -> str:
    """Short hash of the commit that runs, with ``+`` where files differ from it.

    That of the first call, as a process keeps the code that it has loaded. Outside a clone it is
    the version of the installed package.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return _version("thesislib")
    words = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or _version("thesislib")


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, even if that was killed.

    It would wait for work for ever, and keep what it has locked.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
