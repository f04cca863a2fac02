//! Recognising whole statements: `SELECT groups, aggregates FROM table WHERE … GROUP BY … ORDER BY …`.
//!
//! Every field of the syntax tree is named here, so that a clause which is new to the parser does
//! not slip through.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Distinct, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, LimitClause,
    OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr,
    TableFactor, Value, WildcardAdditionalOptions,
};
use tsdb::scan::aggregate::Buckets;
use tsdb::types::TimeRange;
use tsdb::{Literal, Table};

use super::answer::{Having, NativeAggregate};
use super::constants::NativeConstants;
use super::literal::{Reader, call, is_utc, plain_args};
use super::newest::NativeNewest;
use super::order::Order;
use super::rows::{NativeRows, TimeOrder};
use super::spec::{AggregateSpec, Function, GroupBy, Measure, is_number};
use super::where_clause::{Selection, comparison};
use crate::names::{Names, folded};
use crate::plan::PlanContext;
use crate::plan::names::SCHEMA;
use crate::plan::origins::{self, Origin};
use crate::relational::{self, PointRows};
use crate::rights::Object;
use crate::table::{Extra, SeriesTable, Source};
use crate::{catalog, functions};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The Monday from which `time_bucket` counts, ns.
pub(super) const MONDAY: i64 = functions::MONDAY * SECOND;

/// A statement that the engine's own streams answer.
pub(crate) enum Native {
    /// Groups and measures.
    Aggregate(NativeAggregate),
    /// Rows as they are.
    Rows(NativeRows),
    /// The newest row of each group of series.
    Newest(NativeNewest),
    /// The row of one key of a relational table.
    Point(PointRows),
    /// Constants without FROM.
    Constants(NativeConstants),
}

impl Native {
    /// Columns of the answer.
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Native::Aggregate(native) => &native.schema,
            Native::Rows(rows) => &rows.schema,
            Native::Newest(newest) => newest.schema(),
            Native::Point(point) => &point.schema,
            Native::Constants(constants) => &constants.schema,
        }
    }

    /// What the columns of the answer are.
    fn origins(&self) -> Vec<Option<Origin>> {
        match self {
            Native::Aggregate(native) => {
                let (spec, groups) = (&native.spec, &native.spec.groups);
                let origin = |at: &usize| match groups.get(*at)? {
                    GroupBy::Key(id, kind) => {
                        origins::of_source(&spec.provider, Source::Key(*id, *kind))
                    }
                    GroupBy::Field(id, kind) => {
                        origins::of_source(&spec.provider, Source::Field(*id, *kind))
                    }
                    GroupBy::Bucket(_) => None,
                };
                native.output.iter().map(origin).collect()
            }
            Native::Rows(rows) => rows.origins(),
            Native::Newest(newest) => newest.origins(),
            Native::Point(point) => point.origins(),
            Native::Constants(_) => Vec::new(),
        }
    }

    /// Columns of the answer as its reader is told of them.
    pub(crate) fn described(&self, names: &Names) -> SchemaRef {
        origins::mark(&names.rename(self.schema()), &self.origins())
    }
}

/// What names and literals mean in one statement over one table.
pub(super) struct Scope<'a> {
    pub(super) table: &'a Table,
    pub(super) provider: &'a SeriesTable,
    /// What qualified names begin with.
    alias: String,
    pub(super) reader: Reader<'a>,
}

impl Scope<'_> {
    /// The column of the table that an expression names.
    pub(super) fn column(&self, expr: &Expr) -> Option<Source> {
        let name = match expr {
            Expr::Identifier(name) => folded(name),
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [table, name] if folded(table) == self.alias => folded(name),
                _ => return None,
            },
            Expr::Nested(inner) => return self.column(inner),
            _ => return None,
        };
        match self.provider.source(&name)? {
            Source::Quality(_) => None,
            source => Some(source),
        }
    }
}

