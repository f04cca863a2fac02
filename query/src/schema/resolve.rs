//! Names in statements become flat ones, as `search_path` and the schemas in front of them say, before
//! anything else sees them. Where a name changes its table gets the name as an alias, so that columns
//! are still called by it.
//!
//! A name alone means, as in Postgres: what is temporary, then the catalogue, then the first schema of
//! `search_path` that has it.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, AlterTableOperation, ColumnOption, Expr, Ident, ObjectName, ObjectNamePart,
    RenameTableNameKind, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableConstraint,
    TableFactor, VisitMut, VisitorMut,
};
use tsdb::Snapshot;

use super::define::OfSchema;
use super::{On, Schemas, beside, flat, path};
use crate::catalog;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::names::{DATABASE, SCHEMA};
use crate::relational::def::Relations;
use crate::rights;
use crate::session::Session;
use crate::statement::copy::{Copy, What};
use crate::statement::cursor::OfCursor;
use crate::statement::rights::{self as of_rights, OfRights};
use crate::statement::sequence::{Asked, OfSequence};
use crate::statement::{Kind, Statement, comment, materialized};
use crate::view::Views;

/// Between the parts of a name that was read off the tokens.
const MARK: char = '\u{1}';
/// In front of a name that no schema of `search_path` has.
const NOWHERE: &str = "\u{1}\u{1}";

/// The parts of a name as one text, for [`Resolver`] and [`unmarked`]. `public` is one of them: a
/// name with it does not follow `search_path`.
pub(crate) fn marked(mut parts: Vec<String>) -> String {
    if parts.len() == 3 && parts[0] == DATABASE {
        parts.remove(0);
    }
    parts.join(&MARK.to_string())
}

/// The name without the mark of schema `public`.
pub(crate) fn in_public(name: &str) -> &str {
    name.strip_prefix(SCHEMA).and_then(|rest| rest.strip_prefix(MARK)).unwrap_or(name)
}

/// The statement without marks of schema `public`, where there is no schema of users; `None` if it
/// has none.
pub(crate) fn unmarked(statement: &Statement) -> Option<Statement> {
    let text = |name: &str| in_public(name).to_string();
    let kind = match statement.kind() {
        Kind::RenameView { name, to, if_exists, materialized } => Kind::RenameView {
            name: text(name),
            to: to.clone(),
            if_exists: *if_exists,
            materialized: *materialized,
        },
        Kind::OfSequence(of) => {
            let mut of = of.clone();
            of.names_mut().into_iter().for_each(|name| *name = text(name));
            Kind::OfSequence(of)
        }
        kind => with_texts(kind, &text)?,
    };
    Some(statement.with(kind))
}

/// A definition with other names of what it is about, where these were read off the tokens.
fn with_texts(kind: &Kind, text: &dyn Fn(&str) -> String) -> Option<Kind> {
    Some(match kind {
        Kind::AlterMaterialized(alter) => Kind::AlterMaterialized(materialized::Alter {
            name: text(&alter.name),
            ..alter.clone()
        }),
        Kind::Refresh(refresh) => {
            Kind::Refresh(materialized::Refresh { name: text(&refresh.name), ..refresh.clone() })
        }
        Kind::Restore { table, times, hot_for } => {
            Kind::Restore { table: text(table), times: times.clone(), hot_for: hot_for.clone() }
        }
        Kind::ResetOptions { table, if_exists, names } => {
            Kind::ResetOptions { table: text(table), if_exists: *if_exists, names: names.clone() }
        }
        Kind::Vacuum { full, table: Some(table) } => {
            Kind::Vacuum { full: *full, table: Some(text(table)) }
        }
        Kind::OfSchema(OfSchema::Move { table, if_exists, schema }) => {
            let (table, schema) = (text(table), schema.clone());
            Kind::OfSchema(OfSchema::Move { table, if_exists: *if_exists, schema })
        }
        Kind::Comment(comment) => Kind::Comment(comment::Comment {
            view: comment.view,
            relation: text(&comment.relation),
            column: comment.column.clone(),
            text: comment.text.clone(),
        }),
        _ => return None,
    })
}

/// An error in which names are as they were written.
pub(crate) fn readable(error: QueryError) -> QueryError {
    if !error.message.contains(MARK) {
        return error;
    }
    let message = error.message.replace(NOWHERE, "").replace(MARK, ".");
    QueryError { message, ..error }
}

