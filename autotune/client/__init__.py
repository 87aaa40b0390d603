"""The client of the REST service: submit studies, follow them, and collect their answers, blocking or with asyncio.

It needs httpx (``pip install '.[client]'``) and imports neither torch nor anything of the service.
"""

try:
    import httpx  # noqa: F401
except ImportError as error:
    raise ImportError("autotune.client needs httpx: pip install '.[client]' (in the checkout)") from error

from autotune.client.asynchronous import AsyncClient
from autotune.client.blocking import Client
from autotune.client.errors import ServiceError
from autotune.client.resources import Artifact, Checked, Event, Progress, Study

__all__ = ["Artifact", "AsyncClient", "Checked", "Client", "Event", "Progress", "ServiceError", "Study"]
