//! Names of the one database and of its schemas.

/// Name of the one database.
pub(crate) const DATABASE: &str = "millrace";
/// Name of the schema that tables live in.
pub(crate) const SCHEMA: &str = "public";
/// Schema under which a statement that changes rows finds tables with the identity of their rows.
/// No user can name it.
pub(crate) const ROWS: &str = "\u{1}rows";
