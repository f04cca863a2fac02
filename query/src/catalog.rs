//! Tables about tables: `pg_catalog`, `information_schema`, `sys`.
//!
//! Rows are made from one [`Image`] of the catalogue when a statement scans them, so they tell
//! the truth of the statement's snapshot. Each table is a list of columns and a function that
//! pushes rows; only rows about the system tables themselves are kept between statements.

mod acl;
pub(crate) mod answers;
mod backups;
pub(crate) mod functions;
mod image;
mod information;
mod jobs;
mod keys;
mod pg;
mod queries;
pub(crate) mod registers;
mod rewrite;
mod rows;
mod sys;
pub(crate) mod types;

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tsdb::types::TableId;

pub(crate) use functions::names::split_name;
pub(crate) use image::Image;
#[cfg(test)]
pub(crate) use pg::builtins::{BUILTINS, Builtin};
pub(crate) use pg::kinds::oid_of_field as type_number;
pub(crate) use pg::kinds::sql_name;
pub(crate) use rewrite::rewrite;
use rows::Rows;

use crate::error::{QueryError, QueryResult};

/// Type of a catalogue column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum T {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Time,
    Interval,
    Bytes,
    /// Numbers of objects: `oid` and its kin.
    Oid,
    TextArray,
    IntArray,
    /// A text that is shown as another type: `name`, `char`, `aclitem` …
    Like(&'static str),
    /// A number that is shown as another type: `xid`, and `regproc` and its kin, which are shown
    /// as names.
    Number(&'static str),
    /// `int2vector` and `oidvector`.
    Vector(&'static str),
    /// An array of elements of that type.
    Array(&'static str),
}

type Fill = fn(&Image, &mut Rows) -> QueryResult<()>;
/// Rows that are the same in every image, but for the number of their owner.
type Fixed = fn(i64, &mut Rows);

/// One table of a schema of our own.
struct Def {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, T)],
    fill: Fill,
}

/// A system table as statements find it.
pub(crate) struct Known {
    oid: i64,
    schema: &'static str,
    name: &'static str,
    columns: Vec<(&'static str, T)>,
    arrow: SchemaRef,
    /// What has rows that change; without it and `fixed` the table is always empty.
    fill: Option<Fill>,
    fixed: Option<Fixed>,
    /// The rows of `fixed`, for the owner that they were made for.
    kept: Mutex<Option<(i64, RecordBatch)>>,
}

/// First number of tables of schema sys, by their place in the list, and of those about backups.
const SYS_OID: i64 = 14_000;
const BACKUPS_OID: i64 = 14_200;
/// Of those about statements.
const QUERIES_OID: i64 = 14_300;

/// All of them, those of schema sys first.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let own = |first: i64, defs: &'static [Def]| {
        defs.iter().zip(first..).map(|(def, oid)| {
            let columns = def.columns.to_vec();
            Known::new((oid, def.schema, def.name, columns), Some(def.fill), None)
        })
    };
    let postgres = pg::relations::all().into_iter().map(|relation| {
        let (fill, fixed) = match relation.1 {
            "information_schema" => (information::fill(relation.2), information::fixed(relation.2)),
            _ => (pg::fill(relation.2), pg::fixed(relation.2)),
        };
        Known::new(relation, fill, fixed)
    });
    own(SYS_OID, sys::DEFS)
        .chain(own(BACKUPS_OID, backups::DEFS))
        .chain(own(QUERIES_OID, queries::DEFS))
        .chain(postgres)
        .collect()
});

impl Known {
    fn new(
        (oid, schema, name, columns): pg::relations::Relation,
        fill: Option<Fill>,
        fixed: Option<Fixed>,
    ) -> Known {
        let arrow = rows::schema(&columns);
        Known { oid, schema, name, columns, arrow, fill, fixed, kept: Mutex::new(None) }
    }

    /// Whether rows of these columns tell more than definitions, roles, rights and settings.
    fn is_moving(&self, projection: Option<&Vec<usize>>) -> bool {
        let shows = |names: &[&str]| {
            let is_one = |at: usize| self.columns.get(at).is_some_and(|c| names.contains(&c.0));
            projection.is_none_or(|all| all.iter().any(|at| is_one(*at)))
        };
        match (self.schema, self.name) {
            ("information_schema", _) => false,
            ("pg_catalog", "pg_class") => shows(&["reltuples", "relpages", "relallvisible"]),
            ("pg_catalog", name) => name.starts_with("pg_stat"),
            _ => true,
        }
    }

