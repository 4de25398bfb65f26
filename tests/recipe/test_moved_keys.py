"""The table of foreign keys stays true: TRL and our sections change, and it must change with them."""

import re

import pytest

from alignkit.data.spec import DataSpec, Source
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.recipe.moved_keys import BELONGS, OBJECTIVE_OWNS, REFUSED, RENAMED, moved
from alignkit.recipe.schema import all_options
from alignkit.recipe.train_section import train_keys
from alignkit.recipe.typed import fields_of

OURS = {
    "model": fields_of(ModelSpec),
    "model.adapter": fields_of(Adapter),
    "data": fields_of(DataSpec),
    "data.train.0": fields_of(Source),
    "data.eval.0": fields_of(Source),
}


@pytest.mark.parametrize("key", [*OBJECTIVE_OWNS, *BELONGS, *RENAMED, *REFUSED])
def test_what_is_to_be_written_exists(key):
    what, instead = moved(key, ("train", key), 1, ())
    assert "train." in what
    keys = {**OURS, "train": train_keys(None), "objective": ["name"]}
    for name in re.findall(r"\b(?:model|data|train|objective)(?:\.\w+)+", instead):
        section, _, last = name.rpartition(".")
        assert last in keys[section], f"{key}: {name} is no key"


def test_a_key_is_in_one_table():
    keys = [*OBJECTIVE_OWNS, *BELONGS, *RENAMED, *REFUSED]
    assert len(keys) == len(set(keys))


def test_renamed_keys_are_no_options_of_trl():
    options = {name for group in all_options().values() for name in group}
    assert options & set(RENAMED) == {"max_completion_length"}  # an option where answers are generated, and only there


def test_trl_options_of_the_loss_are_all_owned():
    """A new DPOConfig option must be looked at: does it change the loss that the objective computes?"""
    pairs = set(all_options()["DPOConfig"]) - set(all_options()["SFTConfig"])
    assert pairs - set(OBJECTIVE_OWNS) == {"disable_dropout", "precompute_ref_batch_size", "precompute_ref_log_probs"}


def test_long_or_unprintable_values_are_not_repeated():
    _, instead = moved("model_name_or_path", ("model_name_or_path",), "a\x1b[31m", ())
    assert instead == "write model.path: VALUE"


def test_an_unknown_key_is_not_in_the_tables():
    assert moved("learning_rte", ("train", "learning_rte"), 1, ()) is None
