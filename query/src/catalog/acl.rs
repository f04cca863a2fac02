//! Owners, rights and policies as the catalogue shows them.

use super::rows::{Rows, V};
use super::{Image, pg};
use crate::RoleInfo;
use crate::error::QueryResult;
use crate::plan::names::SCHEMA;
use crate::rights::acl::{Acl, BY_OWNER, Item, Mode, PUBLIC};
use crate::rights::{Known, Object, PUBLIC_SCHEMA, Policy};

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
    let object = Object::Schema(PUBLIC_SCHEMA);
    let acl = match image.rights.acl(object) {
        Some(acl) => list(image, object, acl, 0, Some(Mode::OF_SCHEMA)),
        None => V::Null,
    };
    let mut form = rows.of(["oid", "nspname", "nspowner", "nspacl"]);
    form.push([pg::NS_PUBLIC.into(), SCHEMA.into(), image.owner().into(), acl]);
    for schema in &image.schemas.list {
        let (oid, name) = (pg::namespace(schema.number), schema.name.as_str());
        form.push([oid.into(), name.into(), image.owner().into(), V::Null]);
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
    let mut form =
        rows.of(["oid", "polname", "polrelid", "polcmd", "polpermissive", "polroles", "polqual"]);
    for (known, policy) in policies(image) {
        form.push([
            (POLICY_OID + i64::from(policy.number)).into(),
            policy.name.as_str().into(),
            oid_of(known.object).into(),
            if policy.select_only { "r" } else { "*" }.into(),
            true.into(),
            V::Ints(policy.roles.iter().map(|role| i64::from(*role)).collect()),
            policy.using.as_str().into(),
        ]);
    }
    Ok(())
}

/// pg_policies.
pub(super) fn policy_view(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form =
        rows.of(["schemaname", "tablename", "policyname", "permissive", "roles", "cmd", "qual"]);
    for (known, policy) in policies(image) {
        let name = |role: &u32| match *role {
            PUBLIC => Some("public".to_string()),
            oid => image.role_name(oid).map(str::to_string),
        };
        form.push([
            SCHEMA.into(),
            known.name.as_str().into(),
            policy.name.as_str().into(),
            "PERMISSIVE".into(),
            V::Texts(policy.roles.iter().filter_map(name).collect()),
            if policy.select_only { "SELECT" } else { "ALL" }.into(),
            policy.using.as_str().into(),
        ]);
    }
    Ok(())
}

fn oid_of(object: Object) -> i64 {
    match object {
        Object::Table(id) => pg::table_oid(id),
        Object::Relational(number) => pg::object_oid(number),
        Object::View(number) => pg::view_oid(number),
        Object::Schema(_) => pg::NS_PUBLIC,
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
