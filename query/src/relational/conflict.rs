//! ON CONFLICT of relational tables.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, ConflictTarget, Expr, OnConflictAction, OnInsert};

use super::arrays;
use super::def::TableDef;
use super::expr;
use super::insert::{defaults, no_column};
use super::writer::{Row, Table, Writer};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::schema;

/// What becomes of rows that are there already.
pub(super) enum OnConflict {
    /// They are an error.
    Error,
    /// The new ones are left out; of one index only, by its number, or of any.
    Nothing(Option<u32>),
    Update(Box<Update>),
}

/// DO UPDATE.
pub(super) struct Update {
    /// Number of the index by which rows are one.
    arbiter: u32,
    sets: Vec<(usize, Option<Expr>)>,
    selection: Option<Expr>,
}

/// What an INSERT says of conflicts.
pub(super) fn read(insert: &ast::Insert, def: &TableDef) -> QueryResult<OnConflict> {
    let on = match &insert.on {
        None => return Ok(OnConflict::Error),
        Some(OnInsert::OnConflict(on)) => on,
        Some(_) => return Err(QueryError::unsupported("ON DUPLICATE KEY")),
    };
    let arbiter = arbiter(on.conflict_target.as_ref(), def)?;
    match (&on.action, arbiter) {
        (OnConflictAction::DoNothing, arbiter) => Ok(OnConflict::Nothing(arbiter)),
        (OnConflictAction::DoUpdate(_), None) => Err(QueryError::new(
            "42601",
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
        )
        .with_hint("For example, ON CONFLICT (column_name).")),
        (OnConflictAction::DoUpdate(update), Some(arbiter)) => {
            let sets = sets(def, &update.assignments)?;
            for value in sets.iter().filter_map(|(_, value)| value.as_ref()) {
                expr::refuse_subqueries(value, "ON CONFLICT DO UPDATE")?;
            }
            if let Some(selection) = &update.selection {
                expr::refuse_subqueries(selection, "ON CONFLICT DO UPDATE")?;
            }
            let selection = update.selection.clone();
            Ok(OnConflict::Update(Box::new(Update { arbiter, sets, selection })))
        }
    }
}

/// Number of the index that a target names.
fn arbiter(target: Option<&ConflictTarget>, def: &TableDef) -> QueryResult<Option<u32>> {
    match target {
        None => Ok(None),
        Some(ConflictTarget::Columns(columns)) => {
            let mut wanted = HashSet::new();
            for name in columns.iter().map(folded) {
                let place = def.place(&name).ok_or_else(|| no_column(def, &name))?;
                wanted.insert(def.columns[place].id);
            }
            let fits = |ids: &[u32]| ids.iter().copied().collect::<HashSet<_>>() == wanted;
            let primary = def.primary.iter().filter(|p| fits(&p.columns)).map(|p| p.index);
            let unique = def.indexes.iter().filter(|index| index.unique && fits(&index.columns));
            let mut found = primary.chain(unique.map(|index| index.number));
            let none = "there is no unique or exclusion constraint matching the ON CONFLICT \
                        specification";
            found.next().map(Some).ok_or_else(|| QueryError::new("42P10", none))
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let name = name.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
            let name = schema::beside(&def.name, &name);
            let primary = def.primary.iter().filter(|p| p.name == name).map(|p| p.index);
            let unique = def
                .indexes
                .iter()
                .filter(|index| index.unique && index.constraint.is_some() && index.name == name);
            let mut found = primary.chain(unique.map(|index| index.number));
            found.next().map(Some).ok_or_else(|| {
                let message =
                    format!("constraint \"{name}\" for table \"{}\" does not exist", def.name);
                QueryError::new("42704", message)
            })
        }
    }
}

/// Assignments as places and values; `None` is DEFAULT.
pub(super) fn sets(
    def: &TableDef,
    assignments: &[ast::Assignment],
) -> QueryResult<Vec<(usize, Option<Expr>)>> {
    let mut out: Vec<(usize, Option<Expr>)> = Vec::new();
    let mut add = |name: &ast::ObjectName, value: &Expr| {
        let name = name.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
        let place = def.place(&name).ok_or_else(|| no_column(def, &name))?;
        if out.iter().any(|(at, _)| *at == place) {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(QueryError::new("42601", message));
        }
        check_generated(def, place, value)?;
        out.push((place, (!is_default(value)).then(|| value.clone())));
        Ok(())
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (ast::AssignmentTarget::ColumnName(name), value) => add(name, value)?,
            (ast::AssignmentTarget::Tuple(names), Expr::Tuple(values))
                if names.len() == values.len() =>
            {
                for (name, value) in names.iter().zip(values) {
                    add(name, value)?;
                }
            }
            _ => {
                let message = "number of columns does not match number of values";
                return Err(QueryError::new("42601", message));
            }
        }
    }
    Ok(out)
}

