"""The engine's environment: made once, resumed, checked; and what an artist reads when it cannot be made."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from dif3d_blender.blender import environment
from dif3d_blender.blender.environment import (
    Stopped,
    Stopper,
    check_interpreter,
    create_environment,
    is_ready,
    python_in,
)
from dif3d_blender.engine.errors import DIF3DError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def offline_pip(monkeypatch, tmp_path):
    """pip sees nothing but a folder with one tiny wheel of ours."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "dif3d-probe", "1.0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def write_wheel(folder, name, version, code=b"VALUE = 7\n"):
    """A wheel of one module."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)


def requirements(tmp_path, text="dif3d-probe\n"):
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return path


def quiet(stage, fraction):
    assert stage and 0 <= fraction <= 1


def test_an_environment_is_made_once_and_again_when_requirements_change(offline_pip, tmp_path):
    wanted, folder, stages = requirements(tmp_path), tmp_path / "env", []
    assert not is_ready(folder, wanted)
    python = create_environment(
        folder, wanted, sys.executable, lambda stage, fraction: stages.append((stage, fraction))
    )
    assert python == python_in(folder) and environment._ask(python, "import dif3d_probe as p; print(p.VALUE)") == "7\n"
    assert is_ready(folder, wanted) and stages[-1] == ("Ready", 1.0)
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    create_environment(folder, wanted, sys.executable, lambda *_: pytest.fail("nothing was to be done"))
    assert not is_ready(folder, wanted, extra=["bpy"])

    # an installation that broke off while pip copied files is begun anew; one that broke off elsewhere goes on
    (folder / environment.STAMP).unlink()
    (folder / environment.UNFINISHED).touch()
    (folder / "left-over").touch()
    create_environment(folder, wanted, sys.executable, quiet)
    assert is_ready(folder, wanted) and not (folder / "left-over").exists()
    assert environment.size_on_disk(folder) > 1e6

    (tmp_path / "cache").mkdir()
    environment.remove_environment(folder, tmp_path / "cache", quiet)
    assert not folder.exists() and not (tmp_path / "cache").exists() and not is_ready(folder, wanted)


def test_what_cannot_be_removed_counts_as_not_installed(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Access is denied", str(path))

    monkeypatch.setattr(environment.shutil, "rmtree", refuse)
    (tmp_path / environment.STAMP).write_text("{}")
    with pytest.raises(DIF3DError, match=r"Access is denied.*try again"):
        environment.remove_environment(tmp_path, tmp_path / "cache", quiet)
    assert not environment.read_stamp(tmp_path) and not (tmp_path / environment.STAMP).exists()


def test_an_optional_package_that_is_not_to_be_had_is_left_out_and_named(offline_pip, tmp_path):
    wanted = requirements(tmp_path, "xatlas\ndif3d-probe\nopen3d==0.20.0\n")
    create_environment(tmp_path / "env", wanted, sys.executable, quiet)
    assert is_ready(tmp_path / "env", wanted)
    assert environment.read_stamp(tmp_path / "env")["missing"] == ["open3d", "xatlas"]


def test_cancel_leaves_something_that_the_next_attempt_finishes(offline_pip, tmp_path):
    stopper, wanted = Stopper(), requirements(tmp_path)

    def stop_soon(stage, fraction):
        if stage == "Making the environment":
            threading.Timer(0.3, stopper.stop).start()

    with pytest.raises(Stopped):
        create_environment(tmp_path / "env", wanted, sys.executable, stop_soon, stopper=stopper)
    assert not is_ready(tmp_path / "env", wanted)
    create_environment(tmp_path / "env", wanted, sys.executable, quiet)
    assert is_ready(tmp_path / "env", wanted)


def test_no_network_and_unknown_packages_are_told_apart(offline_pip, tmp_path, monkeypatch):
    with pytest.raises(DIF3DError, match="There is no dif3d-unknown for this Python"):
        create_environment(tmp_path / "env", requirements(tmp_path, "dif3d-unknown\n"), sys.executable, quiet)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(DIF3DError, match=r"no connection to the package index(.|\n)*dif3d-setup.log"):
        create_environment(tmp_path / "env", requirements(tmp_path, "dif3d-unknown\n"), sys.executable, quiet)


def test_stopping_what_has_ended_kills_nobody(monkeypatch):
    killed = []
    monkeypatch.setattr(environment, "end_group", lambda process, force: killed.append(process))
    stopper, ended = Stopper(), subprocess.Popen([sys.executable, "-c", ""])
    stopper.watch(ended)
    ended.wait()
    stopper.stop()
    assert not killed  # its number may be another program's by now
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stopper.watch(running)
    running.communicate(b"\n")
    assert killed == [running]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "is full"),
        ("ERROR: Could not install packages: [Errno 13] Permission denied: '/x'", "cannot be written"),
        (
            "WARNING: Retrying after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: "
            "CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate'))': /simple/numpy/",
            "set PIP_CERT",
        ),
        ("ERROR: [Errno 2] No such file\nHINT: … does not have Windows Long Path support enabled.", "LongPathsEnabled"),
        ("ERROR: something new", "something new"),
        ("Failed to build scipy\nerror: failed-wheel-build-for-install\n╰─> scipy", "no ready-made scipy"),
    ],
)
def test_pip_failures_in_words(output, words, tmp_path):
    assert words in environment.explain_pip(output, tmp_path)


def test_a_full_disk_is_seen_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "SPACE", dict.fromkeys(environment.SPACE, 1e18))
    with pytest.raises(DIF3DError, match="Make room"):
        create_environment(tmp_path / "env", requirements(tmp_path), sys.executable, quiet)
    assert not (tmp_path / "env").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DIF3DError, match="could not be written"):
        create_environment(tmp_path / "file" / "env", requirements(tmp_path), sys.executable, quiet)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thesis.txt").write_text("years of work")
    with pytest.raises(DIF3DError, match="other files"):
        create_environment(tmp_path / "env", requirements(tmp_path), sys.executable, quiet)
    assert (tmp_path / "env" / "thesis.txt").exists()


def test_two_installations_into_one_folder_do_not_mix(tmp_path):
    (tmp_path / "env").mkdir()
    with environment._only_one(tmp_path / "env"), pytest.raises(DIF3DError, match="Another installation"):
        create_environment(tmp_path / "env", requirements(tmp_path), sys.executable, quiet)


def script(tmp_path, text):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 3 9", "is Python 3.9; the engine needs"),
        ("echo hello", "not a Python"),
        ("exit 1", "not a working Python"),
    ],
)
def test_an_unfit_interpreter_says_why(tmp_path, text, words):
    with pytest.raises(DIF3DError, match=words):
        environment.check_version(script(tmp_path, text))


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DIF3DError, match="There is no Python interpreter"):
        check_interpreter(tmp_path / "python", requirements(tmp_path))


def test_python_without_ensurepip_says_what_to_install(tmp_path):
    python = script(
        tmp_path, 'case "$2" in venv) echo ensurepip is not available; exit 1;; pip) exit 1;; *) echo 3 11;; esac'
    )
    with pytest.raises(DIF3DError, match=r"apt install python3\.11-venv"):
        create_environment(tmp_path / "env", requirements(tmp_path), python, quiet)


def test_missing_packages_are_listed_by_name(tmp_path):
    wanted = requirements(tmp_path, '# c\nnumpy\nno_such.package==1  # c\nother; python_version < "3.0"\n--no-index\n')
    assert check_interpreter(sys.executable, wanted) == ["no-such-package"]


def test_our_own_requirements_can_be_read():
    for version in ((3, 11), (3, 12), (3, 13), (3, 14)):
        lines = environment._requirement_lines(ROOT / "vendor_requirements.txt")
        names = [environment._name(line) for line in lines if environment._applies(line, version)]
        assert "torch" in names and len(names) == len(set(names))
        assert set(names) >= environment.OPTIONAL - {"open3d"}


@pytest.mark.parametrize(
    ("system", "gpu", "build"),
    [("Darwin", False, "apple"), ("Linux", False, "cpu"), ("Windows", False, "cpu"), ("Windows", True, "cuda")],
)
def test_the_machine_is_looked_at(monkeypatch, tmp_path, system, gpu, build):
    script(tmp_path, "echo GPU 0: NVIDIA" if gpu else "echo No devices found.").rename(tmp_path / "nvidia-smi")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment.platform, "system", lambda: system)
    assert environment.torch_build() == build


@pytest.mark.parametrize(
    ("build", "own_index", "asked"), [("cpu", 0, 1), ("cuda", 0, 1), ("apple", 0, 0), ("cpu", 1, 0)]
)
def test_uv_chooses_the_build_of_torch(offline_pip, tmp_path, monkeypatch, build, own_index, asked):
    said = tmp_path / "said"
    code = f"import json, os, sys\njson.dump([*sys.argv[1:], os.environ['UV_CACHE_DIR']], open({str(said)!r}, 'w'))\n"
    write_wheel(offline_pip, "uv", "1.0", code.encode())
    write_wheel(offline_pip, "torch", "2.0")
    monkeypatch.setattr(environment, "torch_build", lambda: build)
    monkeypatch.setattr(environment._Pip, "has_own_index", lambda _: own_index)
    wanted, cache = requirements(tmp_path, "dif3d-probe\ntorch==2.0\n"), tmp_path / "cache"
    create_environment(tmp_path / "env", wanted, sys.executable, quiet, cache=cache)
    assert said.exists() == bool(asked)
    if asked:
        words = json.loads(said.read_text())
        assert words[:2] == ["pip", "install"] and words[-2:] == ["torch==2.0", str(cache / "uv")]
        assert words[words.index("--torch-backend") + 1] == "auto"
        assert words[words.index("--python") + 1] == str(python_in(tmp_path / "env"))
    assert is_ready(tmp_path / "env", wanted), "where uv installed nothing, pip does"


def test_a_broken_stamp_counts_as_none(tmp_path):
    (tmp_path / environment.STAMP).write_text("{")
    assert not is_ready(tmp_path, requirements(tmp_path))
    (tmp_path / environment.STAMP).write_text(json.dumps({"requirements": "other"}))
    assert not is_ready(tmp_path, requirements(tmp_path))
