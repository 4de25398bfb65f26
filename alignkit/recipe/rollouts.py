"""What training on sampled answers needs beside data and model: their reward, and the server that samples."""

import importlib.util
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from alignkit.recipe.rl_spec import RLSpec
from alignkit.recipe.schema import Recipe
from alignkit.rewards._reward import Text
from alignkit.rewards.build import load_reward
from alignkit.rewards.ensemble import Ensemble, Verdict

FILE = "completions.jsonl"  # in the output folder: some answers of each generation, with their rewards
SHOWN = 4  # answers of a generation
ANSWERS_WITHIN = 5.0  # seconds


class RolloutReward:
    """An `Ensemble` as TRL calls a reward function, which logs what its members say.

    With several members their means, their disagreement and who decides are metrics. `folder` gets the first answers of
    each generation; None where no text may be written.
    """

    def __init__(self, ensemble: Ensemble, folder: Path | None = None) -> None:
        names = [member.name for member in ensemble.members]
        self.ensemble = ensemble
        self.folder = folder
        self.__name__ = names[0] if len(names) == 1 else "combined"  # TRL logs rewards/NAME/mean and std

    def __call__(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        *,
        columns: Sequence[str],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **others: Any,
    ) -> list[float]:
        verdict = self.ensemble.judge(prompts, completions, **columns_of(columns))
        if len(self.ensemble.members) > 1:
            for name, value in verdict.metrics().items():
                log_metric(name, value)
        if self.folder is not None and trainer_state.is_world_process_zero:
            self._write(self.folder, trainer_state.global_step, prompts, completions, verdict)
        return verdict.scores.tolist()

    def _write(
        self, folder: Path, step: int, prompts: Sequence[Text], completions: Sequence[Text], verdict: Verdict
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a", encoding="utf-8") as file:
            for number in range(min(SHOWN, len(completions))):
                of_this: dict[str, Tensor] = {"reward": verdict.scores, **verdict.members}
                said = {"step": step, "prompt": prompts[number], "completion": completions[number]}
                scores = {name: scores[number].item() for name, scores in of_this.items()}
                file.write(json.dumps({**said, **scores}, ensure_ascii=False) + "\n")


def columns_of(rows: Sequence[str]) -> dict[str, list[Any]]:
    """{name: values} of the data's other columns, kept as JSON of each row; None where a row lacks one."""
    read: list[Mapping[str, Any]] = [json.loads(row) for row in rows]
    names = dict.fromkeys(name for row in read for name in row)
    return {name: [row.get(name) for row in read] for name in names if name not in ("prompts", "completions")}


def answer_sources(recipe: Recipe, args: Any) -> dict[str, Any]:
    """What a trainer is told of answers: what they are worth, and the files to read and write.

    Raises:
        ValueError: a member of the reward cannot be loaded.
    """
    rl, shown = recipe.rl or RLSpec(), None if args.push_to_hub else Path(args.output_dir)
    return {
        "reward_funcs": RolloutReward(load_reward(recipe.reward, recipe.base), shown) if recipe.reward else None,
        "samples": None if rl.samples is None else Path(rl.samples),
        "record": rl.record,
    }


def refuse_absent_server(args: Any) -> None:
    """TRL waits minutes for a vLLM server, after the model is loaded. ValueError if nothing listens there."""
    if not getattr(args, "use_vllm", False) or args.vllm_mode != "server":
        return
    url = args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}"
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=ANSWERS_WITHIN).close()
    except OSError as error:
        raise ValueError(
            f"no vLLM server at {url} ({error.strerror or error}); start it first, or write train.vllm_mode: colocate "
            "to generate in this process"
        ) from None


def refuse_absent_vllm(args: Any) -> None:
    """TRL looks for vLLM when the model is loaded, its client of a server too. ValueError if either is missing."""
    refuse_absent_server(args)
    if getattr(args, "use_vllm", False) and importlib.util.find_spec("vllm") is None:
        raise ValueError(
            "train.use_vllm needs vLLM, which is not installed; install it (docker/Dockerfile.cuda says which), or "
            "write train.use_vllm: false to generate with transformers"
        )
