"""Files from strangers that try to run code. Each is shown to work against code that trusts it, and fails here.

The mark that an attack leaves is a file: a canary that was touched.
"""

import ast
import hashlib
import importlib
import json
import pickle
import runpy
import shutil
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pyarrow as pa
import pytest
import torch
import yaml
from peft import PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit import checkpoints
from alignkit.data.errors import DataError
from alignkit.data.sequences import tokenized
from alignkit.data.sources import open_source
from alignkit.data.spec import Source
from alignkit.generation.transformers import TransformersSampler
from alignkit.models.adapters import peft_config
from alignkit.models.inference import load_for_inference
from alignkit.models.load import load_model, load_tokenizer
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.models.tiny import tiny
from alignkit.recipe import RecipeError, load
from alignkit.recipe.launch import find_config
from alignkit.recipe.resume import starting_point
from alignkit.rewards import rules
from alignkit.trainers._survival import SurvivingTrainer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def canary(tmp_path):
    """A file that is not there, and a pickle and a piece of Python that make it."""

    class Evil:
        def __reduce__(self):
            return Path.touch, (file,)

    file = tmp_path / "canary"
    return SimpleNamespace(
        file=file, pickle=pickle.dumps(Evil()), code=f"__import__('pathlib').Path({str(file)!r}).touch()"
    )


def works(canary, attack, *arguments, **keywords):
    """The attack touches the canary where nothing stands against it; what else comes of it does not matter."""
    with suppress(Exception):
        attack(*arguments, **keywords)
    assert canary.file.exists(), "an attack that cannot succeed shows nothing"
    canary.file.unlink()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return shutil.copytree(tiny("llama"), tmp_path_factory.mktemp("model") / "llama")


