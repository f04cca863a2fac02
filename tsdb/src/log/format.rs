//! Headers and names of the log, byte for byte as `FORMAT.md` has them under "Log".

use super::{LOG_FOLDER, LogOptions};
use crate::checksum;
use crate::crypto::RECORDS_START;

/// Length of a segment's header.
pub const SEGMENT_HEADER_BYTES: u64 = 64;
/// Length of a record's header.
pub const RECORD_HEADER_BYTES: u64 = 48;
/// Records begin at multiples of this.
pub(super) const ALIGN_BYTES: u64 = 8;

const MAGIC: [u8; 8] = *b"MRLOG\0\0\x01";
const VERSION: u16 = 1;
/// Flag of a segment whose payloads are sealed.
pub(super) const SEALED: u16 = 1;
/// Schema version of payloads written now.
const SCHEMA_VERSION: u16 = 0;

/// Bytes the checksum of a header covers.
const SEGMENT_SUMMED: usize = 60;
const RECORD_SUMMED: usize = 44;
/// Bytes of a record's header that the sealing of its payload authenticates.
const RECORD_BOUND: usize = 36;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The commands of one commit.
    Commands,
    /// Says what is durable; takes no position.
    Mark,
    /// Opens a term.
    NoOp,
    /// A vote; takes no position.
    Vote,
}

impl Kind {
    /// The number on disk.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Kind::Commands => 1,
            Kind::Mark => 2,
            Kind::NoOp => 3,
            Kind::Vote => 4,
        }
    }

    fn of(code: u16) -> Option<Kind> {
        match code {
            1 => Some(Kind::Commands),
            2 => Some(Kind::Mark),
            3 => Some(Kind::NoOp),
            4 => Some(Kind::Vote),
            _ => None,
        }
    }

    /// Whether a record of this kind takes a position of its own.
    #[must_use]
    pub fn takes_position(self) -> bool {
        matches!(self, Kind::Commands | Kind::NoOp)
    }
}

/// Why a header was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The bytes are not a header: torn or damaged.
    Damaged(&'static str),
    /// The checksum holds, but the fields are none that this program writes or knows.
    Refused(String),
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Set flags; bit 0: payloads are sealed.
    pub flags: u16,
    /// The consensus group.
    pub group: u32,
    /// The database the segment belongs to.
    pub database_id: [u8; 16],
    /// Index of the first record with a position.
    pub first_index: u64,
    /// When the segment was made, ns since 1970-01-01 UTC.
    pub created_ns: i64,
    /// Random bytes that tie the records to the segment.
    pub salt: [u8; 8],
}

