"""Work shared out over the processes that ``torchrun`` started; alone there is one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm


def this_process() -> PartialState:
    """This process among those that ``torchrun`` started; alone it is the main one."""
    return PartialState(cpu=not torch.cuda.is_available())


def share_out(items: Sequence, work: Callable[[Any], Any], bar: tqdm | None = None) -> list:
    """Results of ``work`` for all items, in order, in every process; each process does its part.

    Args:
        items: pieces of work, the same in every process.
        work: from an item to something that can be pickled.
        bar: advanced by one at every item of this process.

    Raises:
        Exception: what ``work`` raises in any process, in all of them; the first by order of
            processes.
    """
    state = this_process()
    mine: list[tuple[int, Any]] = []
    error: Exception | None = None
    for at in range(state.process_index, len(items), state.num_processes):
        try:
            mine.append((at, work(items[at])))
        except Exception as raised:
            if state.num_processes == 1:
                raise
            error = raised  # others wait for this process: they must hear of it
            break
        if bar is not None:
            bar.update()
    if state.num_processes == 1:
        return [result for _, result in mine]
    everyone = gather_object([(mine, error)])
    for _, failure in everyone:
        if failure is not None:
            raise failure
    results = dict(pair for part, _ in everyone for pair in part)
    return [results[at] for at in range(len(items))]
