"""Starting whole Blenders from the tests: the real ones of ../shared, where they can be had."""

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared"
REAL = SHARED / "real_blender.sh"
FAKE = HERE / "fake_worker.py"
EMBEDDED = ROOT / "dif3d_blender" / "engine" / "embedded" / "model.safetensors"

needs_real = pytest.mark.skipif(
    not REAL.exists() or os.name == "nt" or os.getuid() != 0,
    reason="no real Blender here (../shared/real_blender.sh, root)",
)
VERSIONS = [pytest.param(version, marks=needs_real) for version in ("4.3", "5.2")]


def drop_stale_mounts():
    """Unmount from the real Blenders' roots what shows folders that are gone.

    The script binds the top folder of a checkout into Blender's root once and keeps it there. Where that folder was
    deleted since and made anew, Blender would go on seeing the deleted one, which is empty.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        source, target = line.split()[3:5]
        if source.endswith("//deleted") and target.startswith("/opt/real-blender/"):
            subprocess.run(["umount", "--lazy", target], check=False)  # one within another is gone with it


def real_blender(version, arguments, tmp_path, settings=None, **how):
    """Start a real Blender for a user of its own."""
    drop_stale_mounts()
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


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
