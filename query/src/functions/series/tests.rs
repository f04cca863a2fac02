//! Summaries that were made apart, sent as bytes and merged, against one made of all points.

use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;
use datafusion::logical_expr::EmitTo;
use proptest::prelude::*;

use super::*;

const CONFIG: Config =
    Config { value: 0, time: Some((1, 1_000_000)), steps: false, range: (0.0, 40.0), count: 4 };

fn shown(array: &ArrayRef) -> Vec<String> {
    match array.as_primitive_opt::<Float64Type>() {
        // Sums in another order may differ in their last digits.
        Some(numbers) => {
            numbers.iter().map(|v| v.map_or("NULL".into(), |v| format!("{v:.9}"))).collect()
        }
        None => vec![format!("{array:?}")],
    }
}

fn check<S: Summary>(points: &[(usize, i64, f64)], parts: usize) {
    let groups = 3;
    let mut whole = vec![S::default(); groups];
    for (group, tick, value) in points {
        whole[*group].add(&CONFIG, *tick, *value);
    }
    let whole = S::finish(&CONFIG, whole).unwrap();
    // Each part has accumulators of its own; one more merges what they tell.
    let mut merged = Many::<S>::new(CONFIG);
    for part in 0..parts {
        let mine: Vec<_> = points.iter().skip(part).step_by(parts).collect();
        let values: ArrayRef = Arc::new(mine.iter().map(|p| Some(p.2)).collect::<Float64Array>());
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from_iter(mine.iter().map(|p| Some(p.1))));
        let of: Vec<usize> = mine.iter().map(|p| p.0).collect();
        let mut many = Many::<S>::new(CONFIG);
        if part % 2 == 0 {
            many.update_batch(&[values, times], &of, None, groups).unwrap();
            // As they are spilled: some groups first, the others later.
            let first = many.state(EmitTo::First(1)).unwrap();
            merged.merge_batch(&first, &[0], groups).unwrap();
            let rest = many.state(EmitTo::All).unwrap();
            merged.merge_batch(&rest, &[1, 2], groups).unwrap();
        } else {
            let states = many.convert_to_state(&[values, times], None).unwrap();
            merged.merge_batch(&states, &of, groups).unwrap();
        }
    }
    let merged = merged.evaluate(EmitTo::All).unwrap();
    assert_eq!(shown(&merged), shown(&whole), "{points:?}");
}

proptest! {
    #[test]
    fn merged_summaries_equal_whole_ones(
        points in prop::collection::vec((0usize..3, 0i64..50_000_000, -5i32..50), 0..40),
        parts in 1usize..4,
    ) {
        let points: Vec<_> =
            points.into_iter().map(|(g, t, v)| (g, t * 1_000, f64::from(v))).collect();
        check::<Delta>(&points, parts);
        check::<Derivative>(&points, parts);
        check::<Irate>(&points, parts);
        check::<Slope>(&points, parts);
        check::<Increase>(&points, parts);
        check::<Rate>(&points, parts);
        check::<TimeWeight>(&points, parts);
        check::<Integral>(&points, parts);
        check::<Histogram>(&points, parts);
    }
}

#[test]
fn bytes_that_are_cut_are_an_error() {
    let mut bytes = Vec::new();
    let mut whole = Slope::default();
    whole.add(&CONFIG, 1, 2.0);
    whole.encode(&mut bytes);
    for length in 1..bytes.len() {
        assert!(Slope::default().merge(&bytes[..length]).is_err());
    }
    assert!(Increase::default().merge(&[1, 2, 3]).is_err());
    assert!(Delta::default().merge(&[0; 12]).is_err());
}
