"""The card says what the model is, and is valid for the Hub."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from alignkit.data.spec import DataSpec, Source
from alignkit.models.spec import ModelSpec
from alignkit.objectives import make
from alignkit.recipe.summary.card import card, code, fenced, plain


def from_hub(facts, path="org/model", source="org/rows"):
    """The same run as if model and data came from the Hub."""
    recipe = replace(facts.recipe, model=ModelSpec(path=path), data=DataSpec(train=(Source(source=source),)))
    report = (replace(facts.data.report[0], source=f"{source}[train]"),)
    data = replace(facts.data, report=report, fingerprints={f"{source}[train]": "1234"})
    return replace(facts, recipe=recipe, data=data)


def head(text):
    return ModelCard(text, ignore_metadata_errors=False).data.to_dict()


def test_the_head_names_what_is_on_the_hub(facts, progress):
    text = card(from_hub(facts), replace(progress, location="me/mine", name="mine", adapter=True))
    assert head(text) == {
        "base_model": "org/model",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["alignkit", "trl", "dpo", "lora"],
        "datasets": ["org/rows"],
    }
    assert "| train | `org/rows[train]` | 16 | `1234` |" in text


def test_what_is_only_here_is_not_linked(facts, progress, tmp_path):
    local = card(facts, progress)
    assert head(local) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["alignkit", "trl", "dpo"],
    }
    assert "| `pairs_train.jsonl` |" in local
    assert "base_model" not in head(card(from_hub(facts, path=str(tmp_path)), progress))


def test_a_reward_model_is_loaded_as_one(facts, progress):
    facts = replace(facts, recipe=replace(facts.recipe, objective=make("bradley_terry")))
    text = card(facts, progress)
    assert head(text)["pipeline_tag"] == "text-classification"
    assert 'AutoModelForSequenceClassification.from_pretrained("runs/out", num_labels=1)' in text
    assert "generate" not in text
    assert "AutoPeftModelForSequenceClassification" in card(facts, replace(progress, adapter=True))


def test_what_it_says(facts, progress):
    text = card(facts, progress)
    for words in (
        "# out\n",
        "A fine-tuned version of `tiny:llama`, trained with `dpo` by alignkit.",
        'AutoModelForCausalLM.from_pretrained("runs/out")',
        "DPO: direct preference optimisation.",
        "-log sigmoid(beta * (log pi(w)/ref(w) - log pi(l)/ref(l)))\n",
        "Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7.",
        "`DPO(beta=0.1)`",
        "| held-out | loss | 0.6 | 0.6 | 2 | what is minimised |",
        "| training | rewards/accuracies | 0.5 | 1 | 1 to 2 |",
        "- optimiser steps: 2",
        "trl 1.16.",
        "  path: tiny:llama",
        "## Licence",
    ):
        assert words in text, words
    assert "license:" not in text.split("---")[1], "the user chooses it"


def test_no_text_of_the_data_is_in_it(facts, progress):
    text = card(facts, progress)
    said = {line for row in facts.data.train for turn in row["prompt"] + row["chosen"] for line in [turn["content"]]}
    assert len(said) > 16
    assert not [line for line in said if line in text]


def test_secrets_are_left_out(facts, progress):
    recipe = replace(facts.recipe, train={**facts.recipe.train, "run_name": "hf_abcdefghijklmnopqrst"})
    assert "hf_abcd" not in card(replace(facts, recipe=recipe), progress)


def test_an_adapter_and_a_model_that_sees(facts, progress):
    text = card(facts, replace(progress, adapter=True))
    assert "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer\n" in text
    assert text.count("A LoRA adapter for") == 1
    seeing = card(facts, replace(progress, images=True))
    assert "from transformers import AutoModelForImageTextToText, AutoProcessor\n" in seeing
    assert "pipeline_tag" not in head(seeing)


@pytest.mark.parametrize("name", ["a: b", "# x", "---", "`", "<script>", "a\nb", "| x", "{{ x }}"])
def test_hostile_names_break_nothing(facts, progress, name):
    changed = replace(facts.recipe, train={**facts.recipe.train, "run_name": f"```\n{name}"})
    text = card(replace(facts, recipe=changed), replace(progress, name=name, location=name))
    assert head(text) == head(card(facts, progress))
    title = text.split("\n# ")[1].splitlines()[0]
    assert title == plain(name)
    assert text.rstrip().endswith("once you know."), "no fence swallows the rest"
    assert text.split("```")[0].count("\n## ") == 1


def test_markdown_pieces():
    assert code("a") == "`a`"
    assert code("a`b``c") == "```a`b``c```"
    assert code("`a") == "`` `a ``"
    assert plain("*a*\n<b> [c](d)") == r"\*a\* \<b\> \[c\](d)"
    assert fenced("```x", "text") == "````text\n```x\n````"
