"""Running the command line in this process."""

from click.testing import CliRunner, Result

from alignkit.cli import main


def invoke(*arguments: str) -> Result:
    """`alignkit ARGUMENTS` in this process; an exception that is no exit is raised here."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
