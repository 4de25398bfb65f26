"""A run that was killed and resumed is the run that was not: every method, all weights and adapters."""

import pytest
from torch import equal

from tests.faults.runs import SAVED, At, Killed, killed, logged, trainer

pytestmark = pytest.mark.smoke

# killed between two saves and between two logs, in the second epoch
AT_RANDOM = (*SAVED, "train.max_steps=6", "train.logging_steps=2")
ADAPTER = ("model.adapter.rank=2",)
TWO_UPDATES = ("train.num_iterations=2",)  # of every generation; steps 3 and 4 learn from the same answers
SHORT = ("data.train.0.limit=4",)  # prompts: an epoch is two generations


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("nll/tiny", ()),
        ("nll/tiny", ADAPTER),
        ("dpo/tiny", ADAPTER),
        ("kto/tiny", ()),
        ("srpo/tiny", ADAPTER),
        ("bradley_terry/tiny", ()),
        ("grpo/tiny", TWO_UPDATES),
        ("grpo/tiny", (*ADAPTER, *SHORT)),
        pytest.param("kto/tiny", ADAPTER, marks=pytest.mark.more),
        pytest.param("srpo/tiny", (), marks=pytest.mark.more),
        pytest.param("bradley_terry/tiny", ADAPTER, marks=pytest.mark.more),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "full",
)
def test_killed_and_resumed_is_uninterrupted(recipe, overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = trainer(recipe, tmp_path / "whole", *AT_RANDOM, *overrides)
    whole.train()
    cut = trainer(recipe, tmp_path / "cut", *AT_RANDOM, *overrides)
    cut.add_callback(At("on_step_end", 5, killed))
    with pytest.raises(Killed):
        cut.train()
    checkpoint = tmp_path / "cut" / "checkpoint-3"
    resumed = trainer(recipe, tmp_path / "cut", *AT_RANDOM, *overrides, checkpoint=checkpoint)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert logged(resumed) == logged(whole)
    assert len(logged(whole)) == 3, "losses at steps 2, 4 and 6"
    expected = whole.model.state_dict()
    assert all(equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())
