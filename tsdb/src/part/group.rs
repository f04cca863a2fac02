//! Rows on their way into a row group.

use super::PartSpec;
use crate::codec::ValuesRef;
use crate::error::{Error, Result};
use crate::types::{
    CellState, Column, ColumnBuilder, ColumnId, PhysicalType, Rows, SeriesRows, Values,
};

/// Rows of a piece that is copied at once.
pub const PIECE_ROWS_MAX: usize = 512;

/// Rows gathered for the next groups, in order.
#[derive(Debug)]
pub struct Pending {
    /// Columns of the part in ascending number.
    pub columns: Vec<(ColumnId, PhysicalType)>,
    builders: Vec<ColumnBuilder>,
    series: Vec<SeriesRows>,
    times: Vec<i64>,
    /// Bytes of each row, decoded.
    row_bytes: Vec<u32>,
    bytes: usize,
    /// Series and time of the last row ever pushed.
    last: Option<(u32, i64)>,
}

/// A group about to be encoded: the first `rows` rows of longer columns.
#[derive(Debug)]
pub struct Group {
    pub series: Vec<SeriesRows>,
    pub times: Vec<i64>,
    columns: Vec<Column>,
}

impl Group {
    /// Rows of the group.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Cells `start..end` of a column.
    pub fn cells(&self, column: usize, start: usize, end: usize) -> (ValuesRef<'_>, Option<&[u8]>) {
        let column = &self.columns[column];
        let states = column.states.as_ref().map(|s| &s[start..end]);
        (ValuesRef::slice(&column.values, start, end), states)
    }
}

