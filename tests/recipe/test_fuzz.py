"""Whatever is in a file or on the command line, the answer is a recipe or a list of problems."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from alignkit.recipe import Recipe, RecipeError, load

NAMES = """
objective model data train report name beta q flip_rate path adapter rank targets tokenizer source split weight limit
columns eval holdout streaming learning_rate max_steps optim eval_strategy save_steps global_batch_size packing reward
per_device_train_batch_size gradient_accumulation_steps accelerator_config split_batches deepspeed debug warmup_ratio
bf16 lora_r loss_type summary answers max_new_tokens zzz 0 1
"""
TEXTS = "dpo nll napo robust_dpo dynamic yes no steps epoch org/x tiny:llama ./x ~nobody/x a.b 1e-5"
KEYS = st.sampled_from(NAMES.split()) | st.text(max_size=5)
NUMBERS = st.integers(-3, 70) | st.integers() | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(TEXTS.split()) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
SECTIONS = st.fixed_dictionaries(
    {
        "objective": st.sampled_from(["dpo", "nll", {"name": "napo", "q": 1}]) | VALUES,
        "model": st.just({"path": "org/model"}) | VALUES,
        "data": st.just({"train": [{"source": "org/rows"}]}) | VALUES,
        "train": st.dictionaries(KEYS, SCALARS | VALUES, max_size=6),
    },
    optional={"report": VALUES, "summary": VALUES, "zzz": VALUES},
)
OVERRIDES = st.lists(st.builds("{}.{}={}".format, KEYS, KEYS, st.text(max_size=6)) | st.text(max_size=12), max_size=2)


def answer(content, overrides):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.yaml"
        file.write_bytes(content)
        try:
            result = load(file, overrides)
        except RecipeError as error:
            result = error
    if isinstance(result, RecipeError):
        assert result.problems
        assert all(problem.what.isprintable() for problem in result.problems)
        assert result.report()
    else:
        assert isinstance(result, Recipe)


@settings(max_examples=150, deadline=None)
@given(SECTIONS, OVERRIDES)
def test_any_values(sections, overrides):
    answer(json.dumps(sections).encode(), overrides)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes(content):
    answer(content, [])


def test_thousands_of_unknown_keys():
    answer("\n".join(f"learning_rate{n}: 1" for n in range(9000)).encode(), [])
