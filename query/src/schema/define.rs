//! CREATE, ALTER and DROP SCHEMA.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, SchemaName};
use tsdb::{Command, Snapshot};

use super::{Change, SCHEMAS_MAX, Schema, Schemas, bare, flat};
use crate::Outcome;
use crate::comment::{self, Relation};
use crate::ddl::{self, apply, definable, done, may_define};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::names::{DATABASE, SCHEMA};
use crate::relational;
use crate::relational::def::{Redefine, TableDef};
use crate::rights;
use crate::session::Session;
use crate::statement;
use crate::statement::rights::Who;
use crate::view::{self, Hidden, View};

/// Schemas that are always there, and one that is kept for devices and what belongs to them.
const SYSTEM: [&str; 5] = [SCHEMA, "pg_catalog", "information_schema", "sys", "iot"];
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 63;
/// Objects that an error names.
const NAMED_MAX: usize = 100;

/// What a statement is about schemas.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OfSchema {
    Create {
        name: String,
        if_not_exists: bool,
        /// The role of AUTHORIZATION.
        owner: Option<Who>,
    },
    Rename {
        name: String,
        to: String,
    },
    Drop {
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    },
    /// ALTER TABLE … SET SCHEMA.
    Move {
        table: String,
        if_exists: bool,
        schema: String,
    },
}

impl OfSchema {
    pub(crate) fn create(name: &SchemaName, if_not_exists: bool) -> QueryResult<OfSchema> {
        let (name, owner) = match name {
            SchemaName::Simple(name) => (Some(one(name)?), None),
            SchemaName::NamedAuthorization(name, role) => (Some(one(name)?), Some(Who::of(role))),
            SchemaName::UnnamedAuthorization(role) => (None, Some(Who::of(role))),
        };
        let name = match (name, &owner) {
            (Some(name), _) => name,
            // The schema is called like the role.
            (None, Some(Who::Named(role))) => role.clone(),
            (None, _) => {
                let what = "CREATE SCHEMA AUTHORIZATION without a name";
                return Err(QueryError::unsupported(what));
            }
        };
        Ok(OfSchema::Create { name, if_not_exists, owner })
    }

    pub(crate) fn drop(
        names: &[ObjectName],
        if_exists: bool,
        cascade: bool,
    ) -> QueryResult<OfSchema> {
        let names = names.iter().map(one).collect::<QueryResult<_>>()?;
        Ok(OfSchema::Drop { names, if_exists, cascade })
    }
}

/// The name of a schema, which may have the database in front.
fn one(name: &ObjectName) -> QueryResult<String> {
    let parts: Option<Vec<String>> =
        name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match parts.as_deref() {
        Some([name]) => Ok(name.clone()),
        Some([database, name]) if database == DATABASE => Ok(name.clone()),
        _ => Err(QueryError::new("42601", format!("improper qualified name: {name}"))),
    }
}

pub(crate) fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name)
}

/// `3F000`.
pub(crate) fn missing(name: &str) -> QueryError {
    QueryError::new("3F000", format!("schema \"{name}\" does not exist"))
}

/// Runs it.
pub(crate) async fn run(session: &Session, of: &OfSchema) -> QueryResult<Outcome> {
    match of {
        OfSchema::Create { name, if_not_exists, owner } => {
            create(session, name, *if_not_exists, owner.as_ref()).await
        }
        OfSchema::Rename { name, to } => rename(session, name, to).await,
        OfSchema::Drop { names, if_exists, cascade } => {
            drop(session, names, *if_exists, *cascade).await
        }
        OfSchema::Move { table, if_exists, schema } => {
            move_table(session, table, *if_exists, schema).await
        }
    }
}

/// A table moves by getting the name that it would have there.
async fn move_table(
    session: &Session,
    table: &str,
    if_exists: bool,
    schema: &str,
) -> QueryResult<Outcome> {
    const TAG: &str = "ALTER TABLE";
    rights::may_alter(session, TAG, table)?;
    let schemas = session.engine().schemas().of(&session.snapshot())?;
    let name = match schemas.find(schema) {
        Some(schema) => flat(schema.number, bare(table)),
        None if schema == SCHEMA => bare(table).to_string(),
        None if is_system(schema) => {
            return Err(QueryError::unsupported(format!("moving a table into schema {schema}")));
        }
        None => return Err(missing(schema)),
    };
    if name == table {
        return done(TAG);
    }
    let relations = session.relations(&session.snapshot())?;
    if relations.find(table).is_some_and(|def| def.temporary.is_some()) {
        let what = "moving tables into or out of temporary schemas";
        return Err(QueryError::unsupported(what));
    }
    rights::may_create(session, TAG, &name)?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let if_exists = if if_exists { "IF EXISTS " } else { "" };
    let sql = format!("ALTER TABLE {if_exists}{} RENAME TO {}", quoted(table), quoted(&name));
    match &statement::parse(&sql)?[..] {
        [rename] => ddl::run_inner(session, rename).await,
        _ => Err(QueryError::internal("a rename that is none")),
    }
}