@pytest.fixture
def stolen(model_folder, tmp_path):
    """A model that one may change."""
    return shutil.copytree(model_folder, tmp_path / "stolen")


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("file", ["optimizer.pt", "global_step4/mp_rank_00_model_states.pt", "latest"])
def test_a_checkpoint_whose_checksums_were_forged_along(canary, tmp_path, file):
    """DeepSpeed unpickles without weights_only, so its files must be known before they are opened."""
    folder = tmp_path / "run" / "checkpoint-4"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"what was saved")
    checkpoints.seal(folder)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(canary.pickle)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[file] = {"bytes": len(canary.pickle), "sha256": hashlib.sha256(canary.pickle).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    works(canary, torch.load, folder / file, weights_only=False)
    assert checkpoints.damage(folder) is None, "the checksums say that it is whole"
    for resume in ("auto", str(folder)):
        with pytest.raises(ValueError, match="is not known to be yours: it was signed with another key"):
            starting_point(folder.parent, resume)
    trainer = SimpleNamespace(verified=None, args=SimpleNamespace(output_dir=str(folder.parent)))
    for given in (folder, str(folder), True):
        with pytest.raises(ValueError, match="is not known to be yours"):
            SurvivingTrainer.train(trainer, given)
    assert not canary.file.exists()


def test_a_model_that_is_a_pickle(canary, stolen):
    (stolen / "model.safetensors").unlink()
    (stolen / "pytorch_model.bin").write_bytes(canary.pickle)
    works(canary, torch.load, stolen / "pytorch_model.bin", weights_only=False)
    with pytest.raises(ValueError, match=r"has no model.safetensors, and pytorch_model.bin is a pickle, which can run"):
        load_model(ModelSpec(path=str(stolen)))
    assert not canary.file.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_with_code(canary, stolen, file):
    (stolen / "evil.py").write_text(canary.code)
    names = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    edit(stolen / file, auto_map=names, model_type="evil", tokenizer_class="Evil")
    naive = importlib.import_module("transformers").AutoTokenizer if "token" in file else AutoConfig
    works(canary, naive.from_pretrained, stolen, trust_remote_code=True)
    with pytest.raises(ValueError, match=r"needs code from its own repository, which is not run; read that code, and"):
        load_tokenizer(ModelSpec(path=str(stolen)))
    assert not canary.file.exists()


@pytest.fixture
def adapter(model_folder, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    get_peft_model(base, peft_config(Adapter(rank=2))).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_that_is_a_pickle(canary, adapter):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(canary.pickle)
    works(canary, torch.load, adapter / "adapter_model.bin", weights_only=False)
    with pytest.raises(ValueError, match=r"no adapter_model.safetensors, and adapter_model.bin is a pickle, which can"):
        load_for_inference(str(adapter))
    assert not canary.file.exists()


def test_an_adapter_that_names_a_module(canary, adapter, model_folder, tmp_path, monkeypatch):
    """peft imports the module; a download brings one along, in the folder from which alignkit is started."""
    (tmp_path / "megatron").mkdir()
    (tmp_path / "megatron" / "evil.py").write_text(canary.code)
    monkeypatch.syspath_prepend(tmp_path)
    edit(adapter / "adapter_config.json", megatron_core="megatron.evil", megatron_config={"a": 1})
    works(canary, PeftModel.from_pretrained, AutoModelForCausalLM.from_pretrained(model_folder), str(adapter))
    for module in ("megatron", "megatron.evil"):
        sys.modules.pop(module, None)
    with pytest.raises(ValueError, match="is an adapter of Megatron layers, whose module peft would import"):
        load_for_inference(str(adapter))
    assert not canary.file.exists()


RECIPE = "objective: {name: dpo}\nmodel: {path: org/model}\ndata: {train: [{source: org/rows}]}\n"


def test_a_recipe_with_a_tag(canary, tmp_path):
    tag = f"!!python/object/apply:builtins.eval [{json.dumps(canary.code)}]"
    (tmp_path / "x.yaml").write_text(RECIPE.replace("org/model", tag))
    works(canary, yaml.unsafe_load, (tmp_path / "x.yaml").read_text())
    with pytest.raises(RecipeError, match=r"the tag .* is not read; write the plain value"):
        load(tmp_path / "x.yaml")
    assert not canary.file.exists()


def test_an_accelerate_configuration_is_held_to_the_limits_of_a_recipe(canary, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(f"compute_environment: !!python/object/apply:builtins.eval [{json.dumps(canary.code)}]\n")
    works(canary, yaml.unsafe_load, file.read_text())
    with pytest.raises(RecipeError, match=r"the tag .* is not read; write the plain value"):
        find_config(str(file))
    laughs = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))
    file.write_text(f"a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n{laughs}\n")
    with pytest.raises(RecipeError, match=r"more than 50 aliases|more than 20000 values"):
        find_config(str(file))
    file.write_text("a: " + "b" * 2**20)
    with pytest.raises(RecipeError, match="is larger than 256 KiB"):
        find_config(str(file))
    assert not canary.file.exists()


@pytest.mark.parametrize(
    "written", [RECIPE.replace("dpo", "evil.Loss"), RECIPE + "reward: {members: [{rule: evil.R}]}"]
)
def test_a_recipe_with_a_dotted_path_to_a_download(canary, tmp_path, monkeypatch, written):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "evil.py").write_text(canary.code)
    (tmp_path / "x.yaml").write_text(written)
    monkeypatch.chdir(tmp_path / "downloads")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "downloads"), *sys.path])
    works(canary, importlib.import_module, "evil")
    del sys.modules["evil"]
    with pytest.raises(RecipeError, match="evil lies in the working directory"):
        load(tmp_path / "x.yaml", uses=["reward"])
    assert not canary.file.exists()


ESCAPES = (  # out of Jinja, to Python's builtins
    "{{ cycler.__init__.__globals__.__builtins__.eval(%r) }}",
    "{{ namespace.__init__.__globals__['__builtins__']['eval'](%r) }}",
)


def test_a_template_that_leaves_its_sandbox(canary, model_folder, tmp_path):
    for number, escape in enumerate(ESCAPES):
        file = tmp_path / f"{number}.jinja"
        file.write_text(escape % canary.code)
        works(canary, jinja2.Environment().from_string(file.read_text()).render)
        spec = ModelSpec(path=str(model_folder), chat_template=str(file))
        chat = [{"role": "user", "content": "hello"}]
        tokenizer = load_tokenizer(spec)
        with pytest.raises(jinja2.exceptions.TemplateError):
            tokenized(chat, tokenizer)
        sampler = TransformersSampler(model=torch.nn.Linear(1, 1), tokenizer=tokenizer)
        with pytest.raises(jinja2.exceptions.TemplateError):
            sampler([chat])
        assert not canary.file.exists()


