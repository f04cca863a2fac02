//! CREATE, ALTER and DROP SEQUENCE, and sequences that come with columns.

use tsdb::Command;

use super::def::{Owned, SequenceDef, State, VERSION, bounds};
use super::put_state;
use crate::Outcome;
use crate::ddl::{apply, done, may_define};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::relational::SEQUENCES_MAX;
use crate::relational::def::{Redefine, Relations, TableDef, sequences_of};
use crate::relational::define::{check_name, exists, is_taken};
use crate::relational::kind::Kind;
use crate::schema;
use crate::session::Session;
use crate::statement::sequence::{Asked, OfSequence};

/// Between the parts of a name that has a schema.
const MARK: char = '\u{1}';

/// Runs the statement.
pub(crate) async fn run(session: &Session, of: &OfSequence) -> QueryResult<Outcome> {
    match of {
        OfSequence::Create { name, if_not_exists, asked } => {
            create(session, name, *if_not_exists, asked).await
        }
        OfSequence::Alter { name, if_exists, asked } => {
            alter(session, name, *if_exists, asked).await
        }
        OfSequence::Rename { name, if_exists, to } => rename(session, name, *if_exists, to).await,
        OfSequence::Drop { names, if_exists, cascade } => {
            drop(session, names, *if_exists, *cascade).await
        }
    }
}

async fn create(
    session: &Session,
    name: &str,
    if_not_exists: bool,
    asked: &Asked,
) -> QueryResult<Outcome> {
    may_define(session, "CREATE SEQUENCE")?;
    refuse_schema(name)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    if is_taken(session, name)? {
        return match if_not_exists {
            true => done("CREATE SEQUENCE"),
            false => Err(exists(name)),
        };
    }
    check_name(name, "sequence")?;
    let context = session.context("");
    let relations = context.relations()?;
    if relations.sequences.len() >= SEQUENCES_MAX {
        let message = format!("a database may have {SEQUENCES_MAX} sequences");
        return Err(QueryError::new("54000", message));
    }
    let mut redefine = Redefine::new(&relations);
    let kind = asked.kind.unwrap_or(Kind::Int8);
    let def = SequenceDef::new(redefine.number(), name.to_string(), kind);
    let mut def = shaped(def, asked, true)?;
    def.owned = owner(session, &relations, asked)?.flatten();
    redefine.put_sequence(def);
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    done("CREATE SEQUENCE")
}

async fn alter(
    session: &Session,
    name: &str,
    if_exists: bool,
    asked: &Asked,
) -> QueryResult<Outcome> {
    may_define(session, "ALTER SEQUENCE")?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let relations = session.context("").relations()?;
    let Some(old) = relations.find_sequence(name).cloned() else {
        return absent(session, name, if_exists, "ALTER SEQUENCE");
    };
    if asked.owned.is_some() && is_of_column(&relations, &old) {
        return Err(QueryError::unsupported("OWNED BY for the sequence of a column"));
    }
    let owned = owner(session, &relations, asked)?;
    let asked = asked.clone();
    let engine = engine.clone();
    let work = move || {
        let made = |state: State| {
            let mut new = shaped(SequenceDef::clone(&old), &asked, false)?;
            new.owned = owned.unwrap_or(old.owned);
            let state = match asked.restart {
                Some(to) => State { last: to.unwrap_or(new.start), called: false },
                None => state,
            };
            check_last(&new, state)?;
            let mut redefine = Redefine::new(&relations);
            redefine.change(put_state(new.number, state));
            redefine.put_sequence(new);
            Ok(vec![Command::Rows(redefine.command()?)])
        };
        engine.relational().sequences.redefine(engine.db(), &old, made)
    };
    session.blocking(work).await?;
    done("ALTER SEQUENCE")
}

async fn rename(session: &Session, name: &str, if_exists: bool, to: &str) -> QueryResult<Outcome> {
    may_define(session, "ALTER SEQUENCE")?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let relations = session.context("").relations()?;
    let Some(old) = relations.find_sequence(name) else {
        return absent(session, name, if_exists, "ALTER SEQUENCE");
    };
    let to = schema::beside(&old.name, to);
    check_name(&to, "sequence")?;
    if is_taken(session, &to)? {
        return Err(exists(&to));
    }
    let mut redefine = Redefine::new(&relations);
    redefine.put_sequence(SequenceDef { name: to, ..SequenceDef::clone(old) });
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    done("ALTER SEQUENCE")
}

