"""What can be wrong with data: one row of it, or all of it."""


class DataError(ValueError):
    """The data cannot be trained on as the recipe asks: says which file and row, what it is, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class BadRow(ValueError):
    """One row that cannot be used.

    `reason` is one of a few short phrases, by which dropped rows are counted; `detail` says where in the row.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = printable(detail)[:300]
        super().__init__(f"{reason}: {self.detail}" if detail else reason)


def printable(text: str) -> str:
    """JSON may hold lone surrogates, which no terminal and no Arrow table takes: they are written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
