"""The package as users install it: a wheel, in a folder of its own, used from elsewhere."""

import json
import zipfile

import pytest

from alignkit import objectives
from tests.launching import ROOT, launch
from tests.recipes.runs import FILES, recipe_name

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={folder}"]
    result = launch(["-m", "pip", "wheel", *options, str(ROOT)], folder)
    assert result.returncode == 0, result.stderr
    (file,) = folder.glob("alignkit-*.whl")
    return file


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", f"--target={folder}"]
    result = launch(["-m", "pip", "install", *options, str(wheel)], folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_it_holds_the_package_with_its_recipes_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"alignkit", wheel.name.split("-py3")[0] + ".dist-info"}
    held = {name.removeprefix("alignkit/recipes/").removesuffix(".yaml") for name in names if name.endswith(".yaml")}
    assert {recipe_name(path) for path in FILES} <= held
    assert "accelerate/zero3" in held
    for name in ("demo/pairs_train.jsonl", "demo/LICENSE-DATA.md"):
        assert f"alignkit/recipes/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", "~")) or "__pycache__" in name]


def test_the_methods_are_listed(site, tmp_path):
    result = launch(["-m", "alignkit", "list"], tmp_path, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    heads = [line.split("(")[0] for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert heads == objectives.names()


def test_a_shipped_recipe_is_found_and_trains(site, tmp_path):
    program = ["-m", "alignkit", "train", "dpo/tiny", "train.max_steps=1"]
    result = launch(program, tmp_path, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    saved = json.loads((tmp_path / "runs" / "dpo-tiny" / "provenance.json").read_text())
    assert saved["recipe"] == str(site / "alignkit" / "recipes" / "dpo" / "tiny.yaml")
    assert all(source.startswith(str(site)) for source in saved["datasets"])


def test_the_command_is_installed(site, tmp_path):
    result = launch([str(site / "bin" / "alignkit"), "--version"], tmp_path, PYTHONPATH=str(site))
    assert result.returncode == 0, result.stderr
    assert "version" in result.stdout
