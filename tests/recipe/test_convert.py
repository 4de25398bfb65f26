"""Files in the style of TRL's scripts and of the alignment-handbook, written for these tests."""

import json
import textwrap
from pathlib import Path

import pytest
import trl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alignkit.objectives import make
from alignkit.recipe import load
from alignkit.recipe.convert import SCRIPTS, convert

MODEL = "model_name_or_path: org/base-7b\n"
DATA = "dataset_name: org/preferences\n"


@pytest.fixture
def converted(tmp_path, monkeypatch):
    """Convert YAML text; returns the loaded recipe, the reasons by key, and what `convert` returned."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(text: str, name: str = "dpo.yaml", script: str | None = None):
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        result = convert(file, script)
        Path("ours.yaml").write_text(result.to_yaml())
        reasons = {problem.where: str(problem) for problem in result.left}
        return load("ours.yaml"), reasons, result

    return run


OLD_HANDBOOK = """\
# Supervised model to preferences
model_name_or_path: org/chat-7b-sft
model_revision: main
torch_dtype: auto
use_flash_attention_2: true
use_peft: true
load_in_4bit: true
use_bnb_nested_quant: true
lora_r: 128
lora_alpha: 64
lora_target_modules: [q_proj, k_proj, v_proj, o_proj]
dataset_mixer:
  org/feedback: 0.5
  org/more-feedback: 1.0
dataset_splits: [train_prefs, test_prefs]
preprocessing_num_workers: 12
bf16: true
beta: 0.01
loss_type: sigmoid
do_eval: true
evaluation_strategy: steps
eval_steps: 100
learning_rate: 5.0e-6
max_length: 1024
max_prompt_length: 512
optim: paged_adamw_32bit
output_dir: data/chat-7b-dpo-qlora
per_device_train_batch_size: 4
gradient_accumulation_steps: 4
gradient_checkpointing_kwargs: {use_reentrant: false}
push_to_hub: false
warmup_ratio: 0.1
report_to: [wandb]
overwrite_output_dir: true
hub_model_revision: v2
"""


def test_the_old_handbook(converted):
    recipe, reasons, _ = converted(OLD_HANDBOOK, "config_qlora.yaml")
    assert recipe.objective == make("dpo", beta=0.01)
    model = recipe.model
    assert (model.path, model.revision, model.precision) == ("org/chat-7b-sft", None, "bfloat16")
    assert model.attention == "flash_attention_2"
    adapter = model.adapter
    assert (adapter.rank, adapter.alpha, adapter.dropout, adapter.quantize) == (128, 64, 0.0, "4bit")
    assert adapter.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    train = [(source.source, source.split, source.weight) for source in recipe.data.train]
    assert train == [("org/feedback", "train_prefs", 0.5), ("org/more-feedback", "train_prefs", 1.0)]
    assert [(source.source, source.split) for source in recipe.data.eval] == [
        ("org/feedback", "test_prefs"),
        ("org/more-feedback", "test_prefs"),
    ]
    assert recipe.train["warmup_steps"] == 0.1
    assert recipe.train["eval_strategy"] == "steps"
    assert recipe.train["dataset_num_proc"] == 12
    assert recipe.train["gradient_checkpointing_kwargs"] == {"use_reentrant": False}
    assert recipe.report == ("wandb",)
    assert {*reasons} == {"max_prompt_length", "overwrite_output_dir", "hub_model_revision"}
    assert reasons["overwrite_output_dir"] == (
        "config_qlora.yaml:34: overwrite_output_dir: is gone; an output folder is never emptied"
    )
    assert reasons["hub_model_revision"] == (
        "config_qlora.yaml:35: hub_model_revision: is not known; did you mean hub_revision?"
    )


NEW_HANDBOOK = """\
model_name_or_path: org/base-3b
dtype: bfloat16
attn_implementation: sdpa
chat_template: "{% for message in messages %}{{ message['content'] }}{% endfor %}"
dataset_mixture:
  seed: 7
  test_split_size: 0.02
  datasets:
    - id: org/chats
      config: everyday
      split: train_sft
      columns: [messages]
      weight: 0.3
    - id: org/maths
      split: test_sft
