"""The packed extension in whole Blenders: pip's `bpy`, and the real ones of ../shared where they can be had."""

import json
import os
import subprocess
import sys
import time

import pytest
from blenders import HERE, VERSIONS, alive, finish, install, real_blender

SCRIPTS = ("headless.py", "tomorrow.py")  # each in a Blender of its own; the first one uninstalls the extension


def test_the_extension_in_pip_bpy(archive, settings, tmp_path):
    pytest.importorskip("bpy")
    told = settings | {"archive": str(archive), "blend": str(tmp_path / "kept.blend")}
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "user"), "DIF3D_TEST": json.dumps(told)}
    for script in SCRIPTS:
        command = [sys.executable, str(HERE / "in_blender" / script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0 and "ALL CHECKS PASSED" in done.stdout, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_extension_in_a_real_blender(version, archive, settings, tmp_path):
    assert "Success" in finish(real_blender(version, ["--command", "extension", "validate", archive], tmp_path))
    told = settings | {"blend": str(tmp_path / "kept.blend")}
    for script in SCRIPTS:
        install(version, archive, tmp_path)
        command = ["-b", "--python-exit-code", "1", "--python", HERE / "in_blender" / script]
        assert "ALL CHECKS PASSED" in finish(real_blender(version, command, tmp_path, told))


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
