//! Rights: who may do what with tables, views and schemas, and which rows of a table a role sees.
//!
//! What a role may do is asked in four places: of every plan before it is optimised (`plan`), by
//! the statements that change rows or define (`check`), by the native roads, which are left to
//! those who read whole tables ([`PlanContext::reads_plainly`]), and by PromQL (`check`). The rows
//! that a policy hides are left out by a filter under the table's name (`policy`). README.md,
//! "Rights", is the text: what is stored, what a crash leaves, what differs from Postgres.

pub(crate) mod acl;
mod barrier;
mod check;
mod grant;
pub(crate) mod member;
mod plan;
mod policy;
mod rows;
mod schema;
pub(crate) mod security;
mod written;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tsdb::rows::RowChange;
use tsdb::types::TableSchema;
use tsdb::{Command, Snapshot};

use crate::comment::Relation;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::plan::names::SCHEMA;
use crate::relational::def::TableDef;
use crate::schema::{Schema, Schemas};
use crate::view::View;
use crate::{Identity, RoleInfo};

use acl::{Acl, Mode};
pub(crate) use barrier::{Barrier, place as place_barriers};
pub(crate) use check::{
    check_change, check_conflict, check_filler, check_owner, check_references, check_returned,
    check_schema_owner, may_alter, may_create, own, owned_by, refuse_in_policy, scrub,
    without_values,
};
pub(crate) use grant::run;
use member::Members;
pub(crate) use member::refuse_members;
pub(crate) use plan::check as check_plan;
pub(crate) use policy::{BARE, BARE_ROWS, NEW, found_by, is_policy};
pub(crate) use schema::{drop_schemas, keep_usable, own_schema};
pub(crate) use security::{Policy, Security};
pub(crate) use written::{check_series, check_written};

/// Schema `public`.
pub(crate) const PUBLIC_SCHEMA: Object = Object::Schema(0);

/// What rights are about. Numbers are never used again, so a later thing of a name inherits
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// A time-series table.
    Table(u32),
    View(u32),
    Relational(u32),
    /// 0: `public`; others are one more than the number of the schema.
    Schema(u32),
}

impl From<Relation> for Object {
    fn from(relation: Relation) -> Object {
        match relation {
            Relation::Table(number) => Object::Table(number),
            Relation::View(number) => Object::View(number),
            Relation::Relational(number) => Object::Relational(number),
        }
    }
}

impl Object {
    /// A schema that somebody made; `None` is `public`.
    pub(crate) fn of_schema(schema: Option<&Schema>) -> Object {
        schema.map_or(PUBLIC_SCHEMA, |schema| Object::Schema(schema.number.saturating_add(1)))
    }

    fn parts(self) -> (u8, u32) {
        match self {
            Object::Table(number) => (b't', number),
            Object::View(number) => (b'v', number),
            Object::Relational(number) => (b'r', number),
            Object::Schema(number) => (b's', number),
        }
    }

    fn key(self) -> Vec<u8> {
        let (kind, number) = self.parts();
        [&[kind][..], &number.to_be_bytes()].concat()
    }

    fn of_key(key: &[u8]) -> Option<Object> {
        let (kind, number) = key.split_first()?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        Object::of_parts(*kind, number)
    }

    fn of_parts(kind: u8, number: u32) -> Option<Object> {
        Some(match kind {
            b't' => Object::Table(number),
            b'v' => Object::View(number),
            b'r' => Object::Relational(number),
            b's' => Object::Schema(number),
            _ => return None,
        })
    }

    /// As a text: `t7`.
    pub(crate) fn text(self) -> String {
        let (kind, number) = self.parts();
        format!("{}{number}", char::from(kind))
    }

    fn of_text(text: &str) -> Option<Object> {
        let (kind, number) = text.split_at_checked(1)?;
        Object::of_parts(*kind.as_bytes().first()?, number.parse().ok()?)
    }
}

/// A relation with what its rights are about.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) object: Object,
    pub(crate) name: String,
    /// What Postgres calls it in errors.
    pub(crate) kind: &'static str,
    /// Numbers and names of its columns: numbers stay when others go.
    pub(crate) columns: Vec<(u32, String)>,
    /// Whether it is a temporary table, which is its session's.
    pub(crate) temporary: bool,
}

impl Known {
    pub(crate) fn of_table(table: &TableSchema) -> Known {
        let time = (1, table.time_name.clone());
        let columns = table.columns.iter().map(|c| (u32::from(c.id) + 2, c.name.clone()));
        Known {
            object: Object::Table(table.id),
            name: table.name.clone(),
            kind: "table",
            columns: [time].into_iter().chain(columns).collect(),
            temporary: false,
        }
    }

    pub(crate) fn of_relation(table: &TableDef) -> Known {
        Known {
            object: Object::Relational(table.number),
            name: table.name.clone(),
            kind: "table",
            columns: table.columns.iter().map(|c| (c.id, c.name.clone())).collect(),
            temporary: table.temporary.is_some(),
        }
    }

