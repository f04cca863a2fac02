//! Settings of a session: SET, SHOW, RESET, and what planning and running read of them.

use std::str::FromStr;
use std::time::Duration;

use crate::Identity;
use crate::admission::Priority;
use crate::error::{QueryError, QueryResult};

/// What a setting may hold.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Any text.
    Text,
    /// on or off.
    Bool,
    /// A whole number in a range.
    Int(i64, i64),
    /// A time span, kept in ms; 0 is none.
    Millis,
    /// Bytes with a unit of Postgres (B, kB, MB, GB, TB); a bare number is kB, 0 none.
    Bytes,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A time zone.
    Zone,
    /// UTF8 under its many names.
    Encoding,
    /// ISO output; the order of day and month is kept.
    DateStyle,
    /// Cannot be changed.
    Fixed,
}

/// One definition a setting.
#[derive(Debug)]
struct Def {
    name: &'static str,
    default: &'static str,
    rule: Rule,
    /// The client is told of changes (ParameterStatus).
    reported: bool,
    about: &'static str,
}

const fn def(name: &'static str, default: &'static str, rule: Rule, about: &'static str) -> Def {
    Def { name, default, rule, reported: false, about }
}

const fn told(name: &'static str, default: &'static str, rule: Rule, about: &'static str) -> Def {
    Def { name, default, rule, reported: true, about }
}

const LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MESSAGES: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "warning", "error",
];

