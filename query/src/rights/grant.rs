//! GRANT, REVOKE and OWNER TO; policies are in `policy`.

use std::sync::Arc;

use super::acl::{Acl, BY_OWNER, Mode, PUBLIC, Refused};
use super::check::{self, find, role_of};
use super::{Known, Object, PUBLIC_SCHEMA, Rights, Role, denied, member, policy, rows};
use crate::Outcome;
use crate::ddl::{apply, definable, done};
use crate::error::{QueryError, QueryResult};
use crate::plan::names::SCHEMA;
use crate::schema::Schemas;
use crate::schema::define::missing;
use crate::session::Session;
use crate::statement::rights::{Grant, Granted, OfRights, On};
use crate::{RoleInfo, catalog};

/// Grants of one table, view or schema.
const ITEMS_MAX: usize = 1_000;

/// Runs it.
pub(crate) async fn run(session: &Session, of: &OfRights) -> QueryResult<Outcome> {
    let tag = of.tag();
    definable(session, tag)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    match of {
        OfRights::Grant(asked) => grant(session, asked).await?,
        OfRights::Roles(asked) => member::change(session, asked).await?,
        OfRights::Owner { name, to, if_exists } => {
            set_owner(session, name, to.as_deref(), *if_exists).await?;
        }
        OfRights::SchemaOwner { name, to } => {
            set_schema_owner(session, name, to.as_deref()).await?;
        }
        OfRights::Security { table, if_exists, enable } => {
            policy::enable(session, table, *if_exists, *enable).await?;
        }
        OfRights::CreatePolicy(asked) => policy::create(session, asked).await?,
        OfRights::AlterPolicy(asked) => policy::alter(session, asked).await?,
        OfRights::DropPolicy { name, table, if_exists } => {
            policy::drop(session, name, table, *if_exists).await?;
        }
    }
    done(tag)
}

async fn grant(session: &Session, asked: &Grant) -> QueryResult<()> {
    let roles = asked
        .roles
        .iter()
        .map(|who| role_of(session, who.name(&session.identity().user)))
        .collect::<QueryResult<Vec<u32>>>()?;
    if asked.option && !asked.revoke && roles.contains(&PUBLIC) {
        let message = "grant options can only be granted to roles";
        return Err(QueryError::new("0LP01", message));
    }
    let known = session.engine().directory().roles()?;
    let rights = session.engine().rights().now(session.engine())?;
    let giver = Giver { session, rights: &rights, role: Role::from(session.identity()), known };
    let mut changes = Vec::new();
    for target in targets(session, &asked.on)? {
        let acl = giver.change(&target, asked, &roles)?;
        changes.push(rows::put_acl(target.object, &acl)?);
    }
    match changes.is_empty() {
        true => Ok(()),
        false => apply(session, vec![rights.command(rights.next, changes)?]).await,
    }
}

/// The objects that a statement names, each once.
fn targets(session: &Session, on: &On) -> QueryResult<Vec<Known>> {
    let mut found: Vec<Known> = Vec::new();
    match on {
        On::Relations(names) => {
            let engine = session.engine();
            let (rights, all) = (engine.rights().now(engine)?, check::schemas(engine)?);
            let role = Role::from(session.identity());
            for name in names {
                if catalog::table(None, name).is_some() {
                    return Err(fixed(&format!("system table {name}")));
                }
                let known = find(session, name)?.ok_or_else(|| QueryError::no_table(name))?;
                if !known.temporary {
                    rights.check_schema(&role, &all, &known.name)?;
                }
                if known.temporary {
                    return Err(QueryError::unsupported("rights of temporary tables")
                        .with_detail("They are seen by their session alone."));
                }
                if !found.iter().any(|other| other.object == known.object) {
                    found.push(known);
                }
            }
        }
        On::AllTables(schemas) => {
            let snapshot = session.engine().db().snapshot();
            let all = session.engine().schemas().of(&snapshot)?;
            let meant = schemas.iter().map(|name| schema_of(&all, name));
            let meant: Vec<Object> = meant.collect::<QueryResult<_>>()?;
            let owned = tsdb::types::OWNED_TABLE_PREFIX;
            let tables = snapshot.tables();
            let tables = tables.iter().filter(|table| !table.name.starts_with(owned));
            found.extend(tables.map(|table| Known::of_table(table)));
            let relations = session.engine().relational().lasting(&snapshot)?;
            let lasting = relations.list.iter().filter(|table| table.temporary.is_none());
            found.extend(lasting.map(|table| Known::of_relation(table)));
            let views = session.engine().views().of(&snapshot)?;
            let lasting = views.list.iter().filter(|view| view.temporary.is_none());
            found.extend(lasting.map(|view| Known::of_view(view)));
            found.retain(|known| meant.contains(&Object::of_schema(all.place(&known.name).0)));
        }
        On::Schemas(schemas) => {
            let all = check::schemas(session.engine())?;
            for name in schemas {
                let known = Known::of_schema(schema_of(&all, name)?, name);
                if !found.iter().any(|other| other.object == known.object) {
                    found.push(known);
                }
            }
        }
    }
    Ok(found)
}

