"""ADBC's driver for Flight SQL, as pandas, Polars and scripts use it, and pyarrow's own client."""

import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow
import pyarrow.flight

host, port, user, password = sys.argv[1:]
scheme = "grpc+tls" if port.endswith("t") else "grpc"
port = port.rstrip("t")
uri = f"{scheme}://{host}:{port}"
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def connect(autocommit=True, **options):
    login = {"username": user, "password": password}
    if scheme == "grpc+tls":
        login[adbc_driver_flightsql.DatabaseOptions.TLS_SKIP_VERIFY.value] = "true"
    return flight.connect(uri, db_kwargs={**login, **options}, autocommit=autocommit)


def fails(work, kind, words):
    try:
        work()
    except kind as error:
        assert words in str(error), error
    else:
        raise SystemExit(f"no error: {words}")


def reading(cursor):
    cursor.execute("SELECT time, device, temperature, strokes, running, note FROM press ORDER BY device, time")
    table = cursor.fetch_arrow_table()
    kinds = [str(field.type) for field in table.schema]
    assert kinds == ["timestamp[us, tz=+00:00]", "string", "double", "int64", "bool", "string"], kinds
    assert table.column("device").to_pylist()[0] == "p1", table
    assert table.column("temperature").to_pylist()[0] == 71.5, table
    cursor.execute("SELECT device, strokes FROM press ORDER BY device, time")
    assert cursor.fetchone() == ("p1", 12)
    assert [column[0] for column in cursor.description] == ["device", "strokes"]
    cursor.execute("SELECT device, avg(temperature) AS t FROM press GROUP BY device ORDER BY device")
    frame = cursor.fetch_df()
    assert list(frame.columns) == ["device", "t"] and frame["device"][0] == "p1", frame
    cursor.execute("SELECT value FROM generate_series(1, 500000) AS value")
    rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    assert rows == 500_000, rows


def parameters(cursor):
    cursor.execute("SELECT device, strokes FROM press WHERE device = ? AND time >= ? ORDER BY time", ("p1", START - timedelta(days=3650)))
    assert cursor.fetchall()[0] == ("p1", 12)
    cursor.execute("SELECT count(*) FROM press WHERE device = $1", ("p2",))
    assert cursor.fetchone()[0] > 0
    rows = [(START + timedelta(seconds=n), f"x{n % 7}", float(n)) for n in range(1000)]
    cursor.executemany("INSERT INTO press (time, device, site, temperature) VALUES (?, ?, 'many', ?)", rows)
    assert cursor.rowcount == 1000, cursor.rowcount
    cursor.execute("SELECT count(*), sum(temperature) FROM press WHERE site = 'many'")
    assert cursor.fetchone() == (1000, 499500.0)
    cursor.execute("DELETE FROM press WHERE site = ?", ("many",))
    cursor.execute("SELECT count(*) FROM press WHERE site = 'many'")
    assert cursor.fetchone() == (0,)


def errors(cursor):
    Error = adbc_driver_manager.Error
    fails(lambda: cursor.execute("SELECT * FROM nowhere"), Error, "42P01")
    fails(lambda: cursor.execute("SELECT FROM WHERE"), Error, "42601")
    fails(lambda: cursor.execute("BEGIN"), Error, "0A000")
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)
    wrong = {"username": user, "password": "not this one"}
    if scheme == "grpc+tls":
        wrong[adbc_driver_flightsql.DatabaseOptions.TLS_SKIP_VERIFY.value] = "true"
    fails(lambda: flight.connect(uri, db_kwargs=wrong), Error, "28000")


