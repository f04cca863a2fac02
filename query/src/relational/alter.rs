//! ALTER TABLE and DROP TABLE of relational tables.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DropBehavior, Expr, Ident,
    RenameTableNameKind, TableConstraint, VisitMut, VisitorMut,
};
use tsdb::Command;

use super::def::{Redefine, SPACE_ROWS, TableDef};
use super::define::{Definer, check_name, check_settings, exists, is_taken, quoted};
use super::expr;
use super::insert::{defaults, no_column};
use super::kind::{Datum, Kind};
use super::rebuild::{Needs, Rebuild};
use super::sequence::define::shaped;
use super::view::View;
use crate::Outcome;
use crate::comment::{self, Relation};
use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::folded;
use crate::plan::PlanContext;
use crate::rights::{Object, refuse_in_policy};
use crate::schema;
use crate::session::Session;
use crate::statement::sequence::Asked;
use crate::view::Hidden;
use crate::view::define::{cascading, drop_commands, refuse_if_used};

/// Runs ALTER TABLE; the definitions' lock is held.
pub(crate) async fn alter(
    session: &Session,
    alter: &AlterTable,
    def: &Arc<TableDef>,
) -> QueryResult<Outcome> {
    let engine = session.engine().clone();
    // Nothing is committed between what is looked at and what is made.
    let _gate = engine.relational().gate.write().await;
    let context = session.context("");
    let relations = context.relations()?;
    let def = relations.table(def.number)?.clone();
    let mut redefine = Redefine::new(&relations);
    let mut work = Work {
        session,
        context: &context,
        redefine: &mut redefine,
        old: def.clone(),
        new: TableDef::clone(&def),
        needs: Needs::default(),
        hidden: Vec::new(),
        called: Vec::new(),
        cascade: false,
        dropped_indexes: Vec::new(),
    };
    for operation in &alter.operations {
        work.operation(operation).await?;
    }
    let Work { new, needs, hidden, called, cascade, dropped_indexes, .. } = work;
    let mut commands = Vec::new();
    if !hidden.is_empty() {
        let what = format!("column {} of table {}", called.join(", "), def.name);
        let gone = cascading(session, hidden, called, &what, cascade).await?;
        commands.extend(drop_commands(&context.snapshot, &*session.views()?, &gone)?);
        let relations: Vec<Relation> =
            gone.iter().map(|view| Relation::View(view.number)).collect();
        commands.extend(comment::forget(&context.snapshot, &relations, &[])?);
    }
    dropped_indexes.iter().for_each(|index| redefine.drop_index(*index));
    let mut new = new;
    if needs.any() {
        let rebuild = Rebuild { context, old: def.clone(), new, needs };
        let (rebuilt, changes) = session.on_workers(async move { rebuild.run() }).await?;
        new = rebuilt;
        changes.into_iter().for_each(|change| redefine.change(change));
        engine.relational().renumber(new.storage);
    }
    redefine.put(new);
    commands.push(Command::Rows(redefine.command()?));
    apply(session, commands).await?;
    done("ALTER TABLE")
}

struct Work<'a, 'b> {
    session: &'a Session,
    context: &'a PlanContext,
    redefine: &'a mut Redefine<'b>,
    old: Arc<TableDef>,
    new: TableDef,
    needs: Needs,
    /// Columns that go, for views.
    hidden: Vec<Hidden>,
    called: Vec<String>,
    cascade: bool,
    dropped_indexes: Vec<u32>,
}

