//! CREATE INDEX and DROP INDEX.

use datafusion::sql::sqlparser::ast::{self, CreateIndex, ObjectName};
use tsdb::Command;

use super::def::{Index, Redefine, TableDef};
use super::define::{Definer, check_name, exists, is_taken};
use super::rebuild::fill_index;
use super::{CONSTRAINTS_MAX, def};
use crate::Outcome;
use crate::ddl::{apply, definable, done};
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::rights;
use crate::session::Session;
use crate::view::{not_a_table, refuse_hidden};

/// Runs CREATE [UNIQUE] INDEX.
pub(crate) async fn create_index(session: &Session, create: &CreateIndex) -> QueryResult<Outcome> {
    rights::may_alter(session, "CREATE INDEX", &table_name(&create.table_name)?)?;
    let refuse = |what: &str| Err(QueryError::unsupported(what));
    if create.predicate.is_some() || !create.include.is_empty() {
        return refuse("indexes with WHERE or INCLUDE");
    }
    if create.nulls_distinct == Some(false) {
        return refuse("UNIQUE NULLS NOT DISTINCT");
    }
    if !matches!(create.using, None | Some(ast::IndexType::BTree)) {
        return refuse("indexes other than btree");
    }
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let _gate = engine.relational().gate.write().await;
    let context = session.context("");
    let relations = context.relations()?;
    let table = table_name(&create.table_name)?;
    refuse_hidden(session, &table)?;
    let Some(old) = relations.find(&table).cloned() else {
        if context.snapshot.table(&table).is_some() {
            return Err(QueryError::unsupported("CREATE INDEX on a time-series table")
                .with_hint("Keys are indexed; put the column into the PRIMARY KEY."));
        }
        return Err(not_a_table(session, &table, "index the tables that it reads"));
    };
    let mut redefine = Redefine::new(&relations);
    let mut new = TableDef::clone(&old);
    if new.indexes.len() + new.checks.len() + new.foreign.len() >= CONSTRAINTS_MAX {
        let message =
            format!("a table may have {CONSTRAINTS_MAX} indexes, checks and foreign keys");
        return Err(QueryError::new("54000", message));
    }
    let definer = Definer { context: &context, redefine: &mut redefine };
    let columns = definer.key_columns(&new, &create.columns)?;
    let name = match &create.name {
        Some(name) => {
            let name = table_name(name)?;
            check_name(&name, "index")?;
            if is_taken(session, &name)? {
                return match create.if_not_exists {
                    true => done("CREATE INDEX"),
                    false => Err(exists(&name)),
                };
            }
            name
        }
        None => definer.constraint_name(&new, None, || {
            [vec![new.name.clone()], new.names(&columns), vec!["idx".into()]].concat()
        })?,
    };
    let number = redefine.number();
    let (unique, constraint, hidden) = (create.unique, None, false);
    new.indexes.push(Index { number, name, columns, unique, constraint, hidden });
    let work = async move { fill_index(context, old, new, number) };
    let (new, changes) = session.on_workers(work).await?;
    changes.into_iter().for_each(|change| redefine.change(change));
    redefine.put(new);
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    done("CREATE INDEX")
}

/// Runs DROP INDEX.
pub(crate) async fn drop_index(
    session: &Session,
    names: &[ObjectName],
    if_exists: bool,
) -> QueryResult<Outcome> {
    definable(session, "DROP INDEX")?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let _gate = engine.relational().gate.write().await;
    let context = session.context("");
    let relations = context.relations()?;
    let mut redefine = Redefine::new(&relations);
    for name in names {
        let name = table_name(name)?;
        let primary =
            |t: &&std::sync::Arc<TableDef>| t.primary.as_ref().is_some_and(|p| p.name == name);
        if let Some(table) = relations.list.iter().find(primary) {
            return Err(of_constraint(&name, table));
        }
        let Some((table, index)) = relations.find_index(&name).filter(|(_, i)| !i.hidden) else {
            if if_exists {
                continue;
            }
            return Err(QueryError::new("42704", format!("index \"{name}\" does not exist")));
        };
        rights::may_alter(session, "DROP INDEX", &table.name)?;
        if index.constraint.is_some() {
            return Err(of_constraint(&name, table));
        }
        let used = |referrer: &def::Referrer| {
            relations
                .by_number(referrer.table)
                .and_then(|t| t.foreign.get(referrer.at))
                .is_some_and(|foreign| index.unique && foreign.target == index.columns)
        };
        if relations.referrers(table.number).iter().any(used) {
            let message = format!("cannot drop index {name} because other objects depend on it");
            return Err(QueryError::new("2BP01", message)
                .with_hint("Drop the foreign keys that refer to its columns first."));
        }
        let mut new = redefine.table(table.number).unwrap_or_else(|| TableDef::clone(table));
        new.indexes.retain(|other| other.number != index.number);
        redefine.drop_index(index.number);
        redefine.put(new);
    }
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    done("DROP INDEX")
}

fn of_constraint(name: &str, table: &TableDef) -> QueryError {
    let message = format!(
        "cannot drop index {name} because constraint {name} on table {} requires it",
        table.name
    );
    QueryError::new("2BP01", message)
        .with_hint(format!("You can drop constraint {name} on table {} instead.", table.name))
}
