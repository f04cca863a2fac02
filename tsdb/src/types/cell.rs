//! Cell states: absent, null, or value, each with a quality.

/// How far a reading can be trusted (OPC UA part 8: good, uncertain, bad; clause 5.3.1d, e).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quality {
    /// The reading is trusted; OPC classic 192.
    Good = 0,
    /// The reading is suspect; OPC classic 64.
    Uncertain = 1,
    /// The reading is wrong or missing; OPC classic 0.
    Bad = 2,
}

impl Quality {
    /// Name as SQL shows it in `x__quality`.
    pub fn name(self) -> &'static str {
        match self {
            Quality::Good => "good",
            Quality::Uncertain => "uncertain",
            Quality::Bad => "bad",
        }
    }

    /// Reads the name that [`Quality::name`] gives; `suspect` is accepted for `uncertain`.
    pub fn from_name(name: &str) -> Option<Quality> {
        match name {
            "good" => Some(Quality::Good),
            "uncertain" | "suspect" => Some(Quality::Uncertain),
            "bad" => Some(Quality::Bad),
            _ => None,
        }
    }
}

/// State of one cell in one byte (FORMAT.md, "Cells"): bits 0-1 presence (0 absent, 1 null,
/// 2 value), bits 2-3 quality (0 good, 1 uncertain, 2 bad), bits 4-7 zero. An absent cell is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CellState(pub u8);

impl CellState {
    /// Not sent: never overwrites anything.
    pub const ABSENT: CellState = CellState(0);
    /// Explicit null of good quality: overwrites.
    pub const NULL: CellState = CellState(1);
    /// A value of good quality: the ordinary case.
    pub const GOOD: CellState = CellState(2);

    /// A value with a quality.
    pub const fn value(quality: Quality) -> CellState {
        CellState(2 | (quality as u8) << 2)
    }

    /// A null with a quality (a bad reading without a value).
    pub const fn null(quality: Quality) -> CellState {
        CellState(1 | (quality as u8) << 2)
    }

    /// Whether nothing was sent for this cell.
    pub const fn is_absent(self) -> bool {
        self.0 & 3 == 0
    }

    /// Whether the cell is an explicit null.
    pub const fn is_null(self) -> bool {
        self.0 & 3 == 1
    }

    /// Whether the cell holds a value (of any quality).
    pub const fn is_value(self) -> bool {
        self.0 & 3 == 2
    }

    /// Quality of the cell; good for an absent one.
    pub const fn quality(self) -> Quality {
        match self.0 >> 2 & 3 {
            0 => Quality::Good,
            1 => Quality::Uncertain,
            _ => Quality::Bad,
        }
    }

    /// Whether the byte is one that a writer can have written.
    pub const fn is_valid(self) -> bool {
        matches!(self.0, 0 | 1 | 2 | 5 | 6 | 9 | 10)
    }
}
