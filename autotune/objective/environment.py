"""The environment variables that a worker process, and a program that an objective starts, is given.

A run has credentials in its environment: of the cloud, of MLflow, of databases. Trials need none of them, and what
their code prints or dumps is kept. So a process that makes trials is given the variables listed here, which numerical
work needs, and those that its study names (``execution.environment``). A list of what is secret could not be complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase

NEVER = "AUTOTUNE_STORAGE"
"""The variable that no worker is given, whatever its study says: the trial store is the run's, and has a password."""
GIVEN: Mapping[str, tuple[str, ...]] = {
    "user and system": (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "PWD", "TERM", "XDG_*"),
        *("LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP"),
    ),
    "Python": ("PYTHON*", "VIRTUAL_ENV", "CONDA_*", "MAMBA_*", "PYENV_*", "COVERAGE_*", "MPLBACKEND", "MPLCONFIGDIR"),
    "libraries and modules": (
        *("LD_*", "DYLD_*", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "CC", "CXX", "FC"),
        *("MODULEPATH*", "MODULESHOME", "LOADEDMODULES", "_LMFILES_", "LMOD_*", "BASH_ENV", "BASH_FUNC_*"),
        *("HDF5_*", "H5PY_*", "BLOSC_*", "MALLOC_*"),
    ),
    "threads": (
        *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*", "TBB_*"),
        *("NUMBA_*", "NPY_*"),
    ),
    "accelerators": (
        *("CUDA_*", "CUDNN_*", "CUBLAS_*", "CUBLASLT_*", "CUFFT_*", "CUPY_*", "NVIDIA_*", "NCCL_*"),
        *("ROCM_*", "ROCR_*", "HIP_*", "HSA_*", "MIOPEN_*", "GPU_*", "ONEAPI_*", "SYCL_*", "ZE_*"),
        *("TORCH*", "PYTORCH_*", "TRITON_*", "JAX_*", "XLA_*", "TF_*"),
    ),
    "batch systems and MPI": (
        *("SLURM_*", "SLURMD_*", "PBS_*", "LSB_*", "LSF_*", "_CONDOR_*", "SGE_*"),
        *("OMPI_*", "PMI_*", "PMIX_*", "I_MPI_*", "MPICH_*", "UCX_*", "FI_*"),
    ),
    "network": (
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    ),
    "autotune": ("AUTOTUNE_*",),
}
"""What is given without being named: names, ``*`` for any end of a name."""
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE|AUTH|JWT", re.IGNORECASE)
_USER_OF_ADDRESS = re.compile(r"//[^/?#\s]*@")

_further: ContextVar[tuple[str, ...]] = ContextVar("further", default=())
_minimal = False


def minimal_environment(further: Iterable[str] = ()) -> dict[str, str]:
    """The variables of this process that a process which makes trials is given.

    Of those that :data:`GIVEN` lists, a variable is withheld whose name is that of a credential
    (``NVIDIA_API_KEY``), or whose value holds an address with a user's name.

    Args:
        further: names, or patterns such as ``MATLAB_*``, of variables to give beside those of :data:`GIVEN`.
    """
    stated, listed = tuple(further), tuple(pattern for group in GIVEN.values() for pattern in group)
    return {
        name: value
        for name, value in os.environ.items()
        if name != NEVER and (_matches(name, stated) or (_matches(name, listed) and not _looks_secret(name, value)))
    }


def child_environment() -> dict[str, str]:
    """The variables for a program that an objective starts: add what the program needs, and start it with them.

    In a worker process they are the process's own, which is minimal already. Elsewhere, as where trials run in the
    run's own process, they are :func:`minimal_environment` of what the study names.
    """
    return dict(os.environ) if _minimal else minimal_environment(_further.get())


@contextmanager
def giving(further: Sequence[str]) -> Iterator[None]:
    """A context in which :func:`child_environment` gives the variables that a study names."""
    token = _further.set(tuple(further))
    try:
        yield
    finally:
        _further.reset(token)


def environment_is_minimal() -> None:
    """State that this process was started with a minimal environment: all of it is for its children, too."""
    global _minimal
    _minimal = True


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _looks_secret(name: str, value: str) -> bool:
    # A proxy may be stated without a scheme, as user:password@host:3128.
    return bool(_SECRET_NAME.search(name) or _USER_OF_ADDRESS.search(value)) or (
        name.lower().endswith("_proxy") and "@" in value
    )
