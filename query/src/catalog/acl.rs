//! Owners, rights and policies as the catalogue shows them.

use tsdb::types::TableSchema;

use super::rows::{Rows, V};
use super::{Image, pg};
use crate::RoleInfo;
use crate::error::QueryResult;
use crate::plan::names::SCHEMA;
use crate::rights::acl::{Acl, BY_OWNER, Item, Mode, PUBLIC};
use crate::rights::{Known, Object, PUBLIC_SCHEMA, Policy, Role};

/// First number of a policy.
const POLICY_OID: i64 = 1_000_000_000;

impl Image {
    /// Number of an object's owner.
    pub(super) fn owner_of(&self, object: Object) -> i64 {
        self.rights.owner(object).map_or_else(|| self.owner(), i64::from)
    }

    /// Name of an object's owner.
    pub(super) fn owner_name_of(&self, object: Object) -> &str {
        match self.rights.owner(object) {
            Some(oid) => self.role_name(oid).unwrap_or("unknown"),
            None => self.owner_name(),
        }
    }

    /// Name of a role.
    pub(super) fn role_name(&self, oid: u32) -> Option<&str> {
        self.roles.iter().find(|role| role.oid == oid).map(|role| role.name.as_str())
    }

    /// All tables and views that users know, with their schema.
    pub(super) fn relations_known(&self) -> Vec<Known> {
        let tables = self.tables.iter().map(|table| Known::of_table(table.schema()));
        let relations = self.relations.list.iter().map(|table| Known::of_relation(table));
        let views = self.views.list.iter().map(|view| Known::of_view(view));
        tables.chain(relations).chain(views).collect()
    }

    /// The object of a relation's number.
    pub(super) fn known(&self, oid: i64) -> Option<Known> {
        if let Some(table) = self.table(oid) {
            return Some(Known::of_table(table.schema()));
        }
        if let Some(table) = self.relation(oid) {
            return Some(Known::of_relation(table));
        }
        self.view(oid).map(|view| Known::of_view(view))
    }

    /// Whether who asks may read the key columns of all rows of a table: values of them are shown to
    /// nobody else.
    pub(super) fn reads_keys(&self, table: &TableSchema) -> bool {
        let (known, role) = (Known::of_table(table), Role::from(&*self.identity));
        let may = |column: u32| self.rights.may(&role, known.object, Mode::SELECT, column);
        let mut keys = table.columns.iter().filter(|column| column.key);
        let usable = self.rights.check_schema(&role, &self.schemas, &table.name).is_ok();
        usable
            && !self.rights.is_secured(&role, known.object)
            && keys.all(|column| known.number(&column.name).is_some_and(may))
    }

    /// Whether policies are asked for a table's readers.
    pub(super) fn is_secured(&self, object: Object) -> bool {
        self.rights.security(object).is_some_and(|security| security.enabled)
    }
}

/// A role's name as `aclitem` writes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    match name.chars().all(plain) && !name.is_empty() {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn item(image: &Image, owner: &str, item: &Item) -> Option<String> {
    let to = match item.to {
        PUBLIC => String::new(),
        oid => quoted(image.role_name(oid)?),
    };
    let by = match item.by {
        BY_OWNER => quoted(owner),
        oid => quoted(image.role_name(oid)?),
    };
    Some(format!("{to}={}/{by}", item.letters()))
}

/// The rights of an object, or of one of its columns, with those of the owner; NULL where nobody
/// has changed them.
fn list(image: &Image, object: Object, acl: &Acl, column: u32, all: Option<Mode>) -> V {
    let owner = image.owner_name_of(object);
    let mut out = Vec::new();
    if let Some(rights) = all {
        let (to, by, grantable) = (PUBLIC, BY_OWNER, Mode::NONE);
        let letters = Item { to, by, column: 0, rights, grantable }.letters();
        out.push(format!("{0}={letters}/{0}", quoted(owner)));
    }
    let items = acl.items.iter().filter(|item| item.column == column);
    out.extend(items.filter_map(|of| item(image, owner, of)));
    V::Texts(out)
}

/// `pg_class.relacl`.
pub(super) fn of_relation(image: &Image, object: Object) -> V {
    match image.rights.acl(object).filter(|acl| acl.items.iter().any(|item| item.column == 0)) {
        Some(acl) => list(image, object, acl, 0, Some(Mode::OF_RELATION)),
        None => V::Null,
    }
}

/// `pg_attribute.attacl`.
pub(super) fn of_column(image: &Image, object: Object, column: Option<u32>) -> V {
    let Some(column) = column.filter(|column| *column != 0) else { return V::Null };
    let has = |acl: &&Acl| acl.items.iter().any(|item| item.column == column);
    match image.rights.acl(object).filter(has) {
        Some(acl) => list(image, object, acl, column, None),
        None => V::Null,
    }
}

/// The schemas whose rights may change.
pub(super) fn namespaces(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["oid", "nspname", "nspowner", "nspacl"]);
    let public = (pg::NS_PUBLIC, SCHEMA, None);
    let own = image.schemas.list.iter();
    let own = own.map(|s| (pg::namespace(s.number), s.name.as_str(), Some(s)));
    for (oid, name, schema) in [public].into_iter().chain(own) {
        let object = Object::of_schema(schema);
        let acl = image.rights.acl(object);
        let acl = match acl.filter(|acl| object == PUBLIC_SCHEMA || !acl.items.is_empty()) {
            Some(acl) => list(image, object, acl, 0, Some(Mode::OF_SCHEMA)),
            None => V::Null,
        };
        form.push([oid.into(), name.into(), image.owner_of(object).into(), acl]);
    }
    Ok(())
}

