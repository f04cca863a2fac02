//! Names of the one database and of its schemas.

/// Name of the one database.
pub(crate) const DATABASE: &str = "millrace";
/// Name of the schema that tables live in.
pub(crate) const SCHEMA: &str = "public";
