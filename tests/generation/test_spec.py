import pytest

from alignkit.generation.spec import SampleSpec
from tests.objectives.properties import assert_refuses


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n", 0, "n = 0 must be at least 1"),
        ("limit", 0, "limit = 0 must be at least 1"),
        ("max_new_tokens", 0, "max_new_tokens = 0 must be at least 1"),
        ("batch_size", 0, "batch_size = 0 must be at least 1"),
        ("temperature", 0.0, "temperature = 0.0 must be above 0: without chance all answers are the same"),
        ("prompts", "test", "prompts = 'test' is not known; choose from train, eval"),
        ("engine", "vlm", "engine = 'vlm' is not known; choose from transformers, vllm"),
        ("truncated", "cut", "truncated = 'cut' is not known; choose from keep, drop"),
    ],
)
def test_what_cannot_be_drawn_is_refused(key, value, message):
    assert_refuses(message, SampleSpec, **{key: value})
