"""From a checked recipe to a trainer that is ready to run."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from alignkit.data.account import DataReport
from alignkit.data.layouts import Shape
from alignkit.data.load import Data, load_data
from alignkit.data.revision import RevisionPrompt
from alignkit.data.teachers import COLUMN
from alignkit.data.thresholds import check_thresholds
from alignkit.models.adapters import peft_config
from alignkit.models.load import load_model, load_tokenizer
from alignkit.models.precision import trainer_precision
from alignkit.models.reward import load_reward_model, reward_peft_config
from alignkit.objectives import (
    GroupObjective,
    Objective,
    PairObjective,
    RevisionObjective,
    RewardObjective,
    TokenObjective,
    UnpairedObjective,
)
from alignkit.recipe.balance import balanced
from alignkit.recipe.hub import make_repository
from alignkit.recipe.inspection import inspect_data, refuse_images, refuse_lost
from alignkit.recipe.metrics_file import MetricsFile
from alignkit.recipe.profile import Start, attach_profile
from alignkit.recipe.provenance import save_provenance
from alignkit.recipe.resume import refuse_changes
from alignkit.recipe.rollouts import answer_sources, refuse_absent_vllm
from alignkit.recipe.schema import Recipe, family_of
from alignkit.recipe.scoring import joined_scores, refuse_unsaid_turns
from alignkit.recipe.spikes import SpikeWarning
from alignkit.recipe.summary.attach import attach_summary
from alignkit.recipe.summary.facts import Facts, without_texts
from alignkit.recipe.trackers import RecipeInWandb, shield_trackers
from alignkit.recipe.world import check_sharding, running_processes
from alignkit.trainers import (
    GroupTrainer,
    ObjectiveTrainer,
    PairTrainer,
    RevisionTrainer,
    RewardTrainer,
    TokenTrainer,
    UnpairedTrainer,
)

DAY = 86_400  # seconds: who is missing is said by rank_timeout, and torch, which names nobody, must not be first

# What follows from the batch shape of an objective: its trainer, and the shape of the rows it learns from.
TRAINERS: dict[type[Objective] | None, tuple[type[ObjectiveTrainer], Shape]] = {
    PairObjective: (PairTrainer, "pairs"),
    TokenObjective: (TokenTrainer, "tokens"),
    UnpairedObjective: (UnpairedTrainer, "unpaired"),
    RevisionObjective: (RevisionTrainer, "pairs"),
    RewardObjective: (RewardTrainer, "pairs"),  # or rankings: see row_shape
    GroupObjective: (GroupTrainer, "tasks"),
}


def build(
    recipe: Recipe,
    report: Callable[[DataReport], None] | None = None,
    load: Callable[..., Any] | None = None,
    checkpoint: Path | None = None,
) -> ObjectiveTrainer:
    """Load what the recipe names and put it together.

    Args:
        recipe: what to train.
        report: called with the data report before the model loads.
        load: loads the model in place of `load_recipe_model`.
        checkpoint: one that the run will go on from, and must not differ from.

    Raises:
        ValueError: data, model or options that cannot be used; the message says what to write instead.
    """
    trainer, _ = TRAINERS[family_of(type(recipe.objective))]
    start = Start()
    # before the model: transformers looks for DeepSpeed's configuration while it loads weights, to shard them at once
    args = training_arguments(recipe)
    data, tokenizer, found = inspected(recipe, args, report)
    recipe = settled(recipe, data, checkpoint)
    start.done("data")
    set_seed(args.seed)  # adapters are drawn before the trainer seeds itself
    model = (load or load_recipe_model)(recipe, args)
    start.done("model")
    run = trainer(
        model=model,
        objective=recipe.objective,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.eval,
        processing_class=tokenizer,
        peft_config=adapter_of(recipe),
        **own_options(recipe, args),
    )
    start.done("trainer")
    record(run, recipe, data, without_texts(found) if args.push_to_hub else found, start)
    return run


def inspected(
    recipe: Recipe, args: TrainingArguments, report: Callable[[DataReport], None] | None
) -> tuple[Data, Any, DataReport]:
    """Data and tokenizer of a recipe, and the report on them, which `report` is called with before it is judged."""
    refuse_absent_vllm(args)
    data = load_recipe_data(recipe)
    tokenizer = load_recipe_tokenizer(recipe, data)
    refuse_images(data, recipe.model.path, tokenizer, args)
    found = inspect_data(data, shape_of(recipe), tokenizer, args)
    if report is not None:
        report(found)
    check_thresholds(found, recipe.data)
    make_repository(args)
    return data, tokenizer, found


def settled(recipe: Recipe, data: Data, checkpoint: Path | None) -> Recipe:
    """The recipe with what follows from its data; refused where another one saved the checkpoint."""
    recipe = balanced(recipe, data.train)
    if checkpoint is not None:
        refuse_changes(recipe, data.fingerprints, checkpoint)
    return recipe


def record(run: Any, recipe: Recipe, data: Data, shown: DataReport, start: Start) -> None:
    """Let a trainer write down what it was asked for and what came of it, and give it the recipe's ways to stop.

    Raises:
        ValueError: it dropped rows in silence, or holds whole what it was launched to shard.
    """
    check_sharding(run.accelerator.distributed_type)
    if recipe.data.on_bad_rows == "error":
        refuse_lost(data, run)
    provenance = SaveProvenance(recipe, data, shown)
    run.add_callback(provenance)
    run.beside_checkpoint = provenance.write
    run.on_nonfinite = recipe.settings.on_nonfinite
    run.rank_timeout = recipe.settings.rank_timeout
    shield_trackers(run)
    run.add_callback(SpikeWarning())
    run.add_callback(MetricsFile())
    run.add_callback(RecipeInWandb(recipe))
    if recipe.evaluation is not None:
        from alignkit.recipe.evaluation.attach import attach_evaluation  # here, since its HTTP client takes a second

        attach_evaluation(run, recipe.evaluation)
    if recipe.profile:
        attach_profile(run, start)
    attach_summary(run, Facts.of(recipe, data, shown))


def load_recipe_model(recipe: Recipe, args: TrainingArguments) -> Any:
    """The model that is trained; a reward model's new head is drawn from `train.seed`."""
    if isinstance(recipe.objective, RewardObjective):
        return load_reward_model(recipe.model, seed=args.seed)
    return load_model(recipe.model)


