"""The chat template that training on the assistant's turns alone needs."""

from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import get_training_chat_template, has_generation_markers


def training_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's template if it marks what the assistant says, else the marked version that SFTTrainer takes.

    Raises:
        ValueError: TRL knows no marked version of this template.
    """
    template = tokenizer.chat_template
    if has_generation_markers(template):
        return template
    try:
        return get_training_chat_template(tokenizer) or template
    except ValueError:
        raise ValueError(
            "train.assistant_only_loss needs a chat template that marks the assistant's turns with {% generation %}, "
            "and this model's does not; write model.chat_template: FILE.jinja with one that does, or remove the option"
        ) from None
