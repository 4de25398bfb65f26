"""Sources, row formats, checks and mixtures: from files and Hub datasets to rows a trainer takes."""

from alignkit.data.spec import DataSpec, Source

__all__ = ["DataSpec", "Source"]
