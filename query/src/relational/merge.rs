//! MERGE into relational tables: the rows of a source, each with the row of the table that it
//! matches, and for each the first WHEN that is true of it.
//!
//! The source is joined to the table by one SELECT, which also says which WHEN it is and what the
//! values are; those of a WHEN are only worked out where it is the one. Rows are deleted first, then
//! changed, then inserted: so a row may take the key of one that goes.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, Ident, MergeAction, MergeClauseKind, MergeInsertKind,
    SelectItem, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::StreamExt;

use super::arrays;
use super::conflict::{is_default, sets};
use super::def::TableDef;
use super::expr::refuse_subqueries;
use super::insert::{complete, defaults, no_column, too_large, too_many};
use super::kind::Datum;
use super::provider::KEY;
use super::update::table_of;
use super::view::Pending;
use super::writer::{BYTES_MAX, ROWS_MAX, Row, Table, Writer};
use crate::Outcome;
use crate::change::By;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::folded;
use crate::plan::PlanContext;
use crate::plan::names::ROWS;
use crate::rights::acl::Mode;
use crate::rights::security::For;
use crate::session::{Change, Session, Tree};
use crate::statement::Statement;
use crate::statement::merge::NOTHING;
use crate::view::{not_a_table, refuse_hidden};

/// Column that says which WHEN is true.
const WHICH: &str = "\u{1}which";

/// What a WHEN does.
enum Action {
    Nothing,
    Delete,
    /// Places of columns; `None` is DEFAULT.
    Update(Vec<(usize, Option<Expr>)>),
    Insert(Vec<usize>, Vec<Option<Expr>>),
}

/// A row of the source that does something.
enum Found {
    Delete(Vec<u8>),
    /// The number of the WHEN, the key, the values that are no defaults.
    Update(usize, Vec<u8>, Vec<Datum>),
    Insert(usize, Vec<Datum>),
}

/// Name and alias of the table.
fn target(merge: &ast::Merge) -> QueryResult<(String, Ident)> {
    match &merge.table {
        TableFactor::Table { name, alias, args: None, sample: None, .. }
            if alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            let name = table_name(name)?;
            let called = alias.as_ref().map(|alias| alias.name.clone());
            let called = called.unwrap_or_else(|| quoted(crate::schema::bare(&name)));
            Ok((name, called))
        }
        _ => Err(QueryError::unsupported("MERGE into anything but a plain table")),
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn number(number: usize) -> Expr {
    Expr::Value(ast::Value::Number(number.to_string(), false).with_empty_span())
}

/// `CASE WHEN … THEN … ELSE … END`.
fn case(conditions: Vec<CaseWhen>, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions,
        else_result: otherwise.map(Box::new),
    }
}

fn both(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    Expr::BinaryOp { left: nested(left), op, right: nested(right) }
}

/// Values that a WHEN works out, those that are no DEFAULT.
fn values_of(clause: &ast::MergeClause) -> Vec<&Expr> {
    let all: Vec<&Expr> = match &clause.action {
        MergeAction::Delete { .. } => Vec::new(),
        MergeAction::Update(update) => update
            .assignments
            .iter()
            .flat_map(|assignment| match (&assignment.target, &assignment.value) {
                (ast::AssignmentTarget::Tuple(_), Expr::Tuple(values)) => {
                    values.iter().collect::<Vec<&Expr>>()
                }
                (_, value) => vec![value],
            })
            .collect(),
        MergeAction::Insert(insert) => match &insert.kind {
            MergeInsertKind::Values(values) => {
                values.rows.iter().flat_map(|row| &row.content).collect()
            }
            MergeInsertKind::Row => Vec::new(),
        },
    };
    all.into_iter().filter(|value| !is_default(value)).collect()
}

fn is_matched(clause: &ast::MergeClause) -> bool {
    clause.clause_kind == MergeClauseKind::Matched
}

