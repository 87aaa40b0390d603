"""Importing the client is cheap, and takes nothing of the service."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_client_imports_neither_the_service_nor_anything_heavy() -> None:
    names = ("fastapi", "starlette", "uvicorn", "autotune.service", "torch", "optuna", "mlflow", "numpy", "pydantic")
    code = f"import autotune.client, sys; print([name for name in {names} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_httpx_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "try: import autotune.client\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "autotune.client needs httpx: pip install '.[client]' (in the checkout)\n"