    pub(crate) fn of_view(view: &View) -> Known {
        Known {
            object: Object::View(view.number),
            name: view.name.clone(),
            kind: if view.is_materialized() { "materialized view" } else { "view" },
            columns: (1..).zip(view.columns.iter().map(|c| c.name.clone())).collect(),
            temporary: view.temporary.is_some(),
        }
    }

    pub(crate) fn of_schema(object: Object, name: &str) -> Known {
        let (name, columns) = (name.to_string(), Vec::new());
        Known { object, name, kind: "schema", columns, temporary: false }
    }

    /// Number of a column. A column of quality is part of its field.
    pub(crate) fn number(&self, column: &str) -> Option<u32> {
        let of = |name: &str| self.columns.iter().find(|(_, known)| known == name).map(|c| c.0);
        of(column).or_else(|| of(column.strip_suffix("__quality")?))
    }

    /// `42501`.
    fn denied(&self) -> QueryError {
        denied(self.kind, &self.name)
    }
}

/// `42501` in Postgres' words.
fn denied(kind: &str, name: &str) -> QueryError {
    QueryError::new("42501", format!("permission denied for {kind} {name}"))
}

/// A role as rights see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) oid: u32,
    pub(crate) superuser: bool,
    reads: bool,
    writes: bool,
    defines: bool,
}

impl From<&Identity> for Role {
    fn from(identity: &Identity) -> Role {
        Role {
            oid: identity.oid,
            superuser: identity.superuser,
            reads: identity.can_read,
            writes: identity.can_write,
            defines: identity.can_define,
        }
    }
}

impl From<&RoleInfo> for Role {
    fn from(role: &RoleInfo) -> Role {
        Role {
            oid: role.oid,
            superuser: role.superuser,
            reads: role.can_read,
            writes: role.can_write,
            defines: role.can_define,
        }
    }
}

impl Role {
    /// What the attributes of the role let it do with all objects of a kind.
    fn everywhere(&self, object: Object) -> Mode {
        let mut all = Mode::NONE;
        let mut add = |has: bool, mode: Mode| all = if has { all.with(mode) } else { all };
        match object {
            Object::Schema(_) => {
                add(self.reads || self.writes || self.defines, Mode::USAGE);
                add(self.defines, Mode::CREATE);
            }
            Object::View(_) => add(self.reads, Mode::SELECT),
            Object::Table(_) | Object::Relational(_) => {
                add(self.reads, Mode::SELECT);
                add(self.writes, Mode::CHANGES);
                add(self.defines, Mode::REFERENCES);
            }
        }
        all
    }
}

/// All rights at one moment.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// Counts changes of rights and policies.
    pub(crate) revision: u64,
    /// The next policy's number.
    next: u32,
    /// The row that counts, as it is; `None` before the first change.
    meta: Option<Vec<u8>>,
    acls: HashMap<Object, Acl>,
    security: HashMap<Object, Security>,
    pub(crate) members: Members,
}

impl Rights {
    /// Owner and rights of an object, if anything is kept of it.
    pub(crate) fn acl(&self, object: Object) -> Option<&Acl> {
        self.acls.get(&object)
    }

    /// The owner; `None`: the first superuser.
    pub(crate) fn owner(&self, object: Object) -> Option<u32> {
        self.acls.get(&object)?.owner
    }

    /// The rights of an object as they are before anybody changes them.
    fn acl_or_usual(&self, object: Object) -> Acl {
        match (self.acls.get(&object), object) {
            (Some(acl), _) => acl.clone(),
            (None, PUBLIC_SCHEMA) => usual(),
            (None, _) => Acl::default(),
        }
    }

    /// Row-level security of a table, if any was asked for.
    pub(crate) fn security(&self, object: Object) -> Option<&Security> {
        self.security.get(&object)
    }

    /// Whether a role may do one thing with an object, or with that column of it (0: the whole).
    pub(crate) fn may(&self, role: &Role, object: Object, mode: Mode, column: u32) -> bool {
        if role.superuser || role.everywhere(object).has(mode) {
            return true;
        }
        let is = |other: u32| self.members.is_in(role.oid, other);
        match self.acls.get(&object) {
            Some(acl) => {
                acl.owner.is_some_and(is)
                    || acl.held(&is, 0).has(mode)
                    || (column != 0 && acl.held(&is, column).has(mode))
            }
            None => object == PUBLIC_SCHEMA && mode == Mode::USAGE,
        }
    }

    /// Whether a role may do a thing with any column of a relation, or the whole.
    pub(crate) fn may_any(&self, role: &Role, object: Object, mode: Mode) -> bool {
        let column = |item: &acl::Item| {
            let mine = item.to == acl::PUBLIC || self.members.is_in(role.oid, item.to);
            mine && item.rights.has(mode)
        };
        self.may(role, object, mode, 0)
            || self.acls.get(&object).is_some_and(|acl| acl.items.iter().any(column))
    }

