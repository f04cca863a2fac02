//! Results as text: a table as psql draws it, or CSV.

use std::io::Write;

use crate::failure::Result;

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Columns side by side, padded.
    Table,
    /// Comma separated, with a header.
    Csv,
}

/// Rows drawn in one table; a longer result is drawn in several, so that memory stays bounded.
const TABLE_ROWS: usize = 1000;

/// Writes one result, row by row.
pub struct Printer<W: Write> {
    out: W,
    shape: Shape,
    names: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    count: u64,
    header_done: bool,
}

impl<W: Write> Printer<W> {
    /// A printer of a result with these columns.
    pub fn new(out: W, shape: Shape, names: Vec<String>) -> Printer<W> {
        Printer { out, shape, names, rows: Vec::new(), count: 0, header_done: false }
    }

    /// Takes a row; `None` is null.
    pub fn row(&mut self, row: Vec<Option<String>>) -> Result<()> {
        self.count += 1;
        self.rows.push(row);
        if self.rows.len() >= TABLE_ROWS { self.draw() } else { Ok(()) }
    }

    /// Writes what is left and, under a table, the number of rows.
    pub fn finish(mut self) -> Result<()> {
        self.draw()?;
        if self.shape == Shape::Table {
            let plural = if self.count == 1 { "" } else { "s" };
            writeln!(self.out, "({} row{plural})\n", self.count)?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn draw(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() && self.header_done {
            return Ok(());
        }
        match self.shape {
            Shape::Table => self.draw_table(&rows),
            Shape::Csv => self.draw_csv(&rows),
        }
    }

    fn draw_csv(&mut self, rows: &[Vec<Option<String>>]) -> Result<()> {
        let mut lines = Vec::new();
        if !self.header_done {
            lines.push(self.names.iter().map(|name| csv_cell(Some(name))).collect::<Vec<_>>());
            self.header_done = true;
        }
        lines.extend(rows.iter().map(|row| row.iter().map(|c| csv_cell(c.as_deref())).collect()));
        for line in lines {
            writeln!(self.out, "{}", line.join(","))?;
        }
        Ok(())
    }

    fn draw_table(&mut self, rows: &[Vec<Option<String>>]) -> Result<()> {
        let mut widths: Vec<usize> = self.names.iter().map(|name| width(name)).collect();
        for row in rows {
            for (at, cell) in row.iter().enumerate() {
                widths[at] = widths[at].max(cell.as_deref().map_or(0, width));
            }
        }
        let titles: Vec<String> = self
            .names
            .iter()
            .zip(&widths)
            .map(|(name, w)| format!(" {} ", centre(name, *w)))
            .collect();
        writeln!(self.out, "{}", titles.join("|").trim_end())?;
        let rule: Vec<String> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
        writeln!(self.out, "{}", rule.join("+"))?;
        self.header_done = true;
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, w)| {
                    let text = cell.as_deref().unwrap_or("");
                    let pad = " ".repeat(w - width(text));
                    // Numbers to the right, as everybody reads them.
                    if text.parse::<f64>().is_ok() {
                        format!(" {pad}{text} ")
                    } else {
                        format!(" {text}{pad} ")
                    }
                })
                .collect();
            writeln!(self.out, "{}", cells.join("|").trim_end())?;
        }
        Ok(())
    }
}

/// A null is an empty cell, an empty text is quoted, so that the two stay apart.
fn csv_cell(cell: Option<&str>) -> String {
    match cell {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn centre(text: &str, to: usize) -> String {
    let spare = to - width(text);
    format!("{}{text}{}", " ".repeat(spare / 2), " ".repeat(spare - spare / 2))
}

#[cfg(test)]
mod tests {
    //! Tests of drawing.
    use super::*;

    fn check(shape: Shape, rows: &[&[Option<&str>]], text: &str) {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, shape, vec!["host".into(), "n".into()]);
        for row in rows {
            printer.row(row.iter().map(|cell| cell.map(str::to_owned)).collect()).unwrap();
        }
        printer.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn shapes() {
        let rows: &[&[Option<&str>]] = &[&[Some("a,\"b"), Some("1")], &[None, Some("100")]];
        check(Shape::Csv, rows, "host,n\n\"a,\"\"b\",1\n,100\n");
        check(
            Shape::Table,
            rows,
            " host |  n\n------+-----\n a,\"b |   1\n      | 100\n(2 rows)\n\n",
        );
        check(Shape::Csv, &[], "host,n\n");
        check(Shape::Csv, &[&[Some(""), None]], "host,n\n\"\",\n");
    }
}
