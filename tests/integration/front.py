# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A door in front of a real registry: it notes what is asked, and answers itself where a test wants a refusal."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Optional


@dataclass(frozen=True)
class Answer:
    """What a registry says instead of doing what it was asked to."""

    status: int
    body: bytes = b""
    kind: str = "application/json"

    @classmethod
    def error(cls, status: int, code: str, message: str, detail: Any = None) -> Answer:
        """Return an error in the form of the OCI distribution specification 1.1, "Error Codes"."""
        entry = {"code": code, "message": message, **({"detail": detail} if detail is not None else {})}
        return cls(status, json.dumps({"errors": [entry]}).encode())


def immutable(registry: str, repository: str, tag: str) -> Answer:
    """Return what a kind of registry says to somebody who overwrites a tag that may not move.

    Harbor: src/server/middleware/immutable/pushmf.go and errors.go, which leave the project out of the name.
    Quay: endpoints/v2/errors.py, TagImmutable. ECR and Artifact Registry: the messages that their users report
    (moby/buildkit#3776, the troubleshooting page of Artifact Registry); ECR answers 400 with the code TAG_INVALID,
    Artifact Registry 400 with MANIFEST_INVALID.
    """
    return {
        "harbor": Answer.error(
            412,
            "PRECONDITION",
            f"Failed to process request due to '{repository.partition('/')[2]}:{tag}' configured as immutable.",
        ),
        "ecr": Answer.error(
            400,
            "TAG_INVALID",
            f"The image tag '{tag}' already exists in the '{repository}' repository and "
            "cannot be overwritten because the repository is immutable.",
        ),
        "quay": Answer.error(
            409, "TAG_IMMUTABLE", "tag is immutable and cannot be overwritten", {"message": f"tag '{tag}' is immutable"}
        ),
        "artifact-registry": Answer.error(
            400, "MANIFEST_INVALID", f"cannot update tag {tag}. The repository has enabled tag immutability"
        ),
    }[registry]


Refuse = Callable[[str, str], Optional[Answer]]


class Front:
    """A reverse proxy on loopback.

    :param port: where the registry behind it listens.
    """

    def __init__(self, port: int) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.refuse: Optional[Refuse] = None
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = (
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    if not self._chunked()
                    else self._chunks()
                )
                answer = front.refuse(self.command, self.path) if front.refuse else None
                front.seen.append((self.command, self.path, answer.status if answer else 0))
                if answer:
                    self._send(answer.status, answer.body, [("Content-Type", answer.kind)])
                    return
                # The host that was asked for goes along: the registry puts it into the addresses that it gives out.
                onward = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                # Not as a dictionary: clients name what they accept in headers of the same name.
                onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        onward.putheader(name, value)
                onward.putheader("Content-Length", str(len(body)))
                onward.endheaders(body)
                reply = onward.getresponse()
                data = reply.read()
                self._send(
                    reply.status,
                    data,
                    [
                        (name, value)
                        for name, value in reply.getheaders()
                        if name.lower() not in ("connection", "transfer-encoding", "content-length", "date")
                    ],
                    reply.getheader("Content-Length"),
                )
                onward.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

            def _chunked(self) -> bool:
                return "chunked" in self.headers.get("Transfer-Encoding", "")

            def _chunks(self) -> bytes:
                found = []
                while size := int(self.rfile.readline().partition(b";")[0], 16):
                    found.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(found)

            def _send(
                self, status: int, body: bytes, headers: list[tuple[str, str]], length: Optional[str] = None
            ) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                # The answer to HEAD tells the length of what GET would bring.
                self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, pattern: str) -> int:
        """Return how often something was asked for; ``pattern`` is searched in the path."""
        return sum(asked == method and re.search(pattern, path) is not None for asked, path, _status in self.seen)

    @contextmanager
    def refusing(self, refuse: Refuse) -> Iterator[None]:
        """Refuse what ``refuse`` has an answer for while the block lasts."""
        self.refuse = refuse
        try:
            yield
        finally:
            self.refuse = None


def overwriting(answer: Answer, repository: str, tag: str) -> Refuse:
    """Return a refusal of every write to a tag."""
    return lambda method, path: answer if method == "PUT" and path == f"/v2/{repository}/manifests/{tag}" else None


def everything(answer: Answer) -> Refuse:
    """Return a refusal of whatever is asked for."""
    return lambda _method, _path: answer
