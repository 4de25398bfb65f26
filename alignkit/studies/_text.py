"""Over-optimisation on text: a tiny language model, reward heads on its hidden states, a scripted gold reward."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import tokenizers
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from alignkit.generation import Chat, TransformersSampler
from alignkit.models.scoring import by_length
from alignkit.studies._worlds import Answers

LETTERS = "abcdefghijkl"
PAD, END = "_", "."
PLENTY = 2  # times that a letter is worth something
COST = 2  # of every time more
MAX_NEW_TOKENS = 24
BATCH = 512  # answers drawn side by side
BATCH_TOKENS = 16384
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}.{% endif %}{% endfor %}"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A `World` whose answers are up to 24 letters, drawn from a language model with seeded random weights.

    gold(text) = sum over letters of value * min(count, 2) - 2 * max(0, count - 2): a letter has a value, a new one for
    every seed, and what is repeated too often costs. The answers are drawn once; a seed shuffles those to a prompt.

    A policy that is trained against proxies starts as `policy()`, answers `chats`, and is paid for the `features` of
    what it writes, which are read by a copy that never changes.
    """

    prompts: int  # at most as many as there are letters
    count: int  # answers to each

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A token a letter; a full stop ends an answer. The template is the prompt and the answer, nothing else."""
        vocabulary = {letter: number for number, letter in enumerate(LETTERS)}
        core = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
        core.decoder = tokenizers.decoders.Fuse()
        core.add_special_tokens([PAD, END])
        return PreTrainedTokenizerFast(
            tokenizer_object=core,
            pad_token=PAD,
            eos_token=END,
            chat_template=TEMPLATE,
            clean_up_tokenization_spaces=False,
        )

    def policy(self) -> PreTrainedModel:
        """The language model, a new copy: two layers of Llama's architecture, of width 32."""
        config = AutoConfig.for_model(
            "llama",
            vocab_size=len(self.tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            initializer_range=0.15,  # some letters are then several times as frequent as others
            bos_token_id=None,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()

    @property
    def chats(self) -> list[Chat]:
        """The prompts: a letter each."""
        return [[{"role": "user", "content": letter}] for letter in LETTERS[: self.prompts]]

    def gold(self, texts: Sequence[str], seed: int) -> Tensor:
        """What texts are worth, (N,)."""
        values = torch.randn(len(LETTERS), generator=torch.Generator().manual_seed(seed))
        counts = torch.tensor([[text.count(letter) for letter in LETTERS] for text in texts], dtype=torch.float32)
        return counts.clamp(max=PLENTY) @ values - COST * (counts - PLENTY).clamp(min=0).sum(dim=1)

    def features(self, chats: Sequence[Chat], texts: Sequence[str]) -> Tensor:
        """Mean, sum and last of the frozen model's hidden states, on the scale of the policy's; (N, 96)."""
        mean, deviation = self._scale
        return (self._states(chats, texts) - mean) / deviation

    def __call__(self, seed: int) -> Answers:
        order = torch.rand(self.prompts, self.count, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        gold = self.gold([text for texts in self._texts for text in texts], seed).view(order.shape)
        mean, deviation = self._scale
        features = ((self._drawn - mean) / deviation).view(self.prompts, self.count, -1)
        return Answers(features=features.take_along_dim(order[..., None], dim=1), gold=gold.gather(1, order))

    @cached_property
    def _reader(self) -> PreTrainedModel:
        return self.policy()

    @cached_property
    def _texts(self) -> list[list[str]]:
        sampler = TransformersSampler(
            model=self.policy(),
            tokenizer=self.tokenizer,
            max_new_tokens=MAX_NEW_TOKENS,
            temperature=1.0,
            batch_size=BATCH,
        )
        return sampler(self.chats, n=self.count)

    @cached_property
    def _drawn(self) -> Tensor:
        """Hidden states of the answers, not yet scaled, (P N, 96)."""
        chats = [chat for chat in self.chats for _ in range(self.count)]
        return self._states(chats, [text for texts in self._texts for text in texts])

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        return self._drawn.mean(dim=0), self._drawn.std(dim=0)

    @torch.no_grad()
    def _states(self, chats: Sequence[Chat], texts: Sequence[str]) -> Tensor:
        written = [f"{chat[-1]['content']}{text}{END}" for chat, text in zip(chats, texts, strict=True)]
        tokens = self.tokenizer(written)["input_ids"]
        found = torch.zeros(len(tokens), 3 * self._reader.config.hidden_size)
        for numbers in by_length([*map(len, tokens)], BATCH_TOKENS):
            batch = self.tokenizer.pad({"input_ids": [tokens[number] for number in numbers]}, return_tensors="pt")
            states = self._reader.model(**batch, use_cache=False).last_hidden_state
            total = (states * batch["attention_mask"][..., None]).sum(dim=1)
            length = batch["attention_mask"].sum(dim=1)
            last = states[torch.arange(len(numbers)), length - 1]
            found[numbers] = torch.cat([total / length[:, None], total / MAX_NEW_TOKENS, last], dim=1)
        return found
