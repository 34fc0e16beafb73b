"""Take the pictures of the panel in real Blenders: `python tests/blender/take_pictures.py PICTURE FOLDER`.

Needs Xvfb and ImageMagick. PICTURE is what the panel shows; FOLDER gets blender-VERSION-STATE.png.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]

import build_extension  # noqa: E402
from blenders import HERE, install, real_blender  # noqa: E402
from test_window import screen  # noqa: E402

WIDTH, HEIGHT = 1280, 900


def take(version: str, picture: Path, target: Path) -> None:
    """Run pictures.py in a real Blender and take the pictures that it asks for."""
    folder = Path(tempfile.gettempdir(), "artist")  # the panel shows it
    shots = folder / "shots"
    shots.mkdir(parents=True)
    with screen(WIDTH, HEIGHT) as display:
        shown = folder / picture.name
        shown.write_bytes(picture.read_bytes())
        install(version, build_extension.build(folder / "dist", build_extension.members()), folder)
        os.environ["DISPLAY"] = display
        arguments = ["-p", "0", "0", WIDTH, HEIGHT, "--python", HERE / "in_blender" / "pictures.py"]
        told = {"python": sys.executable, "picture": str(shown), "shots": str(shots)}
        blender = real_blender(version, arguments, folder, told)
        while blender.poll() is None:
            for wanted in shots.iterdir():
                time.sleep(1)  # the panel is drawn by now
                made = folder / "screen.png"
                subprocess.run(["import", "-display", display, "-window", "root", str(made)], check=True)
                taken = target / f"blender-{version}-{wanted.name}.png"
                subprocess.run(["convert", str(made), "+dither", "-colors", "256", f"PNG8:{taken}"], check=True)
                wanted.unlink()
            time.sleep(0.1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    for version in ("4.3", "5.2"):
        take(version, Path(sys.argv[1]), Path(sys.argv[2]))
