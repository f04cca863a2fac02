//! Tests of layering, checking and the table of options.

use std::collections::BTreeMap;

use super::*;

fn layer(source: &str, values: &[(&str, &str)]) -> Layer {
    let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Layer { source: source.into(), values }
}

fn check_refused(values: &[(&str, &str)], words: &str) {
    let error = Settings::from_layers(&[layer("test", values)]).expect_err("must be refused");
    assert!(error.to_string().contains(words), "{error} does not say {words}");
}

#[test]
fn defaults_are_valid_and_are_the_engines_own() {
    let settings = Settings::from_layers(&[]).unwrap();
    for option in OPTIONS {
        parse::normalise(option, option.default).unwrap();
    }
    // Limits of memory follow from the machine, and the clouds' client is ours to give; all else
    // is the engine's own default.
    let (ours, engine) = (settings.engine(), tsdb::Options::default());
    let engine = tsdb::Options {
        head_bytes_max: ours.head_bytes_max,
        heads_bytes_max: ours.heads_bytes_max,
        queue_bytes_max: ours.queue_bytes_max,
        cache_bytes_max: ours.cache_bytes_max,
        blocks_bytes_max: ours.blocks_bytes_max,
        series_bytes_max: ours.series_bytes_max,
        connector: ours.connector.clone(),
        ..engine
    };
    assert_eq!(format!("{ours:?}"), format!("{engine:?}"));
    ours.validate().unwrap();
    assert_eq!(settings.address("listen_pg").unwrap().unwrap().port(), 5433);
    assert!(settings.address("listen_line").unwrap().is_none());
}

#[test]
fn later_layers_win() {
    let settings = Settings::from_layers(&[
        layer("file", &[("listen_pg", "127.0.0.1:1"), ("cache_bytes_max", "1MiB")]),
        layer("variables", &[("listen_pg", "127.0.0.1:2")]),
        layer("flags", &[("cache_bytes_max", "2 MiB")]),
    ])
    .unwrap();
    assert_eq!(settings.text("listen_pg"), "127.0.0.1:2");
    assert_eq!(settings.number("cache_bytes_max"), 2 << 20);
}

#[test]
fn wrong_values_are_refused_with_words() {
    check_refused(&[("listen_gp", "x")], "known: data_dir, listen_pg");
    check_refused(&[("listen_pg", "5433")], "address:port");
    check_refused(&[("cache_bytes_max", "lots")], "units are");
    check_refused(&[("head_bytes_max", "1")], "at least 1024");
    check_refused(&[("log_format", "xml")], "text, json");
    check_refused(&[("insecure", "maybe")], "true or false");
    check_refused(&[("time_min", "2000-02-30")], "a day such as");
    check_refused(&[("tls_key", "k.pem")], "go together");
    check_refused(&[("shards", "65")], "at most 64");
    check_refused(&[("memory_bytes_max", "100MiB")], "at least 201326592");
    check_refused(&[("memory_bytes_max", "1GiB"), ("cache_bytes_max", "1GiB")], "needs");
    check_refused(&[("log_bytes_max", "auto")], "units are");
}

#[test]
fn the_network_needs_encryption() {
    check_refused(&[("listen_pg", "0.0.0.0:5433")], "--insecure");
    check_refused(&[("listen_pg", "0.0.0.0:5433"), ("tls", "allow")], "--insecure");
    check_refused(&[("listen_line", "0.0.0.0:1"), ("tls", "require")], "no encryption");
    for fine in [("tls", "require"), ("insecure", "true")] {
        Settings::from_layers(&[layer("test", &[("listen_pg", "0.0.0.0:5433"), fine])]).unwrap();
    }
}

#[test]
fn files_and_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, "listen_pg = \"127.0.0.1:7\"\ninsecure = true\nshards = 4\n").unwrap();
    let layer = file_layer(&path).unwrap();
    assert_eq!(layer.values["shards"], "4");
    assert_eq!(layer.values["insecure"], "true");
    for (text, words) in [
        ("liste = 1", "no option `liste`"),
        ("shards = [1]", "must be a text"),
        ("shards = ", "a.toml"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = file_layer(&path).expect_err(text).to_string();
        assert!(error.contains(words), "{error}");
    }
    let variables = [("MILLRACE_LOG", "debug"), ("MILLRACE_URL", "x"), ("HOME", "y")];
    let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let expected = BTreeMap::from([("log".to_owned(), "debug".to_owned())]);
    assert_eq!(variable_layer(variables.into_iter()).values, expected);
}

#[test]
fn the_sample_file_gives_the_same_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.toml");
    let settings = Settings::from_layers(&[]).unwrap();
    std::fs::write(&path, settings.to_toml()).unwrap();
    let again = Settings::from_layers(&[file_layer(&path).unwrap()]).unwrap();
    assert_eq!(again.values, settings.values);
}

#[test]
fn memory_is_one_setting() {
    let small = Settings::from_layers(&[layer("flags", &[("memory_bytes_max", "192MiB")])]);
    let small = small.unwrap();
    assert_eq!(small.number("memory_bytes_max"), 192 << 20);
    small.engine().validate().unwrap();
    let layers = [layer("flags", &[("head_bytes_max", "4096"), ("cache_bytes_max", "auto")])];
    let settings = Settings::on_machine(&layers, 8 << 30).unwrap();
    assert_eq!(settings.number("memory_bytes_max"), 4 << 30);
    assert_eq!(settings.number("head_bytes_max"), 4096);
    let file = settings.to_toml();
    // What follows from the machine is shown, but not fixed.
    assert!(file.contains("\nhead_bytes_max = 4096\n"), "{file}");
    assert!(file.contains("\n# memory_bytes_max = 4294967296\n"), "{file}");
}
