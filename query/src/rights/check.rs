//! What statements ask that change rows or define things.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, ConflictTarget, Expr, OnConflictAction, OnInsert, SelectItem, Visit, Visitor,
};
use tsdb::types::{TableId, TableSchema};

use super::acl::{Acl, Mode, PUBLIC};
use super::security::{Asked, For};
use super::written::{refuse_fields, refuse_secured, violates};
use super::{Known, Object, PUBLIC_SCHEMA, Policy, Rights, Role, rows};
use crate::Identity;
use crate::ddl::{apply, definable};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::names::SCHEMA;
use crate::schema::resolve::in_public;
use crate::schema::{Schema, Schemas};
use crate::session::Session;
use crate::view::View;

/// The schemas of this moment.
pub(super) fn schemas(engine: &Engine) -> QueryResult<Arc<Schemas>> {
    engine.schemas().of(&engine.db().snapshot())
}

/// `42501` unless the session owns a schema or may define everything.
pub(crate) fn check_schema_owner(session: &Session, schema: &Schema) -> QueryResult<()> {
    let identity = session.identity();
    if identity.can_define {
        return Ok(());
    }
    let rights = session.engine().rights().now(session.engine())?;
    match rights.owns(&Role::from(identity), Object::of_schema(Some(schema))) {
        true => Ok(()),
        false => {
            let message = format!("must be owner of schema {}", schema.name);
            Err(QueryError::new("42501", message))
        }
    }
}

/// The relation of a name as the session sees it.
pub(crate) fn find(session: &Session, name: &str) -> QueryResult<Option<Known>> {
    let name = in_public(name);
    let snapshot = session.engine().db().snapshot();
    if let Some(table) = session.relations(&snapshot)?.find(name) {
        return Ok(Some(Known::of_relation(table)));
    }
    if let Some(table) = snapshot.table(name) {
        return Ok(Some(Known::of_table(table.schema())));
    }
    let views = session.engine().views().of(&snapshot)?;
    Ok(views.find(name).map(|view| Known::of_view(view)))
}

/// `42501` unless the session may change the rows of a table; `columns`: those that get values.
pub(crate) fn check_change(
    session: &Session,
    mode: Mode,
    columns: &[&str],
    known: impl FnOnce() -> Known,
) -> QueryResult<()> {
    let identity = session.identity();
    if identity.superuser || identity.can_write {
        return Ok(());
    }
    let known = known();
    if known.temporary {
        return Ok(());
    }
    let (rights, role) = (session.engine().rights().now(session.engine())?, Role::from(identity));
    rights.check_schema(&role, &*schemas(session.engine())?, &known.name)?;
    let whole = rights.may(&role, known.object, mode, 0);
    let each = || {
        let may = |number| rights.may(&role, known.object, mode, number);
        !columns.is_empty() && columns.iter().all(|c| known.number(c).is_some_and(may))
    };
    if !whole && !each() {
        return Err(known.denied());
    }
    match (known.object, mode) {
        (Object::Table(id), Mode::UPDATE) if rights.is_secured(&role, known.object) => {
            let table = session.engine().db().snapshot().table_by_id(id);
            let table = table.ok_or_else(|| QueryError::no_table(&known.name))?;
            check_policies(&rights, &role, &table.schema().clone(), columns)
        }
        // Of rows that are written policies are asked later, when they are known.
        _ => Ok(()),
    }
}

