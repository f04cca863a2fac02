//! A relational table as DataFusion sees it, and the leaf that reads it.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use super::access::{Access, Wanted, ranges};
use super::arrays::Builder;
use super::def::{SPACE_INDEX, SPACE_ROWS, TableDef};
use super::kind::Datum;
use super::row::{self, Value};
use super::view::{View, behind};
use super::writer::Table;
use crate::error::{QueryError, QueryResult};
use crate::table::{BATCH_ROWS, context};

/// The column that names a row, for statements that change rows. No user's has such a name.
pub(crate) const KEY: &str = "\u{1}key";
/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 4 << 20;

/// A table in a session of a zone.
#[derive(Clone)]
pub(crate) struct RelationTable {
    pub(crate) table: Table,
    schema: SchemaRef,
    zone: Arc<str>,
}

impl fmt::Debug for RelationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelationTable({})", self.table.def.name)
    }
}

impl RelationTable {
    /// `keyed`: with [`KEY`]. `hidden`: numbers of columns that are left out.
    pub(crate) fn new(
        def: &Arc<TableDef>,
        zone: &str,
        keyed: bool,
        hidden: &[u32],
    ) -> QueryResult<RelationTable> {
        let mut def = def.clone();
        if !hidden.is_empty() {
            let mut rest = TableDef::clone(&def);
            rest.columns.retain(|column| !hidden.contains(&column.id));
            rest.primary = rest.primary.filter(|p| p.columns.iter().all(|c| !hidden.contains(c)));
            rest.indexes.retain(|index| index.columns.iter().all(|c| !hidden.contains(c)));
            def = Arc::new(rest);
        }
        let key = def.primary.as_ref().map(|p| p.columns.as_slice()).unwrap_or_default();
        let field = |column: &super::def::Column| {
            column.kind.field(&column.name, !key.contains(&column.id), zone)
        };
        let mut fields: Vec<Field> = def.columns.iter().map(field).collect();
        if keyed {
            fields.push(Field::new(KEY, DataType::Binary, false));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(RelationTable { table: Table::new(&def)?, schema, zone: zone.into() })
    }

    pub(crate) fn def(&self) -> &Arc<TableDef> {
        &self.table.def
    }

    /// What one column's values must be, as far as the filters say it.
    fn wanted(&self, filters: &[Expr], place: usize) -> Wanted {
        let mut out = Wanted::default();
        let Some(column) = self.table.def.columns.get(place) else { return out };
        for filter in filters {
            out.narrow(filter, &column.name, column.kind);
        }
        out
    }

    /// How the rows of some filters are found.
    fn access(&self, filters: &[Expr]) -> QueryResult<Access> {
        let def = &self.table.def;
        let mut best: Option<(usize, Access)> = None;
        let primary = def.primary.iter().map(|p| (None, p.columns.as_slice(), def.storage));
        let indexes = def.indexes.iter().map(|i| (Some(i.number), i.columns.as_slice(), i.number));
        for (index, columns, number) in primary.chain(indexes) {
            let wanted: Vec<Wanted> =
                def.places(columns)?.into_iter().map(|at| self.wanted(filters, at)).collect();
            let (depth, ranges) = ranges(&number.to_be_bytes(), &wanted);
            if depth > best.as_ref().map_or(0, |(depth, _)| *depth) {
                best = Some((depth, Access { index, ranges, all: false }));
            }
        }
        Ok(match best {
            Some((_, access)) => access,
            None => {
                let prefix = def.prefix();
                let end = behind(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
                let ranges = vec![(Bound::Included(prefix.to_vec()), end)];
                Access { index: None, ranges, all: true }
            }
        })
    }
}

#[async_trait]
impl TableProvider for RelationTable {
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
        // They bound what is read; the test itself comes again behind the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = context(state)?;
        let view = context.rows_view();
        let access = self.access(filters).map_err(QueryError::into_datafusion)?;
        let projection: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let all = context.engine.relational().rows_about(&self.table.def, &view);
        Ok(Arc::new(RelationScanExec::new(self, view, access, projection, limit, all)?))
    }
}

/// Reads a table.
#[derive(Clone)]
pub(crate) struct RelationScanExec {
    provider: RelationTable,
    view: View,
    access: Access,
    projection: Vec<usize>,
    schema: SchemaRef,
    limit: Option<usize>,
    rows: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RelationScanExec {
    fn new(
        provider: &RelationTable,
        view: View,
        access: Access,
        projection: Vec<usize>,
        limit: Option<usize>,
        all: u64,
    ) -> Result<RelationScanExec> {
        let schema = Arc::new(provider.schema.project(&projection)?);
        let mut equivalences = EquivalenceProperties::new(schema.clone());
        let def = &provider.table.def;
        if let (Some(primary), None) = (&def.primary, access.index) {
            let place = |id: &u32| {
                let at = def.place_of(*id).ok()?;
                projection.iter().position(|of| *of == at)
            };
            let sorts: Vec<PhysicalSortExpr> = primary
                .columns
                .iter()
                .map_while(place)
                .map(|at| {
                    let column = Arc::new(Column::new(schema.field(at).name(), at));
                    PhysicalSortExpr::new_default(column).asc()
                })
                .collect();
            if !sorts.is_empty() {
                equivalences.add_ordering(sorts);
            }
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        // Ranges are mostly single rows, or few.
        let rows = if access.all { all } else { all.min(access.ranges.len().saturating_mul(100)) };
        Ok(RelationScanExec {
            provider: provider.clone(),
            view,
            access,
            projection,
            schema,
            limit,
            rows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// Where a scan stands.
struct Cursor {
    view: View,
    access: Access,
    reader: Reader,
    /// The ranges from here on are left; the first may have lost its beginning.
    at: usize,
    left: usize,
}

/// Makes batches of rows.
pub(super) struct Reader {
    table: Table,
    projection: Vec<usize>,
    schema: SchemaRef,
    builders: Vec<Option<Builder>>,
    /// Where the cells of a column go, by its place in the table.
    slots: Vec<Vec<usize>>,
    keys: Option<BinaryBuilder>,
    rows: usize,
    bytes: usize,
}

impl Reader {
    pub(super) fn new(provider: &RelationTable, projection: &[usize], schema: SchemaRef) -> Reader {
        let columns = &provider.table.def.columns;
        let mut slots = vec![Vec::new(); columns.len()];
        let (mut builders, mut keys) = (Vec::new(), None);
        for (slot, at) in projection.iter().enumerate() {
            builders.push(match columns.get(*at) {
                Some(column) => {
                    slots[*at].push(slot);
                    Some(Builder::new(column.kind, &provider.zone))
                }
                None => {
                    keys = Some(BinaryBuilder::new());
                    None
                }
            });
        }
        Reader {
            table: provider.table.clone(),
            projection: projection.to_vec(),
            schema,
            builders,
            slots,
            keys,
            rows: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Takes a row in.
    pub(super) fn push(&mut self, key: &[u8], bytes: &[u8]) -> QueryResult<()> {
        self.rows += 1;
        self.bytes += bytes.len();
        if let Some(keys) = &mut self.keys {
            keys.append_value(key);
        }
        if self.projection.is_empty() || self.slots.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let Reader { table, builders, slots, .. } = self;
        let (columns, missing) = (&table.def.columns, table.missing());
        let mut put = |place: usize, value: Value<'_>| -> QueryResult<()> {
            for slot in &slots[place] {
                if let Some(Some(builder)) = builders.get_mut(*slot) {
                    builder.push(value)?;
                }
            }
            Ok(())
        };
        let mut next = 0;
        row::decode(bytes, |id, value| {
            while let Some(column) = columns.get(next)
                && column.id < id
            {
                put(next, as_value(&missing[next]))?;
                next += 1;
            }
            // Columns that were dropped stay in the bytes of old rows.
            if columns.get(next).is_some_and(|column| column.id == id) {
                put(next, value)?;
                next += 1;
            }
            Ok(())
        })?;
        for (place, value) in missing.iter().enumerate().skip(next) {
            put(place, as_value(value))?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> QueryResult<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.builders.len());
        for builder in &mut self.builders {
            arrays.push(match (builder, &mut self.keys) {
                (Some(builder), _) => builder.finish(),
                (None, Some(keys)) => Arc::new(keys.finish()),
                (None, None) => return Err(QueryError::internal("a column without a builder")),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }
}

fn as_value(value: &Datum) -> Value<'_> {
    match value {
        Datum::Null => Value::Null,
        Datum::Bool(v) => Value::Bool(*v),
        Datum::Int(v) => Value::Int(*v),
        Datum::Float(v) => Value::Float(*v),
        Datum::Decimal(v) => Value::Decimal(*v),
        Datum::Text(v) => Value::Text(v),
        Datum::Bytes(v) => Value::Bytes(v),
        Datum::Uuid(v) => Value::Uuid(v),
    }
}

impl Cursor {
    /// The next rows; `None` at the end.
    fn next(&mut self) -> QueryResult<Option<RecordBatch>> {
        let mut failed = None;
        while self.at < self.access.ranges.len() && self.left > 0 && !self.reader.is_full() {
            let range = self.access.ranges[self.at].clone();
            let bounds = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
            let space = if self.access.index.is_some() { SPACE_INDEX } else { SPACE_ROWS };
            let (view, reader, left) = (&self.view, &mut self.reader, &mut self.left);
            let prefix = reader.table.def.prefix();
            let mut stopped = None;
            view.visit(space, bounds, false, |key, value| {
                let pushed = match space {
                    SPACE_ROWS => reader.push(&key[prefix.len()..], value),
                    _ => view.get(SPACE_ROWS, &[&prefix[..], value].concat()).and_then(|row| {
                        let gone = || QueryError::new("XX001", "an index entry without its row");
                        reader.push(value, &row.ok_or_else(gone)?)
                    }),
                };
                if let Err(error) = pushed {
                    failed = Some(error);
                    return false;
                }
                *left -= 1;
                if *left == 0 || reader.is_full() {
                    stopped = Some(key.to_vec());
                    return false;
                }
                true
            })?;
            if let Some(error) = failed.take() {
                return Err(error);
            }
            match stopped {
                Some(key) => self.access.ranges[self.at].0 = Bound::Excluded(key),
                None => self.at += 1,
            }
        }
        if self.reader.rows == 0 {
            return Ok(None);
        }
        self.reader.finish().map(Some)
    }
}

impl fmt::Debug for RelationScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Verbose, f)
    }
}

impl DisplayAs for RelationScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let def = self.provider.def();
        write!(f, "RelationScan: table={}", def.name)?;
        let index = self.access.index.and_then(|number| def.index(number).ok());
        match (self.access.all, index) {
            (true, _) => {}
            (false, Some(index)) => {
                write!(f, ", index={}, ranges={}", index.name, self.access.ranges.len())?;
            }
            (false, None) => write!(f, ", key ranges={}", self.access.ranges.len())?,
        }
        let shown = self.schema.fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> = shown.filter(|name| *name != KEY).collect();
        write!(f, ", columns=[{}]", names.join(", "))?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for RelationScanExec {
    fn name(&self) -> &'static str {
        "RelationScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    crate::table::leaf!();

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reader = Reader::new(&self.provider, &self.projection, self.schema.clone());
        let mut cursor = Some(Cursor {
            view: self.view.clone(),
            access: self.access.clone(),
            reader,
            at: 0,
            left: self.limit.unwrap_or(usize::MAX),
        });
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = futures::stream::poll_fn(move |_| {
            let Some(source) = cursor.as_mut() else { return std::task::Poll::Ready(None) };
            let timer = metrics.elapsed_compute().timer();
            let next = source.next();
            timer.done();
            std::task::Poll::Ready(match next {
                Ok(Some(batch)) => {
                    metrics.record_output(batch.num_rows());
                    Some(Ok(batch))
                }
                Ok(None) => {
                    cursor = None;
                    None
                }
                Err(error) => {
                    cursor = None;
                    Some(Err(error.into_datafusion()))
                }
            })
        });
        let stream = RecordBatchStreamAdapter::new(self.schema.clone(), batches);
        Ok(make_cooperative(Box::pin(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    #[allow(deprecated, reason = "the successor calls this one for leaves")]
    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = self.limit.map_or(self.rows, |limit| self.rows.min(limit));
        Ok(Arc::new(Statistics {
            num_rows: Precision::Inexact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: vec![ColumnStatistics::new_unknown(); self.schema.fields().len()],
        }))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(RelationScanExec { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }
}