/// The statement as a native one; `None` if it is not surely one.
pub(crate) fn recognise(
    ast: &ast::Statement,
    context: &PlanContext,
    params: &[ScalarValue],
) -> Option<Native> {
    let ast::Statement::Query(query) = ast else { return None };
    if context.quality() {
        return None;
    }
    let (select, order_by, limit) = parts(query)?;
    let (from, distinct, selection, list, group_by, having) = clauses(select)?;
    let Some(from) = from else {
        let alone = group_by.is_empty() && having.is_none() && distinct.is_none();
        let alone = alone && selection.is_none() && order_by.is_none() && limit.is_none();
        let constants = alone.then(|| NativeConstants::of(list, context));
        return constants.flatten().map(Native::Constants);
    };
    let (name, alias) = relation(from)?;
    if context.is_hidden(&name) {
        return None;
    }
    if let Some(def) = context.relations().ok()?.find(&name) {
        let object = Object::Relational(def.number);
        if def.temporary.is_none() && !context.reads_plainly(object, &def.name) {
            return None;
        }
        let plain = group_by.is_empty() && having.is_none() && distinct.is_none();
        let plain = plain && order_by.is_none() && limit.is_none();
        let point = || relational::recognise(def, &alias, selection, list, params, context);
        return plain.then(point).flatten().map(Native::Point);
    }
    let table = context.snapshot.table(&name)?;
    let id = table.schema().id;
    if context.has_written(id) || !context.reads_plainly(Object::Table(id), &name) {
        return None;
    }
    let zone = context.settings.zone();
    let provider = context.engine.tables().provider(table.schema(), zone, Extra::default());
    let reader = Reader { params, zone, now: context.started_us().checked_mul(1_000)? };
    let scope = Scope { table: &table, provider: &provider, alias, reader };
    let mut found = Selection::default();
    if let Some(selection) = selection {
        found.narrow(selection, &scope)?;
    }
    let (limit, offset) = match limit {
        None => (None, 0),
        Some((limit, offset)) => {
            let limit = match limit {
                Some(limit) => Some(scope.reader.count(limit)?),
                None => None,
            };
            (limit, offset.map_or(Some(0), |offset| scope.reader.count(offset))?)
        }
    };
    if let Some(on) = distinct {
        let plain = group_by.is_empty() && having.is_none() && (limit, offset) == (None, 0);
        let projection = columns(list, &scope).filter(|_| plain)?;
        let order = order_by.unwrap_or_default();
        let newest = NativeNewest::new(&scope, found, projection, on, order, list, context)?;
        return Some(Native::Newest(newest));
    }
    if group_by.is_empty()
        && having.is_none()
        && let Some(projection) = columns(list, &scope)
    {
        let order = time_order(order_by.unwrap_or_default(), list, &scope)?;
        let rows = NativeRows::new(&scope, found, projection, order, limit, offset, context)?;
        return Some(Native::Rows(rows));
    }
    let mut shape =
        Shape { scope: &scope, projection: list, groups: Vec::new(), measures: Vec::new() };
    for expr in group_by {
        let group = shape.group(expr)?;
        shape.groups.push(group);
    }
    let mut output = Vec::with_capacity(list.len());
    for item in list {
        output.push(shape.place(item_expr(item)?)?);
    }
    let mut conditions = Vec::new();
    if let Some(having) = having {
        shape.having(having, &mut conditions)?;
    }
    let order = match order_by {
        None => Vec::new(),
        Some(list) => list.iter().map(|by| shape.order(by, &output)).collect::<Option<_>>()?,
    };
    let (groups, measures) = (shape.groups, shape.measures);
    // A plain list of columns is no aggregate.
    if groups.is_empty() && measures.is_empty() {
        return None;
    }
    let spec = AggregateSpec {
        provider: SeriesTable::clone(&provider),
        times: found.times,
        filters: found.filters,
        groups,
        measures,
    };
    spec.finest().ok()?;
    spec.split().ok()?;
    let plain = found.series.is_none() && spec.filters.is_empty() && spec.times == TimeRange::ALL;
    if plain && spec.counts_all() {
        // A count of all rows is known without reading any.
        return None;
    }
    let schema = schema(&spec, &output);
    let series = found.series;
    let told = Default::default();
    Some(Native::Aggregate(NativeAggregate {
        spec,
        table,
        series,
        output,
        order,
        having: conditions,
        limit,
        offset,
        schema,
        told,
    }))
}