/// All settings, sorted by name without regard to case.
static DEFS: &[Def] = &[
    told("application_name", "", Rule::Text, "Name of the program on the other side."),
    def("array_nulls", "on", Rule::Bool, "Accepted for clients that set it."),
    def("backslash_quote", "safe_encoding", Rule::Text, "Accepted for clients that set it."),
    def("bytea_output", "hex", Rule::OneOf(&["hex"]), "Text form of bytea."),
    told("client_encoding", "UTF8", Rule::Encoding, "Encoding of texts on the wire."),
    def("client_min_messages", "notice", Rule::OneOf(MESSAGES), "Least notice that is sent."),
    told("DateStyle", "ISO, MDY", Rule::DateStyle, "Text form of times."),
    def("default_table_access_method", "millrace", Rule::Fixed, "How tables are kept."),
    def("default_tablespace", "", Rule::OneOf(&[""]), "Accepted; there is one tablespace."),
    def(
        "default_transaction_isolation",
        "repeatable read",
        Rule::OneOf(LEVELS),
        "Accepted; a transaction always reads one snapshot.",
    ),
    told("default_transaction_read_only", "off", Rule::Bool, "Transactions refuse writes."),
    def("escape_string_warning", "on", Rule::Bool, "Accepted for clients that set it."),
    def("extra_float_digits", "1", Rule::Int(-15, 3), "Floats are always written exactly."),
    def(
        "idle_in_transaction_session_timeout",
        "0",
        Rule::Millis,
        "A client that leaves a transaction open for longer is disconnected; 0: never.",
    ),
    told("in_hot_standby", "off", Rule::Fixed, "Whether this is a standby."),
    told("integer_datetimes", "on", Rule::Fixed, "Times are whole microseconds on the wire."),
    told("IntervalStyle", "postgres", Rule::OneOf(&["postgres"]), "Text form of intervals."),
    told("is_superuser", "off", Rule::Fixed, "Whether the user is one."),
    def("jit", "off", Rule::Bool, "Accepted for clients that set it."),
    def("lc_collate", "C", Rule::Fixed, "Order of texts."),
    def("lc_ctype", "C.UTF-8", Rule::Fixed, "Classes of characters."),
    def("lc_messages", "C", Rule::Text, "Language of messages."),
    def("lc_monetary", "C", Rule::Text, "Accepted for clients that set it."),
    def("lc_numeric", "C", Rule::Text, "Accepted for clients that set it."),
    def("lc_time", "C", Rule::Text, "Accepted for clients that set it."),
    def("lock_timeout", "0", Rule::Millis, "Accepted; statements take no locks."),
    def("max_identifier_length", "255", Rule::Fixed, "Bytes of a name."),
    def("max_index_keys", "32", Rule::Fixed, "Columns of a key that drivers may expect."),
    def(
        "millrace.aggregate_rows_min",
        "100000",
        Rule::Int(0, i64::MAX),
        "Rows that a continuous aggregate must spare a query over its table; 0: any number.",
    ),
    def(
        "millrace.cursor_memory",
        "16MB",
        Rule::Bytes,
        "Rows that a cursor keeps in memory, for SCROLL and WITH HOLD; further ones go to a file.",
    ),
    def(
        "millrace.gapfill_rows_max",
        "1000000",
        Rule::Int(1, 1_000_000_000),
        "Rows that filling gaps may add in one place of a statement.",
    ),
    def(
        "millrace.max_result_rows",
        "0",
        Rule::Int(0, i64::MAX),
        "A SELECT or COPY TO that gives more rows is ended (53400); 0: any number.",
    ),
    def(
        "millrace.priority",
        "normal",
        Rule::OneOf(PRIORITIES),
        "Which heavy statements run first where there are many: low, normal, high.",
    ),
    def(
        "millrace.query_memory",
        "0",
        Rule::Bytes,
        "Memory of one statement, which spills or is ended (53200) above; 0: the server's limit.",
    ),
    def(
        "millrace.queue_timeout",
        "5min",
        Rule::Millis,
        "A heavy statement that waits longer for its turn is ended; 0: never.",
    ),
    def(
        "millrace.skip_quarantined",
        "off",
        Rule::Bool,
        "SELECT leaves rows of bad blocks out and warns; off: it fails.",
    ),
    def(
        "millrace.slow_query_after",
        "5s",
        Rule::Millis,
        "Statements that take longer are logged and in sys.slow_queries; 0: none. Superusers only.",
    ),
    def(
        "millrace.use_aggregates",
        "on",
        Rule::Bool,
        "Queries over a table are answered out of its continuous aggregates where that is the same.",
    ),
    def(
        "millrace.use_last_cache",
        "on",
        Rule::Bool,
        "Newest rows are answered from the last-value cache.",
    ),
    def(
        "millrace.use_materialized",
        "on",
        Rule::Bool,
        "Continuous aggregates are read from their stored rows; off: computed.",
    ),
    def(
        "millrace.use_native",
        "on",
        Rule::Bool,
        "Aggregates over one table run on the engine's own streams.",
    ),
    def(
        "millrace.use_zones",
        "on",
        Rule::Bool,
        "Statistics of zones answer aggregates where they say all.",
    ),
    def("row_security", "on", Rule::Bool, "Accepted for clients that set it."),
    def(
        "search_path",
        "\"$user\", public",
        Rule::Text,
        "Schemas that names without one are looked up in.",
    ),
    told("server_encoding", "UTF8", Rule::Fixed, "Encoding of stored texts."),
    told("server_version", "15.0", Rule::Fixed, "Version of Postgres that clients may expect."),
    def("server_version_num", "150000", Rule::Fixed, "The same as a number."),
    told("session_authorization", "", Rule::Fixed, "Name of the user."),
    told(
        "standard_conforming_strings",
        "on",
        Rule::OneOf(&["on"]),
        "Backslashes in texts are themselves.",
    ),
    def("statement_timeout", "0", Rule::Millis, "A statement that runs longer is ended; 0: never."),
    def(
        "synchronous_commit",
        "on",
        Rule::OneOf(&["on"]),
        "A commit is durable before it is acknowledged.",
    ),
    told("TimeZone", "UTC", Rule::Zone, "Zone of times without one."),
    def("transaction_deferrable", "off", Rule::Bool, "Accepted for clients that set it."),
    def(
        "transaction_isolation",
        "repeatable read",
        Rule::OneOf(LEVELS),
        "A transaction reads one snapshot.",
    ),
    def("transaction_read_only", "off", Rule::Bool, "The transaction refuses writes."),
    def("work_mem", "4096", Rule::Text, "Accepted; millrace.query_memory limits a statement."),
    def("xmloption", "content", Rule::Text, "Accepted for clients that set it."),
];

/// A setting as pg_settings shows it.
pub(crate) struct Described<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) about: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) unit: Option<&'static str>,
    /// Least and largest value.
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) words: Option<&'static [&'static str]>,
    /// What it is when nobody says anything.
    pub(crate) boot: &'a str,
    /// What RESET makes of it.
    pub(crate) reset: &'a str,
    /// It cannot be changed.
    pub(crate) fixed: bool,
}

