"""Trainings that need not wait for each other, done several at a time before the experiments.

A small net keeps no two cores busy: one trains a ResNet18 of 96 pixels in nearly the time that two
do. Each training therefore has a process and a share of the cores of its own. The nets are those
that the experiments would train; they find them where they look for them. On the command line::

    python -m thesislib train-ahead --profile quick
"""

import dataclasses
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import NamedTuple

import torch
from tqdm.auto import tqdm

from thesislib.engine.processes import this_process
from thesislib.environment import end_with_parent
from thesislib.experiments import embeddings, systems
from thesislib.experiments.arms import arm_of, arms_of
from thesislib.experiments.config import Config, with_seeds
from thesislib.experiments.groups import people
from thesislib.tables import MAIN_ARM, STARTED_ARM


class Training(NamedTuple):
    """A net that an experiment needs."""

    config: Config
    system: str  # its name in systems.LABELS
    of_strangers: bool  # for Experiment 3, whose training part leaves people out


def trainings_of(config: Config) -> list[Training]:
    """What the experiments of the default run train from random weights, the longest first.

    Args:
        config: of Experiment 1, about synthetic people.
    """
    strangers = embeddings.make_config(None, config.profile, config.seed)
    arms = [arm for arm in arms_of(config.profile) if arm != STARTED_ARM]
    found = [
        *(
            Training(arm_of(strangers, MAIN_ARM).config, system, True)
            for system in ("two_stage_face", "two_stage_aligned")
        ),
        *(Training(arm_of(strangers, arm).config, "joint", True) for arm in arms),
        *(
            Training(one, system, False)
            for one in with_seeds(config)
            for system in systems.systems_of(one)
            if one.seed == config.seed or system in systems.REPEATED
        ),
    ]
    if config.profile.name == "quick" and config.split != "session":  # of the stand-in
        found.append(Training(dataclasses.replace(config, split="session"), "joint", False))
    return found


def train_ahead(config: Config, progress: bool = True) -> None:
    """Train them, as many at a time as there are cores; those that are done are left.

    An interrupted call goes on, training by training. On a GPU, and under ``torchrun``, nothing is
    done: there a training is better alone.

    Args:
        config: see :func:`trainings_of`; its dataset is there.
        progress: show a bar.
    """
    if torch.cuda.is_available() or this_process().num_processes > 1:
        return
    jobs = trainings_of(config)
    cores = torch.get_num_threads()
    workers = min(cores, len(jobs))
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),  # a forked process would share OpenMP's threads
        _alone,
        (max(1, cores // workers),),
    )
    bar = tqdm(total=len(jobs), desc="training nets", unit="net", disable=not progress)
    running: set[Future] = set()
    with bar, pool:
        while jobs or running:
            # None is queued, so that after an error or Ctrl-C no further one begins.
            while jobs and len(running) < workers:
                running.add(pool.submit(_train, jobs.pop(0)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
                bar.update()


def _alone(threads: int) -> None:
    """What a process does before its first training."""
    torch.set_num_threads(threads)
    os.environ["TQDM_DISABLE"] = "1"  # bars of several trainings would write over each other
    end_with_parent()


def _train(job: Training) -> None:
    train = people(job.config).train if job.of_strangers else None
    systems.trained(job.config, job.system, train)