fn schema(spec: &AggregateSpec, output: &[usize]) -> SchemaRef {
    let types = spec.types();
    let fields = output.iter().map(|at| Field::new(format!("c{at}"), types[*at].clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Places in the table's schema of a list of plain columns; `None` for any other list.
fn columns(list: &[SelectItem], scope: &Scope<'_>) -> Option<Vec<usize>> {
    let schema = &scope.provider.schema;
    let mut places = Vec::new();
    for item in list {
        match item {
            SelectItem::Wildcard(WildcardAdditionalOptions {
                wildcard_token: _,
                opt_ilike: None,
                opt_exclude: None,
                opt_except: None,
                opt_replace: None,
                opt_rename: None,
                opt_alias: None,
            }) => places.extend(0..schema.fields().len()),
            _ => {
                let expr = item_expr(item)?;
                scope.column(expr)?;
                let name = match expr {
                    Expr::Identifier(name) => folded(name),
                    Expr::CompoundIdentifier(parts) => folded(parts.last()?),
                    _ => return None,
                };
                places.push(schema.index_of(&name).ok()?);
            }
        }
    }
    Some(places)
}

/// Whether rows are wanted by time alone, and from which end; `None` for any other order.
fn time_order(
    order: &[OrderByExpr],
    list: &[SelectItem],
    scope: &Scope<'_>,
) -> Option<Option<TimeOrder>> {
    let by = match order {
        [] => return Some(None),
        [by] => by,
        _ => return None,
    };
    let OrderByExpr { expr, options, with_fill: None } = by else { return None };
    if ordered_by(expr, list, scope)? != Source::Time {
        return None;
    }
    // Times are never NULL, so their place does not matter.
    let newest_first = options.asc == Some(false);
    Some(Some(if newest_first { TimeOrder::NewestFirst } else { TimeOrder::OldestFirst }))
}

/// The column of the table that an expression of ORDER BY is; a name of the list goes before one.
pub(super) fn ordered_by(expr: &Expr, list: &[SelectItem], scope: &Scope<'_>) -> Option<Source> {
    let renames = |item: &SelectItem| match (item, expr) {
        (SelectItem::ExprWithAlias { alias, .. }, Expr::Identifier(name)) => {
            folded(alias) == folded(name)
        }
        _ => false,
    };
    if list.iter().any(renames) { None } else { scope.column(expr) }
}

type Limit<'a> = (Option<&'a Expr>, Option<&'a Expr>);
type Parts<'a> = (&'a Select, Option<&'a [OrderByExpr]>, Option<Limit<'a>>);

/// A query's only SELECT, its order and limit.
fn parts(query: &Query) -> Option<Parts<'_>> {
    let Query {
        with: None,
        body,
        order_by,
        limit_clause,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    let SetExpr::Select(select) = &**body else { return None };
    let order_by = match order_by {
        None => None,
        Some(OrderBy { kind: OrderByKind::Expressions(list), interpolate: None }) => {
            Some(&list[..])
        }
        Some(_) => return None,
    };
    let limit = match limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            Some((limit.as_ref(), offset.as_ref().map(|o| &o.value)))
        }
        Some(_) => return None,
    };
    (locks.is_empty() && pipe_operators.is_empty()).then_some((select, order_by, limit))
}

type Clauses<'a> = (
    Option<&'a TableFactor>,
    Option<&'a [Expr]>,
    Option<&'a Expr>,
    &'a [SelectItem],
    &'a [Expr],
    Option<&'a Expr>,
);

