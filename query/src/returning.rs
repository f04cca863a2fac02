//! RETURNING: the rows that a statement has written or deleted.
//!
//! A column that the statement fills is returned as it was stored. Anything else is worked out
//! beside the rows that DELETE and UPDATE look for, from the row as it was; so an expression may
//! not use what an UPDATE sets, and an INSERT returns columns alone.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::nullif;
use arrow::datatypes::{
    DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, SelectItem, SelectItemQualifiedWildcardKind, Visit, Visitor,
    WildcardAdditionalOptions,
};
use tsdb::types::{ColumnType, MergeMode, TableSchema};

use crate::error::{QueryError, QueryResult};
use crate::insert::{Target, assign, targets_of};
use crate::names::{self, folded};
use crate::plan::origins::{self, Origin};
use crate::session::Session;
use crate::table::{Source, arrow_type};
use crate::{Outcome, run};

/// Bytes of the rows that one statement returns: they wait until it is committed.
const BYTES_MAX: usize = 128 << 20;

/// Where a returned column comes from.
#[derive(Debug)]
enum Item {
    /// The value for that target of the statement.
    Given(usize),
    /// That expression of those that are selected with the rows.
    Selected(usize),
    /// A column that is empty in rows that are new as a whole.
    Empty(ColumnType),
}

/// What a statement returns.
#[derive(Debug)]
pub(crate) struct Returning {
    items: Vec<(String, Item)>,
    origins: Vec<Option<Origin>>,
    selected: Vec<SelectItem>,
    targets: Vec<Target>,
    zone: String,
}

/// What a RETURNING stands in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Verb {
    Insert,
    Update,
    Delete,
}

impl Returning {
    /// `called`: the name that the table goes by. `targets`: columns that the statement fills.
    pub(crate) fn new(
        session: &Session,
        list: &[SelectItem],
        (table, called): (&TableSchema, &str),
        targets: &[Target],
        (verb, joined): (Verb, bool),
    ) -> QueryResult<Returning> {
        let zone = session.settings().zone().to_string();
        let targets = targets.to_vec();
        let (items, origins, selected) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = Returning { items, origins, selected, targets, zone };
        for item in list {
            match item {
                SelectItem::Wildcard(options) if plain(options) && !joined => {
                    out.all(table, called, verb)?;
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if plain(options) && is_called(name, called) => out.all(table, called, verb)?,
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    let name = names::of_item(item);
                    check(session, expr)?;
                    out.item(table, called, verb, expr, name)?;
                }
                _ => return Err(refused("this form of * in RETURNING")),
            }
        }
        Ok(out)
    }

