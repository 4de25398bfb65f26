"""What recipes of single methods cannot say, found before anything is loaded."""

import pytest

from alignkit.objectives import find
from alignkit.recipe import RecipeError, load
from alignkit.recipe.build import row_shape

RECIPE = """
objective: {objective}
model: {{path: "tiny:llama"}}
data: {{train: [{{source: owner/name}}]}}
train: {train}
"""


@pytest.mark.parametrize(
    ("objective", "train", "message"),
    [
        (
            "kto",
            "{per_device_train_batch_size: 1}",
            "train.per_device_train_batch_size = 1 leaves no answer to another prompt in a micro-batch, which this "
            "method compares with; write 2 or more",
        ),
        (
            "kto",
            "{precompute_ref_log_probs: true}",
            "train.precompute_ref_log_probs: answers to other prompts are drawn anew in every epoch, and need the "
            "reference each time; remove it",
        ),
        (
            "kto",
            "{train_sampling_strategy: random}",
            "train.train_sampling_strategy has no effect: every epoch shuffles, with both kinds of answers in each "
            "micro-batch; remove it",
        ),
        (
            "kto",
            "{desirable_weight: 2}",
            "train.desirable_weight belongs to the objective; write objective.desirable_weight",
        ),
        ("dpo", "{undesirable_weight: 2}", "train.undesirable_weight belongs to the objective; this one has no"),
        (
            "{name: grpo, beta: 0.1}",
            "{reference_cache: true}",
            "train.reference_cache is of no use: answers that are generated anew were never scored; remove it",
        ),
        ("{name: kto, desirable_weight: balance}", "{}", "objective.desirable_weight = 'balance'"),
        ("{name: kto, desirable_weight: 0}", "{}", "objective.desirable_weight = 0"),
    ],
)
def test_what_a_method_cannot_do_is_said_with_the_way_out(write, objective, train, message):
    with pytest.raises(RecipeError) as caught:
        load(write(RECIPE.format(objective=objective, train=train)))
    assert message in str(caught.value)


def test_unpaired_methods_take_trl_s_options_for_them(write):
    recipe = load(write(RECIPE.format(objective="kto", train="{activation_offloading: true}")))
    assert recipe.config_class.__name__ == "KTOConfig"


def test_a_revision_prompt_is_for_methods_that_revise(write):
    recipe = "{objective: OBJECTIVE, model: {path: x}, data: {train: [{source: o/n}], revision_prompt: TEXT}}"
    text = recipe.replace("TEXT", "'{prompt} {draft}'")
    assert load(write(text.replace("OBJECTIVE", "srpo"))).data.revision_prompt == "{prompt} {draft}"
    with pytest.raises(RecipeError, match=r"data\.revision_prompt has no effect: this objective learns no revisions"):
        load(write(text.replace("OBJECTIVE", "dpo")))
    with pytest.raises(RecipeError, match=r"data\.revision_prompt holds \{x\}, which nothing is put in for"):
        load(write(recipe.replace("OBJECTIVE", "srpo").replace("TEXT", "'{x} {draft}'")))


REWARD = "{objective: OBJECTIVE, model: {path: x}, data: {train: [{source: o/n}]}, train: {TRAIN}}"


def test_reward_models_take_trl_s_options_for_them(write):
    recipe = load(write(REWARD.replace("OBJECTIVE", "bradley_terry").replace("TRAIN", "max_length: 512")))
    assert recipe.config_class.__name__ == "RewardConfig"
    assert row_shape(type(recipe.objective)) == "pairs"
    assert row_shape(find("plackett_luce")) == "rankings"
    text = REWARD.replace("OBJECTIVE", "bradley_terry").replace("TRAIN", "center_rewards_coefficient: 0.01")
    with pytest.raises(RecipeError, match=r"write objective: \{name: bradley_terry, centering: NUMBER\}"):
        load(write(text))


def test_head_only_is_for_reward_models(write):
    text = REWARD.replace("path: x", "path: x, head_only: true").replace("TRAIN", "")
    assert load(write(text.replace("OBJECTIVE", "bradley_terry"))).model.head_only
    with pytest.raises(
        RecipeError, match=r"model\.head_only is for reward models, which this objective does not train"
    ):
        load(write(text.replace("OBJECTIVE", "dpo")))
