"""The policy-gradient half of over-optimisation: what is measured and claimed, and a run in its shortest form."""

import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from alignkit import studies
from alignkit.studies import _worlds
from alignkit.studies._text import Text
from alignkit.studies.overoptimization_rl import Look, OveroptimizationRL, gold_at, of_rules, summary
from tests.objectives.properties import assert_refuses

RULES = ("single", "mean", "worst", "uncertainty_weighted 8")


def rows_of(rule, *points, flips=0.25):
    """Two seeds of (kl, gold, proxy), the second one 0.2 better in gold from the first update on."""
    return [
        {"flips": flips, "rule": rule, "seed": seed, "update": 4 * i, "kl": kl, "gold": gold + bonus, "proxy": proxy}
        for seed in (0, 1)
        for i, (kl, gold, proxy) in enumerate(points)
        for bonus in [0.2 * seed * (i > 0)]
    ]


def falling(end=-1.0, proxy=2.0):
    kept = [row for rule in RULES[1:] for row in rows_of(rule, (0, 0.0, 0.0), (2, 0.7, 0.5), (4, 0.6, 0.8))]
    return rows_of("single", (0, 0.0, 0.0), (2, 0.5, 1.0), (6, end, proxy)) + kept


def test_gold_is_compared_where_all_rules_have_been():
    single, _, worst, _ = summary(of_rules(falling(), 0.25), {"flips": 0.25})
    assert (single["flips"], single["rule"], worst["rule"]) == (0.25, "single", "worst")
    assert (single["peak_kl"], single["end_kl"], single["common_kl"]) == (2, 6, 4)
    assert (single["peak"], single["gold"], single["lost"]) == pytest.approx((0.6, -0.9, 1.5))
    assert single["gold_there"] == pytest.approx((0.5 - 1.0) / 2 + 0.1)  # half way from KL 2 to KL 6
    assert worst["over_single"] == pytest.approx(0.7 - single["gold_there"])
    assert single["over_single"] == single["over_single_error"] == 0
    assert single["error"] == pytest.approx(0.1)


def test_gold_is_taken_where_the_distance_is_reached_first():
    curve = {"kl": torch.tensor([[0.0, 4.0, 2.0, 8.0]]), "gold": torch.tensor([[0.0, 1.0, 5.0, 9.0]])}
    assert_close(gold_at(curve, 3.0), torch.tensor([0.75]))
    assert_close(gold_at(curve, 0.0), torch.tensor([0.0]))


@pytest.mark.parametrize(
    ("rows", "fails"),
    [
        (falling(), None),
        (falling(proxy=0.1), "rise of the single proxy"),
        (falling(end=0.6), "gold reward that the single proxy loses"),
        (falling(end=0.45), "of that, worst keeps"),
    ],
)
def test_claims_are_of_the_noisiest_labels_and_can_fail(rows, fails):
    study = OveroptimizationRL(flips=(0.0, 0.25))
    clean = [row for rule in RULES for row in rows_of(rule, (0, 0.0, 0.0), (2, 0.5, 0.5), flips=0.0)]
    failed = [claim.text for claim in study.claims(clean + rows) if not claim.holds]
    assert any(fails in text for text in failed) if fails else not failed


def test_a_panel_for_every_share_of_flips():
    rows = [{**row, "flips": share} for share in (0.0, 0.25) for row in falling()]
    figure = Figure()
    OveroptimizationRL(flips=(0.0, 0.25)).draw(figure, rows)
    assert [axes.get_title() for axes in figure.axes] == ["GRPO, 0% of labels flipped", "GRPO, 25% of labels flipped"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [*RULES]


def test_settings_of_which_nothing_could_be_learned():
    for setting, message in {
        "answers=1": "answers = 1 leave nothing to compare; write 2 or more",
        "updates=10": "updates = 10 must be a multiple of every = 4",
        "seeds=1": "seeds = 1 gives no error bar; write 2 or more",
        "coefficients=0": "coefficients = [0.0] must be above 0; 0 is mean",
    }.items():
        name, _, value = setting.partition("=")
        assert_refuses(message, studies.make, "overoptimization_rl", **{name: float(value)})


@pytest.mark.smoke
def test_a_short_run_starts_at_the_untouched_policy(monkeypatch):
    monkeypatch.setattr(_worlds, "EPOCHS", 2)
    study = OveroptimizationRL(prompts=2, pairs=20, members=2, answers=4, updates=1, every=1, looked_at=8)
    source = study.source()
    world = source.world("text")
    setting = source.setting(world, 0, 0.25)
    start, end = study.curve(world, setting, source.rules()["worst"], 0)
    assert (start["update"], start["kl"], end["update"]) == (0, 0.0, 1)
    assert end["kl"] > 0
    assert {start["gold"], start["proxy"]}.isdisjoint({end["gold"], end["proxy"]})


def test_kl_is_summed_over_the_tokens_that_were_drawn():
    world = Text(prompts=1, count=2)
    look = Look(world=world, setting=None, seed=0, proxy=None, answers=1, every=1)
    policy, start = world.policy(), world.policy()
    with torch.no_grad():
        policy.lm_head.weight.mul_(2)
    texts = ["ab", "abc" * 8]  # three tokens with the end; 24 without one
    chats = [world.chats[0]] * 2
    for found, text, drawn in zip(look.kl(policy, chats, texts), texts, (3, 24), strict=True):
        ids = world.tokenizer(f"a{text}", return_tensors="pt")["input_ids"]
        ours, theirs = (model(ids).logits[0, :drawn].log_softmax(dim=-1) for model in (policy, start))
        assert_close(found, torch.nn.functional.kl_div(theirs, ours, reduction="sum", log_target=True))
