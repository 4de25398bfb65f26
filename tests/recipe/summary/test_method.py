import re
import sys
import types
from dataclasses import dataclass

import pytest

from alignkit import objectives
from alignkit.objectives import PairObjective
from alignkit.recipe.schema import family_of
from alignkit.recipe.summary.method import Method


def test_dpo():
    assert Method.of(objectives.make("dpo")) == Method(
        name="dpo",
        title="DPO: direct preference optimisation",
        formula="-log sigmoid(beta * (log pi(w)/ref(w) - log pi(l)/ref(l)))",
        source="Rafailov et al. 2023, arXiv:2305.18290, equation 7.",
    )


@pytest.mark.parametrize("name", [name for name in objectives.names() if family_of(objectives.find(name))])
def test_every_method_has_all_of_it(name):
    method = Method.of(objectives.make(name))
    assert method.name == name
    assert ": " in method.title
    assert method.formula
    assert "\n\n" not in method.formula
    assert re.search(r"\d{4}", method.source)
    assert "Differs" not in method.source


def test_an_objective_of_somebody_else_may_say_nothing(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Mine(PairObjective):
        beta: float = 0.1

        def __call__(self, batch):
            raise NotImplementedError

    Mine.__module__ = "somewhere.mine"
    monkeypatch.setitem(sys.modules, "somewhere.mine", types.ModuleType("somewhere.mine"))
    method = Method.of(Mine())
    assert (method.title, method.formula, method.source) == ("Mine", "", "")
    assert method.name.startswith("somewhere.mine.")
