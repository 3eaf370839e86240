"""Checkpoints load whole or not at all, and say in one sentence why not."""

import json
import shutil

import pytest
import torch
from random_checkpoint import MARKERS, RECIPES, Recipe, vocabulary, write, write_json
from safetensors.torch import load_file, save_file

from vidlm.errors import CheckpointError
from vidlm.model.checkpoint import load
from vidlm.model.folder import identify, locate
from vidlm.model.video_model import VideoModel


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write(tmp_path_factory.mktemp("checkpoint") / "random", RECIPES["tied, flat config"])


@pytest.fixture
def folder(good, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(good, tmp_path / "random")


def edit(file, **changes):
    content = json.loads(file.read_text())
    write_json(file, {key: value for key, value in (content | changes).items() if value is not ...})


def rewrite_weights(folder, change):
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def test_what_is_loaded(good):
    checkpoint = load(str(good), device="cpu")
    ids = vocabulary()
    assert (checkpoint.ids.yes, checkpoint.ids.no) == (ids["Yes"], ids["No"])
    assert checkpoint.ids.stop == {ids["<|im_end|>"], ids["<|endoftext|>"]}
    assert checkpoint.tokenize("<|im_start|>Yes") == [ids["<|im_start|>"], ids["Yes"]]
    assert checkpoint.tokenizer.chat_template == "{{ messages[0]['content'] }}"
    assert checkpoint.geometry.mean == (0.5, 0.4, 0.3)
    assert checkpoint.dtype == torch.float32
    assert not checkpoint.model.training
    assert not any(weight.requires_grad for weight in checkpoint.model.parameters())
    assert load(str(good), device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16


def test_identity(good, folder):
    assert identify(str(good), good).toy is False
    revision = identify(str(good), good).revision
    assert identify("elsewhere", folder).revision == revision
    rewrite_weights(folder, lambda weights: weights["model.norm.weight"].mul_(2.0))
    assert identify(str(folder), folder).revision != revision
    write_json(folder / "vidlm.json", {"toy": True, "name": "tiny", "revision": "r1"})
    ours = identify(str(folder), folder)
    assert (ours.model_id, ours.revision, ours.toy, ours.answer_confidence) == ("tiny", "r1", True, 0.0)
    edit(folder / "vidlm.json", answer_confidence=0.35)
    assert identify(str(folder), folder).answer_confidence == 0.35
    assert VideoModel.load(str(folder), device="cpu").info.answer_confidence == 0.35


@pytest.mark.parametrize("named", [-0.1, 1, "sure", True, None, float("nan")])
def test_a_confidence_that_makes_no_sense_is_a_checkpoint_error(folder, named):
    (folder / "vidlm.json").write_text(json.dumps({"answer_confidence": named}))
    with pytest.raises(CheckpointError, match=r"vidlm\.json.*answer_confidence"):
        identify(str(folder), folder)


def remove(name):
    return lambda folder: (folder / name).unlink()


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def only_a_pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_a_marker(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["content"] != "<|video_pad|>"]
    write_json(folder / "tokenizer.json", tokenizer)


def yes_and_no_alike(folder):
    """A tokenizer that reads both words as one letter."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"Regex": "Yes|No"}, "content": "x"}
    write_json(folder / "tokenizer.json", tokenizer)
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def yes_in_two_tokens(folder):
    """A tokenizer that has no word for Yes."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = [merge for merge in tokenizer["model"]["merges"] if "".join(merge) != "Yes"]
    write_json(folder / "tokenizer.json", tokenizer)
    edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def another_activation(folder):
    edit(folder / "config.json", hidden_act="gelu")


FAULTS = {
    "no config": (remove("config.json"), r"has no config\.json"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "not an object"),
    "another architecture": (lambda f: edit(f / "config.json", model_type="llama"), "'llama'"),
    "nonsense in the config": (lambda f: edit(f / "config.json", hidden_size="wide"), "cannot be loaded"),
    "no weights": (remove("model.safetensors"), "cannot be loaded"),
    "weights cut short": (cut_weights, "cannot be loaded"),
    "only a pickle": (only_a_pickle, "cannot be loaded"),
    "a weight missing": (
        lambda f: rewrite_weights(f, lambda w: w.pop("visual.blocks.1.norm1.bias")),
        "missing weights",
    ),
    "a weight left over": (lambda f: rewrite_weights(f, lambda w: w.update(extra=torch.ones(1))), "unexpected weights"),
    "an untied head missing": (lambda f: edit(f / "config.json", tie_word_embeddings=False), "missing weights"),
    "a weight of another shape": (
        lambda f: rewrite_weights(f, lambda w: w.update({"model.norm.weight": torch.ones(7)})),
        "weights|cannot be loaded",
    ),
    "no preprocessor": (remove("preprocessor_config.json"), r"no preprocessor_config\.json"),
    "another patch size": (lambda f: edit(f / "preprocessor_config.json", patch_size=16), "patch_size is 16 and 14"),
    "tower for another model": (
        lambda f: edit(f / "config.json", hidden_size=96, rope_scaling={"type": "mrope", "mrope_section": [4, 4, 4]}),
        "visual token",
    ),
    "more tokens than embeddings": (
        lambda f: edit(f / "config.json", vocab_size=200),
        "weights|tokens|cannot be loaded",
    ),
    "other marker ids": (lambda f: edit(f / "config.json", video_token_id=3), r"<\|video_pad\|>"),
    "a marker missing": (without_a_marker, r"<\|video_pad\|>"),
    "yes is no": (yes_and_no_alike, "Yes and No"),
    "yes is two tokens": (yes_in_two_tokens, "Yes with 2 tokens"),
    "another activation": (another_activation, "'gelu'"),
}


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_said_in_one_sentence(folder, fault, words):
    fault(folder)
    with pytest.raises(CheckpointError, match=words) as caught:
        VideoModel.load(str(folder), device="cpu")
    assert "\n" not in caught.value.detail
    assert str(folder.parent) not in caught.value.detail  # a host's paths are nobody's business


@pytest.mark.parametrize("model", ["nowhere", "/no/such/folder", "a b/c", "../up/and/away"])
def test_no_such_folder(model):
    with pytest.raises(CheckpointError, match="there is no checkpoint folder"):
        locate(model)


def test_a_repository_the_hub_does_not_give(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="hub"):
        locate("nobody/nothing")


@pytest.mark.parametrize(("device", "dtype"), [("warp", "auto"), ("cuda:99", "auto"), ("cpu", "int3")])
def test_impossible_devices_and_formats(good, device, dtype):
    with pytest.raises(CheckpointError):
        load(str(good), device=device, dtype=dtype)


def test_weights_under_todays_names(folder):
    """`model.visual.*` and `model.language_model.*`, as the library names them in memory."""
    before = load(str(folder), device="cpu").model.state_dict()

    def rename(weights):
        for name in list(weights):
            inside = name if name.startswith("visual.") else name.replace("model.", "language_model.", 1)
            weights[f"model.{inside}"] = weights.pop(name)

    rewrite_weights(folder, rename)
    after = load(str(folder), device="cpu").model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_checkpoint_as_it_is_saved_today(tmp_path):
    """Nested configuration, shards, its own head."""
    folder = write(tmp_path / "today", Recipe(tied=False, nested=True, shard_size="50KB"))
    assert "text_config" in json.loads((folder / "config.json").read_text())
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert load(str(folder), device="cpu").ids.video == vocabulary()[MARKERS[-1]]
    next(iter(sorted(folder.glob("*.safetensors")))).unlink()
    with pytest.raises(CheckpointError):
        load(str(folder), device="cpu")
