//! CREATE TABLE without a time key, and the parts of definitions that ALTER TABLE adds too.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    self, ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr, GeneratedAs, Ident,
    IndexColumn, ReferentialAction, SqlOption, TableConstraint, Visit, Visitor,
};
use tsdb::Command;

use super::def::{Action, Check, Column, Foreign, Index, Primary, Redefine, Sequence, TableDef};
use super::insert::defaults;
use super::kind::Kind;
use super::sequence::define::of_column;
use super::{COLUMNS_MAX, CONSTRAINTS_MAX, KEY_COLUMNS_MAX, TABLES_MAX};
use super::{arrays, expr};
use crate::Outcome;
use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::functions;
use crate::insert::table_name;
use crate::names::folded;
use crate::plan::PlanContext;
use crate::rights::{self, Known};
use crate::schema;
use crate::session::Session;
use crate::statement::sequence::Asked;

/// Bytes of a name, as of other tables.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of the text of a default or condition.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Settings of Postgres about how rows lie, which mean nothing here.
const STORAGE_SETTINGS: [&str; 4] =
    ["fillfactor", "parallel_workers", "toast_tuple_target", "user_catalog_table"];

/// Whether a CREATE TABLE makes a relational table: its primary key holds no time, or it has none.
pub(crate) fn is_relational(create: &CreateTable) -> bool {
    if create.query.is_some() || create.like.is_some() {
        return false;
    }
    if create.temporary {
        return true;
    }
    let is_time = |kind: &ast::DataType| matches!(kind, ast::DataType::Timestamp(..));
    let own = create.columns.iter().filter(|column| {
        column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_)))
    });
    let mut keys: Vec<String> = own.map(|column| folded(&column.name)).collect();
    for constraint in &create.constraints {
        if let TableConstraint::PrimaryKey(primary) = constraint {
            keys.extend(primary.columns.iter().filter_map(|column| column_name(column).ok()));
        }
    }
    let of = |key: &String| create.columns.iter().find(|column| folded(&column.name) == *key);
    !keys.iter().filter_map(of).any(|column| is_time(&column.data_type))
}

/// Runs CREATE TABLE.
pub(crate) async fn create(session: &Session, create: &CreateTable) -> QueryResult<Outcome> {
    let temporary = match create.temporary {
        true => Some(super::temporary::read(session, create.on_commit.as_ref())?),
        false => {
            rights::may_create(session, "CREATE TABLE", &table_name(&create.name)?)?;
            None
        }
    };
    if create.inherits.is_some() || create.partition_of.is_some() {
        return Err(QueryError::unsupported("INHERITS and PARTITION OF"));
    }
    if create.or_replace || create.external {
        return Err(QueryError::unsupported("this form of CREATE TABLE"));
    }
    let name = table_name(&create.name)?;
    match &create.table_options {
        CreateTableOptions::None => {}
        CreateTableOptions::With(given) => check_settings(given, &name)?,
        _ => return Err(QueryError::unsupported("table options other than WITH (…)")),
    }
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let taken = match temporary {
        Some(_) => super::temporary::is_taken(session, &name)?,
        None => is_taken(session, &name)?,
    };
    if taken {
        return match create.if_not_exists {
            true => done("CREATE TABLE"),
            false => Err(exists(&name)),
        };
    }
    check_name(&name, "table")?;
    let context = session.context("");
    let relations = context.relations()?;
    if relations.list.len() >= TABLES_MAX {
        let message = format!("a database may have {TABLES_MAX} relational tables");
        return Err(QueryError::new("54000", message));
    }
    let mut redefine = Redefine::new(&relations);
    let (number, storage) = (redefine.number(), redefine.number());
    let mut def = TableDef::new(number, storage, name.clone());
    def.temporary = temporary;
    let mut definer = Definer { context: &context, redefine: &mut redefine };
    let mut constraints = Vec::new();
    for column in &create.columns {
        definer.column(&mut def, column, &mut constraints)?;
    }
    constraints.extend(create.constraints.iter().cloned());
    definer.constraints(&mut def, &constraints)?;
    redefine.put(def);
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    rights::own(session, &name).await?;
    done("CREATE TABLE")
}

