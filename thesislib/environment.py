"""Start-up check: do the installed torch and torchvision belong together?"""

import importlib.metadata


class EnvironmentMismatchError(ImportError):
    """Installed packages do not fit each other."""


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
