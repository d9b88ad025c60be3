import collections
from concurrent import futures
import hashlib
import os
import shutil
import socket
import time

import numpy as np
import pytest

from tests.interop.serving import serving
from vidx import errors
from vidx.interop import download

CONTENT = np.random.default_rng(0).bytes(600_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ADDRESS = "https://weights.example/models/some-net.pth"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  """Short waits, and no proxy between this process and itself."""
  monkeypatch.setattr(download, "PAUSE_S", 0.01)
  monkeypatch.setattr(download, "TIMEOUT_S", 0.4)
  monkeypatch.setattr(download, "WORTH", 16 * 1024)
  monkeypatch.setenv("no_proxy", "*")
  monkeypatch.delenv("VIDX_OFFLINE", raising=False)


def fetched(server, tmp_path, monkeypatch, sha256=DIGEST[:8], size=0):
  monkeypatch.setenv("VIDX_MIRROR", f"{server.address}/mirror/")
  path = download.fetch(ADDRESS, str(tmp_path / "cache/net.pth"), "some:net", sha256=sha256, size=size)
  assert sorted(os.listdir(tmp_path / "cache")) == ["net.pth", "net.pth.lock"]
  return open(path, "rb").read()


def refused(server, tmp_path, monkeypatch, **options):
  """The one line of a download that is given up."""
  with pytest.raises(errors.UserError) as caught:
    fetched(server, tmp_path, monkeypatch, **options)
  assert not (tmp_path / "cache/net.pth").exists() and "\n" not in str(caught.value)
  return str(caught.value)


def broken_off(server, tmp_path, monkeypatch):
  """The one line of a process that gives up after half of the file."""
  with monkeypatch.context() as m:
    m.setattr(download, "ATTEMPTS", 1)
    m.setattr(download, "WORTH", 1 << 30)
    return refused(server, tmp_path, monkeypatch)


def test_a_file_is_downloaded_once_from_the_mirror(tmp_path, monkeypatch):
  with serving(CONTENT) as server:
    assert fetched(server, tmp_path, monkeypatch) == CONTENT
    assert fetched(server, tmp_path, monkeypatch) == CONTENT
    assert server.paths == ["/mirror/weights.example/models/some-net.pth"]


def test_a_server_that_breaks_off_again_and_again_is_resumed_until_the_file_is_complete(tmp_path, monkeypatch):
  with serving(CONTENT, *["breaks"] * 4, "well") as server:
    assert fetched(server, tmp_path, monkeypatch) == CONTENT
  assert len(server.asked) == 5 and server.asked[0] is None
  assert server.asked[1] == f"bytes={len(CONTENT) // 2}-"


def test_a_download_that_was_killed_goes_on_in_the_next_process(tmp_path, monkeypatch):
  with serving(CONTENT, "breaks") as server:
    assert "are kept; the same command goes on" in broken_off(server, tmp_path, monkeypatch)
  with serving(CONTENT) as server:
    assert fetched(server, tmp_path, monkeypatch) == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) // 2}-"]


def test_the_beginning_of_another_version_is_not_gone_on_with(tmp_path, monkeypatch):
  with serving(CONTENT, "breaks") as server:
    broken_off(server, tmp_path, monkeypatch)
  with serving(CONTENT[::-1]) as server:
    server.tag = '"two"'
    assert fetched(server, tmp_path, monkeypatch, sha256="") == CONTENT[::-1]


@pytest.mark.parametrize("manner", ["ignores", "elsewhere", "refuses", "stalls"])
def test_one_bad_answer_does_not_matter(manner, tmp_path, monkeypatch):
  with serving(CONTENT, "breaks", manner, "well") as server:
    assert fetched(server, tmp_path, monkeypatch) == CONTENT


@pytest.mark.parametrize("manner, said", [
    ("stalls", "nothing came for 0.4 s"), ("drips", "bytes came in"), ("refuses", "the server answers 503"),
    ("lies", "broke off"), ("absent", "the server answers 404"), ("huge", "more than any file of weights has"),
])
def test_a_bad_server_is_given_up_in_one_line(manner, said, tmp_path, monkeypatch):
  began = time.monotonic()
  with serving(CONTENT, manner) as server:
    assert said in refused(server, tmp_path, monkeypatch)
  assert time.monotonic() - began < 10


def test_another_file_is_refused_and_nothing_of_it_is_kept(tmp_path, monkeypatch):
  with serving(CONTENT[:-1] + b"!") as server:
    assert "not the one that was published, and nothing of it is kept" in refused(server, tmp_path, monkeypatch)
  assert os.listdir(tmp_path / "cache") == ["net.pth.lock"]


def test_a_part_that_was_spoilt_on_the_disk_is_loaded_anew(tmp_path, monkeypatch):
  with serving(CONTENT, "breaks", "well") as server:
    broken_off(server, tmp_path, monkeypatch)
    (tmp_path / "cache/net.pth.part").write_bytes(b"\0" * (len(CONTENT) // 2))
    assert fetched(server, tmp_path, monkeypatch) == CONTENT
    assert server.asked[-1] is None


def test_a_file_of_another_size_than_published_is_not_downloaded(tmp_path, monkeypatch):
  with serving(CONTENT * 4) as server:
    assert "not the 0.1 that were published" in refused(server, tmp_path, monkeypatch, size=100_000)


def test_an_endless_file_ends(tmp_path, monkeypatch):
  monkeypatch.setattr(download, "MOST", 2_000_000)
  with serving(CONTENT, "endless") as server:
    assert "more than the whole file" in refused(server, tmp_path, monkeypatch)


def test_without_a_network_the_line_says_where_the_file_belongs(tmp_path, monkeypatch):
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
  monkeypatch.setenv("VIDX_MIRROR", f"http://127.0.0.1:{port}")
  path = str(tmp_path / "net.pth")
  with pytest.raises(errors.UserError, match="no connection.*put the file there yourself as .*net.pth"):
    download.fetch(ADDRESS, path, "some:net")
  monkeypatch.setenv("VIDX_OFFLINE", "1")
  with pytest.raises(errors.UserError, match="nothing is downloaded offline.*net.pth"):
    download.fetch(ADDRESS, path, "some:net")
  monkeypatch.setenv("VIDX_MIRROR", "ftp.example")
  monkeypatch.delenv("VIDX_OFFLINE")
  with pytest.raises(errors.ConfigError, match="VIDX_MIRROR=ftp.example is no address"):
    download.fetch(ADDRESS, path, "some:net")


def test_two_at_once_download_once(tmp_path, monkeypatch):
  with serving(CONTENT) as server, futures.ThreadPoolExecutor(3) as pool:
    found = [pool.submit(fetched, server, tmp_path, monkeypatch) for _ in range(3)]
    assert [f.result() for f in found] == [CONTENT] * 3  # what fails in a thread fails here
    assert len(server.asked) == 1


def test_a_full_disk_is_said_before_the_first_byte(tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, "disk_usage", lambda _: collections.namedtuple("usage", "free")(1000))
  with serving(CONTENT) as server:
    assert "free space" in refused(server, tmp_path, monkeypatch)