packing: true
max_seq_length: 2048
eval_strategy: epoch
learning_rate: 2.0e-5
output_dir: data/base-3b-sft
report_to: none
"""


def test_the_new_handbook(converted):
    recipe, reasons, _ = converted(NEW_HANDBOOK, "config.yaml")
    assert recipe.objective == make("nll")
    assert (recipe.model.precision, recipe.model.attention) == ("bfloat16", "sdpa")
    first, second = recipe.data.train
    assert (first.source, first.name, first.split, first.weight) == ("org/chats", "everyday", "train_sft", 0.3)
    assert (second.source, second.split, second.weight) == ("org/maths", "test_sft", 1.0)
    assert (recipe.data.seed, recipe.data.holdout) == (7, 0.02)
    assert recipe.train["max_length"] == 2048
    assert recipe.train["packing"] is True
    assert recipe.report == ()
    assert {*reasons} == {"dtype", "chat_template", "dataset_mixture"}
    assert "stores trained weights in 16 bits" in reasons["dtype"]
    assert "write model.chat_template: FILE" in reasons["chat_template"]
    assert "puts the split test_sft of org/maths into training" in reasons["dataset_mixture"]


TRL_MIXTURE = """\
model_name_or_path: org/base
datasets:
  - path: json
    data_files: [first.jsonl, second.jsonl]
    columns: [chosen, rejected]
  - path: org/preferences
    name: helpful
    split: train[:90%]
    columns: [prompt, chosen, rejected]