impl<'b> Work<'_, 'b> {
    async fn operation(&mut self, operation: &AlterTableOperation) -> QueryResult<()> {
        use AlterTableOperation as O;
        match operation {
            O::AddColumn { if_not_exists, column_def, .. } => {
                let name = folded(&column_def.name);
                if self.new.place(&name).is_some() {
                    if *if_not_exists {
                        return Ok(());
                    }
                    return Err(column_exists(&self.new, &name));
                }
                self.add_column(column_def)
            }
            O::AddConstraint { constraint, not_valid: false } => {
                self.add_constraints(std::slice::from_ref(constraint))
            }
            O::AddConstraint { .. } => Err(QueryError::unsupported("NOT VALID constraints")),
            O::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                for name in column_names.iter().map(folded) {
                    self.drop_column(&name, *if_exists, drop_behavior.as_ref())?;
                }
                Ok(())
            }
            O::DropConstraint { if_exists, name, drop_behavior } => {
                self.drop_constraint(&folded(name), *if_exists, drop_behavior.as_ref())
            }
            O::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(&folded(old_column_name), &folded(new_column_name)).await
            }
            O::RenameTable { table_name: to } => {
                let (RenameTableNameKind::To(to) | RenameTableNameKind::As(to)) = to;
                let to = table_name(to)?;
                check_name(&to, "table")?;
                let taken = match self.new.temporary {
                    Some(_) => super::temporary::is_taken(self.session, &to)?,
                    None => is_taken(self.session, &to)?,
                };
                if taken {
                    return Err(exists(&to));
                }
                let hidden = Hidden::Relation(self.new.number);
                let what = "renaming a table that a view uses";
                refuse_if_used(self.session, hidden, &self.new.name, what).await?;
                self.move_names(&to)?;
                self.new.name = to;
                Ok(())
            }
            O::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(&folded(old_name), new_name)
            }
            O::SetOptionsParens { options } => check_settings(options, &self.new.name),
            O::AlterColumn { column_name, op } => {
                let name = folded(column_name);
                let place = self.new.place(&name).ok_or_else(|| no_column(&self.new, &name))?;
                self.alter_column(place, op).await
            }
            other => Err(QueryError::unsupported(format!("ALTER TABLE … {other}"))),
        }
    }

    /// Indexes and constraints lie in the schema of their table, so they follow it into another.
    fn move_names(&mut self, to: &str) -> QueryResult<()> {
        let to_name = |name: &str| match name.strip_prefix('\u{1}') {
            Some(hidden) => format!("\u{1}{}", schema::moved(hidden, to)),
            None => schema::moved(name, to),
        };
        let new = &mut self.new;
        let indexes = new.indexes.iter_mut().map(|index| &mut index.name);
        for name in new.primary.iter_mut().map(|primary| &mut primary.name).chain(indexes) {
            let moved = to_name(name);
            if moved != *name && is_taken(self.session, &moved)? {
                return Err(exists(&moved));
            }
            *name = moved;
        }
        for mut sequence in self.redefine.owned(new.number) {
            let moved = to_name(&sequence.name);
            if moved != sequence.name {
                if is_taken(self.session, &moved)? {
                    return Err(exists(&moved));
                }
                sequence.name = moved;
                self.redefine.put_sequence(sequence);
            }
        }
        let checks = new.checks.iter_mut().map(|check| &mut check.name);
        let foreign = new.foreign.iter_mut().map(|foreign| &mut foreign.name);
        checks.chain(foreign).for_each(|name| *name = schema::moved(name, to));
        Ok(())
    }

    fn definer(&mut self) -> Definer<'_, 'b> {
        Definer { context: self.context, redefine: &mut *self.redefine }
    }

    fn add_column(&mut self, column: &ColumnDef) -> QueryResult<()> {
        let mut constraints = Vec::new();
        let mut new = self.new.clone();
        self.definer().column(&mut new, column, &mut constraints)?;
        self.new = new;
        let Some(added) = self.new.columns.last_mut() else { return Ok(()) };
        let empty = is_empty(&self.context.rows_view(), &self.old)?;
        if added.sequence.is_some() && !empty {
            return Err(QueryError::unsupported("adding a serial or identity column to rows")
                .with_hint("Make a new table with the column, then INSERT INTO … SELECT."));
        }
        // As in Postgres, rows that are there get the value that the default has now.
        let value = defaults(self.context, added, 1)?.pop().unwrap_or(Datum::Null);
        if !value.is_null() {
            added.missing = Some(missing_text(added.kind, &value)?);
        }
        self.needs.look |= added.not_null;
        self.add_constraints(&constraints)
    }

    fn add_constraints(&mut self, list: &[TableConstraint]) -> QueryResult<()> {
        let before = self.new.clone();
        let mut new = self.new.clone();
        self.definer().constraints(&mut new, list)?;
        if before.primary != new.primary {
            self.needs.rewrite = true;
            self.needs.look = true;
        }
        self.needs.look |= before.checks.len() != new.checks.len();
        let known: HashSet<u32> = before.indexes.iter().map(|index| index.number).collect();
        let added = new.indexes.iter().filter(|index| !known.contains(&index.number));
        self.needs.indexes.extend(added.map(|index| index.number));
        let known: HashSet<u32> = before.foreign.iter().map(|foreign| foreign.number).collect();
        let added = new.foreign.iter().filter(|foreign| !known.contains(&foreign.number));
        self.needs.foreign.extend(added.map(|foreign| foreign.number));
        self.new = new;
        Ok(())
    }

    fn drop_column(
        &mut self,
        name: &str,
        if_exists: bool,
        behavior: Option<&DropBehavior>,
    ) -> QueryResult<()> {
        let Some(place) = self.new.place(name) else {
            return if if_exists { Ok(()) } else { Err(no_column(&self.new, name)) };
        };
        refuse_in_policy(self.session, Object::Relational(self.new.number), name)?;
        let id = self.new.columns[place].id;
        let cascade = behavior == Some(&DropBehavior::Cascade);
        self.cascade |= cascade;
        let uses = |columns: &[u32]| columns.contains(&id);
        if self.new.primary.as_ref().is_some_and(|primary| uses(&primary.columns)) {
            self.drop_key(
                &self.new.primary.clone().map(|p| p.columns).unwrap_or_default(),
                cascade,
            )?;
            self.new.primary = None;
            self.needs.rewrite = true;
        }
        let gone: Vec<_> = self.new.indexes.iter().filter(|i| uses(&i.columns)).cloned().collect();
        for index in gone {
            if index.unique {
                self.drop_key(&index.columns, cascade)?;
            }
            self.forget_index(index.number);
        }
        self.new.foreign.retain(|foreign| !uses(&foreign.columns));
        self.new.checks.retain(|check| !uses(&check.columns));
        if let Some(sequence) = &self.new.columns[place].sequence {
            self.redefine.drop_sequence(sequence.number);
        }
        self.redefine.drop_owned(self.new.number, Some(id));
        self.new.columns.remove(place);
        if cascade {
            let told = self.redefine.forget_defaults(Some(&mut self.new));
            self.session.notice_cascades(&told);
        }
        self.hidden.push(Hidden::RelationColumn(self.new.number, id));
        self.called.push(name.to_string());
        Ok(())
    }

    fn forget_index(&mut self, number: u32) {
        self.new.indexes.retain(|index| index.number != number);
        self.needs.indexes.remove(&number);
        self.dropped_indexes.push(number);
    }

    /// Before a unique key goes: foreign keys that refer to it go too, if CASCADE says so.
    fn drop_key(&mut self, columns: &[u32], cascade: bool) -> QueryResult<()> {
        let number = self.new.number;
        for table in &self.redefine.preview().list {
            let mut table =
                if table.number == number { self.new.clone() } else { TableDef::clone(table) };
            let refers = |f: &super::def::Foreign| f.table == number && f.target == columns;
            let Some(foreign) = table.foreign.iter().find(|f| refers(f)).cloned() else { continue };
            if !cascade {
                let message = format!(
                    "cannot drop a key of table {} because other objects depend on it",
                    self.new.name
                );
                return Err(QueryError::new("2BP01", message)
                    .with_detail(format!(
                        "constraint {} on table {} depends on it",
                        foreign.name, table.name
                    ))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            let own: Vec<u32> =
                table.foreign.iter().filter(|f| refers(f)).map(|f| f.index).collect();
            table.foreign.retain(|f| !refers(f));
            table.indexes.retain(|index| !own.contains(&index.number));
            own.iter().for_each(|index| self.dropped_indexes.push(*index));
            if table.number == number {
                self.new = table;
            } else {
                self.redefine.put(table);
            }
        }
        Ok(())
    }

    fn drop_constraint(
        &mut self,
        name: &str,
        if_exists: bool,
        behavior: Option<&DropBehavior>,
    ) -> QueryResult<()> {
        let cascade = behavior == Some(&DropBehavior::Cascade);
        let name = schema::beside(&self.new.name, name);
        let name = name.as_str();
        if let Some(primary) = self.new.primary.clone().filter(|primary| primary.name == name) {
            self.drop_key(&primary.columns, cascade)?;
            self.new.primary = None;
            self.needs.rewrite = true;
            return Ok(());
        }
        let index = self.new.indexes.iter().find(|i| i.name == name && i.constraint.is_some());
        if let Some(index) = index.cloned() {
            self.drop_key(&index.columns, cascade)?;
            self.forget_index(index.number);
            return Ok(());
        }
        if let Some(at) = self.new.checks.iter().position(|check| check.name == name) {
            self.new.checks.remove(at);
            return Ok(());
        }
        if let Some(at) = self.new.foreign.iter().position(|foreign| foreign.name == name) {
            let foreign = self.new.foreign.remove(at);
            self.forget_index(foreign.index);
            // Its rows need not look at this one any more.
            if foreign.table != self.new.number
                && let Some(parent) = self.redefine.table(foreign.table)
            {
                self.redefine.put(parent);
            }
            return Ok(());
        }
        match if_exists {
            true => Ok(()),
            false => Err(no_constraint(&self.new, name)),
        }
    }

    fn rename_constraint(&mut self, name: &str, to: &Ident) -> QueryResult<()> {
        let name = schema::beside(&self.new.name, name);
        let name = name.as_str();
        if !self.new.has_constraint(name) {
            return Err(no_constraint(&self.new, name));
        }
        let new = self.new.clone();
        let to = self.definer().constraint_name(&new, Some(to), Vec::new)?;
        let new = &mut self.new;
        let primary = new.primary.iter_mut().map(|primary| &mut primary.name);
        let indexes = new.indexes.iter_mut().map(|index| &mut index.name);
        let checks = new.checks.iter_mut().map(|check| &mut check.name);
        let foreign = new.foreign.iter_mut().map(|foreign| &mut foreign.name);
        let mut names = primary.chain(indexes).chain(checks).chain(foreign);
        if let Some(found) = names.find(|found| *found == name) {
            *found = to;
        }
        Ok(())
    }

    async fn rename_column(&mut self, old: &str, to: &str) -> QueryResult<()> {
        let place = self.new.place(old).ok_or_else(|| no_column(&self.new, old))?;
        check_name(to, "column")?;
        if self.new.place(to).is_some() {
            return Err(column_exists(&self.new, to));
        }
        refuse_in_policy(self.session, Object::Relational(self.new.number), old)?;
        let id = self.new.columns[place].id;
        let hidden = Hidden::RelationColumn(self.new.number, id);
        let what = "renaming a column that a view uses";
        refuse_if_used(self.session, hidden, old, what).await?;
        self.new.columns[place].name = to.to_string();
        for check in self.new.checks.iter_mut().filter(|check| check.columns.contains(&id)) {
            let mut expr = expr::parse(&check.text)?;
            let _ = expr.visit(&mut Renamer { old, to });
            check.text = expr.to_string();
        }
        Ok(())
    }

    async fn alter_column(&mut self, place: usize, op: &AlterColumnOperation) -> QueryResult<()> {
        let column = self.new.columns[place].clone();
        match op {
            AlterColumnOperation::SetNotNull => {
                self.needs.look |= !column.not_null;
                self.new.columns[place].not_null = true;
            }
            AlterColumnOperation::DropNotNull => {
                let primary = self.new.primary.as_ref();
                if primary.is_some_and(|primary| primary.columns.contains(&column.id)) {
                    let message = format!("column \"{}\" is in a primary key", column.name);
                    return Err(QueryError::new("42P16", message));
                }
                if column.sequence.as_ref().is_some_and(|s| s.identity.is_some()) {
                    let message = format!(
                        "column \"{}\" of relation \"{}\" is an identity column",
                        column.name, self.new.name
                    );
                    return Err(QueryError::new("42601", message));
                }
                self.new.columns[place].not_null = false;
            }
            AlterColumnOperation::SetDefault { value } => {
                if column.sequence.is_some() {
                    return Err(QueryError::unsupported(
                        "SET DEFAULT on a serial or identity column",
                    ));
                }
                let default = self.definer().default(&column, value)?;
                self.new.columns[place].default = default;
            }
            AlterColumnOperation::DropDefault => {
                if let Some(sequence) = &column.sequence {
                    if sequence.identity.is_some() {
                        let message = format!(
                            "column \"{}\" of relation \"{}\" is an identity column",
                            column.name, self.new.name
                        );
                        return Err(QueryError::new("42601", message));
                    }
                    self.redefine.drop_sequence(sequence.number);
                    self.new.columns[place].sequence = None;
                }
                self.new.columns[place].default = None;
            }
            AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
                let kind = Kind::of_sql(data_type)?;
                if !column.kind.widens_to(kind) {
                    return Err(QueryError::unsupported(format!(
                        "changing column \"{}\" from {} to {kind}",
                        column.name, column.kind
                    ))
                    .with_hint("Only a type that holds every old value as it lies will do."));
                }
                if let Some(own) = &column.sequence
                    && let Some(sequence) = self.redefine.sequence(own.number)
                {
                    let asked = Asked { kind: Some(kind), ..Asked::default() };
                    self.redefine.put_sequence(shaped(sequence, &asked, false)?);
                }
                let hidden = Hidden::RelationColumn(self.new.number, column.id);
                let what = "changing the type of a column that a view uses";
                refuse_if_used(self.session, hidden, &column.name, what).await?;
                self.new.columns[place].kind = kind;
            }
            other => return Err(QueryError::unsupported(format!("ALTER COLUMN {other}"))),
        }
        Ok(())
    }
}

