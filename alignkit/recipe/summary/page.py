"""summary.html: a run on one page that needs nothing else, neither a network nor scripts nor other files."""

import json
from collections.abc import Iterable, Sequence
from html import escape

from alignkit.data import html_report
from alignkit.data.marked import visible
from alignkit.generation import Chat
from alignkit.pages import document
from alignkit.recipe.summary.answers import Answers, NoAnswers
from alignkit.recipe.summary.facts import Facts, Progress
from alignkit.recipe.summary.method import Method
from alignkit.recipe.summary.results import HEADINGS, History, results

STYLE = """
body { max-width: 75em; margin: 2em auto; padding: 0 1em; font: 15px/1.5 system-ui, sans-serif; color: #1c2733; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2em; border-bottom: 1px solid #d8dee4; }
.data-report { overflow-x: auto; } .data-report h2 { margin-top: 1em; font-size: 1.1em; border: 0; }
table { border-collapse: collapse; margin: 1em 0; } th, td { padding: .3em .7em; border-bottom: 1px solid #d8dee4; }
th, td { text-align: left; } td { font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f8fa; padding: .8em 1em; margin: .3em 0; }
.headline { display: flex; flex-wrap: wrap; gap: 1em 2.5em; margin: 0; } .headline dt { color: #57606a; }
.headline dd { margin: 0; font-size: 1.3em; font-weight: 600; }
.curves svg { width: 100%; height: auto; }
.answers { display: grid; grid-template-columns: 1fr 1fr; gap: 1em; margin: 1em 0; }
.note { color: #57606a; }
"""


def page(facts: Facts, progress: Progress, chats: Sequence[Chat], moments: Sequence[Answers | NoAnswers]) -> str:
    """The whole page. `moments` are the answers to `chats` before and after, or why there are none."""
    title = visible(f"{progress.name}: a run of {Method.of(facts.recipe.objective).name}")
    parts = [
        f"<h1>{escape(title)}</h1>",
        method(facts),
        headline(progress),
        section("Results", results_table(progress.history)),
        section("Curves", curves(progress.history)),
        section("Answers", answers(chats, moments)),
        section("Data", html_report.section(facts.report)),
        section("Recipe", preformatted(facts.recipe_yaml)),
        section("Environment", environment(facts)),
    ]
    return document(title, f"{STYLE}{html_report.STYLE}", "\n".join(parts))


def section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>\n{body}"


def preformatted(text: str) -> str:
    return f"<pre>{escape(visible(text))}</pre>"


def method(facts: Facts) -> str:
    about = Method.of(facts.recipe.objective)
    source = f'<p class="note">{escape(about.source)}</p>' if about.source else ""
    return f"<p>{escape(about.title)}.</p>\n{preformatted(about.formula) if about.formula else ''}\n{source}"


def headline(progress: Progress) -> str:
    pairs = (f"<div><dt>{name}</dt><dd>{escape(visible(value))}</dd></div>" for name, value in progress.headline())
    return f'<dl class="headline">{"".join(pairs)}</dl>'


def results_table(history: History) -> str:
    rows = [f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in one.cells())}</tr>" for one in results(history)]
    names = "".join(f"<th>{name}</th>" for name in HEADINGS)
    return f"<table>\n<tr>{names}</tr>\n{lines(rows)}\n</table>" if rows else note("No figures were logged.")


def curves(history: History) -> str:
    from alignkit.plots import svg_of  # here, since matplotlib takes a second that `alignkit check` need not wait for

    try:
        return f'<div class="curves">{svg_of(history)}</div>'
    except ValueError as error:
        return note(f"{error}.")


def answers(chats: Sequence[Chat], moments: Sequence[Answers | NoAnswers]) -> str:
    for moment in moments:
        if isinstance(moment, NoAnswers):
            return note(f"Not generated: {moment.reason}.")
    shown = [moment for moment in moments if isinstance(moment, Answers)]
    blocks = []
    for place, chat in enumerate(chats):
        asked = lines(f"{turn['role']}: {turn['content']}" for turn in chat)
        columns = [
            f"<div>{when} (step {one.step:,}){preformatted(one.texts[place])}</div>"
            for when, one in zip(("Before", "After"), shown, strict=True)
        ]
        blocks.append(f'<h3>Prompt {place + 1}</h3>{preformatted(asked)}<div class="answers">{"".join(columns)}</div>')
    took = sum(moment.seconds for moment in shown)
    return lines([note(f"Greedy answers to held-out prompts, cut off where long. They took {took:.1f} s."), *blocks])


def environment(facts: Facts) -> str:
    names = ("command", "git", "world_size", "versions", "datasets")
    found = {name: facts.provenance.get(name) for name in names}
    return preformatted(json.dumps(found, indent=2, ensure_ascii=False))


def note(text: str) -> str:
    return f'<p class="note">{escape(visible(text))}</p>'


def lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)
