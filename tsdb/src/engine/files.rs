//! Every file name of a database in one place (FORMAT.md, "Folder").

use crate::types::TableId;

/// Folder of parts.
pub const PARTS: &str = "parts";
/// Folder of series files.
pub const SERIES: &str = "series";
/// Folder of version logs.
pub const VERSIONS: &str = "version";
/// Folder of the log.
pub const LOG: &str = "log";
/// Folder of the row store.
pub const ROWS: &str = "rows";
/// The row store.
pub const ROW_STORE: &str = "rows/rows.redb";
/// Who this database is: written once, at creation.
pub const IDENTITY: &str = "database";
/// Files of the root folder that a database cannot do without; a backup has them.
pub const ROOT: &[&str] = &[IDENTITY];
/// Ending of files that are being written; removed at open.
pub const UNFINISHED: &str = ".tmp";

/// A part of a table.
pub fn part(table: TableId, id: u64) -> String {
    format!("{PARTS}/{table:08}-{id:016}.part")
}

/// The index of an archived part.
pub fn index(table: TableId, id: u64) -> String {
    format!("{PARTS}/{table:08}-{id:016}.index")
}

/// The last rows of a table.
pub fn last(table: TableId, id: u64) -> String {
    format!("{PARTS}/{table:08}-{id:016}.last")
}

/// Series `from..to` of a table.
pub fn series(table: TableId, from: u32, to: u32) -> String {
    format!("{SERIES}/{table:08}-{from:010}-{to:010}.series")
}

/// A version log.
pub fn version(number: u64) -> String {
    format!("{VERSIONS}/{number:016}.version")
}

/// The number in the name of a version log.
pub fn version_number(name: &str) -> Option<u64> {
    name.strip_suffix(".version")?.parse().ok()
}