/// The SELECT of what a MERGE is about: the key of the row of the table, which WHEN it is, and the
/// values of all of them.
pub(crate) fn merge_query(merge: &ast::Merge) -> QueryResult<ast::Query> {
    let (table, called) = target(merge)?;
    let template = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT FROM a LEFT JOIN b AS c ON true")
        .and_then(|mut parser| parser.parse_query());
    let bad = || QueryError::internal("the form of a MERGE");
    let mut query = *template.map_err(|_| bad())?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Err(bad()) };
    let [from] = select.from.as_mut_slice() else { return Err(bad()) };
    from.relation = merge.source.clone();
    let [join] = from.joins.as_mut_slice() else { return Err(bad()) };
    let TableFactor::Table { name, alias: Some(alias), .. } = &mut join.relation else {
        return Err(bad());
    };
    *name = ast::ObjectName::from(vec![quoted(ROWS), quoted(&table)]);
    alias.name = called.clone();
    let (ast::JoinOperator::Left(on) | ast::JoinOperator::LeftOuter(on)) = &mut join.join_operator
    else {
        return Err(bad());
    };
    refuse_subqueries(&merge.on, "the condition of a MERGE")?;
    *on = ast::JoinConstraint::On(merge.on.as_ref().clone());
    let key = Expr::CompoundIdentifier(vec![called, quoted(KEY)]);
    let mut conditions = Vec::new();
    for (at, clause) in merge.clauses.iter().enumerate() {
        let mut condition = match is_matched(clause) {
            true => Expr::IsNotNull(Box::new(key.clone())),
            false => Expr::IsNull(Box::new(key.clone())),
        };
        if let Some(predicate) = &clause.predicate {
            refuse_subqueries(predicate, "WHEN")?;
            condition = both(condition, BinaryOperator::And, predicate.clone());
        }
        conditions.push(CaseWhen { condition, result: number(at) });
    }
    let which = case(conditions, None);
    let item = |expr: Expr, name: &str| SelectItem::ExprWithAlias { expr, alias: quoted(name) };
    select.projection = vec![item(key, KEY), item(which.clone(), WHICH)];
    for (at, clause) in merge.clauses.iter().enumerate() {
        for value in values_of(clause) {
            refuse_subqueries(value, "MERGE")?;
            let condition = both(which.clone(), BinaryOperator::Eq, number(at));
            let value = case(vec![CaseWhen { condition, result: value.clone() }], None);
            let name = format!("\u{1}set{}", select.projection.len());
            select.projection.push(item(value, &name));
        }
    }
    Ok(query)
}

/// What each WHEN does.
fn actions(merge: &ast::Merge, def: &TableDef) -> QueryResult<Vec<Action>> {
    let mut ended = [false, false];
    let mut out = Vec::with_capacity(merge.clauses.len());
    for clause in &merge.clauses {
        let known = [MergeClauseKind::Matched, MergeClauseKind::NotMatched];
        if !known.contains(&clause.clause_kind) {
            return Err(QueryError::unsupported(format!("WHEN {}", clause.clause_kind)));
        }
        let ended = &mut ended[usize::from(is_matched(clause))];
        if *ended {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(QueryError::new("42601", message));
        }
        *ended = clause.predicate.is_none();
        out.push(action(clause, def)?);
    }
    Ok(out)
}

fn action(clause: &ast::MergeClause, def: &TableDef) -> QueryResult<Action> {
    let refuse = || QueryError::unsupported("this form of WHEN in MERGE");
    match &clause.action {
        MergeAction::Delete { .. } => Ok(Action::Delete),
        MergeAction::Update(update) => {
            if update.update_predicate.is_some() || update.delete_predicate.is_some() {
                return Err(refuse());
            }
            let nothing = |assignment: &ast::Assignment| {
                matches!(&assignment.target, ast::AssignmentTarget::ColumnName(name)
                    if is_nothing(name))
            };
            match update.assignments.as_slice() {
                [one] if nothing(one) => Ok(Action::Nothing),
                all => sets(def, all).map(Action::Update),
            }
        }
        MergeAction::Insert(insert) => {
            let MergeInsertKind::Values(values) = &insert.kind else { return Err(refuse()) };
            if insert.insert_predicate.is_some() {
                return Err(refuse());
            }
            if let [name] = insert.columns.as_slice()
                && is_nothing(name)
            {
                return Ok(Action::Nothing);
            }
            let [row] = values.rows.as_slice() else {
                return Err(QueryError::new("42601", "INSERT of a MERGE takes one row"));
            };
            let targets = targets(&insert.columns, row.content.len(), def)?;
            let value = |value: &Expr| (!is_default(value)).then(|| value.clone());
            Ok(Action::Insert(targets, row.content.iter().map(value).collect()))
        }
    }
}

fn is_nothing(name: &ast::ObjectName) -> bool {
    matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|i| i.value == NOTHING))
}

/// Places of the columns that an INSERT fills.
fn targets(columns: &[ast::ObjectName], width: usize, def: &TableDef) -> QueryResult<Vec<usize>> {
    let mut out = Vec::with_capacity(width);
    for name in columns {
        let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let place = def.place(&name).ok_or_else(|| no_column(def, &name))?;
        if out.contains(&place) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        out.push(place);
    }
    if columns.is_empty() {
        out.extend(0..def.columns.len().min(width));
    }
    match width.cmp(&out.len()) {
        std::cmp::Ordering::Equal => Ok(out),
        std::cmp::Ordering::Greater => {
            Err(QueryError::new("42601", "INSERT has more expressions than target columns"))
        }
        std::cmp::Ordering::Less => {
            Err(QueryError::new("42601", "INSERT has more target columns than expressions"))
        }
    }
}

