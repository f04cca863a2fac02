//! Row-level security: what policies are, and the filter that they put under a table's name.
//!
//! A table whose policies hold for who reads it stands in a plan as the query
//! `SELECT * FROM table WHERE (policy) OR (policy) …`, like a view. The expressions are bound in a
//! scope of their own, so that no temporary table or WITH of a statement can stand for what they
//! name, and read with the rights of the table's owner.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::check::{check_owner, find, role_of};
use super::security::{Asked, For};
use super::{Known, Object, Policy, Rights, Role, Security, rows};
use crate::change::check_condition;
use crate::ddl::apply;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::plan::names::ROWS;
use crate::relational::RelationTable;
use crate::session::Session;
use crate::statement::Kind;
use crate::statement::rights::{AlterPolicy, NewPolicy, Who, expression_of};
use crate::table::SeriesTable;
use crate::view::{Behalf, ViewSource};
use crate::{catalog, names, sugar};

/// Schemas under which a policy's query finds the table without its policies; the second with the
/// identity of rows. No user can name them.
pub(crate) const BARE: &str = "\u{1}bare";
pub(crate) const BARE_ROWS: &str = "\u{1}bare rows";
/// Schema under which the rows are found that a statement is about to write.
pub(crate) const NEW: &str = "\u{1}new";
/// Alias of the plan that stands for a table with its policies; the object follows.
const ALIAS: &str = "\u{1}policy ";

/// Policies of one table.
const POLICIES_MAX: usize = 64;
/// Bytes of a name, as of tables.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of an expression.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The table that an alias stands for, if it stands for one with its policies.
pub(crate) fn is_policy(alias: &str) -> Option<Object> {
    Object::of_text(alias.strip_prefix(ALIAS)?)
}

/// Names of columns, or what may be such, in a policy's expression.
pub(super) fn columns_of(text: &str) -> QueryResult<HashSet<String>> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(name) => {
                    self.0.insert(folded(name));
                }
                Expr::CompoundIdentifier(parts) => self.0.extend(parts.iter().map(folded)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _ = expression_of(text)?.visit(&mut names);
    Ok(names.0)
}

/// A table whose rows its owner's statements are about; `42809` for views, which have none.
fn table(session: &Session, name: &str) -> QueryResult<Known> {
    check_owner(session, name)?;
    let known = find(session, name)?.ok_or_else(|| QueryError::no_table(name))?;
    if known.kind != "table" {
        return Err(QueryError::new("42809", format!("\"{name}\" is not a table")));
    }
    match known.temporary {
        true => Err(QueryError::unsupported("row-level security of temporary tables")),
        false => Ok(known),
    }
}

pub(super) async fn enable(
    session: &Session,
    name: &str,
    if_exists: bool,
    enable: bool,
) -> QueryResult<()> {
    if if_exists && find(session, name)?.is_none() {
        return Ok(());
    }
    let known = table(session, name)?;
    let rights = session.engine().rights().now(session.engine())?;
    let before = rights.security(known.object).cloned().unwrap_or_default();
    commit(session, &rights, known.object, rights.next, Security { enabled: enable, ..before })
        .await
}

async fn commit(
    session: &Session,
    rights: &Rights,
    object: Object,
    next: u32,
    security: Security,
) -> QueryResult<()> {
    session.engine().rights().police();
    let change = rows::put_security(object, &security)?;
    apply(session, vec![rights.command(next, vec![change])?]).await
}

