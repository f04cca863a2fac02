//! Sequences as the catalogue shows them: pg_sequence, pg_sequences, pg_depend,
//! information_schema.sequences.

use super::{class_oid, object_oid};
use crate::catalog::Image;
use crate::catalog::rows::{Rows, V};
use crate::error::QueryResult;
use crate::relational::def::{Relations, TableDef, sequences_of};
use crate::relational::kind::Kind;
use crate::relational::sequence::def::SequenceDef;
use crate::rights::Object;

/// Number of pg_attrdef.
const ATTRDEF_OID: i64 = 2604;

/// The table of a sequence that goes with one, and the place of its column from 1.
fn owner<'a>(relations: &'a Relations, sequence: &SequenceDef) -> Option<(&'a TableDef, i64)> {
    let owned = sequence.owned?;
    let table = relations.by_number(owned.table)?;
    let at = table.columns.iter().position(|column| column.id == owned.column)?;
    Some((table, at as i64 + 1))
}

/// The object whose rights a sequence follows.
pub(super) fn rights_of(image: &Image, sequence: &SequenceDef) -> Option<Object> {
    owner(&image.relations, sequence).map(|(table, _)| Object::Relational(table.number))
}

/// Number of its owner.
pub(super) fn owner_of(image: &Image, sequence: &SequenceDef) -> i64 {
    rights_of(image, sequence).map_or_else(|| image.owner(), |object| image.owner_of(object))
}

/// The sequence of that number.
pub(in crate::catalog) fn find(image: &Image, oid: i64) -> Option<&SequenceDef> {
    let number = crate::catalog::object_of(oid)?;
    image.relations.sequence(number).map(|found| &**found)
}

/// What pg_get_serial_sequence gives: the sequence that a column owns.
pub(in crate::catalog) fn of_column<'a>(
    image: &'a Image,
    table: &TableDef,
    column: u32,
) -> Option<&'a SequenceDef> {
    let goes = |sequence: &&std::sync::Arc<SequenceDef>| {
        sequence.owned.is_some_and(|of| of.table == table.number && of.column == column)
    };
    image.relations.sequences.iter().find(goes).map(|found| &**found)
}

/// pg_sequence.
pub(super) fn rows(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "seqrelid",
        "seqtypid",
        "seqstart",
        "seqincrement",
        "seqmax",
        "seqmin",
        "seqcache",
        "seqcycle",
    ]);
    for of in &image.relations.sequences {
        form.push([
            object_oid(of.number).into(),
            of.kind.oid().into(),
            V::Int(of.start),
            V::Int(of.increment),
            V::Int(of.max),
            V::Int(of.min),
            V::Int(of.cache),
            of.cycle.into(),
        ]);
    }
    Ok(())
}

/// The last number that was given; NULL before the first, and for roles that read no sequences.
pub(in crate::catalog) fn last(image: &Image, of: &SequenceDef) -> QueryResult<Option<i64>> {
    let identity = &image.identity;
    if !(identity.superuser || identity.can_read || identity.can_write || identity.can_define) {
        return Ok(None);
    }
    let state = image.live().engine.relational().sequences.state(&image.live().db, of)?;
    Ok(state.called.then_some(state.last))
}

/// pg_sequences.
pub(super) fn view(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "schemaname",
        "sequencename",
        "sequenceowner",
        "data_type",
        "start_value",
        "min_value",
        "max_value",
        "increment_by",
        "cycle",
        "cache_size",
        "last_value",
    ]);
    for of in &image.relations.sequences {
        let owner = match rights_of(image, of) {
            Some(object) => image.owner_name_of(object).into(),
            None => image.owner_name().into(),
        };
        form.push([
            "public".into(),
            of.name.as_str().into(),
            owner,
            of.kind.oid().into(),
            V::Int(of.start),
            V::Int(of.min),
            V::Int(of.max),
            V::Int(of.increment),
            of.cycle.into(),
            V::Int(of.cache),
            last(image, of)?.map_or(V::Null, V::Int),
        ]);
    }
    Ok(())
}

/// pg_depend, as far as it is about sequences: which columns they go with, which defaults use them.
pub(super) fn depends(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "classid",
        "objid",
        "objsubid",
        "refclassid",
        "refobjid",
        "refobjsubid",
        "deptype",
    ]);
    let class = class_oid();
    for of in &image.relations.sequences {
        let Some((table, at)) = owner(&image.relations, of) else { continue };
        let own = table.columns.get(at as usize - 1).and_then(|column| column.sequence.as_ref());
        let identity = own.is_some_and(|own| own.number == of.number && own.identity.is_some());
        form.push([
            class.into(),
            object_oid(of.number).into(),
            0.into(),
            class.into(),
            object_oid(table.number).into(),
            at.into(),
            if identity { "i" } else { "a" }.into(),
        ]);
    }
    for table in &image.relations.list {
        for (at, column) in (1i64..).zip(&table.columns) {
            let serial = column.sequence.iter().filter(|own| own.identity.is_none());
            let serial = serial.map(|own| own.number);
            let used = sequences_of(column.default.as_deref().unwrap_or_default());
            for number in serial.chain(used) {
                form.push([
                    ATTRDEF_OID.into(),
                    super::relational::default_oid(table, at).into(),
                    0.into(),
                    class.into(),
                    object_oid(number).into(),
                    0.into(),
                    "n".into(),
                ]);
            }
        }
    }
    Ok(())
}

/// information_schema.sequences.
pub(in crate::catalog) fn standard(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "sequence_catalog",
        "sequence_schema",
        "sequence_name",
        "data_type",
        "numeric_precision",
        "numeric_precision_radix",
        "numeric_scale",
        "start_value",
        "minimum_value",
        "maximum_value",
        "increment",
        "cycle_option",
    ]);
    for of in &image.relations.sequences {
        // Those of identity columns are no sequences to the standard.
        let own = owner(&image.relations, of);
        let column = own.and_then(|(table, at)| table.columns.get(at as usize - 1));
        let column = column.and_then(|column| column.sequence.as_ref());
        if column.is_some_and(|own| own.number == of.number && own.identity.is_some()) {
            continue;
        }
        let bits = match of.kind {
            Kind::Int2 => 16,
            Kind::Int4 => 32,
            _ => 64,
        };
        form.push([
            crate::plan::names::DATABASE.into(),
            "public".into(),
            of.name.as_str().into(),
            of.kind.to_string().into(),
            bits.into(),
            2.into(),
            0.into(),
            of.start.to_string().into(),
            of.min.to_string().into(),
            of.max.to_string().into(),
            of.increment.to_string().into(),
            if of.cycle { "YES" } else { "NO" }.into(),
        ]);
    }
    Ok(())
}
