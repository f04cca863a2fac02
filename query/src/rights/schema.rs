//! Owners of schemas, as they come and go.

use tsdb::Command;

use super::acl::{Acl, Mode};
use super::check::role_of;
use super::grant::noted;
use super::{Object, Role, rows};
use crate::Identity;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::schema::{On, Schema, Schemas};
use crate::session::Session;

/// The command that notes the owner of a schema that is being made: who makes it, or the role of
/// AUTHORIZATION. The lock of definitions is held.
pub(crate) fn own_schema(
    session: &Session,
    schema: &Schema,
    to: Option<&str>,
) -> QueryResult<Option<Command>> {
    let identity = session.identity();
    let rights = session.engine().rights().now(session.engine())?;
    let owner = match to {
        // What superusers make is the first superuser's.
        None if identity.superuser => None,
        None => Some(identity.oid),
        Some(name) => {
            let oid = role_of(session, Some(name))?;
            if !rights.is(&Role::from(identity), oid) {
                let message = format!("must be member of role \"{name}\"");
                return Err(QueryError::new("42501", message));
            }
            noted(session, oid)?
        }
    };
    if owner.is_none() {
        return Ok(None);
    }
    let change = rows::put_acl(Object::of_schema(Some(schema)), &Acl { owner, items: Vec::new() })?;
    Ok(Some(rights.command(rights.next, vec![change])?))
}

/// The command that forgets the rights of schemas that are dropped. The lock of definitions is
/// held.
pub(crate) fn drop_schemas(session: &Session, gone: &[&Schema]) -> QueryResult<Option<Command>> {
    let rights = session.engine().rights().now(session.engine())?;
    let objects = gone.iter().map(|schema| Object::of_schema(Some(schema)));
    let known = objects.filter(|object| rights.acl(*object).is_some());
    let changes = known.map(|object| rows::put_acl(object, &Acl::default()));
    let changes: Vec<_> = changes.collect::<QueryResult<_>>()?;
    if changes.is_empty() {
        return Ok(None);
    }
    Ok(Some(rights.command(rights.next, changes)?))
}

/// Leaves those schemas out of a path that somebody may not look into, as Postgres does. `public`
/// stays: names in it are refused by their tables.
pub(crate) fn keep_usable(
    engine: &Engine,
    identity: &Identity,
    schemas: &Schemas,
    path: &mut Vec<On>,
) -> QueryResult<()> {
    let all = identity.superuser || identity.can_read || identity.can_write || identity.can_define;
    if all || !path.iter().any(|on| *on != On::Public) {
        return Ok(());
    }
    let (rights, role) = (engine.rights().now(engine)?, Role::from(identity));
    path.retain(|on| match on {
        On::Public => true,
        On::Own(number) => {
            let schema = schemas.list.iter().find(|schema| schema.number == *number);
            schema.is_some() && rights.may(&role, Object::of_schema(schema), Mode::USAGE, 0)
        }
    });
    Ok(())
}
