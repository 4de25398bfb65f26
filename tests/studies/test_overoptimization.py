"""Over-optimisation in its shortest form, the proxies it is made of, and claims that fail when the numbers do."""

import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from alignkit import studies
from alignkit.rewards import best_of_n, make
from alignkit.studies import _worlds
from alignkit.studies._features import Features
from alignkit.studies._text import Text
from alignkit.studies._worlds import Answers, train
from alignkit.studies.overoptimization import Setting, best_of
from tests.objectives.properties import assert_refuses

SHORT = {"seeds": 2, "answers": 512, "prompts": 4, "coefficients": 8}


@pytest.fixture(scope="module")
def study():
    return studies.make("overoptimization", worlds="features", **SHORT)


@pytest.fixture(scope="module")
def rows(study):
    return study.rows()


def test_a_single_proxy_turns_over_under_noise_and_conservative_rules_keep_some_of_it(study, rows):
    assert [claim.text for claim in study.claims(rows) if not claim.holds] == []


@pytest.mark.parametrize(
    ("changed", "fails"),
    [
        ({"proxy": 1.0}, "least rise of the single proxy"),
        ({"gold": 1.0}, "gold reward that the single proxy loses"),
        ({"gold": 1.0}, "worst keeps"),
    ],
)
def test_claims_fail_when_their_numbers_are_wrong(study, rows, changed, fails):
    failed = [claim.text for claim in study.claims([{**row, **changed} for row in rows]) if not claim.holds]
    assert any(fails in text for text in failed)


def test_rows_begin_at_the_untouched_policy_and_single_is_what_gains_are_measured_from(study, rows):
    assert [row["n"] for row in rows if row["rule"] == "single" and row["flips"] == 0] == study.sizes
    assert study.sizes == [1, 2, 4, 8, 16, 32, 64, 128]
    first = [row for row in rows if row["n"] == 1]
    assert [row["kl"] for row in first] == [0.0] * len(first)
    assert max(abs(row["gold"]) for row in first) < 0.2  # in standard deviations of the policy's answers
    assert {row["over_single"] for row in rows if row["rule"] == "single"} == {0.0}
    assert max(row["accuracy"] for row in rows if row["flips"]) < min(
        row["accuracy"] for row in rows if not row["flips"]
    )


def test_one_row_a_curve_is_printed_and_every_panel_drawn(study, rows):
    shown = study.shown(rows)
    assert len(shown) == 2 * len(study.rules())
    assert all(row["lost"] == row["peak"] - row["gold_at_128"] >= 0 for row in shown)
    figure = Figure()
    study.draw(figure, rows)
    titles = ["features, 0% of labels flipped", "features, 25% of labels flipped"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [*study.rules()]


def test_curves_are_the_estimator_s_prompt_by_prompt():
    answers = Features(prompts=2, count=9)(0)
    proxies = train(Features(prompts=1, count=100)(1).in_pairs(), 0.0, 3, torch.Generator().manual_seed(0))
    setting = Setting(proxies=proxies, answers=answers, accuracy=1.0)
    scores = proxies(answers.features.flatten(0, 1)).detach().view(3, 2, 9)
    found = best_of(setting, make("worst"), [1, 3])
    for place, n in enumerate([1, 3]):
        expected = [best_of_n(scores[:, i].amin(dim=0), answers.gold[i], n) for i in range(2)]
        assert_close(found[0, place], torch.stack(expected).mean())
    alone = [best_of_n(scores[k, i], scores[k, i], 3) for k in range(3) for i in range(2)]
    assert_close(best_of(setting, None, [3])[1, 0], torch.stack(alone).mean())


def test_members_are_independent_and_calibrated(monkeypatch):
    """A member trained beside others is the one that its own weights and orders make."""
    monkeypatch.setattr(_worlds, "EPOCHS", 2)
    world = Features(prompts=4, count=50)(0)
    pairs = world.in_pairs()
    three = train(pairs, 0.25, 3, torch.Generator().manual_seed(0))
    scores = three(pairs.features.flatten(0, 1))
    assert not torch.allclose(scores[0], scores[1])
    three.calibrate(pairs.features.flatten(0, 1))
    deviations, means = torch.std_mean(three(pairs.features.flatten(0, 1)), dim=1)
    assert_close(means, torch.zeros(3), atol=1e-5, rtol=0)
    assert_close(deviations, torch.ones(3))


def test_clean_labels_teach_what_flipped_ones_do_not():
    pairs = Features(prompts=1, count=400)(0).in_pairs()
    for flips, right in ((0.0, True), (1.0, False)):
        proxies = train(pairs, flips, 1, torch.Generator().manual_seed(0))
        (scores,) = proxies(pairs.features.flatten(0, 1)).detach()
        first, second = scores.view(-1, 2).unbind(-1)
        agrees = (first > second) == (pairs.gold[:, 0] > pairs.gold[:, 1])
        assert (agrees.float().mean() > 0.9) == right


def test_letters_are_worth_something_twice_and_then_cost():
    text = Text(prompts=1, count=1)
    a, aa, aaa = text.gold(["a", "aa", "aaa"], seed=0).tolist()
    assert (aa, aaa) == pytest.approx((2 * a, 2 * a - 2))
    assert text.gold(["", "...", "_"], seed=0).tolist() == [0.0, 0.0, 0.0]
    assert text.gold(["a"], seed=1).item() != a


def test_a_seed_shuffles_the_answers_and_features_stay_with_them():
    text = Text(prompts=2, count=20)
    first, again = text(0), text(0)
    assert torch.equal(first.features, again.features)
    other = text(1)
    assert first.features.shape == (2, 20, 96)
    assert_close(first.features.sum(dim=1), other.features.sum(dim=1), rtol=1e-4, atol=1e-4)
    written = [answer for answers in text._texts for answer in answers]
    order = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    assert first.gold[1, 0] == text.gold(written, 0)[20 + order[1, 0]]
    features = text.features([text.chats[1]], [written[20 + order[1, 0]]])
    assert_close(features[0], first.features[1, 0], rtol=1e-4, atol=1e-4)


def test_text_runs_through_the_study():
    study = studies.make("overoptimization", worlds="text", flips=0.25, seeds=2, answers=32, prompts=2, pairs=20)
    assert len(study.rows()) == len(study.rules()) * len(study.sizes)


def test_settings_that_no_claim_could_be_made_of():
    for setting, message in {
        "seeds=1": "seeds = 1 gives no error bar; write 2 or more",
        "members=1": "members = 1 are no ensemble; write 2 or more",
        "answers=8": "answers = 8 leave no n beyond 1; write 16 or more",
        "pairs=30": "pairs = 30 must be a multiple of prompts = 8",
        "flips=0.5": "flips = [0.5] must be shares from 0 up to, not including, 0.5",
        "coefficients=0": "coefficients = [0.0] must be above 0; 0 is mean",
        "prompts=16": "prompts = 16 are more than the 12 letters of the text world",
    }.items():
        name, _, value = setting.partition("=")
        assert_refuses(message, studies.make, "overoptimization", **{name: float(value)})


def test_pairs_are_neighbours():
    answers = Answers(features=torch.arange(8.0).view(1, 4, 2), gold=torch.tensor([[1.0, 2, 3, 4]]))
    pairs = answers.in_pairs()
    assert pairs.gold.tolist() == [[1, 2], [3, 4]]
    assert pairs.features[1].tolist() == [[4, 5], [6, 7]]
