//! CREATE, ALTER and DROP of users and roles.
//!
//! Only superusers change others; everybody may change the own password. At least one superuser
//! who can log in stays.

use std::sync::Arc;

use query::{Directory, Identity, NewRole, QueryResult, RoleChange, RoleInfo, is_limit_setting};

use crate::refuse;
use crate::rows::{Meta, SPACE_TOKENS, SPACE_USERS, UserRow};
use crate::secret::Secrets;
use crate::users::{Inner, Users, delete, no_such_user, now_unix_ms, put};

/// Longest name, bytes, as in Postgres.
const NAME_BYTES_MAX: usize = 63;
/// Longest value of a setting, bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// Users of one database: `\du` must stay readable in memory.
const USERS_MAX: usize = 100_000;

impl Directory for Users {
    fn roles(&self) -> QueryResult<Arc<[RoleInfo]>> {
        self.inner.roles()
    }

    fn create(&self, by: &Identity, role: NewRole) -> QueryResult<()> {
        let inner = &*self.inner;
        must_be_superuser(inner, by, "create roles")?;
        check_name(&role.name)?;
        let secrets = hash(inner, &role)?;
        let key = role.name.as_bytes().to_vec();
        inner.change(|meta| {
            must_be_superuser(inner, by, "create roles")?;
            if inner.user(&role.name)?.is_some() {
                return Err(refuse("42710", format!("role \"{}\" already exists", role.name)));
            }
            if inner.all()?.len() >= USERS_MAX {
                return Err(refuse("54000", format!("there are already {USERS_MAX} roles")));
            }
            let row = apply(new_row(meta, &role)?, &role, secrets.clone());
            Ok(vec![put(SPACE_USERS, key.clone(), row.encode())])
        })?;
        tracing::info!(role = role.name, by = by.user, "role created");
        Ok(())
    }

    fn alter(&self, by: &Identity, role: NewRole) -> QueryResult<()> {
        let inner = &*self.inner;
        may_alter(inner, by, &role)?;
        if inner.user(&role.name)?.is_none() {
            return Err(no_such_user(&role.name));
        }
        let secrets = hash(inner, &role)?;
        let key = role.name.as_bytes().to_vec();
        inner.change(|_| {
            may_alter(inner, by, &role)?;
            let old = inner.user(&role.name)?.ok_or_else(|| no_such_user(&role.name))?;
            let mut row = apply(old.clone(), &role, secrets.clone());
            row.revision += 1;
            if rules(&old) && !rules(&row) {
                must_not_be_last(inner, &role.name)?;
            }
            Ok(vec![put(SPACE_USERS, key.clone(), row.encode())])
        })?;
        let password = role.password.is_some();
        tracing::info!(role = role.name, by = by.user, password, "role altered");
        Ok(())
    }

    fn configure(&self, by: &Identity, role: &str, change: RoleChange) -> QueryResult<()> {
        let inner = &*self.inner;
        let key = role.as_bytes().to_vec();
        inner.change(|_| {
            may_configure(inner, by, role, &change)?;
            let mut row = inner.user(role)?.ok_or_else(|| no_such_user(role))?;
            match &change {
                RoleChange::Set { name, value } => {
                    if value.len() > VALUE_BYTES_MAX {
                        let text = format!("a setting of more than {VALUE_BYTES_MAX} bytes");
                        return Err(refuse("22023", text));
                    }
                    row.settings.insert(name.clone(), value.clone());
                }
                RoleChange::Reset(name) => drop(row.settings.remove(name)),
                RoleChange::ResetAll => row.settings.clear(),
            }
            row.revision += 1;
            Ok(vec![put(SPACE_USERS, key.clone(), row.encode())])
        })?;
        tracing::info!(role, by = by.user, ?change, "settings of a role changed");
        Ok(())
    }

    fn drop(&self, by: &Identity, name: &str, if_exists: bool) -> QueryResult<()> {
        let inner = &*self.inner;
        inner.change(|_| {
            must_be_superuser(inner, by, "drop roles")?;
            let Some(row) = inner.user(name)? else {
                return if if_exists { Ok(Vec::new()) } else { Err(no_such_user(name)) };
            };
            if rules(&row) {
                must_not_be_last(inner, name)?;
            }
            if by.user == name {
                return Err(refuse("55006", "current user cannot be dropped"));
            }
            let mut changes = vec![delete(SPACE_USERS, name.as_bytes().to_vec())];
            let tokens = inner.tokens_of(name)?;
            changes.extend(tokens.into_iter().map(|key| delete(SPACE_TOKENS, key)));
            Ok(changes)
        })?;
        tracing::info!(role = name, by = by.user, "role dropped");
        Ok(())
    }
}

