"""What an evaluation refuses."""


class EvaluationError(ValueError):
    """Questions, answers or judgments that cannot be used; the message says what to write instead."""
