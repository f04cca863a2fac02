"""asyncpg: everything in binary, types looked up in the catalogue."""

import asyncio
import sys
from datetime import datetime, timezone

import asyncpg

host, port, user, password = sys.argv[1:]


async def main():
    connection = await asyncpg.connect(
        host=host, port=int(port), user=user, password=password, database="millrace"
    )
    at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    rows = await connection.fetch(
        "SELECT time, device, temperature, strokes, running, note FROM press "
        "WHERE time >= $1 AND device = $2 ORDER BY time", at, "p1",
    )
    assert tuple(rows[0]) == (at, "p1", 71.5, 12, True, None), rows
    assert await connection.fetchval("SELECT array_agg(device) FROM press WHERE site = 'south'") == ["p2"]
    # Types that the driver does not know by heart are looked up.
    row = await connection.fetchrow(
        "SELECT relname, relkind, oid FROM pg_class WHERE relname = $1", "press"
    )
    assert row[:2] == ("press", b"r") and row[2] >= 16384, row
    key = await connection.fetchval(
        "SELECT indkey FROM pg_index WHERE indrelid = 'press'::regclass"
    )
    assert list(key) == [2, 3, 1], key
    assert await connection.fetchval("SELECT indrelid::regclass FROM pg_index LIMIT 1") is not None
    await connection.fetch("SELECT * FROM pg_type")
    statement = await connection.prepare("SELECT count(*) FROM press WHERE site = ANY($1::text[])")
    assert await statement.fetchval(["north", "south"]) == 3
    async with connection.transaction():
        await connection.executemany(
            "INSERT INTO press (time, device, site, temperature) VALUES ($1, $2, $3, $4)",
            [(at, f"a{n}", "east", float(n)) for n in range(10)],
        )
    async with connection.transaction():
        cursor = connection.cursor("SELECT device FROM press WHERE site = 'east' ORDER BY device", prefetch=3)
        assert [row[0] async for row in cursor] == [f"a{n}" for n in range(10)]
    await connection.copy_records_to_table(
        "press", columns=["time", "device", "site", "strokes"],
        records=[(at, f"c{n}", "copy", n) for n in range(100)],
    )
    assert await connection.fetchval("SELECT sum(strokes) FROM press WHERE site = 'copy'") == 4950
    try:
        await connection.fetch("SELECT * FROM nowhere")
        raise SystemExit("no error")
    except asyncpg.exceptions.UndefinedTableError:
        pass
    await connection.reset()
    await connection.close()
    print("fine")


asyncio.run(main())