/// Names with a dot that a client may make up, at most this many a session.
const CUSTOM_MAX: usize = 64;

const PRIORITIES: &[&str] = &["low", "normal", "high"];

/// Settings that limit. What a role is given of them by a superuser is the most that its sessions
/// may ask for.
const LIMITS: [&str; 5] = [
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "millrace.max_result_rows",
    "millrace.priority",
    "millrace.query_memory",
];

/// Settings that only superusers change.
const GUARDED: [&str; 1] = ["millrace.slow_query_after"];

/// Whether only superusers may give a role this setting.
pub fn is_limit_setting(name: &str) -> bool {
    LIMITS.iter().chain(&GUARDED).any(|limit| limit.eq_ignore_ascii_case(name))
}

/// Values of one session. Clone is a deep copy: transactions keep one to fall back to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    values: Vec<String>,
    /// What RESET goes back to: the defaults with the start-up parameters over them.
    resets: Vec<String>,
    custom: Vec<(String, String)>,
    /// Most that a session may set, as [`breadth`] counts: place of the setting and its value.
    caps: Vec<(usize, u64)>,
    superuser: bool,
}

impl Settings {
    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> usize {
        let custom = self.custom.iter().map(|(name, value)| name.len() + value.len());
        self.values.iter().chain(&self.resets).map(String::len).chain(custom).sum()
    }

    /// The defaults for a user of this server.
    pub(crate) fn new(user: &str, superuser: bool, version: &str) -> Settings {
        let mut values: Vec<String> = DEFS.iter().map(|d| d.default.to_string()).collect();
        let mut put = |name: &str, value: String| {
            if let Some(i) = find(name) {
                values[i] = value;
            }
        };
        put("session_authorization", user.to_string());
        put("is_superuser", if superuser { "on" } else { "off" }.to_string());
        let version = version.trim();
        put(
            "server_version",
            match version {
                "" => "15.0".to_string(),
                _ => format!("15.0 (Millrace {version})"),
            },
        );
        let caps = match (superuser, find("millrace.priority")) {
            (false, Some(i)) => vec![(i, breadth(&DEFS[i], DEFS[i].default))],
            _ => Vec::new(),
        };
        Settings { resets: values.clone(), values, custom: Vec::new(), caps, superuser }
    }

    /// The values of a server, and of the role over them. What no build knows any more is left out.
    pub(crate) fn of_role(identity: &Identity, version: &str) -> Settings {
        let mut settings = Settings::new(&identity.user, identity.superuser, version);
        for (name, value) in identity.settings.iter() {
            let Some((i, value)) = find(name).and_then(|i| Some((i, check(&DEFS[i], value).ok()?)))
            else {
                tracing::warn!(name, user = identity.user, "a setting of the role is unknown");
                continue;
            };
            if !identity.superuser && LIMITS.iter().any(|limit| *limit == DEFS[i].name) {
                settings.caps.retain(|(at, _)| *at != i);
                settings.caps.push((i, breadth(&DEFS[i], &value)));
            }
            settings.resets[i].clone_from(&value);
            settings.values[i] = value;
        }
        settings
    }

    /// A value as it would be kept for a role.
    ///
    /// # Errors
    /// `42704` for an unknown name, `22023` for a bad value, `55P02` for what nobody changes.
    pub(crate) fn checked(name: &str, value: &str) -> QueryResult<(&'static str, String)> {
        let i = find(name).ok_or_else(|| unknown(name))?;
        Ok((DEFS[i].name, check(&DEFS[i], value)?))
    }

    /// `42501` where the session may not set this.
    fn may_set(&self, i: usize, value: &str) -> QueryResult<()> {
        let def = &DEFS[i];
        if !self.superuser && GUARDED.contains(&def.name) {
            let message = format!("permission denied to set parameter \"{}\"", def.name);
            return Err(QueryError::new("42501", message));
        }
        match self.caps.iter().find(|(at, _)| *at == i) {
            Some((_, cap)) if breadth(def, value) > *cap => {
                let most = &self.resets[i];
                let message = format!("parameter \"{}\" may not be set to {value}", def.name);
                Err(QueryError::new("42501", message).with_hint(format!(
                    "A superuser limits it for this role; {most} and what is stricter can be set."
                )))
            }
            _ => Ok(()),
        }
    }

