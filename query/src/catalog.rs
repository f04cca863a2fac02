//! Tables about tables: `pg_catalog`, `information_schema`, `sys`.
//!
//! Rows are made from one [`Image`] of the catalogue when a statement scans them, so they tell
//! the truth of the statement's snapshot. Each table is a list of columns and a function that
//! pushes rows; nothing is registered and nothing is kept between statements.

mod backups;
pub(crate) mod functions;
mod image;
mod information;
mod jobs;
mod keys;
mod pg;
mod queries;
mod rewrite;
mod rows;
mod sys;
pub(crate) mod types;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

pub(crate) use image::Image;
pub(crate) use pg::kinds::oid_of_field as type_number;
pub(crate) use rewrite::rewrite;
use rows::Rows;

use crate::error::{QueryError, QueryResult};

/// Type of a catalogue column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum T {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Time,
    /// Numbers of objects: `oid` and its kin.
    Oid,
    TextArray,
    IntArray,
}

/// One table of a system schema.
struct Def {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, T)],
    fill: fn(&Image, &mut Rows) -> QueryResult<()>,
}

/// All of them.
fn defs() -> impl Iterator<Item = &'static Def> {
    sys::DEFS
        .iter()
        .chain(backups::DEFS)
        .chain(information::DEFS)
        .chain(pg::DEFS.iter().flat_map(|d| d.iter()))
        .chain(queries::DEFS)
}

/// The system table of that name. A bare name finds those of `pg_catalog`, as in Postgres.
pub(crate) fn table(schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
    let schema = schema.unwrap_or("pg_catalog");
    let def = defs().find(|d| d.schema == schema && d.name == name)?;
    Some(Arc::new(SystemTable { def, schema: rows::schema(def.columns) }))
}

struct SystemTable {
    def: &'static Def,
    schema: SchemaRef,
}

impl std::fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SystemTable({}.{})", self.def.schema, self.def.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
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
        let mut rows = Rows::new(self.def.columns);
        (self.def.fill)(&image, &mut rows).map_err(QueryError::into_datafusion)?;
        let batch = rows.finish(self.schema.clone())?;
        let schema = self.schema.clone();
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, projection.cloned())?)
    }
}
