//! Settings of the server. Layers, each over the one before: defaults, settings file, variables
//! `MILLRACE_*`, flags. A key that no option has is refused, with the list of those there are.

mod budget;
pub mod options;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Value;

use crate::failure::{Failure, Result};
pub use options::{Kind, OPTIONS, OptionSpec};
pub use parse::{parse_bytes, parse_day_ns};

/// Variables of the same prefix that are not for the server.
const CLIENT_VARIABLES: &[&str] = &["config", "url", "pg", "user", "password"];
/// Variables of tests of this prefix.
const TEST_PREFIX: &str = "test_";

/// One layer: where it comes from, and texts by option name.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// For error messages, such as `the settings file a.toml`.
    pub source: String,
    /// Text of each option given.
    pub values: BTreeMap<String, String>,
}

/// Checked settings: every option has a value that its kind and minimum allow.
#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    /// Options whose values follow from the memory there is.
    automatic: BTreeSet<&'static str>,
    /// What the user should know before the server starts.
    warnings: Vec<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_toml())
    }
}

impl Settings {
    /// Layers the file (if any), the variables of this process and the flags over the defaults.
    pub fn load(file: Option<&Path>, flags: BTreeMap<String, String>) -> Result<Settings> {
        let mut layers = Vec::new();
        if let Some(path) = file {
            layers.push(file_layer(path)?);
        }
        layers.push(variable_layer(std::env::vars()));
        layers.push(Layer { source: "the command line".into(), values: flags });
        Settings::from_layers(&layers)
    }

    /// Checks and merges layers; later ones win.
    pub fn from_layers(layers: &[Layer]) -> Result<Settings> {
        Settings::on_machine(layers, budget::machine_bytes())
    }

    /// As [`Settings::from_layers`] on a machine with so much memory.
    fn on_machine(layers: &[Layer], machine_bytes: u64) -> Result<Settings> {
        let defaults = Layer {
            source: "defaults".into(),
            values: OPTIONS.iter().map(|o| (o.name.to_owned(), o.default.to_owned())).collect(),
        };
        let mut values: BTreeMap<&'static str, String> = BTreeMap::new();
        for layer in std::iter::once(&defaults).chain(layers) {
            for (name, text) in &layer.values {
                let Some(option) = options::find(name) else {
                    return Err(unknown(name, &layer.source));
                };
                let text = parse::normalise(option, text).map_err(|why| {
                    Failure::usage(format!("{}: `{}` {why}", layer.source, option.name))
                })?;
                values.insert(option.name, text);
            }
        }
        let given = |name: &str| values.get(name).and_then(|text| text.parse().ok());
        let split = budget::split(machine_bytes, &given).map_err(Failure::usage)?;
        let automatic: BTreeSet<&'static str> =
            split.limits.keys().copied().filter(|name| given(name).is_none()).collect();
        values.extend(split.limits.iter().map(|(name, bytes)| (*name, bytes.to_string())));
        let settings = Settings { values, automatic, warnings: split.warnings };
        settings.check()?;
        Ok(settings)
    }

    /// Rules between options.
    fn check(&self) -> Result<()> {
        let certificate = self.path("tls_certificate").is_some();
        if certificate != self.path("tls_key").is_some() {
            return Err(Failure::usage("`tls_certificate` and `tls_key` go together: give both"));
        }
        if self.text("time_min") >= self.text("time_max") {
            return Err(Failure::usage("`time_min` must be before `time_max`"));
        }
        if self.number("shards") > 64 {
            return Err(Failure::usage("`shards` is at most 64"));
        }
        for (name, encrypted) in [
            ("listen_pg", self.text("tls") == "require"),
            ("listen_http", self.text("tls") != "off"),
            ("listen_grpc", self.text("tls") != "off"),
            ("listen_line", false),
        ] {
            let Some(address) = self.address(name)? else { continue };
            if !address.ip().is_loopback() && !encrypted && !self.switch("insecure") {
                let mend = if name == "listen_line" {
                    "line protocol over TCP has no encryption: use HTTP instead"
                } else {
                    "set `tls = \"require\"`"
                };
                return Err(Failure::usage(format!(
                    "`{name} = \"{address}\"` is open to the network without encryption; {mend}, \
                     listen on 127.0.0.1, or give --insecure if the network is trusted"
                )));
            }
            if name == "listen_line" && self.switch("line_anonymous") && !address.ip().is_loopback()
            {
                return Err(Failure::usage(
                    "`line_anonymous` works on a loopback address only: set `listen_line` so",
                ));
            }
        }
        Ok(())
    }

