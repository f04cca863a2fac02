//! What a started server says on standard output: doors, first password, what to type next.
//! Programs that start a server read the lines of the doors.

use std::io::Write;
use std::path::Path;

use tsdb::Db;

use super::doors::Running;
use crate::failure::Result;
use crate::settings::Settings;

/// Prints the welcome and flushes it.
pub fn print(
    settings: &Settings,
    folder: &Path,
    running: &Running,
    db: &Db,
    made_password: Option<&str>,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Millrace {}", env!("CARGO_PKG_VERSION"))?;
    let tables = db.snapshot().tables().len();
    writeln!(out, "  data      {} ({tables} tables)", folder.display())?;
    let tls = settings.text("tls");
    for door in &running.doors {
        let note = match (door.name, tls) {
            (_, "off") => "",
            ("line", _) => "",
            ("postgres", "allow") => "  (TLS if the client asks)",
            _ => "  (TLS)",
        };
        writeln!(out, "  {:<9} {}{note}", door.name, door.address)?;
    }
    if let Some((folder, port)) = &running.socket {
        writeln!(out, "  {:<9} {} port {port}", "socket", folder.display())?;
    }
    if let Some(password) = made_password {
        writeln!(out, "\nFirst start: made user `admin` with password  {password}")?;
        writeln!(out, "It is shown this once; ALTER USER admin PASSWORD '…' changes it.")?;
    }
    let address = |name: &str| running.doors.iter().find(|d| d.name == name).map(|d| d.address);
    let scheme = if tls == "off" { "http" } else { "https" };
    let insecure = if tls == "off" { "" } else { " -k" };
    writeln!(out, "\nTo type next:")?;
    if let Some(http) = address("http") {
        writeln!(
            out,
            "  curl{insecure} -u admin:PASSWORD {scheme}://{http}/write --data-binary \
             'weather,site=roof temperature=21.5'"
        )?;
    }
    if let Some(pg) = address("postgres") {
        writeln!(
            out,
            "  psql -h {} -p {} -U admin -d millrace -c 'SELECT * FROM weather'",
            pg.ip(),
            pg.port()
        )?;
    }
    if let Some((folder, port)) = &running.socket {
        let folder = folder.display();
        writeln!(out, "  psql -h '{folder}' -p {port} -U admin -d millrace -c 'SELECT 1'")?;
    }
    writeln!(out, "Ctrl-C stops the server.")?;
    out.flush()?;
    Ok(())
}
