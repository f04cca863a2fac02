//! TRUNCATE of relational tables: all rows and entries go by their prefixes.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast;

use super::sequence::Sequences;
use crate::error::{QueryError, QueryResult};
use crate::rights::{self, acl::Mode};
use crate::session::{Session, in_block};

/// Empties tables.
///
/// # Errors
/// `0A000` where another table refers to one of them.
pub(crate) async fn truncate(
    session: &Session,
    truncate: &ast::Truncate,
    names: &[String],
) -> QueryResult<()> {
    let restart = truncate.identity == Some(ast::TruncateIdentityOption::Restart);
    if restart && session.in_any_block() {
        return Err(in_block("TRUNCATE … RESTART IDENTITY"));
    }
    let cascade = truncate.cascade == Some(ast::CascadeOption::Cascade);
    let context = session.context("");
    let relations = context.relations()?;
    let mut numbers = BTreeSet::new();
    for name in names {
        let def = relations.find(name).ok_or_else(|| QueryError::no_table(name))?;
        super::check_rights(session, def, "TRUNCATE TABLE", Mode::TRUNCATE, &[])?;
        if restart && def.temporary.is_none() {
            rights::may_alter(session, "TRUNCATE TABLE", name)?;
        }
        numbers.insert(def.number);
    }
    let mut queue: Vec<u32> = numbers.iter().copied().collect();
    while let Some(number) = queue.pop() {
        for referrer in relations.referrers(number) {
            if numbers.contains(&referrer.table) {
                continue;
            }
            let (parent, child) = (relations.table(number)?, relations.table(referrer.table)?);
            if !cascade {
                let message = "cannot truncate a table referenced in a foreign key constraint";
                let detail = format!("Table \"{}\" references \"{}\".", child.name, parent.name);
                return Err(QueryError::new("0A000", message).with_detail(detail).with_hint(
                    format!(
                        "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                        child.name
                    ),
                ));
            }
            super::check_rights(session, child, "TRUNCATE TABLE", Mode::TRUNCATE, &[])?;
            numbers.insert(referrer.table);
            queue.push(referrer.table);
        }
    }
    let mut view = context.rows_view();
    let mut storages = Vec::new();
    for number in &numbers {
        let def = relations.table(*number)?;
        view.relies_on(def);
        view.clear_table(def);
        view.grow(*number, 0);
        storages.push(def.storage);
    }
    session.write_rows(context.snapshot.clone(), view.pending).await?;
    storages.iter().for_each(|storage| session.engine().relational().forget(*storage));
    if restart {
        for number in &numbers {
            let owned = relations
                .sequences
                .iter()
                .filter(|sequence| sequence.owned.is_some_and(|owned| owned.table == *number));
            for sequence in owned {
                Sequences::restart(session, sequence.clone()).await?;
            }
        }
    }
    Ok(())
}
