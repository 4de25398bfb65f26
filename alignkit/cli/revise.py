"""`alignkit revise MODEL [PROMPT ...]`"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignkit.cli._errors import user_errors

if TYPE_CHECKING:
    from alignkit.data.revision import RevisionPrompt


@click.command(name="revise")
@click.argument("model")
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(0), help="Revisions of the first answer.")
@click.option(
    "--revision-prompt",
    type=click.Path(path_type=Path),
    help="File with {prompt} and {draft}; by default the one saved beside the model.",
)
@click.option("--max-new-tokens", default=256, show_default=True, type=click.IntRange(1), help="Tokens of a draft.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0 is greedy.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
def command(
    model: str,
    prompts: tuple[str, ...],
    rounds: int,
    revision_prompt: Path | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> None:
    """Let MODEL answer each PROMPT and improve on its answer, and show every draft.

    MODEL is a folder that `alignkit train` wrote with srpo, or any other model with --revision-prompt. Without a
    PROMPT, one is read from the standard input. A revision sees the prompt and the latest draft only.
    """
    from alignkit.generation import TransformersSampler
    from alignkit.generation.revise import drafts
    from alignkit.models.load import load_model, load_tokenizer
    from alignkit.models.spec import ModelSpec

    with user_errors():
        asks = _revision_prompt(model, revision_prompt)
        spec = ModelSpec(path=model)
        tokenizer: Any = load_tokenizer(spec, require_chat_template=True)
        sampler = TransformersSampler(
            model=load_model(spec),
            tokenizer=tokenizer,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
    for text in prompts or (sys.stdin.read().strip(),):
        click.secho(text, bold=True)
        for number, draft in enumerate(drafts(sampler, asks, [{"role": "user", "content": text}], rounds)):
            click.echo(f"  {click.style(f'draft {number}:', dim=True)} {_indented(draft)}")
        click.echo()


def _revision_prompt(model: str, file: Path | None) -> "RevisionPrompt":
    """The template in a file, or the one saved beside a model on this machine or on the Hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    from alignkit.data.revision import FILE, RevisionPrompt

    if file is not None:
        try:
            return RevisionPrompt(template=file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--revision-prompt {file} cannot be read: {error}") from None
    folder = Path(model).expanduser()
    if folder.is_dir() or ":" in model:
        return RevisionPrompt.load(folder)
    try:
        return RevisionPrompt.load(Path(hf_hub_download(model, FILE)).parent)
    except (OSError, EntryNotFoundError, HfHubHTTPError, HFValidationError):
        raise ValueError(f"{model} has no {FILE} that can be read; write --revision-prompt FILE") from None


def _indented(text: str) -> str:
    return text.strip().replace("\n", "\n    ")
