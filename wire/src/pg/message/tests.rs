//! The decoder against an independent encoder (pgwire's), and against damage of every kind.

use bytes::BytesMut;
use pgwire::messages::PgWireFrontendMessage as Twin;
use pgwire::messages::extendedquery as ext;
use pgwire::messages::simplequery::Query;
use proptest::prelude::*;

use super::*;

/// Encodes with the twin and splits into kind and body.
fn encoded(twin: &Twin) -> (u8, Bytes) {
    let mut buffer = BytesMut::new();
    twin.encode(&mut buffer).unwrap();
    let mut bytes = buffer.freeze();
    let kind = bytes.get_u8();
    assert_eq!(bytes.get_u32() as usize, bytes.len() + 4);
    (kind, bytes)
}

fn samples() -> Vec<(Twin, Message)> {
    let name = |text: &str| Some(text.to_owned());
    let params = vec![Some(Bytes::from_static(b"7")), None, Some(Bytes::new())];
    let bind = Bind {
        portal: "p".into(),
        statement: "s".into(),
        param_formats: vec![0, 1, 0],
        params: params.clone(),
        result_formats: vec![1],
    };
    let parse = Message::Parse { name: "s".into(), sql: "SELECT $1".into(), types: vec![20, 0] };
    vec![
        (Twin::Query(Query::new("SELECT 'ä'".into())), Message::Query("SELECT 'ä'".into())),
        (Twin::Parse(ext::Parse::new(name("s"), "SELECT $1".into(), vec![20, 0])), parse),
        (
            Twin::Bind(ext::Bind::new(name("p"), name("s"), vec![0, 1, 0], params, vec![1])),
            Message::Bind(bind),
        ),
        (
            Twin::Describe(ext::Describe::new(b'S', name("s"))),
            Message::Describe(Target::Statement("s".into())),
        ),
        (Twin::Close(ext::Close::new(b'P', None)), Message::Close(Target::Portal(String::new()))),
        (
            Twin::Execute(ext::Execute::new(None, 100)),
            Message::Execute { portal: String::new(), rows_max: 100 },
        ),
        (Twin::Flush(ext::Flush::new()), Message::Flush),
        (Twin::Sync(ext::Sync::new()), Message::Sync),
    ]
}

#[test]
fn reads_what_an_independent_encoder_writes() {
    for (twin, expected) in samples() {
        let (kind, body) = encoded(&twin);
        assert_eq!(decode(kind, body), Ok(expected));
    }
}

#[test]
fn every_prefix_and_every_longer_body_is_refused() {
    for (twin, _) in samples() {
        let (kind, body) = encoded(&twin);
        for end in 0..body.len() {
            let cut = decode(kind, body.slice(..end));
            assert!(matches!(cut, Err(Malformed::Short)), "{} at {end}", char::from(kind));
        }
        let longer = Bytes::from([body.as_ref(), b"\0"].concat());
        assert_eq!(decode(kind, longer), Err(Malformed::Long), "{}", char::from(kind));
    }
}

#[test]
fn every_flipped_bit_is_read_or_refused() {
    for (twin, expected) in samples() {
        let (kind, body) = encoded(&twin);
        for bit in 0..body.len() * 8 {
            let mut flipped = body.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = decode(kind, Bytes::from(flipped)) {
                assert_ne!(message, expected, "bit {bit} of {} means nothing", char::from(kind));
            }
        }
    }
}

#[test]
fn texts_that_are_not_utf8_are_refused() {
    assert_eq!(decode(b'Q', Bytes::from_static(b"SELECT '\xff'\0")), Err(Malformed::NotUtf8));
}

#[test]
fn counts_beyond_the_body_reserve_nothing() {
    assert_eq!(decode(b'P', Bytes::from_static(b"\0\0\xff\xff\0")), Err(Malformed::Short));
    let negative = Bytes::from_static(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0");
    assert_eq!(decode(b'B', negative), Err(Malformed::Short));
}

#[test]
fn startup_settings_need_their_ends() {
    let body = b"user\0ann\0TimeZone\0Europe/Berlin\0\0";
    let read = decode_startup(Bytes::from_static(body)).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1], ("TimeZone".into(), "Europe/Berlin".into()));
    for end in 0..body.len() {
        assert!(decode_startup(Bytes::from_static(&body[..end])).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn random_bodies_never_panic(
        kind in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let body = Bytes::from(body);
        let _ = decode(kind, body.clone());
        let _ = decode_sasl_first(body.clone());
        let _ = decode_startup(body);
    }
}