/// Table if there is FROM, DISTINCT ON, WHERE, list, GROUP BY and HAVING of a SELECT that has nothing
/// else.
fn clauses(select: &Select) -> Option<Clauses<'_>> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers: None,
        top: None,
        top_before_distinct: _,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection,
        connect_by,
        group_by: GroupByExpr::Expressions(group_by, modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = select
    else {
        return None;
    };
    let empty = optimizer_hints.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty();
    let distinct = match distinct {
        None | Some(Distinct::All) => None,
        Some(Distinct::On(on)) => Some(&on[..]),
        Some(Distinct::Distinct) => return None,
    };
    let from = match &from[..] {
        [] => None,
        [from] if from.joins.is_empty() => Some(&from.relation),
        _ => return None,
    };
    empty.then_some((from, distinct, selection.as_ref(), projection, group_by, having.as_ref()))
}

/// Name of a table, and what its columns are qualified with.
fn relation(from: &TableFactor) -> Option<(String, String)> {
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = from
    else {
        return None;
    };
    if !(with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return None;
    }
    let idents: Vec<String> =
        name.0.iter().map(|part| part.as_ident().map(folded)).collect::<Option<_>>()?;
    let name = match &idents[..] {
        [name] if catalog::table(None, name).is_none() => name,
        [schema, name] if schema == SCHEMA => name,
        _ => return None,
    };
    let alias = match alias {
        None => name.clone(),
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => folded(&alias.name),
        Some(_) => return None,
    };
    Some((name.clone(), alias))
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Groups and measures as they are found.
struct Shape<'a> {
    scope: &'a Scope<'a>,
    projection: &'a [SelectItem],
    groups: Vec<GroupBy>,
    measures: Vec<Measure>,
}

impl Shape<'_> {
    /// An expression of GROUP BY: a key, a bucket, or the name or number of one in the list.
    fn group(&self, expr: &Expr) -> Option<GroupBy> {
        if let Some(group) = self.group_expr(expr) {
            return Some(group);
        }
        match expr {
            // A column of the table goes before a name of the list.
            Expr::Identifier(name) if self.scope.column(expr).is_none() => {
                self.group_expr(self.named(&folded(name))?)
            }
            _ => self.group_expr(item_expr(self.projection.get(ordinal(expr)?)?)?),
        }
    }

    /// The only item of the list with this name.
    fn named(&self, name: &str) -> Option<&Expr> {
        let mut found = self.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if folded(alias) == name => Some(expr),
            _ => None,
        });
        match (found.next(), found.next()) {
            (Some(expr), None) => Some(expr),
            _ => None,
        }
    }

    fn group_expr(&self, expr: &Expr) -> Option<GroupBy> {
        match expr {
            Expr::Nested(inner) => self.group_expr(inner),
            Expr::Function(function) => {
                let (name, args) = call(function)?;
                bucket(&name, &plain_args(args)?, self.scope).map(GroupBy::Bucket)
            }
            _ => match self.scope.column(expr)? {
                Source::Key(id, kind) => Some(GroupBy::Key(id, kind)),
                Source::Field(id, kind) if is_number(kind) => Some(GroupBy::Field(id, kind)),
                _ => None,
            },
        }
    }

    /// Place of an expression of the list among groups and measures.
    fn place(&mut self, expr: &Expr) -> Option<usize> {
        if let Some(group) = self.group_expr(expr) {
            return self.groups.iter().position(|g| *g == group);
        }
        let measure = measure(expr, self.scope)?;
        Some(self.measured(measure))
    }

    /// Conditions joined by AND, each a measure of numbers against a number.
    fn having(&mut self, expr: &Expr, out: &mut Vec<Having>) -> Option<()> {
        match expr {
            Expr::Nested(inner) => self.having(inner, out),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.having(left, out)?;
                self.having(right, out)
            }
            Expr::BinaryOp { left, op, right } => {
                let comparison = comparison(op)?;
                let measure = measure(left, self.scope)?;
                let number = match self.scope.reader.number(right)? {
                    Literal::Int(v) if v.unsigned_abs() < 1 << 53 => v as f64,
                    Literal::Float(v) => v,
                    _ => return None,
                };
                let kind = measure.data_type("+00:00");
                // Whole numbers compare as such; beside a fraction they become floats in SQL too.
                if !matches!(kind, DataType::Int64 | DataType::Float64) {
                    return None;
                }
                out.push(Having { column: self.measured(measure), comparison, number });
                Some(())
            }
            _ => None,
        }
    }

    /// Place of a measure, which joins those that are there.
    fn measured(&mut self, measure: Measure) -> usize {
        let at = self.measures.iter().position(|m| *m == measure);
        let at = at.unwrap_or_else(|| {
            self.measures.push(measure);
            self.measures.len() - 1
        });
        self.groups.len() + at
    }

    fn order(&mut self, by: &OrderByExpr, output: &[usize]) -> Option<Order> {
        let OrderByExpr { expr, options, with_fill: None } = by else { return None };
        let named = match expr {
            Expr::Identifier(name) => self.named(&folded(name)).cloned(),
            _ => None,
        };
        let column = match (named, ordinal(expr)) {
            (Some(expr), _) => self.place(&expr)?,
            (None, Some(at)) => *output.get(at)?,
            (None, None) => self.place(expr)?,
        };
        let descending = options.asc == Some(false);
        let nulls_first = options.nulls_first.unwrap_or(descending);
        Some(Order { column, descending, nulls_first })
    }
}