    /// Takes a start-up parameter: RESET comes back to it.
    pub(crate) fn start_up(&mut self, name: &str, value: &str) -> QueryResult<()> {
        self.set(name, value)?;
        if let Some(i) = find(name) {
            self.resets[i] = self.values[i].clone();
        }
        Ok(())
    }

    /// Value as SHOW gives it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        match find(name) {
            Some(i) => Some(&self.values[i]),
            None => self
                .custom
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.as_str()),
        }
    }

    /// Name as Postgres writes it.
    pub(crate) fn canonical(name: &str) -> Option<&'static str> {
        find(name).map(|i| DEFS[i].name)
    }

    /// Whether the client is told of changes.
    pub(crate) fn is_reported(name: &str) -> bool {
        find(name).is_some_and(|i| DEFS[i].reported)
    }

    /// All reported settings.
    pub(crate) fn reported(&self) -> Vec<(String, String)> {
        let pairs = DEFS.iter().zip(&self.values).filter(|(d, _)| d.reported);
        pairs.map(|(d, v)| (d.name.to_string(), v.clone())).collect()
    }

    /// (name, value, description) of all settings.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.described().map(|setting| (setting.name, setting.value, setting.about))
    }

    /// All settings with what is known of them.
    pub(crate) fn described(&self) -> impl Iterator<Item = Described<'_>> {
        let values = self.values.iter().zip(&self.resets);
        let known = DEFS.iter().zip(values).map(|(def, (value, reset))| {
            let (kind, unit, range, words) = match def.rule {
                Rule::Bool => ("bool", None, None, None),
                Rule::Int(min, max) => ("integer", None, Some((min, max)), None),
                Rule::Millis => ("integer", Some("ms"), Some((0, i64::from(i32::MAX))), None),
                Rule::OneOf(words) => ("enum", None, None, Some(words)),
                _ => ("string", None, None, None),
            };
            let (name, about, boot) = (def.name, def.about, def.default);
            let fixed = matches!(def.rule, Rule::Fixed);
            Described { name, value, about, kind, unit, range, words, boot, reset, fixed }
        });
        known.chain(self.custom.iter().map(|(name, value)| Described {
            name,
            value,
            about: "",
            kind: "string",
            unit: None,
            range: None,
            words: None,
            boot: "",
            reset: "",
            fixed: false,
        }))
    }

    /// SET.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> QueryResult<()> {
        let Some(i) = find(name) else { return self.set_custom(name, value) };
        let value = check(&DEFS[i], value)?;
        self.may_set(i, &value)?;
        self.values[i] = value;
        Ok(())
    }

    fn set_custom(&mut self, name: &str, value: &str) -> QueryResult<()> {
        let known = self.custom.iter().position(|(n, _)| n.eq_ignore_ascii_case(name));
        if !name.contains('.') || name.starts_with("millrace.") {
            return Err(unknown(name));
        }
        match known {
            Some(i) => self.custom[i].1 = value.to_string(),
            None if self.custom.len() >= CUSTOM_MAX => {
                return Err(QueryError::new("53400", "too many settings of your own"));
            }
            None => self.custom.push((name.to_lowercase(), value.to_string())),
        }
        Ok(())
    }

    /// RESET, or SET … TO DEFAULT.
    pub(crate) fn reset(&mut self, name: &str) -> QueryResult<()> {
        if let Some(i) = find(name) {
            if matches!(DEFS[i].rule, Rule::Fixed) {
                return Err(fixed(DEFS[i].name));
            }
            self.values[i] = self.resets[i].clone();
            return Ok(());
        }
        let before = self.custom.len();
        self.custom.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        if self.custom.len() == before && !name.contains('.') {
            return Err(unknown(name));
        }
        Ok(())
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&mut self) {
        self.values = self.resets.clone();
        self.custom.clear();
    }

    /// Zone for Arrow: `+00:00` for UTC, else its name or offset.
    pub(crate) fn zone(&self) -> &str {
        match self.get("TimeZone").unwrap_or("UTC") {
            "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT" | "Zulu" | "Etc/Zulu" => "+00:00",
            other => other,
        }
    }

    /// `None`: no limit.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.span("statement_timeout")
    }

    /// How long a transaction may wait for its client; `None`: no limit.
    pub(crate) fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.span("idle_in_transaction_session_timeout")
    }

    fn span(&self, name: &str) -> Option<Duration> {
        let millis = self.get(name).and_then(parse_millis).unwrap_or(0);
        (millis > 0).then(|| Duration::from_millis(millis as u64))
    }

    /// How long a heavy statement may wait for its turn; `None`: no limit.
    pub(crate) fn queue_timeout(&self) -> Option<Duration> {
        self.span("millrace.queue_timeout")
    }

    /// From which time on a statement is slow, µs; `None`: never.
    pub(crate) fn slow_query_after_us(&self) -> Option<u64> {
        self.span("millrace.slow_query_after").map(|span| span.as_micros() as u64)
    }

    /// Rows that a statement may give; `None`: any number.
    pub(crate) fn max_result_rows(&self) -> Option<u64> {
        let rows = self.get("millrace.max_result_rows")?.parse().ok()?;
        (rows > 0).then_some(rows)
    }

    /// Bytes that a statement may hold; `None`: the server's limit.
    pub(crate) fn query_memory(&self) -> Option<usize> {
        let bytes = parse_bytes(self.get("millrace.query_memory")?)?;
        usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    }

    /// Bytes of rows that a cursor keeps in memory.
    pub(crate) fn cursor_memory(&self) -> usize {
        let bytes = self.get("millrace.cursor_memory").and_then(parse_bytes).unwrap_or(16 << 20);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Place in the queue of heavy statements.
    pub(crate) fn priority(&self) -> Priority {
        Priority::of(self.get("millrace.priority").unwrap_or_default())
    }

    /// Rows that a continuous aggregate must spare a query over its table.
    pub(crate) fn aggregate_rows_min(&self) -> u64 {
        self.get("millrace.aggregate_rows_min").and_then(|n| n.parse().ok()).unwrap_or(100_000)
    }

    /// Rows that filling gaps may add.
    pub(crate) fn gapfill_rows_max(&self) -> usize {
        self.get("millrace.gapfill_rows_max").and_then(|n| n.parse().ok()).unwrap_or(1_000_000)
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }
}

