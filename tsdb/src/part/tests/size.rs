//! Bytes per value on the data that the budget is made for.

use super::*;

/// Standard normal numbers from a fixed seed (Box and Muller).
fn normal(seed: &mut u64) -> f64 {
    let mut uniform = || {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

fn walks(series: u32, rows: u32, columns: ColumnId) -> Rows {
    let mut seed = 7u64;
    let mut out = Rows::default();
    for s in 0..series {
        out.series.push(SeriesRows { series: s, start: s * rows, rows });
        out.times.extend((0..i64::from(rows)).map(|i| i * 10_000_000_000));
    }
    for id in 1..=columns {
        let mut values = Vec::new();
        for _ in 0..series {
            let mut at = 50.0f64;
            for _ in 0..rows {
                at = (at + normal(&mut seed)).round().clamp(0.0, 100.0);
                values.push(at as i64);
            }
        }
        out.columns.push((id, Column::good(Values::Int(values))));
    }
    out
}

#[test]
fn a_walk_takes_less_than_its_budget() {
    let columns: Vec<_> = (1..=10).map(|id| (id, PhysicalType::Int)).collect();
    let rows = walks(20, 4320, 10);
    let values = (rows.len() * 10) as f64;
    for (level, budget) in [(Level::Light, 0.60), (Level::Dense, 0.36)] {
        let storage = TestStorage::default();
        let part =
            write(&storage, spec(level, &columns), std::slice::from_ref(&rows)).expect("writes");
        let meta = part.meta();
        let per_value = meta.bytes as f64 / values;
        let index_per_block = meta.index_bytes as f64 / f64::from(meta.groups * 11);
        println!(
            "{level:?}: {per_value:.4} bytes per value in the file, index {index_per_block:.1} \
             bytes per block, keys {} bytes, {} groups, first group {} zones",
            meta.key_bytes,
            meta.groups,
            groups(&part)[0].zones
        );
        assert!(per_value < budget, "{per_value} bytes per value");
        assert!(index_per_block < 100.0, "{index_per_block} bytes of index per block");
    }
}
