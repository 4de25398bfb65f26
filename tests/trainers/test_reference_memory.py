"""A reference that is asked for every text once: runs, methods and precisions that share what it said, or must not."""

from copy import deepcopy

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, KTOConfig

from alignkit.models.sources import resolve
from alignkit.models.tiny import SIZES
from alignkit.objectives import make
from alignkit.trainers import PairTrainer, RevisionTrainer, UnpairedTrainer, _objective
from tests.trainers.runs import LORA, ROWS, train

pytestmark = pytest.mark.smoke
UNPAIRED = [
    {"prompt": row["prompt"], "completion": row[name], "label": name == "chosen"}
    for row in ROWS[:8]
    for name in ("chosen", "rejected")
]
WAYS = {
    "dpo": (PairTrainer, DPOConfig, {}),
    "dpo precomputed": (PairTrainer, DPOConfig, {"args": {"precompute_ref_log_probs": True}}),
    "dpo lora": (PairTrainer, DPOConfig, {"peft_config": LORA}),
    "srpo": (RevisionTrainer, DPOConfig, {}),
    "kto": (UnpairedTrainer, KTOConfig, {"rows": UNPAIRED}),
}


@pytest.fixture
def asked(monkeypatch):
    """Rows that a reference was asked for."""
    rows = []
    answer = _objective.AnsweringModel.__call__

    def counted(self, **inputs):
        rows.append(len(inputs["input_ids"]))
        return answer(self, **inputs)

    monkeypatch.setattr(_objective.AnsweringModel, "__call__", counted)
    return rows


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a way whose every file is the run's own, and gives what it logged."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))

    def run(way, **more):
        trainer, config, options = deepcopy(WAYS[way])
        if "peft_config" in options:
            options["peft_config"].base_model_name_or_path = None  # peft may have written another test's model into it
        args = {**options.get("args", {}), **more.pop("args", {})}
        given = {"objective": make(way.split()[0]), "shared_prefix": True, "reference_cache": True}
        given["processing_class"] = AutoTokenizer.from_pretrained(resolve("tiny:llama"))
        return train(trainer, config, tmp_path / "run", **{**given, **options, **more, "args": args})

    return run


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch, model_cache):
    """References of this test alone, beside the models of all tests."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(model_cache / "models", target_is_directory=True)
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("way", WAYS)
def test_a_second_run_asks_for_nothing_and_logs_the_same_to_the_bit(way, run, asked):
    first = run(way)
    assert sum(asked) > 8
    asked.clear()
    assert run(way) == first
    assert not asked


@pytest.mark.parametrize("way", ["dpo", "dpo precomputed"])
def test_remembering_changes_no_bit(way, run, asked):
    first = run(way, reference_cache=False)
    assert run(way) == first


def test_methods_share_what_the_same_model_said_of_the_same_texts(run, asked):
    run("dpo precomputed")
    asked.clear()
    run("dpo lora")
    run("dpo", objective=make("ipo"))
    assert not asked
    run("kto")
    assert asked
    assert max(asked) <= 3  # of batches of two, or three in evaluation, what no pair holds: answers to other prompts


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [{**row, "prompt": f"{row['prompt']}!"} for row in ROWS]},
        {"args": {"max_length": 12}},
        {"args": {"bf16": True}},
        {"model": "tiny:qwen2"},
    ],
    ids=lambda change: next(iter(change)) + str(*change.get("args", {})),
)
def test_what_changes_the_log_probs_is_asked_anew(change, run, asked):
    run("dpo")
    asked.clear()
    if "model" in change:
        change = {"model": resolve(change["model"])}
    run("dpo", **change)
    assert sum(asked) > 8


def test_damaged_memory_is_asked_for_again_and_gives_the_same(run, asked, tmp_path):
    first = run("dpo")
    for file in (tmp_path / "cache" / "references").rglob("*.logps"):
        file.write_bytes(file.read_bytes()[:-30])
    asked.clear()
    assert run("dpo") == first
    assert 0 < sum(asked) < 16


def test_of_a_reference_that_moves_nothing_is_kept(run):
    with pytest.raises(ValueError, match="sync_ref_model moves the reference, of which nothing may be kept"):
        run("dpo", args={"sync_ref_model": True})


def test_a_reference_that_reads_a_text_as_the_longest_beside_it_is_not_remembered(run, tmp_path):
    config = AutoConfig.for_model("llama", vocab_size=259, **SIZES | {"max_position_embeddings": 32})
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    for length in (None, 33):
        with pytest.raises(ValueError, match=r"remove reference_cache, or write train\.max_length: 32"):
            run("dpo", model=model, args={"max_length": length})
    run("dpo", model=model, args={"max_length": 32, "max_steps": 1})
