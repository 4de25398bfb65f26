import ast
import inspect

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from alignkit.rewards import rules
from alignkit.rewards.rules.reasoning_gym import EVALUATE_ANSWERS

OPTIONS = {"min_terms": 2, "max_terms": 2}
TASK = {"name": "chain_sum", "options": OPTIONS, "seed": 3, "count": 5, "number": 4}


def score(answer, task, expected, **fields):
    return rules.make("reasoning_gym", **fields)(["q"], [answer], answer=[expected], task=[task]).item()


@pytest.fixture(scope="module")
def entry():
    return reasoning_gym.create_dataset("chain_sum", seed=3, size=5, **OPTIONS)[4]


def test_the_verifier_of_the_task_decides(entry):
    assert score(f" {entry['answer']}\n", TASK, entry["answer"]) == 1
    assert score("", TASK, entry["answer"]) == 0


def test_part_marks_may_be_refused(entry):
    answer = f"It is {entry['answer']}"
    assert 0 < score(answer, TASK, entry["answer"]) < 1
    assert score(answer, TASK, entry["answer"], whole=True) == 0
    assert score(entry["answer"], TASK, entry["answer"], whole=True) == 1


def test_a_task_that_is_made_differently_now_is_an_error(entry):
    with pytest.raises(
        ValueError, match=f"^the task made again expects '{entry['answer']}', and the data say 'x'; example 0: '1'$"
    ):
        score("1", TASK, "x")


def test_an_answer_that_explodes_is_wrong(caplog):
    task = {"name": "coin_flip", "options": {}, "seed": 0, "count": 1, "number": 0}
    expected = reasoning_gym.create_dataset("coin_flip", seed=0, size=1)[0]["answer"]
    assert score("1e999999999", task, expected, seconds=0.5) == 0


def test_verifiers_that_run_answers_are_refused():
    for name in EVALUATE_ANSWERS:
        with pytest.raises(ValueError, match=f"^the verifier of {name} runs answers as code; choose another task;"):
            score("1", {**TASK, "name": name}, "1")


def runs_code(name):
    """Whether the verifier of a task gives the answer to a function that runs code."""
    cls = DATASETS[name][0]
    calls = [
        node for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(cls)))) if isinstance(node, ast.Call)
    ]
    given = [call for call in calls if any(isinstance(one, ast.Name) and one.id == "answer" for one in call.args)]
    called = {getattr(call.func, "id", getattr(call.func, "attr", "")) for call in given}
    return bool(called & {"eval", "exec", "parse_expr", "sympify", "simplify", "S", "Template"})


def test_no_other_verifier_runs_answers():
    assert {name for name in DATASETS if runs_code(name)} | {"composite"} == EVALUATE_ANSWERS