/// Whether a setting of that name, in lower case, is one of Postgres about how rows lie.
pub(crate) fn is_storage_setting(name: &str) -> bool {
    STORAGE_SETTINGS.contains(&name)
        || name.starts_with("autovacuum_")
        || name.starts_with("toast.")
}

/// `22023` for settings that mean nothing here.
pub(super) fn check_settings(options: &[SqlOption], table: &str) -> QueryResult<()> {
    for option in options {
        let SqlOption::KeyValue { key, .. } = option else {
            return Err(QueryError::new("42601", format!("unrecognized parameter {option}")));
        };
        let name = key.value.to_lowercase();
        if !is_storage_setting(&name) {
            let message = format!("setting \"{name}\" is none of the relational table \"{table}\"");
            return Err(QueryError::new("22023", message).with_hint(
                "A time-series table has a timestamptz column in its PRIMARY KEY: \
                 PRIMARY KEY (device, time).",
            ));
        }
    }
    Ok(())
}

/// Whether a relation of any kind has the name.
pub(crate) fn is_taken(session: &Session, name: &str) -> QueryResult<bool> {
    let snapshot = session.snapshot();
    Ok(snapshot.table(name).is_some()
        || session.views()?.find_lasting(name).is_some()
        || session.engine().relational().lasting(&snapshot)?.is_taken(name)
        || super::returning::is_system(name))
}

pub(super) fn exists(name: &str) -> QueryError {
    QueryError::new("42P07", format!("relation \"{name}\" already exists"))
}

pub(super) fn check_name(name: &str, what: &str) -> QueryResult<()> {
    match name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        true => Err(QueryError::new("42602", format!("bad name of a {what}: {name:?}"))
            .with_hint("A name has 1 to 255 bytes and no control characters.")),
        false => Ok(()),
    }
}

pub(super) fn column_name(column: &IndexColumn) -> QueryResult<String> {
    match &column.column.expr {
        Expr::Identifier(name) => Ok(folded(name)),
        other => Err(QueryError::unsupported(format!("an index of the expression {other}"))),
    }
}

/// Adds parts to definitions.
pub(super) struct Definer<'a, 'b> {
    pub(super) context: &'a PlanContext,
    pub(super) redefine: &'a mut Redefine<'b>,
}

