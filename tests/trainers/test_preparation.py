"""Rows are tokenized once for all runs, by several processes where they are many, and the same either way."""

from types import SimpleNamespace

import datasets
import pytest
from datasets import Dataset, IterableDataset
from trl import SFTConfig

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import TokenTrainer, _preparation, _seams
from alignkit.trainers._preparation import WORTH_A_PROCESS, processes
from tests.launching import launch
from tests.trainers.runs import TEXTS, group_trainer
from tests.trainers.tokenized import RECIPES, added

ROW = '{"prompt": "What is blue?", "chosen": "The sky is.", "rejected": "Grass."}\n'
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path


def test_tokens_of_another_process_are_found(cache):
    """Of another run, in another folder, with other options that say nothing of rows; and not where they are others."""
    first = launch(["-m", "tests.trainers.tokenized", str(cache)], cache)
    assert first.returncode == 0, first.stderr
    made = {name: int(count) for name, count in map(str.split, first.stdout.splitlines()[-len(RECIPES) :])}
    assert [*made] == [*RECIPES]
    assert all(made.values())
    others = ("train.learning_rate=0.1", "train.seed=7")
    assert {name: added(cache, name, *others) for name in RECIPES} == dict.fromkeys(RECIPES, 0)

    (cache / "chat.jinja").write_text(TEMPLATE)
    assert added(cache, "dpo/tiny", f"model.chat_template={cache / 'chat.jinja'}") == made["dpo/tiny"]
    assert added(cache, "dpo/tiny", "model.path=tiny:gpt2") == made["dpo/tiny"]
    (cache / "rows.jsonl").write_text(ROW)
    rows = f"data.train=[{{source: {cache / 'rows.jsonl'}}}]"
    plain = ("data.eval=[]", "train.eval_strategy=no")
    assert added(cache, "dpo/tiny", rows, *plain) > 0
    assert added(cache, "dpo/tiny", rows, *plain) == 0
    (cache / "rows.jsonl").write_text(ROW.replace("blue", "green"))
    assert added(cache, "dpo/tiny", rows, *plain) > 0


@pytest.mark.parametrize(
    ("written", "rows", "cores", "number"),
    [
        (None, 100, 8, None),
        (None, 2 * WORTH_A_PROCESS - 1, 8, None),
        (None, 3 * WORTH_A_PROCESS, 8, 3),
        (None, 100 * WORTH_A_PROCESS, 8, 8),
        (None, 100 * WORTH_A_PROCESS, 128, 8),
        (None, 100 * WORTH_A_PROCESS, 1, None),
        (1, 100 * WORTH_A_PROCESS, 8, 1),
        (5, 10, 8, 5),
    ],
)
def test_rows_and_cores_say_how_many_processes(monkeypatch, written, rows, cores, number):
    monkeypatch.setattr(_preparation, "cores", lambda: cores)
    assert processes(SimpleNamespace(dataset_num_proc=written), Dataset.from_dict({"a": range(rows)})) == number


def test_a_stream_is_tokenized_where_it_is_read():
    stream = IterableDataset.from_generator(lambda: iter([{"a": 1}]))
    assert processes(SimpleNamespace(dataset_num_proc=None), stream) is None
    assert _preparation.in_parallel(SimpleNamespace(dataset_num_proc=2), stream) == {}


@pytest.mark.parametrize("packing", [False, True])
def test_several_processes_give_the_same_rows(tmp_path, monkeypatch, packing):
    """Also packed ones, which TRL packs within each process's share."""

    def rows():
        args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, packing=packing, max_length=40)
        texts = Dataset.from_list(TEXTS)
        run = TokenTrainer(model=resolve("tiny:llama"), args=args, train_dataset=texts, objective=make("nll"))
        return run.train_dataset[:]

    alone = rows()
    monkeypatch.setattr(_preparation, "cores", lambda: 3)
    monkeypatch.setattr(_preparation, "WORTH_A_PROCESS", 5)
    asked = []
    mapped = Dataset.map
    monkeypatch.setattr(
        Dataset, "map", lambda self, *a, **how: asked.append(how.get("num_proc")) or mapped(self, *a, **how)
    )
    assert rows() == alone
    assert 3 in asked
    assert len(alone["input_ids"]) > 3


@pytest.mark.parametrize("prompts", [["a", "b c"], [[{"role": "user", "content": text}] for text in ("a", "b c")]])
def test_prompts_are_measured_as_they_are_read(tmp_path, prompts):
    run = group_trainer(tmp_path)
    found, *_ = _seams.prompt_tokenizer(run)(prompts)
    assert found == [_seams.prompt_ids(run, prompt) for prompt in prompts]
    lengths = _preparation.prompt_lengths(Dataset.from_dict({"prompt": prompts}), _seams.prompt_tokenizer(run))
    assert [*lengths] == [len(ids) for ids in found]
