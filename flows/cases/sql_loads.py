"""Load orders into a database from many writers: PostgreSQL where it is installed, else SQLite, one writer at once."""

from __future__ import annotations

import random
from typing import Any

from prefect import flow, task, unmapped
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from .catalog import not_installed
from .services import database

try:
    import psycopg  # noqa: F401
except ModuleNotFoundError as missing:
    raise not_installed(missing, __name__) from None

TABLES = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, article TEXT, cents INTEGER)",
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, orders INTEGER, cents BIGINT)",
)
INSERT = text("INSERT INTO orders (id, customer, article, cents) VALUES (:id, :customer, :article, :cents)")
ADD = text(
    "INSERT INTO customers (id, orders, cents) VALUES (:id, :orders, :cents) ON CONFLICT (id) DO UPDATE "
    "SET orders = customers.orders + excluded.orders, cents = customers.cents + excluded.cents"
)
TOTALS = text("SELECT count(*), sum(orders), sum(cents), max(cents) FROM customers")
CUSTOMERS = 5000


@task(retries=2, retry_delay_seconds=1)
def load(address: str, batch: int, rows: int) -> int:
    """Insert a batch of orders and add them to their customers, in one transaction; returns how many."""
    draw = random.Random(batch)
    orders: list[dict[str, Any]] = [
        {
            "id": batch * rows + number,
            "customer": draw.randrange(CUSTOMERS),
            "article": f"A-{draw.randrange(2000):05d}",
            "cents": draw.randrange(100, 100_000),
        }
        for number in range(rows)
    ]
    sums: dict[int, list[int]] = {}
    for order in orders:
        total = sums.setdefault(order["customer"], [0, 0])
        total[0] += 1
        total[1] += order["cents"]
    # In the order of their ids: two writers that lock the same customers otherwise wait for each other for ever.
    customers = [{"id": key, "orders": many, "cents": cents} for key, (many, cents) in sorted(sums.items())]
    engine = create_engine(address, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(INSERT, orders)
        connection.execute(ADD, customers)
    return rows


@flow
def sql_loads(batches: int = 100, rows: int = 3000) -> dict[str, Any]:
    """`batches` batches of `rows` orders."""
    with database() as address:
        engine = create_engine(address, poolclass=NullPool)
        with engine.begin() as connection:
            for statement in TABLES:
                connection.execute(text(statement))
        loaded = load.map(unmapped(address), range(batches), rows).result()
        with engine.connect() as connection:
            customers, orders, cents, most = connection.execute(TOTALS).one()
    return {"loaded": sum(loaded), "customers": customers, "orders": int(orders), "cents": int(cents), "most": most}


if __name__ == "__main__":
    print(sql_loads())