struct Names(HashSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                self.0.insert(folded(name));
            }
            Expr::CompoundIdentifier(parts) => {
                self.0.extend(parts.last().map(folded));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Definer<'_, '_> {
    /// Adds a column; the constraints that stand with it are handed on.
    pub(super) fn column(
        &mut self,
        def: &mut TableDef,
        column: &ColumnDef,
        constraints: &mut Vec<TableConstraint>,
    ) -> QueryResult<()> {
        let name = folded(&column.name);
        check_name(&name, "column")?;
        if def.place(&name).is_some() {
            let message = format!("column \"{name}\" specified more than once");
            return Err(QueryError::new("42701", message));
        }
        if def.columns.len() >= COLUMNS_MAX || def.next_column == u32::MAX {
            let message = format!("tables can have at most {COLUMNS_MAX} columns");
            return Err(QueryError::new("54011", message));
        }
        let serial = serial(&column.data_type);
        let kind = match serial {
            Some(kind) => kind,
            None => Kind::of_sql(&column.data_type)?,
        };
        let mut out = Column {
            id: def.next_column,
            name: name.clone(),
            kind,
            not_null: serial.is_some(),
            default: None,
            missing: None,
            sequence: None,
        };
        if serial.is_some() {
            let asked = Asked::default();
            let own = (out.id, name.as_str());
            let number = of_column(self.context, self.redefine, def, own, kind, &asked)?;
            out.sequence = Some(Sequence { number, identity: None });
        }
        for option in &column.options {
            let called = option.name.clone();
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => out.not_null = true,
                ColumnOption::Default(expr) => {
                    if out.sequence.is_some() {
                        let message = format!(
                            "multiple default values specified for column \"{name}\" of table \"{}\"",
                            def.name
                        );
                        return Err(QueryError::new("42601", message));
                    }
                    out.default = self.default(&out, expr)?;
                }
                ColumnOption::PrimaryKey(primary) => {
                    let mut primary = primary.clone();
                    primary.name = primary.name.or(called);
                    primary.columns = vec![IndexColumn::from(quoted(&name))];
                    constraints.push(TableConstraint::PrimaryKey(primary));
                }
                ColumnOption::Unique(unique) => {
                    let mut unique = unique.clone();
                    unique.name = unique.name.or(called);
                    unique.columns = vec![IndexColumn::from(quoted(&name))];
                    constraints.push(TableConstraint::Unique(unique));
                }
                ColumnOption::Check(check) => {
                    let mut check = check.clone();
                    check.name = check.name.or(called);
                    constraints.push(TableConstraint::Check(check));
                }
                ColumnOption::ForeignKey(foreign) => {
                    let mut foreign = foreign.clone();
                    foreign.name = foreign.name.or(called);
                    foreign.columns = vec![quoted(&name)];
                    constraints.push(TableConstraint::ForeignKey(foreign));
                }
                ColumnOption::Generated {
                    generated_as,
                    sequence_options,
                    generation_expr: None,
                    ..
                } if kind.is_integer() && out.sequence.is_none() => {
                    let always = matches!(generated_as, GeneratedAs::Always);
                    let asked = sequence_options.as_deref().unwrap_or_default();
                    let asked = Asked::of_identity(asked)?;
                    let own = (out.id, name.as_str());
                    let number = of_column(self.context, self.redefine, def, own, kind, &asked)?;
                    out.sequence = Some(Sequence { number, identity: Some(always) });
                    out.not_null = true;
                }
                other => {
                    let message = format!("\"{other}\" on column \"{name}\"");
                    return Err(QueryError::unsupported(message));
                }
            }
        }
        def.next_column += 1;
        def.columns.push(out);
        Ok(())
    }

    /// The text of a default that its column takes; `None` for NULL.
    pub(super) fn default(&self, column: &Column, expr: &Expr) -> QueryResult<Option<String>> {
        expr::refuse_subqueries(expr, "DEFAULT")?;
        let mut expr = expr.clone();
        let numbers = functions::sequence::bind(self.context, &mut expr)?;
        let expr = &expr;
        let text = text_of(expr)?;
        if matches!(expr, Expr::Value(value) if value.value == ast::Value::Null) {
            return Ok(None);
        }
        let column = Column { default: Some(text.clone()), ..column.clone() };
        if numbers {
            // Not worked out: that would take a number.
            let fields =
                expr::fields(self.context, std::slice::from_ref(expr), &expr::Names::none(), &[])?;
            for field in fields {
                let none = arrow::array::new_empty_array(field.data_type());
                let target = (column.name.as_str(), column.kind);
                arrays::assign(&none, target, self.context.settings.zone())?;
            }
            return Ok(Some(text));
        }
        // Worked out once, to see that it can be and that the column takes it.
        defaults(self.context, &column, 1)?;
        Ok(Some(text))
    }

    /// Adds constraints: keys first, since foreign keys may refer to them.
    pub(super) fn constraints(
        &mut self,
        def: &mut TableDef,
        list: &[TableConstraint],
    ) -> QueryResult<()> {
        let foreign = |c: &&TableConstraint| matches!(c, TableConstraint::ForeignKey(_));
        for constraint in list.iter().filter(|c| !foreign(c)) {
            self.constraint(def, constraint)?;
        }
        for constraint in list.iter().filter(foreign) {
            self.constraint(def, constraint)?;
        }
        let count = def.indexes.len() + def.checks.len() + def.foreign.len();
        if count > CONSTRAINTS_MAX {
            let message =
                format!("a table may have {CONSTRAINTS_MAX} indexes, checks and foreign keys");
            return Err(QueryError::new("54000", message));
        }
        Ok(())
    }

    fn constraint(&mut self, def: &mut TableDef, constraint: &TableConstraint) -> QueryResult<()> {
        match constraint {
            TableConstraint::PrimaryKey(primary) => {
                check_characteristics(primary.characteristics.as_ref())?;
                if def.primary.is_some() {
                    let table = &def.name;
                    let message =
                        format!("multiple primary keys for table \"{table}\" are not allowed");
                    return Err(QueryError::new("42P16", message));
                }
                let columns = self.key_columns(def, &primary.columns)?;
                for id in &columns {
                    let place = def.place_of(*id)?;
                    def.columns[place].not_null = true;
                }
                let name = self.constraint_name(def, primary.name.as_ref(), || {
                    vec![def.name.clone(), "pkey".into()]
                })?;
                let (index, constraint) = (self.redefine.number(), self.redefine.number());
                def.primary = Some(Primary { index, constraint, name, columns });
            }
            TableConstraint::Unique(unique) => {
                check_characteristics(unique.characteristics.as_ref())?;
                if unique.nulls_distinct == ast::NullsDistinctOption::NotDistinct {
                    return Err(QueryError::unsupported("UNIQUE NULLS NOT DISTINCT"));
                }
                let columns = self.key_columns(def, &unique.columns)?;
                let name = self.constraint_name(def, unique.name.as_ref(), || {
                    [vec![def.name.clone()], def.names(&columns), vec!["key".into()]].concat()
                })?;
                let constraint = Some(self.redefine.number());
                let number = self.redefine.number();
                let (unique, hidden) = (true, false);
                def.indexes.push(Index { number, name, columns, unique, constraint, hidden });
            }
            TableConstraint::Check(check) => self.check(def, check)?,
            TableConstraint::ForeignKey(foreign) => self.foreign(def, foreign)?,
            other => return Err(QueryError::unsupported(format!("the constraint {other}"))),
        }
        Ok(())
    }

    /// Numbers of the columns of a key, each once.
    pub(super) fn key_columns(
        &self,
        def: &TableDef,
        columns: &[IndexColumn],
    ) -> QueryResult<Vec<u32>> {
        let names = columns.iter().map(column_name).collect::<QueryResult<Vec<_>>>()?;
        self.named_columns(def, &names)
    }

    fn named_columns(&self, def: &TableDef, names: &[String]) -> QueryResult<Vec<u32>> {
        if names.len() > KEY_COLUMNS_MAX {
            let message = format!("a key may have {KEY_COLUMNS_MAX} columns");
            return Err(QueryError::new("54011", message));
        }
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            let Some(place) = def.place(name) else {
                let message = format!("column \"{name}\" named in key does not exist");
                return Err(QueryError::new("42703", message));
            };
            let id = def.columns[place].id;
            if out.contains(&id) {
                let message = format!("column \"{name}\" appears twice in a key");
                return Err(QueryError::new("42701", message));
            }
            out.push(id);
        }
        Ok(out)
    }

    /// The name that is given, or one made of parts; taken by nothing else.
    pub(super) fn constraint_name(
        &self,
        def: &TableDef,
        given: Option<&Ident>,
        parts: impl Fn() -> Vec<String>,
    ) -> QueryResult<String> {
        let preview = self.redefine.preview();
        let given = given.map(|given| schema::beside(&def.name, &folded(given)));
        let taken = |name: &str| {
            def.has_constraint(name)
                || def.indexes.iter().any(|index| index.name == name)
                || def.name == name
                || preview.is_taken(name)
        };
        if let Some(name) = given {
            check_name(&name, "constraint")?;
            return match taken(&name) {
                false => Ok(name),
                true if def.has_constraint(&name) => {
                    let table = &def.name;
                    let message =
                        format!("constraint \"{name}\" for relation \"{table}\" already exists");
                    Err(QueryError::new("42710", message))
                }
                true => Err(exists(&name)),
            };
        }
        let base = parts().join("_");
        let mut cut = base.len().min(NAME_BYTES_MAX - 8);
        while !base.is_char_boundary(cut) {
            cut -= 1;
        }
        let base = &base[..cut];
        let numbered = (1u32..).map(|n| format!("{base}{n}"));
        let mut names = std::iter::once(base.to_string()).chain(numbered);
        names
            .find(|name| !taken(name))
            .ok_or_else(|| QueryError::internal("no name for a constraint"))
    }

    fn check(&mut self, def: &mut TableDef, check: &ast::CheckConstraint) -> QueryResult<()> {
        expr::refuse_subqueries(&check.expr, "CHECK")?;
        let mut names = Names(HashSet::new());
        let _ = check.expr.visit(&mut names);
        let used = def.columns.iter().filter(|column| names.0.contains(&column.name));
        let columns: Vec<u32> = used.map(|column| column.id).collect();
        let text = text_of(&check.expr)?;
        let zone = self.context.settings.zone();
        let names = expr::Names::of(&def.name, &super::arrays::schema(def, zone))?;
        let fields = expr::fields(self.context, &[(*check.expr).clone()], &names, &[])?;
        if fields.iter().any(|field| *field.data_type() != DataType::Boolean) {
            let message = "argument of CHECK must be type boolean";
            return Err(QueryError::new("42804", message));
        }
        let name = self.constraint_name(def, check.name.as_ref(), || match columns.as_slice() {
            [_] => [vec![def.name.clone()], def.names(&columns), vec!["check".into()]].concat(),
            _ => vec![def.name.clone(), "check".into()],
        })?;
        let number = self.redefine.number();
        def.checks.push(Check { number, name, text, columns });
        Ok(())
    }

    fn foreign(
        &mut self,
        def: &mut TableDef,
        asked: &ast::ForeignKeyConstraint,
    ) -> QueryResult<()> {
        check_characteristics(asked.characteristics.as_ref())?;
        if matches!(asked.match_kind, Some(ref kind) if *kind != ast::ConstraintReferenceMatchKind::Simple)
        {
            return Err(QueryError::unsupported("MATCH FULL and MATCH PARTIAL"));
        }
        let names: Vec<String> = asked.columns.iter().map(folded).collect();
        let mut columns = self.named_columns(def, &names)?;
        let parent = table_name(&asked.foreign_table)?;
        let own = parent == def.name;
        let parent = match own {
            true => def.clone(),
            false => self.parent(&parent)?,
        };
        if def.temporary.is_some() != parent.temporary.is_some() {
            let message = match def.temporary {
                Some(_) => "constraints on temporary tables may reference only temporary tables",
                None => "constraints on permanent tables may reference only permanent tables",
            };
            return Err(QueryError::new("42P16", message));
        }
        let mut target = match asked.referred_columns.as_slice() {
            [] => match &parent.primary {
                Some(primary) => primary.columns.clone(),
                None => {
                    let table = &parent.name;
                    let message =
                        format!("there is no primary key for referenced table \"{table}\"");
                    return Err(QueryError::new("42704", message));
                }
            },
            names => {
                let names: Vec<String> = names.iter().map(folded).collect();
                let place = |name: &String| {
                    let place = parent.place(name);
                    place.map(|at| parent.columns[at].id).ok_or_else(|| {
                        let message = format!(
                            "column \"{name}\" referenced in foreign key constraint does not exist"
                        );
                        QueryError::new("42703", message)
                    })
                };
                names.iter().map(place).collect::<QueryResult<_>>()?
            }
        };
        if target.len() != columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(QueryError::new("42830", message));
        }
        if !own {
            let (identity, known) = (&self.context.identity, Known::of_relation(&parent));
            rights::check_references(identity, &self.context.engine, &target, &known)?;
        }
        in_order_of_key(&parent, &mut target, &mut columns)?;
        let name = self.constraint_name(def, asked.name.as_ref(), || {
            [vec![def.name.clone()], def.names(&columns), vec!["fkey".into()]].concat()
        })?;
        for (own, of) in columns.iter().zip(&target) {
            let (own, of) = (def.column(*own)?, parent.column(*of)?);
            if !own.kind.same_keys(of.kind) {
                let message = format!("foreign key constraint \"{name}\" cannot be implemented");
                return Err(QueryError::new("42804", message).with_detail(format!(
                    "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                    own.name, of.name, own.kind, of.kind
                )));
            }
        }
        let (number, index) = (self.redefine.number(), self.redefine.number());
        def.indexes.push(Index {
            number: index,
            name: format!("\u{1}{name}"),
            columns: columns.clone(),
            unique: false,
            constraint: None,
            hidden: true,
        });
        let (on_delete, on_update) =
            (action(asked.on_delete.as_ref())?, action(asked.on_update.as_ref())?);
        let table = parent.number;
        // Its rows have one more that may refer to them from now on.
        if !own {
            self.redefine.put(parent);
        }
        def.foreign.push(Foreign {
            number,
            name,
            columns,
            table,
            target,
            on_delete,
            on_update,
            index,
        });
        Ok(())
    }

    fn parent(&self, name: &str) -> QueryResult<TableDef> {
        let preview = self.redefine.preview();
        if let Some(parent) = preview.find(name) {
            return Ok(TableDef::clone(parent));
        }
        match self.context.snapshot.table(name) {
            Some(_) => {
                Err(QueryError::unsupported("a foreign key that refers to a time-series table"))
            }
            None => Err(QueryError::no_table(name)),
        }
    }
}