/// `3F000` for what is to be made in a schema that is not there, where there is none of users.
pub(crate) fn check_made(statement: &Statement) -> QueryResult<()> {
    let name = match statement.kind() {
        Kind::CreateTable(create) => &create.name,
        Kind::CreateView(create) => &create.name,
        Kind::CreateAs(create) => create.name(),
        _ => return Ok(()),
    };
    match &parts(name)[..] {
        [schema, _] if !super::define::is_system(schema) => Err(super::define::missing(schema)),
        _ => Ok(()),
    }
}

/// What names mean to one statement.
pub(crate) struct Resolver {
    schemas: Arc<Schemas>,
    path: Vec<On>,
    snapshot: Snapshot,
    relations: Arc<Relations>,
    views: Arc<Views>,
}

/// What the meaning of names depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    path: Vec<On>,
    revisions: [u64; 4],
}

impl Resolver {
    /// `None` where there are no schemas.
    pub(crate) fn of(session: &Session) -> QueryResult<Option<Resolver>> {
        if !session.engine().schemas().any() {
            return Ok(None);
        }
        let snapshot = session.snapshot();
        let schemas = session.engine().schemas().of(&snapshot)?;
        if schemas.list.is_empty() {
            return Ok(None);
        }
        let settings = session.settings();
        let setting = settings.get("search_path").unwrap_or_default();
        let identity = session.identity();
        let mut path = path(&schemas, setting, &identity.user);
        rights::keep_usable(session.engine(), identity, &schemas, &mut path)?;
        let relations = session.relations(&snapshot)?;
        let views = session.views()?;
        Ok(Some(Resolver { schemas, path, snapshot, relations, views }))
    }

    pub(crate) fn key(&self) -> Key {
        let version = self.snapshot.schema_version();
        let revisions =
            [self.schemas.revision, version, self.relations.revision, self.views.revision];
        Key { path: self.path.clone(), revisions }
    }

    fn is_there(&self, name: &str) -> bool {
        self.relations.find(name).is_some()
            || self.snapshot.table(name).is_some()
            || self.views.find(name).is_some()
            || self.relations.find_sequence(name).is_some()
    }

    fn is_index(&self, name: &str) -> bool {
        let mut keys = self.relations.list.iter().filter_map(|table| table.primary.as_ref());
        self.relations.find_index(name).is_some() || keys.any(|primary| primary.name == name)
    }

    /// The flat name of what a name means; `None` where it stays as it is.
    fn find(&self, parts: &[String], is_there: &dyn Fn(&str) -> bool) -> Option<String> {
        match parts {
            [name] => {
                let temporary = self.relations.find(name).is_some_and(|t| t.temporary.is_some())
                    || self.views.find_temporary(name).is_some();
                let (schema, _) = self.schemas.place(name);
                if temporary || schema.is_some() || catalog::table(None, name).is_some() {
                    return None;
                }
                for on in &self.path {
                    match on {
                        On::Public if is_there(name) => return None,
                        On::Public => {}
                        On::Own(number) => {
                            let name = flat(*number, name);
                            if is_there(&name) {
                                return Some(name);
                            }
                        }
                    }
                }
                (!self.path.contains(&On::Public)).then(|| format!("{NOWHERE}{name}"))
            }
            [schema, name] => self.schemas.find(schema).map(|schema| flat(schema.number, name)),
            [database, rest @ ..] if database == DATABASE && rest.len() == 2 => {
                self.find(rest, is_there)
            }
            _ => None,
        }
    }

    /// The name of a relation that is there, or should be.
    fn relation(&self, parts: &[String]) -> Option<String> {
        self.find(parts, &|name| self.is_there(name))
    }

    /// The name of a relation that is to be made.
    fn made(&self, parts: &[String]) -> QueryResult<Option<String>> {
        match parts {
            [name] if self.schemas.place(name).0.is_some() => Err(of_schemas(name)),
            [name] => match self.path.first() {
                Some(On::Public) => Ok(None),
                Some(On::Own(number)) => Ok(Some(flat(*number, name))),
                None => Err(QueryError::new("3F000", "no schema has been selected to create in")),
            },
            [schema, name] => match self.schemas.find(schema) {
                Some(schema) => Ok(Some(flat(schema.number, name))),
                None if super::define::is_system(schema) => Ok(None),
                None => Err(super::define::missing(schema)),
            },
            [database, rest @ ..] if database == DATABASE && rest.len() == 2 => self.made(rest),
            _ => Ok(None),
        }
    }

    fn put(&self, name: &mut ObjectName) {
        if let Some(flat) = self.relation(&parts(name)) {
            *name = object(flat, name);
        }
    }

