import importlib
import sys
from dataclasses import FrozenInstanceError, dataclass
from textwrap import dedent

import pytest

from alignkit import lookup
from alignkit.objectives import Objective, PairObjective, make, names
from alignkit.objectives.dpo import DPO
from alignkit.objectives.ipo import IPO
from tests.objectives.properties import assert_lawful, assert_refuses
from tests.objectives.samples import PAIRS

PACKAGE = "alignkit.objectives"
FOCAL = """
    from dataclasses import dataclass
    from typing import Literal

    from alignkit.objectives import Loss, PairObjective

    class Plain(PairObjective):
        def __call__(self, batch):
            return Loss(batch.chosen, batch.chosen)

    @dataclass(frozen=True, kw_only=True)
    class Unfinished(PairObjective):
        scale: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Focal(PairObjective):
        scale: float
        power: int = 2
        gentle: bool = False
        side: Literal["left", "right"] | float = "left"

        def __post_init__(self):
            if self.power < 1:
                raise ValueError(f"power = {self.power} must be 1 or more")

        def __call__(self, batch):
            chosen, rejected = batch.log_ratios()
            terms = (chosen - rejected - self.scale) ** self.power
            return Loss(terms, terms.new_tensor(len(terms)).long())
"""


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    """A module of the user's own, in a folder on the path."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "losses.py").write_text(dedent(FOCAL))
    monkeypatch.syspath_prepend(tmp_path)
    yield "mylab.losses"
    for module in ("mylab", "mylab.losses"):
        sys.modules.pop(module, None)


def test_names_are_the_public_files():
    found = lookup.names(PACKAGE)
    assert found == names() == sorted(found)
    assert {"dpo", "ipo", "robust_dpo"} <= set(found)
    assert not any(name.startswith("_") for name in found)


def test_every_name_leads_to_the_one_class_of_its_file():
    for name in names():
        cls = lookup.find(PACKAGE, Objective, name)
        assert cls.__module__ == f"{PACKAGE}.{name}"
        assert cls.__name__.lower() == name.replace("_", "")
    assert lookup.find(PACKAGE, Objective, "dpo") is DPO


def test_a_dotted_path_leads_to_a_class_of_ones_own(mylab):
    cls = lookup.find(PACKAGE, Objective, f"{mylab}.Focal")
    assert cls.__name__ == "Focal"
    objective = make(f"{mylab}.Focal", scale="1.5", power=4)
    assert objective == cls(scale=1.5, power=4)
    assert_lawful(objective, PAIRS)
    with pytest.raises(FrozenInstanceError):
        objective.scale = 2.0


def test_a_dotted_path_may_lead_to_a_shipped_class():
    assert lookup.find(PACKAGE, Objective, "alignkit.objectives.ipo.IPO") is IPO


def test_dotted_paths_that_lead_nowhere(mylab):
    def refuses(message: str, name: str) -> None:
        assert_refuses(message, lookup.find, PACKAGE, Objective, name)

    where = "; looked in the installed packages"
    refuses(f"cannot import '{mylab}.Fokal': module '{mylab}' has no attribute 'Fokal'{where}", f"{mylab}.Fokal")
    refuses(f"cannot import 'nowhere.Focal': No module named 'nowhere'{where}", "nowhere.Focal")
    for name in (".Focal", "..losses.Focal", "/etc/evil.Focal", "../evil.Focal", "losses.", "a b.Focal"):
        refuses(f"cannot import {name!r}: it is no dotted name such as mylab.losses.Focal{where}", name)
    refuses("math.pi is not a subclass of alignkit.objectives.Objective", "math.pi")
    refuses("builtins.dict is not a subclass of alignkit.objectives.Objective", "builtins.dict")


CANARY = "from pathlib import Path\n\nPath(__file__).with_name('canary').touch()\n"


@pytest.fixture
def beside(tmp_path):
    """A recipe's folder with a module of the user's own, which leaves a mark when it runs."""
    folder = tmp_path / "recipe"
    (folder / "mylab").mkdir(parents=True)
    (folder / "mylab" / "losses.py").write_text(CANARY + dedent(FOCAL))
    yield folder
    for module in [name for name in sys.modules if name.startswith("recipe_")]:
        del sys.modules[module]


def test_a_dotted_path_leads_into_the_recipes_folder_and_says_so(beside, caplog):
    cls = lookup.find(PACKAGE, Objective, "mylab.losses.Focal", beside)
    assert lookup.construct(cls, {"scale": 1}).scale == 1.0
    assert lookup.dotted_path(cls) == "mylab.losses.Focal", "as a recipe writes it, in whatever folder it lies"
    assert lookup.find(PACKAGE, Objective, "mylab.losses.Focal", beside) is cls
    (record,) = caplog.records
    assert record.getMessage() == f"mylab.losses.Focal runs the code of {beside / 'mylab' / 'losses.py'}"
    assert "mylab" not in sys.modules
    assert str(beside) not in sys.path


def test_annotations_as_text_are_understood(beside):
    (beside / "later.py").write_text("from __future__ import annotations\n" + dedent(FOCAL))
    assert lookup.construct(lookup.find(PACKAGE, Objective, "later.Focal", beside), {"scale": "2"}).scale == 2.0


def test_code_of_an_installed_package_is_said_aloud(mylab, caplog, tmp_path):
    lookup.find(PACKAGE, Objective, f"{mylab}.Focal", tmp_path / "recipe")
    lookup.find(PACKAGE, Objective, "alignkit.objectives.ipo.IPO", tmp_path / "recipe")  # ours
    (record,) = caplog.records
    assert record.getMessage() == f"{mylab}.Focal runs the code of {tmp_path / 'mylab'}"


def test_nothing_is_taken_from_the_working_directory(beside, tmp_path, monkeypatch):
    """A download that lies where the command is typed; Python itself would run it."""
    monkeypatch.chdir(beside)
    canary = beside / "mylab" / "canary"
    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(beside))
        message = "cannot import 'mylab.losses.Focal': mylab lies in the working directory; put it beside the recipe, "
        message += f"or install it; looked in {tmp_path} and the installed packages"
        assert_refuses(message, lookup.find, PACKAGE, Objective, "mylab.losses.Focal", tmp_path)
        assert not canary.exists()
        importlib.import_module("mylab.losses")  # what it is protected from
        assert canary.exists()
    for module in ("mylab", "mylab.losses"):
        del sys.modules[module]


def test_a_slash_leads_nowhere(beside, tmp_path):
    canary = tmp_path / "canary"
    evil = tmp_path / "evil.py"
    evil.write_text(CANARY + "Focal = 1\n")
    assert tmp_path.joinpath("elsewhere", *f"{tmp_path}/evil".split(".")).with_suffix(".py") == evil, "joined naively"
    for path in (f"{tmp_path}/evil.Focal", "../evil.Focal"):
        with pytest.raises(ValueError, match="it is no dotted name such as mylab"):
            lookup.find(PACKAGE, Objective, path, beside)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("DPO", "dpo"), ("h_dpo", "hdpo"), ("robust-dpo", "robust_dpo"), ("robustdpo", "robust_dpo"), ("mixse", "mixce")],
)
def test_names_that_are_nearly_right(wrong, right):
    assert_refuses(f"no objective named {wrong!r}; did you mean {right!r}?", lookup.find, PACKAGE, Objective, wrong)


def test_names_that_are_near_to_nothing_list_the_choices():
    for name in ("ppo2000", "", "_base", "__init__"):
        message = f"no objective named {name!r}; choose from {', '.join(names())}"
        assert_refuses(message, lookup.find, PACKAGE, Objective, name)


def test_the_kind_in_messages_is_that_of_the_base():
    assert_refuses("no pairobjective named 'dop'; did you mean 'dpo'?", lookup.find, PACKAGE, PairObjective, "dop")


def test_did_you_mean():
    assert lookup.did_you_mean("learning_rat", ["learning_rate", "seed"]) == "; did you mean 'learning_rate'?"
    assert lookup.did_you_mean("LearningRate", iter(["learning_rate", "seed"])) == "; did you mean 'learning_rate'?"
    assert lookup.did_you_mean("xyz", ["learning_rate", "seed"]) == "; choose from learning_rate, seed"
    assert lookup.did_you_mean("xyz", []) == "; there are none"


def test_construct_converts_and_checks(mylab):
    focal = lookup.find(PACKAGE, Objective, f"{mylab}.Focal")
    assert lookup.construct(focal, {"scale": "5e-7", "power": "3"}) == focal(scale=5e-7, power=3)
    assert lookup.construct(focal, {"scale": 1, "gentle": True, "side": 0.5}) == focal(scale=1.0, gentle=True, side=0.5)
    assert isinstance(lookup.construct(focal, {"scale": 1}).scale, float)


def test_construct_refuses(mylab):
    focal = lookup.find(PACKAGE, Objective, f"{mylab}.Focal")

    def refuses(message: str, **hyperparameters: object) -> None:
        assert_refuses(message, lookup.construct, focal, hyperparameters)

    refuses("Focal has no 'sclae'; did you mean 'scale'?", sclae=1.0)
    refuses("Focal: scale: field required")
    refuses("Focal: scale = True: input should be a valid number, not true or false", scale=True)
    refuses(
        "Focal: power = 1.5: input should be a valid integer, got a number with a fractional part", scale=1, power=1.5
    )
    refuses("power = 0 must be 1 or more", scale=1, power=0)
    refuses(
        "Focal: side = 'up': input should be 'left' or 'right' or "
        "input should be a valid number, unable to parse string as a number",
        scale=1,
        side="up",
    )
    refuses(
        "Focal: scale = []: input should be a valid number; Focal: gentle = 'perhaps': "
        "input should be a valid boolean, unable to interpret input",
        scale=[],
        gentle="perhaps",
    )


def test_classes_that_cannot_be_constructed(mylab):
    assert_refuses(
        "Plain is not a dataclass; write @dataclass(frozen=True, kw_only=True) above it", make, f"{mylab}.Plain"
    )
    assert_refuses("Unfinished does not define __call__", make, f"{mylab}.Unfinished", scale=2.0)
    assert_refuses(
        "PairObjective is not a dataclass; write @dataclass(frozen=True, kw_only=True) above it",
        make,
        "alignkit.objectives.PairObjective",
    )


def test_any_dataclass_can_be_constructed():
    @dataclass(frozen=True, kw_only=True)
    class Plain:
        size: int = 1

    assert lookup.construct(Plain, {"size": "3"}) == Plain(size=3)
