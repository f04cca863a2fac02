//! Functions that are read as tables: the keywords, the time zones, and what there is not.

use chrono::{Offset, TimeZone, Utc};
use chrono_tz::{OffsetComponents, TZ_VARIANTS};

use super::relations::Relation;
use crate::catalog::rows::{Rows, V};
use crate::catalog::{FUNCTIONS, Fill, Fixed, Image, T};
use crate::error::QueryResult;
use crate::statement::reserved_words;

/// All of them.
pub(in crate::catalog) fn all() -> Vec<(Relation, Option<Fill>, Option<Fixed>)> {
    let relation = |name, columns: &[(&'static str, T)]| (0, FUNCTIONS, name, columns.to_vec());
    let keyword = [
        ("word", T::Text),
        ("catcode", T::Like("char")),
        ("barelabel", T::Bool),
        ("catdesc", T::Text),
        ("baredesc", T::Text),
    ];
    let zone =
        [("name", T::Text), ("abbrev", T::Text), ("utc_offset", T::Interval), ("is_dst", T::Bool)];
    let part = [
        ("relid", T::Number("regclass")),
        ("parentrelid", T::Number("regclass")),
        ("isleaf", T::Bool),
        ("level", T::Int4),
    ];
    vec![
        (relation("pg_get_keywords", &keyword), None, Some(keywords)),
        (relation("pg_timezone_names", &zone), None, Some(zones)),
        (
            relation("pg_listening_channels", &[("pg_listening_channels", T::Text)]),
            Some(listening),
            None,
        ),
        (relation("pg_partition_tree", &part), None, None),
    ]
}

fn listening(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for channel in &image.live().listening {
        rows.push([channel.as_str().into()]);
    }
    Ok(())
}

fn keywords(_: i64, rows: &mut Rows) {
    let mut form = rows.of(["word", "catcode", "barelabel", "catdesc", "baredesc"]);
    for word in reserved_words() {
        form.push([word.into(), "R".into(), false.into(), "reserved".into(), "requires AS".into()]);
    }
}

/// The zones, with what they are at the moment.
pub(super) fn zones(_: i64, rows: &mut Rows) {
    let mut form = rows.of(["name", "abbrev", "utc_offset", "is_dst"]);
    let now = Utc::now().naive_utc();
    for zone in TZ_VARIANTS {
        let offset = zone.offset_from_utc_datetime(&now);
        form.push([
            zone.name().into(),
            offset.to_string().into(),
            V::Int(i64::from(offset.fix().local_minus_utc())),
            (!offset.dst_offset().is_zero()).into(),
        ]);
    }
}