    fn put_new(&self, name: &mut ObjectName, temporary: bool) -> QueryResult<()> {
        let parts = parts(name);
        if temporary {
            return match parts.len() {
                0 | 1 => Ok(()),
                _ => {
                    let message = "cannot create temporary relation in non-temporary schema";
                    Err(QueryError::new("42P16", message))
                }
            };
        }
        if let Some(flat) = self.made(&parts)? {
            *name = object(flat, name);
        }
        Ok(())
    }

    fn text(&self, name: &str) -> String {
        if in_public(name) != name {
            return in_public(name).to_string();
        }
        let parts: Vec<String> = name.split(MARK).map(str::to_string).collect();
        self.relation(&parts).unwrap_or_else(|| name.to_string())
    }

    fn visited<T: VisitMut + Clone>(&self, of: &T) -> QueryResult<Option<T>> {
        let mut out = of.clone();
        let (scopes, taken, function, changed) = (Vec::new(), Vec::new(), false, false);
        let mut names = Names { of: self, scopes, taken, function, changed };
        match out.visit(&mut names) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(names.changed.then_some(out)),
        }
    }

    /// The statement with flat names; `None` if it has others anyway.
    pub(crate) fn statement(&self, statement: &Statement) -> QueryResult<Option<Statement>> {
        Ok(self.kind(statement.kind())?.map(|kind| statement.with(kind)))
    }

    fn kind(&self, kind: &Kind) -> QueryResult<Option<Kind>> {
        Ok(match kind {
            Kind::Query(ast) => self.visited(ast)?.map(Kind::Query),
            Kind::Explain { asked, statement } => {
                let of = |statement| Kind::Explain { asked: *asked, statement };
                self.visited(statement)?.map(of)
            }
            Kind::Insert(insert) => self.visited(insert)?.map(Kind::Insert),
            Kind::Delete(delete) => self.visited(delete)?.map(Kind::Delete),
            Kind::Update(update) => self.visited(update)?.map(Kind::Update),
            Kind::Truncate(truncate) => self.visited(truncate)?.map(Kind::Truncate),
            Kind::Merge(merge) => self.visited(merge)?.map(Kind::Merge),
            Kind::Copy(copy) => self.copy(copy)?,
            Kind::OfCursor(OfCursor::Declare { name, statement, options }) => {
                self.statement(statement)?.map(|statement| {
                    let (name, options) = (name.clone(), *options);
                    Kind::OfCursor(OfCursor::Declare { name, statement, options })
                })
            }
            other => self.definition(other)?,
        })
    }

    fn copy(&self, copy: &Copy) -> QueryResult<Option<Kind>> {
        let what = match &copy.what {
            What::In { table, columns } => match self.relation(table) {
                Some(flat) => What::In { table: vec![flat], columns: columns.clone() },
                None => return Ok(None),
            },
            What::Out { query, table } => {
                let Some(query) = self.statement(query)? else { return Ok(None) };
                let name = |table: &Vec<String>| self.relation(table).map(|flat| vec![flat]);
                What::Out { query, table: table.as_ref().and_then(name) }
            }
        };
        let (file, options) = (copy.file.clone(), copy.options.clone());
        Ok(Some(Kind::Copy(Box::new(Copy { what, file, options }))))
    }

    fn definition(&self, kind: &Kind) -> QueryResult<Option<Kind>> {
        let all = |names: &[ObjectName]| {
            let mut names = names.to_vec();
            names.iter_mut().for_each(|name| self.put(name));
            names
        };
        Ok(Some(match kind {
            Kind::CreateTable(create) => self.create_table(create)?,
            Kind::CreateAs(create) => {
                let mut create = create.clone();
                let temporary = create.is_temporary();
                self.put_new(create.name_mut(), temporary)?;
                Kind::CreateAs(create)
            }
            Kind::AlterTable(alter) => self.alter_table(alter)?,
            Kind::Rights(of) => Kind::Rights(self.rights(of)?),
            Kind::CreateIndex(create) => {
                let mut create = create.clone();
                self.put(&mut create.table_name);
                if let (Some(name), [table]) = (&mut create.name, &parts(&create.table_name)[..])
                    && let [own] = &parts(name)[..]
                {
                    *name = object(beside(table, own), name);
                }
                Kind::CreateIndex(create)
            }
            Kind::DropIndex { names, if_exists } => {
                let mut names = names.clone();
                for name in &mut names {
                    if let Some(flat) = self.find(&parts(name), &|name| self.is_index(name)) {
                        *name = object(flat, name);
                    }
                }
                Kind::DropIndex { names, if_exists: *if_exists }
            }
            Kind::CreateView(create) => {
                let mut create = create.clone();
                if let Some(query) = self.visited(&create.query)? {
                    create.query = query;
                }
                let temporary = create.temporary;
                self.put_new(&mut create.name, temporary)?;
                Kind::CreateView(create)
            }
            Kind::DropTable { names, if_exists, cascade } => {
                Kind::DropTable { names: all(names), if_exists: *if_exists, cascade: *cascade }
            }
            Kind::DropView { names, if_exists, cascade, materialized } => Kind::DropView {
                names: all(names),
                if_exists: *if_exists,
                cascade: *cascade,
                materialized: *materialized,
            },
            Kind::RenameView { name, to, if_exists, materialized } => {
                let name = self.text(name);
                let to = self.renamed(&name, to)?;
                let (if_exists, materialized) = (*if_exists, *materialized);
                Kind::RenameView { name, to, if_exists, materialized }
            }
            Kind::OfSequence(of) => Kind::OfSequence(self.sequence(of)?),
            other => return Ok(with_texts(other, &|name| self.text(name))),
        }))
    }

    fn sequence(&self, of: &OfSequence) -> QueryResult<OfSequence> {
        let mut of = of.clone();
        match &mut of {
            OfSequence::Create { name, asked, .. } => {
                let parts: Vec<String> = name.split(MARK).map(str::to_string).collect();
                *name = match self.made(&parts)? {
                    Some(flat) => flat,
                    None => in_public(name).to_string(),
                };
                self.owner(asked);
            }
            OfSequence::Alter { name, asked, .. } => {
                *name = self.text(name);
                self.owner(asked);
            }
            OfSequence::Rename { name, .. } => *name = self.text(name),
            OfSequence::Drop { names, .. } => {
                names.iter_mut().for_each(|name| *name = self.text(name));
            }
        }
        Ok(of)
    }

    /// The table of OWNED BY.
    fn owner(&self, asked: &mut Asked) {
        if let Some(Some((table, _))) = &mut asked.owned {
            *table = self.text(table);
        }
    }

    fn create_table(&self, create: &ast::CreateTable) -> QueryResult<Kind> {
        let mut create = create.clone();
        let temporary = create.temporary;
        self.put_new(&mut create.name, temporary)?;
        for column in &mut create.columns {
            self.column(column, &create.name);
        }
        for constraint in &mut create.constraints {
            self.constraint(constraint, &create.name);
        }
        Ok(Kind::CreateTable(Box::new(create)))
    }

    fn column(&self, column: &mut ast::ColumnDef, own: &ObjectName) {
        for option in &mut column.options {
            if let ColumnOption::ForeignKey(foreign) = &mut option.option {
                self.parent(&mut foreign.foreign_table, own);
            }
        }
    }

    fn constraint(&self, constraint: &mut TableConstraint, own: &ObjectName) {
        if let TableConstraint::ForeignKey(foreign) = constraint {
            self.parent(&mut foreign.foreign_table, own);
        }
    }

    /// The table that a foreign key of a table refers to, which may be that table.
    fn parent(&self, name: &mut ObjectName, own: &ObjectName) {
        match (&parts(name)[..], &parts(own)[..]) {
            ([parent], [own]) if beside(own, parent) == *own && !self.is_there(parent) => {
                *name = object(own.clone(), name);
            }
            _ => self.put(name),
        }
    }

    fn visit_all(&self, all: [&mut Option<Expr>; 2]) -> QueryResult<()> {
        for expr in all.into_iter().flatten() {
            if let Some(visited) = self.visited(expr)? {
                *expr = visited;
            }
        }
        Ok(())
    }

    /// The flat name that what lies somewhere gets there.
    fn renamed(&self, name: &str, to: &str) -> QueryResult<String> {
        match self.schemas.place(to).0 {
            // By its flat name it would move.
            Some(_) => Err(of_schemas(to)),
            None => Ok(beside(name, to)),
        }
    }

    fn rights(&self, of: &OfRights) -> QueryResult<OfRights> {
        let mut of = of.clone();
        match &mut of {
            OfRights::Grant(grant) => {
                if let of_rights::On::Relations(names) = &mut grant.on {
                    names.iter_mut().for_each(|name| *name = self.text(name));
                }
            }
            OfRights::Owner { name, .. } => *name = self.text(name),
            OfRights::Security { table, .. } | OfRights::DropPolicy { table, .. } => {
                *table = self.text(table);
            }
            OfRights::CreatePolicy(policy) => {
                policy.table = self.text(&policy.table);
                self.visit_all([&mut policy.using, &mut policy.check])?;
            }
            OfRights::AlterPolicy(policy) => {
                policy.table = self.text(&policy.table);
                self.visit_all([&mut policy.using, &mut policy.check])?;
            }
            OfRights::SchemaOwner { .. } | OfRights::Roles(_) => {}
        }
        Ok(of)
    }

    fn alter_table(&self, alter: &ast::AlterTable) -> QueryResult<Kind> {
        let mut alter = alter.clone();
        self.put(&mut alter.name);
        let table = alter.name.clone();
        for operation in &mut alter.operations {
            match operation {
                AlterTableOperation::RenameTable {
                    table_name: RenameTableNameKind::To(to) | RenameTableNameKind::As(to),
                } => {
                    if let ([own], [new]) = (&parts(&table)[..], &parts(to)[..]) {
                        *to = object(self.renamed(own, new)?, to);
                    }
                }
                AlterTableOperation::AddConstraint { constraint, .. } => {
                    self.constraint(constraint, &table);
                }
                AlterTableOperation::AddColumn { column_def, .. } => {
                    self.column(column_def, &table);
                }
                _ => {}
            }
        }
        Ok(Kind::AlterTable(Box::new(alter)))
    }
}