/// Members of roles that are there, with the roles: (role, member, whoever made it one, whether it
/// may make others).
pub(super) fn members_known(image: &Image) -> Vec<(&RoleInfo, &RoleInfo, i64, bool)> {
    let find = |oid: u32| image.roles.iter().find(|role| role.oid == oid);
    let known = image.rights.members.all().filter_map(|(role, member)| {
        let by = find(member.by).map_or_else(|| image.owner(), |by| i64::from(by.oid));
        Some((find(role)?, find(member.to)?, by, member.admin))
    });
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|(role, member, ..)| (role.oid, member.oid));
    known
}

/// pg_auth_members.
pub(super) fn members(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["roleid", "member", "grantor", "admin_option"]);
    for (role, member, by, admin) in members_known(image) {
        form.push([
            i64::from(role.oid).into(),
            i64::from(member.oid).into(),
            by.into(),
            admin.into(),
        ]);
    }
    Ok(())
}

/// Policies with the tables that they are of.
fn policies(image: &Image) -> impl Iterator<Item = (Known, &Policy)> {
    let tables = image.relations_known().into_iter().filter(|known| known.kind == "table");
    tables.flat_map(move |known| {
        let security = image.rights.security(known.object);
        let policies = security.map(|s| s.policies.as_slice()).unwrap_or_default();
        policies.iter().map(move |policy| (known.clone(), policy))
    })
}

/// pg_policy.
pub(super) fn policy_rows(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "oid",
        "polname",
        "polrelid",
        "polcmd",
        "polpermissive",
        "polroles",
        "polqual",
        "polwithcheck",
    ]);
    for (known, policy) in policies(image) {
        form.push([
            (POLICY_OID + i64::from(policy.number)).into(),
            policy.name.as_str().into(),
            oid_of(known.object).into(),
            policy.command.letter().into(),
            (!policy.restrictive).into(),
            V::Ints(policy.roles.iter().map(|role| i64::from(*role)).collect()),
            text(&policy.using),
            text(&policy.check),
        ]);
    }
    Ok(())
}

fn text(text: &Option<String>) -> V {
    text.as_deref().map_or(V::Null, V::from)
}

/// pg_policies.
pub(super) fn policy_view(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "schemaname",
        "tablename",
        "policyname",
        "permissive",
        "roles",
        "cmd",
        "qual",
        "with_check",
    ]);
    for (known, policy) in policies(image) {
        let name = |role: &u32| match *role {
            PUBLIC => Some("public".to_string()),
            oid => image.role_name(oid).map(str::to_string),
        };
        form.push([
            SCHEMA.into(),
            known.name.as_str().into(),
            policy.name.as_str().into(),
            if policy.restrictive { "RESTRICTIVE" } else { "PERMISSIVE" }.into(),
            V::Texts(policy.roles.iter().filter_map(name).collect()),
            policy.command.word().into(),
            text(&policy.using),
            text(&policy.check),
        ]);
    }
    Ok(())
}

fn oid_of(object: Object) -> i64 {
    match object {
        Object::Table(id) => pg::table_oid(id),
        Object::Relational(number) => pg::object_oid(number),
        Object::View(number) => pg::view_oid(number),
        Object::Schema(number) => number.checked_sub(1).map_or(pg::NS_PUBLIC, pg::namespace),
    }
}

/// Who has which right of a relation from whom, as `information_schema` lists it.
pub(super) struct Shown {
    pub(super) by: String,
    pub(super) to: String,
    /// `None`: all columns.
    pub(super) column: Option<String>,
    pub(super) right: &'static str,
    pub(super) grantable: bool,
}

/// The rights of a relation: those of the owner, and all that were granted.
pub(super) fn shown(image: &Image, known: &Known) -> Vec<Shown> {
    let owner = image.owner_name_of(known.object);
    let own = Item {
        to: PUBLIC,
        by: BY_OWNER,
        column: 0,
        rights: Mode::OF_RELATION,
        grantable: Mode::OF_RELATION,
    };
    let mut out = Vec::new();
    let mut push = |item: &Item, to: &str| {
        let by = match item.by {
            BY_OWNER => Some(owner),
            oid => image.role_name(oid),
        };
        let Some(by) = by else { return };
        let column = match item.column {
            0 => None,
            number => match known.columns.iter().find(|column| column.0 == number) {
                Some((_, name)) => Some(name.clone()),
                None => return,
            },
        };
        for (right, mode) in item.rights.words() {
            let (by, to, column) = (by.to_string(), to.to_string(), column.clone());
            let grantable = item.grantable.has(mode);
            out.push(Shown { by, to, column, right, grantable });
        }
    };
    push(&own, owner);
    for item in image.rights.acl(known.object).into_iter().flat_map(|acl| &acl.items) {
        match item.to {
            PUBLIC => push(item, "PUBLIC"),
            oid => {
                if let Some(name) = image.role_name(oid) {
                    push(item, name);
                }
            }
        }
    }
    out
}

/// Names of roles by their numbers, in order.
pub(super) fn names_of(roles: &[RoleInfo], oids: &[i64]) -> Vec<String> {
    let is_one = |role: &&RoleInfo| oids.contains(&i64::from(role.oid));
    let mut names: Vec<String> =
        roles.iter().filter(is_one).map(|role| role.name.clone()).collect();
    names.sort();
    names
}
