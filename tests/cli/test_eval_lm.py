"""alignkit eval lm: what the harness is asked and what is made of its report; and the harness itself, where it is."""

import importlib.util
import json
import sys
from types import ModuleType

import pytest

from tests.cli.commands import invoke

ASKED = {}
REPORT = {
    "results": {
        "sums": {"alias": "sums", "acc,none": 0.5, "acc_stderr,none": 0.25, "f1,none": 0.75, "f1_stderr,none": "N/A"},
        "arithmetic": {"alias": "arithmetic", "acc,none": 0.5},
    },
    "n-samples": {"sums": {"original": 9, "effective": 4}},
    "config": {"model": ModuleType},
}


class Manager:
    all_tasks = ("sums", "arithmetic")

    def __init__(self, include_path):
        self.include_path = include_path

    def match_tasks(self, tasks):
        return [one for one in tasks if one in self.all_tasks]


@pytest.fixture
def harness(monkeypatch):
    """Stands for lm-eval, whose parts are replaced by a record of how they are called."""

    def simple_evaluate(**options):
        ASKED.update(options)
        return REPORT

    modules = {name: ModuleType(name) for name in ("lm_eval", "lm_eval.tasks", "lm_eval.models.huggingface")}
    modules["lm_eval"].simple_evaluate = simple_evaluate
    modules["lm_eval.tasks"].TaskManager = Manager
    modules["lm_eval.models.huggingface"].HFLM = lambda **options: options
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    ASKED.clear()


def test_a_model_is_given_to_the_harness_and_its_report_is_written(harness, tmp_path):
    args = ("--include", str(tmp_path), "--few-shot", "2", "--limit", "4", "--chat", "--batch-size", "3")
    result = invoke("eval", "lm", "m=tiny:llama", "--tasks", "sums, arithmetic", *args, "-o", str(tmp_path / "e"))
    assert result.exit_code == 0, result.output
    model = ASKED.pop("model")
    assert (model["pretrained"].config.model_type, model["batch_size"]) == ("llama", 3)
    assert model["tokenizer"].chat_template
    assert ASKED.pop("task_manager").include_path == str(tmp_path)
    assert ASKED == {
        "tasks": ["sums", "arithmetic"],
        "num_fewshot": 2,
        "limit": 4,
        "apply_chat_template": True,
        "log_samples": False,
    }
    written = json.loads((tmp_path / "e/lm_eval/m.json").read_text())
    assert written["results"] == REPORT["results"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:5]]
    assert cells == [
        ["sums", "acc,none", "0.5000", "0.2500", "4"],
        ["sums", "f1,none", "0.7500", "", "4"],
        ["arithmetic", "acc,none", "0.5000", "", ""],
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("m=tiny:llama", "--tasks", "sum"), "no task named 'sum'; did you mean 'sums'?"),
        (("m=tiny:llama", "--tasks", "sums", "--include", "nowhere"), "there is no folder of tasks nowhere"),
        (
            ("m@http://x/v1", "--tasks", "sums"),
            "m@http://x/v1 is at an endpoint; the tasks need a model on this machine",
        ),
    ],
)
def test_what_is_not_there_is_said_before_a_model_is_loaded(harness, args, message):
    result = invoke("eval", "lm", *args)
    assert result.exit_code == 2
    assert message in result.output
    assert not ASKED


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    result = invoke("eval", "lm", "tiny:llama", "--tasks", "sums")
    assert result.exit_code == 2
    assert "pip install alignkit[lm-eval]" in result.output


TASK = """
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}]
"""


@pytest.mark.smoke
@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed: alignkit[lm-eval]")
@pytest.mark.filterwarnings("ignore")  # of the harness's own making
def test_a_task_of_ones_own_offline(tmp_path):
    file = tmp_path / "sums.jsonl"
    rows = [{"question": f"{i} + 1 =", "choices": [str(i + 1), "0"], "answer": 0} for i in range(3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(TASK.format(file=file))
    args = ("--tasks", "sums", "--include", str(tmp_path), "-o", str(tmp_path / "e"))
    result = invoke("eval", "lm", "m=tiny:llama", *args)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "e/lm_eval/m.json").read_text())
    assert report["n-samples"]["sums"]["effective"] == 3
    assert f"{report['results']['sums']['acc,none']:.4f}" in result.output
