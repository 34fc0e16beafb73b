"""Finding, reading and assigning the tensors of a model.

A model is a folder with a `config.yaml` and a file of tensors. Files are read with `weights_only=True` or as
safetensors: neither can run code. They are mapped into memory, so that reading costs no more than what is used.
"""

from __future__ import annotations

import logging
import pickle  # for the name of an exception of torch.load(weights_only=True); nothing is unpickled here
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from yaml import YAMLError

from .errors import DIF3DError
from .files import atomic_path
from .memory import release_pages
from .precision import choose_precision, large_weights

PUBLISHED = "stabilityai/TripoSR"
EMBEDDED = Path(__file__).parent / "embedded"
_WORTH_CONVERTING = 100_000_000  # bytes of a float32 file from which a 16-bit copy is kept
_ABANDONED = 3600.0  # seconds after which an unfinished copy is nobody's
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """Where a model's files are. `label` names the model in reports."""

    config: Path
    weights: Path
    label: str


def find_model(
    name: str = "auto", allow_network: bool = False, config_name: str = "config.yaml", weight_name: str = "model.ckpt"
) -> ModelFiles:
    """Find the files of a model.

    Args:
        name: "auto" (the published weights if they are in the Hugging Face cache, else the embedded model), "embedded",
            a folder, or the name of a Hugging Face repository.
        allow_network: whether a repository may be downloaded.
        config_name: the settings' file name.
        weight_name: the tensors' file name. Where it is missing, the same with `.safetensors` is looked for.

    Raises:
        DIF3DError: there is no such model here, with what to do about it.
    """
    weight_names = list(dict.fromkeys([weight_name, Path(weight_name).with_suffix(".safetensors").name]))
    if name == "auto":
        return _find_cached(PUBLISHED, config_name, weight_names) or find_model("embedded")
    if name == "embedded":
        return _find_in_folder(EMBEDDED, "config.yaml", ["model.safetensors"], "embedded")
    if Path(name).expanduser().is_dir():
        return _find_in_folder(Path(name).expanduser(), config_name, weight_names, name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise DIF3DError(
            f"There is no model {name!r}: it is no folder, and not the name of a Hugging Face repository (owner/name). "
            'Give a folder that holds config.yaml and model.ckpt, a repository name, "auto" or "embedded".'
        )
    found = _find_cached(name, config_name, weight_names)
    if found is None and not allow_network:
        raise DIF3DError(
            f"The model {name!r} is not on this machine, and downloading is not allowed. Allow it (--allow-network, or "
            'online access in Blender\'s preferences), give a folder that holds the model, or use "embedded".'
        )
    return found or _download(name, config_name, weight_names)


def _find_in_folder(folder: Path, config_name: str, weight_names: list[str], label: str) -> ModelFiles:
    config = folder / config_name
    weights = next((folder / name for name in weight_names if (folder / name).is_file()), None)
    if weights is None or not config.is_file():
        missing = config_name if weights is not None else " or ".join(weight_names)
        raise DIF3DError(f"The model folder {folder} has no {missing}.")
    return ModelFiles(config, weights, label)


def _find_cached(repository: str, config_name: str, weight_names: list[str]) -> ModelFiles | None:
    def cached(file_name: str) -> Path | None:
        found = try_to_load_from_cache(repository, file_name)
        return Path(found) if isinstance(found, str) else None  # else unknown, or known not to exist

    try:
        config, weights = cached(config_name), next(filter(None, map(cached, weight_names)), None)
    except HFValidationError as error:
        raise DIF3DError(f"There is no model {repository!r}: {error}") from error
    return ModelFiles(config, weights, repository) if config and weights else None


def _download(repository: str, config_name: str, weight_names: list[str]) -> ModelFiles:
    def fetch(file_name: str) -> Path:
        return Path(hf_hub_download(repository, file_name))

    try:
        config = fetch(config_name)
        try:
            weights = fetch(weight_names[0])
        except EntryNotFoundError:
            weights = fetch(weight_names[-1])
    except LocalEntryNotFoundError as error:  # of which the message tells why: no connection, as a rule
        raise DIF3DError(f"The model {repository!r} could not be downloaded: {error}") from error
    except RepositoryNotFoundError as error:
        raise DIF3DError(f"Hugging Face has no public model {repository!r}. Check its name.") from error
    except EntryNotFoundError as error:
        raise DIF3DError(
            f"The Hugging Face model {repository!r} lacks {config_name} or {' or '.join(weight_names)}: "
            "it is not a model of this kind."
        ) from error
    except (OSError, ValueError, HTTPError) as error:  # what the hub client raises when connection or disk fail
        raise DIF3DError(f"The model {repository!r} could not be downloaded: {error}") from error
    return ModelFiles(config, weights, repository)


def read_config(path: Path) -> DictConfig:
    """Return the settings in a `config.yaml`, with every `${…}` resolved.

    Raises:
        DIF3DError: the file cannot be read, or is not YAML with settings.
    """
    try:
        config = OmegaConf.load(path)
        OmegaConf.resolve(config)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise DIF3DError(f"The model's settings {path} cannot be read: {error}") from error
    if not isinstance(config, DictConfig):
        raise DIF3DError(f"The model's settings {path} cannot be read: they are no list of names and values.")
    return config


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file or a torch checkpoint by name, on the CPU, mapped into memory.

    Raises:
        DIF3DError: the file is missing, truncated, of another kind, or holds more than tensors.
    """
    if not path.is_file():
        raise DIF3DError(f"The model file {path} does not exist.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DIF3DError(_unreadable(path, f"it is truncated or no safetensors file ({error})")) from error
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            is_pointer = file.read(64).startswith(b"version https://git-lfs")
        kind = "only a Git LFS pointer, not the file itself" if is_pointer else "truncated or no torch checkpoint"
        raise DIF3DError(_unreadable(path, f"it is {kind}"))
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise DIF3DError(_unreadable(path, "it holds more than tensors, which could run code")) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise DIF3DError(_unreadable(path, f"it is damaged or no torch checkpoint ({error})")) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DIF3DError(_unreadable(path, "it holds something else than named tensors"))
    return tensors


def _unreadable(path: Path, reason: str) -> str:
    return f"The model file {path} cannot be used: {reason}. Fetch it again, or name another model."


def assign_tensors(
    model: nn.Module, path: Path, precision: str = "float32", device: str | torch.device = "cpu"
) -> None:
    """Make the tensors of a file the parameters of `model` (which may be on the meta device), on the CPU.

    Where 16-bit weights are wanted of a large float32 file, they are written beside it once, and read from there ever
    after: half the bytes to read and to hold.

    Args:
        model: a `TSR`.
        path: the file of tensors.
        precision: format of the large layers, as `choose_precision` takes it; everything else is float32.
        device: where the model will run.

    Raises:
        DIF3DError: the file cannot be read, its tensors are not those of the model, or the precision is not known.
    """
    dtype = choose_precision(precision, device, sum(parameter.numel() for parameter in model.parameters()))
    large = large_weights(model) if dtype != torch.float32 else set()
    small_file = path.with_name(f"{path.stem}.{str(dtype).removeprefix('torch.')}.safetensors")
    tensors = _read_converted(small_file, path) if large else None
    if tensors is None:
        tensors = read_tensors(path)
        _check_fit(model, tensors, path)
        tensors = {
            name: _converted(tensor, dtype if name in large else torch.float32) for name, tensor in tensors.items()
        }
        if large and path.stat().st_size >= _WORTH_CONVERTING:
            tensors = _write_converted(small_file, path, tensors)
    else:
        _check_fit(model, tensors, small_file)
    model.load_state_dict(tensors, assign=True)


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another format; what was read of it from its file need not stay in memory."""
    converted = tensor.to(dtype)
    release_pages([tensor])
    return converted


def _read_converted(path: Path, source: Path) -> dict[str, Tensor] | None:
    """The tensors of the 16-bit file at `path`; None where there is none, or it was made of another `source`."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("source") != _fingerprint(source):
                return None
        return load_file(path)
    except (SafetensorError, OSError):  # missing, or damaged: it will be written anew
        return None


def _write_converted(path: Path, source: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Write the 16-bit file; return its tensors, mapped, or those given where it cannot be written."""
    try:
        for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):  # by a program that was ended while it wrote
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink(missing_ok=True)
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"source": _fingerprint(source)})
            temporary.chmod(source.stat().st_mode & 0o777)
        return load_file(path)
    except (DIF3DError, SafetensorError, OSError) as error:
        _log.info("The 16-bit copy of %s was not kept: %s", source, error)
        return tensors


def _fingerprint(path: Path) -> str:
    status = path.stat()
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


def _check_fit(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    shared = expected.keys() & tensors.keys()
    problems = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "wrongly shaped": [
            f"{name} {list(tensors[name].shape)} instead of {list(expected[name])}"
            for name in sorted(shared)
            if tensors[name].shape != expected[name]
        ],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            for kind, names in problems.items()
            if names
        )
        raise DIF3DError(f"The tensors in {path} do not fit the model's config.yaml ({listed}).")
