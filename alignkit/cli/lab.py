"""`alignkit lab list`, `alignkit lab run NAME|all [--quick|--full] [key=value ...]`"""

from pathlib import Path

import click


@click.group(name="lab")
def command() -> None:
    """Run objectives to their optimum on problems that can be solved exactly, and compare with theory."""


@command.command(name="list")
def list_experiments() -> None:
    """Show the experiments: what each claims, and the settings that KEY=VALUE changes."""
    from alignkit import lab
    from alignkit.cli._experiments import describe

    click.echo("\n\n".join(describe(name, lab.find(name)) for name in lab.names()))


@command.command(name="run")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--full/--quick", default=False, help="The complete run of the documentation, or a short one (default).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/lab"), show_default=True)
def run(name: str, settings: tuple[str, ...], full: bool, out: Path) -> None:
    """Run experiment NAME, or all: a table, the claims, NAME.json and NAME.png in --out.

    Exit code 1: a claim does not hold. KEY=VALUE changes a setting: starts=5 taus=0.1,1 (with all, of every experiment
    that has it).
    """
    from alignkit import lab
    from alignkit.cli._errors import user_errors
    from alignkit.cli._experiments import run_all, settings_of

    with user_errors():
        given = settings_of(settings)
        made = [*lab.make_all(full, **given).values()] if name == "all" else [lab.make(name, full, **given)]
        run_all(made, out)
