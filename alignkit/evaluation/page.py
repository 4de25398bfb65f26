"""An evaluation on one HTML page that needs nothing else: figures, charts, conversations and what the judges said."""

from collections.abc import Iterable, Sequence
from html import escape

from alignkit.evaluation.charts import bars, radar
from alignkit.evaluation.markdown import (
    MODEL_HEADS,
    PAIR_HEADS,
    category_rows,
    model_row,
    pair_row,
    remarks,
    sentence,
)
from alignkit.evaluation.questions import Question
from alignkit.evaluation.records import Game, Records, Score
from alignkit.evaluation.report import JudgeReport, Report
from alignkit.pages import document

SCRIPT = """
const form = document.getElementById("filters");
const articles = [...document.querySelectorAll("article")];
const texts = articles.map(article => article.textContent.toLowerCase());
function apply() {
  const wanted = Object.fromEntries(new FormData(form));
  let shown = 0;
  articles.forEach((article, i) => {
    const low = article.dataset.low === "" ? NaN : Number(article.dataset.low);
    article.hidden = Boolean(
      (wanted.category && article.dataset.category !== wanted.category)
      || (wanted.below && !(low <= Number(wanted.below)))
      || (wanted.ungraded && article.dataset.ungraded === "0")
      || (wanted.search && !texts[i].includes(wanted.search.toLowerCase())));
    shown += article.hidden ? 0 : 1;
  });
  document.querySelectorAll("[data-model]").forEach(one => {
    one.hidden = Boolean(wanted.model && one.dataset.model !== wanted.model);
  });
  document.getElementById("shown").textContent = shown + " of " + articles.length + " questions";
}
for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
  const field = form.elements.namedItem(name);
  if (field && field.type === "checkbox") field.checked = true;
  else if (field) field.value = value;
}
form.addEventListener("input", apply);
form.addEventListener("submit", event => event.preventDefault());
apply();
"""
STYLE = """
body { max-width: 90em; margin: 2em auto; padding: 0 1em; font: 15px/1.5 system-ui, sans-serif; color: #1c2733; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; border-bottom: 1px solid #d8dee4; }
table { border-collapse: collapse; margin: 1em 0; } th, td { padding: .3em .7em; border-bottom: 1px solid #d8dee4; }
th, td { text-align: left; } td { font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f8fa; padding: .8em 1em; margin: .3em 0; }
pre, td { unicode-bidi: isolate; }
svg { max-width: 100%; font: 12px system-ui, sans-serif; } svg text { fill: currentColor; } svg .axis { opacity: .6; }
.charts { display: flex; flex-wrap: wrap; gap: 1em; } .legend { list-style: none; padding: 0; }
.warning { background: #fff1d6; padding: .6em 1em; } .note { color: #57606a; } .user { background: #eaf2fb; }
#filters { display: flex; flex-wrap: wrap; gap: .5em 1.5em; padding: .8em 1em; background: #f6f8fa; }
.models { display: grid; grid-template-columns: repeat(auto-fit, minmax(22em, 1fr)); gap: 1em; }
.score { font-weight: 600; } .ungraded { background: #fff1d6; } [hidden] { display: none !important; }
"""


def page(report: Report, records: Records) -> str:
    """The whole page."""
    title = f"{report.title}: {report.questions} questions"
    parts = [f"<h1>{escape(title)}</h1>", *(f'<p class="warning">{escape(one)}</p>' for one in report.warnings)]
    parts += [_figures(judge) for judge in report.judges]
    parts.append(f"<h2>Conversations</h2>\n{_filters(records)}")
    parts += [_conversation(question, records) for question in records.questions.values()]
    return document(title, STYLE, "\n".join(parts), SCRIPT)