/// What UPDATE of a time-series table is not let do where policies hold: the rows that it writes are
/// not whole, so it must not change what policies are about. A role with WRITE may write any row.
fn check_policies(
    rights: &Rights,
    role: &Role,
    table: &TableSchema,
    columns: &[&str],
) -> QueryResult<()> {
    let object = Object::Table(table.id);
    let Some(security) = rights.security(object) else { return Ok(()) };
    let is = |of: u32| rights.is(role, of);
    let differs = |policy: &&Policy| policy.check.is_some() && policy.check != policy.using;
    if security.asked(&is, For::Update).any(|policy| differs(&policy)) {
        let what = "UPDATE of a time-series table with a policy whose WITH CHECK is not its USING";
        return Err(QueryError::unsupported(what));
    }
    let clause = security.clause(&is, &[Asked::Seen(For::Select), Asked::Written(For::Update)]);
    for part in &clause.parts {
        let used = super::policy::columns_of(part)?;
        if let Some(column) = columns.iter().find(|column| used.contains(**column)) {
            let detail = format!("Column \"{column}\" is part of a policy.");
            return Err(violates(&table.name).with_detail(detail).with_hint(
                "Let a role change it that has the attribute WRITE, or owns the table.",
            ));
        }
    }
    // What gets another time or key may meet a row that is there already.
    let is_field = |column: &&str| table.fields().any(|field| field.name == **column);
    match columns.iter().all(is_field) {
        true => Ok(()),
        false => refuse_fields(table, &clause.parts),
    }
}

/// `42501` unless the session may read these columns of a table.
fn check_columns(session: &Session, columns: &[u32], known: &Known, mode: Mode) -> QueryResult<()> {
    let (rights, role) =
        (session.engine().rights().now(session.engine())?, Role::from(session.identity()));
    match known.temporary || columns.iter().all(|c| rights.may(&role, known.object, mode, *c)) {
        true => Ok(()),
        false => Err(known.denied()),
    }
}

/// `42501` for a RETURNING of columns that the session may not read.
pub(crate) fn check_returned(
    session: &Session,
    list: Option<&[SelectItem]>,
    known: impl FnOnce() -> Known,
) -> QueryResult<()> {
    let identity = session.identity();
    let Some(list) = list else { return Ok(()) };
    if identity.superuser || identity.can_read {
        return Ok(());
    }
    let known = known();
    let mut columns = Vec::new();
    for item in list {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                mentioned(expr, &known, &mut columns);
            }
            _ => columns.extend(known.columns.iter().map(|column| column.0)),
        }
    }
    check_columns(session, &columns, &known, Mode::SELECT)
}

/// `42501` for an ON CONFLICT that reads or changes what the session may not.
pub(crate) fn check_conflict(
    session: &Session,
    insert: &ast::Insert,
    known: impl FnOnce() -> Known,
) -> QueryResult<()> {
    let identity = session.identity();
    let Some(OnInsert::OnConflict(on)) = &insert.on else { return Ok(()) };
    if identity.superuser || (identity.can_read && identity.can_write) {
        return Ok(());
    }
    let known = known();
    let (mut read, mut changed) = (Vec::new(), Vec::new());
    if let Some(ConflictTarget::Columns(columns)) = &on.conflict_target {
        read.extend(columns.iter().filter_map(|column| known.number(&folded(column))));
    }
    if let OnConflictAction::DoUpdate(update) = &on.action {
        if matches!(known.object, Object::Relational(_)) {
            refuse_secured(session, known.object, "ON CONFLICT DO UPDATE")?;
        }
        for assignment in &update.assignments {
            let names = match &assignment.target {
                ast::AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
                ast::AssignmentTarget::Tuple(names) => names.as_slice(),
            };
            let last = |name: &ast::ObjectName| {
                let part = name.0.last().and_then(|part| part.as_ident()).map(folded);
                part.and_then(|name| known.number(&name))
            };
            changed.extend(names.iter().filter_map(last));
            mentioned(&assignment.value, &known, &mut read);
        }
        if let Some(selection) = &update.selection {
            mentioned(selection, &known, &mut read);
        }
    }
    if !identity.can_read {
        check_columns(session, &read, &known, Mode::SELECT)?;
    }
    match identity.can_write {
        true => Ok(()),
        false => check_columns(session, &changed, &known, Mode::UPDATE),
    }
}

