"""The `alignkit` command: one file per subcommand, each imported only when it runs."""

import importlib
import os
import warnings
from typing import Any

import click

from alignkit import __version__
from alignkit.cli._errors import ANYTHING, room_errors
from alignkit.redaction import redact_everywhere

# TRL tells a server about every trainer it makes; a user who wants that can say so
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# What transformers says about TRL's calls is nothing that a user could mend
warnings.filterwarnings("ignore", ".*gradient_checkpointing.*deprecated", FutureWarning)

redact_everywhere()  # here, since a launcher's script takes a command without the group

COMMANDS = {
    "train": "Train a recipe.",
    "launch": "Train a recipe on several processes, here or as a SLURM job.",
    "demo": "Train a small chat model in minutes and show what changed.",
    "check": "Validate a recipe and say what it would do.",
    "score-teachers": "Score a recipe's answers by aligned models, for poft.",
    "sample": "Draw answers to a recipe's prompts, score them, and keep the best.",
    "revise": "Let a model improve on its own answers, and show every draft.",
    "eval": "Let models answer questions and a judge rate the answers.",
    "reward": "Score answers by a reward model.",
    "data": "Show what a recipe trains on, token by token, or as an HTML report.",
    "new": "Write a recipe to start from, explained line by line.",
    "convert": "Turn YAML of TRL or the alignment-handbook into a recipe.",
    "chat": "Talk with a model in the terminal.",
    "merge": "Make an adapter part of its model.",
    "list": "Show the methods, with formula and source.",
    "completion": "Print what makes a shell complete commands, recipes and keys.",
    "schema": "Print the JSON Schema of recipes, for editors.",
    "lab": "Run objectives to their optimum and compare with theory.",
    "study": "Run experiments that train models.",
}


class LazyGroup(click.Group):
    """Names its subcommands without importing them: torch takes seconds, `--help` should not."""

    def invoke(self, ctx: click.Context) -> Any:
        with room_errors(ANYTHING):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # not list(): importing alignkit.cli.list puts a module under that name

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"alignkit.cli.{name.replace('-', '_')}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from alignkit.lookup import did_you_mean

            raise click.UsageError(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(__version__, prog_name="alignkit")
def main() -> None:
    """LLM alignment training in which every objective is exactly its paper's mathematics."""
