//! A data folder opened by this process, for commands that work without a server.

use std::path::Path;
use std::sync::Arc;

use ingest::{LineLimits, LineWriter};
use tsdb::Db;

use crate::failure::Result;
use crate::keys::KeyArgs;

/// An open folder.
pub struct Folder {
    db: Arc<Db>,
}

impl Folder {
    /// Opens a folder that must exist; refused while a server has it open.
    pub fn open(path: &Path, keys: &KeyArgs) -> Result<Folder> {
        let storage = keys.open(path)?;
        let connector = Arc::new(crate::objects::CloudConnector::default());
        let options = tsdb::Options { connector, ..tsdb::Options::default() };
        let db = Db::open(storage, options)?;
        Ok(Folder { db })
    }

    /// The database.
    pub fn db(&self) -> &Arc<Db> {
        &self.db
    }

    /// A road for line protocol.
    pub fn lines(&self) -> Arc<LineWriter> {
        LineWriter::new(self.db.clone(), LineLimits::default())
    }

    /// Closes it, so that everything is on disk and the next start is quick.
    pub fn close(self) -> Result<()> {
        Ok(self.db.close()?)
    }
}