fn of_schemas(name: &str) -> QueryError {
    let message = format!("\"{name}\": such names are those of tables in schemas");
    QueryError::new("42939", message)
}

fn parts(name: &ObjectName) -> Vec<String> {
    let part = |part: &ObjectNamePart| part.as_ident().map(folded);
    name.0.iter().map(part).collect::<Option<_>>().unwrap_or_default()
}

/// A flat name in the place of another.
fn object(flat: String, before: &ObjectName) -> ObjectName {
    let mut ident = Ident::with_quote('"', flat);
    if let Some(last) = before.0.last().and_then(|part| part.as_ident()) {
        ident.span = last.span;
    }
    ObjectName(vec![ObjectNamePart::Identifier(ident)])
}

/// Walks over syntax.
struct Names<'a> {
    of: &'a Resolver,
    /// Names of WITH that hide others.
    scopes: Vec<Vec<String>>,
    /// WITH clauses that were walked over, until their queries are.
    taken: Vec<Option<ast::With>>,
    /// The next name is that of a function.
    function: bool,
    changed: bool,
}

impl Names<'_> {
    /// Changes a name; the name that its columns are called by then.
    fn change(&mut self, name: &mut ObjectName) -> Option<Ident> {
        let parts = parts(name);
        if let [alone] = &parts[..]
            && self.scopes.iter().flatten().any(|hidden| hidden == alone)
        {
            return None;
        }
        let flat = self.of.relation(&parts)?;
        let called = name.0.last().and_then(|part| part.as_ident()).cloned();
        *name = object(flat, name);
        self.changed = true;
        called
    }
}