pub(super) async fn create(session: &Session, asked: &NewPolicy) -> QueryResult<()> {
    let known = table(session, &asked.table)?;
    let rights = session.engine().rights().now(session.engine())?;
    let mut security = rights.security(known.object).cloned().unwrap_or_default();
    check_name(&security, &asked.name, &known.name)?;
    check_expressions(asked.command, asked.using.is_some(), asked.check.is_some())?;
    if security.policies.len() >= POLICIES_MAX {
        let message = format!("a table may have {POLICIES_MAX} policies");
        return Err(QueryError::new("54000", message));
    }
    let mut policy = Policy {
        number: rights.next,
        name: asked.name.clone(),
        command: asked.command,
        restrictive: asked.restrictive,
        roles: roles_of(session, &asked.roles)?,
        using: asked.using.as_ref().map(text_of).transpose()?,
        check: asked.check.as_ref().map(text_of).transpose()?,
        reads: Vec::new(),
    };
    policy.reads = reads_of(session, &known, &policy).await?;
    security.policies.push(policy);
    commit(session, &rights, known.object, rights.next + 1, security).await
}

/// The text of an expression, if it can be kept.
fn text_of(expr: &Expr) -> QueryResult<String> {
    let text = expr.to_string();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the expression of a policy may have {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new("54000", message));
    }
    // Beside others it stands under OR.
    let nested = || Box::new(Expr::Nested(Box::new(expr.clone())));
    check_condition(&Expr::BinaryOp { left: nested(), op: BinaryOperator::Or, right: nested() })?;
    match expression_of(&text).ok().as_ref() == Some(expr) {
        true => Ok(text),
        false => Err(QueryError::unsupported("a policy of this expression")
            .with_detail(format!("It does not read back from its text: {text}"))),
    }
}

/// Binds the expressions of a policy to see that they can be; the tables that they read.
async fn reads_of(session: &Session, known: &Known, policy: &Policy) -> QueryResult<Vec<String>> {
    let mut found = BTreeSet::new();
    for text in policy.using.iter().chain(&policy.check) {
        let context = session.context("");
        let (of, text) = (known.clone(), text.clone());
        let reads = session.on_workers(async move { context.check_policy(&of, &text) }).await?;
        found.extend(reads);
    }
    Ok(found.into_iter().collect())
}

/// ALTER POLICY.
pub(super) async fn alter(session: &Session, asked: &AlterPolicy) -> QueryResult<()> {
    let known = table(session, &asked.table)?;
    let rights = session.engine().rights().now(session.engine())?;
    let mut security = rights.security(known.object).cloned().unwrap_or_default();
    let at = security.policies.iter().position(|policy| policy.name == asked.name);
    let Some(at) = at else { return Err(missing(&asked.name, &known.name)) };
    let mut policy = security.policies[at].clone();
    if let Some(name) = &asked.rename {
        check_name(&security, name, &known.name)?;
        policy.name.clone_from(name);
    }
    check_expressions(policy.command, asked.using.is_some(), asked.check.is_some())?;
    if let Some(roles) = &asked.roles {
        policy.roles = roles_of(session, roles)?;
    }
    if let Some(using) = &asked.using {
        policy.using = Some(text_of(using)?);
    }
    if let Some(check) = &asked.check {
        policy.check = Some(text_of(check)?);
    }
    if asked.using.is_some() || asked.check.is_some() {
        policy.reads = reads_of(session, &known, &policy).await?;
    }
    security.policies[at] = policy;
    commit(session, &rights, known.object, rights.next, security).await
}

/// `42601` for an expression that a command has no use for.
fn check_expressions(command: For, using: bool, check: bool) -> QueryResult<()> {
    let message = match command {
        For::Insert if using => "only WITH CHECK expression allowed for INSERT",
        For::Select | For::Delete if check => "WITH CHECK cannot be applied to SELECT or DELETE",
        _ => return Ok(()),
    };
    Err(QueryError::new("42601", message))
}

fn check_name(security: &Security, name: &str, table: &str) -> QueryResult<()> {
    if security.policies.iter().any(|policy| policy.name == name) {
        let message = format!("policy \"{name}\" for table \"{table}\" already exists");
        return Err(QueryError::new("42710", message));
    }
    match name.is_empty() || name.len() > NAME_BYTES_MAX {
        true => {
            let message = format!("the name of a policy has 1 to {NAME_BYTES_MAX} bytes");
            Err(QueryError::new("42602", message))
        }
        false => Ok(()),
    }
}

