"""`python scripts/bench.py [MODEL] [--full | --steps]`: TRL's forward, ours on its rows, ours with each token once."""

import argparse
from pathlib import Path

from alignkit.studies.bench import FULL, QUICK, by_vocabulary, growth, measure, model_named, plot, table
from alignkit.studies.bench_step import METHODS, MODEL
from alignkit.studies.bench_step import measure as measure_steps
from alignkit.studies.bench_step import table as table_of_steps

if __name__ == "__main__":
    by_name = {method.objective: method for method in METHODS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="path as in a recipe's model.path; unset: small, --steps: the demo's")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--full", action="store_true", help="more lengths and numbers of answers: hours on a CPU")
    parser.add_argument("--vocabulary", action="store_true", help="also the memory of vocabularies of three sizes")
    parser.add_argument("--rounds", type=int, default=3)
    which.add_argument(
        "--steps",
        nargs="*",
        metavar="OBJECTIVE",
        choices=by_name,
        help="instead, whole steps of TRL's trainers and of ours: of nll, dpo, kto, grpo, or of some of them",
    )
    parser.add_argument("--plot", type=Path, help="PNG to write")
    chosen = parser.parse_args()
    if chosen.steps is not None:
        if chosen.vocabulary or chosen.plot:
            parser.error("--steps has no --vocabulary and no --plot")
        methods = [by_name[name] for name in chosen.steps or by_name]
        print(table_of_steps([*measure_steps(chosen.model or MODEL, methods, chosen.rounds)]))
    else:
        timings, model = [], chosen.model or "small"
        for timing in measure(model_named(model), FULL if chosen.full else QUICK, chosen.rounds):
            timings.append(timing)
            print(table([timing]).splitlines()[-1], flush=True)
        print(table(timings))
        if chosen.full:
            print(f"\n{growth(timings)}")
        if chosen.vocabulary:
            print(f"\n{by_vocabulary(QUICK[0])}")
        if chosen.plot:
            plot(timings, chosen.plot, model)