/// The schema of a name, if its rights can be changed.
fn schema_of(schemas: &Schemas, name: &str) -> QueryResult<Object> {
    match schemas.find(name) {
        Some(schema) => Ok(Object::of_schema(Some(schema))),
        None if name == SCHEMA => Ok(PUBLIC_SCHEMA),
        None if matches!(name, "pg_catalog" | "information_schema" | "sys") => {
            Err(fixed(&format!("schema {name}")))
        }
        None => Err(missing(name)),
    }
}

fn fixed(what: &str) -> QueryError {
    QueryError::unsupported(format!("changing the rights of {what}"))
        .with_detail("Every role may read the system tables.")
}

/// Who changes rights.
struct Giver<'a> {
    session: &'a Session,
    rights: &'a Rights,
    role: Role,
    known: Arc<[RoleInfo]>,
}

impl Giver<'_> {
    /// The rights of an object with the change.
    fn change(&self, target: &Known, asked: &Grant, roles: &[u32]) -> QueryResult<Acl> {
        let mut acl = self.rights.acl_or_usual(target.object);
        let alive = |oid: u32| self.known.iter().any(|role| role.oid == oid);
        acl.tidy(&alive, &|column| target.columns.iter().any(|known| known.0 == column));
        let owns = self.rights.owns(&self.role, target.object);
        for granted in &asked.rights {
            let columns = columns(target, granted)?;
            for column in &columns {
                let mode = mode(target, granted, *column)?;
                let (by, mode) = match owns {
                    true => (BY_OWNER, mode),
                    false => self.giver(&acl, target, granted, *column, mode)?,
                };
                for to in roles {
                    match asked.revoke {
                        true => take(&mut acl, target, (*to, by), *column, mode, asked)?,
                        false => {
                            let given = acl.give((*to, by), *column, mode, asked.option);
                            given.map_err(|refused| refusal(&refused))?;
                        }
                    }
                }
            }
        }
        if acl.items.len() > ITEMS_MAX {
            let message = format!("a {} may have {ITEMS_MAX} grants", target.kind);
            return Err(QueryError::new("54000", message));
        }
        Ok(acl)
    }

    /// What of these rights one who does not own the object may give on, and as whom: itself, or
    /// a role that it is a member of.
    fn giver(
        &self,
        acl: &Acl,
        target: &Known,
        granted: &Granted,
        column: u32,
        mode: Mode,
    ) -> QueryResult<(u32, Mode)> {
        let of = |role: u32| {
            let own = acl.grantable(role, column).with(acl.grantable(role, 0));
            (role, mode.and(own))
        };
        let roles = self.rights.members.roles(self.role.oid);
        let all: Vec<(u32, Mode)> = [self.role.oid].into_iter().chain(roles).map(of).collect();
        let whole = all.iter().find(|(_, may)| *may == mode);
        let some = || all.iter().find(|(_, may)| granted.all && !may.is_none());
        if let Some(found) = whole.or_else(some) {
            return Ok(*found);
        }
        Err(denied(target.kind, &target.name).with_hint(format!(
            "\"{}\" may not grant it: that takes the right WITH GRANT OPTION.",
            self.session.identity().user
        )))
    }
}

