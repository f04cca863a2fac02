"""One module for each database, all with the interface of `base.Database`."""

# In the order of the table. The first that answers is the one the others are compared with.
NAMES = ["millrace", "duckdb", "chdb", "victoriametrics", "influxdb", "postgresql"]
TITLES = {
    "millrace": "Millrace",
    "duckdb": "DuckDB",
    "chdb": "ClickHouse (chDB)",
    "victoriametrics": "VictoriaMetrics",
    "influxdb": "InfluxDB",
    "postgresql": "PostgreSQL",
}


def open_database(name: str, programs: dict, folder):
    """The driver of a database, started on an empty folder."""
    import importlib

    module = importlib.import_module(f"databases.{name}_peer")
    return module.Peer(programs, folder)