struct Renamer<'a> {
    old: &'a str,
    to: &'a str,
}

impl VisitorMut for Renamer<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last_mut(),
            _ => None,
        };
        if let Some(name) = name.filter(|name| folded(name) == self.old) {
            *name = quoted(self.to);
        }
        ControlFlow::Continue(())
    }
}

fn column_exists(def: &TableDef, name: &str) -> QueryError {
    let message = format!("column \"{name}\" of relation \"{}\" already exists", def.name);
    QueryError::new("42701", message)
}

fn no_constraint(def: &TableDef, name: &str) -> QueryError {
    let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", def.name);
    QueryError::new("42704", message)
}

/// A value as a text that reads back as the same in UTC.
fn missing_text(kind: Kind, value: &Datum) -> QueryResult<String> {
    let text = match value {
        Datum::Float(v) => format!("{v:?}"),
        value => kind.text(value),
    };
    let utc = super::arrays::parse_zone("+00:00")?;
    match kind.parse(&text, &utc)? == *value || matches!(value, Datum::Float(v) if v.is_nan()) {
        true => Ok(text),
        false => {
            Err(QueryError::unsupported(format!("the default {text} for rows that are there")))
        }
    }
}

fn is_empty(view: &View, def: &TableDef) -> QueryResult<bool> {
    let mut empty = true;
    view.visit_prefix(SPACE_ROWS, &def.prefix(), |_, _| {
        empty = false;
        false
    })?;
    Ok(empty)
}

