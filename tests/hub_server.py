"""A hub on this machine: a web server with the few answers that huggingface_hub needs.

Takes repositories as plain bytes, gives an address. It counts what it is asked, and fails where it
is told to. Knows nothing of pytest but its patching.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "c" * 40
TOKEN = "hf_good"
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision)/(.+)|/(auth-check))?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """A repository of one revision, `main`."""

    files: dict[str, bytes]
    commit: str = COMMIT
    gated: bool = False


@dataclass
class Hub:
    """What the server has, what it does wrong, and what it was asked.

    Attributes:
        repos: By kind and id, such as `models/org/name`.
        breaks: The connection that gives this file breaks after so many bytes, once.
        fails: This file's download fails with this status.
        asked: Method and path of each request, and from which byte on.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    breaks: dict[str, int] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def given(self) -> list[str]:
        """The files that were asked for, not only about."""
        found = [_FILE.fullmatch(path) for method, path, _ in self.asked if method == "GET"]
        return [match[4] for match in found if match]


def blob_of(content: bytes) -> str:
    """How the hub names a file's content."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve a hub on a free port; gives its address."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        thread.join()
        server.server_close()


def go_online(address: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Have huggingface_hub, imported as offline, talk to a server of ours."""
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "token"),
        "DOWNLOAD_CHUNK_SIZE": 1000,
    }.items():
        patch.setattr(constants, name, value)
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.delenv("HF_TOKEN", raising=False)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *request: object) -> None:
        """A client that goes away in the middle, as tests have it, is no news."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; huggingface_hub reads the headers that begin with X."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Keep still."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.hub.asked.append((self.command, path, start))
        api, file = _API.fullmatch(path), _FILE.fullmatch(path)
        if api:
            repo = self.hub.repos.get(f"{api[1]}/{api[2]}")
            revision, checked = api[4], api[5]
        elif file:
            repo = self.hub.repos.get(f"{'datasets' if file[1] else 'models'}/{file[2]}")
            revision, checked = file[3], "file"
        else:
            repo = None
        if repo is None:
            self._refuse(404, "RepoNotFound")
        elif revision not in (None, "main", repo.commit):
            self._refuse(404, "RevisionNotFound")
        elif checked and repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(403, "GatedRepo")
        elif file:
            self._send_file(repo, file[4], start)
        else:
            self._send(json.dumps(_about(path, repo)).encode())

    def _send_file(self, repo: Repo, name: str, start: int) -> None:
        content = repo.files.get(name)
        if content is None:
            self._refuse(404, "EntryNotFound")
        elif name in self.hub.fails and self.command == "GET":
            self._refuse(self.hub.fails[name], "")
        else:
            self._send(
                content, start, ETag=f'"{blob_of(content)}"', **{"X-Repo-Commit": repo.commit}
            )

    def _send(self, content: bytes, start: int = 0, **headers: str) -> None:
        self.send_response(206 if start else 200)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        length = str(len(content) - start)
        for name, value in {**headers, "Accept-Ranges": "bytes", "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.breaks.pop(self.path.rpartition("/")[2], None)
        self.wfile.write(content[start:cut])
        if cut is not None:
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        for name, value in (("X-Error-Code", code), ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()


def _about(path: str, repo: Repo) -> dict[str, object]:
    files = [
        {
            "rfilename": name,
            "size": len(content),
            "blobId": "0" * 40,
            "lfs": {"sha256": blob_of(content), "size": len(content), "pointerSize": 130},
        }
        for name, content in repo.files.items()
    ]
    gated = "manual" if repo.gated else False
    return {"id": path, "sha": repo.commit, "gated": gated, "siblings": files}