    fn all(&mut self, table: &TableSchema, called: &str, verb: Verb) -> QueryResult<()> {
        for column in targets_of(table) {
            let parts = [called, &column.name].map(|name| Ident::with_quote('"', name));
            let expr = Expr::CompoundIdentifier(parts.to_vec());
            self.item(table, called, verb, &expr, column.name)?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        table: &TableSchema,
        called: &str,
        verb: Verb,
        expr: &Expr,
        name: String,
    ) -> QueryResult<()> {
        let column = column_of(expr, called);
        self.origins.push(column.as_deref().and_then(|column| Origin::of_column(table, column)));
        let target = column.as_ref().and_then(|c| self.targets.iter().position(|t| t.name == *c));
        if let Some(target) = target {
            self.items.push((name, Item::Given(target)));
            return Ok(());
        }
        if verb == Verb::Insert {
            let item = self.of_insert(table, column)?;
            self.items.push((name, item));
            return Ok(());
        }
        let mut uses = Uses { targets: &self.targets, called };
        if verb == Verb::Update && expr.visit(&mut uses).is_break() {
            return Err(refused("an expression in RETURNING over a column that the UPDATE sets")
                .with_hint("Return the column itself."));
        }
        let at = self.selected.len();
        let alias = Ident::with_quote('"', format!("\u{1}returned{at}"));
        self.selected.push(SelectItem::ExprWithAlias { expr: expr.clone(), alias });
        self.items.push((name, Item::Selected(at)));
        Ok(())
    }

    /// A column that the INSERT does not fill.
    fn of_insert(&self, table: &TableSchema, column: Option<String>) -> QueryResult<Item> {
        let Some(column) = column else {
            return Err(refused("an expression in RETURNING of an INSERT")
                .with_hint("Return columns as they are."));
        };
        let all = targets_of(table);
        let target = all.iter().find(|target| target.name == column);
        let target = target.ok_or_else(|| QueryError::no_column(&column, &table.name))?;
        // Part of the key, or of a row that no earlier one shines through.
        let key = matches!(target.source, Source::Key(..));
        if key || table.options.merge != MergeMode::LastNonNull {
            return Ok(Item::Empty(target.kind));
        }
        Err(refused(&format!("RETURNING \"{column}\", which the INSERT does not fill,")).with_hint(
            "The row merges with an earlier one of its key and time, whose value is not known \
             here. Return the columns that are inserted.",
        ))
    }

    /// What is to be selected with the rows.
    pub(crate) fn selected(&self) -> &[SelectItem] {
        &self.selected
    }

    /// Columns of the result; `fields`: those that the rows are selected with.
    pub(crate) fn schema(&self, fields: &[Arc<Field>]) -> QueryResult<SchemaRef> {
        let first = fields.len().checked_sub(self.selected.len());
        let selected = first.and_then(|first| fields.get(first..)).unwrap_or_default();
        let field = |(name, item): &(String, Item)| {
            let kind = match item {
                Item::Given(at) => arrow_type(self.targets[*at].kind, &self.zone),
                Item::Empty(kind) => arrow_type(*kind, &self.zone),
                Item::Selected(at) => match selected.get(*at) {
                    Some(field) => field.data_type().clone(),
                    None => return Err(QueryError::internal("a returned column went missing")),
                },
            };
            Ok(Field::new(name, kind, true))
        };
        let fields = self.items.iter().map(field).collect::<QueryResult<Vec<_>>>()?;
        Ok(origins::mark(&Arc::new(Schema::new(fields)), &self.origins))
    }

    /// Rows to return: `given` are the values for the targets, `selected` what was selected.
    pub(crate) fn batch(
        &self,
        schema: &SchemaRef,
        given: &[ArrayRef],
        selected: &[ArrayRef],
        rows: usize,
    ) -> QueryResult<RecordBatch> {
        let missing = || QueryError::internal("a returned column went missing");
        let mut columns = Vec::with_capacity(self.items.len());
        for (_, item) in &self.items {
            columns.push(match item {
                Item::Given(at) => {
                    let array = given.get(*at).ok_or_else(missing)?;
                    stored(array, &self.targets[*at], &self.zone)?
                }
                Item::Selected(at) => selected.get(*at).ok_or_else(missing)?.clone(),
                Item::Empty(kind) => new_null_array(&arrow_type(*kind, &self.zone), rows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }
}

/// Returned rows of a statement under way.
#[derive(Default)]
pub(crate) struct Returned {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Returned {
    pub(crate) fn push(&mut self, batch: RecordBatch) -> QueryResult<()> {
        self.bytes += batch.get_array_memory_size();
        if self.bytes > BYTES_MAX {
            let message = format!("one statement may return {} MiB", BYTES_MAX >> 20);
            return Err(QueryError::new("54000", message));
        }
        self.batches.push(batch);
        Ok(())
    }

    /// Leaves the rows that a mask over all of them says.
    pub(crate) fn retain(&mut self, mask: &[bool]) -> QueryResult<()> {
        let mut from = 0;
        for batch in &mut self.batches {
            let end = from + batch.num_rows();
            let part = mask.get(from..end).unwrap_or_default().to_vec();
            *batch = arrow::compute::filter_record_batch(batch, &part.into())?;
            from = end;
        }
        Ok(())
    }

    pub(crate) fn outcome(self, schema: SchemaRef, verb: &'static str) -> Outcome {
        Outcome::Rows { stream: run::ready(schema.clone(), self.batches), schema, verb }
    }
}

/// Values as the table shows them once they are in it.
fn stored(array: &ArrayRef, target: &Target, zone: &str) -> QueryResult<ArrayRef> {
    let array = assign(array, target, zone)?;
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanos = array.as_primitive::<TimestampNanosecondType>();
            let micros = nanos.unary::<_, TimestampMicrosecondType>(|ns| ns.div_euclid(1_000));
            Ok(Arc::new(micros.with_timezone(zone)))
        }
        // The empty text is the missing value of a key.
        DataType::Utf8View if matches!(target.source, Source::Key(..)) => {
            let texts = array.as_string_view();
            let empty = texts.iter().map(|text| Some(text == Some(""))).collect();
            Ok(nullif(&array, &empty)?)
        }
        _ => Ok(array),
    }
}

fn plain(options: &WildcardAdditionalOptions) -> bool {
    *options == WildcardAdditionalOptions::default()
}

fn is_called(name: &ast::ObjectName, called: &str) -> bool {
    match &name.0[..] {
        [part] => part.as_ident().is_some_and(|part| folded(part) == called),
        _ => false,
    }
}

/// The column of the table that an expression is.
fn column_of(expr: &Expr, called: &str) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [table, name] if folded(table) == called => Some(folded(name)),
            _ => None,
        },
        Expr::Nested(inner) => column_of(inner, called),
        _ => None,
    }
}

/// Refuses what says nothing about one row.
fn check(session: &Session, expr: &Expr) -> QueryResult<()> {
    struct Check<'a>(&'a Session);
    impl Visitor for Check<'_> {
        type Break = QueryError;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<QueryError> {
            match expr {
                Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                    ControlFlow::Break(refused("a subquery in RETURNING"))
                }
                Expr::Function(function) => {
                    let name = function.name.0.last().and_then(|part| part.as_ident());
                    let known = self.0.engine().base().aggregate_functions();
                    let aggregate = name.is_some_and(|name| known.contains_key(&folded(name)));
                    match aggregate || function.over.is_some() {
                        true => ControlFlow::Break(QueryError::new(
                            "42803",
                            "aggregate and window functions are not allowed in RETURNING",
                        )),
                        false => ControlFlow::Continue(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match expr.visit(&mut Check(session)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Finds a use of a target.
struct Uses<'a> {
    targets: &'a [Target],
    called: &'a str,
}

impl Visitor for Uses<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let column = match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => column_of(expr, self.called),
            _ => None,
        };
        match column.is_some_and(|column| self.targets.iter().any(|t| t.name == column)) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

fn refused(what: &str) -> QueryError {
    QueryError::unsupported(what)
}
