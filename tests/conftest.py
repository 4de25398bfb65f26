"""Models that tests need are built once and kept beside pytest's own cache, and what ran where is written down."""

import json
import os
import subprocess
from datetime import date
from pathlib import Path

import pytest

from tests.cells.table import check

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not here is not waited for; read when huggingface_hub is imported


@pytest.fixture(autouse=True)
def model_cache(request, monkeypatch):
    """Folder that ALIGNKIT_CACHE names while a test runs."""
    folder = request.config.cache.mkdir("alignkit")
    monkeypatch.setenv("ALIGNKIT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory):
    """Folder that ALIGNKIT_STATE names while tests run: the key of checkpoints is there, not the user's."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("state")
        patched.setenv("ALIGNKIT_STATE", str(folder))
        yield folder


def pytest_addoption(parser):
    parser.addoption("--results", type=Path, metavar="FILE", help="add a JSON row there for every cell that was tested")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A row for each `pytest.mark.cell(trainer=, distribution=, parameters=, device=)` of a test; see tests/cells.

    Such a test compares a run with the one-process run of the same global batch: its status is "equal", "failed", or
    "not run". With `shows="trains"` the test compares nothing.
    """
    report = yield
    file = item.config.getoption("results")
    if file is not None and (report.when == "call" or not report.passed):
        rows = [json.dumps(cell(mark.kwargs, report.outcome)) + "\n" for mark in item.iter_markers("cell")]
        if rows:
            with file.open("a", encoding="utf-8") as lines:  # every xdist worker adds whole lines
                lines.write("".join(rows))
    return report


def cell(said, outcome):
    """The row of a marker: a GPU by its name, and the outcome as the tables call it."""
    row = {name: value for name, value in said.items() if name != "shows"}
    check(row)
    if row["device"] == "GPU" and outcome == "passed":
        import torch  # here, since tests that need none start sooner without

        row["device"] = torch.cuda.get_device_name()
    status = {"passed": said.get("shows", "equal"), "failed": "failed", "skipped": "not run"}[outcome]
    return {**row, "status": status, "date": date.today().isoformat(), "commit": commit()}


def commit():
    """Of the tree under test, with "+" where it was changed since."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None
