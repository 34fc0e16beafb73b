"""Finding and reading models: folders, the Hugging Face cache, safetensors, and files that are broken."""

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from safetensors.torch import save_file
from tiny_models import write_model

from dif3d_blender.engine import TSR, weights
from dif3d_blender.engine.errors import DIF3DError


@pytest.fixture
def folder(tmp_path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    """An empty Hugging Face cache in place of the user's own."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def put_in_cache(cache: Path, repository: str, folder: Path) -> None:
    """Lay the files of `folder` out as the Hugging Face cache does: links to blobs in a snapshot's folder."""
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / "0123456789abcdef"
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        blob = home / "blobs" / str(number)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(snapshot.name)


def same_tensors(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_folder_without_any_hub_call(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the hub was asked about a local folder")

    monkeypatch.setattr(weights, "try_to_load_from_cache", refuse)
    monkeypatch.setattr(weights, "hf_hub_download", refuse)
    TSR.from_pretrained(str(folder))


def test_safetensors_are_taken_where_the_checkpoint_is_missing(folder):
    from_checkpoint = TSR.from_pretrained(folder)
    save_file(torch.load(folder / "model.ckpt", weights_only=True), folder / "model.safetensors")
    named = TSR.from_pretrained(folder, weight_name="model.safetensors")
    (folder / "model.ckpt").unlink()
    found = TSR.from_pretrained(folder)
    assert same_tensors(from_checkpoint, named)
    assert same_tensors(from_checkpoint, found)


def test_16_bit_tensors_become_float32_in_memory(folder):
    tensors = {k: v.half() for k, v in torch.load(folder / "model.ckpt", weights_only=True).items()}
    save_file(tensors, folder / "model.safetensors")
    model = TSR.from_pretrained(folder, weight_name="model.safetensors")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.decoder.layers[0].weight, tensors["decoder.layers.0.weight"].float())


def test_loading_initialises_nothing_and_imports_no_compiler(folder):
    """What made loading slow: random values that are overwritten, and the imports that meta tensors can trigger."""
    program = (
        "import sys, torch\n"
        "from dif3d_blender.engine import TSR\n"
        "state = torch.get_rng_state()\n"
        f"TSR.from_pretrained({str(folder)!r})\n"
        "print(torch.equal(state, torch.get_rng_state()), 'torch._dynamo' in sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"]


def test_cache_is_used_before_the_hub(folder, empty_cache, monkeypatch):
    monkeypatch.setattr(weights, "hf_hub_download", None)
    put_in_cache(empty_cache, "someone/something", folder)
    model = TSR.from_pretrained("someone/something")
    assert same_tensors(model, TSR.from_pretrained(folder))


def test_auto_prefers_the_published_weights_and_falls_back_to_the_embedded(folder, empty_cache, tmp_path, monkeypatch):
    embedded = tmp_path / "embedded"
    write_model(embedded)
    save_file(torch.load(embedded / "model.ckpt", weights_only=True), embedded / "model.safetensors")
    monkeypatch.setattr(weights, "EMBEDDED", embedded)
    assert weights.find_model("auto").label == "embedded"
    assert weights.find_model("embedded").weights == embedded / "model.safetensors"
    put_in_cache(empty_cache, weights.PUBLISHED, folder)
    assert weights.find_model("auto").label == weights.PUBLISHED


def test_no_download_without_permission(empty_cache, monkeypatch):
    monkeypatch.setattr(weights, "hf_hub_download", None)
    with pytest.raises(DIF3DError, match="not allowed"):
        weights.find_model("someone/something", allow_network=False)


@pytest.mark.parametrize("kind", [ConnectionError, HTTPError, LocalEntryNotFoundError])
def test_failed_download_says_so(empty_cache, monkeypatch, kind):
    def unreachable(*_, **__):
        raise kind("no route to host")

    monkeypatch.setattr(weights, "hf_hub_download", unreachable)
    with pytest.raises(DIF3DError, match="could not be downloaded: no route to host"):
        TSR.from_pretrained("someone/something")


@pytest.mark.parametrize("name", ["", "nothing here", "./missing", "a/b/c", "/missing", "bad name/bad name", "a/.."])
def test_unknown_names_are_refused(name, empty_cache):
    with pytest.raises(DIF3DError, match="no model"):
        weights.find_model(name, allow_network=True)


def test_missing_files_are_named(folder):
    (folder / "model.ckpt").unlink()
    with pytest.raises(DIF3DError, match=r"model\.ckpt or model\.safetensors"):
        TSR.from_pretrained(folder)
    with pytest.raises(DIF3DError, match=r"other\.yaml"):
        write_model(folder)
        TSR.from_pretrained(folder, config_name="other.yaml")


@pytest.mark.parametrize("text", ["a: [", "just words", "a: ${nowhere}", "\x00"])
def test_broken_settings_are_refused(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(DIF3DError, match=r"config\.yaml"):
        TSR.from_pretrained(folder)


def test_tensors_that_do_not_fit_are_named(folder):
    tensors = torch.load(folder / "model.ckpt", weights_only=True)
    del tensors["decoder.layers.0.bias"]
    tensors["decoder.extra"] = torch.zeros(1)
    tensors["tokenizer.embeddings"] = torch.zeros(3, 32, 2, 2)
    torch.save(tensors, folder / "model.ckpt")
    with pytest.raises(DIF3DError) as caught:
        TSR.from_pretrained(folder)
    message = str(caught.value)
    assert "1 missing: decoder.layers.0.bias" in message
    assert "1 unexpected: decoder.extra" in message
    assert "tokenizer.embeddings [3, 32, 2, 2] instead of [3, 32, 6, 6]" in message


def test_many_missing_tensors_are_counted(folder):
    torch.save({}, folder / "model.ckpt")
    with pytest.raises(DIF3DError, match=r"\d\d missing: .*, …"):
        TSR.from_pretrained(folder)


class _Trap:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _break(path: Path, how: str) -> None:
    whole = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif how == "number":
        torch.save(3, path)
    elif how == "nested":
        torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    elif how == "code":
        torch.save({"a": _Trap(path.with_name("trapped"))}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"a": _Trap(path.with_name("trapped"))}))


@pytest.mark.parametrize("how", ["empty", "truncated", "text", "pointer", "zip", "number", "nested", "code", "pickle"])
def test_broken_checkpoints_are_refused_and_never_run_code(folder, how):
    _break(folder / "model.ckpt", how)
    with pytest.raises(DIF3DError, match=r"model\.ckpt cannot be used"):
        TSR.from_pretrained(folder)
    assert not (folder / "trapped").exists()


@pytest.mark.parametrize("how", ["empty", "truncated", "text", "pointer"])
def test_broken_safetensors_are_refused(folder, how):
    path = folder / "model.safetensors"
    save_file(torch.load(folder / "model.ckpt", weights_only=True), path)
    _break(path, how)
    with pytest.raises(DIF3DError, match=r"model\.safetensors cannot be used"):
        TSR.from_pretrained(folder, weight_name="model.safetensors")
