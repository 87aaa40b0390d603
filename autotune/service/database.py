"""The service's own tables: studies of the queue, and tokens. SQLite in the home, or the trial store's PostgreSQL."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from autotune.home import Home
from autotune.service.jobs import Job
from autotune.store.postgres import CONNECT, server_url
from autotune.store.sqlite import BUSY_SECONDS, make_durable

_tables = MetaData()
STUDIES = Table(
    "service_studies",
    _tables,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("place", String(16), nullable=False, index=True),  # the service that it belongs to
    Column("name", String(100), nullable=False),
    Column("study", String(150), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("owner", String(100), nullable=False),
    Column("created", String(40), nullable=False),
    Column("started", String(40)),
    Column("ended", String(40)),
    Column("queued_at", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),
    Column("pid", Integer),
    Column("pid_started", Float(53)),
    Column("stop_at", Float(53)),
    Column("stop_for", String(16)),
    Column("slurm", String(40)),
    Column("data", Text, nullable=False, default=""),
    Column("key", String(255)),  # Idempotency-Key
    Column("body", String(64), nullable=False),  # SHA-256 of what was submitted
    UniqueConstraint("place", "owner", "key"),
)
TOKENS = Table(
    "service_tokens",
    _tables,
    Column("id", String(16), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("owner", String(100), nullable=False),
    Column("role", String(10), nullable=False),
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("used", Float(53)),
    Column("revoked", Float(53)),
)
_OF_JOB = [STUDIES.c[name] for name in Job.__dataclass_fields__]


def open_database(home: Home) -> Engine:
    """The engine of the service's tables, which are made where there are none.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be opened.
    """
    if home.storage.partition(":")[0].partition("+")[0] in ("postgresql", "postgres"):
        engine = create_engine(server_url(home.storage), connect_args=CONNECT, pool_pre_ping=True)
    else:
        home.folder.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{home.folder / 'service.db'}", connect_args={"timeout": BUSY_SECONDS})
        make_durable(engine)
    _tables.create_all(engine)
    return engine


def place_of(home: Home) -> str:
    """The name by which one service's studies are told from those of others that share a PostgreSQL database."""
    return hashlib.sha256(f"{socket.gethostname()}:{home.folder}".encode()).hexdigest()[:16]


class JobTable:
    """The studies of one service.

    Args:
        engine: see :func:`open_database`.
        place: see :func:`place_of`.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine, self._place = engine, place

    def all(self) -> list[Job]:
        """Every study, in the order in which they were submitted."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(*_OF_JOB).where(STUDIES.c.place == self._place).order_by(STUDIES.c.number)
            ).all()
        return [_job(row) for row in rows]

    def by_key(self, owner: str, key: str) -> tuple[Job, str] | None:
        """The study that a user submitted with an idempotency key, and the hash of what he submitted."""
        with self._engine.connect() as connection:
            row = connection.execute(
                select(*_OF_JOB, STUDIES.c.body).where(
                    STUDIES.c.place == self._place, STUDIES.c.owner == owner, STUDIES.c.key == key
                )
            ).one_or_none()
        return None if row is None else (_job(row[:-1]), row.body)

    def add(self, values: Mapping[str, Any]) -> Job | None:
        """Add a study; None where another one has its idempotency key."""
        try:
            with self._engine.begin() as connection:
                row = connection.execute(insert(STUDIES).values(place=self._place, **values).returning(*_OF_JOB)).one()
        except IntegrityError:
            return None
        return _job(row)

    def change(self, job: Job, values: Mapping[str, Any]) -> Job:
        """Change some values of a study."""
        with self._engine.begin() as connection:
            row = connection.execute(
                update(STUDIES).where(STUDIES.c.number == job.number).values(**values).returning(*_OF_JOB)
            ).one()
        return _job(row)

    def remove(self, job: Job) -> None:
        """Forget a study."""
        with self._engine.begin() as connection:
            connection.execute(STUDIES.delete().where(STUDIES.c.number == job.number))


def _job(row: Row[Any] | tuple[Any, ...]) -> Job:
    return Job(*row)
