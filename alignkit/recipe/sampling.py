"""Answers to a recipe's prompts, drawn from its model and scored by its reward, written as they come."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from alignkit.data.layouts import OTHERS
from alignkit.data.load import load_data
from alignkit.generation import Drawing, TransformersSampler
from alignkit.generation.spec import SampleSpec
from alignkit.lookup import own_source
from alignkit.models.load import load_model, load_tokenizer
from alignkit.models.precision import device_type
from alignkit.models.spec import ModelSpec
from alignkit.recipe.reward_scores import kept_rows
from alignkit.recipe.reward_section import plain_reward
from alignkit.recipe.rollouts import columns_of
from alignkit.recipe.sample_sets import Outcome, as_completion, write_sets
from alignkit.recipe.schema import Recipe
from alignkit.recipe.scoring import version_of
from alignkit.rewards.build import load_reward
from alignkit.rewards.ensemble import Ensemble
from alignkit.rewards.spec import EnsembleMember, FunctionMember, ModelMember, RuleMember

SAMPLES = "samples.jsonl"
IDENTITY = "samples.identity.json"  # what the samples were made with; another recipe does not continue them
PART = 16  # prompts that are answered and written together: what a killed run loses at most

Progress = Callable[[int, int], None]  # prompts that are answered, prompts


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt of the data, and what else its row holds, as JSON, which rewards may read."""

    text: Any  # messages, or plain text
    columns: str


def sample(recipe: Recipe, output: Path, progress: Progress) -> Outcome:
    """Answer the recipe's prompts n times each, score the answers, and write them with what is kept into `output`.

    `samples.jsonl` grows by a few prompts at a time; a run that was stopped goes on there, and ends with the same file
    as one that was not. The sets are made from it at the end, so that a run with other limits for what is kept draws
    nothing again.

    Raises:
        ValueError: no reward, data or models that cannot be used, or samples of another recipe in `output`.
    """
    spec = recipe.sample or SampleSpec()
    prompts = prompts_of(recipe, spec)
    drawing = Draws(recipe=recipe, spec=spec, prompts=prompts)
    drawing(output / SAMPLES, output / IDENTITY, progress)
    return write_sets(output, output / SAMPLES, spec)


