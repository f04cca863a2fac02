"""One module for each database, all with the interface of `base.Database`."""

# In the order of the table.
NAMES = ["millrace", "duckdb", "chdb", "victoriametrics", "influxdb", "postgresql"]
TITLES = {
    "millrace": "Millrace",
    "duckdb": "DuckDB",
    "chdb": "ClickHouse (chDB)",
    "victoriametrics": "VictoriaMetrics",
    "influxdb": "InfluxDB",
    "postgresql": "PostgreSQL",
}
# Whose answers the others are compared with: the first of these that answers a query.
REFERENCES = ["duckdb", "chdb", "postgresql", "influxdb", "millrace"]
# Their buckets at the edges of a window take in rows outside of it.
EDGES_ARE_WHOLE = {"victoriametrics"}


def open_database(name: str, programs: dict, folder):
    """The driver of a database, started on an empty folder."""
    import importlib

    module = importlib.import_module(f"databases.{name}_peer")
    return module.Peer(programs, folder)
