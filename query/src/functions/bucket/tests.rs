//! Buckets against a slow twin that walks the clock, and the edges of daylight saving by hand.

use proptest::prelude::*;

use super::*;

const S: i64 = 1_000_000;

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}")).timestamp() * S
}

fn show(ticks: i64) -> String {
    naive(ticks, S).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn of(months: i32, seconds: i64, zone: &str) -> Buckets {
    let cut = Cut { zone: (!zone.is_empty()).then(|| zone.into()), ..Cut::default() };
    Buckets::new(IntervalMonthDayNano::new(months, 0, seconds * 1_000_000_000), &cut, S).unwrap()
}

fn check(buckets: Buckets, time: &str, start: &str, next: &str) {
    let floor = buckets.floor(at(time)).unwrap();
    assert_eq!((show(floor), show(buckets.next(floor).unwrap())), (start.into(), next.into()));
}

#[test]
fn days_in_a_zone_have_23_and_25_hours() {
    let days = of(0, 86_400, "Europe/Berlin");
    check(days, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    check(days, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    let months = of(1, 0, "Europe/Berlin");
    check(months, "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z");
    check(
        of(12, 0, "America/New_York"),
        "2026-03-15T00:00:00Z",
        "2026-01-01T05:00:00Z",
        "2027-01-01T05:00:00Z",
    );
}

#[test]
fn hours_shown_twice_are_two_buckets_and_skipped_ones_none() {
    let hours = of(0, 3_600, "Europe/Berlin");
    check(hours, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z");
    check(hours, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z");
    check(hours, "2026-03-29T00:30:00Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z");
    // Six hours on the clock: seven of them when it is set back, five when it is set forward.
    let six = of(0, 6 * 3_600, "Europe/Berlin");
    check(six, "2026-10-25T02:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z");
    check(six, "2026-03-29T02:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T04:00:00Z");
    // Two hours from 02:00, which the clock skips.
    check(
        of(0, 7_200, "Europe/Berlin"),
        "2026-03-29T01:10:00Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T02:00:00Z",
    );
    // Half an hour back: the clock goes from 02:00 to 01:30.
    check(
        of(0, 1_200, "Australia/Lord_Howe"),
        "2026-04-04T15:05:00Z",
        "2026-04-04T15:00:00Z",
        "2026-04-04T15:10:00Z",
    );
    // Midnight is shown twice in Havana: the day starts with the first.
    check(
        of(0, 86_400, "America/Havana"),
        "2026-11-01T05:30:00Z",
        "2026-11-01T04:00:00Z",
        "2026-11-02T05:00:00Z",
    );
}

#[test]
fn origins_and_offsets_shift_starts() {
    let day = IntervalMonthDayNano::new(0, 1, 0);
    let six = IntervalMonthDayNano::new(0, 0, 6 * 3_600_000_000_000);
    let cut = Cut { offset: Some(six), ..Cut::default() };
    check(
        Buckets::new(day, &cut, S).unwrap(),
        "2026-01-02T05:00:00Z",
        "2026-01-01T06:00:00Z",
        "2026-01-02T06:00:00Z",
    );
    let cut = Cut { offset: Some(six), zone: Some("Europe/Berlin".into()), ..Cut::default() };
    check(
        Buckets::new(day, &cut, S).unwrap(),
        "2026-07-02T03:00:00Z",
        "2026-07-01T04:00:00Z",
        "2026-07-02T04:00:00Z",
    );
    let origin = Some(at("2026-01-31T00:00:00Z"));
    let cut = Cut { origin, ..Cut::default() };
    let months = Buckets::new(IntervalMonthDayNano::new(1, 0, 0), &cut, S).unwrap();
    check(months, "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z");
    check(months, "2025-12-31T00:00:00Z", "2025-12-31T00:00:00Z", "2026-01-31T00:00:00Z");
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let refuse = |months, days, nanos, cut: &Cut| {
        let width = IntervalMonthDayNano::new(months, days, nanos);
        assert_eq!(Buckets::new(width, cut, S).unwrap_err().code, "22023");
    };
    let plain = Cut::default();
    refuse(0, 0, 0, &plain);
    refuse(-1, 0, 0, &plain);
    refuse(1, 1, 0, &plain);
    refuse(0, 0, 1, &plain);
    refuse(0, 1, 0, &Cut { zone: Some("Mars/Olympus".into()), ..plain.clone() });
    let month = Some(IntervalMonthDayNano::new(1, 0, 0));
    refuse(0, 1, 0, &Cut { offset: month, ..plain });
    let far = of(0, 3_600, "");
    assert_eq!(far.floor(i64::MIN).unwrap_err().code, "22008");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Starts are fixed points, cover their times, keep the order of times and touch each other.
    #[test]
    fn buckets_tile_time(
        zone in prop::sample::select(vec![
            "", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana",
            "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia", "+05:30",
        ]),
        width in prop::sample::select(vec![
            (0, 60), (0, 1_200), (0, 1_800), (0, 3_600), (0, 5_400), (0, 7_200), (0, 6 * 3_600),
            (0, 86_400), (0, 7 * 86_400), (1, 0), (3, 0), (12, 0),
        ]),
        day in 0i64..9_000,
        shift in 0i64..86_400,
        step in 0i64..20_000,
    ) {
        let buckets = of(width.0, width.1, zone);
        let time = 1_000_000_000 * S + (day * 86_400 + shift) * S + 123_456;
        let start = buckets.floor(time).unwrap();
        let next = buckets.next(start).unwrap();
        prop_assert!(start <= time && time < next, "{} {} {}", show(start), show(time), show(next));
        prop_assert_eq!(buckets.floor(start).unwrap(), start);
        prop_assert_eq!(buckets.floor(next).unwrap(), next);
        prop_assert_eq!(buckets.floor(next - 1).unwrap(), start);
        prop_assert!(buckets.floor(time + step * S).unwrap() >= start);
    }
}
