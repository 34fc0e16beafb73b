"""Downloads: resumed, checked, removed; and what is said when they fail. A server of our own stands for the web."""

import hashlib
import http.server
import threading
from functools import partial

import pytest

from dif3d_blender.blender import models
from dif3d_blender.blender.environment import Stopped, Stopper
from dif3d_blender.blender.models import Model, ModelFile
from dif3d_blender.engine.errors import DIF3DError

DATA = bytes(range(256)) * 20_000  # 5 MB: several blocks


class Server(http.server.BaseHTTPRequestHandler):
    """Serves DATA; what the server object says makes it break off, ignore ranges or refuse."""

    def do_GET(self):
        how = self.server.how
        self.server.asked.append(self.headers.get("Range"))
        if how == "refuse":
            self.send_error(503)
            return
        start = int(self.headers["Range"][6:-1]) if "Range" in self.headers and how != "no ranges" else 0
        body = DATA[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "break off" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        made.how, made.asked = "", []
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def model(server):
    def file(name, sha256=None):
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        return ModelFile(name, url, len(DATA), sha256 or hashlib.sha256(DATA).hexdigest())

    made = Model("thing", "Thing", "example.org", "MIT", (file("a.bin"), file("b.bin")))
    made_wrong = Model("wrong", "Wrong", "example.org", "MIT", (file("a.bin", "0" * 64),))
    return made, made_wrong


def fetch(model, folder, report=lambda stage, fraction: None, stopper=None):
    models.download(model, folder, report, stopper or Stopper())


def test_a_model_is_fetched_with_progress_and_removed(model, tmp_path):
    told = []
    assert not model[0].is_in(tmp_path)
    fetch(model[0], tmp_path, lambda stage, fraction: told.append(fraction))
    assert model[0].is_in(tmp_path) and (tmp_path / "thing" / "b.bin").read_bytes() == DATA
    assert told == sorted(told) and told[-1] == 1.0
    assert not list(tmp_path.rglob("*.part"))
    models.remove(model[0], tmp_path)
    assert not (tmp_path / "thing").exists()


def test_a_download_that_broke_off_goes_on(model, server, tmp_path):
    server.how = "break off"
    with pytest.raises(DIF3DError, match="goes on where it stopped"):
        fetch(model[0], tmp_path)
    half = (tmp_path / "thing" / "a.bin.part").stat().st_size
    assert 0 < half < len(DATA) and not model[0].is_in(tmp_path)
    server.how = ""
    fetch(model[0], tmp_path)
    assert model[0].is_in(tmp_path) and f"bytes={half}-" in server.asked


def test_a_server_that_cannot_go_on_begins_anew(model, server, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "a.bin.part").write_bytes(b"x" * 1000)
    server.how = "no ranges"
    fetch(model[0], tmp_path)
    assert (tmp_path / "thing" / "a.bin").read_bytes() == DATA


def test_a_cancelled_download_keeps_what_it_has(model, server, tmp_path):
    stopper = Stopper()
    with pytest.raises(Stopped):
        fetch(model[0], tmp_path, lambda stage, fraction: stopper.stop(), stopper)
    assert (tmp_path / "thing" / "a.bin.part").stat().st_size > 0
    fetch(model[0], tmp_path)
    assert model[0].is_in(tmp_path)


def test_a_file_with_another_content_is_refused(model, tmp_path):
    with pytest.raises(DIF3DError, match="SHA-256"):
        fetch(model[1], tmp_path)
    assert not any((tmp_path / "wrong").iterdir())


def test_a_damaged_part_is_found_out(model, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "a.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(DIF3DError, match="SHA-256"):
        fetch(model[0], tmp_path)
    fetch(model[0], tmp_path)
    assert model[0].is_in(tmp_path)


@pytest.mark.parametrize("how", ["refuse", "gone"])
def test_no_server_is_said(model, server, tmp_path, how):
    server.how = how
    if how == "gone":
        files = (ModelFile("a.bin", "http://127.0.0.1:9/a.bin", 10, "0"),)
        target = Model("thing", "Thing", "example.org", "MIT", files)
    else:
        target = model[0]
    with pytest.raises(DIF3DError, match=r"example\.org .*Try again"):
        fetch(target, tmp_path)


def test_a_full_disk_is_seen_before_anything_is_fetched(model, server, tmp_path, monkeypatch):
    usage = partial(models.shutil._ntuple_diskusage, 10, 10)
    monkeypatch.setattr(models.shutil, "disk_usage", lambda _: usage(free=1000))
    with pytest.raises(DIF3DError, match="Make room"):
        fetch(model[0], tmp_path)
    assert not server.asked


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DIF3DError, match="could not be written"):
        fetch(model[0], tmp_path / "file")


def test_the_real_models_name_their_digests():
    for model in models.MODELS.values():
        assert all(len(file.sha256) == 64 and file.url.startswith("https://") for file in model.files)
