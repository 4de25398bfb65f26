"""What commands that talk with a model share: the model behind a sampler, and the prompt that asks it to revise."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignkit.data.revision import RevisionPrompt
    from alignkit.generation import TransformersSampler


def chat_sampler(
    model: str, *, base: str | None = None, chat_template: str | None = None, **options: Any
) -> "TransformersSampler":
    """A sampler over a chat model on the device that there is; `options` are the sampler's.

    Raises:
        ValueError: no such model, or one without a chat template.
    """
    from alignkit.generation import TransformersSampler
    from alignkit.models.inference import load_for_inference

    loaded, processor = load_for_inference(model, base=base, chat_template=chat_template)
    if not processor.chat_template:
        raise ValueError(f"{model} has no chat template, so it is no chat model; write --chat-template FILE")
    tokenizer: Any = getattr(processor, "tokenizer", processor)  # of a model that sees images, too
    tokenizer.chat_template = processor.chat_template
    return TransformersSampler(model=loaded, tokenizer=tokenizer, **options)


def revision_prompt(model: str, file: Path | None) -> "RevisionPrompt":
    """The template in a file, or the one saved beside a model on this machine or on the Hub.

    Raises:
        ValueError: there is none, it cannot be read, or it holds other placeholders than {prompt} and {draft}.
    """
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
