"""GroupTrainer's own forward, each shared token once, against TRL's, step by step."""

import pytest
import torch
from trl import GRPOTrainer

from alignkit.objectives import make
from tests.trainers.runs import differences, group_trainer
from tests.trainers.test_group import ABSENT, SEVERAL, in_order, logged

pytestmark = pytest.mark.smoke

LONG = [{"prompt": f"The cat sat on mat {i}, and then" + " it sat" * (i % 3)} for i in range(16)]


def test_shared_prompts_train_as_trl_to_rounding(tmp_path, monkeypatch):
    """The policy, its old self and the reference; several updates of each generation."""
    in_order(monkeypatch)
    trl = logged(group_trainer(tmp_path, GRPOTrainer, rows=LONG, args={**SEVERAL, "beta": 0.1}))
    run = group_trainer(tmp_path, objective=make("grpo", beta=0.1), rows=LONG, args=SEVERAL)
    assert run.shared_prefix
    sizes = []
    run.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    gaps = differences(logged(run), trl)
    assert {name for name, gap in gaps.items() if gap > 1e-5} <= ABSENT
    assert {"loss", "grad_norm", "entropy", "kl"} <= set(gaps)
    packed = [length for rows, length in sizes if rows == 1]
    assert packed, "four answers, and their prompt once"
    assert max(packed) <= max(len(row["prompt"]) for row in LONG) + 4 * 6


@pytest.mark.parametrize("shared", [False, True])
def test_answers_of_one_token(tmp_path, shared):
    history = logged(
        group_trainer(tmp_path, shared_prefix=shared, args={"max_completion_length": 1, "num_iterations": 2})
    )
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in history[:-1])
    assert history[0]["completions/mean_length"] == 1
