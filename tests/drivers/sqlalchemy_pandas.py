"""SQLAlchemy's reflection, inserts and selects; pandas' read_sql and to_sql."""

import sys
from datetime import datetime, timezone

import pandas
import sqlalchemy as sa

host, port, user, password = sys.argv[1:]
url = sa.URL.create("postgresql+psycopg", user, password, host, int(port), "millrace")
engine = sa.create_engine(url)

inspector = sa.inspect(engine)
assert "public" in inspector.get_schema_names()
assert inspector.get_table_names() == ["Mixed Case", "press"], inspector.get_table_names()
assert inspector.get_view_names() == ["hot"]
assert inspector.has_table("press") and not inspector.has_table("nowhere")
columns = {column["name"]: column for column in inspector.get_columns("press")}
assert list(columns) == ["time", "device", "site", "temperature", "strokes", "running", "note"]
assert columns["time"]["type"].timezone is True and columns["time"]["nullable"] is False
kinds = {name: type(column["type"]).__name__ for name, column in columns.items()}
assert kinds == {
    "time": "TIMESTAMP", "device": "TEXT", "site": "TEXT", "temperature": "DOUBLE_PRECISION",
    "strokes": "BIGINT", "running": "BOOLEAN", "note": "TEXT",
}, kinds
assert columns["temperature"]["comment"] == "Degrees Celsius"
key = inspector.get_pk_constraint("press")
assert key["constrained_columns"] == ["device", "site", "time"] and key["name"] == "press_pkey", key
assert inspector.get_table_comment("press") == {"text": "Presses of hall one"}
for nothing in (
    inspector.get_foreign_keys, inspector.get_unique_constraints, inspector.get_check_constraints,
):
    assert nothing("press") == [], nothing
assert inspector.get_indexes("press") == [], inspector.get_indexes("press")
assert "temperature > 80" in inspector.get_view_definition("hot")
assert inspector.get_sequence_names() == [] and inspector.get_enums() == []

metadata = sa.MetaData()
metadata.reflect(engine, views=True)
assert set(metadata.tables) == {"Mixed Case", "press", "hot"}
press = metadata.tables["press"]
at = datetime(2024, 1, 2, tzinfo=timezone.utc)
with engine.begin() as connection:
    rows = [
        {"time": at, "device": "p3", "site": "west", "temperature": 90.5, "running": True},
        {"time": at, "device": "p4", "site": "west", "temperature": 10.0, "running": False},
    ]
    connection.execute(press.insert(), rows)
with engine.connect() as connection:
    query = sa.select(press.c.device, press.c.temperature).where(
        press.c.time >= at, press.c.site.in_(["west", "east"])
    )
    found = connection.execute(query.order_by(press.c.device)).all()
    assert found == [("p3", 90.5), ("p4", 10.0)], found
    grouped = connection.execute(
        sa.select(press.c.site, sa.func.count(), sa.func.max(press.c.temperature))
        .group_by(press.c.site).order_by(press.c.site)
    ).all()
    assert grouped == [("north", 2, 84.25), ("south", 1, 20.0), ("west", 2, 90.5)], grouped

# DDL stands alone, so it wants AUTOCOMMIT.
alone = engine.execution_options(isolation_level="AUTOCOMMIT")
made = sa.MetaData()
gauge = sa.Table(
    "gauge", made,
    sa.Column("time", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.PrimaryKeyConstraint("name", "time"),
)
made.create_all(alone)
frame = pandas.DataFrame(
    {
        "time": pandas.date_range("2024-01-01", periods=500, freq="min", tz="UTC"),
        "name": ["a", "b"] * 250,
        "value": [float(n) for n in range(500)],
    }
)
frame.to_sql("gauge", engine, if_exists="append", index=False)
frame.assign(name="c").to_sql("gauge", engine, if_exists="append", index=False, method="multi")
read = pandas.read_sql("SELECT * FROM gauge WHERE name <> 'c' ORDER BY time", engine)
assert len(read) == 500 and list(read["value"]) == list(frame["value"])
assert str(read["time"].dt.tz) == "UTC", read.dtypes
table = pandas.read_sql_table("gauge", engine, columns=["value"])
assert len(table) == 1000, len(table)
some = pandas.read_sql_query(
    sa.text("SELECT value FROM gauge WHERE name = :name AND value > :least"),
    engine, params={"name": "a", "least": 400},
)
assert len(some) == 49, len(some)
made.drop_all(alone)
assert "gauge" not in sa.inspect(engine).get_table_names()
print("fine")
