"""Options that are valid one by one and make no sense together. Each rule says so before anything is loaded."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.data.spec import DataSpec
from alignkit.models.spec import ModelSpec
from alignkit.objectives import (
    GroupObjective,
    Objective,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    TokenObjective,
    UnpairedObjective,
)
from alignkit.recipe.document import Report
from alignkit.recipe.ensemble.spec import EnsembleSpec
from alignkit.recipe.problems import KeyPath, dotted
from alignkit.recipe.rl_spec import RLSpec
from alignkit.recipe.schema import TrainSpec
from alignkit.rewards.spec import RewardSpec

Finding = tuple[str | KeyPath, str, str]  # (key of train or path of another key, what, instead)
# Families whose answers are generated, and rewarded, while they train
REWARDED: tuple[type[Objective], ...] = (GroupObjective,)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A recipe's sections as far as they are valid; None where one is not."""

    train: Mapping[str, Any]
    settings: TrainSpec | None
    objective: Objective | None
    family: type[Objective] | None
    model: ModelSpec | None
    data: DataSpec | None
    teachers: Sequence[ModelSpec] = ()
    reward: RewardSpec | None = None
    ensemble: EnsembleSpec | None = None
    rl: RLSpec | None = None
    reward_is_wrong: bool = False  # the section is there, and its problems have been reported
    uses: Collection[str] = ()  # sections that the command reads whatever the method does
    defaults: Mapping[str, Any]  # of TRL's config class; empty where a misspelt key may hide what was meant

    def option(self, name: str) -> Any:
        return self.train.get(name, self.defaults.get(name))


def check_contradictions(written: Written, report: Report) -> None:
    for rule in RULES:
        for key, what, instead in rule(written):
            path = ("train", key) if isinstance(key, str) else key
            report.add(path, f"{dotted(path)}{what}", instead)


def _batches(written: Written) -> Iterator[Finding]:
    batch = written.settings and written.settings.global_batch_size
    if not batch:
        return
    for other in ("gradient_accumulation_steps", "auto_find_batch_size"):
        if written.train.get(other):
            yield other, " contradicts train.global_batch_size, from which it follows", "keep one of the two"
    if (written.train.get("accelerator_config") or {}).get("split_batches"):
        yield "accelerator_config", ".split_batches contradicts train.global_batch_size", "keep one of the two"
    micro = written.option("per_device_train_batch_size")
    if isinstance(micro, int) and batch % micro:
        below = batch - batch % micro
        near = f"{below} or {below + micro}" if below else f"{micro}, or a smaller train.per_device_train_batch_size"
        what = f" = {batch} is no multiple of train.per_device_train_batch_size = {micro}"
        yield "global_batch_size", what, f"write {near}"


def _evaluation(written: Written) -> Iterator[Finding]:
    strategy = written.option("eval_strategy")
    if "eval_steps" in written.train and "eval_strategy" not in written.train and strategy == "no":
        yield "eval_steps", " has no effect while train.eval_strategy is no", "write train.eval_strategy: steps"
    evaluates = [key for key in ("eval_strategy", "eval_on_start") if written.train.get(key) not in (None, "no", False)]
    if evaluates and written.data and not (written.data.eval or written.data.holdout):
        what = f" = {str(written.train[evaluates[0]]).lower()} has nothing to evaluate on"
        yield evaluates[0], what, "write data.eval or data.holdout"
    save = written.option("save_strategy")
    if written.option("load_best_model_at_end") and None not in (save, strategy) and save not in ("best", strategy):
        what = f" needs train.eval_strategy ({strategy}) to be train.save_strategy ({save})"
        yield "load_best_model_at_end", what, f"write train.eval_strategy: {save}"


def _pairs(written: Written) -> Iterator[Finding]:
    if written.family in (PairObjective, RevisionObjective) and written.option("padding_free"):
        yield "padding_free", " is switched off by TRL for pairs, in silence", "remove it"


def _revisions(written: Written) -> Iterator[Finding]:
    asked = written.data and written.data.revision_prompt is not None
    if asked and written.family not in (None, RevisionObjective):
        yield ("data", "revision_prompt"), " has no effect: this objective learns no revisions", "remove it"


def _heads(written: Written) -> Iterator[Finding]:
    if written.model and written.model.head_only and written.family not in (None, RewardObjective):
        yield ("model", "head_only"), " is for reward models, which this objective does not train", "remove it"


def _dropout(written: Written) -> Iterator[Finding]:
    adapter = written.model and written.model.adapter
    if adapter and adapter.dropout and written.option("disable_dropout"):
        what = " is switched off by TRL for this method, in silence"
        yield ("model", "adapter", "dropout"), what, "write train.disable_dropout: false, or remove it"


def _teachers(written: Written) -> Iterator[Finding]:
    reads = written.objective is None or "aligned_logps" in written.objective.columns
    if written.teachers and not reads:
        yield ("teachers",), " have no effect: this objective reads no scores of theirs", "remove them"
    if written.data and written.data.teacher_scores is not None and not reads:
        yield ("data", "teacher_scores"), " has no effect: this objective reads no scores of teachers", "remove it"
    for number, teacher in enumerate(written.teachers):
        if teacher.adapter is not None:
            yield ("teachers", number, "adapter"), " would be trained, and teachers are not", "write its folder as path"
        if teacher in written.teachers[:number]:
            yield ("teachers", number), f": {teacher.path} is there twice", "remove one"


def _reward(written: Written) -> Iterator[Finding]:
    idle = written.family is not None and written.family not in REWARDED and "reward" not in written.uses
    if written.reward is not None and idle:
        yield ("reward",), " has no effect: this objective learns from data, not from rewards", "remove it"
    recorded = written.rl is not None and written.rl.samples is not None  # with scores, or the trainer asks for them
    if written.reward is None and written.family in REWARDED and not (written.reward_is_wrong or recorded):
        yield ("reward",), " is missing", "write reward: {members: [{rule: exact_match}]}"


