"""A padding token that is not the end-of-turn token.

Where the two are one, code that masks by token id also masks the end of the answer, and a model trained so never stops.
"""

import logging

from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# Tokens that exist in common vocabularies and that chats do not use; adding one would resize the embedding
CANDIDATES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>")


def pad_apart_from_eos(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer a padding token other than eos, taken from its own vocabulary; say so in the log.

    A vocabulary with no token to spare keeps or gets eos, which is safe with masks made by position, as TRL's are.
    """
    if tokenizer.pad_token is not None and tokenizer.pad_token != tokenizer.eos_token:
        return
    vocabulary = tokenizer.get_vocab()
    spare = [token for token in CANDIDATES if token in vocabulary and token != tokenizer.eos_token]
    before, after = tokenizer.pad_token, (spare or [tokenizer.eos_token])[0]
    if after != before:
        tokenizer.pad_token = after
        logger.info("padding token of the tokenizer: %s instead of %s (eos is %s)", after, before, tokenizer.eos_token)
