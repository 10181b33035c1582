# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a Molecule scenario, for as long as something is measured on them."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import Iterator

from ansible_collections.rootless.buildah.tests.tools.checkout import ROOT


@contextmanager
def converged(name: str) -> Iterator[None]:
    """Make a scenario's machines, have its playbook prepare them, and end them afterwards.

    :param name: of the scenario, a directory in ``molecule``.
    :raises subprocess.CalledProcessError: Molecule failed; it has said why.
    """

    def molecule(action: str) -> None:
        subprocess.run(["molecule", action, f"--scenario-name={name}"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True)

    # Molecule believes that machines are there which a killed run has left.
    molecule("destroy")
    try:
        molecule("converge")
        yield
    finally:
        molecule("destroy")
