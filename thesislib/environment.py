"""Start-up check: do the installed torch and torchvision belong together?"""


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
        from importlib.metadata import version

        raise EnvironmentMismatchError(
            f"torch {version('torch')} and torchvision {version('torchvision')} do not fit each "
            f"other ({error}). Install the pair that requirements.lock names: run `make env`, or "
            "pip install -r requirements.lock"
        ) from error
    del torchvision
