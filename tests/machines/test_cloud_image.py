# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine may be any image that cloud-init sets up, named by its path or its address."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import threading
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.rootless.buildah.molecule.machines import vm
from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT

TOOL = str(ROOT / "molecule/machines/vm.py")
NAME = "cloud-one"


@pytest.fixture(scope="module", name="disk")
def _disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    disk = tmp_path_factory.mktemp("cloud") / "server-cloudimg-amd64.img"
    subprocess.run([ROOT / "tests/machines/cloud-image", disk], check=True)
    return disk


@pytest.fixture(params=["path", "address"])
def image(disk: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "path":
        yield str(disk)
        return

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(disk.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{disk.name}"
        server.shutdown()


@pytest.mark.long
def test_it_is_told_who_it_is(image: str, tmp_path: Path) -> None:
    environment = {**os.environ, "MACHINES_OWNER": str(os.getpid()), "MACHINES_IMAGES": str(tmp_path)}

    def call(*words: str) -> str:
        done = subprocess.run([TOOL, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    hosts = ["--host", f"{NAME}=10.76.9.1", "--host", "cloud-two=10.76.9.2"]
    try:
        call("start", NAME, "--scenario", "cloud", "--image", image, *hosts)
        call("wait", NAME, "--seconds", "900")
        assert call("shell", NAME, "hostname").strip() == NAME
        assert call("shell", NAME, "getent", "hosts", "cloud-two").split() == ["10.76.9.2", "cloud-two"]
        assert "inet 10.76.9.1/24" in call("shell", NAME, "ip", "-4", "address")
        assert "status: done\n" in call("shell", NAME, "cloud-init", "status", "--long")
        # Published images have no room for builds.
        assert int(call("shell", NAME, "df", "--output=size", "-BG", "/").split()[1].rstrip("G")) >= 15
    finally:
        vm.stop(vm.RUNNING / NAME)