def prompts_of(recipe: Recipe, spec: SampleSpec) -> list[Prompt]:
    """Prompts of the training or the evaluation data, each once. ValueError where there are none."""
    if recipe.data.streaming:
        raise ValueError("answers are drawn for a whole data set, which streaming never sees; remove data.streaming")
    # what is said of answers, not of prompts, is left out
    asked = replace(recipe.data, label_noise=0.0, normalize_scores="none", ties="error")
    data = load_data(asked, "tasks", (), recipe.base)
    rows = data.train if spec.prompts == "train" else data.eval
    if rows is None:
        raise ValueError("the recipe has no evaluation data; write data.eval, or sample.prompts: train")
    found = {json.dumps(row["prompt"]): Prompt(text=row["prompt"], columns=row[OTHERS]) for row in rows}
    return [*found.values()][: spec.limit]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The answers to prompts, in a file that grows."""

    recipe: Recipe
    spec: SampleSpec
    prompts: Sequence[Prompt]

    def __call__(self, samples: Path, identity: Path, progress: Progress) -> None:
        if self.recipe.reward is None:
            raise ValueError("the recipe has no reward to choose answers by; write reward: {members: [{model: PATH}]}")
        samples.parent.mkdir(parents=True, exist_ok=True)
        done = kept_rows(samples, identity, self._identity())
        progress(done, len(self.prompts))
        if done == len(self.prompts):
            return
        sampler, ensemble = self._sampler(), load_reward(self.recipe.reward, self.recipe.base)
        with samples.open("a", encoding="utf-8") as file:
            for start in range(done - done % PART, len(self.prompts), PART):
                part = self.prompts[start : start + PART]
                rows = [*self._rows(part, replace(sampler, seed=_seed(self.spec.seed, start)), ensemble)]
                # a part that was half written is drawn again, whole, since its answers share a seed
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[max(done - start, 0) :])
                file.flush()
                progress(start + len(part), len(self.prompts))

    def _rows(self, prompts: Sequence[Prompt], sampler: Drawing, ensemble: Ensemble) -> Iterator[dict[str, Any]]:
        """A row for each prompt: its answers with their scores, their lengths and whether they came to an end."""
        drawn = sampler.draw([prompt.text for prompt in prompts], self.spec.n)
        each = [(prompt, answer) for prompt, answers in zip(prompts, drawn, strict=True) for answer in answers]
        verdict = ensemble.judge(
            [prompt.text for prompt, _ in each],
            [as_completion(prompt.text, answer.text) for prompt, answer in each],
            **columns_of([prompt.columns for prompt, _ in each]),
        )
        scores = verdict.scores.view(len(prompts), -1)
        members = {name: found.view(len(prompts), -1) for name, found in verdict.members.items()}
        for number, (prompt, answers) in enumerate(zip(prompts, drawn, strict=True)):
            yield {
                "prompt": prompt.text,
                "answers": [answer.text for answer in answers],
                "scores": scores[number].tolist(),
                "members": {name: found[number].tolist() for name, found in members.items()},
                "tokens": [answer.tokens for answer in answers],
                "truncated": [answer.truncated for answer in answers],
            }

    def _sampler(self) -> Any:
        model = replace(self.recipe.model, adapter=None, head_only=False)  # as it is, not as it would be trained
        options: dict[str, Any] = {"max_new_tokens": self.spec.max_new_tokens, "temperature": self.spec.temperature}
        if self.spec.engine == "vllm":
            from alignkit.generation.vllm import VLLMSampler

            return VLLMSampler.load(model, **options)
        conversations = not isinstance(self.prompts[0].text, str)
        tokenizer: Any = load_tokenizer(model, require_chat_template=conversations)
        loaded: Any = load_model(model, frozen=True)
        loaded = loaded if getattr(loaded, "is_quantized", False) else loaded.to(device_type())
        return TransformersSampler(model=loaded, tokenizer=tokenizer, batch_size=self.spec.batch_size, **options)

    def _identity(self) -> dict[str, Any]:
        """What the answers and their scores follow from; not what is kept of them."""
        kept = ("truncated", "min_score")
        drawn = {name: value for name, value in asdict(self.spec).items() if name not in kept}
        texts = hashlib.sha256(json.dumps([asdict(prompt) for prompt in self.prompts]).encode()).hexdigest()
        reward: Any = plain_reward(self.recipe.reward) if self.recipe.reward else None
        model = {"model": version_of(self.recipe.model), "tokenizer": self.recipe.model.tokenizer}
        return json.loads(
            json.dumps({**model, "sample": drawn, "prompts": texts, "reward": reward, "members": self._versions()})
        )

    def _versions(self) -> list[str | None]:
        """Of reward models and of the code of functions and rules, by their content."""
        found: list[str | None] = []
        for member in self.recipe.reward.members if self.recipe.reward else ():
            if isinstance(member, ModelMember):
                found.append(version_of(ModelSpec(path=member.model, revision=member.revision)))
            elif isinstance(member, EnsembleMember):
                folders = sorted(path for path in Path(member.ensemble).iterdir() if path.is_dir())
                found += [version_of(ModelSpec(path=str(folder))) for folder in folders]
            elif isinstance(member, FunctionMember):
                found.append(_code(own_source(member.function, self.recipe.base)))
            elif isinstance(member, RuleMember):
                found.append(_code(Path(inspect.getfile(type(member.rule)))))
        return found


def _code(file: Path) -> str:
    """Of a module, whose functions other files may serve; of those nothing is known here."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _seed(seed: int, start: int) -> int:
    """One for each part of the prompts, so that a run that goes on draws what it would have drawn."""
    return seed * 1_000_003 + start
