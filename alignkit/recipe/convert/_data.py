"""The data of a script: one name, a mixture of TRL, or a mixture of the alignment-handbook, old or new."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alignkit.recipe.convert._translation import Translation, texts

_BUILDERS = ("json", "csv", "parquet", "arrow")  # names by which `datasets` reads files
_ONE = ("dataset_name", "dataset_config", "dataset_train_split", "dataset_test_split", "dataset_streaming")


def translate_data(translation: Translation, script: str) -> None:
    """Write the `data` section.

    Raises:
        ValueError: the file names no data; TRL was told on the command line.
    """
    evaluates = translation.rest.get("eval_strategy", translation.rest.get("evaluation_strategy", "no")) != "no"
    if "dataset_mixer" in translation.rest:
        _mixer(translation)
    elif "dataset_mixture" in translation.rest:
        _mixture(translation, script)
    elif "datasets" in translation.rest:
        _datasets(translation, script)
    elif "dataset_name" in translation.rest:
        _one(translation, evaluates)
    else:
        raise ValueError("the file has no dataset_name and no mixture; add the data that the command line gave")
    text = translation.take("dataset_text_field", "text")
    if text != "text":
        for source in (*translation.recipe["data"]["train"], *translation.recipe["data"].get("eval", ())):
            source["columns"] = {"text": text}


def _one(translation: Translation, evaluates: bool) -> None:
    name, config, train, test, streaming = (translation.take(key) for key in _ONE)
    translation.put("data.train", [_source(name, name=config, split=train)], "dataset_name")
    if evaluates:
        translation.put("data.eval", [_source(name, name=config, split=test or "test")], "dataset_name")
    if streaming:
        translation.put("data.streaming", True, "dataset_streaming")


def _datasets(translation: Translation, script: str) -> None:
    """TRL's DatasetMixtureConfig."""
    entries = _mappings(translation.take("datasets"), "datasets")
    for key in _ONE:  # TRL ignores them beside a mixture
        translation.take(key)
    sources = []
    for entry in entries:
        if entry.get("fraction") is not None:
            what = "has fractions of the mixture, which are not read"
            translation.leave("datasets", what, "write weight, a multiple of the source's own rows, at each source")
        if entry.get("data_dir"):
            translation.leave("datasets", "has data_dir, which is not read", "write the folder as source")
        sources += _entry_sources(translation, entry, script)
    translation.put("data.train", sources, "datasets")
    _split(translation, translation.take("test_split_size"), "test_split_size")
    if translation.take("streaming"):
        translation.put("data.streaming", True, "streaming")


def _entry_sources(translation: Translation, entry: Mapping[str, Any], script: str) -> list[dict[str, Any]]:
    files = entry.get("data_files")
    if isinstance(files, Mapping):
        translation.leave("datasets", "has data_files by split", "write one source for each file")
        files = list(files.values())
    places: list[Any] = texts(files, "data_files") or [entry.get("path")]
    split = None if files or entry.get("path") in _BUILDERS else entry.get("split")
    rest = {"name": entry.get("name") if not files else None, "split": split, "format": _format(entry, script)}
    return [_source(place, **rest) for place in places]


def _mixer(translation: Translation) -> None:
    """The older handbook: {name: fraction}, and splits known by the word train or test in them."""
    mixer = translation.take("dataset_mixer")
    if not isinstance(mixer, Mapping):
        raise ValueError("dataset_mixer should be a mapping, as in {NAME: 1.0}")
    configs = translation.take("dataset_configs") or [None] * len(mixer)
    splits = texts(translation.take("dataset_splits"), "dataset_splits") or ["train", "test"]
    if not isinstance(configs, list) or len(configs) != len(mixer):
        raise ValueError(f"dataset_configs should list one configuration for each of {len(mixer)} data sets")
    named = list(zip(mixer.items(), configs, strict=True))
    train = [
        _source(name, name=config, split=split, weight=fraction)
        for (name, fraction), config in named
        for split in splits
        if "train" in split
    ]
    test = [
        _source(name, name=config, split=split) for (name, _), config in named for split in splits if "test" in split
    ]
    translation.put("data.train", train, "dataset_mixer")
    if test:
        translation.put("data.eval", test, "dataset_splits")


def _mixture(translation: Translation, script: str) -> None:
    """The newer handbook: sources with weights, shuffled by a seed and split."""
    mixture = translation.take("dataset_mixture")
    if not isinstance(mixture, Mapping):
        raise ValueError("dataset_mixture should be a mapping with datasets")
    sources = []
    for entry in _mappings(mixture.get("datasets"), "dataset_mixture.datasets"):
        split = str(entry.get("split", "train"))
        if "test" in split:
            what = f"puts the split {split} of {entry.get('id')} into training, and so does the recipe"
            translation.leave("dataset_mixture", what, "remove that source to keep the split for a test")
        rest = {"name": entry.get("config"), "weight": entry.get("weight"), "format": _format(entry, script)}
        sources.append(_source(entry.get("id"), split=split, **rest))
    translation.put("data.train", sources, "dataset_mixture")
    if mixture.get("seed") is not None:
        translation.put("data.seed", mixture["seed"], "dataset_mixture")
    _split(translation, mixture.get("test_split_size"), "dataset_mixture")


def _split(translation: Translation, size: Any, key: str) -> None:
    """What is set aside for evaluation: a fraction here, perhaps a number of rows there."""
    if isinstance(size, int) and size >= 1:
        translation.leave(key, f"sets {size} rows aside", "write data.holdout, a fraction of the rows")
    elif size:
        translation.put("data.holdout", size, key)


def _format(entry: Mapping[str, Any], script: str) -> str | None:
    """A pair without a prompt beside it holds the conversation twice; the columns chosen here may hide the prompt."""
    columns = texts(entry.get("columns"), "columns")
    return "implicit" if script == "dpo" and columns and "prompt" not in columns else None


def _source(place: Any, **options: Any) -> dict[str, Any]:
    """A source without what is at its default. Local paths become absolute."""
    if isinstance(place, str) and Path(place).exists():
        place = str(Path(place).absolute())
    if options.get("split") == "train":
        del options["split"]
    if options.get("weight") == 1:
        del options["weight"]
    return {"source": place, **{key: value for key, value in options.items() if value is not None}}


def _mappings(entries: Any, key: str) -> Iterable[Mapping[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError(f"{key} should be a list of mappings")
    return entries