fn find(name: &str) -> Option<usize> {
    DEFS.iter().position(|d| d.name.eq_ignore_ascii_case(name))
}

pub(crate) fn unknown(name: &str) -> QueryError {
    QueryError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn fixed(name: &str) -> QueryError {
    QueryError::new("55P02", format!("parameter \"{name}\" cannot be changed"))
}

/// The value as it is kept, or why it cannot be.
fn check(def: &Def, value: &str) -> QueryResult<String> {
    let bad = || {
        let message = format!("invalid value for parameter \"{}\": \"{value}\"", def.name);
        QueryError::new("22023", message)
    };
    let trimmed = value.trim();
    match def.rule {
        Rule::Text => Ok(value.to_string()),
        Rule::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "on" | "true" | "t" | "yes" | "y" | "1" => Ok("on".into()),
            "off" | "false" | "f" | "no" | "n" | "0" => Ok("off".into()),
            _ => Err(bad()),
        },
        Rule::Int(min, max) => match trimmed.parse::<i64>() {
            Ok(n) if (min..=max).contains(&n) => Ok(n.to_string()),
            _ => Err(bad()),
        },
        Rule::Millis => parse_millis(trimmed).map(show_millis).ok_or_else(bad),
        Rule::Bytes => parse_bytes(trimmed).map(show_bytes).ok_or_else(bad),
        Rule::OneOf(words) => words
            .iter()
            .find(|w| w.eq_ignore_ascii_case(trimmed))
            .or(words.first().filter(|w| **w == "on" && trimmed.eq_ignore_ascii_case("true")))
            .map(|w| (*w).to_string())
            .ok_or_else(bad),
        Rule::Zone => zone(trimmed).ok_or_else(bad),
        Rule::Encoding => {
            let plain: String =
                trimmed.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
            match plain.to_ascii_lowercase().as_str() {
                "utf8" | "unicode" => Ok("UTF8".into()),
                _ => Err(bad().with_hint("Millrace speaks UTF8 only.")),
            }
        }
        Rule::DateStyle => date_style(trimmed).ok_or_else(bad),
        Rule::Fixed => Err(fixed(def.name)),
    }
}