def test_a_message_is_no_template(canary, model_folder, tmp_path):
    """What a row says is put into the template, never read as one."""
    said = ESCAPES[0] % canary.code
    works(canary, jinja2.Environment().from_string(said).render)
    tokenizer = load_tokenizer(ModelSpec(path=str(model_folder)))
    ids, _ = tokenized([{"role": "user", "content": said}], tokenizer)
    assert said in tokenizer.decode(ids)
    assert not canary.file.exists()


def test_nothing_renders_a_template_but_transformers():
    """Whose environment is sandboxed: alignkit makes none of its own."""
    found = set()
    for file in (ROOT / "alignkit").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jinja2":
                found.add(node.module)
            assert not (isinstance(node, ast.Import) and any(one.name.startswith("jinja2") for one in node.names))
    assert found == {"jinja2.exceptions"}


FORBIDDEN = {"eval", "exec", "compile", "__import__"}
UNPICKLERS = {"pickle", "shelve", "marshal", "dill", "joblib", "cloudpickle", "yaml"}


def test_no_code_of_alignkit_evaluates_or_unpickles():
    """`torch.load` has its weights_only, and nothing else that could run a file is called."""
    loads = 0
    for file in sorted((ROOT / "alignkit").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                assert not {name.split(".")[0] for name in names} & UNPICKLERS, f"{file}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN, f"{file}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                loads += 1
                assert any(one.arg == "weights_only" and one.value.value is True for one in node.keywords), file
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                raise AssertionError(f"{file}:{node.lineno}")
    assert loads >= 1


def test_a_dataset_with_a_loading_script(canary, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "rows.py").write_text(canary.code)
    works(canary, runpy.run_path, folder / "rows.py")
    with pytest.raises(DataError, match="holds no data files"):
        open_source(Source(source="rows"), tmp_path)
    (folder / "train.jsonl").write_text('{"text": "a"}\n')
    assert len([*open_source(Source(source="rows"), tmp_path).rows()]) == 1
    assert not canary.file.exists()


def test_a_dataset_that_is_a_pickle(canary, tmp_path):
    for name in ("rows.pkl", "rows.pt", "rows.npy"):
        (tmp_path / name).write_bytes(canary.pickle)
        works(canary, pickle.loads, (tmp_path / name).read_bytes())
        with pytest.raises(DataError, match="no reader for"):
            [*open_source(Source(source=name), tmp_path).rows()]
    assert not canary.file.exists()


def test_an_arrow_file_with_a_pickle_inside(canary, tmp_path):
    """pyarrow before 14.0.1 unpickled the type of such a column."""
    about = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": canary.pickle}
    schema = pa.schema([pa.field("text", pa.string(), metadata=about)])
    table = pa.table({"text": ["a"]}, schema=schema)
    for name, open_file in (("rows.arrow", pa.ipc.new_stream), ("rows.parquet", None)):
        if open_file is None:
            pa.parquet.write_table(table, tmp_path / name)
        else:
            with open_file(tmp_path / name, schema) as file:
                file.write_table(table)
        assert canary.pickle in (tmp_path / name).read_bytes() or name.endswith("parquet")
        works(canary, pickle.loads, about["ARROW:extension:metadata"])
        assert [row["text"] for _, row in open_source(Source(source=name), tmp_path).rows()] == ["a"]
        assert not canary.file.exists()


def test_an_archive_whose_member_climbs_out(canary, tmp_path):
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data" / "rows.zip", "w") as archive:
        archive.writestr("../canary", "touched")

    def unpacked():
        with zipfile.ZipFile(tmp_path / "data" / "rows.zip") as archive:
            for member in archive.namelist():
                (tmp_path / "data" / member).write_bytes(archive.read(member))

    works(canary, unpacked)
    with pytest.raises(DataError, match=r"no reader for \.zip"):
        [*open_source(Source(source="data/rows.zip"), tmp_path).rows()]
    assert not canary.file.exists()


def test_a_formula_stays_text_from_the_row_to_the_reward(canary, tmp_path):
    (tmp_path / "rows.csv").write_text(f'text\n"={canary.code}"\n')
    ((_, row),) = open_source(Source(source="rows.csv"), tmp_path).rows()
    assert row["text"] == f"={canary.code}"
    works(canary, eval, row["text"].removeprefix("="))
    for name, options in {"math_verify": {}, "exact_match": {}, "valid_json": {}}.items():
        score = rules.make(name, **options)(["2 + 2?"], [canary.code], answer=["4"])
        assert score.tolist() == [0.0]
    assert not canary.file.exists()