impl Pending {
    /// No rows yet; columns sorted and checked.
    pub fn new(spec: &PartSpec) -> Result<Pending> {
        let mut columns = spec.columns.clone();
        columns.sort_by_key(|(id, _)| *id);
        if let Some(twice) = columns.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(Error::Invalid(format!("column {} twice in a part", twice[0].0)));
        }
        let builders = columns.iter().map(|(_, kind)| ColumnBuilder::new(*kind, 0)).collect();
        Ok(Pending {
            columns,
            builders,
            series: Vec::new(),
            times: Vec::new(),
            row_bytes: Vec::new(),
            bytes: 0,
            last: None,
        })
    }

    /// Rows gathered.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes gathered, decoded.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// First gathered row of the last series.
    pub fn last_start(&self) -> usize {
        self.series.last().map_or(0, |run| run.start as usize)
    }

    /// Series of the last row gathered.
    pub fn last_series(&self) -> Option<u32> {
        self.series.last().map(|run| run.series)
    }

    /// Rows from the first on that stay within both bounds; at least one.
    pub fn rows_within(&self, rows_max: usize, bytes_max: usize) -> usize {
        let mut bytes = 0usize;
        let fit = self.row_bytes.iter().take(rows_max).take_while(|b| {
            bytes += **b as usize;
            bytes <= bytes_max
        });
        fit.count().max(1)
    }

    /// Checks rows against the columns and the order, changing nothing. Gives the index into
    /// `rows.columns` of each of the part's columns.
    pub fn check(&self, rows: &Rows) -> Result<Vec<Option<usize>>> {
        self.check_order(rows)?;
        let mut sources = vec![None; self.columns.len()];
        for (index, (id, column)) in rows.columns.iter().enumerate() {
            let Ok(at) = self.columns.binary_search_by_key(id, |(id, _)| *id) else {
                return Err(Error::Invalid(format!("column {id} is not one of the part's")));
            };
            let kind = self.columns[at].1;
            let got = column.values.physical();
            if got != kind && (got, kind) != (PhysicalType::Int, PhysicalType::Float) {
                return Err(Error::TypeMismatch(format!("column {id}: {got:?} for {kind:?}")));
            }
            let states = column.states.as_deref();
            if column.len() != rows.len()
                || states.is_some_and(|s| {
                    s.len() != rows.len() || !s.iter().all(|b| CellState(*b).is_valid())
                })
                || sources[at].replace(index).is_some()
            {
                return Err(Error::Invalid(format!("column {id} has wrong cells")));
            }
            if let Values::Bytes(texts) = &column.values
                && texts.iter().any(|text| text.len() > super::VALUE_BYTES_MAX)
            {
                return Err(Error::Invalid(format!("column {id}: a value over 16 MiB")));
            }
        }
        Ok(sources)
    }

    fn check_order(&self, rows: &Rows) -> Result<()> {
        let mut last = self.last;
        let mut end = 0;
        for run in &rows.series {
            let times = rows.times.get(run.start as usize..run.start as usize + run.rows as usize);
            let (Some(times @ [first, .., latest] | times @ [first @ latest]), true) =
                (times, run.start == end)
            else {
                return Err(Error::Invalid("rows of series with gaps".into()));
            };
            let follows = match last {
                Some((series, time)) if series == run.series => time <= *first,
                Some((series, _)) => series < run.series,
                None => true,
            };
            if !follows || !times.is_sorted() {
                return Err(Error::Invalid("rows out of order".into()));
            }
            last = Some((run.series, *latest));
            end = run.start + run.rows;
        }
        if end as usize != rows.len() {
            return Err(Error::Invalid("rows without a series".into()));
        }
        Ok(())
    }

    /// Bytes of each of the rows from `start` on, for at most a piece or until `bytes_max`.
    pub fn piece(rows: &Rows, start: usize, end: usize, bytes_max: usize) -> Vec<u32> {
        let mut fixed = 8u32;
        let mut texts = Vec::new();
        for (_, column) in &rows.columns {
            match &column.values {
                Values::Int(_) | Values::Float(_) => fixed += 8,
                Values::Bool(_) => fixed += 1,
                Values::Bytes(v) => {
                    fixed += 4;
                    texts.push(v);
                }
            }
        }
        let mut piece = Vec::new();
        let mut bytes = 0usize;
        for row in start..end.min(start + PIECE_ROWS_MAX) {
            let text: usize = texts.iter().map(|t| t.get(row).len()).sum();
            let row_bytes = (fixed as usize).saturating_add(text);
            bytes = bytes.saturating_add(row_bytes);
            if bytes > bytes_max && !piece.is_empty() {
                break;
            }
            piece.push(u32::try_from(row_bytes).unwrap_or(u32::MAX));
        }
        piece
    }

    /// Appends rows of one series; `sources` are those of [`Pending::check`], `piece` those of
    /// [`Pending::piece`].
    pub fn push(
        &mut self,
        series: u32,
        rows: &Rows,
        sources: &[Option<usize>],
        start: usize,
        piece: &[u32],
    ) {
        let end = start + piece.len();
        match self.series.last_mut() {
            Some(run) if run.series == series => run.rows += piece.len() as u32,
            _ => self.series.push(SeriesRows {
                series,
                start: self.times.len() as u32,
                rows: piece.len() as u32,
            }),
        }
        self.times.extend_from_slice(&rows.times[start..end]);
        self.row_bytes.extend_from_slice(piece);
        self.bytes += piece.iter().map(|b| *b as usize).sum::<usize>();
        for (builder, source) in self.builders.iter_mut().zip(sources) {
            match source {
                Some(index) => builder.extend_range(&rows.columns[*index].1, start, end),
                None => builder.push_absent(piece.len()),
            }
        }
        self.last = self.times.last().map(|time| (series, *time));
    }

    /// Takes the first `rows` rows as a group.
    pub fn take(&mut self, rows: usize) -> Group {
        let left = self.times.split_off(rows);
        let times = std::mem::replace(&mut self.times, left);
        let mut columns = Vec::with_capacity(self.builders.len());
        for (builder, (_, kind)) in self.builders.iter_mut().zip(&self.columns) {
            let column = std::mem::replace(builder, ColumnBuilder::new(*kind, 0)).finish();
            builder.extend_range(&column, rows, column.len());
            columns.push(column);
        }
        self.bytes -= self.row_bytes.drain(..rows).map(|b| b as usize).sum::<usize>();
        let (mut series, mut left) = (Vec::new(), Vec::new());
        for run in self.series.drain(..) {
            let (start, end) = (run.start as usize, (run.start + run.rows) as usize);
            if start < rows {
                series.push(SeriesRows { rows: (end.min(rows) - start) as u32, ..run });
            }
            if end > rows {
                let from = start.max(rows);
                left.push(SeriesRows {
                    series: run.series,
                    start: (from - rows) as u32,
                    rows: (end - from) as u32,
                });
            }
        }
        self.series = left;
        Group { series, times, columns }
    }
}