/// Name of a zone in its own spelling, or an offset as `+hh:mm`.
fn zone(text: &str) -> Option<String> {
    let named = chrono_tz::TZ_VARIANTS.iter().find(|z| z.name().eq_ignore_ascii_case(text));
    if let Some(zone) = named {
        return Some(zone.name().to_string());
    }
    if text.eq_ignore_ascii_case("z") {
        return Some("UTC".into());
    }
    // Hours east of Greenwich, as SET TIME ZONE takes them: 2, -3.5, +05:30.
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ('-', &text[1..]),
        b'+' => ('+', &text[1..]),
        _ => ('+', text),
    };
    let minutes = match rest.split_once(':') {
        Some((h, m)) => u32::from_str(h).ok()?.checked_mul(60)? + u32::from_str(m).ok()?,
        None => {
            let hours = f64::from_str(rest).ok().filter(|h| (0.0..=15.0).contains(h))?;
            (hours * 60.0).round() as u32
        }
    };
    if minutes == 0 {
        return Some("UTC".into());
    }
    (minutes <= 15 * 60 + 59).then(|| format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}

fn date_style(text: &str) -> Option<String> {
    let mut order = "MDY";
    for word in text.split(',') {
        match word.trim().to_ascii_uppercase().as_str() {
            "ISO" | "DEFAULT" => {}
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

/// `1500`, `2s`, `'1 min'` … in ms.
fn parse_millis(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let millis = (number * factor).round();
    (0.0..=2_147_483_647.0).contains(&millis).then_some(millis as i64)
}

/// With the largest unit that divides it, as SHOW does.
fn show_millis(millis: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.iter().find(|(size, _)| millis > 0 && millis % size == 0) {
        Some((size, unit)) => format!("{}{unit}", millis / size),
        None => "0".into(),
    }
}

/// Units of bytes, as Postgres writes them.
const BYTE_UNITS: [(u64, &str); 5] =
    [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"), (1, "B")];

/// `64MB`, `1 GB`, `2048` (kB) … in bytes.
fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let unit = if unit.trim().is_empty() { "kB" } else { unit.trim() };
    let (size, _) = BYTE_UNITS.iter().find(|(_, name)| *name == unit)?;
    let bytes = (number * *size as f64).round();
    (0.0..=(1u64 << 50) as f64).contains(&bytes).then_some(bytes as u64)
}

/// With the largest unit that divides it, as SHOW does.
fn show_bytes(bytes: u64) -> String {
    match BYTE_UNITS.iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => "0".into(),
    }
}

/// How much a value of a limit allows: more is less strict, and 0, which is no limit, is most.
fn breadth(def: &Def, value: &str) -> u64 {
    let count = match def.rule {
        Rule::OneOf(_) => return Priority::of(value) as u64,
        Rule::Bytes => parse_bytes(value).unwrap_or(0),
        Rule::Millis => parse_millis(value).map_or(0, |millis| millis as u64),
        _ => value.parse().unwrap_or(0),
    };
    if count == 0 { u64::MAX } else { count }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn role(superuser: bool, settings: &[(&str, &str)]) -> Settings {
        let own = |pair: &(&str, &str)| (pair.0.to_string(), pair.1.to_string());
        let settings: Vec<_> = settings.iter().map(own).collect();
        let identity = Identity {
            user: "bob".into(),
            oid: 1,
            superuser,
            can_read: true,
            can_write: false,
            can_define: false,
            settings: Arc::new(settings),
        };
        Settings::of_role(&identity, "")
    }

    #[test]
    fn a_role_s_limits_can_only_be_made_stricter() {
        let given = [
            ("statement_timeout", "5s"),
            ("millrace.max_result_rows", "1000"),
            ("millrace.query_memory", "64MB"),
            ("millrace.priority", "high"),
            ("TimeZone", "Asia/Tokyo"),
        ];
        let mut s = role(false, &given);
        assert_eq!(s.zone(), "Asia/Tokyo");
        assert_eq!(s.max_result_rows(), Some(1000));
        assert_eq!(s.query_memory(), Some(64 << 20));
        for (name, value) in [
            ("statement_timeout", "6s"),
            ("statement_timeout", "0"),
            ("millrace.max_result_rows", "1001"),
            ("millrace.max_result_rows", "0"),
            ("millrace.query_memory", "1GB"),
            ("millrace.query_memory", "0"),
            ("millrace.slow_query_after", "0"),
        ] {
            assert_eq!(s.set(name, value).unwrap_err().code, "42501", "{name} {value}");
            assert_eq!(s.start_up(name, value).unwrap_err().code, "42501", "{name} {value}");
        }
        for (name, value) in [
            ("statement_timeout", "4999"),
            ("millrace.max_result_rows", "10"),
            ("millrace.query_memory", "100kB"),
            ("millrace.priority", "low"),
            ("millrace.priority", "high"),
            ("TimeZone", "UTC"),
        ] {
            s.set(name, value).unwrap_or_else(|e| panic!("{name} {value}: {e}"));
        }
        s.reset_all();
        for (name, value) in given {
            assert_eq!(s.get(name), Some(value));
        }
        let mut free = role(true, &given);
        assert_eq!(free.statement_timeout(), Some(Duration::from_secs(5)));
        free.set("statement_timeout", "0").unwrap();
        let mut plain = role(false, &[]);
        plain.set("statement_timeout", "1h").unwrap();
        assert_eq!(plain.set("millrace.priority", "high").unwrap_err().code, "42501");
    }

    #[test]
    fn bytes_are_shown_with_their_unit() {
        let mut s = role(true, &[]);
        for (given, shown) in
            [("64MB", "64MB"), ("2048", "2MB"), ("1.5 kB", "1536B"), ("0", "0"), ("1024GB", "1TB")]
        {
            s.set("millrace.query_memory", given).unwrap();
            assert_eq!(s.get("millrace.query_memory"), Some(shown), "{given}");
        }
        for bad in ["", "x", "1 XB", "-1", "1e9", "9999999TB"] {
            assert_eq!(s.set("millrace.query_memory", bad).unwrap_err().code, "22023", "{bad}");
        }
    }

    #[test]
    fn sets_shows_and_resets() {
        let mut s = Settings::new("bob", false, "0.1.0");
        for (name, given, shown) in [
            ("timezone", "europe/berlin", "Europe/Berlin"),
            ("TimeZone", "-3.5", "-03:30"),
            ("TimeZone", "+05:30", "+05:30"),
            ("TimeZone", "0", "UTC"),
            ("statement_timeout", "90s", "90s"),
            ("statement_timeout", "120000", "2min"),
            ("statement_timeout", "0", "0"),
            ("DateStyle", "iso, dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("millrace.use_last_cache", "FALSE", "off"),
            ("my.own", "x", "x"),
        ] {
            s.set(name, given).unwrap_or_else(|e| panic!("{name} {given}: {e}"));
            assert_eq!(s.get(name), Some(shown), "{name} {given}");
        }
        s.reset_all();
        assert_eq!(s.get("datestyle"), Some("ISO, MDY"));
        assert_eq!(s.get("session_authorization"), Some("bob"));
    }

    #[test]
    fn refuses_with_the_right_code() {
        let mut s = Settings::new("bob", false, "");
        for (name, value, code) in [
            ("no_such", "1", "42704"),
            ("millrace.no_such", "1", "42704"),
            ("timezone", "Mars/Olympus", "22023"),
            ("client_encoding", "latin1", "22023"),
            ("extra_float_digits", "9", "22023"),
            ("server_version", "16", "55P02"),
            ("statement_timeout", "soon", "22023"),
            ("datestyle", "German", "22023"),
        ] {
            assert_eq!(s.set(name, value).unwrap_err().code, code, "{name} {value}");
        }
    }

    #[test]
    fn start_up_values_survive_reset() {
        let mut s = Settings::new("bob", true, "");
        s.start_up("timezone", "Asia/Tokyo").unwrap();
        s.set("timezone", "UTC").unwrap();
        s.reset("timezone").unwrap();
        assert_eq!((s.get("timezone"), s.zone()), (Some("Asia/Tokyo"), "Asia/Tokyo"));
    }
}
