"""Training and generation see the same tokens before an answer, in every chat template that TRL knows.

A prompt is asked with the start of an answer behind it; training renders prompt and answer at once. Where the first is
no prefix of the second, the model learns answers to another prompt than it will get, and the data report counts it.
"""

from importlib.resources import files

import pytest

from alignkit.data.report import inspect
from alignkit.data.sequences import Treatment, sequences
from alignkit.data.vision import in_parts
from alignkit.models.tiny import START, byte_tokenizer

FOLDER = files("trl").joinpath("chat_templates")
TEMPLATES = {
    file.name.removesuffix(".jinja"): file.read_text(encoding="utf-8")
    for file in sorted(FOLDER.iterdir(), key=lambda file: file.name)
    if file.name.endswith(".jinja")
}
SEEING = {"idefics3", "llava_next", "smolvlm"}  # take content in parts only
PARTED = {  # ask for thoughts that the template leaves out, or writes otherwise, before an answer without them
    "deepseek_r1_distill": ("<think>\n", "I am."),
    "deepseekv3": ("<think>\n", "I am."),
    "nemotron_3_5_lightning": ("\n", "</think>I am."),
    "nemotron_3_nano": ("\n", "</think>I am."),
    "nemotron_3_super": ("\n", "</think>I am."),
    "nemotron_3_ultra": ("\n", "</think>I am."),
}
# the marked version keeps the empty thoughts of earlier turns, which the model's own drops from what it is asked with
KEEPING = {"qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"}
ONCE = [{"role": "user", "content": "Who?"}]
ANSWER = [{"role": "assistant", "content": "I am."}]
TWICE = [*ONCE, {"role": "assistant", "content": "It is."}, {"role": "user", "content": "Why?"}]


def family(name):
    return name.removesuffix("_training")


READING = [name for name in TEMPLATES if family(name) not in SEEING]  # the others' rows go through a processor
TRAINING = [name for name in TEMPLATES if name != family(name)]
each_prompt = pytest.mark.parametrize("prompt", [ONCE, TWICE], ids=["one turn", "two turns"])


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture
def using(tokenizer, name):
    """The tiny models' tokenizer with the template `name`."""
    tokenizer.bos_token, tokenizer.chat_template = START, TEMPLATES[name]
    return tokenizer


def rendered(messages, tokenizer, name, *, asks=False):
    messages = in_parts(messages) if family(name) in SEEING else messages
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)


def test_templates_are_found():
    assert len(TEMPLATES) >= 70
    assert {*PARTED} | SEEING <= {*TEMPLATES}


@each_prompt
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_text_before_an_answer_is_what_generation_asks_with(using, name, prompt):
    asked = rendered(prompt, using, name, asks=True)
    whole = rendered(prompt + ANSWER, using, name)
    if family(name) not in PARTED:
        assert whole.startswith(asked)
        return
    left_out, instead = PARTED[family(name)]
    shared = asked.removesuffix(left_out)
    assert shared != asked
    assert whole.startswith(shared + instead)


@each_prompt
@pytest.mark.parametrize("name", READING)
def test_the_data_report_counts_where_they_part(using, name, prompt):
    row = {"prompt": prompt, "chosen": ANSWER, "rejected": [{"role": "assistant", "content": "No."}]}
    report = inspect([row], "pairs", using, Treatment())
    assert report.total.changed_prompt == (family(name) in PARTED)


@each_prompt
@pytest.mark.parametrize("name", TRAINING)
def test_a_training_template_asks_as_the_model_s_own_does(using, name, prompt):
    """SFT on the assistant's turns trains with TRL's marked version, and users generate with the model's own."""
    asked = rendered(prompt, using, name, asks=True)
    using.chat_template = TEMPLATES[family(name)]
    same = asked == rendered(prompt, using, name, asks=True)
    assert same == (prompt == ONCE or family(name) not in KEEPING)


@pytest.mark.parametrize("name", [name for name in TRAINING if name in READING and family(name) not in PARTED])
def test_nothing_that_is_generated_goes_untrained(using, name):
    """Some templates mark the turn's head too, which generation is given."""
    [asked] = sequences({"prompt": ONCE}, using)
    [whole] = sequences({"messages": ONCE + ANSWER}, using, Treatment(assistant_only=True))
    assert 0 < whole.trained.index(True) <= len(asked.ids)
