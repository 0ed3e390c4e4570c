"""Ctrl-C while something is under way that is better finished first."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C of the block; the block asks for it and ends when it suits.

    A second one interrupts at once. Where a program listens for Ctrl-C itself, and outside of the
    main thread, nothing is held back.

    Yields:
        whether there was one.

    Raises:
        KeyboardInterrupt: at the end of the block, if there was one.
    """
    asked = False

    def note(*_: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