def _figures(report: JudgeReport) -> str:
    parts = [f"<h2>Judged by {escape(report.judge)}</h2>"]
    if report.models:
        drawn = [(one.model, one.overall) for one in report.models if one.overall is not None]
        by_category = {one.model: {name: found.mean for name, found in one.categories.items()} for one in report.models}
        parts.append(_table(MODEL_HEADS, [model_row(one, report.judge) for one in report.models]))
        parts.append(f'<div class="charts"><div>{bars(drawn)}</div><div>{radar(by_category)}</div></div>')
        parts.append(_table(*category_rows(report.models)))
        parts += [f"<p>{escape(line)}</p>" for one in report.models for line in remarks(one)]
    parts += [f"<p>{escape(sentence(one))}</p>" for one in report.comparisons]
    if report.pairs:
        parts.append(_table(PAIR_HEADS, [pair_row(one) for one in report.pairs]))
    return "\n".join(parts)


def _filters(records: Records) -> str:
    categories = dict.fromkeys(one.category for one in records.questions.values())
    return (
        '<form id="filters">'
        f"<label>Category {_select('category', categories)}</label>"
        f"<label>Model {_select('model', records.answers)}</label>"
        '<label>Rated at most <input name="below" type="number" min="1" max="10" step="0.5" size="4"></label>'
        '<label>Not graded <input name="ungraded" type="checkbox"></label>'
        '<label>Text <input name="search" type="search"></label>'
        '<output id="shown"></output></form>'
    )


def _select(name: str, values: Iterable[str]) -> str:
    options = "".join(f'<option value="{escape(value)}">{escape(value)}</option>' for value in values)
    return f'<select name="{name}"><option value="">all</option>{options}</select>'


def _conversation(question: Question, records: Records) -> str:
    scores = [one for found in records.scores.values() for one in found if one.question == question.id]
    games = [(judge, one) for judge, found in records.games.items() for one in found if one.question == question.id]
    values = [one.value for one in scores if one.value is not None]
    ungraded = sum(one.value is None for one in scores) + sum(one.value is None for _, one in games)
    columns = "".join(_column(question, model, records) for model in records.answers)
    low = min(values) if values else ""
    return (
        f'<article data-category="{escape(question.category)}" data-low="{low}" data-ungraded="{ungraded}">'
        f"<h3>{question.id} · {escape(question.category)}</h3>\n"
        f'<div class="models">{columns}</div>{"".join(_game(judge, one) for judge, one in games)}</article>'
    )


def _column(question: Question, model: str, records: Records) -> str:
    """One model's conversation, each answer followed by what the judges said of it."""
    parts = [f'<section data-model="{escape(model)}"><h4>{escape(model)}</h4>']
    choices = records.answers[model].get(question.id, ())
    if not choices:
        parts.append('<p class="ungraded">no answer</p>')
    for choice, turns in enumerate(choices):
        for turn, (asked, said) in enumerate(zip(question.turns, turns, strict=True), 1):
            parts += [f'<pre class="user">{escape(asked)}</pre>', f"<pre>{escape(said)}</pre>"]
            key = (question.id, turn, choice)
            for judge, scores in records.scores.items():
                parts += [_score(judge, one) for one in scores if one.model == model and one.key == key]
    return "".join([*parts, "</section>"])


def _score(judge: str, one: Score) -> str:
    value = "not graded" if one.value is None else f"{one.value:g}"
    mark = ' class="ungraded"' if one.value is None else ""
    note = f'<p class="note">{escape(one.note)}</p>' if one.note else ""
    return (
        f'<details{mark}><summary>{escape(judge)}: <span class="score">{value}</span></summary>'
        f"{note}<pre>{escape(one.judgment)}</pre></details>"
    )


def _game(judge: str, one: Game) -> str:
    said = {"model_1": one.models[0], "model_2": one.models[1], "tie": "tie"}
    verdicts = " and ".join(said[winner] for winner in one.winners) if one.winners else "not graded"
    mark = ' class="ungraded"' if one.winners is None else ""
    note = f'<p class="note">{escape(one.note)}</p>' if one.note else ""
    replies = "".join(
        f"<div><p>{escape(shown)} shown first</p><pre>{escape(text)}</pre></div>"
        for shown, text in zip(one.models, one.judgments, strict=True)
    )
    title = f"{judge}, turn {one.turn}: {one.models[0]} against {one.models[1]}: {verdicts}"
    return f'<details{mark}><summary>{escape(title)}</summary>{note}<div class="models">{replies}</div></details>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}</table>"
