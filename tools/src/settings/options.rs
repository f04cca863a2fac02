//! Every option of the server in one table: name, kind, default, minimum and meaning. Flags,
//! variables, keys of the settings file, help texts and the sample file are all made from it.

/// What the text of an option may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A secret: never printed, and no flag, since flags show in the process list.
    Secret,
    /// A path of a file or folder; empty means "none".
    Path,
    /// `address:port`, or `off`.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`; as a flag it may stand alone.
    Switch,
    /// A whole number.
    Count,
    /// Bytes: a number with an optional unit (kB, MB, GB, KiB, MiB, GiB). Where the default is
    /// [`AUTO`], that word is taken too.
    Bytes,
    /// Seconds.
    Seconds,
    /// A day as `2000-01-31`, UTC.
    Day,
}

/// Default of limits that follow from `memory_bytes_max`; see `budget.rs`.
pub const AUTO: &str = "auto";

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Key in the settings file; the flag has `-` for `_`, the variable is `MILLRACE_` and capitals.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Text of the default.
    pub default: &'static str,
    /// Smallest number taken; 0 for what is not a number.
    pub min: u64,
    /// What it does, for people.
    pub meaning: &'static str,
}

const fn option(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    min: u64,
    meaning: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, min, meaning }
}

/// All options, in the order that help shows them.
pub const OPTIONS: &[OptionSpec] = &[
    option("data_dir", Kind::Path, "./millrace-data", 0, "Folder of the database; made if missing"),
    option("listen_pg", Kind::Address, "127.0.0.1:5433", 0, "Postgres wire: address:port or `off`"),
    option(
        "listen_pg_socket",
        Kind::Path,
        "",
        0,
        "Postgres wire through the file system: a folder, for `psql -h FOLDER`; empty: none",
    ),
    option("listen_http", Kind::Address, "127.0.0.1:8080", 0, "HTTP: address:port or `off`"),
    option(
        "listen_grpc",
        Kind::Address,
        "127.0.0.1:8081",
        0,
        "Arrow Flight SQL (gRPC): address:port or `off`",
    ),
    option(
        "listen_line",
        Kind::Address,
        "off",
        0,
        "Line protocol over TCP: address:port (127.0.0.1:8086 is customary) or `off`",
    ),
    option(
        "line_anonymous",
        Kind::Switch,
        "false",
        0,
        "Line protocol over TCP without log-in, for clients on this machine only",
    ),
    option(
        "tls",
        Kind::Choice(&["off", "allow", "require"]),
        "off",
        0,
        "Encryption of the Postgres wire, HTTP and gRPC: off, allow (Postgres clients choose), require",
    ),
    option(
        "tls_certificate",
        Kind::Path,
        "",
        0,
        "PEM file of the certificate chain; empty: a self-signed one is made in the data folder",
    ),
    option("tls_key", Kind::Path, "", 0, "PEM file of the certificate's private key"),
    option(
        "insecure",
        Kind::Switch,
        "false",
        0,
        "Listen beyond this machine without TLS: passwords and data can be read on the way",
    ),
    option(
        "admin_password",
        Kind::Secret,
        "",
        0,
        "Password of `admin` when the database is made; empty: a random one, shown once",
    ),
    option(
        "encryption_key_file",
        Kind::Path,
        "",
        0,
        "File with the key that the data folder is encrypted with: 64 hexadecimal digits \
         (`openssl rand -hex 32`); further lines are older keys. Empty: not encrypted. Chosen when \
         the database is made",
    ),
    option(
        "encryption_key_command",
        Kind::Text,
        "",
        0,
        "Shell command that prints what `encryption_key_file` would hold",
    ),
    option("encryption_key", Kind::Secret, "", 0, "What `encryption_key_file` would hold"),
    option(
        "encryption_key_seconds",
        Kind::Seconds,
        "60",
        0,
        "How often file or command is asked for a new key, which then takes over; 0: at start only",
    ),
    option(
        "log",
        Kind::Text,
        "info",
        0,
        "What is logged: error, warn, info, debug, trace, or filters such as `info,wire=debug`",
    ),
    option("log_format", Kind::Choice(&["text", "json"]), "text", 0, "Shape of a log line"),
    option(
        "shards",
        Kind::Count,
        "0",
        0,
        "Shards of a new database, 1 to 64, fixed for its life; 0: as many as cores, at most 16",
    ),
    option(
        "memory_bytes_max",
        Kind::Bytes,
        AUTO,
        192 << 20,
        "Memory of the whole server; auto: half of the machine's or control group's",
    ),
    option(
        "head_bytes_max",
        Kind::Bytes,
        AUTO,
        1024,
        "Rows of one table kept in memory; auto: a quarter of heads_bytes_max, at most 128 MiB",
    ),
    option(
        "heads_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Rows of all tables kept in memory, writers wait above it; auto: 20 % of memory_bytes_max",
    ),
    option(
        "head_age_seconds_max",
        Kind::Seconds,
        "3600",
        1,
        "Age at which rows in memory are flushed",
    ),
    option("merge_fan_in", Kind::Count, "8", 2, "Flushed parts of a table that start a merge"),
    option(
        "partition_groups_max",
        Kind::Count,
        "256",
        1,
        "Values of the key columns that partition a table; those beyond share partitions",
    ),
    option("log_bytes_max", Kind::Bytes, "1GiB", 65536, "Length of the log that forces a flush"),
    option("log_segment_bytes_max", Kind::Bytes, "64MiB", 4096, "One file of the log"),
    option(
        "disk_reserve_bytes",
        Kind::Bytes,
        "64MiB",
        0,
        "Room of the disk that is kept free: below, writes are refused (53100) until there is room \
         again; reads, DELETE, DROP and retention go on. 0: none",
    ),
    option(
        "queue_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Records and rows waiting for their commit; auto: 3 % of memory_bytes_max",
    ),
    option(
        "cache_bytes_max",
        Kind::Bytes,
        AUTO,
        0,
        "Decoded indexes of parts kept in memory; auto: 10 % of memory_bytes_max",
    ),
    option(
        "blocks_bytes_max",
        Kind::Bytes,
        AUTO,
        0,
        "Decoded columns kept for queries that come again; auto: 10 % of memory_bytes_max",
    ),
    option(
        "series_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Series and their last rows, new ones are refused above it; auto: 8 % of memory_bytes_max",
    ),
    option(
        "line_cache_bytes_max",
        Kind::Bytes,
        AUTO,
        0,
        "Keys of line protocol beside their series; auto: 2 % of memory_bytes_max",
    ),
    option(
        "archive_url",
        Kind::Text,
        "",
        0,
        "Object store that old partitions move to where a table has `archive_after` and no \
         `archive`, such as file:///srv/archive; empty: none",
    ),
    option(
        "archive_cache_bytes_max",
        Kind::Bytes,
        "64MiB",
        0,
        "Blocks of archived partitions kept in memory",
    ),
    option(
        "archive_grace_seconds",
        Kind::Seconds,
        "604800",
        0,
        "How long an archived object stays that no partition needs any more",
    ),
    option(
        "life_interval_seconds",
        Kind::Seconds,
        "60",
        1,
        "How often retention and archive are looked after; at most a day",
    ),
    option(
        "scrub_bytes_per_second",
        Kind::Bytes,
        "8MiB",
        0,
        "How fast whatever has a checksum is read in the background, bytes a second; 0: not at all",
    ),
    option(
        "scrub_interval_seconds",
        Kind::Seconds,
        "604800",
        1,
        "The background reads each file at most once in this time",
    ),
    option(
        "backup_url",
        Kind::Text,
        "",
        0,
        "Where backups are taken to by themselves, such as file:///mnt/backups; empty: nowhere",
    ),
    option(
        "backup_full_seconds",
        Kind::Seconds,
        "86400",
        1,
        "Time between full backups, which copy everything anew",
    ),
    option(
        "backup_incremental_seconds",
        Kind::Seconds,
        "3600",
        1,
        "Time between backups; those that are not full copy what is new",
    ),
    option(
        "backup_keep_seconds",
        Kind::Seconds,
        "2592000",
        0,
        "How far back every moment can be restored; older backups go; 0: none goes",
    ),
    option(
        "log_archive_seconds",
        Kind::Seconds,
        "60",
        0,
        "Time between copies of the log to `backup_url`, for restores to any moment; 0: none",
    ),
    option(
        "log_archive_held_bytes_max",
        Kind::Bytes,
        "4GiB",
        0,
        "Log kept while it cannot be archived; beyond it is cut, which is told and noted",
    ),
    option("time_min", Kind::Day, "1900-01-01", 0, "First day whose rows are taken"),
    option("time_max", Kind::Day, "2200-01-01", 0, "Rows after the start of this day are refused"),
    option("columns_max", Kind::Count, "4096", 1, "Columns of one table"),
    option("tables_max", Kind::Count, "100000", 1, "Tables"),
    option("series_max", Kind::Count, "50000000", 1, "Series of one table"),
    option("value_bytes_max", Kind::Bytes, "1MiB", 16, "One value in a column"),
    option(
        "query_memory_bytes_max",
        Kind::Bytes,
        AUTO,
        1 << 20,
        "Memory of all queries together; auto: 23 % of memory_bytes_max",
    ),
    option(
        "query_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Memory of one query where millrace.query_memory says nothing; auto: half of \
         query_memory_bytes_max",
    ),
    option(
        "spill_bytes_max",
        Kind::Bytes,
        "4GiB",
        0,
        "Files that queries may spill to; a query that needs more ends with 53100",
    ),
    option(
        "copy_folder",
        Kind::Path,
        "",
        0,
        "Folder whose files superusers may COPY from and to on the server; empty: none",
    ),
    option(
        "queries_heavy_max",
        Kind::Count,
        "0",
        0,
        "Heavy queries at a time, others wait by millrace.priority; 0: as query_threads, at least 4",
    ),
    option(
        "queries_waiting_max",
        Kind::Count,
        "100",
        0,
        "Heavy queries that may wait for their turn; more are refused (53300)",
    ),
    option(
        "prom_lookback_seconds",
        Kind::Seconds,
        "300",
        1,
        "How far back instant vectors of PromQL look for a sample",
    ),
    option(
        "prom_timeout_seconds",
        Kind::Seconds,
        "120",
        0,
        "Time that a query of PromQL may take; 0: as statement_timeout says",
    ),
    option(
        "prom_points_max",
        Kind::Count,
        "11000",
        1,
        "Points of each series that a range query of PromQL may ask for",
    ),
    option(
        "prom_samples_max",
        Kind::Count,
        "50000000",
        1000,
        "Samples that a query of PromQL may hold at a time",
    ),
    option("query_threads", Kind::Count, "0", 0, "Threads that run queries; 0: as many as cores"),
    option("connections_max", Kind::Count, "500", 1, "Connections of each door"),
    option(
        "stop_seconds_max",
        Kind::Seconds,
        "10",
        0,
        "Time that running requests get when the server is told to stop",
    ),
    option("metrics_open", Kind::Switch, "false", 0, "Answer /metrics without log-in"),
    option(
        "http_memory_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Bodies of all HTTP requests, packed and unpacked; auto: 5 % of memory_bytes_max",
    ),
    option(
        "body_bytes_max",
        Kind::Bytes,
        AUTO,
        1024,
        "Body of an HTTP request, unpacked; auto: a third of http_memory_bytes_max, at most 64 MiB",
    ),
    option(
        "messages_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Postgres messages above 64 KiB of all connections; auto: 5 % of memory_bytes_max",
    ),
    option(
        "message_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "One Postgres message; auto: as messages_bytes_max, at most 256 MiB",
    ),
    option(
        "grpc_memory_bytes_max",
        Kind::Bytes,
        AUTO,
        65536,
        "Flight SQL messages that come in, kept statements and their parameters; auto: 4 % of \
         memory_bytes_max",
    ),
    option(
        "grpc_message_bytes_max",
        Kind::Bytes,
        AUTO,
        16384,
        "One Flight SQL message that comes in, such as a batch of an ingest; auto: a third of \
         grpc_memory_bytes_max, at most 64 MiB",
    ),
    option(
        "grpc_token_seconds",
        Kind::Seconds,
        "43200",
        1,
        "Life of the token of a Flight SQL log-in; after half of it calls are given another",
    ),
    option("grpc_tokens_max", Kind::Count, "1000", 1, "Flight SQL log-ins kept of a user"),
    option("grpc_ticket_seconds", Kind::Seconds, "300", 1, "Life of a Flight SQL ticket"),
    option("grpc_tickets_max", Kind::Count, "1000", 1, "Flight SQL tickets of a user"),
    option(
        "grpc_statements_max",
        Kind::Count,
        "1000",
        1,
        "Prepared statements of a user over Flight SQL",
    ),
    option(
        "grpc_statement_idle_seconds",
        Kind::Seconds,
        "3600",
        1,
        "Prepared statements of Flight SQL unused for as long are forgotten",
    ),
    option(
        "grpc_transactions_max",
        Kind::Count,
        "100",
        1,
        "Open transactions of a user over Flight SQL",
    ),
    option(
        "grpc_transaction_idle_seconds",
        Kind::Seconds,
        "300",
        1,
        "Transactions of Flight SQL unused for as long are rolled back",
    ),
    option(
        "grpc_unread_seconds",
        Kind::Seconds,
        "300",
        1,
        "Results of Flight SQL left unread, and uploads left silent, for as long are ended",
    ),
    option("line_bytes_max", Kind::Bytes, "4MiB", 64, "One line of line protocol"),
];

/// The option of this name.
pub fn find(name: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.name == name)
}