fn take(
    acl: &mut Acl,
    target: &Known,
    (from, by): (u32, u32),
    column: u32,
    mode: Mode,
    asked: &Grant,
) -> QueryResult<()> {
    let how = (asked.option, asked.cascade);
    let mut taken = acl.take((from, by), column, mode, how);
    if column == 0 {
        // A right of the whole that goes takes those of columns along.
        for (number, _) in &target.columns {
            let both = mode.and(Mode::OF_COLUMN);
            taken = taken.and_then(|()| acl.take((from, by), *number, both, how));
        }
    }
    taken.map_err(|refused| refusal(&refused))
}

fn refusal(refused: &Refused) -> QueryError {
    match refused {
        Refused::Dependent => QueryError::new("2BP01", "dependent privileges exist")
            .with_hint("Use CASCADE to revoke them too."),
        Refused::Circular => {
            let message = "grant options cannot be granted back to your own grantor";
            QueryError::new("0LP01", message)
        }
    }
}

/// Numbers of the columns that a right is about; 0: the whole.
fn columns(target: &Known, granted: &Granted) -> QueryResult<Vec<u32>> {
    if granted.columns.is_empty() {
        return Ok(vec![0]);
    }
    let number = |name: &String| {
        let plain = target.columns.iter().find(|(_, known)| known == name);
        plain.map(|column| column.0).ok_or_else(|| QueryError::no_column(name, &target.name))
    };
    granted.columns.iter().map(number).collect()
}

/// The rights that are meant.
fn mode(target: &Known, granted: &Granted, column: u32) -> QueryResult<Mode> {
    let (all, of) = match (target.object, column) {
        (Object::Schema(_), 0) => (Mode::OF_SCHEMA, "schema"),
        (Object::Schema(_), _) => {
            let message = "column privileges are only valid for relations";
            return Err(QueryError::new("0LP01", message));
        }
        (_, 0) => (Mode::OF_RELATION, "table"),
        _ => (Mode::OF_COLUMN, "column"),
    };
    if granted.all {
        return Ok(all);
    }
    match all.has(granted.mode) {
        true => Ok(granted.mode),
        false => {
            let word = granted.mode.words().next().map_or("", |(word, _)| word);
            let message = format!("invalid privilege type {word} for {of}");
            Err(QueryError::new("0LP01", message))
        }
    }
}

/// OWNER TO: for superusers, since what a view may read depends on it.
async fn set_owner(
    session: &Session,
    name: &str,
    to: Option<&str>,
    if_exists: bool,
) -> QueryResult<()> {
    let Some(known) = find(session, name)?.filter(|known| !known.temporary) else {
        return if if_exists { Ok(()) } else { Err(QueryError::no_table(name)) };
    };
    if !session.identity().superuser {
        let message = format!("must be superuser to change the owner of {} {name}", known.kind);
        return Err(QueryError::new("42501", message));
    }
    give_to(session, known.object, to).await
}

/// ALTER SCHEMA … OWNER TO: likewise.
async fn set_schema_owner(session: &Session, name: &str, to: Option<&str>) -> QueryResult<()> {
    let object = schema_of(&*check::schemas(session.engine())?, name)?;
    if !session.identity().superuser {
        let message = format!("must be superuser to change the owner of schema {name}");
        return Err(QueryError::new("42501", message));
    }
    give_to(session, object, to).await
}

async fn give_to(session: &Session, object: Object, to: Option<&str>) -> QueryResult<()> {
    let oid = role_of(session, Some(to.unwrap_or(&session.identity().user)))?;
    let rights = session.engine().rights().now(session.engine())?;
    let mut acl = rights.acl_or_usual(object);
    acl.owner = noted(session, oid)?;
    let change = rows::put_acl(object, &acl)?;
    apply(session, vec![rights.command(rights.next, vec![change])?]).await
}

/// An owner as it is noted: what is not is the first superuser's.
pub(super) fn noted(session: &Session, oid: u32) -> QueryResult<Option<u32>> {
    let roles = session.engine().directory().roles()?;
    let first = roles.iter().filter(|role| role.superuser).map(|role| role.oid).min();
    Ok(Some(oid).filter(|oid| Some(*oid) != first))
}