def readings(rows):
    return pyarrow.table({
        "time": pyarrow.array([START + timedelta(seconds=n // 10) for n in range(rows)], pyarrow.timestamp("us", "UTC")),
        "device": [f"d{n % 10}" for n in range(rows)],
        "value": [n / 4 if n % 5 else None for n in range(rows)],
        "count": list(range(rows)),
    })


def ingest(connection, cursor):
    rows = readings(100_000)
    # Nothing says which texts are the key.
    fails(lambda: cursor.adbc_ingest("readings", rows, mode="create"), adbc_driver_manager.Error, "42P16")
    strict = [field.with_nullable(field.name not in ("time", "device")) for field in rows.schema]
    rows = rows.cast(pyarrow.schema(strict))
    assert cursor.adbc_ingest("readings", rows, mode="create") == 100_000
    fails(lambda: cursor.adbc_ingest("readings", rows, mode="create"), adbc_driver_manager.Error, "42P07")
    assert cursor.adbc_ingest("readings", rows.slice(0, 10), mode="append") == 10
    assert cursor.adbc_ingest("readings", rows.slice(0, 10), mode="create_append") == 10
    cursor.execute("SELECT count(*), count(value), sum(count), sum(value), count(DISTINCT device) FROM readings")
    values = [value for value in rows.column("value").to_pylist() if value is not None]
    assert cursor.fetchone() == (100_000, len(values), sum(range(100_000)), sum(values), 10)
    reader = pyarrow.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=1000))
    cursor.execute("TRUNCATE readings")
    assert cursor.adbc_ingest("readings", reader, mode="append") == 100_000
    cursor.execute("SELECT * FROM readings ORDER BY count")
    back = cursor.fetch_arrow_table()
    assert back.column("value").to_pylist() == rows.column("value").to_pylist()
    assert back.column("time").cast(pyarrow.timestamp("us", "UTC")).to_pylist() == rows.column("time").to_pylist()
    fails(lambda: cursor.adbc_ingest("nowhere", rows, mode="append"), adbc_driver_manager.Error, "42P01")


def catalogue(connection):
    found = connection.adbc_get_objects(depth="all", db_schema_filter="public").read_all().to_pylist()
    assert [catalog["catalog_name"] for catalog in found] == ["millrace"], found
    (schema,) = found[0]["catalog_db_schemas"]
    tables = {table["table_name"]: table for table in schema["db_schema_tables"]}
    assert tables["press"]["table_type"] == "TABLE", tables
    columns = [column["column_name"] for column in tables["press"]["table_columns"]]
    assert "temperature" in columns, columns
    assert connection.adbc_get_table_schema("press").field("device").type == pyarrow.string()
    assert "TABLE" in connection.adbc_get_table_types()
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Millrace" and info["vendor_version"], info


def transactions():
    count = "SELECT count(*) FROM press WHERE site = 'tx'"
    insert = f"INSERT INTO press (time, device, site) VALUES ('{START.isoformat()}', 't', 'tx')"
    with connect() as watching, connect(autocommit=False) as connection:
        def seen():
            with watching.cursor() as cursor:
                cursor.execute(count)
                return cursor.fetchone()[0]

        with connection.cursor() as cursor:
            # A cursor prepares its text once and keeps it over the end of a transaction.
            for end in (connection.rollback, connection.rollback):
                cursor.execute(insert)
                assert seen() == 0
                end()

        def execute(sql):
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone() if cursor.description else None

        execute(insert)
        assert seen() == 0
        connection.rollback()
        assert seen() == 0
        execute(insert)
        connection.commit()
        assert seen() == 1
        # This driver ingests outside of its transaction; wire's own tests ingest inside of one.
        assert execute(count) == (1,)
        connection.rollback()


def cancelling(connection):
    with connection.cursor() as cursor:
        outcome = []

        def work():
            try:
                cursor.execute("SELECT sum(value) FROM generate_series(1, 100000000000) AS value")
                cursor.fetchone()
                outcome.append("an answer")
            except adbc_driver_manager.Error as error:
                outcome.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        while not outcome and thread.is_alive():
            time.sleep(0.2)
            cursor.adbc_cancel()
        thread.join()
        assert outcome and outcome[0] != "an answer", outcome


def settings():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'Asia/Tokyo'")
        cursor.execute("SELECT time FROM press LIMIT 1")
        assert str(cursor.fetch_arrow_table().schema.field("time").type) == "timestamp[us, tz=Asia/Tokyo]"


def plain_flight():
    """pyarrow's client: no driver between."""
    options = {"disable_server_verification": True} if scheme == "grpc+tls" else {}
    client = pyarrow.flight.FlightClient(uri, **options)
    login = client.authenticate_basic_token(user, password)
    options = pyarrow.flight.FlightCallOptions(headers=[login])
    actions = {action.type for action in client.list_actions(options)}
    assert {"BeginTransaction", "CancelFlightInfo"} <= actions, actions
    # CommandStatementQuery in an Any, by hand.
    query = b"SELECT device, strokes FROM press ORDER BY device, time"
    command = b"\x0a" + bytes([len(query)]) + query
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    message = b"\x0a" + bytes([len(url)]) + url + b"\x12" + bytes([len(command)]) + command
    descriptor = pyarrow.flight.FlightDescriptor.for_command(message)
    info = client.get_flight_info(descriptor, options)
    table = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert table.schema == info.schema and table.to_pylist()[0] == {"device": "p1", "strokes": 12}
    assert client.get_schema(descriptor, options).schema == info.schema
    fails(lambda: client.get_flight_info(descriptor), pyarrow.flight.FlightUnauthenticatedError, "28000")


def polars():
    try:
        import polars
    except ImportError:
        return
    with connect() as connection:
        frame = polars.read_database("SELECT device, count(*) AS n FROM press GROUP BY device", connection)
        assert frame.columns == ["device", "n"] and frame.height > 0, frame


with connect() as connection:
    with connection.cursor() as cursor:
        reading(cursor)
        parameters(cursor)
        errors(cursor)
        ingest(connection, cursor)
    catalogue(connection)
    cancelling(connection)
transactions()
settings()
plain_flight()
polars()
print("fine")
