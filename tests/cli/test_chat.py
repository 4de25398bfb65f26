"""Talking with a model; most of it with a sampler that repeats what it was asked."""

from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner
from jinja2.exceptions import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.cli import main
from alignkit.cli.chat import talk
from alignkit.data.marked import visible
from alignkit.generation import ConversationTooLong, TransformersSampler
from alignkit.models.tiny import tiny


@dataclass(frozen=True)
class Parrot:
    """Answers in two pieces, and keeps every conversation and seed that it was given."""

    seed: int = 5
    asked: list = field(default_factory=list)

    def stream(self, chat, write):
        self.asked.append((self.seed, [message["content"] for message in chat]))
        said = chat[-1]["content"]
        if said == "long":
            raise ConversationTooLong("the conversation has 9 tokens, and the model reads 8")
        if said == "refuse":
            raise TemplateError("no such role")
        write(f"{said} ")
        if said == "interrupt":
            raise KeyboardInterrupt
        write("indeed")
        return f"{said} indeed"


@pytest.fixture
def converse(monkeypatch, capsys):
    """Say lines to a parrot; returns what it was asked, and what was printed."""

    def run(*lines, system=None, terminal=False, **options):
        says = iter(lines)

        def say(prompt=""):
            assert prompt == ("> " if terminal else "")
            line = next(says, None)
            if line is None:
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", say)
        monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
        parrot = Parrot()
        talk(parrot, system, **options)
        return parrot.asked, capsys.readouterr()

    return run


def test_a_conversation_grows_and_every_turn_draws_anew(converse):
    asked, printed = converse("one", "", "  two  ")
    assert asked == [(5, ["one"]), (6, ["one", "one indeed", "two"])]
    assert printed.out == "one indeed\ntwo indeed\n"
    assert printed.err == ""


def test_reset_keeps_the_system_message(converse):
    asked, _ = converse("one", "/reset", "two", system="be brief")
    assert asked == [(5, ["be brief", "one"]), (6, ["be brief", "two"])]


def test_quit_ends_it(converse):
    asked, _ = converse("one", "/quit", "two")
    assert len(asked) == 1


def test_an_unknown_command_is_no_turn(converse):
    asked, printed = converse("/rest now", "one")
    assert [chat for _, chat in asked] == [["one"]]
    assert printed.err.startswith("/rest is no command: /reset forgets")


def test_an_interrupted_answer_stays_as_far_as_it_came(converse):
    asked, printed = converse("interrupt", "one")
    assert asked[1][1] == ["interrupt", "interrupt ", "one"]
    assert printed.out == "interrupt \none indeed\n"


def test_a_conversation_that_is_too_long_goes_on_without_the_last_turn(converse):
    asked, printed = converse("one", "long", "two")
    assert asked[-1][1] == ["one", "one indeed", "two"]
    assert "the model reads 8; /reset begins another" in printed.err


def test_a_template_that_refuses_ends_it(converse):
    with pytest.raises(ValueError, match="template refuses this conversation: no such role"):
        converse("refuse")


def test_control_characters_are_written_out(converse):
    _, printed = converse("a\x1b[2J")
    assert printed.out == "a\\x1b[2J indeed\n"


def test_a_terminal_is_told_the_commands(converse):
    _, printed = converse("one", terminal=True)
    assert printed.err == "/reset forgets the conversation, /quit ends it; Ctrl-C stops an answer\n"
    assert printed.out == "one indeed\n\n"


def better(chat, draft):
    return [*chat[:-1], {"role": "user", "content": f"better than {draft}"}]


def test_every_draft_is_shown_and_the_last_is_the_answer(converse):
    asked, printed = converse("one", "two", revise=better, rounds=2)
    last = "better than better than one indeed indeed indeed"
    assert [chat for _, chat in asked[:3]] == [
        ["one"],
        ["better than one indeed"],
        ["better than better than one indeed indeed"],
    ]
    assert asked[3] == (6, ["one", last, "two"])
    assert printed.out.splitlines()[:3] == [
        "draft 0: one indeed",
        "draft 1: better than one indeed indeed",
        f"draft 2: {last}",
    ]


def test_an_interrupted_draft_is_the_last(converse):
    asked, printed = converse("interrupt", "one", revise=better, rounds=1)
    assert asked[1][1] == ["interrupt", "interrupt ", "one"]
    assert printed.out.startswith("draft 0: interrupt \ndraft 0: one indeed\n")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNKIT_CACHE", str(tmp_path / "cache"))


def test_lines_of_the_standard_input_are_turns(cache):
    arguments = ["chat", "tiny:llama", "--temperature", "0", "--max-new-tokens", "6", "--system", "be brief"]
    result = CliRunner().invoke(main, arguments, input="hello\nand you?\n")
    assert result.exit_code == 0, result.output
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny("llama")), AutoTokenizer.from_pretrained(tiny("llama"))
    sampler = TransformersSampler(model=model, tokenizer=tokenizer, max_new_tokens=6)
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    first = sampler([chat])[0][0]
    chat += [{"role": "assistant", "content": first}, {"role": "user", "content": "and you?"}]
    said = "".join(f"{visible(text)}\n" for text in (first, sampler([chat])[0][0]))
    assert result.stdout.endswith(said)  # a library may have said something while it was imported


def test_a_model_without_a_template_is_no_chat_model(cache, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny("llama")).save_pretrained(tmp_path / "plain")
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    result = CliRunner().invoke(main, ["chat", str(tmp_path / "plain")], input="hello\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has no chat template, so it is no chat model; write --chat-template FILE" in result.stderr
    (tmp_path / "x.jinja").write_text("{{ messages[-1]['content'] }}")
    more = ["--chat-template", str(tmp_path / "x.jinja"), "--max-new-tokens", "2"]
    assert CliRunner().invoke(main, ["chat", str(tmp_path / "plain"), *more], input="hello\n").exit_code == 0


def test_any_model_revises_with_a_prompt_of_its_own(cache, tmp_path):
    (tmp_path / "ask.txt").write_text("{prompt} {draft}")
    few = ["chat", "tiny:llama", "--max-new-tokens", "2", "--revision-prompt", str(tmp_path / "ask.txt")]
    result = CliRunner().invoke(main, [*few, "--revise", "2"], input="hello\n")
    assert result.exit_code == 0, result.output
    assert [f"draft {number}: " in result.stdout for number in range(4)] == [True, True, True, False]
    result = CliRunner().invoke(main, few, input="hello\n")
    assert result.exit_code == 2
    assert "--revision-prompt has no effect without --revise; write --revise N or leave it out" in result.stderr
    result = CliRunner().invoke(main, ["chat", str(tmp_path), "--revise", "1"], input="hello\n")
    assert "has no revision_prompt.txt" in result.stderr


def test_a_model_that_is_not_there(cache):
    result = CliRunner().invoke(main, ["chat", "./gone"], input="hello\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: ./gone: no such folder, and a Hub id has the form owner/name" in result.stderr
