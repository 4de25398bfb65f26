"""The images are linted, pinned and run by no root; the CPU image is installed by what installed these tests.

There is no Docker daemon where the tests run, so no image is built.
"""

import re
import subprocess

import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

from tests.launching import BIN, ROOT

IMAGES = sorted((ROOT / "docker").glob("Dockerfile.*"))


def test_images_are_found():
    assert [image.name for image in IMAGES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.suffix[1:])
def test_an_image_is_linted_pinned_and_not_of_root(image):
    linted = subprocess.run([BIN / "hadolint", image], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout
    text = image.read_text(encoding="utf-8")
    assert re.findall(r"^FROM \S+:(\S+)$", text, re.M), "a base without a tag is another one every month"
    assert re.findall(r"^USER (.+)$", text, re.M) == ["1000:1000"]
    [installs] = re.findall(r"^RUN .*(?:install-cpu\.sh|venv)", text, re.M)
    assert text.index("USER 1000:1000") < text.index(installs), "what is installed belongs to who runs it"


def test_the_linter_finds_what_is_wrong(tmp_path):
    """Guards the test above."""
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN pip install torch\n")
    linted = subprocess.run([BIN / "hadolint", tmp_path / "Dockerfile"], capture_output=True, text=True)
    assert linted.returncode == 1
    assert {"DL3006", "DL3013"} <= {*re.findall(r"DL\d+", linted.stdout)}


def test_versions_of_the_cuda_image_go_together():
    from importlib.metadata import requires

    text = (ROOT / "docker" / "Dockerfile.cuda").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"(\S+)==(\S+)", text))
    assert f"torch=={pinned['torch']}\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (known,) = [line for line in requires("trl") if line.startswith("vllm")]
    assert pinned["vllm"] in SpecifierSet(known.removeprefix("vllm").partition(";")[0])
    assert f"vllm-openai:v{pinned['vllm']}\n" in (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")


def test_make_sets_itself_up_with_the_script_of_the_image():
    assert "docker/install-cpu.sh $(VENV) test\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    image = (ROOT / "docker" / "Dockerfile.cpu").read_text(encoding="utf-8")
    assert re.search(r"^RUN .*/docker/install-cpu\.sh /opt/environment rl$", image, re.M)


@pytest.mark.parametrize(("extras", "installed"), [([], "."), (["rl"], ".[rl]")])
def test_the_script_installs_what_constraints_say(extras, installed, tmp_path):
    """With a Python that writes down what it is asked for."""
    fake = '#!/bin/bash\necho "$@" >> "$LOG"\nif [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
    (tmp_path / "python").write_text(fake)
    (tmp_path / "python").chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "PYTHON": str(tmp_path / "python"), "LOG": str(tmp_path / "log")}
    script = ROOT / "docker" / "install-cpu.sh"
    subprocess.run([script, tmp_path / "made", *extras], cwd=tmp_path, env=env, check=True)
    pip = "-m pip --disable-pip-version-check --quiet install --constraint constraints.txt"
    assert (tmp_path / "log").read_text().splitlines() == [
        f"-m venv {tmp_path / 'made'}",
        f"{pip} torch",
        f"{pip} --editable {installed}",
    ]


def test_volumes_belong_to_who_writes_into_them():
    """A named volume takes the owner of the folder that it covers, and is root's where there is none."""
    compose = YAML(typ="safe").load(ROOT / "docker" / "compose.yaml")
    image = (ROOT / "docker" / "Dockerfile.cuda").read_text(encoding="utf-8")
    made = image.partition("install --directory --owner=1000 --group=1000")[2].partition("\nUSER")[0]
    named = [volume.split(":") for volume in compose["services"]["trainer"]["volumes"]]
    folders = [folder for name, folder in named if name in compose["volumes"]]
    assert folders == ["/home/alignkit/.cache/huggingface", "/home/alignkit/.local/state"]
    assert {*folders, *(folder.rpartition("/")[0] for folder in folders)} <= {*made.split()}


def test_the_trainer_waits_for_its_judge():
    services = YAML(typ="safe").load(ROOT / "docker" / "compose.yaml")["services"]
    assert services["trainer"]["depends_on"] == {"judge": {"condition": "service_healthy"}}
    assert "healthcheck" in services["judge"]
    assert "evaluation.judge=${JUDGE}@http://judge:8000/v1" in services["trainer"]["command"]
    devices = [one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in services.values()]
    assert devices == [["0"], ["1"]]