/// What DROP TABLE does with relational tables: changes of definitions. What else goes by CASCADE
/// comes out.
///
/// # Errors
/// `2BP01` where foreign keys of other tables refer to one, and CASCADE does not say to drop them.
pub(crate) fn drop_tables(
    redefine: &mut Redefine<'_>,
    dropped: &[Arc<TableDef>],
    cascade: bool,
) -> QueryResult<Vec<String>> {
    let mut told = Vec::new();
    for def in dropped {
        redefine.drop_table(def);
    }
    let numbers: Vec<u32> = dropped.iter().map(|def| def.number).collect();
    for table in &redefine.preview().list {
        let refers = |f: &super::def::Foreign| numbers.contains(&f.table);
        let Some(foreign) = table.foreign.iter().find(|f| refers(f)) else { continue };
        if !cascade {
            let parent = dropped.iter().find(|def| def.number == foreign.table);
            let parent = parent.map_or("", |def| def.name.as_str());
            let message = format!("cannot drop table {parent} because other objects depend on it");
            return Err(QueryError::new("2BP01", message)
                .with_detail(format!(
                    "constraint {} on table {} depends on table {parent}",
                    foreign.name, table.name
                ))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let mut table = TableDef::clone(table);
        let shown = crate::schema::bare(&table.name);
        let gone = table.foreign.iter().filter(|f| refers(f));
        told.extend(gone.map(|f| format!("constraint {} on table {shown}", f.name)));
        let own: Vec<u32> = table.foreign.iter().filter(|f| refers(f)).map(|f| f.index).collect();
        table.foreign.retain(|f| !refers(f));
        table.indexes.retain(|index| !own.contains(&index.number));
        own.iter().for_each(|index| redefine.drop_index(*index));
        redefine.put(table);
    }
    if cascade {
        told.extend(redefine.forget_defaults(None));
    }
    Ok(told)
}