impl VisitorMut for Names<'_> {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<QueryError> {
        let mut names = Vec::new();
        let mut with = query.with.take();
        if let Some(with) = &mut with {
            let name = |cte: &ast::Cte| folded(&cte.alias.name);
            if with.recursive {
                names.extend(with.cte_tables.iter().map(name));
            }
            for cte in &mut with.cte_tables {
                // Each sees those before it.
                self.scopes.push(names.clone());
                cte.query.visit(self)?;
                self.scopes.pop();
                names.push(name(cte));
            }
        }
        self.taken.push(with);
        self.scopes.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<QueryError> {
        self.scopes.pop();
        query.with = self.taken.pop().flatten();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<QueryError> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(kind, _) = item
                && let SelectItemQualifiedWildcardKind::ObjectName(name) = kind
                && let [.., schema, _] = &parts(name)[..]
                && self.of.schemas.find(schema).is_some()
            {
                name.0.drain(..name.0.len() - 1);
                self.changed = true;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        self.function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let Some(called) = self.change(name)
            && alias.is_none()
        {
            *alias =
                Some(TableAlias { explicit: true, name: called, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<QueryError> {
        if !std::mem::take(&mut self.function) {
            self.change(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        if let Expr::CompoundIdentifier(names) = expr
            && let Some(at) = names.len().checked_sub(3)
            && self.of.schemas.find(&folded(&names[at])).is_some()
        {
            names.drain(..=at);
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}