    /// What the user should know before the server starts.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Text of an option.
    ///
    /// # Panics
    /// If there is no such option: names are written in the program, not by its user.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("there is no option {name}"))
    }

    /// A number, bytes or seconds.
    pub fn number(&self, name: &str) -> u64 {
        // Checked when the layers were merged.
        self.text(name).parse().unwrap_or_else(|_| panic!("option {name} is no number"))
    }

    /// A switch.
    pub fn switch(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A path; `None` when empty.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name);
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    /// An address; `None` when it is `off`. Host names are looked up.
    pub fn address(&self, name: &str) -> Result<Option<SocketAddr>> {
        let text = self.text(name);
        if text == "off" {
            return Ok(None);
        }
        use std::net::ToSocketAddrs;
        let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        found
            .map(Some)
            .ok_or_else(|| Failure::usage(format!("`{name} = \"{text}\"` is no address:port")))
    }

    /// Options of the storage engine.
    pub fn engine(&self) -> tsdb::Options {
        let mut options = tsdb::Options::default();
        if self.number("shards") > 0 {
            options.shards = self.number("shards") as u16;
        }
        options.head_bytes_max = self.number("head_bytes_max");
        options.heads_bytes_max = self.number("heads_bytes_max");
        options.head_age_seconds_max = self.number("head_age_seconds_max");
        options.log_bytes_max = self.number("log_bytes_max");
        options.log_segment_bytes_max = self.number("log_segment_bytes_max");
        options.disk_reserve_bytes = self.number("disk_reserve_bytes");
        options.queue_bytes_max = self.number("queue_bytes_max");
        options.cache_bytes_max = self.number("cache_bytes_max");
        options.blocks_bytes_max = self.number("blocks_bytes_max");
        options.series_bytes_max = self.number("series_bytes_max");
        let archive = self.text("archive_url");
        options.archive_url = (!archive.is_empty()).then(|| archive.to_owned());
        options.archive_cache_bytes_max = self.number("archive_cache_bytes_max");
        options.archive_grace_seconds = self.number("archive_grace_seconds");
        options.life_interval_seconds = self.number("life_interval_seconds");
        options.scrub_bytes_per_second = self.number("scrub_bytes_per_second");
        options.scrub_interval_seconds = self.number("scrub_interval_seconds");
        options.connector = std::sync::Arc::new(crate::objects::CloudConnector::default());
        options.merge_fan_in = self.number("merge_fan_in") as usize;
        let groups = self.number("partition_groups_max");
        options.partition_groups_max = u32::try_from(groups).unwrap_or(u32::MAX);
        let day = |name| parse_day_ns(self.text(name)).unwrap_or(0);
        options.times = tsdb::types::TimeRange::new(day("time_min"), day("time_max"));
        options.columns_max = u16::try_from(self.number("columns_max")).unwrap_or(u16::MAX);
        options.tables_max = u32::try_from(self.number("tables_max")).unwrap_or(u32::MAX);
        options.series_max = u32::try_from(self.number("series_max")).unwrap_or(u32::MAX);
        self.backups(&mut options);
        options.value_bytes_max = u32::try_from(self.number("value_bytes_max")).unwrap_or(u32::MAX);
        options
    }

    /// Backups and archiving of the log.
    fn backups(&self, options: &mut tsdb::Options) {
        let url = self.text("backup_url");
        if url.is_empty() {
            return;
        }
        options.backup_policy = Some(tsdb::engine::BackupPolicy {
            url: url.to_owned(),
            full_seconds: self.number("backup_full_seconds"),
            incremental_seconds: self.number("backup_incremental_seconds"),
            keep_seconds: self.number("backup_keep_seconds"),
        });
        let seconds = self.number("log_archive_seconds");
        options.log_archive = (seconds > 0).then(|| tsdb::engine::LogArchive {
            url: url.to_owned(),
            seconds,
            held_bytes_max: self.number("log_archive_held_bytes_max"),
        });
    }

    /// The settings as a file that would give them, with meanings; secrets are left out, and what
    /// follows from the memory there is stays so.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for option in OPTIONS {
            let value = self.text(option.name);
            out.push_str(&format!("# {}{}\n", option.meaning, bound(option)));
            match option.kind {
                Kind::Secret => out.push_str(&format!("# {} = \"...\"\n\n", option.name)),
                _ if self.automatic.contains(option.name) => {
                    out.push_str(&format!("# {} = {value}\n\n", option.name));
                }
                Kind::Switch | Kind::Count | Kind::Bytes | Kind::Seconds => {
                    out.push_str(&format!("{} = {value}\n\n", option.name));
                }
                _ => out.push_str(&format!("{} = {:?}\n\n", option.name, value)),
            }
        }
        out
    }
}

/// Words for the minimum of an option; empty where there is none.
pub fn bound(option: &OptionSpec) -> String {
    if option.min == 0 { String::new() } else { format!(" (at least {})", option.min) }
}

fn unknown(name: &str, source: &str) -> Failure {
    let known: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
    Failure::usage(format!("{source}: there is no option `{name}`; known: {}", known.join(", ")))
}

/// Reads a settings file.
fn file_layer(path: &Path) -> Result<Layer> {
    let source = format!("settings file {}", path.display());
    let raw: BTreeMap<String, Value> = Figment::from(Toml::file_exact(path))
        .extract()
        .map_err(|error| Failure::usage(format!("{source}: {error}")))?;
    let mut values = BTreeMap::new();
    for (name, value) in raw {
        if options::find(&name).is_none() {
            return Err(unknown(&name, &source));
        }
        let text = match &value {
            Value::String(_, text) => text.clone(),
            Value::Bool(_, on) => on.to_string(),
            Value::Num(_, number) => match (number.to_u128(), number.to_i128()) {
                (Some(number), _) => number.to_string(),
                (None, Some(number)) => number.to_string(),
                (None, None) => {
                    return Err(Failure::usage(format!("{source}: `{name}` is a whole number")));
                }
            },
            _ => {
                return Err(Failure::usage(format!(
                    "{source}: `{name}` must be a text, a number, true or false"
                )));
            }
        };
        values.insert(name, text);
    }
    Ok(Layer { source, values })
}

/// Takes the variables with our prefix; those of clients and tests are left alone.
fn variable_layer(variables: impl Iterator<Item = (String, String)>) -> Layer {
    let values = variables
        .filter_map(|(name, value)| Some((name.strip_prefix("MILLRACE_")?.to_lowercase(), value)))
        .filter(|(name, _)| {
            !CLIENT_VARIABLES.contains(&name.as_str()) && !name.starts_with(TEST_PREFIX)
        })
        .collect();
    Layer { source: "variables MILLRACE_*".into(), values }
}