def adapter_of(recipe: Recipe) -> LoraConfig | None:
    """peft's configuration of the adapter that the recipe adds, or of a head alone."""
    adapter = recipe.model.adapter
    if isinstance(recipe.objective, RewardObjective) and (adapter is not None or recipe.model.head_only):
        return reward_peft_config(adapter)
    return None if adapter is None else peft_config(adapter)


def own_options(recipe: Recipe, args: TrainingArguments) -> dict[str, Any]:
    """Arguments beyond TRL's, of all trainers and of this one alone."""
    settings = recipe.settings
    options: dict[str, Any] = {"shared_prefix": settings.shared_prefix, "reference_cache": settings.reference_cache}
    if isinstance(recipe.objective, RevisionObjective) and recipe.data.revision_prompt is not None:
        options["revision_prompt"] = RevisionPrompt(template=recipe.data.revision_prompt)
    if isinstance(recipe.objective, GroupObjective):
        options |= answer_sources(recipe, args)
    return options


def training_arguments(recipe: Recipe, processes: int | None = None) -> TrainingArguments:
    """TRL's configuration, with what the machine decides: precision, and accumulation on so many processes.

    `processes` are those of this run unless it is only planned.
    """
    options: dict[str, Any] = {**recipe.train, "output_dir": str(output_folder(recipe))}
    options |= {**trainer_precision(recipe.model), "report_to": list(recipe.report) or "none"}
    options["trust_remote_code"] = recipe.model.trust_remote_code  # of the reference, which TRL loads
    options.setdefault("ddp_timeout", DAY)
    (default,) = [f.default for f in fields(recipe.config_class) if f.name == "per_device_train_batch_size"]
    micro = options.get("per_device_train_batch_size", default)
    if processes is None:
        _start_processes(options)
    steps = recipe.settings.accumulation_steps(micro, processes or running_processes())
    if steps is not None:
        options["gradient_accumulation_steps"] = steps  # from which GRPOConfig derives the size of a generation
    return recipe.config_class(**options)


def _start_processes(options: dict[str, Any]) -> None:
    """Let transformers join the processes of this run, in the way its options say, before they are counted."""
    known = {field.name for field in fields(TrainingArguments)}
    TrainingArguments(**{name: value for name, value in options.items() if name in known}).device  # noqa: B018


def load_recipe_data(recipe: Recipe) -> Data:
    """Datasets of a recipe; local paths are relative to its file."""
    if COLUMN in recipe.objective.columns and (recipe.teachers or recipe.data.teacher_scores is not None):
        data = joined_scores(recipe)
    else:
        data = load_data(recipe.data, shape_of(recipe), recipe.objective.columns, recipe.base)
    refuse_unsaid_turns(recipe, data)
    return data


def shape_of(recipe: Recipe) -> Shape:
    """Shape of the rows that the objective learns from."""
    return row_shape(type(recipe.objective))


def row_shape(objective: type[Objective]) -> Shape:
    """Shape of the rows that objectives of this class learn from."""
    if issubclass(objective, RewardObjective) and not objective.pairs_only:
        return "rankings"
    return TRAINERS[family_of(objective)][1]


def load_recipe_tokenizer(recipe: Recipe, data: Data) -> Any:
    """Tokenizer or processor of a recipe, with a chat template if its data are conversations."""
    conversations = any(source.conversational for source in data.report)
    return load_tokenizer(recipe.model, require_chat_template=conversations)


def output_folder(recipe: Recipe) -> Path:
    """Where a recipe writes: `train.output_dir`, or runs/METHOD-FILE."""
    name = type(recipe.objective).__module__.rpartition(".")[2]
    default = f"runs/{name}-{recipe.path.stem}" if recipe.path else f"runs/{name}"
    return Path(recipe.train.get("output_dir", default))


class SaveProvenance(TrainerCallback):
    """Writes the resolved recipe, versions, data fingerprints, git commit and data report beside every checkpoint."""

    def __init__(self, recipe: Recipe, data: Data, report: DataReport) -> None:
        self.recipe = recipe
        self.data = data
        self.report = report

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.write(Path(args.output_dir))

    def write(self, folder: Path) -> None:
        save_provenance(self.recipe, folder, self.data.fingerprints)
        text = json.dumps(self.report.plain(), indent=2, ensure_ascii=False)
        (folder / "data_report.json").write_text(text + "\n", encoding="utf-8")