/// Runs it.
pub(crate) async fn merge(
    session: &Session,
    statement: &Statement,
    merge: &ast::Merge,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    if merge.output.is_some() {
        return Err(QueryError::unsupported("RETURNING of a MERGE"));
    }
    let (name, _) = target(merge)?;
    refuse_hidden(session, &name)?;
    if super::find(session, &name)?.is_none() {
        return Err(match session.snapshot().table(&name) {
            Some(_) => QueryError::unsupported("MERGE into a time-series table")
                .with_hint("INSERT changes rows that are there, as the table's merge option says."),
            None => not_a_table(session, &name, "rows are merged into the tables that it reads"),
        });
    }
    super::settled(session, &name, || once(session, statement, merge, &name, params)).await
}

async fn once(
    session: &Session,
    statement: &Statement,
    merge: &ast::Merge,
    name: &str,
    params: &[ScalarValue],
) -> QueryResult<Outcome> {
    let context = session.context(statement.text());
    let def = table_of(&context, name)?;
    // What is wrong with a WHEN is told before rows are looked for.
    for action in actions(merge, &def)? {
        let names = |places: &mut dyn Iterator<Item = usize>| -> Vec<&str> {
            places.filter_map(|at| def.columns.get(at)).map(|c| c.name.as_str()).collect()
        };
        let (mode, columns) = match &action {
            Action::Nothing => continue,
            Action::Delete => (Mode::DELETE, Vec::new()),
            Action::Update(sets) => (Mode::UPDATE, names(&mut sets.iter().map(|set| set.0))),
            Action::Insert(targets, _) => (Mode::INSERT, names(&mut targets.iter().copied())),
        };
        super::check_rights(session, &def, "MERGE", mode, &columns)?;
    }
    session.check_writable("MERGE")?;
    let tree = Tree::of_change(statement, By::Key);
    let (snapshot, change) = session.find_rows(tree, params).await?;
    let context = context.at(snapshot);
    let def = table_of(&context, name)?;
    let actions = actions(merge, &def)?;
    let found = collect(session, &context, &def, &actions, change).await?;
    let count = found.len();
    let (mut given, mut changed) = (vec![Vec::new(); actions.len()], Vec::new());
    for found in found {
        match found {
            Found::Insert(at, values) => given[at].push(values),
            other => changed.push(other),
        }
    }
    let mut inserted: Vec<Row> = Vec::new();
    for (action, rows) in actions.iter().zip(given) {
        if let Action::Insert(targets, values) = action {
            let rows = rows.into_iter().map(|row| with_defaults(values, row)).collect();
            inserted.extend(complete(session, &context, &def, targets, rows).await?);
        }
    }
    super::check_written(session, &def, For::Insert, false, &inserted).await?;
    let snapshot = context.snapshot.clone();
    let of = def.clone();
    let job = Job { context, def, actions, changed, inserted };
    let (updated, pending) = session.on_workers(async move { job.run() }).await?;
    super::check_written(session, &of, For::Update, false, &updated).await?;
    if count > 0 {
        session.write_rows(snapshot, pending).await?;
    }
    Ok(Outcome::Done { tag: format!("MERGE {count}") })
}

/// Values with `None` where DEFAULT was said.
fn with_defaults(said: &[Option<Expr>], row: Vec<Datum>) -> Vec<Option<Datum>> {
    let mut row = row.into_iter();
    said.iter().map(|value| value.as_ref().and_then(|_| row.next())).collect()
}

/// The rows that do something.
async fn collect(
    session: &Session,
    context: &PlanContext,
    def: &TableDef,
    actions: &[Action],
    change: Change,
) -> QueryResult<Vec<Found>> {
    let Change::Rows(mut stream) = change else {
        return Err(QueryError::internal("a MERGE without rows"));
    };
    let (mut out, mut seen, mut bytes) = (Vec::new(), HashSet::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        session.stop().check()?;
        bytes += found_in(&batch, context, def, actions, &mut seen, &mut out)?;
        if bytes > BYTES_MAX {
            return Err(too_large());
        }
        if out.len() > ROWS_MAX {
            return Err(too_many());
        }
    }
    Ok(out)
}

