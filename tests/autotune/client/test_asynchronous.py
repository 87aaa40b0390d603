"""The client for asyncio does what the blocking one does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotune.client import AsyncClient, Client, Event, ServiceError
from tests.autotune.client.serving import STUDY, TRIALS, Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("service")) as service:
        yield service


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, str]:
        """The public methods, each with its arguments."""
        public = {name: member for name, member in vars(client).items() if not name.startswith("_")}
        return {name: str(list(inspect.signature(member).parameters.values())) for name, member in public.items()}

    assert methods(AsyncClient) == methods(Client)
    assert all(member.__doc__ for name, member in vars(AsyncClient).items() if not name.startswith("_"))


def test_studies_are_followed_at_once(served: Served, tmp_path: Path) -> None:
    async def one(client: AsyncClient) -> tuple[list[Event], str]:
        study = await client.submit(STUDY)
        events = [event async for event in client.events(study)]
        assert (await client.wait(study, timeout=10)).state == "finished"
        assert (await client.result(study)).status == "finished"
        path = await client.report(study, tmp_path / f"{study.id}.html")
        assert path.read_text() == "<html>a report</html>"
        path = await client.artifact(study, "trials/large.h5", tmp_path / f"{study.id}.h5")
        assert path.stat().st_size == 1_024_000
        assert "last line" in await client.log(study)
        assert study in [await client.get(study), study]
        return events, study.id

    async def several() -> list[tuple[list[Event], str]]:
        async with AsyncClient(served.url) as client:
            assert repr(client) == f"AsyncClient({served.url!r})"
            return await asyncio.gather(*(one(client) for _ in range(3)))

    for events, identifier in asyncio.run(several()):
        assert [event.data for event in events] == served.events_of(identifier)
        assert [event.event for event in events].count("ended") == TRIALS


def test_states_change_and_errors_are_the_same(served: Served) -> None:
    async def change() -> None:
        async with AsyncClient(served.url, retry_seconds=0) as client:
            served.actor.held.clear()
            study = await client.submit(STUDY, key="async")
            assert (await client.submit(STUDY, key="async")).id == study.id
            with pytest.raises(TimeoutError):
                await client.wait(study, timeout=0.2)
            await client.cancel(study)
            assert (await client.wait(study, timeout=10)).state == "cancelled"
            served.actor.held.set()
            assert (await client.wait(await client.resume(study), timeout=10)).state == "finished"
            assert study.id in [one.id for one in await client.list(["finished"])]
            assert [file.name for file in await client.artifacts(study)]
            await client.delete(study)
            for call in (client.get(study), client.check("name: x\n"), client.calibration("none")):
                with pytest.raises(ServiceError):
                    await call
            with pytest.raises(ServiceError, match="404"):
                _ = [event async for event in client.events(study)]

    try:
        asyncio.run(change())
    finally:
        served.actor.held.set()


def test_a_service_that_is_not_there_is_reported() -> None:
    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:9", retry_seconds=0.3) as client:
            with pytest.raises(ServiceError, match="cannot be reached"):
                await client.list()
            with pytest.raises(ServiceError, match="cannot be reached"):
                _ = [event async for event in client.events("a")]

    asyncio.run(ask())
