"""`alignkit study list`, `alignkit study NAME [--quick|--full] [key=value ...]`"""

from pathlib import Path

import click


class Studies(click.Group):
    """`list`, and a command for every study, or for a dotted path to one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from alignkit import studies

        return [*super().list_commands(ctx), *studies.names()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or _study(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Their names: what each shows is in `list`, since importing them takes seconds."""
        with formatter.section("Commands"):
            formatter.write_text(", ".join(self.list_commands(ctx)))


@click.group(name="study", cls=Studies)
def command() -> None:
    """Run experiments that train models: a table, claims, NAME.json and NAME.png."""


@command.command(name="list")
def list_studies() -> None:
    """Show the studies: what each claims, and the settings that KEY=VALUE changes."""
    from alignkit import studies
    from alignkit.cli._experiments import describe

    click.echo("\n\n".join(describe(name, studies.find(name)) for name in studies.names()))


def _study(name: str) -> click.Command:
    """The command that runs one study."""
    folder = Path("runs/studies")

    @click.command(name=name)
    @click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option("--full/--quick", default=False, help="The run of the documentation, or a short one (default).")
    @click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=folder, show_default=True)
    def run(settings: tuple[str, ...], full: bool, out: Path) -> None:
        """Run the study: a table, the claims, NAME.json and NAME.png in --out.

        Exit code 1: a claim does not hold. KEY=VALUE changes a setting: seeds=5 coefficients=0.5,2
        """
        from alignkit import studies
        from alignkit.cli._errors import user_errors
        from alignkit.cli._experiments import run_all, settings_of

        with user_errors():
            run_all([studies.make(name, full, **settings_of(settings))], out)

    return run