/// Those of a batch; about how many bytes they have.
fn found_in(
    batch: &RecordBatch,
    context: &PlanContext,
    def: &TableDef,
    actions: &[Action],
    seen: &mut HashSet<Vec<u8>>,
    out: &mut Vec<Found>,
) -> QueryResult<usize> {
    let mut columns = batch.columns().iter();
    let mut next = || columns.next().ok_or_else(|| QueryError::internal("a MERGE without values"));
    let keys = next()?.as_binary::<i32>();
    let which = arrow::compute::cast(next()?, &arrow::datatypes::DataType::Int64)?;
    let which = which.as_primitive::<Int64Type>();
    let zone = context.settings.zone();
    let mut values: Vec<Vec<Vec<Datum>>> = Vec::with_capacity(actions.len());
    for action in actions {
        let places: Vec<usize> = match action {
            Action::Nothing | Action::Delete => Vec::new(),
            Action::Update(sets) => {
                sets.iter().filter(|(_, value)| value.is_some()).map(|(at, _)| *at).collect()
            }
            Action::Insert(targets, said) => {
                let said = targets.iter().zip(said).filter(|(_, value)| value.is_some());
                said.map(|(at, _)| *at).collect()
            }
        };
        let mut of_action = Vec::with_capacity(places.len());
        for place in places {
            let column = &def.columns[place];
            of_action.push(arrays::assign(next()?, (&column.name, column.kind), zone)?);
        }
        // DO NOTHING stands as a value that nobody wants.
        if matches!(action, Action::Nothing) {
            next()?;
        }
        values.push(of_action);
    }
    let mut bytes = 0;
    for row in 0..batch.num_rows() {
        if which.is_null(row) {
            continue;
        }
        let at = usize::try_from(which.value(row)).unwrap_or(usize::MAX);
        let Some(action) = actions.get(at) else {
            return Err(QueryError::internal("a MERGE with another WHEN"));
        };
        if matches!(action, Action::Nothing) {
            continue;
        }
        let key = if keys.is_null(row) { Vec::new() } else { keys.value(row).to_vec() };
        if !keys.is_null(row) && !seen.insert(key.clone()) {
            let message = "MERGE command cannot affect row a second time";
            return Err(QueryError::new("21000", message).with_hint(
                "Ensure that not more than one source row matches any one target row.",
            ));
        }
        let taken: Vec<Datum> = values[at]
            .iter_mut()
            .map(|column| std::mem::replace(&mut column[row], Datum::Null))
            .collect();
        bytes += key.len() * 2 + taken.iter().map(Datum::bytes).sum::<usize>();
        out.push(match action {
            Action::Insert(..) => Found::Insert(at, taken),
            Action::Update(_) => Found::Update(at, key, taken),
            Action::Delete | Action::Nothing => Found::Delete(key),
        });
    }
    Ok(bytes)
}

/// A MERGE whose rows are known.
struct Job {
    context: PlanContext,
    def: Arc<TableDef>,
    actions: Vec<Action>,
    /// Those that are deleted or updated.
    changed: Vec<Found>,
    inserted: Vec<Row>,
}

impl Job {
    /// The rows that were updated, as they are now.
    fn run(&self) -> QueryResult<(Vec<Row>, Pending)> {
        let table = Table::new(&self.def)?;
        let mut writer = Writer::new(&self.context, self.context.rows_view())?;
        for found in &self.changed {
            if let Found::Delete(key) = found {
                writer.delete(&table, key)?;
            }
        }
        let mut changes = Vec::new();
        for found in &self.changed {
            if let Found::Update(at, key, values) = found
                && let Some(Action::Update(sets)) = self.actions.get(*at)
            {
                let gone = || QueryError::internal("a row that was found is gone");
                let before = writer.get(&table, key)?.ok_or_else(gone)?;
                let after = self.updated(&before, sets, values)?;
                changes.push((key.clone(), before, after));
            }
        }
        let refs: Vec<&Row> =
            changes.iter().map(|(_, _, after)| after).chain(&self.inserted).collect();
        writer.check(&self.def, &refs)?;
        let updated = changes.iter().map(|(_, _, after)| after.clone()).collect();
        writer.update(&table, changes)?;
        for row in &self.inserted {
            writer.insert(&table, row.clone())?;
        }
        Ok((updated, writer.finish()?.pending))
    }

    fn updated(
        &self,
        before: &Row,
        sets: &[(usize, Option<Expr>)],
        values: &[Datum],
    ) -> QueryResult<Row> {
        let (mut after, mut values) = (before.clone(), values.iter());
        for (place, value) in sets {
            after[*place] = match value {
                Some(_) => values.next().cloned().unwrap_or(Datum::Null),
                None => {
                    let column = &self.def.columns[*place];
                    let value = defaults(&self.context, column, 1)?.pop();
                    value.unwrap_or(Datum::Null)
                }
            };
        }
        Ok(after)
    }
}
