"""uuid, serial and sequences through psycopg, asyncpg, SQLAlchemy and pandas, in text and binary."""

import asyncio
import sys
import uuid

import asyncpg
import pandas
import psycopg
import sqlalchemy as sa

host, port, user, password = sys.argv[1:]
where = {"host": host, "port": port, "user": user, "password": password, "dbname": "millrace"}

one, two = uuid.UUID(int=1 << 120), uuid.uuid4()
with psycopg.connect(**where, autocommit=True) as connection:
    connection.execute(
        "CREATE TABLE asset (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tag uuid, no serial)"
    )
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        cursor.execute("INSERT INTO asset (id, tag) VALUES (%s, %b), (%t, NULL)", (one, two, two))
        cursor.execute("SELECT id, tag FROM asset WHERE id = %s", (one,))
        assert cursor.fetchone() == (one, two)
        assert [column.type_code for column in cursor.description] == [2950, 2950]
        cursor.execute("SELECT tag FROM asset WHERE id = %s", (str(two),))
        assert cursor.fetchone() == (None,)
        cursor.execute("SELECT id FROM asset WHERE id = ANY(%s) ORDER BY id", ([one, two],))
        assert sorted(row[0] for row in cursor) == sorted([one, two])
        cursor.execute("SELECT array_agg(id ORDER BY no) FROM asset")
        assert cursor.fetchone()[0] == [one, two]
        cursor.execute("SELECT %s::uuid, %s::uuid::text", (one, two))
        assert cursor.fetchone() == (one, str(two))
        cursor.execute("UPDATE asset SET tag = %s WHERE id = %s RETURNING tag", (one, two))
        assert cursor.fetchone() == (one,)
        try:
            cursor.execute("SELECT 1 FROM asset WHERE id = %s", ("nothing",))
            raise SystemExit("no error")
        except psycopg.errors.InvalidTextRepresentation as error:
            assert 'invalid input syntax for type uuid: "nothing"' in str(error), error
        cursor.execute("TRUNCATE asset")
    for form in ("text", "csv", "binary"):
        with connection.cursor().copy(f"COPY asset (id, tag) FROM STDIN (FORMAT {form})") as copy:
            if form == "csv":
                copy.write(f"{one},{two}\n{two},\n")
            else:
                copy.set_types(["uuid", "uuid"])
                copy.write_row((one, two))
                copy.write_row((two, None))
        with connection.cursor().copy(f"COPY asset (id, tag) TO STDOUT (FORMAT {form})") as copy:
            if form == "csv":
                lines = sorted(b"".join(copy).decode().split())
                assert lines == sorted([f"{one},{two}", f"{two},"]), lines
            else:
                copy.set_types(["uuid", "uuid"])
                assert sorted(copy.rows(), key=str) == sorted([(one, two), (two, None)], key=str)
        connection.execute("TRUNCATE asset")
    assert connection.execute("INSERT INTO asset DEFAULT VALUES RETURNING id").fetchone()[0].version == 4
    assert connection.execute("SELECT pg_get_serial_sequence('asset', 'no')").fetchone() == ("public.asset_no_seq",)
    connection.execute("CREATE SEQUENCE orders START 100")
    assert connection.execute("SELECT nextval('orders'), currval('orders')").fetchone() == (100, 100)
    assert connection.execute("SELECT nextval(%s)", ("orders",)).fetchone() == (101,)
    # Another session has numbers of its own, and has been given none.
    with psycopg.connect(**where, autocommit=True) as other:
        try:
            other.execute("SELECT currval('orders')")
            raise SystemExit("no error")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            pass
        assert other.execute("SELECT nextval('orders')").fetchone() == (102,)
    assert connection.execute("SELECT currval('orders')").fetchone() == (101,)


async def in_binary():
    connection = await asyncpg.connect(
        host=host, port=int(port), user=user, password=password, database="millrace"
    )
    await connection.execute("TRUNCATE asset")
    await connection.executemany("INSERT INTO asset (id, tag) VALUES ($1, $2)", [(one, two), (two, None)])
    assert await connection.fetchval("SELECT tag FROM asset WHERE id = $1", one) == two
    assert await connection.fetchval("SELECT $1::uuid", two) == two
    rows = await connection.fetch("SELECT id FROM asset WHERE id = ANY($1::uuid[])", [one, two])
    assert len(rows) == 2
    rows = await connection.fetch("SELECT id FROM asset WHERE id IN ($1, $2)", one, two)
    assert len(rows) == 2
    await connection.copy_records_to_table("asset", columns=["id"], records=[(uuid.uuid4(),) for _ in range(50)])
    assert await connection.fetchval("SELECT count(DISTINCT id) FROM asset") == 52
    assert await connection.fetchval("SELECT nextval('orders')") == 103
    await connection.close()


asyncio.run(in_binary())

url = sa.URL.create("postgresql+psycopg", user, password, host, int(port), "millrace")
engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
made = sa.MetaData()
steps = sa.Sequence("steps", start=5, metadata=made)
device = sa.Table(
    "device", made,
    sa.Column("id", sa.Uuid, primary_key=True, default=uuid.uuid4),
    sa.Column("step", sa.Integer, steps, server_default=steps.next_value()),
    sa.Column("no", sa.Integer, sa.Identity(start=10)),
    sa.Column("name", sa.Text),
)
made.create_all(engine)
with engine.begin() as connection:
    add = device.insert().returning(device.c.id, device.c.step, device.c.no)
    inserted = [connection.execute(add, {"name": name}).one() for name in ("a", "b")]
    assert [row[1:] for row in inserted] == [(5, 10), (6, 11)], inserted
    assert connection.execute(sa.select(device.c.name).where(device.c.id == inserted[1].id)).scalar() == "b"
inspector = sa.inspect(engine)
columns = {column["name"]: column for column in inspector.get_columns("device")}
assert isinstance(columns["id"]["type"], sa.UUID), columns["id"]
assert columns["no"]["identity"]["start"] == 10, columns["no"]
assert columns["step"]["default"] == "nextval('steps'::regclass)", columns["step"]
assert {"steps", "orders"} <= set(inspector.get_sequence_names()), inspector.get_sequence_names()
frame = pandas.read_sql("SELECT id, name FROM device ORDER BY name", engine)
assert list(frame["id"]) == [row.id for row in inserted], frame
made.drop_all(engine)
assert "steps" not in sa.inspect(engine).get_sequence_names()
print("fine")
