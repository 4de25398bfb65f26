"""MT-bench and its kin: questions of two turns, answers of models, judgments of other models, and what they are worth.

Questions, answers and judgments are FastChat's files, so that its tools read what is written here.
Source: Zheng et al. 2023, arXiv:2306.05685.
"""

from alignkit.evaluation.answers import Folder
from alignkit.evaluation.errors import EvaluationError
from alignkit.evaluation.parse import Graded, Ungraded, read_rating, read_verdict
from alignkit.evaluation.prompts import load_prompts
from alignkit.evaluation.questions import load_questions
from alignkit.evaluation.run import Evaluation, write_report

__all__ = [
    "Evaluation",
    "EvaluationError",
    "Folder",
    "Graded",
    "Ungraded",
    "load_prompts",
    "load_questions",
    "read_rating",
    "read_verdict",
    "write_report",
]
