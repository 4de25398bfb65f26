"""Recipes by name."""

from pathlib import Path

import pytest

import alignkit
from alignkit.recipe import RecipeError, load, resolve_recipe, shipped_recipes
from alignkit.recipe.shipped import recipes_folder


@pytest.mark.parametrize("name", ["dpo/tiny", "dpo/tiny.yaml", "recipes/dpo/tiny.yaml", "recipes/dpo/tiny"])
def test_every_spelling_finds_a_shipped_recipe(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_recipe(name) == recipes_folder() / "dpo" / "tiny.yaml"
    assert load(name).train["max_steps"] == 2


def test_a_file_on_disk_comes_first(write):
    write("x", "dpo/tiny.yaml")
    assert resolve_recipe("dpo/tiny.yaml") == Path("dpo/tiny.yaml")


def test_names_are_listed():
    names = shipped_recipes()
    assert names == sorted(names)
    assert {"dpo/tiny", "mixce/tiny", "hdpo/qwen2.5-7b"} <= set(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpo/tinny", "dpo/tinny: no such file, and no shipped recipe of that name; did you mean dpo/tiny?"),
        (
            "recipes/dpo/tinny.yaml",
            "recipes/dpo/tinny.yaml: no such file, and no shipped recipe of that name; did you ",
        ),
        ("../../etc/passwd", "../../etc/passwd: no such file, and no shipped recipe of that name"),
        ("a\0b", "'a\\x00b': no such file, and no shipped recipe of that name"),
        ("a" * 5000, "a" * 57 + "...: no such file, and no shipped recipe of that name"),
        (".", ".: is a folder; write the file's name"),
    ],
)
def test_an_unknown_name(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        resolve_recipe(name)
    assert str(caught.value).startswith(message)


def test_a_folder_with_recipes(write):
    write("", "mine/b.yaml")
    write("", "mine/a.yaml")
    with pytest.raises(RecipeError, match=r"mine: is a folder; write mine/a\.yaml"):
        resolve_recipe("mine")


def test_an_installed_wheel_holds_them_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "alignkit"
    (package / "recipes" / "dpo").mkdir(parents=True)
    (package / "recipes" / "accelerate").mkdir()
    for name in ("dpo/tiny.yaml", "accelerate/ddp.yaml"):
        (package / "recipes" / name).write_text("x")
    monkeypatch.setattr(alignkit, "__file__", str(package / "__init__.py"))
    assert shipped_recipes() == ["dpo/tiny"]
    assert resolve_recipe("dpo/tiny") == package / "recipes" / "dpo" / "tiny.yaml"
