"""Bounds say why they are there, and the audit of versions never fails for want of a network."""

import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import audit

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text()


def required():
    project = tomllib.loads(PROJECT)
    for group in (
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    ):
        yield from group


def test_every_bound_carries_its_reason():
    found = [*required()]
    assert len(found) >= 30
    for requirement in found:
        lines = [line for line in PROJECT.splitlines() if f'"{requirement}"' in line]
        assert lines
        for line in lines:
            assert re.search(r"# \S.{6,}$", line), f"{requirement} needs its reason on its own line"
        assert re.search(r"[<>=]=?\d", requirement), f"{requirement} has no bound"


def test_the_makefile_and_ci_run_the_audit():
    assert re.search(r"^audit:.*\n\t.*\n\t\$\(BIN\)/python -m tests\.audit$", (ROOT / "Makefile").read_text(), re.M)


def reached(*_, **__):
    return SimpleNamespace(close=lambda: None)


def answered(stdout, stderr=""):
    return lambda *_, **__: SimpleNamespace(stdout=stdout, stderr=stderr, returncode=1)


def test_a_service_out_of_reach_is_said_and_fails_nothing():
    def refused(*_, **__):
        raise OSError("Name or service not known")

    assert audit.audit(reach=refused) == (
        0,
        "not audited: api.osv.dev cannot be reached: Name or service not known",
    )


@pytest.mark.parametrize(
    ("stderr", "why"), [("", "silence"), ("Traceback\nConnectionError: reset", "ConnectionError: reset")]
)
def test_a_connection_that_breaks_fails_nothing(stderr, why):
    said = f"not audited: pip-audit came to no result: {why}"
    assert audit.audit(run=answered("", stderr), reach=reached) == (0, said)


def test_what_is_known_fails_unless_it_is_accepted(monkeypatch):
    found = [{"id": "GHSA-1", "fix_versions": ["2.0"]}, {"id": "GHSA-2", "fix_versions": []}]
    packages = [{"name": "a", "version": "1.0", "vulns": found}, {"name": "b", "version": "1.0", "vulns": []}]
    run = answered(json.dumps({"dependencies": packages, "fixes": []}))
    assert audit.audit(run, reached) == (1, "a 1.0: GHSA-1, mended in 2.0\na 1.0: GHSA-2, mended in none")
    monkeypatch.setattr(audit, "ACCEPTED", {"GHSA-1": "of a function nobody calls", "GHSA-2": "of Windows"})
    assert audit.audit(run, reached) == (0, "no known vulnerability in 2 packages")