    /// Whether a role is the owner of an object, or may act as that.
    pub(crate) fn owns(&self, role: &Role, object: Object) -> bool {
        role.superuser || self.owner(object).is_some_and(|owner| self.is(role, owner))
    }

    /// Whether a table's policies hold for a role.
    pub(crate) fn is_secured(&self, role: &Role, object: Object) -> bool {
        self.security(object).is_some_and(|s| s.enabled) && !self.owns(role, object)
    }

    /// `42501` for a role that may not look into the schema of what has this flat name.
    pub(crate) fn check_schema(
        &self,
        role: &Role,
        schemas: &Schemas,
        name: &str,
    ) -> QueryResult<()> {
        self.check_in_schema(role, schemas.place(name).0, Mode::USAGE)
    }

    /// `42501` for a role that may not do this in a schema.
    fn check_in_schema(&self, role: &Role, schema: Option<&Schema>, mode: Mode) -> QueryResult<()> {
        match self.may(role, Object::of_schema(schema), mode, 0) {
            true => Ok(()),
            false => Err(denied("schema", schema.map_or(SCHEMA, |schema| &schema.name))),
        }
    }

    fn command(&self, next: u32, changes: Vec<RowChange>) -> QueryResult<Command> {
        rows::command(self, next, changes)
    }

    /// Objects of which rights are kept.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Object, &Acl)> {
        self.acls.iter().map(|(object, acl)| (*object, acl))
    }
}

/// The rights of a schema that nobody has changed: everybody may look into it.
fn usual() -> Acl {
    let (to, by, column, grantable) = (acl::PUBLIC, acl::BY_OWNER, 0, Mode::NONE);
    Acl { owner: None, items: vec![acl::Item { to, by, column, rights: Mode::USAGE, grantable }] }
}

/// The rights last read, and whether there are policies at all.
#[derive(Debug, Default)]
pub(crate) struct RightsCache {
    kept: Mutex<Option<Arc<Rights>>>,
    /// Set before the first policy is committed, and never taken back: who finds it unset need not
    /// look. All changes are made by this process.
    policed: AtomicBool,
}

impl RightsCache {
    /// Finds out whether there are policies.
    ///
    /// # Errors
    /// What reading says.
    pub(crate) fn open(snapshot: &Snapshot) -> QueryResult<RightsCache> {
        let policed = AtomicBool::new(rows::has_policies(snapshot)?);
        Ok(RightsCache { policed, ..RightsCache::default() })
    }

    /// Whether any table may have row-level security.
    pub(crate) fn policed(&self) -> bool {
        self.policed.load(Ordering::Acquire)
    }

    fn police(&self) {
        self.policed.store(true, Ordering::Release);
    }

    /// The rights of this moment: what was taken counts at once, in blocks with older snapshots
    /// too.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn now(&self, engine: &Engine) -> QueryResult<Arc<Rights>> {
        let snapshot = engine.db().snapshot();
        let meta = rows::meta(&snapshot)?;
        let kept = self.kept.lock().clone();
        if let Some(kept) = kept
            && kept.meta == meta
        {
            return Ok(kept);
        }
        let read = Arc::new(rows::read(&snapshot, meta)?);
        *self.kept.lock() = Some(read.clone());
        Ok(read)
    }
}

/// Keys of the rows about a relation that is dropped, to go with it.
pub(crate) fn keys(snapshot: &Snapshot, relation: Relation) -> QueryResult<Vec<(u16, Vec<u8>)>> {
    rows::keys(snapshot, relation.into())
}

impl PlanContext {
    /// The rights of this moment.
    pub(crate) fn rights(&self) -> QueryResult<Arc<Rights>> {
        if let Some(rights) = self.rights.get() {
            return Ok(rights.clone());
        }
        let read = self.engine.rights().now(&self.engine)?;
        Ok(self.rights.get_or_init(|| read).clone())
    }

    /// Whether who asks may read a whole table, all rows and columns, without being asked again:
    /// who may not is answered by plans.
    pub(crate) fn reads_plainly(&self, object: Object, name: &str) -> bool {
        let identity = &*self.identity;
        if identity.superuser || (identity.can_read && !self.engine.rights().policed()) {
            return true;
        }
        let (Ok(rights), Ok(schemas)) = (self.rights(), self.schemas()) else { return false };
        let role = Role::from(identity);
        rights.may(&role, object, Mode::SELECT, 0)
            && !rights.is_secured(&role, object)
            && rights.check_schema(&role, &schemas, name).is_ok()
    }

    /// What a kept plan relies on of the rights: policies are put in when it is bound.
    pub(crate) fn rights_revision(&self) -> u64 {
        match self.engine.rights().policed() {
            true => self.rights().map_or(0, |rights| rights.revision),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests;