fn check_name(name: &str) -> QueryResult<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(QueryError::new("42602", format!("bad name of a schema: {name:?}"))
            .with_hint(format!("A name has 1 to {NAME_BYTES_MAX} bytes, no control characters.")));
    }
    match name.starts_with("pg_") {
        true => Err(QueryError::new("42939", format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas.")),
        false => Ok(()),
    }
}

fn check_free(schemas: &Schemas, name: &str) -> QueryResult<()> {
    match schemas.find(name).is_some() || is_system(name) {
        true => Err(QueryError::new("42P06", format!("schema \"{name}\" already exists"))),
        false => Ok(()),
    }
}

async fn create(
    session: &Session,
    name: &str,
    if_not_exists: bool,
    owner: Option<&Who>,
) -> QueryResult<Outcome> {
    const TAG: &str = "CREATE SCHEMA";
    may_define(session, TAG)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let snapshot = session.snapshot();
    let schemas = engine.schemas().read(&snapshot)?;
    if if_not_exists && check_free(&schemas, name).is_err() {
        session.notice(format!("schema \"{name}\" already exists, skipping"));
        return done(TAG);
    }
    check_name(name)?;
    check_free(&schemas, name)?;
    if schemas.list.len() >= SCHEMAS_MAX {
        let message = format!("a database may have {SCHEMAS_MAX} schemas");
        return Err(QueryError::new("54000", message));
    }
    let number = free_number(session, &snapshot, schemas.next)?;
    let made = Schema { number, name: name.to_string() };
    let user = &session.identity().user;
    let owner = match owner {
        Some(who) => Some(
            who.name(user)
                .ok_or_else(|| QueryError::new("42704", "role \"public\" does not exist"))?,
        ),
        None => None,
    };
    let mut commands = vec![Command::Rows(schemas.command(number + 1, &[Change::Put(&made)])?)];
    commands.extend(rights::own_schema(session, &made, owner)?);
    engine.schemas().note_any();
    apply(session, commands).await?;
    done(TAG)
}

/// A number that is in no name yet: what line protocol or others have called so stays in `public`.
fn free_number(session: &Session, snapshot: &Snapshot, from: u32) -> QueryResult<u32> {
    let relations = session.engine().relational().of(snapshot)?;
    let views = session.engine().views().of(snapshot)?;
    let tables = snapshot.tables();
    let is_used = |number: u32| {
        let prefix = flat(number, "");
        tables.iter().any(|table| table.name.starts_with(&prefix))
            || relations.list.iter().any(|table| table.name.starts_with(&prefix))
            || views.list.iter().any(|view| view.name.starts_with(&prefix))
    };
    (from..u32::MAX)
        .find(|number| !is_used(*number))
        .ok_or_else(|| QueryError::new("54000", "there is no number for a schema left"))
}

async fn rename(session: &Session, name: &str, to: &str) -> QueryResult<Outcome> {
    const TAG: &str = "ALTER SCHEMA";
    definable(session, TAG)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let schemas = engine.schemas().read(&session.snapshot())?;
    let Some(schema) = schemas.find(name) else {
        return Err(match is_system(name) {
            true => QueryError::unsupported(format!("renaming schema {name}")),
            false => missing(name),
        });
    };
    rights::check_schema_owner(session, schema)?;
    check_name(to)?;
    check_free(&schemas, to)?;
    let renamed = Schema { number: schema.number, name: to.to_string() };
    let command = schemas.command(schemas.next, &[Change::Put(&renamed)])?;
    apply(session, vec![Command::Rows(command)]).await?;
    done(TAG)
}

/// What lies in schemas.
#[derive(Default)]
struct Contents {
    tables: Vec<(u32, String)>,
    relations: Vec<Arc<TableDef>>,
    views: Vec<Arc<View>>,
}

impl Contents {
    fn of(session: &Session, snapshot: &Snapshot, gone: &[&Schema]) -> QueryResult<Contents> {
        let prefixes: Vec<String> = gone.iter().map(|schema| flat(schema.number, "")).collect();
        let lies_in = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let tables = snapshot.tables().into_iter().filter(|table| lies_in(&table.name));
        let relations = session.relations(snapshot)?;
        let relations = relations.list.iter();
        let relations = relations.filter(|t| t.temporary.is_none() && lies_in(&t.name));
        let views = session.views()?;
        let views = views.list.iter().filter(|v| v.temporary.is_none() && lies_in(&v.name));
        Ok(Contents {
            tables: tables.map(|table| (table.id, table.name.clone())).collect(),
            relations: relations.cloned().collect(),
            views: views.cloned().collect(),
        })
    }

    /// All of them in words.
    fn named(&self) -> Vec<String> {
        let tables = self.tables.iter().map(|(_, name)| ("table", name.as_str()));
        let relations = self.relations.iter().map(|table| ("table", table.name.as_str()));
        let views = self.views.iter().map(|view| (view.kind(), view.name.as_str()));
        let all = tables.chain(relations).chain(views);
        all.map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    fn hidden(&self) -> Vec<Hidden> {
        let tables = self.tables.iter().map(|(id, _)| Hidden::Table(*id));
        let relations = self.relations.iter().map(|table| Hidden::Relation(table.number));
        let views = self.views.iter().map(|view| Hidden::View(view.number));
        tables.chain(relations).chain(views).collect()
    }

    fn names(&self) -> Vec<String> {
        let tables = self.tables.iter().map(|(_, name)| name.clone());
        let relations = self.relations.iter().map(|table| table.name.clone());
        let views = self.views.iter().map(|view| view.name.clone());
        tables.chain(relations).chain(views).collect()
    }
}

async fn drop(
    session: &Session,
    names: &[String],
    if_exists: bool,
    cascade: bool,
) -> QueryResult<Outcome> {
    const TAG: &str = "DROP SCHEMA";
    definable(session, TAG)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    // What refers to what must not change meanwhile.
    let _gate = engine.relational().gate.write().await;
    let snapshot = session.snapshot();
    let schemas = engine.schemas().read(&snapshot)?;
    let mut gone: Vec<&Schema> = Vec::new();
    for name in names {
        match schemas.find(name) {
            Some(schema) if gone.contains(&schema) => {}
            Some(schema) => {
                rights::check_schema_owner(session, schema)?;
                gone.push(schema);
            }
            None if is_system(name) => {
                return Err(QueryError::unsupported(format!("dropping schema {name}")));
            }
            None if if_exists => {
                session.notice(format!("schema \"{name}\" does not exist, skipping"));
            }
            None => return Err(missing(name)),
        }
    }
    let Some(first) = gone.first() else { return done(TAG) };
    let contents = Contents::of(session, &snapshot, &gone)?;
    let named = contents.named();
    if !cascade && !named.is_empty() {
        let schema = &first.name;
        let message = format!("cannot drop schema {schema} because other objects depend on it");
        let lines = named.iter().take(NAMED_MAX);
        let lines: Vec<String> =
            lines.map(|named| format!("{named} depends on schema {schema}")).collect();
        return Err(QueryError::new("2BP01", message)
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let mut commands = drop_contents(session, &snapshot, contents).await?;
    let changes: Vec<Change<'_>> = gone.iter().map(|schema| Change::Drop(schema)).collect();
    commands.push(Command::Rows(schemas.command(schemas.next, &changes)?));
    commands.extend(rights::drop_schemas(session, &gone)?);
    apply(session, commands).await?;
    done(TAG)
}

/// The commands that drop what lies in schemas, and what depends on it elsewhere.
async fn drop_contents(
    session: &Session,
    snapshot: &Snapshot,
    contents: Contents,
) -> QueryResult<Vec<Command>> {
    let what = "what lies in the schema";
    let (hidden, called) = (contents.hidden(), contents.names());
    let mut views = contents.views.clone();
    views.extend(view::define::cascading(session, hidden, called, what, true).await?);
    let relations = session.relations(snapshot)?;
    let mut redefine = Redefine::new(&relations);
    relational::drop_tables(&mut redefine, &contents.relations, true)?;
    let tables = contents.tables.iter().map(|(id, _)| Relation::Table(*id));
    let relational = contents.relations.iter().map(|def| Relation::Relational(def.number));
    let of_views = views.iter().map(|view| Relation::View(view.number));
    let known: Vec<Relation> = tables.chain(relational).chain(of_views).collect();
    let mut commands = view::define::drop_commands(snapshot, &*session.views()?, &views)?;
    let drop = |(table, _): &(u32, String)| Command::DropTable { table: *table };
    commands.extend(contents.tables.iter().map(drop));
    commands.extend(comment::forget(snapshot, &known, &[])?);
    if !contents.relations.is_empty() {
        commands.push(Command::Rows(redefine.command()?));
    }
    Ok(commands)
}