test_split_size: 200
dataset_test_split: test
beta: 0.2
"""


def test_a_mixture_of_trl(converted, tmp_path):
    for name in ("first", "second"):
        (tmp_path / "work" / f"{name}.jsonl").write_text("{}\n")
    recipe, reasons, result = converted(TRL_MIXTURE)
    first, second, third = recipe.data.train
    assert [Path(source.source).name for source in (first, second)] == ["first.jsonl", "second.jsonl"]
    assert first.format == second.format == "implicit"
    assert (third.source, third.name, third.split, third.format) == (
        "org/preferences",
        "helpful",
        "train[:90%]",
        "auto",
    )
    assert "sets 200 rows aside" in reasons["test_split_size"]
    written = result.to_yaml()
    assert "source: first.jsonl" in written
    assert "source: ../work/first.jsonl" in result.to_yaml(tmp_path / "elsewhere")


def test_a_name_and_its_splits(converted):
    text = MODEL + DATA + "dataset_config: clean\ndataset_train_split: train_a\ndataset_streaming: true\nmax_steps: 9\n"
    recipe, reasons, _ = converted(text)
    (source,) = recipe.data.train
    assert (source.source, source.name, source.split) == ("org/preferences", "clean", "train_a")
    assert recipe.data.streaming
    assert recipe.data.eval == ()
    assert reasons == {}
    recipe, _, _ = converted(MODEL + DATA + "eval_strategy: epoch\n")
    assert [source.split for source in recipe.data.eval] == ["test"]


def test_a_text_column_by_another_name(converted):
    recipe, _, _ = converted(MODEL + DATA + "dataset_text_field: body\n", "x.yaml")
    assert recipe.objective == make("nll")
    assert recipe.data.train[0].columns == {"text": "body"}


@pytest.mark.parametrize(
    ("script", "text", "objective"),
    [
        ("dpo", "", make("dpo", beta=0.1)),
        ("dpo", "loss_type: [sigmoid]\nbeta: 0.3", make("dpo", beta=0.3)),
        ("dpo", "loss_type: ipo\nbeta: 0.3", make("ipo", tau=0.3, normalize="token")),
        (
            "dpo",
            "loss_type: robust\nlabel_smoothing: 0.2",
            make("robust_dpo", beta=0.1, flip_rate=0.2, form="unbiased"),
        ),
        ("sft", "", make("nll")),
        ("sft", "loss_type: dft", make("mixce", eta=0.0)),
        ("kto", "", make("kto", beta=0.1, desirable_weight=1.0, undesirable_weight=1.0)),
        (
            "kto",
            "beta: 0.2\ndesirable_weight: 1.33\nundesirable_weight: 0.5",
            make("kto", beta=0.2, desirable_weight=1.33, undesirable_weight=0.5),
        ),
    ],
)
def test_the_loss_is_an_objective(converted, script, text, objective):
    recipe, reasons, _ = converted(f"{MODEL}{DATA}{text}\n", f"{script}.yaml")
    assert recipe.objective == objective
    assert reasons == {}


@pytest.mark.parametrize(
    ("script", "loss"),
    [("dpo", "hinge"), ("dpo", "[sigmoid, sft]"), ("kto", "apo_zero_unpaired"), ("sft", "other")],
)
def test_a_loss_that_no_objective_computes_is_refused(converted, script, loss):
    text = f"{MODEL}{DATA}loss_type: {loss}\n"
    with pytest.raises(ValueError, match=rf"dpo_or_other.yaml: loss_type = .*TRL's {script} script is no objective"):
        converted(text, "dpo_or_other.yaml", script)


def test_smoothing_that_trl_ignores_is_kept_as_a_comment(converted):
    recipe, reasons, result = converted(MODEL + DATA + "beta: 0.2\nlabel_smoothing: 0.1\n")
    assert recipe.objective == make("dpo", beta=0.2)
    conservative = "objective: {name: robust_dpo, beta: 0.2, flip_rate: 0.1, form: conservative}"
    assert f"# {conservative}\n" in result.to_yaml()
    assert conservative in reasons["label_smoothing"]
    Path("conservative.yaml").write_text(f"{conservative}\nmodel: {{path: a/b}}\ndata: {{train: [{{source: a/b}}]}}\n")
    assert load("conservative.yaml").objective == make("robust_dpo", beta=0.2, flip_rate=0.1)


def test_options_that_change_the_loss_are_named(converted):
    text = "rpo_alpha: 1.0\nld_alpha: 0.5\nuse_weighting: false\nf_divergence_type: reverse_kl\nsync_ref_model: true\n"
    _, reasons, _ = converted(MODEL + DATA + text)
    assert {*reasons} == {"rpo_alpha", "ld_alpha", "sync_ref_model"}
    assert (
        reasons["rpo_alpha"] == "dpo.yaml:3: rpo_alpha: belongs to the objective; no objective adds a likelihood term"
    )


def test_what_contradicts_is_left_out_with_the_reader_s_reason(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "eval_steps: 10\npadding_free: true\nlearning_rate: fast\n")
    assert dict(recipe.train) == {}
    assert "has no effect while train.eval_strategy is no" in reasons["eval_steps"]
    assert "should be a number" in reasons["learning_rate"]
    assert "padding_free" in reasons


def test_a_renamed_key_is_blamed_by_its_own_name(converted):
    _, reasons, _ = converted(MODEL + DATA + "warmup_ratio: often\nattn_implementation: fast\n")
    assert reasons["warmup_ratio"].startswith("dpo.yaml:3: warmup_ratio: = 'often' should be")
    assert reasons["attn_implementation"].startswith("dpo.yaml:4: attn_implementation: = 'fast' should be")


def test_a_new_name_wins_over_an_old_one(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "warmup_ratio: 0.1\nwarmup_steps: 50\n")
    assert recipe.train["warmup_steps"] == 50
    assert reasons["warmup_ratio"].endswith("warmup_ratio: gives way to warmup_steps")


def test_limits_of_prompt_and_answer_add_up(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "max_prompt_length: 100\nmax_completion_length: 50\n")
    assert recipe.train["max_length"] == 150
    assert reasons == {}


def test_adapters_take_trl_s_defaults(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "use_peft: true\n")
    theirs = trl.ModelConfig()
    adapter = recipe.model.adapter
    assert (adapter.rank, adapter.alpha) == (theirs.lora_r, theirs.lora_alpha)
    assert adapter.targets == ("q_proj", "v_proj")
    assert "adapts q_proj and v_proj" in reasons["use_peft"]


def test_dropout_is_carried_over_where_trl_applies_it(converted):
    default = trl.ModelConfig().lora_dropout
    adapted = MODEL + DATA + "use_peft: true\nlora_target_modules: [all-linear]\n"
    recipe, _, _ = converted(adapted, "sft.yaml")
    assert recipe.model.adapter.dropout == default
    recipe, _, _ = converted(adapted + "disable_dropout: false\nlora_dropout: 0.2\n")
    assert recipe.model.adapter.dropout == 0.2
    recipe, reasons, _ = converted(adapted + "lora_dropout: 0.2\n")
    assert recipe.model.adapter.dropout == 0
    assert reasons["lora_dropout"].endswith(
        "lora_dropout: is switched off by this script unless disable_dropout is false"
    )


def test_adapters_of_every_layer(converted):
    text = MODEL + DATA + "use_peft: true\nlora_target_modules: [all-linear]\nload_in_8bit: true\nuse_dora: true\n"
    recipe, reasons, _ = converted(text)
    adapter = recipe.model.adapter
    assert (adapter.targets, adapter.quantize, adapter.dora) == ("all-linear", "8bit", True)
    assert reasons == {}


def test_what_an_adapter_cannot_have_is_named(converted):
    text = "use_peft: true\nlora_target_modules: [q_proj, lm_head]\nuse_rslora: true\nload_in_4bit: true\n"
    recipe, reasons, _ = converted(MODEL + DATA + text + "bnb_4bit_quant_type: fp4\n")
    assert recipe.model.adapter.targets == ("q_proj",)
    assert {*reasons} == {"lora_target_modules", "use_rslora", "load_in_4bit", "bnb_4bit_quant_type"}


def test_adapter_options_without_an_adapter_are_named(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "lora_r: 8\nload_in_4bit: true\n")
    assert recipe.model.adapter is None
    assert {*reasons} == {"lora_r", "load_in_4bit"}


def test_unknown_trackers_are_left_out(converted):
    recipe, reasons, _ = converted(MODEL + DATA + "report_to: [wandb, tensorboard, mlflow]\n")
    assert recipe.report == ("wandb", "tensorboard")
    assert "mlflow is no tracker here" in reasons["report_to"]


@pytest.mark.parametrize(
    ("name", "text", "script"),
    [
        ("kto.yaml", "beta: 0.1", "kto"),
        ("zephyr/dpo/config_full.yaml", "", "dpo"),
        ("config.yaml", "desirable_weight: 1.0\nbeta: 0.1", "kto"),
        ("config.yaml", "beta: 0.1", "dpo"),
        ("config.yaml", "loss_type: chunked_nll", "sft"),
        ("config.yaml", "loss_type: ipo", "dpo"),
        ("config.yaml", "output_dir: runs/base-sft-then-dpo", "dpo"),
        ("mistral-sft.yaml", "hub_model_id: a/b-dpo", "sft"),
    ],
)
def test_the_script_is_recognized(converted, name, text, script):
    _, _, result = converted(f"{MODEL}{DATA}{text}\n", name)
    assert result.comments[0].startswith(f"Converted from {Path(name).name} (TRL's {script} script)")


def test_a_script_that_is_said_wins(converted):
    recipe, _, _ = converted(MODEL + DATA + "beta: 0.2\n", "dpo.yaml", "kto")
    assert recipe.objective.beta == 0.2
    assert type(recipe.objective).__name__ == "KTO"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", MODEL + DATA, "does not say which script it is for; write --script dpo or"),
        ("orpo/config_full.yaml", MODEL + DATA + "beta: 0.05\n", "looks like a file for ORPO, which is not converted"),
        ("x.yaml", MODEL + DATA + "num_generations: 8\n", "looks like a file for GRPO, which is not converted"),
        ("dpo.yaml", DATA, "dpo.yaml: the file has no model_name_or_path; add the one"),
        ("dpo.yaml", MODEL, "dpo.yaml: the file has no dataset_name and no mixture; add the data"),
        ("dpo.yaml", "- a\n", "dpo.yaml is no mapping"),
        ("dpo.yaml", "objective: dpo\nmodel: {path: a}\n", "dpo.yaml is a recipe already"),
        ("dpo.yaml", "a: [1\n", "dpo.yaml:2: not valid YAML"),
        ("dpo.yaml", MODEL + "datasets: {path: a}\n", "dpo.yaml: datasets should be a list of mappings"),
        ("dpo.yaml", MODEL + DATA + "beta: large\n", "dpo.yaml: objective.beta = 'large' should be a number"),
        ("dpo.yaml", MODEL + "dataset_name: ./gone.jsonl\n", "dpo.yaml: data.train.0.source = './gone.jsonl' does not"),
    ],
)
def test_files_that_cannot_be_converted(converted, name, text, message):
    with pytest.raises(ValueError, match=message):
        converted(text, name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.yaml cannot be read: No such file"):
        convert(tmp_path / "gone.yaml")


def test_secrets_are_not_repeated(converted):
    _, reasons, result = converted(MODEL + DATA + "hub_token: hf_0123456789abcdefghij\n")
    assert "would put a secret into a file" in reasons["hub_token"]
    assert "hf_0123" not in result.to_yaml() + str(reasons)


FILES = {"dpo": [OLD_HANDBOOK, TRL_MIXTURE], "sft": [NEW_HANDBOOK], "kto": [MODEL + DATA + "desirable_weight: 1.5"]}
STRANGE = [None, True, 5, -0.5, "", "test", [], [1], ["a", "b"], {}, {"a": 1}, [{}], [{"path": "a", "columns": 5}]]
SOMEWHERE = ["dataset_configs", "dataset_text_field", "label_smoothing", "eval_strategy", "test_split_size", "bf16"]


@pytest.mark.parametrize("script", SCRIPTS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_strange_values_give_a_message_or_a_recipe_that_loads(tmp_path, monkeypatch, script, data):
    monkeypatch.chdir(tmp_path)
    for name in ("first.jsonl", "second.jsonl"):
        Path(name).touch()
    values = YAML(typ="safe").load(data.draw(st.sampled_from(FILES[script])))
    keys = st.sampled_from([*values, *SOMEWHERE])
    values |= data.draw(st.dictionaries(keys, st.sampled_from(STRANGE), min_size=1, max_size=2))
    Path("strange.yaml").write_text(json.dumps(values))
    try:
        result = convert("strange.yaml", script)
    except ValueError as error:
        if not str(error).startswith("strange.yaml"):
            raise
    else:
        Path("ours.yaml").write_text(result.to_yaml())
        assert load("ours.yaml").data.train
