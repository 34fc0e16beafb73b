"""UV coordinates by xatlas, in a process of its own, so that one that would take minutes can be stopped."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .errors import DIF3DError


class UnwrapError(DIF3DError):
    """A mesh that got no UVs here; another unwrapper may do it."""


TIME_LIMIT = 240.0  # seconds

# Padding in texels of a 1K map: islands do not touch until the fourth mip level.
_PROGRAM = """
import sys
import numpy as np
import xatlas
folder = sys.argv[1]
atlas = xatlas.Atlas()
atlas.add_mesh(np.load(folder + "/vertices.npy"), np.load(folder + "/faces.npy"))
chart, pack = xatlas.ChartOptions(), xatlas.PackOptions()
pack.resolution, pack.padding, pack.bilinear = 1024, 4, True
atlas.generate(chart, pack)
_, faces, uv = atlas[0]
np.save(folder + "/uv.npy", uv[faces])
"""


def unwrap(vertices: np.ndarray, faces: np.ndarray, seconds: float = TIME_LIMIT) -> np.ndarray:
    """Return UV coordinates of the corners of each face, float32 [m, 3, 2] in [0, 1], (0, 0) at the bottom left.

    Args:
        vertices: [n, 3].
        faces: [m, 3] indices into them. Faces without area get UVs without area.
        seconds: it is stopped after that long.

    Raises:
        UnwrapError: it took too long, xatlas is missing or failed on this mesh. The message says which.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="dif3d-unwrap-") as folder:
            np.save(Path(folder) / "vertices.npy", np.ascontiguousarray(vertices, np.float32))
            np.save(Path(folder) / "faces.npy", np.ascontiguousarray(faces, np.uint32))
            subprocess.run(
                [sys.executable, "-P", "-c", _PROGRAM, folder],  # -P: no modules from the folder that one stands in
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=True,
            )
            uv = np.load(Path(folder) / "uv.npy", allow_pickle=False)
    except subprocess.TimeoutExpired as error:
        raise UnwrapError(
            f"Unwrapping {len(faces):,} faces was stopped after {seconds:g} s. Set a lower face limit."
        ) from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UnwrapError(f"xatlas could not unwrap {len(faces):,} faces ({lines[-1]}).") from error
    except OSError as error:
        raise UnwrapError(f"The folder for temporary files can't be used ({error}). Make room there.") from error
    if uv.shape != (len(faces), 3, 2) or not np.isfinite(uv).all():
        raise UnwrapError(f"xatlas left some of the {len(faces):,} faces without UV coordinates.")
    return uv.astype(np.float32).clip(0, 1)