impl SegmentHeader {
    /// Whether payloads are sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.flags & SEALED != 0
    }

    /// Where the records begin.
    #[must_use]
    pub fn records_start(&self) -> u64 {
        if self.is_sealed() { RECORDS_START } else { SEGMENT_HEADER_BYTES }
    }

    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut out = [0; SEGMENT_HEADER_BYTES as usize];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&self.flags.to_le_bytes());
        out[12..16].copy_from_slice(&self.group.to_le_bytes());
        out[16..32].copy_from_slice(&self.database_id);
        out[32..40].copy_from_slice(&self.first_index.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_ns.to_le_bytes());
        out[48..56].copy_from_slice(&self.salt);
        let crc = crc32fast::hash(&out[..SEGMENT_SUMMED]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the fields as they stand, with no check at all.
    pub(super) fn decode_unchecked(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> SegmentHeader {
        SegmentHeader {
            flags: u16::from_le_bytes(take(bytes, 10)),
            group: u32::from_le_bytes(take(bytes, 12)),
            database_id: take(bytes, 16),
            first_index: u64::from_le_bytes(take(bytes, 32)),
            created_ns: i64::from_le_bytes(take(bytes, 40)),
            salt: take(bytes, 48),
        }
    }

    pub(super) fn decode(
        bytes: &[u8; SEGMENT_HEADER_BYTES as usize],
    ) -> Result<SegmentHeader, HeaderFault> {
        let crc = u32::from_le_bytes(take(bytes, SEGMENT_SUMMED));
        if !checksum::fits(crc32fast::hash(&bytes[..SEGMENT_SUMMED]), crc) {
            return Err(HeaderFault::Damaged("the segment header's checksum does not fit"));
        }
        let refuse = |why: String| Err(HeaderFault::Refused(why));
        if take::<8>(bytes, 0) != MAGIC {
            return refuse("not a log segment".to_owned());
        }
        let version = u16::from_le_bytes(take(bytes, 8));
        if version != VERSION {
            return refuse(format!("segment of version {version}, known is {VERSION}"));
        }
        let header = SegmentHeader::decode_unchecked(bytes);
        if header.flags & !SEALED != 0 {
            return refuse(format!("segment with unknown flags {:#06x}", header.flags));
        }
        if u32::from_le_bytes(take(bytes, 56)) != 0 {
            return refuse("reserved bytes of the segment header are not zero".to_owned());
        }
        if header.first_index == 0 {
            return refuse("segment begins at index 0".to_owned());
        }
        Ok(header)
    }

    /// Says what makes this segment none of the log's.
    pub(super) fn check_owner(&self, options: &LogOptions) -> Result<(), String> {
        if self.database_id != options.database_id {
            return Err("segment of another database".to_owned());
        }
        if self.group != options.group {
            return Err(format!("segment of group {}, not {}", self.group, options.group));
        }
        Ok(())
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The consensus group.
    pub group: u32,
    /// What the record is.
    pub kind: Kind,
    /// Schema version of the payload.
    pub schema_version: u16,
    /// Term of the leader, or voted in.
    pub term: u64,
    /// The position; of a kind that takes none, the last position before.
    pub index: u64,
    /// Highest index known durable when the record was written.
    pub durable: u64,
    /// Length of the payload, bytes.
    pub payload_bytes: u32,
    /// Checksum of the payload.
    pub payload_crc: u32,
}

impl RecordHeader {
    /// Header of a record written now, without a payload so far.
    pub(super) fn new(group: u32, kind: Kind, term: u64, index: u64, durable: u64) -> RecordHeader {
        RecordHeader {
            group,
            kind,
            schema_version: SCHEMA_VERSION,
            term,
            index,
            durable,
            payload_bytes: 0,
            payload_crc: 0,
        }
    }

    /// Whether its payload is sealed in a sealed segment.
    #[must_use]
    pub fn is_sealable(&self) -> bool {
        self.kind.takes_position() && self.payload_bytes > 0
    }

    /// What the sealing of the payload authenticates.
    pub(super) fn bound(&self) -> [u8; RECORD_BOUND] {
        take(&self.fields(), 0)
    }

    pub(super) fn encode(&self, salt: [u8; 8]) -> [u8; RECORD_HEADER_BYTES as usize] {
        let mut out = self.fields();
        let crc = header_crc(&out, salt);
        out[44..48].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header without its checksum.
    fn fields(&self) -> [u8; RECORD_HEADER_BYTES as usize] {
        let mut out = [0; RECORD_HEADER_BYTES as usize];
        out[0..4].copy_from_slice(&self.group.to_le_bytes());
        out[4..6].copy_from_slice(&self.kind.code().to_le_bytes());
        out[6..8].copy_from_slice(&self.schema_version.to_le_bytes());
        out[8..16].copy_from_slice(&self.term.to_le_bytes());
        out[16..24].copy_from_slice(&self.index.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.to_le_bytes());
        out[32..36].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.payload_crc.to_le_bytes());
        out
    }

    pub(super) fn decode(
        bytes: &[u8; RECORD_HEADER_BYTES as usize],
        salt: [u8; 8],
    ) -> Result<RecordHeader, HeaderFault> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(HeaderFault::Damaged("zeros where a record is due"));
        }
        if !checksum::fits(header_crc(bytes, salt), u32::from_le_bytes(take(bytes, RECORD_SUMMED)))
        {
            return Err(HeaderFault::Damaged("the record header's checksum does not fit"));
        }
        let refuse = |why: String| Err(HeaderFault::Refused(why));
        let code = u16::from_le_bytes(take(bytes, 4));
        let Some(kind) = Kind::of(code) else {
            return refuse(format!("record of unknown kind {code}"));
        };
        let header = RecordHeader {
            group: u32::from_le_bytes(take(bytes, 0)),
            kind,
            schema_version: u16::from_le_bytes(take(bytes, 6)),
            term: u64::from_le_bytes(take(bytes, 8)),
            index: u64::from_le_bytes(take(bytes, 16)),
            durable: u64::from_le_bytes(take(bytes, 24)),
            payload_bytes: u32::from_le_bytes(take(bytes, 32)),
            payload_crc: u32::from_le_bytes(take(bytes, 36)),
        };
        if u32::from_le_bytes(take(bytes, 40)) != 0 {
            return refuse("reserved bytes of the record header are not zero".to_owned());
        }
        if header.schema_version != SCHEMA_VERSION {
            return refuse(format!("payload of unknown schema version {}", header.schema_version));
        }
        Ok(header)
    }

    /// Whether bytes could begin a record of `group` that proves `due` durable. Cheap, and run at
    /// every eighth byte of a damaged tail before the checksum is.
    pub(super) fn may_prove(bytes: &[u8], group: u32, due: u64) -> bool {
        u32::from_le_bytes(take(bytes, 0)) == group
            && u32::from_le_bytes(take(bytes, 40)) == 0
            && Kind::of(u16::from_le_bytes(take(bytes, 4))).is_some()
            && u64::from_le_bytes(take(bytes, 24)) >= due
    }

    /// Length of the whole record with its zeros behind.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES + u64::from(self.payload_bytes).next_multiple_of(ALIGN_BYTES)
    }
}

fn header_crc(bytes: &[u8; RECORD_HEADER_BYTES as usize], salt: [u8; 8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&salt);
    sum.update(&bytes[..RECORD_SUMMED]);
    sum.finalize()
}

/// `N` bytes from `at`, zeros where there are none.
pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

/// Path of the segment that begins at `first_index`.
pub(crate) fn segment_path(first_index: u64) -> String {
    format!("{LOG_FOLDER}/{first_index:020}.log")
}

/// Path of a segment being made: the salt makes it unlike any left by a crash.
pub(super) fn unfinished_path(first_index: u64, salt: [u8; 8]) -> String {
    format!("{LOG_FOLDER}/{first_index:020}.{:016x}.new", u64::from_le_bytes(salt))
}

/// What a name in the log's folder is.
pub(super) enum Name {
    /// A segment that begins at this index.
    Segment(u64),
    /// A segment that was being made.
    Unfinished,
    /// A name like a segment's that cannot be one.
    Wrong,
    /// None of ours.
    Other,
}

pub(super) fn parse_name(name: &str) -> Name {
    if name.ends_with(".new") {
        return Name::Unfinished;
    }
    let Some(digits) = name.strip_suffix(".log") else {
        return Name::Other;
    };
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Name::Wrong;
    }
    match digits.parse() {
        Ok(first_index) if first_index > 0 => Name::Segment(first_index),
        _ => Name::Wrong,
    }
}