fn roles_of(session: &Session, roles: &[Who]) -> QueryResult<Vec<u32>> {
    let user = &session.identity().user;
    let found = roles.iter().map(|who| role_of(session, who.name(user)));
    Ok(found.collect::<QueryResult<BTreeSet<u32>>>()?.into_iter().collect())
}

fn missing(name: &str, table: &str) -> QueryError {
    let message = format!("policy \"{name}\" for table \"{table}\" does not exist");
    QueryError::new("42704", message)
}

pub(super) async fn drop(
    session: &Session,
    name: &str,
    on: &str,
    if_exists: bool,
) -> QueryResult<()> {
    if if_exists && find(session, on)?.is_none() {
        return Ok(());
    }
    let known = table(session, on)?;
    let rights = session.engine().rights().now(session.engine())?;
    let mut security = rights.security(known.object).cloned().unwrap_or_default();
    let before = security.policies.len();
    security.policies.retain(|policy| policy.name != name);
    if security.policies.len() == before {
        return if if_exists { Ok(()) } else { Err(missing(name, &known.name)) };
    }
    commit(session, &rights, known.object, rights.next, security).await
}

impl PlanContext {
    /// The table's source, under its policies if they hold for who reads it here. `schema`: that
    /// which it was found under.
    pub(crate) fn secured(
        &self,
        schema: Option<&str>,
        name: &str,
        object: Object,
        source: Arc<dyn TableSource>,
    ) -> QueryResult<Arc<dyn TableSource>> {
        if !self.engine.rights().policed()
            || self.scope.plain
            || schema.is_some_and(|schema| schema == BARE || schema == BARE_ROWS)
        {
            return Ok(source);
        }
        let rights = self.rights()?;
        let Some(security) = rights.security(object).filter(|security| security.enabled) else {
            return Ok(source);
        };
        let Some(role) = self.reader(&rights)? else { return Ok(source) };
        if rights.owns(&role, object) {
            return Ok(source);
        }
        let changed = self.changes && schema == Some(ROWS);
        // What is changed must be seen, too.
        let seen = [Asked::Seen(For::Select)];
        let asked = if changed { self.found_by.iter() } else { [].iter() };
        let asked: Vec<Asked> =
            seen.into_iter().chain(asked.map(|command| Asked::Seen(*command))).collect();
        let is = |of: u32| rights.is(&role, of);
        let clause = security.clause(&is, &asked);
        let bare = if changed { BARE_ROWS } else { BARE };
        let plan = self.bind_under(object, bare, name, &clause.text)?;
        self.check_reads(object, name, &plan, &clause.reads)?;
        // Whoever asks is part of it.
        self.mark_fleeting();
        self.mark_secured();
        let alias = format!("{ALIAS}{}", object.text());
        let plan = LogicalPlanBuilder::from(plan).alias(alias)?.build()?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(Arc::new(ViewSource { schema, plan }))
    }

    /// `42501` where policies read another table than they did when they were made: one that goes
    /// by the name of another would answer what that one should.
    pub(super) fn check_reads(
        &self,
        object: Object,
        name: &str,
        plan: &LogicalPlan,
        known: &[&str],
    ) -> QueryResult<()> {
        let found = tables_of(plan)?;
        match found.iter().any(|read| *read != object.text() && !known.contains(&read.as_str())) {
            false => Ok(()),
            true => {
                let message =
                    format!("a policy of table \"{name}\" reads other tables than it did");
                Err(QueryError::new("42501", message)
                    .with_hint("Drop the policy and create it again, if that is meant."))
            }
        }
    }

    /// The role in whose name is read what is being bound; `None` where policies hold for nobody.
    fn reader(&self, rights: &Rights) -> QueryResult<Option<Role>> {
        let object = match self.scope.behalf() {
            Behalf::Session => return Ok(Some(Role::from(&*self.identity))),
            Behalf::Stored => return Ok(None),
            Behalf::View(number) => Object::View(number),
            Behalf::Policy(object) => object,
        };
        self.owner_of(rights, object)
    }