/// A place in the list that a plain number names, from 0.
fn ordinal(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    match &value.value {
        Value::Number(text, false) => text.parse::<usize>().ok()?.checked_sub(1),
        _ => None,
    }
}

/// Buckets that a function cuts the time column into.
fn bucket(name: &str, args: &[&Expr], scope: &Scope<'_>) -> Option<Buckets> {
    let is_time = |expr: &Expr| scope.column(expr) == Some(Source::Time);
    match (name, args) {
        ("time_bucket", [width, time]) if is_time(time) => {
            Some(Buckets { width: scope.reader.bucket_width(width)?, origin: MONDAY })
        }
        ("date_bin", [width, time]) if is_time(time) => {
            Some(Buckets { width: scope.reader.bucket_width(width)?, origin: 0 })
        }
        ("time_bucket" | "date_bin", [width, time, origin]) if is_time(time) => {
            let origin = i64::try_from(scope.reader.time(origin)?).ok()?;
            let width = scope.reader.bucket_width(width)?;
            (origin % 1_000 == 0).then_some(Buckets { width, origin })
        }
        ("date_trunc", [unit, time]) if is_time(time) && is_utc(scope.reader.zone) => {
            truncated(&scope.reader.text(unit)?)
        }
        _ => None,
    }
}

/// The buckets that `date_trunc` cuts in UTC.
pub(crate) fn truncated(unit: &str) -> Option<Buckets> {
    let width = match &unit.to_lowercase()[..] {
        "second" => SECOND,
        "minute" => 60 * SECOND,
        "hour" => 3600 * SECOND,
        "day" => DAY,
        "week" => 7 * DAY,
        _ => return None,
    };
    Some(Buckets { width, origin: MONDAY })
}

/// The measure that an expression is.
fn measure(expr: &Expr, scope: &Scope<'_>) -> Option<Measure> {
    let function = match expr {
        Expr::Nested(inner) => return measure(inner, scope),
        Expr::Function(function) => function,
        _ => return None,
    };
    let (name, args) = call(function)?;
    if let ("count", [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]) = (&name[..], args) {
        return Measure::new(Function::Count, None);
    }
    let args = plain_args(args)?;
    let field = |expr: &Expr| match scope.column(expr)? {
        Source::Field(id, kind) => Some((id, kind)),
        _ => None,
    };
    let function = Function::named(&name)?;
    match (function, &args[..]) {
        (Function::Count, [time]) if scope.column(time) == Some(Source::Time) => {
            Measure::new(function, None)
        }
        (Function::First | Function::Last, [value, time])
            if scope.column(time) == Some(Source::Time) =>
        {
            Measure::new(function, Some(field(value)?))
        }
        (Function::First | Function::Last, _) => None,
        (_, [value]) => Measure::new(function, Some(field(value)?)),
        _ => None,
    }
}