def _groups(written: Written) -> Iterator[Finding]:
    if written.family is not GroupObjective:
        return
    answers, micro = written.option("num_generations"), written.option("per_device_train_batch_size")
    if answers == 1:
        what = " = 1: an answer is compared with others to the same prompt, and there would be none"
        yield "num_generations", what, "write 2 or more; 8 is usual"
    elif isinstance(answers, int) and isinstance(micro, int) and micro % answers:
        what = f" = {micro} cannot hold whole groups of train.num_generations = {answers} answers"
        yield "per_device_train_batch_size", what, f"use a multiple of {answers}"
    batch = written.settings and written.settings.global_batch_size
    whole = written.train.get("generation_batch_size")
    if batch and isinstance(whole, int) and whole % batch:
        what = f" = {whole} answers are no whole number of updates on train.global_batch_size = {batch}"
        yield "generation_batch_size", what, f"use a multiple of {batch}"


def _recorded(written: Written) -> Iterator[Finding]:
    if written.rl is None:
        return
    if written.family not in (None, GroupObjective):
        yield ("rl",), " is for methods that learn from sampled answers, which this one is not", "remove it"
    if written.rl.samples is not None and written.option("use_vllm"):
        yield "use_vllm", " has no effect: rl.samples holds the answers", "remove it"
    if written.rl.record and written.train.get("push_to_hub"):
        yield ("rl", "record"), " would publish every answer with train.push_to_hub", "remove one of the two"


def _ensemble(written: Written) -> Iterator[Finding]:
    if written.ensemble is None:
        return
    if written.family not in (None, RewardObjective):
        yield ("ensemble",), " is of reward models, which this objective does not train", "remove it"
    form = written.ensemble.form
    if written.model and written.model.adapter is not None and form != "lora":
        yield ("model", "adapter"), f" contradicts ensemble.form: {form}", "write form: lora, or remove the adapter"
    if written.model and written.model.head_only and form != "heads":
        yield ("model", "head_only"), f" contradicts ensemble.form: {form}", "write form: heads, or remove it"
    if written.train.get("push_to_hub"):
        yield "push_to_hub", " pushes one model, and an ensemble has several", "remove it, and push members yourself"


def _unpaired(written: Written) -> Iterator[Finding]:
    if written.family is not UnpairedObjective:
        return
    if written.option("per_device_train_batch_size") == 1:
        what = " = 1 leaves no answer to another prompt in a micro-batch, which this method compares with"
        yield "per_device_train_batch_size", what, "write 2 or more"
    if written.option("precompute_ref_log_probs"):
        what = ": answers to other prompts are drawn anew in every epoch, and need the reference each time"
        yield "precompute_ref_log_probs", what, "remove it"
    if "train_sampling_strategy" in written.train:
        what = " has no effect: every epoch shuffles, with both kinds of answers in each micro-batch"
        yield "train_sampling_strategy", what, "remove it"


def _reference(written: Written) -> Iterator[Finding]:
    precompute = written.option("precompute_ref_log_probs")
    if precompute and written.objective and not written.objective.needs_reference:
        yield "precompute_ref_log_probs", " is of no use: this objective needs no reference", "remove it"
    if precompute and written.data and written.data.streaming:
        yield (
            "precompute_ref_log_probs",
            " needs the whole data set, which streaming never sees",
            "remove one of the two",
        )
    if "precompute_ref_batch_size" in written.train and precompute is False:
        yield _idle("precompute_ref_batch_size", "precompute_ref_log_probs")
    if written.settings and written.settings.reference_cache:
        if written.objective and not written.objective.needs_reference:
            yield "reference_cache", " is of no use: this objective needs no reference", "remove it"
        elif written.family is GroupObjective:
            yield "reference_cache", " is of no use: answers that are generated anew were never scored", "remove it"


def _packing(written: Written) -> Iterator[Finding]:
    columns = written.objective.columns if written.objective else ()
    for key in ("packing", "padding_free"):
        if columns and written.family is TokenObjective and written.option(key):
            yield key, f" joins texts, and this objective reads {', '.join(columns)} of each", "remove it"
    for key in ("packing_strategy", "eval_packing"):
        if key in written.train and written.option("packing") is False:
            yield _idle(key, "packing")


def _deprecated(written: Written) -> Iterator[Finding]:
    if written.option("use_liger_kernel"):
        yield "use_liger_kernel", " is deprecated by TRL, whose own fused log-probs replace it", "remove it"
    if written.option("truncation_mode") == "keep_end":
        yield "truncation_mode", " = keep_end is deprecated by TRL", "write keep_start"
    if "gradient_checkpointing" in written.train and "activation_checkpointing" in written.train:
        yield "gradient_checkpointing", " is the old name of train.activation_checkpointing", "keep the new one"


def _streaming(written: Written) -> Iterator[Finding]:
    if written.data and written.data.streaming and written.option("max_steps") == -1:
        yield "max_steps", " is missing, and data.streaming has no length", "write train.max_steps: NUMBER"


def _idle(key: str, switch: str) -> Finding:
    return key, f" has no effect without train.{switch}", f"write train.{switch}: true or remove it"


RULES: tuple[Callable[[Written], Iterator[Finding]], ...] = (
    _batches,
    _evaluation,
    _pairs,
    _revisions,
    _heads,
    _dropout,
    _teachers,
    _reward,
    _ensemble,
    _groups,
    _recorded,
    _unpaired,
    _reference,
    _packing,
    _deprecated,
    _streaming,
)
