"""What is told when packages are missing or do not fit, and how threads wait."""

import os
import subprocess
import sys
import types
from importlib.metadata import version

import pytest
import torch

from thesislib.environment import (
    EnvironmentMismatchError,
    MissingExtraError,
    check_versions,
    require,
    wait_briefly,
)

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


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


def test_require_gives_the_module_itself():
    assert require("os.path", extra="deploy") is os.path


@pytest.mark.parametrize("module", ["nowhere_to_be_found", "nowhere_to_be_found.inner"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(module):
    with pytest.raises(MissingExtraError) as caught:
        require(module, extra="deploy")
    assert "pip install 'thesislib[deploy]'" in str(caught.value)
    assert "nowhere_to_be_found is not installed" in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_a_package_that_lacks_another_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "half_installed.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        require("half_installed", extra="deploy")


def test_a_package_that_breaks_keeps_its_own_error(monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text("raise ImportError('wrong version of glibc')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="glibc") as caught:
        require("broken_package", extra="deploy")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "1000"}, {"GOMP_SPINCOUNT": "1000"}),
    ],
)
def test_threads_wait_briefly_unless_the_user_says_otherwise(monkeypatch, chosen, expected):
    variables = dict(chosen)
    monkeypatch.setattr(os, "environ", variables)
    wait_briefly()
    assert variables == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libgomp is Linux's")
def test_torch_reads_the_setting_made_before_it_loads():
    program = "from thesislib.environment import wait_briefly; wait_briefly(); import torch"
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    environment["OMP_DISPLAY_ENV"] = "VERBOSE"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert "GOMP_SPINCOUNT = '10000'" in done.stderr
