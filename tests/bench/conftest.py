# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the benchmark: those of the integration tests, and the table that is kept in the documentation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

# Not `import conftest`: that name is this file's.
_spec = importlib.util.spec_from_file_location("integration_fixtures", ROOT / "tests/integration/conftest.py")
assert _spec and _spec.loader
_parts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_parts)
base, builder, library = _parts.base, _parts.builder, _parts.library
no_leftovers, place, registry = _parts.no_leftovers, _parts.place, _parts.registry

from ansible_collections.rootless.buildah.tests.bench.ratios import Table  # noqa: E402


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """The table, printed and written when all is measured."""
    measured = Table()
    yield measured
    measured.write(ROOT / "docs/benchmark.md")
