"""A torchvision that does not fit torch is told at once, with what to do."""

import sys
import types
from importlib.metadata import version

import pytest
import torch

from thesislib.environment import EnvironmentMismatchError, check_versions


def test_what_is_installed_here_fits():
    check_versions()


def assert_plain_advice(reason):
    with pytest.raises(EnvironmentMismatchError) as caught:
        check_versions()
    message = str(caught.value)
    for part in ("do not fit each other", reason, version("torch"), "requirements.lock"):
        assert part in message


def test_missing_compiled_operators_are_told(monkeypatch):
    monkeypatch.setattr(torch.ops, "torchvision", types.SimpleNamespace())
    assert_plain_advice("nms")


def test_a_torchvision_that_fails_to_import_is_told(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision")
    assert_plain_advice("operator torchvision::nms does not exist")
