"""`alignkit completion SHELL`"""

import click
from click.shell_completion import get_completion_class

# A space after `train.learning_rate=` would have to be deleted every time
NO_SPACE = "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0"


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes SHELL complete commands, recipes, methods and the keys of KEY=VALUE.

    \b
    bash    eval "$(alignkit completion bash)"         in ~/.bashrc
    zsh     eval "$(alignkit completion zsh)"          in ~/.zshrc, after compinit
    fish    alignkit completion fish | source          in ~/.config/fish/config.fish
    """
    from alignkit.cli import main

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    script = found(main, {}, "alignkit", "_ALIGNKIT_COMPLETE").source()
    click.echo(script.replace("    return 0", NO_SPACE) if shell == "bash" else script)
