import logging

import pytest
import torch
from torch.testing import assert_close

from alignkit.rewards import RewardError, make
from alignkit.rewards.ensemble import Calibration, Ensemble, Member
from tests.objectives.properties import assert_refuses

PROMPTS, ANSWERS = ["p"] * 3, ["a", "bb", "cccc"]


def length(prompts, completions, **columns):
    return torch.tensor([float(len(answer)) for answer in completions])


def offset(prompts, completions, bonus, **columns):
    return [2.0 + extra for extra in bonus]


def broken(prompts, completions, **columns):
    raise TimeoutError("no reply in 5 s")


def partly(prompts, completions, **columns):
    return torch.tensor([1.0, float("nan"), 2.0])


def ensemble(*rewards, **options):
    members = [
        reward if isinstance(reward, Member) else Member(name=reward.__name__, reward=reward) for reward in rewards
    ]
    return Ensemble(members=members, combine=options.pop("combine", make("mean")), **options)


def test_members_see_columns_and_are_combined():
    assert ensemble(length, offset)(PROMPTS, ANSWERS, bonus=[0, 1, 2]).tolist() == [1.5, 2.5, 4.0]
    worst = ensemble(length, offset, combine=make("worst"))
    assert worst(PROMPTS, ANSWERS, bonus=[0, 1, 2]).tolist() == [1, 2, 4]


def test_weights_are_of_the_mean_and_of_those_that_are_left():
    heavy = Member(name="length", reward=length, weight=3.0)
    assert ensemble(heavy, offset)(PROMPTS, ANSWERS, bonus=[0, 1, 2]).tolist() == [1.25, 2.25, 4.0]
    with_broken = ensemble(heavy, Member(name="broken", reward=broken, weight=9.0), on_member_failure="drop")
    verdict = with_broken.judge(PROMPTS, ANSWERS)
    assert verdict.scores.tolist() == verdict.members["length"].tolist() == [1, 2, 4]


def picky(prompts, completions, **columns):
    return [{"a": 1.0, "cccc": 2.0}[completion] for completion in completions]


def test_metrics_say_who_disagrees_and_who_decides():
    verdict = ensemble(length, offset, combine=make("worst")).judge(PROMPTS, ANSWERS, bonus=[0, 0, 0])
    assert verdict.scores.tolist() == [1, 2, 2]
    metrics = verdict.metrics()
    assert metrics["rewards/length/decides"] == pytest.approx(2 / 3)  # of equals, the first
    assert metrics["rewards/offset/decides"] == pytest.approx(1 / 3)
    assert metrics["rewards/disagreement/range"] == pytest.approx(1)
    assert metrics["rewards/disagreement/std"] == pytest.approx(0.5)
    assert metrics["rewards/length/mean"] == pytest.approx(7 / 3)
    assert metrics["rewards/combined/mean"] == pytest.approx(5 / 3)
    assert metrics["rewards/dropped_members"] == 0


def test_zscores_are_of_the_calibration_data_not_of_the_batch(tmp_path):
    calibration = Calibration.of(torch.tensor([1.0, 3.0, 1.0, 3.0]))
    assert calibration == Calibration(mean=2.0, std=1.0, count=4)
    calibration.save(tmp_path)
    member = Member(name="length", reward=length, calibration=Calibration.read(tmp_path))
    scaled = ensemble(member, normalise="zscore")
    assert scaled(PROMPTS, ANSWERS).tolist() == [-1, 0, 2]
    assert scaled(PROMPTS[:1], ANSWERS[2:]).tolist() == [2]
    assert ensemble(member)(PROMPTS, ANSWERS).tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (broken, "member 'broken' failed: TimeoutError: no reply in 5 s"),
        (partly, "member 'partly' gives example 1 the score nan: 'bb'"),
        (lambda *_: torch.zeros(2), "member '<lambda>' gave scores of shape (2,); expected (3,)"),
        (lambda *_: [1.0, None, 2.0], "member '<lambda>' gives example 1 the score nan: 'bb'"),
        (picky, "member 'picky' failed: KeyError: 'bb'; example 1: 'bb'"),
    ],
    ids=["raises", "nan", "shape", "none", "one"],
)
def test_a_member_that_fails_is_named_or_dropped(reward, message, caplog):
    with pytest.raises(RewardError) as caught:
        ensemble(length, reward)(PROMPTS, ANSWERS)
    assert str(caught.value).startswith(message)
    with caplog.at_level(logging.WARNING):
        verdict = ensemble(length, reward, on_member_failure="drop").judge(PROMPTS, ANSWERS)
    assert_close(verdict.scores, length(PROMPTS, ANSWERS))
    assert [*verdict.members] == ["length"]
    assert verdict.metrics()["rewards/dropped_members"] == 1
    assert message in caplog.text
    with pytest.raises(RewardError, match="every member failed: member"):
        ensemble(reward, on_member_failure="drop")(PROMPTS, ANSWERS)


def test_refusals(tmp_path):
    assert_refuses("an ensemble needs at least one member", ensemble)
    assert_refuses("two members are called 'length'; give each a name of its own", ensemble, length, length)
    message = "member 'length' has no calibration, which normalise: zscore needs; run alignkit reward calibrate RECIPE"
    assert_refuses(message, ensemble, length, normalise="zscore")
    message = f"{tmp_path} holds no calibration.json; run alignkit reward calibrate RECIPE, or write normalise: none"
    assert_refuses(message, Calibration.read, tmp_path)
    same = "scores with mean 1.0 and standard deviation 0.0 give no scale"
    assert_refuses(same, Calibration.of, torch.ones(2))