/// Puts a foreign key's columns into the order of the key that it refers to.
fn in_order_of_key(
    parent: &TableDef,
    target: &mut Vec<u32>,
    columns: &mut Vec<u32>,
) -> QueryResult<()> {
    let wanted: HashSet<u32> = target.iter().copied().collect();
    let fits = |ids: &[u32]| {
        ids.len() == target.len() && ids.iter().copied().collect::<HashSet<_>>() == wanted
    };
    let primary = parent.primary.iter().map(|primary| &primary.columns);
    let unique = parent.indexes.iter().filter(|index| index.unique).map(|index| &index.columns);
    let Some(key) = primary.chain(unique).find(|ids| fits(ids)) else {
        let message = format!(
            "there is no unique constraint matching given keys for referenced table \"{}\"",
            parent.name
        );
        return Err(QueryError::new("42830", message));
    };
    let own = |id: &u32| {
        let at = target.iter().position(|of| of == id)?;
        columns.get(at).copied()
    };
    let ordered: Option<Vec<u32>> = key.iter().map(own).collect();
    *columns = ordered.ok_or_else(|| QueryError::internal("a foreign key without its columns"))?;
    *target = key.clone();
    Ok(())
}

fn action(action: Option<&ReferentialAction>) -> QueryResult<Action> {
    Ok(match action {
        None | Some(ReferentialAction::NoAction) => Action::Refuse,
        Some(ReferentialAction::Restrict) => Action::Restrict,
        Some(ReferentialAction::Cascade) => Action::Cascade,
        Some(ReferentialAction::SetNull) => Action::SetNull,
        Some(ReferentialAction::SetDefault) => {
            return Err(QueryError::unsupported("SET DEFAULT of foreign keys"));
        }
    })
}

/// Constraints are looked at by each statement.
fn check_characteristics(given: Option<&ast::ConstraintCharacteristics>) -> QueryResult<()> {
    match given {
        Some(given)
            if given.deferrable == Some(true)
                || given.initially == Some(ast::DeferrableInitial::Deferred)
                || given.enforced == Some(false) =>
        {
            Err(QueryError::unsupported("DEFERRABLE and NOT ENFORCED constraints"))
        }
        _ => Ok(()),
    }
}

/// The integer behind a serial.
fn serial(kind: &ast::DataType) -> Option<Kind> {
    let ast::DataType::Custom(name, _) = kind else { return None };
    Some(match name.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => Kind::Int4,
        "bigserial" | "serial8" => Kind::Int8,
        "smallserial" | "serial2" => Kind::Int2,
        _ => return None,
    })
}

pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// The text of an expression that is kept, and reads back as the same.
fn text_of(expr: &Expr) -> QueryResult<String> {
    let text = expr.to_string();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("an expression of a table may have {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new("54000", message));
    }
    match expr::parse(&text) {
        Ok(read) if read.to_string() == text => Ok(text),
        _ => Err(QueryError::unsupported("this expression in a table")
            .with_detail(format!("It does not read back from its text: {text}"))),
    }
}
