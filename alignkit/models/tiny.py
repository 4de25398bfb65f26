"""Tiny models: an architecture at toy size, with seeded random weights and a tokenizer of bytes. For smoke tests.

`tiny:mistral` runs the same code as a 7B Mistral, sliding window included, in milliseconds. What it writes is noise.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from alignkit.lookup import did_you_mean
from alignkit.models.cache import built_once, save_here, sha256
from alignkit.models.padding import pad_apart_from_eos

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,  # at this width 0.02 gives nearly the same probability to every token
}
WINDOW = {"sliding_window": 64}
EXPERTS = {"num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": WINDOW,
    "gemma": {},
    "gemma2": WINDOW,
    "gemma3_text": WINDOW | {"layer_types": ["sliding_attention", "full_attention"]},
    "phi3": WINDOW,
    "mixtral": WINDOW | EXPERTS | {"num_local_experts": 4},
    "qwen3_moe": EXPERTS | {"num_experts": 4, "moe_intermediate_size": 32},
    # its positions are learned, and 4096 of them would be most of the model
    "gpt2": {"n_inner": 64, "max_position_embeddings": 1024},
}

# A qwen2 folder is read by Qwen2Tokenizer whatever it says; that class adds <|endoftext|> unless it is there
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny(architecture: str, tokenizer: str | None = None) -> Path:
    """Model folder of a two-layer model, built on first use; the same weights every time.

    `tokenizer` is what `AutoTokenizer` loads; its vocabulary is then the model's. Otherwise the tokens are bytes.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"tiny:{architecture} is not known{did_you_mean(architecture, ARCHITECTURES)}")
    tokens = (
        byte_tokenizer() if tokenizer is None else AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    )
    pad_apart_from_eos(tokens)
    with tempfile.TemporaryDirectory() as folder:
        tokens.save_pretrained(folder)
        contents = {file.name: sha256(file) for file in sorted(Path(folder).iterdir())}
    made_of = [architecture, _sizes(architecture), contents, transformers.__version__, torch.__version__]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return built_once(f"tiny-{architecture}-{digest[:12]}", lambda folder: _build(architecture, tokens, folder))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and three more: padding, start of turn, end of turn (eos). Turns as in ChatML."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    core.add_special_tokens([PAD, START, END])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=SIZES["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )


def _sizes(architecture: str) -> dict[str, Any]:
    return SIZES | ARCHITECTURES[architecture]


def _build(architecture: str, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **_sizes(architecture),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    save_here(model, folder)
    tokenizer.save_pretrained(folder)
