//! Statements on a folder opened by this process, with all rights: who can read its files can
//! read its rows.

use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use query::{Engine, Identity, Outcome, QueryOptions, RoleSettings, Session};

use super::table::{Printer, Shape};
use crate::failure::{Failure, Result};
use crate::folder::Folder;
use crate::keys::KeyArgs;

/// Runs statements on a folder.
pub struct FolderRunner {
    folder: Folder,
    session: Session,
}

impl FolderRunner {
    /// Opens a folder that must exist.
    pub fn open(path: &Path, keys: &KeyArgs) -> Result<FolderRunner> {
        let folder = Folder::open(path, keys)?;
        let (users, made) = management::Users::open(folder.db().clone(), None)?;
        if let Some(password) = made {
            eprintln!("made user `admin` with password {password}");
        }
        let options = QueryOptions {
            spill_folder: path.join("spill"),
            spill_folder_owned: true,
            ..QueryOptions::default()
        };
        let engine = Engine::new(folder.db().clone(), users, options)?;
        let identity = Identity {
            user: "admin".into(),
            oid: 10,
            superuser: true,
            can_read: true,
            can_write: true,
            can_define: true,
            settings: RoleSettings::default(),
        };
        let session = engine.session(identity, &[]);
        Ok(FolderRunner { folder, session })
    }

    /// Runs the statements of a text and prints what comes of them.
    pub async fn run(&self, sql: &str, shape: Shape) -> Result<()> {
        for statement in self.session.parse(sql)? {
            match self.session.execute(&statement, &[]).await? {
                Outcome::Rows { schema, mut stream, .. } => {
                    let names = schema.fields().iter().map(|f| f.name().clone()).collect();
                    let mut printer = Printer::new(std::io::stdout().lock(), shape, names);
                    while let Some(batch) = stream.next().await {
                        let batch = batch.map_err(|error| Failure::new(error.to_string()))?;
                        print_batch(&batch, &mut printer)?;
                    }
                    printer.finish()?;
                }
                Outcome::Done { tag } | Outcome::Set { tag, .. } => eprintln!("{tag}"),
                Outcome::CopyIn { .. } | Outcome::CopyOut { .. } => {
                    return Err(Failure::new(
                        "COPY needs a server: connect to one, with psql or a driver",
                    ));
                }
                Outcome::Empty => {}
            }
        }
        Ok(())
    }

    /// Closes the folder.
    pub fn close(self) -> Result<()> {
        let FolderRunner { folder, session: _ } = self;
        folder.close()
    }
}

fn print_batch<W: std::io::Write>(
    batch: &arrow::array::RecordBatch,
    printer: &mut Printer<W>,
) -> Result<()> {
    let options = FormatOptions::default()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|array| Ok((array, ArrayFormatter::try_new(array.as_ref(), &options)?)))
        .collect::<std::result::Result<_, arrow::error::ArrowError>>()
        .map_err(|error| Failure::new(error.to_string()))?;
    for at in 0..batch.num_rows() {
        let row = columns.iter().map(|(array, text)| {
            (!arrow::array::Array::is_null(array, at)).then(|| text.value(at).to_string())
        });
        printer.row(row.collect())?;
    }
    Ok(())
}