/// A superuser who can log in: somebody must be left who can mend things.
fn rules(row: &UserRow) -> bool {
    row.superuser && row.can_login
}

fn must_not_be_last(inner: &Inner, name: &str) -> QueryResult<()> {
    if inner.all()?.iter().any(|row| row.name != name && rules(row)) {
        return Ok(());
    }
    let text = format!("role \"{name}\" is the last superuser that can log in");
    let mut error = refuse("2BP01", text);
    error.hint = Some("Make another superuser first.".to_owned());
    Err(error)
}

/// The session's word is not enough: the user may have lost the right since it began.
fn must_be_superuser(inner: &Inner, by: &Identity, to: &str) -> QueryResult<()> {
    let now = inner.user(&by.user)?;
    if by.superuser && now.is_some_and(|row| row.superuser) {
        return Ok(());
    }
    let mut error = refuse("42501", format!("permission denied to {to}"));
    error.hint = Some("Only a superuser may.".to_owned());
    Err(error)
}

/// A superuser may alter anybody, anybody the own password and nothing else.
fn may_alter(inner: &Inner, by: &Identity, role: &NewRole) -> QueryResult<()> {
    let flags = [role.superuser, role.can_login, role.can_read, role.can_write, role.can_define];
    let only_password = role.password.is_some() && flags.iter().all(Option::is_none);
    if only_password && by.user == role.name && inner.user(&by.user)?.is_some() {
        return Ok(());
    }
    must_be_superuser(inner, by, "alter roles")
}

/// A superuser may give anybody settings, anybody oneself those that limit nothing.
fn may_configure(inner: &Inner, by: &Identity, role: &str, change: &RoleChange) -> QueryResult<()> {
    let harmless = match change {
        RoleChange::Set { name, .. } | RoleChange::Reset(name) => !is_limit_setting(name),
        RoleChange::ResetAll => false,
    };
    if harmless && by.user == role && inner.user(&by.user)?.is_some() {
        return Ok(());
    }
    must_be_superuser(inner, by, "change settings of roles")
}

/// Hashes before the change is planned: it is slow, and plans may run several times.
fn hash(inner: &Inner, role: &NewRole) -> QueryResult<Option<Secrets>> {
    role.password.as_deref().map(|password| Secrets::new(password, &inner.options)).transpose()
}

fn new_row(meta: &mut Meta, role: &NewRole) -> QueryResult<UserRow> {
    let oid = meta.next_oid;
    let next = oid.checked_add(1);
    meta.next_oid = next.ok_or_else(|| refuse("54000", "no oid is left for a new role"))?;
    Ok(UserRow {
        name: role.name.clone(),
        oid,
        revision: 1,
        superuser: false,
        can_login: false,
        can_read: false,
        can_write: false,
        can_define: false,
        created_unix_ms: now_unix_ms(),
        scram: None,
        argon2: None,
        settings: std::collections::BTreeMap::new(),
    })
}

fn apply(mut row: UserRow, role: &NewRole, secrets: Option<Secrets>) -> UserRow {
    row.superuser = role.superuser.unwrap_or(row.superuser);
    row.can_login = role.can_login.unwrap_or(row.can_login);
    row.can_read = role.can_read.unwrap_or(row.can_read);
    row.can_write = role.can_write.unwrap_or(row.can_write);
    row.can_define = role.can_define.unwrap_or(row.can_define);
    if let Some(Secrets { scram, argon2 }) = secrets {
        row.scram = Some(scram);
        row.argon2 = argon2;
    }
    row
}

fn check_name(name: &str) -> QueryResult<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let text = format!("the name of a role has 1 to {NAME_BYTES_MAX} bytes");
        return Err(refuse("42602", text));
    }
    if name.chars().any(char::is_control) {
        return Err(refuse("42602", "the name of a role may not contain control characters"));
    }
    // Log-in over HTTP writes `user:password`.
    if name.contains(':') {
        return Err(refuse("42602", "the name of a role may not contain a colon"));
    }
    let words = ["public", "none", "current_user", "session_user", "current_role"];
    if name.starts_with("pg_") || words.contains(&name) {
        return Err(refuse("42939", format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}
