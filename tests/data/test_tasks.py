import json
import re

import pytest
import reasoning_gym

from alignkit.data import DataSpec, Source
from alignkit.data.errors import DataError
from alignkit.data.load import load_data

OPTIONS = {"min_terms": 2, "max_terms": 2, "max_digits": 1}


def source(**fields):
    return Source(**{"source": "reasoning_gym", "name": "chain_sum", "limit": 4, "options": OPTIONS, **fields})


def tasks(*train, **fields):
    return load_data(DataSpec(train=train, **fields), "tasks")


def test_tasks_are_those_of_the_library():
    found = sorted(tasks(source(seed=7)).train, key=lambda row: row["place"])
    made = reasoning_gym.create_dataset("chain_sum", seed=7, size=3, **OPTIONS)
    assert [row["prompt"] for row in found[-3:]] == [made[number]["question"] for number in range(3)]
    assert found[-3]["place"] == "reasoning_gym[chain_sum] task 7"
    assert json.loads(found[-2]["columns"]) == {
        "answer": made[1]["answer"],
        "task": {"name": "chain_sum", "options": OPTIONS, "seed": 7, "count": 4, "number": 1},
    }


def test_the_same_seed_gives_the_same_tasks_and_another_one_others():
    first, again, other = (tasks(source(seed=seed)) for seed in (0, 0, 4))
    assert first.train[:] == again.train[:]
    assert first.fingerprints == again.fingerprints
    assert first.fingerprints != other.fingerprints
    assert not {*first.train["prompt"]} & {*other.train["prompt"]}


def test_answers_may_be_learnt_from():
    rows = load_data(DataSpec(train=(source(columns={"completion": "answer"}),)), "tokens").train
    assert [*rows.features] == ["prompt", "completion", "source", "place"]
    rows = load_data(DataSpec(train=(source(columns={"instruction": "prompt", "output": "answer"}),)), "tokens").train
    assert rows[0]["prompt"][0]["role"] == "user"


def test_seeds_of_training_and_evaluation_that_share_tasks_are_refused():
    message = (
        "eval: task i of reasoning_gym is drawn from seed + i, so that training and evaluation share tasks of "
        "chain_sum; write seed: 4 for evaluation"
    )
    for seed in (0, 3):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            DataSpec(train=(source(),), eval=(source(seed=seed),))
    DataSpec(train=(source(),), eval=(source(seed=4), source(seed=0, name="gcd", options={})))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "chainsum"}, "reasoning_gym has no tasks named 'chainsum'; did you mean 'chain_sum'?"),
        ({"options": {"min_term": 1}}, "reasoning_gym: chain_sum has no option 'min_term'; did you mean 'min_terms'?"),
        ({"options": {"seed": 1}}, "reasoning_gym: chain_sum has no option 'seed'; it has "),
        ({"options": {"min_terms": 0}}, "reasoning_gym: chain_sum with {'min_terms': 0}: min_terms must be positive"),
    ],
)
def test_tasks_that_the_library_does_not_have(fields, message):
    with pytest.raises(DataError) as error:
        tasks(source(**fields))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": None}, "name is missing, the kind of task of reasoning_gym; write name: chain_sum"),
        ({"limit": None}, "limit is missing: reasoning_gym has no end of tasks; write limit: 1000"),
        ({"seed": -1}, "seed = -1 must not be negative; write 0 or more"),
        ({"revision": "main"}, "revision has no meaning for tasks of reasoning_gym; remove it"),
        ({"source": "a.jsonl"}, "options is for source: reasoning_gym, not a.jsonl; remove it"),
        ({"source": "a.jsonl", "seed": 3}, "seed is for source: reasoning_gym, not a.jsonl; remove it"),
    ],
)
def test_sources_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        source(**fields)
