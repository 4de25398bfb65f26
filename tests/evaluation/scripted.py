"""Judges and models that say what a test wants, without a server or weights."""

from alignkit.evaluation import jsonl
from alignkit.evaluation.answers import Folder, answer_row
from alignkit.evaluation.judging import Judging, matches
from alignkit.evaluation.prompts import load_prompts
from alignkit.evaluation.questions import TEMPERATURES, Question, Questions
from alignkit.evaluation.run import use_questions


class ScriptedJudge:
    """Replies with what `say(user's message)` returns: a text, or a RemoteError."""

    def __init__(self, say, name="judge"):
        self.say, self.name, self.asked = say, name, []
        self.identity = {"model": name}

    def kept(self, messages):
        return False

    def replies(self, prompts):
        for index, messages in enumerate(prompts):
            self.asked.append(messages[-1]["content"])
            yield index, self.say(messages[-1]["content"])


def question(number, category="writing"):
    reference = (f"right {number}", f"right too {number}") if category == "math" else None
    turns = (f"ask {number}", f"and {number}")
    warmth = TEMPERATURES[category]
    return Question(id=number, category=category, turns=turns, reference=reference, temperature=warmth)


def questions(*categories):
    return Questions(name="test", questions=tuple(question(i, category) for i, category in enumerate(categories, 1)))


def write_answers(folder, asked, **models):
    """A folder with answers: each model a function from (question, turn) to its text."""
    use_questions(folder, asked)
    for model, say in models.items():
        file = folder.answers(model)
        rows = [answer_row(one, model, [(say(one, 1), say(one, 2))], "s") for one in asked.questions]
        jsonl.replace(file, rows)
    return folder


def judged(tmp_path, say, pairs=None, categories=("writing", "math", "stem"), name="judge", **models):
    """A folder in which a judge that says `say(message)` has judged; (folder, what became of each match)."""
    asked = questions(*categories)
    models = models or {"a": lambda one, turn: f"a{one.id}.{turn}", "b": lambda one, turn: f"b{one.id}.{turn} longer"}
    folder = write_answers(Folder(tmp_path), asked, **models)
    judging = Judging(judge=ScriptedJudge(say, name), prompts=load_prompts(), folder=folder)
    answers = {
        model: {one.id: ((text(one, 1), text(one, 2)),) for one in asked.questions} for model, text in models.items()
    }
    return folder, [*judging.run(judging.open(matches(asked.questions, answers, pairs)))]
