//! A time-series table as DataFusion sees it: columns, filters, statistics, scans.
//!
//! Inside times are ns, SQL shows µs: the floor, so that a µs literal matches the whole µs. The
//! one place where that is decided is [`predicate`] (filters) and [`arrays`] (values).

pub(crate) mod arrays;
mod exec;
pub(crate) mod last;
pub(crate) mod predicate;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Expr, LogicalPlan, TableProviderFilterPushDown, TableScan, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use tsdb::series::Bitmap;
use tsdb::types::{ColumnId, ColumnType, TableId, TableSchema, TimeRange};
use tsdb::{ScanRequest, Snapshot};

use crate::error::QueryError;
use crate::native::AggregatedRows;
use crate::plan::PlanContext;
use predicate::Meaning;

pub(crate) use exec::{SeriesScanExec, ShownTime};
pub(crate) use last::LastRows;

/// What an operator says that has no operator below it and holds no expression.
macro_rules! leaf {
    () => {
        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            Vec::new()
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
        ) -> Result<TreeNodeRecursion> {
            Ok(TreeNodeRecursion::Continue)
        }

        fn replace_children(
            self: Arc<Self>,
            _: Vec<Arc<dyn ExecutionPlan>>,
            _: ReplaceChildrenOptions,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }

        fn with_new_children(
            self: Arc<Self>,
            _: Vec<Arc<dyn ExecutionPlan>>,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }
    };
}
pub(crate) use leaf;

/// Rows a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Where the values of an Arrow column come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source {
    Time,
    Key(ColumnId, ColumnType),
    Field(ColumnId, ColumnType),
    /// `x__quality` of field `x`.
    Quality(ColumnId),
    /// Number of the row's series; for statements that change rows.
    Series,
    /// Time of the row to the ns; for statements that change rows.
    Nanos,
    /// Place of the row among those of its series and time; for statements that change rows.
    Nth,
}

/// Columns that say which row a row is. No column of a user has such a name.
pub(crate) const IDENTITY: [(&str, Source, DataType); 3] = [
    ("\u{1}series", Source::Series, DataType::UInt32),
    ("\u{1}nanos", Source::Nanos, DataType::Int64),
    ("\u{1}nth", Source::Nth, DataType::UInt32),
];

/// A table's schema for one zone, with or without quality columns. It holds no snapshot: that
/// comes with the context of the statement that scans.
#[derive(Clone, Debug)]
pub(crate) struct SeriesTable {
    pub(crate) table: Arc<TableSchema>,
    pub(crate) schema: SchemaRef,
    pub(crate) sources: Arc<[Source]>,
}

/// Arrow type of a column. Text is a view everywhere, so that expressions never mix two kinds of
/// strings; times carry the session's zone, so that DataFusion cuts days where the user does.
pub(crate) fn arrow_type(kind: ColumnType, zone: &str) -> DataType {
    match kind {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int16 => DataType::Int16,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Text => DataType::Utf8View,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
    }
}

impl SeriesTable {
    pub(crate) fn new(table: Arc<TableSchema>, zone: &str, extra: Extra) -> SeriesTable {
        let time = arrow_type(ColumnType::Timestamp, zone);
        let mut fields = vec![Field::new(&table.time_name, time, false)];
        let mut sources = vec![Source::Time];
        for column in &table.columns {
            fields.push(Field::new(&column.name, arrow_type(column.kind, zone), true));
            sources.push(match column.key {
                true => Source::Key(column.id, column.kind),
                false => Source::Field(column.id, column.kind),
            });
        }
        if extra.quality {
            for column in table.fields() {
                let name = format!("{}__quality", column.name);
                if table.column(&name).is_none() {
                    fields.push(Field::new(name, DataType::Utf8View, true));
                    sources.push(Source::Quality(column.id));
                }
            }
        }
        if extra.identity {
            for (name, source, kind) in IDENTITY {
                fields.push(Field::new(name, kind, false));
                sources.push(source);
            }
        }
        let schema = Arc::new(Schema::new(fields));
        SeriesTable { table, schema, sources: sources.into() }
    }

    /// The fields that a projection of columns is made of, each once.
    pub(crate) fn fields(&self, projection: &[usize]) -> Vec<ColumnId> {
        let mut fields = Vec::new();
        for index in projection {
            if let Source::Field(id, _) | Source::Quality(id) = self.sources[*index]
                && !fields.contains(&id)
            {
                fields.push(id);
            }
        }
        fields
    }

    /// Number of a key or field among the columns, as pg_attribute counts them: the time is 1.
    pub(crate) fn number_of(&self, id: ColumnId) -> Option<i64> {
        let at = self.table.columns.iter().position(|column| column.id == id)?;
        Some(at as i64 + 2)
    }

    /// The source of a column by its name.
    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        self.schema.index_of(name).ok().map(|i| self.sources[i])
    }
}

/// Providers by table, kept because making one costs as much as planning where tables are wide.
#[derive(Default)]
pub(crate) struct TableCache {
    map: Mutex<HashMap<(TableId, Extra, String), Arc<SeriesTable>>>,
}

