//! What start-up packets ask for.

use super::*;

fn read(settings: &[(&str, &str)]) -> Result<Wishes, &'static str> {
    let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    wishes(settings.collect()).map_err(|end| match end {
        End::Fatal(error) => error.code,
        _ => "other",
    })
}

#[test]
fn settings_come_from_parameters_and_options() {
    let wishes = read(&[
        ("user", "ann"),
        ("database", "millrace"),
        ("options", r"-c TimeZone=Europe/Berlin --statement-timeout=5s -capplication_name=a\ b"),
        ("DateStyle", "ISO"),
        ("client_encoding", "'utf-8'"),
        ("_pq_.future", "1"),
    ])
    .unwrap();
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = vec![
        setting("TimeZone", "Europe/Berlin"),
        setting("statement_timeout", "5s"),
        setting("application_name", "a b"),
        setting("DateStyle", "ISO"),
    ];
    assert_eq!(wishes.settings, expected);
    assert_eq!(wishes.unknown_options, ["_pq_.future"]);
    assert_eq!((wishes.user.as_str(), wishes.database.as_deref()), ("ann", Some("millrace")));
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    assert_eq!(read(&[("database", "millrace")]), Err("28000"));
    assert_eq!(read(&[("user", "ann"), ("replication", "database")]), Err("0A000"));
    assert_eq!(read(&[("user", "ann"), ("client_encoding", "LATIN1")]), Err("0A000"));
    assert_eq!(read(&[("user", "ann"), ("options", "-c")]), Err("42601"));
    assert_eq!(read(&[("user", "ann"), ("options", "-x 3")]), Err("42601"));
    assert!(read(&[("user", "ann"), ("replication", "false")]).is_ok());
}
