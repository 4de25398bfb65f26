import pytest

from alignkit import objectives
from tests.cli.commands import invoke


def test_every_method_is_listed_with_its_formula_and_source():
    result = invoke("list")
    assert result.exit_code == 0
    blocks = dict(block.split("\n", 1) for block in result.output.strip().split("\n\n"))
    assert [head.split("(")[0] for head in blocks] == objectives.names()
    for head, body in blocks.items():
        formula, *_ = body.splitlines()
        assert any(sign in formula for sign in ("log", "sigmoid", "*", "^")), head
        assert "Source: " in body, head
    assert "-log sigmoid(beta * (log pi(w)/ref(w) - log pi(l)/ref(l)))" in blocks["dpo(beta=0.1)"]


def test_one_method_is_shown_in_full():
    result = invoke("list", "hdpo")
    assert result.exit_code == 0
    assert "Optimum: " in result.output
    assert "Optimum: " not in invoke("list").output


@pytest.mark.parametrize("written", ["h_dpo", "DPO"])
def test_an_unknown_method_is_refused_with_the_nearest(written):
    result = invoke("list", written)
    assert result.exit_code == 2
    assert f"no objective named {written!r}; did you mean " in result.stderr
