"""Schemathesis asks everything that OpenAPI says can be asked, and much that it says cannot.

Not among the test requirements: ``pip install schemathesis``, then ``pytest -m slow tests/lsr/serving``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsr.serving import Keys, LocalIndex, Settings, create_app

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

KEY = "a-key-for-fuzzing-only"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.slow
@pytest.mark.parametrize(
    "read_keys", [(), ("another-key-for-reading",)], ids=["open to read", "keys to read"]
)
def test_it_finds_nothing(
    folder: Path, tmp_path: Path, serve: Callable[..., Any], read_keys: tuple[str, ...]
) -> None:
    index = LocalIndex(folder, "notes", durable=False)
    app = create_app({"notes": index}, Settings(keys=Keys(write=[KEY], read=read_keys)))
    with serve(app) as port:
        command = Path(sys.executable).with_name("schemathesis")
        address = f"http://127.0.0.1:{port}/openapi.json"
        options = [
            "-c",
            "all",
            "--max-examples",
            "50",
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
        ]
        done = subprocess.run(
            [
                command,
                "--config-file",
                CONFIGURATION,
                "run",
                address,
                "-H",
                f"Authorization: Bearer {KEY}",
                *options,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-4_000:]
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None
    assert int(found[1]) > 500
