"""Sampling with vLLM, where it is installed: the fast path on GPUs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.generation._sampler import Chat, Drawn
from alignkit.models.load import load_tokenizer, locate
from alignkit.models.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class VLLMSampler:
    """Draws by vLLM's own engine. Prompts are tokenized as everywhere in alignkit, so that the template is the same."""

    engine: Any  # vllm.LLM
    tokenizer: Any
    max_new_tokens: int = 256  # tokens of an answer at most
    temperature: float = 1.0  # 0 is greedy
    seed: int = 0  # of the draws

    @classmethod
    def load(cls, spec: ModelSpec, **options: Any) -> "VLLMSampler":
        """The model of a folder or Hub id. ValueError if vLLM is not there, or the model is an adapter."""
        try:
            from vllm import LLM
        except ImportError as error:
            raise ValueError(f"vLLM cannot be imported ({error}); pip install vllm, or take transformers") from None
        location = locate(spec)
        if location.adapter is not None:
            raise ValueError(f"{spec.path} is an adapter; run alignkit merge first, or take transformers")
        dtype = "auto" if spec.precision == "auto" else spec.precision
        weights = "safetensors"  # vLLM's own default reads a pickle where a repository has nothing else
        engine = LLM(model=str(location.model), revision=location.revision, dtype=dtype, load_format=weights)
        return cls(engine=engine, tokenizer=load_tokenizer(spec), **options)

    def __call__(self, chats: Sequence[Chat], n: int = 1) -> list[list[str]]:
        return [[answer.text for answer in answers] for answers in self.draw(chats, n)]

    def draw(self, prompts: Sequence[Chat | str], n: int = 1) -> list[list[Drawn]]:
        """n answers to each prompt, with their lengths and whether they came to an end."""
        from vllm import SamplingParams

        params = SamplingParams(n=n, temperature=self.temperature, max_tokens=self.max_new_tokens, seed=self.seed)
        asked = [{"prompt_token_ids": self._tokens(prompt)} for prompt in prompts]
        found = self.engine.generate(asked, params, use_tqdm=False)
        return [
            [
                Drawn(text=one.text, tokens=len(one.token_ids), truncated=one.finish_reason == "length")
                for one in output.outputs
            ]
            for output in found
        ]

    def _tokens(self, prompt: Chat | str) -> list[int]:
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt)["input_ids"])
        encoded = self.tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])
