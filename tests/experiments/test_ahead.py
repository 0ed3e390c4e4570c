"""Trainings that are done before the experiments, several at a time."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from thesislib.experiments import ahead, embeddings
from thesislib.experiments import config as configs
from thesislib.experiments.arms import arm_of, arms_of
from thesislib.profiles import get_profile


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(configs, "make_synthetic", lambda people: configs.paths.synthetic(people))
    return configs.make_config(None, "smoke", seed=3)


class AtOnce:
    """Stands in for a pool of processes."""

    made: list[tuple]

    def __init__(self, workers, context, initializer, threads):
        AtOnce.made.append((workers, context.get_start_method(), threads))

    def submit(self, work, job):
        done = Future()
        try:
            done.set_result(work(job))
        except Exception as error:
            done.set_exception(error)
        return done

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def pool(monkeypatch):
    AtOnce.made = []
    monkeypatch.setattr(ahead, "ProcessPoolExecutor", AtOnce)
    monkeypatch.setattr(ahead.torch, "get_num_threads", lambda: 2)


def test_the_nets_are_those_that_the_experiments_look_for(config):
    found = ahead.trainings_of(config)
    assert len(set(found)) == len(found)
    own = [(job.config, job.system) for job in found if not job.of_strangers]
    assert own == [(config, name) for name in ("joint", "two_stage_photo", "two_stage_face")]
    quick = ahead.trainings_of(configs.make_config(None, "quick", seed=3))
    session = configs.make_config(None, "quick", "session", seed=3)  # of the stand-in
    assert quick[-1] == (session, "joint", False)
    again = [job.system for job in quick if not job.of_strangers and job.config.seed > 3]
    assert again == 2 * ["joint", "two_stage_photo"]
    strangers = [(job.config, job.system) for job in found if job.of_strangers]
    third = embeddings.make_config(None, "smoke", 3)
    main = arm_of(third, "normalised").config
    systems = ("two_stage_face", "two_stage_aligned", "joint")
    assert strangers == [(main, system) for system in systems]


def test_every_core_has_a_training(config, pool, monkeypatch):
    done = []

    def trained(config, system, train):
        done.append((config.data.name, config.split, system, train))

    monkeypatch.setattr(ahead.systems, "trained", trained)
    monkeypatch.setattr(ahead, "people", lambda config: type("P", (), {"train": "some of them"}))
    ahead.train_ahead(config, progress=False)
    assert AtOnce.made == [(2, "spawn", (1,))]
    assert len(done) == len(ahead.trainings_of(config))
    assert {train for _, split, _, train in done if split == "identity"} == {"some of them"}
    assert {train for _, split, _, train in done if split != "identity"} == {None}


def test_what_goes_wrong_in_a_training_is_told(config, pool, monkeypatch):
    def trained(config, system, train):
        raise ValueError(f"{system} cannot be trained")

    monkeypatch.setattr(ahead.systems, "trained", trained)
    monkeypatch.setattr(ahead, "people", lambda config: type("P", (), {"train": None}))
    with pytest.raises(ValueError, match="cannot be trained"):
        ahead.train_ahead(config, progress=False)


def test_on_a_gpu_a_training_is_better_alone(config, pool, monkeypatch):
    monkeypatch.setattr(ahead.torch.cuda, "is_available", lambda: True)
    ahead.train_ahead(config, progress=False)
    assert AtOnce.made == []


def test_several_processes_train_together_and_none_ahead(config, pool, monkeypatch):
    monkeypatch.setattr(ahead, "this_process", lambda: SimpleNamespace(num_processes=2))
    ahead.train_ahead(config, progress=False)
    assert AtOnce.made == []


def test_the_profile_quick_has_one_net_from_scratch_for_strangers():
    assert arms_of(get_profile("quick")) == ["normalised", "started"]
