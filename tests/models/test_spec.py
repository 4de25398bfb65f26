import pytest
from pydantic import TypeAdapter, ValidationError

from alignkit.models.spec import Adapter, ModelSpec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "rank = 0 must be at least 1; 8 to 64 is usual"),
        ({"alpha": 0.0}, r"alpha = 0.0 must be positive; leave it out for 2 \* rank"),
        ({"dropout": 1.0}, "dropout = 1.0 must be at least 0 and below 1; 0 switches it off"),
        ({"dropout": -0.1}, "dropout = -0.1 must be at least 0 and below 1"),
        ({"targets": "q_proj"}, r"targets = 'q_proj' must be all-linear or a list; write \[q_proj\]"),
        ({"targets": ()}, r"targets is empty; write all-linear or a list of module names such as \[q_proj, v_proj\]"),
        ({"targets": ("q_proj", "lm_head")}, "targets must not contain lm_head: .* remove it from the list"),
        ({"quantize": "4-bit"}, "quantize = '4-bit' is not known; did you mean '4bit'?"),
    ],
)
def test_adapter_says_what_to_write(fields, message):
    with pytest.raises(ValueError, match=message):
        Adapter(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": " "}, "path is empty; write a Hub id such as .* or a local folder"),
        ({"path": "tiny:llama", "revision": "main"}, "revision = 'main' has no meaning for 'tiny:llama'; remove it"),
        ({"path": "a/b", "precision": "bf16"}, "precision = 'bf16' is not known; did you mean 'bfloat16'?"),
        ({"path": "a/b", "attention": "flash_attention"}, "is not known; did you mean 'flash_attention_[23]'?"),
    ],
)
def test_model_says_what_to_write(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**fields)


def test_yaml_values_are_converted_and_unknown_keys_refused():
    read = TypeAdapter(ModelSpec).validate_python
    assert read({"path": "a/b", "adapter": {"rank": "64", "targets": ["q_proj"]}}) == ModelSpec(
        path="a/b", adapter=Adapter(rank=64, targets=("q_proj",))
    )
    with pytest.raises(ValidationError, match=r"adapter\.rnk"):
        read({"path": "a/b", "adapter": {"rnk": 64}})
