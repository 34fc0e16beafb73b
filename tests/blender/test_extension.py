"""The packed extension in whole Blenders: pip's `bpy`, and the real ones of ../shared where they can be had."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared"
REAL = SHARED / "real_blender.sh"
FAKE = HERE / "fake_worker.py"
EMBEDDED = ROOT / "dif3d_blender" / "engine" / "embedded" / "model.safetensors"

sys.path.insert(0, str(ROOT / "scripts"))
import build_extension  # noqa: E402

needs_real = pytest.mark.skipif(
    not REAL.exists() or os.name == "nt" or os.getuid() != 0,
    reason="no real Blender here (../shared/real_blender.sh, root)",
)
VERSIONS = [pytest.param(version, marks=needs_real) for version in ("4.3", "5.2")]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build_extension.build(tmp_path_factory.mktemp("dist"), build_extension.members())


@pytest.fixture
def settings(tmp_path):
    """What the scripts inside Blender are told."""
    picture = tmp_path / "subject.png"
    write_picture(picture)
    if EMBEDDED.exists():
        model = "embedded"
    elif (SHARED / "reference" / "fitted").exists():
        model = str(SHARED / "reference" / "fitted")
    else:
        pytest.skip("no model: neither the embedded one nor ../shared/reference")
    return {"python": sys.executable, "model": model, "picture": str(picture), "worker": str(FAKE)}


def write_picture(path):
    """A ball on transparency."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    inside = x**2 + y**2 < 0.6
    light = np.clip(0.5 - 0.3 * x - 0.4 * y, 0, 1)
    color = np.stack([light, light * 0.4, light * 0.1, inside], -1)
    Image.fromarray((color * 255).astype(np.uint8)).save(path)


def real_blender(version, arguments, tmp_path, settings=None, **how):
    """Start a real Blender for a user of its own."""
    environment = os.environ | {"BLENDER_HOME": str(tmp_path / "home"), "DIF3D_TEST": json.dumps(settings)}
    return subprocess.Popen(
        ["bash", str(REAL), version, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **how,
    )


def finish(process, seconds=600):
    """Wait for a process; fail with what it printed where it did not end well."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("timed out:\n" + process.communicate()[0][-3000:])
    assert process.returncode == 0, output[-3000:]
    return output


def install(version, archive, tmp_path):
    command = ["--command", "extension", "install-file", "-r", "user_default", "-e", archive]
    assert "Installed" in finish(real_blender(version, command, tmp_path))


def test_the_extension_in_pip_bpy(archive, settings, tmp_path):
    pytest.importorskip("bpy")
    environment = os.environ | {
        "BLENDER_USER_RESOURCES": str(tmp_path / "user"),
        "DIF3D_TEST": json.dumps(settings | {"archive": str(archive)}),
    }
    command = [sys.executable, str(HERE / "in_blender" / "headless.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "ALL CHECKS PASSED" in done.stdout, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_extension_in_a_real_blender(version, archive, settings, tmp_path):
    assert "Success" in finish(real_blender(version, ["--command", "extension", "validate", archive], tmp_path))
    install(version, archive, tmp_path)
    script = ["-b", "--python-exit-code", "1", "--python", HERE / "in_blender" / "headless.py"]
    assert "ALL CHECKS PASSED" in finish(real_blender(version, script, tmp_path, settings))


@pytest.mark.parametrize("version", VERSIONS)
def test_our_index_is_the_one_that_blender_makes(version, archive, tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / archive.name).write_bytes(archive.read_bytes())
    finish(real_blender(version, ["--command", "extension", "server-generate", "--repo-dir", folder], tmp_path))
    theirs, ours = (json.loads((where / "index.json").read_text()) for where in (folder, archive.parent))
    assert theirs == ours


@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_blender_leaves_no_engine(version, archive, settings, tmp_path):
    install(version, archive, tmp_path)
    blender = real_blender(version, ["-b", "--python", HERE / "in_blender" / "killed.py"], tmp_path, settings)
    pid = next(int(line.split()[1]) for line in blender.stdout if line.startswith("ENGINE"))
    assert alive(pid)
    blender.kill()
    blender.communicate()
    deadline = time.monotonic() + 2
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
