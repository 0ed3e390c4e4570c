"""The command line: ``python -m thesislib <command> --help`` says what each command takes.

Commands are functions; their options are the functions' parameters and the fields of
:class:`thesislib.profiles.Profile`, so that no option is written down twice.
"""

import signal
import sys
from collections.abc import Callable, Sequence

import tyro

from thesislib.commands import experiments, galleries, nets, photos

COMMANDS: tuple[Callable, ...] = (
    photos.recognise,
    photos.album,
    galleries.enrol,
    galleries.enrol_folder,
    galleries.enrol_dataset,
    galleries.people,
    galleries.forget,
    photos.predict,
    nets.data,
    nets.train,
    nets.evaluate,
    nets.export,
    nets.distil,
    nets.release,
    experiments.train_ahead,
    experiments.experiment1,
    experiments.compare,
    experiments.experiment2,
    experiments.experiment3,
    experiments.recogniser,
    experiments.face_sizes,
    experiments.pretraining,
    experiments.stand_in,
    experiments.benchmark,
    experiments.recogniser_speed,
    experiments.gallery_speed,
    experiments.training_speed,
    experiments.printed,
    experiments.publish,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: its words; None for those of the process.

    Returns:
        0, or 1 with a sentence on the standard error: what the user can mend has no traceback.
    """
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(command)
    try:
        app.cli(
            prog="python -m thesislib",
            description="Joint face detection and identification in a single CNN.",
            args=None if argv is None else list(argv),
        )
    except KeyboardInterrupt:
        print("\ninterrupted; trainings and --out folders resume", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if _is_asked_to_end:  # in the middle of an import, which then fails in words of its own
            return 143
        if isinstance(error, RuntimeError) and not _can_be_mended(error):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


_is_asked_to_end: list[bool] = []


def _end(*_: object) -> None:
    """Asked to end, it cleans up: photos unpacked from an archive are not left behind."""
    _is_asked_to_end.append(True)
    sys.exit(143)


def _can_be_mended(error: RuntimeError) -> bool:
    """Whether it is one of the library's own, whose message says what to do."""
    return type(error).__module__.startswith("thesislib.")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
