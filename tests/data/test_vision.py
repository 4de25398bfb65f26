import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from alignkit.data.errors import DataError
from alignkit.data.marked import mark
from alignkit.data.report import inspect
from alignkit.data.sequences import UNCUT, Treatment, end_tokens, sequences
from tests.models.llava import CHAT_TEMPLATE, save_llava

PICTURE = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
PROMPT = [{"role": "system", "content": "Look."}, {"role": "user", "content": "What is it?"}]
YES, NO = ([{"role": "assistant", "content": text}] for text in ("A cat.", "No idea at all."))
PAIR = {"prompt": PROMPT, "chosen": YES, "rejected": NO, "images": [PICTURE], "source": "a", "place": "a:1"}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return AutoProcessor.from_pretrained(save_llava(tmp_path_factory.mktemp("llava"), CHAT_TEMPLATE))


def rows_of(batch, trained):
    """(ids, which are trained) of every row of a collated batch, without padding."""
    return [
        (ids[kept].tolist(), marks[kept].tolist())
        for ids, kept, marks in zip(batch["input_ids"], batch["attention_mask"].bool(), trained, strict=True)
    ]


@pytest.mark.parametrize("images", [[PICTURE], [PICTURE, PICTURE], []])
@pytest.mark.parametrize("plain", [False, True])
def test_pairs_are_tokenized_as_the_collator_of_dpo_trainer_does(processor, images, plain):
    row = {**PAIR, "images": images}
    if plain:
        row |= {"prompt": "<image>" * len(images) + "What?", "chosen": "A cat.", "rejected": "A dog, I think."}
    batch = DataCollatorForVisionPreference(processor)([dict(row)])
    ours = [(list(one.ids), list(one.trained)) for one in sequences(row, processor)]
    assert ours == rows_of(batch, batch["completion_mask"].bool())
    assert sum(id == processor.image_token_id for id in ours[0][0]) == 4 * len(images)


@pytest.mark.parametrize(
    "row", [{"messages": PROMPT + YES}, {"text": "<image>A cat."}, {"prompt": PROMPT, "completion": YES}]
)
def test_token_rows_are_tokenized_as_the_collator_of_sft_trainer_does(processor, row):
    row = {**row, "images": [PICTURE]}
    collator = DataCollatorForVisionLanguageModeling(processor, completion_only_loss="prompt" in row)
    batch = collator([dict(row)])
    ours = [(list(one.ids), list(one.trained)) for one in sequences(row, processor)]
    assert ours == rows_of(batch, batch["labels"] != -100)


def test_text_alone_goes_through_the_processor_as_through_its_tokenizer(processor):
    row = {name: value for name, value in PAIR.items() if name != "images"}
    [chosen, _] = sequences(row, processor)
    assert processor.tokenizer.decode(chosen.ids) == (
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\nA cat.<|im_end|>\n"
    )
    assert end_tokens(processor) == {processor.tokenizer.eos_token_id}


def test_images_are_counted_as_tokens_and_shown_once(processor):
    total = inspect([PAIR], "pairs", processor, Treatment(max_length=65)).total
    assert (total.examples, total.truncated, total.lost_end, total.marked) == (1, 1, 1, 0)
    spans = mark(PAIR, processor, UNCUT).sequences[0].spans
    assert [span.text for span in spans if "image" in span.text] == ["<image> × 4"]


def test_a_text_without_the_places_for_its_images_is_named(processor):
    row = {"text": "no place", "images": [PICTURE], "place": "a:7"}
    twice = {"text": "<image><image>", "images": [PICTURE], "place": "a:8"}
    for bad, place in ((twice, "a:8"), (row, "a:7")):
        with pytest.raises(DataError, match=f"{place}: the model's processor cannot place 1 images"):
            sequences(bad, processor)


def test_the_prompt_ends_where_its_answers_part_from_it(processor, monkeypatch):
    thinking = CHAT_TEMPLATE.replace("assistant\n' }}{% endif %}", "assistant\n<think>' }}{% endif %}")
    monkeypatch.setattr(processor, "chat_template", thinking)
    batch = DataCollatorForVisionPreference(processor)([dict(PAIR)])
    found = sequences(PAIR, processor)
    assert [(list(one.ids), list(one.trained)) for one in found] == rows_of(batch, batch["completion_mask"].bool())
    assert [one.left_out for one in found] == [len("<think>")] * 2
    assert torch.is_tensor(batch["pixel_values"])