    /// Whether it never has a row.
    fn is_empty(&self) -> bool {
        self.fill.is_none() && self.fixed.is_none()
    }

    fn batches(&self, image: &Image) -> QueryResult<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        if let Some(fixed) = self.fixed {
            let owner = image.owner();
            let mut kept = self.kept.lock();
            let batch = match &*kept {
                Some((of, batch)) if *of == owner => batch.clone(),
                _ => {
                    let mut rows = Rows::new(self.schema, &self.columns);
                    fixed(owner, &mut rows);
                    let batch = rows.finish(self.arrow.clone())?;
                    *kept = Some((owner, batch.clone()));
                    batch
                }
            };
            batches.push(batch);
        }
        if let Some(fill) = self.fill {
            let mut rows = Rows::new(self.schema, &self.columns);
            fill(image, &mut rows)?;
            rows.place(&image.schemas, self.schema);
            batches.push(rows.finish(self.arrow.clone())?);
        }
        Ok(batches)
    }
}

fn known() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter()
}

/// Whether a table of pg_catalog has a boolean column of that name.
fn has_truth(name: &str) -> bool {
    known()
        .filter(|known| known.schema == "pg_catalog")
        .any(|known| known.columns.iter().any(|(of, kind)| *of == name && *kind == T::Bool))
}

/// The system table of that name. A bare name finds those of `pg_catalog`, as in Postgres.
pub(crate) fn table(schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
    let schema = schema.unwrap_or("pg_catalog");
    let all = if schema == FUNCTIONS { &CALLED } else { &KNOWN };
    let known = all.iter().find(|d| d.schema == schema && d.name == name)?;
    Some(Arc::new(SystemTable { known }))
}

/// Whether a scan reads a system table.
pub(crate) fn is_system(scan: &TableScan) -> bool {
    let provider = source_as_provider(&scan.source);
    provider.is_ok_and(|provider| provider.downcast_ref::<SystemTable>().is_some())
}

/// Number of a system table, and how many columns it has.
pub(crate) fn system_number(provider: &dyn TableProvider) -> Option<(i64, usize)> {
    let table = provider.downcast_ref::<SystemTable>()?;
    let known = table.known;
    (known.schema != FUNCTIONS).then_some((known.oid, known.columns.len()))
}

/// An identifier, quoted where it must be.
pub(crate) fn quoted(name: &str) -> String {
    pg::objects::quoted(name)
}

/// `pg_class.oid` of a table.
pub(crate) fn table_number(table: TableId) -> i64 {
    pg::table_oid(table)
}

/// `pg_class.oid` of a relational table.
pub(crate) fn relation_number(table: u32) -> i64 {
    pg::object_oid(table)
}

/// Number of what is relational and has that `oid`; `None` for other numbers.
pub(crate) fn object_of(oid: i64) -> Option<u32> {
    let number = oid.checked_sub(pg::object_oid(0))?;
    (number % 8 == 0).then(|| u32::try_from(number / 8).ok()).flatten()
}

/// `pg_class.oid` of a view.
pub(crate) fn view_number(view: u32) -> i64 {
    pg::view_oid(view)
}

/// Schema of functions that are read as tables. No user can name it.
const FUNCTIONS: &str = "\u{1}functions";

/// Functions that are read as tables.
static CALLED: LazyLock<Vec<Known>> = LazyLock::new(|| {
    pg::called().into_iter().map(|(of, fill, fixed)| Known::new(of, fill, fixed)).collect()
});

struct SystemTable {
    known: &'static Known,
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SystemTable({}.{})", self.known.schema, self.known.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.known.arrow.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let image = crate::table::context(state)?.image().map_err(QueryError::into_datafusion)?;
        if self.known.is_moving(projection) {
            image.note_moving();
        }
        let batches = self.known.batches(&image).map_err(QueryError::into_datafusion)?;
        let schema = self.known.arrow.clone();
        Ok(MemorySourceConfig::try_new_exec(&[batches], schema, projection.cloned())?)
    }
}
