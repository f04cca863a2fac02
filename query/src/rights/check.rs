//! What statements ask that change rows or define things.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, ConflictTarget, Expr, OnConflictAction, OnInsert, SelectItem, Visit, Visitor,
};
use tsdb::types::TableId;

use super::acl::{Acl, Mode, PUBLIC};
use super::{Known, Object, PUBLIC_SCHEMA, Rights, Role, denied, rows};
use crate::Identity;
use crate::ddl::{apply, definable};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::session::Session;

/// The relation of a name as the session sees it.
pub(crate) fn find(session: &Session, name: &str) -> QueryResult<Option<Known>> {
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
    rights.check_schema(&role)?;
    let whole = rights.may(&role, known.object, mode, 0);
    let each = || {
        let may = |number| rights.may(&role, known.object, mode, number);
        !columns.is_empty() && columns.iter().all(|c| known.number(c).is_some_and(may))
    };
    if !whole && !each() {
        return Err(known.denied());
    }
    check_policies(&rights, &role, &known, mode, columns)
}

/// What is not let do where policies hold: they say which rows a role sees, and of rows that it
/// would write that is not asked. A role with WRITE may write any row.
fn check_policies(
    rights: &Rights,
    role: &Role,
    known: &Known,
    mode: Mode,
    columns: &[&str],
) -> QueryResult<()> {
    if !rights.is_secured(role, known.object) {
        return Ok(());
    }
    let name = &known.name;
    if mode == Mode::INSERT {
        let message = format!("new row violates row-level security policy for table \"{name}\"");
        return Err(QueryError::new("42501", message)
            .with_detail("Policies here say which rows are seen, none which may be inserted.")
            .with_hint("Let a role insert that has the attribute WRITE, or owns the table."));
    }
    if mode == Mode::UPDATE {
        let policies = rights.security(known.object).into_iter().flat_map(|s| &s.policies);
        for policy in policies {
            let used = super::policy::columns_of(&policy.using)?;
            if let Some(column) = columns.iter().find(|column| used.contains(**column)) {
                let message =
                    format!("new row violates row-level security policy for table \"{name}\"");
                let detail = format!("Column \"{column}\" is part of policy \"{}\".", policy.name);
                return Err(QueryError::new("42501", message).with_detail(detail).with_hint(
                    "Let a role change it that has the attribute WRITE, or owns the table.",
                ));
            }
        }
    }
    Ok(())
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

/// Whether the session may make tables and views, and that no block is open.
pub(crate) fn may_create(session: &Session, what: &str) -> QueryResult<()> {
    let identity = session.identity();
    if !identity.superuser && !identity.can_define {
        let (rights, role) =
            (session.engine().rights().now(session.engine())?, Role::from(identity));
        if !rights.may(&role, Object::Schema(PUBLIC_SCHEMA), Mode::CREATE, 0) {
            return Err(denied("schema", crate::plan::names::SCHEMA));
        }
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
    let Some(known) = find(session, name)? else { return Ok(()) };
    let (rights, role) =
        (session.engine().rights().now(session.engine())?, Role::from(session.identity()));
    if known.temporary || rights.owns(&role, known.object) {
        return Ok(());
    }
    let message = format!("must be owner of {} {name}", known.kind);
    Err(QueryError::new("42501", message))
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
            Object::Schema(_) => None,
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
        if rights.check_schema(&role).is_err() || !rights.may(&role, object, Mode::INSERT, 0) {
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
        let may_look = rights.check_schema(&role).is_ok();
        let tables = self.db().snapshot().tables();
        let reads = |known: &Known| {
            let all =
                || known.columns.iter().all(|c| rights.may(&role, known.object, Mode::SELECT, c.0));
            (rights.may(&role, known.object, Mode::SELECT, 0) || all())
                && !rights.is_secured(&role, known.object)
        };
        let hidden = tables.iter().filter(|table| !may_look || !reads(&Known::of_table(table)));
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
