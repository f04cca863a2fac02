//! Tests of what filters mean: comparisons of times against a slow twin, bounds of fields.

use proptest::prelude::*;

use super::*;

/// The meaning by the book: floor the stored time to µs, then compare.
fn slow(op: Operator, stored: i64, literal: i128) -> bool {
    let shown = i128::from(stored.div_euclid(1_000)) * 1_000;
    match op {
        Operator::Eq => shown == literal,
        Operator::Lt => shown < literal,
        Operator::LtEq => shown <= literal,
        Operator::Gt => shown > literal,
        Operator::GtEq => shown >= literal,
        _ => unreachable!("not asked for"),
    }
}

const OPS: [Operator; 5] =
    [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

fn check_time(stored: i64, literal: i128) {
    for op in OPS {
        let range = compare(op, literal).unwrap();
        assert_eq!(range.contains(stored), slow(op, stored, literal), "{stored} {op} {literal}");
    }
}

#[test]
fn edges_of_micros_and_of_the_axis() {
    let literals = [
        -1_001,
        -1_000,
        -999,
        -1,
        0,
        1,
        999,
        1_000,
        1_001,
        i128::from(i64::MIN) - 5_000,
        i128::from(i64::MIN),
        i128::from(i64::MAX),
        i128::from(i64::MAX) + 5_000,
        i128::from(i64::MAX) * 1_000,
    ];
    let stored = [
        i64::MIN,
        i64::MIN + 1,
        i64::MIN + 1_000,
        -1_001,
        -1_000,
        -999,
        -1,
        0,
        1,
        999,
        1_000,
        i64::MAX - 1_000,
        i64::MAX - 1,
        i64::MAX,
    ];
    for literal in literals {
        for stored in stored {
            check_time(stored, literal);
        }
    }
}

proptest! {
    #[test]
    fn times_compare_as_their_micros(stored: i64, near in -3_000i128..3_000, far: i64, use_far: bool) {
        let literal = if use_far { i128::from(far) } else { i128::from(stored) + near };
        check_time(stored, literal);
    }
}

fn int(v: i64) -> Value {
    Value::Int(v)
}

#[test]
fn bounds_hold_every_value_that_can_match() {
    use datafusion::logical_expr::{cast, col, lit};
    let bound = |expr: Expr, kind| bound(&expr, 7, kind).map(|b| (b.min, b.max));
    let big = ColumnType::Int64;
    assert_eq!(bound(col("x").gt(lit(5i64)), big), Some((Some(int(5)), None)));
    assert_eq!(bound(lit(5i64).gt(col("x")), big), Some((None, Some(int(5)))));
    assert_eq!(bound(col("x").eq(lit(5i64)), big), Some((Some(int(5)), Some(int(5)))));
    assert_eq!(bound(col("x").not_eq(lit(5i64)), big), None);
    assert_eq!(
        bound(col("x").between(lit(1i64), lit(9i64)), big),
        Some((Some(int(1)), Some(int(9))))
    );
    // A float literal against integers: the whole numbers around it.
    let widened = cast(col("x"), DataType::Float64);
    assert_eq!(bound(widened.lt(lit(5.5f64)), big), Some((None, Some(int(6)))));
    // A cast that folds values together says nothing.
    let narrowed = cast(col("x"), DataType::Int64);
    assert_eq!(bound(narrowed.eq(lit(5i64)), ColumnType::Float64), None);
    assert_eq!(
        bound(col("x").lt_eq(lit(2.5f64)), ColumnType::Float64),
        Some((None, Some(Value::Float(2.5))))
    );
    assert_eq!(bound(col("x").lt_eq(lit(f64::NAN)), ColumnType::Float64), None);
    assert_eq!(
        bound(col("x").eq(lit("a")), ColumnType::Text),
        Some((Some(Value::Bytes(b"a".to_vec())), Some(Value::Bytes(b"a".to_vec()))))
    );
    // Single precision: the literal's neighbours are inside.
    let (min, max) =
        bound(cast(col("x"), DataType::Float64).eq(lit(f64::from(0.1f32))), ColumnType::Float32)
            .unwrap();
    assert!(matches!((min, max), (Some(Value::Float(a)), Some(Value::Float(b)))
        if a < f64::from(0.1f32) && b > f64::from(0.1f32)));
}