async fn drop(
    session: &Session,
    names: &[String],
    if_exists: bool,
    cascade: bool,
) -> QueryResult<Outcome> {
    may_define(session, "DROP SEQUENCE")?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let _gate = engine.relational().gate.write().await;
    let relations = session.context("").relations()?;
    let mut redefine = Redefine::new(&relations);
    let mut told = Vec::new();
    for name in names {
        let Some(found) = relations.find_sequence(name) else {
            absent(session, name, if_exists, "DROP SEQUENCE")?;
            continue;
        };
        let shown = schema::bare(name);
        for table in &relations.list {
            let mut new = redefine.table(table.number).unwrap_or_else(|| TableDef::clone(table));
            let mut changed = false;
            for column in &mut new.columns {
                let own = column.sequence.as_ref().filter(|s| s.number == found.number);
                let (column_name, table_name) = (&column.name, schema::bare(&table.name));
                if own.is_some_and(|own| own.identity.is_some()) {
                    let message = format!(
                        "cannot drop sequence {shown} because column {column_name} of table \
                         {table_name} requires it"
                    );
                    let hint =
                        format!("You can drop column {column_name} of table {table_name} instead.");
                    return Err(QueryError::new("2BP01", message).with_hint(hint));
                }
                let text = column.default.as_deref().unwrap_or_default();
                let used = sequences_of(text).contains(&found.number);
                if own.is_none() && !used {
                    continue;
                }
                if !cascade {
                    let message =
                        format!("cannot drop sequence {shown} because other objects depend on it");
                    return Err(QueryError::new("2BP01", message)
                        .with_detail(format!(
                            "default value for column {column_name} of table {table_name} depends \
                             on sequence {shown}"
                        ))
                        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
                told.push(format!("default value for column {column_name} of table {table_name}"));
                column.sequence = None;
                if used {
                    column.default = None;
                }
                changed = true;
            }
            if changed {
                redefine.put(new);
            }
        }
        redefine.drop_sequence(found.number);
    }
    apply(session, vec![Command::Rows(redefine.command()?)]).await?;
    session.notice_cascades(&told);
    done("DROP SEQUENCE")
}

/// `0A000` for names in schemas, which hold none but those of their tables' columns.
fn refuse_schema(name: &str) -> QueryResult<()> {
    match name.contains(MARK) || schema::bare(name) != name {
        true => Err(QueryError::unsupported("a sequence outside of schema public")),
        false => Ok(()),
    }
}

/// What to say where there is no sequence of that name.
fn absent(session: &Session, name: &str, if_exists: bool, tag: &str) -> QueryResult<Outcome> {
    let shown = name.replace(MARK, ".");
    let shown = schema::bare(&shown);
    if is_taken(session, name)? {
        return Err(QueryError::new("42809", format!("\"{shown}\" is not a sequence")));
    }
    match if_exists {
        true => done(tag),
        false if tag == "DROP SEQUENCE" => {
            Err(QueryError::new("42P01", format!("sequence \"{shown}\" does not exist")))
        }
        false => Err(QueryError::no_table(shown)),
    }
}

/// Whether it numbers a serial or identity column.
fn is_of_column(relations: &Relations, sequence: &SequenceDef) -> bool {
    let of = |table: &TableDef| {
        let mut all = table.columns.iter().filter_map(|column| column.sequence.as_ref());
        all.any(|own| own.number == sequence.number)
    };
    relations.list.iter().any(|table| of(table))
}

/// What OWNED BY asks for; `None` where it is not said.
fn owner(
    session: &Session,
    relations: &Relations,
    asked: &Asked,
) -> QueryResult<Option<Option<Owned>>> {
    let Some(owner) = &asked.owned else { return Ok(None) };
    let Some((table, column)) = owner else { return Ok(Some(None)) };
    let Some(table) = relations.find(table) else {
        return match is_taken(session, table)? {
            true => Err(QueryError::unsupported("OWNED BY anything but a relational table")),
            false => Err(QueryError::no_table(table)),
        };
    };
    let found = table.columns.iter().find(|found| found.name == *column);
    let found = found.ok_or_else(|| QueryError::no_column(column, &table.name))?;
    Ok(Some(Some(Owned { table: table.number, column: found.id })))
}

/// A sequence with what is asked for.
pub(crate) fn shaped(mut def: SequenceDef, asked: &Asked, new: bool) -> QueryResult<SequenceDef> {
    let invalid = |message: String| Err(QueryError::new("22023", message));
    let before = bounds(def.kind);
    if let Some(kind) = asked.kind {
        // Bounds of the old type become those of the new.
        if def.max == before.1 {
            def.max = bounds(kind).1;
        }
        if def.min == before.0 {
            def.min = bounds(kind).0;
        }
        def.kind = kind;
    }
    def.v = VERSION;
    let (least, most) = bounds(def.kind);
    if let Some(increment) = asked.increment {
        if increment == 0 {
            return invalid("INCREMENT must not be zero".into());
        }
        def.increment = increment;
    }
    let up = def.increment > 0;
    match asked.max {
        Some(Some(max)) => def.max = max,
        Some(None) => def.max = if up { most } else { -1 },
        None if new => def.max = if up { most } else { -1 },
        None => {}
    }
    match asked.min {
        Some(Some(min)) => def.min = min,
        Some(None) => def.min = if up { 1 } else { least },
        None if new => def.min = if up { 1 } else { least },
        None => {}
    }
    for (what, bound) in [("MAXVALUE", def.max), ("MINVALUE", def.min)] {
        if !(least..=most).contains(&bound) {
            let kind = def.kind;
            return invalid(format!(
                "{what} ({bound}) is out of range for sequence data type {kind}"
            ));
        }
    }
    let (min, max) = (def.min, def.max);
    if min >= max {
        return invalid(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"));
    }
    match asked.start {
        Some(start) => def.start = start,
        None if new => def.start = if up { min } else { max },
        None => {}
    }
    let start = def.start;
    if start < min {
        return invalid(format!("START value ({start}) cannot be less than MINVALUE ({min})"));
    }
    if start > max {
        return invalid(format!("START value ({start}) cannot be greater than MAXVALUE ({max})"));
    }
    if let Some(cache) = asked.cache {
        if cache <= 0 {
            return invalid(format!("CACHE ({cache}) must be greater than zero"));
        }
        def.cache = cache;
    }
    def.cycle = asked.cycle.unwrap_or(def.cycle);
    Ok(def)
}

/// `22023` where a sequence would be outside of its bounds.
fn check_last(def: &SequenceDef, state: State) -> QueryResult<()> {
    let (last, min, max) = (state.last, def.min, def.max);
    if last < min {
        let message = format!("RESTART value ({last}) cannot be less than MINVALUE ({min})");
        return Err(QueryError::new("22023", message));
    }
    if last > max {
        let message = format!("RESTART value ({last}) cannot be greater than MAXVALUE ({max})");
        return Err(QueryError::new("22023", message));
    }
    Ok(())
}

/// Whether a table of series or a view has the name.
fn is_other(context: &PlanContext, name: &str) -> bool {
    context.snapshot.table(name).is_some()
        || context.views().is_ok_and(|views| views.find_lasting(name).is_some())
}

/// The sequence of a new serial or identity column.
pub(crate) fn of_column(
    context: &PlanContext,
    redefine: &mut Redefine<'_>,
    table: &TableDef,
    column: (u32, &str),
    kind: Kind,
    asked: &Asked,
) -> QueryResult<u32> {
    let number = redefine.number();
    let bare = schema::bare(&table.name);
    let base = format!("{bare}_{}_seq", column.1);
    let preview = redefine.preview();
    let mut names = std::iter::once(base.clone()).chain((1u32..).map(|n| format!("{base}{n}")));
    let is_free = |name: &String| {
        let name = schema::beside(&table.name, name);
        name != table.name
            && !preview.is_taken(&name)
            && (table.temporary.is_some() || !is_other(context, &name))
    };
    let name = names.find(is_free).ok_or_else(|| QueryError::internal("no free name"))?;
    let name = schema::beside(&table.name, &name);
    check_name(&name, "sequence")?;
    let def = shaped(SequenceDef::new(number, name, kind), asked, true)?;
    let owned = Some(Owned { table: table.number, column: column.0 });
    redefine.put_sequence(SequenceDef { owned, ..def });
    Ok(number)
}
