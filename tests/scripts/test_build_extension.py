"""The extension's archive: what is in it, that it is the same each time, and what is refused."""

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import build_extension  # noqa: E402


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build_extension.build(tmp_path_factory.mktemp("dist"), build_extension.members())


def test_the_archive_is_the_package_with_its_manifest_at_the_root(archive):
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.testzip() is None
        names = set(zipped.namelist())
        manifest = tomllib.loads(zipped.read("blender_manifest.toml").decode())
    assert names >= {"__init__.py", "messages.py", "LICENSE", "vendor_requirements.txt", "engine/worker.py"}
    assert not any(name.endswith(".pyc") or name.startswith("dif3d_blender/") for name in names)
    assert archive.name == f"dif3d_blender-{manifest['version']}.zip"
    assert archive.stat().st_size <= build_extension.LIMIT


def test_the_version_number_has_one_home():
    import dif3d_blender

    version = tomllib.loads((ROOT / "blender_manifest.toml").read_text())["version"]
    assert dif3d_blender.version() == version
    python = [*(ROOT / "dif3d_blender").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    assert not [path for path in python if f'"{version}"' in path.read_text(encoding="utf-8")]
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text()).get("project", {})


def test_the_installed_package_finds_its_version_too(archive, tmp_path):
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path / "installed")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import installed; print(installed.version())"
    command = [sys.executable, "-c", code, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() in archive.name


def test_the_same_files_make_the_same_archive(archive, tmp_path):
    again = build_extension.build(tmp_path, build_extension.members())
    assert again.read_bytes() == archive.read_bytes()


def test_the_index_describes_the_archive(archive):
    index = json.loads((archive.parent / "index.json").read_text())
    (entry,) = index["data"]
    assert index["version"] == "v1" and entry["id"] == "dif3d_blender"
    assert entry["archive_url"] == f"./{archive.name}" and entry["archive_size"] == archive.stat().st_size
    assert entry["permissions"].keys() == {"files", "network"}


def test_nothing_is_packed_without_the_embedded_model(monkeypatch, tmp_path, capsys):
    files = {name: path for name, path in build_extension.members().items() if "embedded" not in name}
    monkeypatch.setattr(build_extension, "members", lambda: files)
    monkeypatch.setattr(sys, "argv", ["build_extension.py", "--output", str(tmp_path)])
    assert build_extension.main() == 1 and not list(tmp_path.iterdir())
    assert "model.safetensors" in capsys.readouterr().err


def test_an_archive_over_the_limit_is_refused(monkeypatch, tmp_path, capsys):
    stand_ins = dict.fromkeys(build_extension.EMBEDDED, ROOT / "LICENSE")
    files = stand_ins | {name: ROOT / name for name in build_extension.BESIDE}
    monkeypatch.setattr(build_extension, "members", lambda: files)
    monkeypatch.setattr(build_extension, "LIMIT", 1000)
    monkeypatch.setattr(sys, "argv", ["build_extension.py", "--output", str(tmp_path)])
    assert build_extension.main() == 1
    assert "more than" in capsys.readouterr().err