/// `42501` for a foreign key to columns that the session may not refer to.
pub(crate) fn check_references(
    session: &Identity,
    engine: &Engine,
    columns: &[u32],
    known: &Known,
) -> QueryResult<()> {
    if session.superuser || session.can_define || known.temporary {
        return Ok(());
    }
    let (rights, role) = (engine.rights().now(engine)?, Role::from(session));
    rights.check_schema(&role, &*schemas(engine)?, &known.name)?;
    let may = |column: &u32| rights.may(&role, known.object, Mode::REFERENCES, *column);
    match columns.iter().all(may) {
        true => Ok(()),
        false => Err(known.denied()),
    }
}

/// Columns whose names stand in an expression.
fn mentioned(expr: &Expr, known: &Known, out: &mut Vec<u32>) {
    struct Names<'a>(&'a Known, &'a mut Vec<u32>);
    impl Visitor for Names<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let name = match expr {
                Expr::Identifier(name) => Some(folded(name)),
                Expr::CompoundIdentifier(parts) => parts.last().map(folded),
                _ => None,
            };
            if let Some(name) = name {
                match self.0.number(&name) {
                    Some(number) => self.1.push(number),
                    // The whole row goes by the name of its table.
                    None if name == self.0.name => {
                        self.1.extend(self.0.columns.iter().map(|column| column.0));
                    }
                    None => {}
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = expr.visit(&mut Names(known, out));
}

/// Whether the session may make a table or view of this flat name, and that no block is open.
pub(crate) fn may_create(session: &Session, what: &str, name: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define {
        let engine = session.engine();
        let (rights, schemas, role) =
            (engine.rights().now(engine)?, schemas(engine)?, Role::from(identity));
        rights.check_in_schema(&role, schemas.place(name).0, Mode::CREATE)?;
    }
    definable(session, what)
}

/// Whether the session may define anew or drop what has this name, and that no block is open. What
/// is not there is left to others.
pub(crate) fn may_alter(session: &Session, what: &str, name: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define {
        check_owner(session, name)?;
    }
    definable(session, what)
}

/// `42501` unless the session owns the relation of a name, if there is one. The attribute DEFINE is
/// not enough.
pub(crate) fn check_owner(session: &Session, name: &str) -> QueryResult<()> {
    let Some(known) = find(session, name)?.filter(|known| !known.temporary) else { return Ok(()) };
    let (rights, role) =
        (session.engine().rights().now(session.engine())?, Role::from(session.identity()));
    rights.check_schema(&role, &*schemas(session.engine())?, &known.name)?;
    if rights.owns(&role, known.object) {
        return Ok(());
    }
    let message = format!("must be owner of {} {name}", known.kind);
    Err(QueryError::new("42501", message))
}

/// An error of constraints without the values that it shows, for who may not read the table whole.
pub(crate) fn without_values(session: &Session, name: &str, error: QueryError) -> QueryError {
    if !error.code.starts_with("23") || error.detail.is_none() {
        return error;
    }
    match reads_whole(session, name) {
        Ok(true) => error,
        _ => QueryError { detail: None, ..error },
    }
}

fn reads_whole(session: &Session, name: &str) -> QueryResult<bool> {
    let Some(known) = find(session, name)? else { return Ok(true) };
    let (rights, role) =
        (session.engine().rights().now(session.engine())?, Role::from(session.identity()));
    let reads = rights.may(&role, known.object, Mode::SELECT, 0);
    Ok(known.temporary || reads && !rights.is_secured(&role, known.object))
}

/// `42501` unless a materialised view is filled in the name of its owner: what is stored with
/// somebody else's rights would be shown with the owner's.
pub(crate) fn check_filler(session: &Session, view: &View) -> QueryResult<()> {
    let rights = session.engine().rights().now(session.engine())?;
    let Some(owner) = rights.owner(Known::of_view(view).object) else { return Ok(()) };
    let roles = session.engine().directory().roles()?;
    let is_superuser = roles.iter().any(|role| role.oid == owner && role.superuser);
    if is_superuser || session.identity().oid == owner {
        return Ok(());
    }
    let message = format!("must be owner of materialized view {}", view.name);
    Err(QueryError::new("42501", message)
        .with_hint("Its rows are stored with the rights of who refreshes it: let its owner do it."))
}

/// `2BP01` where a policy uses a column that is to be dropped or renamed: the policy would be about
/// another column, or about none.
pub(crate) fn refuse_in_policy(session: &Session, object: Object, column: &str) -> QueryResult<()> {
    let rights = session.engine().rights().now(session.engine())?;
    for (of, security) in &rights.security {
        for policy in &security.policies {
            if *of != object && !policy.reads.contains(&object.text()) {
                continue;
            }
            for text in policy.using.iter().chain(&policy.check) {
                if !super::policy::columns_of(text)?.contains(column) {
                    continue;
                }
                let message = format!("policy \"{}\" uses column \"{column}\"", policy.name);
                return Err(QueryError::new("2BP01", message)
                    .with_hint("Drop the policy first, and make it anew behind the change."));
            }
        }
    }
    Ok(())
}

/// Notes who has made a relation. What a superuser makes is the first superuser's, and needs no
/// note. A crash before it leaves a relation that is the first superuser's, too. The lock of
/// definitions is held.
pub(crate) async fn own(session: &Session, name: &str) -> QueryResult<()> {
    let identity = session.identity();
    if identity.superuser {
        return Ok(());
    }
    let Some(known) = find(session, name)?.filter(|known| !known.temporary) else { return Ok(()) };
    let rights = session.engine().rights().now(session.engine())?;
    if rights.acl(known.object).is_some() {
        return Ok(());
    }
    let acl = Acl { owner: Some(identity.oid), items: Vec::new() };
    let change = rows::put_acl(known.object, &acl)?;
    apply(session, vec![rights.command(rights.next, vec![change])?]).await
}

/// The relations that a role owns, as errors list them.
pub(crate) fn owned_by(session: &Session, oid: u32) -> QueryResult<Vec<String>> {
    let rights = session.engine().rights().now(session.engine())?;
    let snapshot = session.engine().db().snapshot();
    let relations = session.engine().relational().lasting(&snapshot)?;
    let views = session.engine().views().of(&snapshot)?;
    let schemas = schemas(session.engine())?;
    let mut found = Vec::new();
    for (object, _) in rights.all().filter(|(_, acl)| acl.owner == Some(oid)) {
        let known = match object {
            Object::Table(id) => {
                snapshot.table_by_id(id).map(|table| Known::of_table(table.schema()))
            }
            Object::Relational(number) => {
                relations.by_number(number).map(|table| Known::of_relation(table))
            }
            Object::View(number) => {
                let view = views.list.iter().find(|view| view.number == number);
                view.map(|view| Known::of_view(view))
            }
            Object::Schema(_) => {
                let is_it = |schema: &&Schema| Object::of_schema(Some(*schema)) == object;
                let own = schemas.list.iter().find(is_it).map(|schema| schema.name.as_str());
                let name = own.or((object == PUBLIC_SCHEMA).then_some(SCHEMA));
                name.map(|name| Known::of_schema(object, name))
            }
        };
        found.extend(known.map(|known| format!("owner of {} {}", known.kind, known.name)));
    }
    found.sort();
    Ok(found)
}

/// Takes away what a role had, which is gone. A crash before it leaves rows about a number that no
/// role has or will have: they say nothing.
pub(crate) async fn scrub(session: &Session, oid: u32) -> QueryResult<()> {
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let rights = engine.rights().now(&engine)?;
    let mut changes = Vec::new();
    for (object, acl) in rights.all() {
        let mut acl = acl.clone();
        let before = acl.items.len();
        acl.tidy(&|role| role != oid, &|_| true);
        if acl.items.len() != before {
            changes.push(rows::put_acl(object, &acl)?);
        }
    }
    for (object, security) in &rights.security {
        let mut security = security.clone();
        security.policies.iter_mut().for_each(|policy| policy.roles.retain(|role| *role != oid));
        if Some(&security) != rights.security(*object) {
            changes.push(rows::put_security(*object, &security)?);
        }
    }
    for (role, left) in rights.members.without(oid) {
        changes.push(rows::put_members(role, &left)?);
    }
    match changes.is_empty() {
        true => Ok(()),
        false => apply(session, vec![rights.command(rights.next, changes)?]).await,
    }
}

impl Engine {
    /// Whether somebody may write rows to any table at all, over doors that are not SQL.
    ///
    /// # Errors
    /// What reading rights says.
    pub fn may_insert_somewhere(&self, identity: &Identity) -> QueryResult<bool> {
        if identity.superuser || identity.can_write {
            return Ok(true);
        }
        let rights = self.rights().now(self)?;
        let role = Role::from(identity);
        let of_table = |object: &Object| matches!(object, Object::Table(_));
        Ok(rights
            .all()
            .filter(|(object, _)| of_table(object))
            .any(|(object, _)| rights.may(&role, object, Mode::INSERT, 0)))
    }

    /// Why somebody may not write rows to a time-series table, over doors that are not SQL; `None`
    /// where that is fine. `defines`: the rows make the table, or columns of it.
    pub fn refuses_insert(
        &self,
        identity: &Identity,
        table: &str,
        defines: bool,
    ) -> Option<String> {
        if identity.superuser || identity.can_write {
            return None;
        }
        let Ok(rights) = self.rights().now(self) else {
            return Some("rights cannot be read".to_owned());
        };
        let role = Role::from(identity);
        let found = self.db().snapshot().table(table);
        let Some(found) = found else {
            return Some(format!("relation \"{table}\" does not exist, and you may not make it"));
        };
        let object = Object::Table(found.schema().id);
        let usable = schemas(self).and_then(|all| rights.check_schema(&role, &all, table)).is_ok();
        if !usable || !rights.may(&role, object, Mode::INSERT, 0) {
            return Some(format!("permission denied for table {table}"));
        }
        if rights.is_secured(&role, object) {
            return Some(format!("row-level security of table {table} lets you insert no rows"));
        }
        match defines && !rights.owns(&role, object) {
            true => Some(format!("must be owner of table {table} to add columns")),
            false => None,
        }
    }

    /// The time-series tables that somebody may not read as a whole, for readers that are not SQL.
    pub(crate) fn hidden_tables(&self, identity: &Identity) -> QueryResult<Vec<TableId>> {
        if identity.superuser || (identity.can_read && !self.rights().policed()) {
            return Ok(Vec::new());
        }
        let rights = self.rights().now(self)?;
        let role = Role::from(identity);
        let schemas = schemas(self)?;
        let may_look = |name: &str| rights.check_schema(&role, &schemas, name).is_ok();
        let tables = self.db().snapshot().tables();
        let reads = |known: &Known| {
            let all =
                || known.columns.iter().all(|c| rights.may(&role, known.object, Mode::SELECT, c.0));
            (rights.may(&role, known.object, Mode::SELECT, 0) || all())
                && !rights.is_secured(&role, known.object)
        };
        let hidden =
            tables.iter().filter(|table| !may_look(&table.name) || !reads(&Known::of_table(table)));
        Ok(hidden.map(|table| table.id).collect())
    }
}

/// The role of a name in a statement; `None` is everybody.
pub(super) fn role_of(session: &Session, name: Option<&str>) -> QueryResult<u32> {
    let Some(name) = name else { return Ok(PUBLIC) };
    let roles = session.engine().directory().roles()?;
    let found = roles.iter().find(|role| role.name == name);
    let gone = || QueryError::new("42704", format!("role \"{name}\" does not exist"));
    found.map(|role| role.oid).ok_or_else(gone)
}