/// Columns besides those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Extra {
    /// One for the quality of each field.
    pub(crate) quality: bool,
    /// Those of [`IDENTITY`].
    pub(crate) identity: bool,
}

/// Providers kept; above it all are dropped and made anew.
const PROVIDERS_MAX: usize = 4096;

impl TableCache {
    pub(crate) fn provider(
        &self,
        table: &Arc<TableSchema>,
        zone: &str,
        extra: Extra,
    ) -> Arc<SeriesTable> {
        let key = (table.id, extra, zone.to_string());
        let mut map = self.map.lock();
        if let Some(found) = map.get(&key)
            && (Arc::ptr_eq(&found.table, table) || found.table == *table)
        {
            return found.clone();
        }
        if map.len() >= PROVIDERS_MAX {
            map.clear();
        }
        let made = Arc::new(SeriesTable::new(table.clone(), zone, extra));
        map.insert(key, made.clone());
        made
    }
}

/// The table of this plan in the snapshot of the statement.
pub(crate) fn in_snapshot(snapshot: &Snapshot, table: &TableSchema) -> Result<tsdb::Table> {
    snapshot
        .table_by_id(table.id)
        .ok_or_else(|| QueryError::no_table(&table.name).into_datafusion())
}

/// The context of the statement behind DataFusion's session.
pub(crate) fn context(state: &dyn Session) -> Result<&PlanContext> {
    state.as_any().downcast_ref::<PlanContext>().ok_or_else(|| {
        QueryError::internal("a table was scanned outside of a statement").into_datafusion()
    })
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let numbered = self.sources.contains(&Source::Nth);
        let pushdown = |filter: &&Expr| match predicate::analyze(filter, self) {
            // Rows are numbered before they are tested, so the test comes again behind the scan.
            Meaning::Field { .. } if numbered => TableProviderFilterPushDown::Inexact,
            meaning => meaning.pushdown(),
        };
        Ok(filters.iter().map(pushdown).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = context(state)?;
        let table = in_snapshot(&context.snapshot, &self.table)?;
        let selection = predicate::select(filters, self, &table, state)?;
        let projection: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let columns = self.fields(&projection);
        // Skipping rows by their values would count the others wrongly.
        let counts = projection.iter().any(|index| self.sources[*index] == Source::Nth);
        let (bounds, filters) = match counts {
            true => Default::default(),
            false => (selection.bounds, selection.filters),
        };
        let request = ScanRequest {
            series: selection.series,
            times: selection.times,
            columns,
            bounds,
            filters,
            streams: state.config().target_partitions(),
            batch_rows: BATCH_ROWS,
        };
        Ok(Arc::new(SeriesScanExec::new(self, table, request, projection, limit)?))
    }
}

/// Series and times of which a plan gives every row, if it is a scan that says no more than that.
pub(crate) fn whole_ranges(
    plan: &LogicalPlan,
    context: &PlanContext,
) -> Result<Option<(tsdb::Table, Option<Bitmap>, TimeRange)>> {
    let scan = match plan {
        LogicalPlan::Projection(inner) => return whole_ranges(&inner.input, context),
        LogicalPlan::SubqueryAlias(inner) => return whole_ranges(&inner.input, context),
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => scan,
        _ => return Ok(None),
    };
    let provider = source_as_provider(&scan.source)?;
    let Some(provider) = provider.downcast_ref::<SeriesTable>() else { return Ok(None) };
    // Tests of fields are exact too, but no range says what they say.
    let exact = |filter: &Expr| {
        matches!(predicate::analyze(filter, provider), Meaning::Times(_) | Meaning::Keys(_))
    };
    if !scan.filters.iter().all(exact) {
        return Ok(None);
    }
    let table = in_snapshot(&context.snapshot, &provider.table)?;
    let found = predicate::select(&scan.filters, provider, &table, context)?;
    Ok(Some((table, found.series, found.times)))
}

/// The table that a scan reads, if it is one of ours.
pub(crate) fn id_of(scan: &TableScan) -> Option<TableId> {
    let provider = source_as_provider(&scan.source).ok()?;
    if let Some(newest) = provider.downcast_ref::<last::NewestRows>() {
        return Some(newest.table_id());
    }
    if let Some(aggregated) = provider.downcast_ref::<AggregatedRows>() {
        return Some(aggregated.table_id());
    }
    provider.downcast_ref::<SeriesTable>().map(|table| table.table.id)
}

/// Rows that a scan may give, roughly: the share of series and of the time span that its filters
/// leave, without looking into any index.
pub(crate) fn estimate(scan: &TableScan, snapshot: &Snapshot) -> usize {
    let Ok(provider) = source_as_provider(&scan.source) else { return 0 };
    if let Some(aggregated) = provider.downcast_ref::<AggregatedRows>() {
        return aggregated.rows_read(snapshot);
    }
    let Some(provider) = provider.downcast_ref::<SeriesTable>() else { return 0 };
    let Some(table) = snapshot.table_by_id(provider.table.id) else { return 0 };
    let stats = table.stats();
    let share = predicate::share(&scan.filters, provider, &stats.times, table.series_count());
    let rows = (stats.rows as f64 * share) as usize;
    scan.fetch.map_or(rows, |fetch| rows.min(fetch))
}