/// `428C9` for a value where only the sequence may give one.
pub(super) fn check_generated(def: &TableDef, place: usize, value: &Expr) -> QueryResult<()> {
    let column = &def.columns[place];
    let always = column.sequence.as_ref().is_some_and(|s| s.identity == Some(true));
    match always && !is_default(value) {
        true => Err(QueryError::new(
            "428C9",
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )),
        false => Ok(()),
    }
}

pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name)
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

impl Update {
    /// Inserts rows, or changes those that are there; the rows that are there now come back.
    pub(super) fn run(
        &self,
        context: &PlanContext,
        writer: &mut Writer<'_>,
        table: &Table,
        (called, rows): (&str, &[Row]),
        params: &[ScalarValue],
    ) -> QueryResult<Vec<Row>> {
        let mut touched: HashSet<Vec<u8>> = HashSet::new();
        // Rows in their order: those that are new, and places of those that change.
        let mut out: Vec<Result<Row, usize>> = Vec::with_capacity(rows.len());
        let (mut keys, mut before, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let taken = writer.taken(table, row, Some(self.arbiter))?;
            let Some(taken) = taken else {
                touched.insert(writer.insert(table, row.clone())?);
                out.push(Ok(row.clone()));
                continue;
            };
            if !touched.insert(taken.key.clone()) {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                return Err(QueryError::new("21000", message).with_hint(
                    "Ensure that no rows proposed for insertion within the same command have \
                     duplicate constrained values.",
                ));
            }
            let there = writer.get(table, &taken.key)?;
            let gone = || QueryError::new("XX001", "an index entry without its row");
            out.push(Err(keys.len()));
            before.push(there.ok_or_else(gone)?);
            excluded.push(row.clone());
            keys.push(taken.key);
        }
        if keys.is_empty() {
            return Ok(out.into_iter().filter_map(Result::ok).collect());
        }
        let (after, chosen) = self.values(context, table, called, (&before, &excluded), params)?;
        let changes: Vec<(Vec<u8>, Row, Row)> = keys
            .into_iter()
            .zip(before)
            .zip(&after)
            .zip(&chosen)
            .filter(|(_, chosen)| **chosen)
            .map(|(((key, before), after), _)| (key, before, after.clone()))
            .collect();
        let refs: Vec<&Row> = changes.iter().map(|(_, _, after)| after).collect();
        writer.check(&table.def, &refs)?;
        writer.update(table, changes)?;
        let row = |row: Result<Row, usize>| match row {
            Ok(row) => Some(row),
            Err(at) => chosen[at].then(|| after[at].clone()),
        };
        Ok(out.into_iter().filter_map(row).collect())
    }

    /// New values, and which rows the WHERE chooses.
    fn values(
        &self,
        context: &PlanContext,
        table: &Table,
        called: &str,
        (before, excluded): (&[Row], &[Row]),
        params: &[ScalarValue],
    ) -> QueryResult<(Vec<Row>, Vec<bool>)> {
        let (def, zone) = (&table.def, context.settings.zone());
        let left = arrays::batch(def, zone, before.iter())?;
        let right = arrays::batch(def, zone, excluded.iter())?;
        let names = expr::Names::of(called, &left.schema())?.beside("excluded", &right.schema())?;
        let fields: Vec<_> = [&left, &right]
            .iter()
            .flat_map(|batch| batch.schema().fields().iter().cloned().collect::<Vec<_>>())
            .collect();
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let both = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let exprs: Vec<Expr> = self
            .sets
            .iter()
            .filter_map(|(_, value)| value.clone())
            .chain(self.selection.clone())
            .collect();
        let mut arrays = expr::bind(context, &exprs, &names, params)?.run(&both)?;
        let chosen = match &self.selection {
            None => vec![true; before.len()],
            Some(_) => {
                let answer = arrays.pop().ok_or_else(|| QueryError::internal("a WHERE"))?;
                let answer = answer.as_boolean_opt().cloned().ok_or_else(|| {
                    QueryError::new("42804", "argument of WHERE must be type boolean")
                })?;
                (0..answer.len()).map(|at| answer.is_valid(at) && answer.value(at)).collect()
            }
        };
        let mut after = before.to_vec();
        let mut arrays = arrays.iter();
        for (place, value) in &self.sets {
            let column = &def.columns[*place];
            let values = match value {
                None => defaults(context, column, before.len())?,
                Some(_) => {
                    let array = arrays.next().ok_or_else(|| QueryError::internal("a SET"))?;
                    arrays::assign(array, (&column.name, column.kind), zone)?
                }
            };
            for (row, value) in after.iter_mut().zip(values) {
                row[*place] = value;
            }
        }
        Ok((after, chosen))
    }
}
