"""Models that can be fetched: where each comes from, how large it is, and whether a copy is whole.

No `bpy` here, and the standard library only. A download goes to a file named `….part`, goes on there when it is tried
again, and gets its name only when its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import DIF3DError
from .environment import Report, Stopper

BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class ModelFile:
    name: str
    url: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model as the preferences list it."""

    key: str  # also the name of its folder
    label: str
    source: str
    license: str
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def is_in(self, folder: Path) -> bool:
        """Whether every file is in `folder`/key with its full size."""
        return all(_size(folder / self.key / file.name) == file.size for file in self.files)


_TRIPOSR = "https://huggingface.co/stabilityai/TripoSR/resolve/5b521936b01fbe1890f6f9baed0254ab6351c04a/"

TRIPOSR = Model(
    "triposr",
    "TripoSR",
    "huggingface.co/stabilityai/TripoSR",
    "MIT",
    (
        ModelFile(
            "config.yaml",
            _TRIPOSR + "config.yaml",
            987,
            "74ca708ce086bf68e97709ea6b3d91f14717921c04691e84043f0eb8fcc68e62",
        ),
        ModelFile(
            "model.ckpt",
            _TRIPOSR + "model.ckpt",
            1_677_246_742,
            "429e2c6b22a0923967459de24d67f05962b235f79cde6b032aa7ed2ffcd970ee",
        ),
    ),
)
REMBG = Model(
    "u2net",
    "Background removal (U²-Net)",
    "github.com/danielgatis/rembg",
    "Apache-2.0",
    (
        ModelFile(
            "u2net.onnx",
            "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
            175_997_641,
            "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        ),
    ),
)
DEPTH = "vinvino02/glpn-nyu"  # not among them: we know no digest to hold a download against
MODELS = {model.key: model for model in (TRIPOSR, REMBG)}


def download(model: Model, folder: Path, report: Report, stopper: Stopper) -> None:
    """Fetch the files of `model` that `folder`/key lacks.

    Raises:
        Stopped: the stopper was used; what was fetched stays, and the next download goes on from there.
        DIF3DError: no connection, no space, or a file that is not what it should be.
    """
    target = folder / model.key
    done = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        missing = sum(
            f.size - _size(target / (f.name + ".part")) for f in model.files if not (target / f.name).exists()
        )
        free = shutil.disk_usage(target).free
        if free < missing:
            raise DIF3DError(
                f"{model.label} needs {missing / 1e6:.0f} MB more, and the disk of {target} has "
                f"{free / 1e6:.0f} MB free. Make room and try again."
            )
        for file in model.files:
            if _size(target / file.name) != file.size:
                _fetch(model, file, target / file.name, done, report, stopper)
            done += file.size
    except urllib.error.HTTPError as error:
        raise DIF3DError(f"{model.source} answered {error.code} {error.reason}. Try again later.") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DIF3DError(
            f"The connection to {model.source} failed ({reason}). Try again: it goes on where it stopped."
        ) from error
    except OSError as error:
        raise DIF3DError(f"{model.label} could not be written to {target}: {error}.") from error


def remove(model: Model, folder: Path) -> None:
    """Delete the files of `model`."""
    try:
        if (folder / model.key).exists():
            shutil.rmtree(folder / model.key)
    except OSError as error:
        raise DIF3DError(
            f"{folder / model.key} could not be removed: {error}. End the engine and try again."
        ) from error


def _fetch(model: Model, file: ModelFile, path: Path, before: int, report: Report, stopper: Stopper) -> None:
    """Fetch one file; `before` is the size of the model's files that are already there."""
    part = path.with_name(path.name + ".part")
    with part.open("ab+") as out:
        digest, have = hashlib.sha256(), 0
        out.seek(0)
        while block := out.read(BLOCK):  # what an earlier attempt fetched
            stopper.check()
            digest.update(block)
            have += len(block)
        if have < file.size:
            request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
            with urllib.request.urlopen(request, timeout=30) as response:
                if have and response.status != 206:  # the server begins anew, so do we
                    out.truncate(0)
                    digest, have = hashlib.sha256(), 0
                while block := response.read(BLOCK):
                    stopper.check()
                    out.write(block)
                    digest.update(block)
                    have += len(block)
                    done, all_of_it = before + have, model.size
                    report(f"{model.label}: {done / 1e6:.0f} of {all_of_it / 1e6:.0f} MB", min(1.0, done / all_of_it))
            if have < file.size:
                raise ConnectionError("it broke off")
    if have != file.size or digest.hexdigest() != file.sha256:
        part.unlink()
        raise DIF3DError(
            f"{file.name} from {model.source} is damaged, or another file has taken its place (wrong SHA-256). "
            "What was fetched is deleted; try again."
        )
    part.replace(path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