    /// The owner of an object; `None` for the first superuser.
    pub(super) fn owner_of(&self, rights: &Rights, object: Object) -> QueryResult<Option<Role>> {
        let Some(oid) = rights.owner(object) else { return Ok(None) };
        let roles = self.engine.directory().roles()?;
        match roles.iter().find(|role| role.oid == oid) {
            Some(role) if role.superuser => Ok(None),
            Some(role) => Ok(Some(Role::from(role))),
            // Nobody may read in the name of one who is gone.
            None => {
                let message = format!("the owner of {} does not exist any more", object.text());
                Err(QueryError::new("42501", message)
                    .with_hint("ALTER TABLE … OWNER TO gives it another."))
            }
        }
    }

    /// The table under a condition.
    pub(super) fn bind_under(
        &self,
        object: Object,
        schema: &str,
        name: &str,
        condition: &str,
    ) -> QueryResult<LogicalPlan> {
        let quoted = |name: &str| name.replace('"', "\"\"");
        // Policies call the table as it is called in its schema.
        let schemas = self.schemas()?;
        let (called, name) = (quoted(schemas.place(name).1), quoted(name));
        let sql =
            format!("SELECT * FROM \"{schema}\".\"{name}\" AS \"{called}\" WHERE {condition}");
        let bad = |error: &dyn std::fmt::Display| {
            QueryError::new("XX001", format!("a policy that cannot be read: {error}"))
        };
        let parser = Parser::new(&PostgreSqlDialect {});
        let mut parser = parser.try_with_sql(&sql).map_err(|error| bad(&error))?;
        let query = parser.parse_query().map_err(|error| bad(&error))?;
        self.scope.open_policy(object)?;
        let mut statement = ast::Statement::Query(query);
        let plain = sugar::rewrite(&mut statement, self)
            .and_then(|()| catalog::rewrite(&mut statement, self))
            .and_then(|()| sugar::count(&mut statement));
        let bound = plain.and_then(|()| {
            names::disambiguate(&mut statement);
            self.bind(statement, &[])
        });
        self.scope.close();
        bound.map_err(|error| QueryError { position: None, ..crate::error::place(error, "") })
    }

    /// Binds a policy to see that it can be; the tables that it reads.
    fn check_policy(&self, table: &Known, using: &str) -> QueryResult<Vec<String>> {
        let bound = self.bind_under(table.object, BARE, &table.name, &format!("({using})"));
        let plan = bound.map_err(|error| match error.message.contains("non-boolean") {
            true => QueryError::new("42804", "argument of USING must be type boolean"),
            false => error,
        })?;
        if !plan.get_parameter_names()?.is_empty() {
            return Err(QueryError::new("42P02", "there are no parameters in a policy"));
        }
        self.result_schema(&plan)?;
        let own = table.object.text();
        Ok(tables_of(&plan)?.into_iter().filter(|read| *read != own).collect())
    }
}

/// The commands whose policies say, beside those of SELECT, which rows a statement finds to change.
pub(crate) fn found_by(kind: &Kind) -> Vec<For> {
    match kind {
        Kind::Update(_) => vec![For::Update],
        Kind::Delete(_) => vec![For::Delete],
        Kind::Merge(merge) => {
            let of = |clause: &ast::MergeClause| match &clause.action {
                ast::MergeAction::Update(_) => Some(For::Update),
                ast::MergeAction::Delete { .. } => Some(For::Delete),
                ast::MergeAction::Insert(_) => None,
            };
            merge.clauses.iter().filter_map(of).collect()
        }
        _ => vec![For::Update, For::Delete],
    }
}

/// The tables that a plan reads.
fn tables_of(plan: &LogicalPlan) -> QueryResult<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = provider.downcast_ref::<SeriesTable>() {
                found.insert(Object::Table(table.table.id).text());
            } else if let Some(table) = provider.downcast_ref::<RelationTable>() {
                found.insert(Object::Relational(table.def().number).text());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
