import pytest
from transformers import AutoConfig

from alignkit.recipe.estimate.shallow import depths, extrapolated, shallow


@pytest.mark.parametrize(("layers", "expected"), [(2, (2, 2)), (8, (1, 2)), (32, (1, 8))])
def test_two_depths(layers, expected):
    assert depths(AutoConfig.for_model("llama", num_hidden_layers=layers)) == expected


def test_depths_repeat_the_pattern_of_layers():
    pattern = ["sliding_attention", "sliding_attention", "full_attention"] * 8
    config = AutoConfig.for_model("gemma3_text", num_hidden_layers=24, layer_types=pattern)
    assert depths(config) == (3, 6)
    assert shallow(config, 3).layer_types == pattern[:3]
    assert config.num_hidden_layers == 24


def test_costs_grow_by_layers_on_top_of_what_is_there_once():
    assert extrapolated((1, 3), (15, 25), 10) == (50, 10)
    assert extrapolated((2, 2), (20, 20), 2) == (20, 0)
