#!/usr/bin/env python3
"""Pack the extension: dist/dif3d_blender-VERSION.zip, and the index that makes the folder an extension repository.

    python3 scripts/build_extension.py [--output DIR]

Install the archive in Blender (Preferences ▸ Get Extensions ▸ Install from Disk), or put the folder on a web server and
add the address of its index.json as a repository. The same files always give the same archive, byte for byte.
"""

import argparse
import hashlib
import json
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("blender_manifest.toml", "vendor_requirements.txt", "LICENSE")  # files that lie beside the package in git
EMBEDDED = ("engine/embedded/config.yaml", "engine/embedded/model.safetensors")
LIMIT = 40 * 1024 * 1024  # bytes: what an artist downloads
STAMP = (1980, 1, 1, 0, 0, 0)


def members(root: Path = ROOT) -> dict[str, Path]:
    """The files of the archive: name inside it, and where it comes from."""
    package = root / "dif3d_blender"
    found = {path.relative_to(package): path for path in package.rglob("*") if path.is_file()}
    shipped = {
        name.as_posix(): path
        for name, path in found.items()
        if name.suffix != ".pyc" and not any(part.startswith(".") for part in name.parts)
    }
    return dict(sorted((shipped | {name: root / name for name in BESIDE}).items()))


def build(output: Path, files: dict[str, Path]) -> Path:
    """Write the archive of `files` and the index into the folder `output`; return the archive."""
    manifest = tomllib.loads(files["blender_manifest.toml"].read_text(encoding="utf-8"))
    output.mkdir(parents=True, exist_ok=True)
    archive = output / f"{manifest['id']}-{manifest['version']}.zip"
    temporary = archive.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        for name, path in files.items():
            info = zipfile.ZipInfo(name, STAMP)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            zipped.writestr(info, path.read_bytes())
    temporary.replace(archive)
    write_index(output, archive, manifest)
    return archive


def write_index(output: Path, archive: Path, manifest: dict) -> None:
    """Write the repository's index.json, as `blender --command extension server-generate` would."""
    entry = {key: value for key, value in manifest.items() if key not in ("build",)} | {
        "archive_url": f"./{archive.name}",
        "archive_size": archive.stat().st_size,
        "archive_hash": "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest(),
    }
    temporary = output / "index.json.tmp"
    temporary.write_text(json.dumps({"version": "v1", "blocklist": [], "data": [entry]}, indent=2), encoding="utf-8")
    temporary.replace(output / "index.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the archive (default: dist)")
    output = parser.parse_args().output
    files = members()
    missing = [name for name in (*EMBEDDED, *BESIDE) if name not in files or not files[name].exists()]
    if missing:
        print(f"Cannot pack: {', '.join(missing)} missing. scripts/train_embedded.py makes the model.", file=sys.stderr)
        return 1
    archive = build(output, files)
    size = archive.stat().st_size
    print(f"{archive}: {len(files)} files, {size / 1e6:.1f} MB; {output / 'index.json'}")
    if size > LIMIT:
        print(f"That is more than {LIMIT / 2**20:.0f} MiB.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
