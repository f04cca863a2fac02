//! Selections against the plainest way of saying what they hide.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Hides, Selection, Tombstone, kept};
use crate::series::Bitmap;
use crate::types::TimeRange;

fn selection() -> impl Strategy<Value = Selection> {
    let range = |(a, b): (i64, i64)| TimeRange::new(a.min(b), a.max(b));
    let times = prop_oneof![
        (0i64..40, 0i64..40).prop_map(range),
        Just(TimeRange::ALL),
        Just(TimeRange::EMPTY),
    ];
    let set = prop::option::of(prop::collection::vec(0u32..12, 0..6));
    let points = prop::collection::vec((0u32..12, 0i64..40), 0..20);
    prop_oneof![
        (set, times).prop_map(|(set, times)| {
            let series = set.map(|list| list.into_iter().collect::<Bitmap>());
            Selection::Range { series, times }
        }),
        points.prop_map(|points| {
            let (series, times) = points.into_iter().unzip();
            Selection::Points { series, times }
        }),
    ]
}

/// What a selection as it was given names.
fn names(selection: &Selection, series: u32, time: i64) -> bool {
    match selection {
        Selection::Range { series: set, times } => {
            times.min <= time
                && time <= times.max
                && set.as_ref().is_none_or(|set| set.iter().any(|s| s == series))
        }
        Selection::Points { series: list, times } => {
            list.iter().zip(times).any(|point| point == (&series, &time))
        }
    }
}

proptest! {
    #[test]
    fn selections_hide_what_they_name(
        list in prop::collection::vec(selection(), 0..4),
        times in prop::collection::vec(0i64..40, 1..40),
        (a, b) in (0u32..12, 0u32..12),
    ) {
        let named = |series, time| list.iter().any(|s| names(s, series, time));
        let normal: Vec<Selection> =
            list.iter().filter_map(|s| s.clone().normal().unwrap()).collect();
        for s in 0..12u32 {
            for t in 0..40i64 {
                prop_assert_eq!(normal.iter().any(|n| n.hides(s, t)), named(s, t));
            }
        }
        let mut times = times;
        times.sort_unstable();
        let span = TimeRange::new(times[0], times[times.len() - 1]);
        let series = a.min(b)..=a.max(b);
        let tombstone = Arc::new(Tombstone::new(7, normal.clone()));
        let every = series.clone().all(|s| (span.min..=span.max).all(|t| named(s, t)));
        let any = series.clone().any(|s| (span.min..=span.max).any(|t| named(s, t)));
        prop_assert!(!tombstone.covers(&series, span) || every);
        prop_assert_eq!(tombstone.overlaps(&series, span), any);
        let hides = Hides::of(&[Arc::clone(&tombstone)], 6, series.clone(), span, None);
        prop_assert_eq!(hides.is_some(), any);
        prop_assert!(Hides::of(&[tombstone], 7, series.clone(), span, None).is_none());
        let Some(hides) = hides else { return Ok(()) };
        for s in series {
            let hidden = hides.hidden(s, span);
            prop_assert!(hidden.windows(2).all(|w| w[0].max < w[1].min));
            for (start, end) in [(0, times.len()), (times.len() / 3, times.len() / 2)] {
                let spans = kept(&hidden, &times, start, end);
                prop_assert!(spans.iter().all(|(from, to)| from < to));
                let rows: Vec<usize> = spans.into_iter().flat_map(|(from, to)| from..to).collect();
                let wanted: Vec<usize> = (start..end).filter(|r| !named(s, times[*r])).collect();
                prop_assert_eq!(rows, wanted);
            }
        }
    }
}

#[test]
fn points_of_different_lengths_are_refused() {
    let bad = Selection::Points { series: vec![1, 2], times: vec![1] };
    assert!(bad.normal().is_err());
}
