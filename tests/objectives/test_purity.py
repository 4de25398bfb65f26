import json
import subprocess
import sys

HEAVY = ["accelerate", "datasets", "deepspeed", "peft", "tokenizers", "transformers", "trl"]
PROGRAM = """
import json, sys
import alignkit.objectives
made = [alignkit.objectives.make(name) for name in alignkit.objectives.names()]
print(json.dumps([len(made), sorted(name for name in sys.modules if "." not in name)]))
"""


def test_objectives_need_torch_and_no_trainer():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    made, modules = json.loads(run.stdout)
    assert made >= 8
    assert "torch" in modules
    assert not set(HEAVY) & set(modules)
