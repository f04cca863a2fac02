//! Opening a log: first everything is examined, and only then anything is changed.

use std::sync::Arc;

use super::append::Log;
use super::format::{Name, RecordHeader, SegmentHeader, parse_name, segment_path};
use super::scan::{Opened, Scanner, Sound, Step, Want, open_segment, open_sound};
use super::segment::{Prepared, decode_vote, remove};
use super::{Cut, Kind, LOG_FOLDER, LogOptions, Recovered, SegmentInfo, Vote};
use crate::io::Storage;
use crate::{Error, Result};

/// Checks every byte of a log and changes nothing: what opening it would find and cut.
///
/// # Errors
/// As [`Log::open`].
pub fn verify(storage: &dyn Storage, options: &LogOptions) -> Result<Recovered> {
    examine(storage, options, want_all).map(|examined| examined.recovered)
}

pub(super) fn open(storage: Arc<dyn Storage>, options: LogOptions) -> Result<(Log, Recovered)> {
    storage
        .create_dir(LOG_FOLDER)
        .map_err(|e| Error::io("cannot make the folder of the log", &e))?;
    let Examined { recovered, tail, unfinished } = examine(&*storage, &options, want)?;
    if let Some(tail) = tail {
        settle_tail(&*storage, &options, &tail)?;
    }
    let due = recovered.last_index + 1;
    let active = Prepared::make(&*storage, &options, due, recovered.vote)?.install(&*storage)?;
    // Only now, since a leftover may have held the only copy of the vote.
    for path in &unfinished {
        remove(&*storage, path)?;
    }
    let log = Log::new(storage, options, recovered.segments.clone(), active, recovered.vote);
    Ok((log, recovered))
}

/// What the log's folder holds.
struct Examined {
    recovered: Recovered,
    tail: Option<Tail>,
    /// Paths of segments that were being made.
    unfinished: Vec<String>,
}

/// The last segment: the only one whose bytes are not all proven durable.
struct Tail {
    path: String,
    /// Its length once cut.
    bytes: u64,
    cut: bool,
    /// The highest index that a record says is durable.
    durable: u64,
}

fn examine(
    storage: &dyn Storage,
    options: &LogOptions,
    want: fn(&RecordHeader) -> Want,
) -> Result<Examined> {
    let (firsts, unfinished) = names(storage)?;
    let Headers { sound, blank } = headers(storage, options, &firsts)?;
    let mut chain = Chain::new(options.group, sound.first().copied().unwrap_or(1));
    let mut recovered = Recovered { first_index: chain.due, ..Recovered::default() };
    let mut tail = None;
    for (number, first) in sound.iter().enumerate() {
        let path = segment_path(*first);
        if *first != chain.due {
            let why = format!("the segment begins where index {} is due", chain.due);
            return Err(Error::corrupt(path, 0, why));
        }
        let next = sound.get(number + 1).map(|first| segment_path(*first));
        let (bytes, cut) = walk(storage, options, &path, &mut chain, next.as_deref(), want)?;
        tail = Some(Tail { path: path.clone(), bytes, cut: cut.is_some(), durable: chain.durable });
        recovered.cut = cut;
        let last_index = chain.due - 1;
        // One without records can only be the last, and its name will be the fresh segment's.
        if last_index >= *first {
            recovered.segments.push(SegmentInfo { path, first_index: *first, last_index, bytes });
        }
    }
    if let Some((first, why)) = blank {
        let path = segment_path(first);
        if first != chain.due {
            let why = format!("{why}, and index {} is due, not {first}", chain.due);
            return Err(Error::corrupt(path, 0, why));
        }
        recovered.replaced = Some(path);
    }
    for path in &unfinished {
        leftover_vote(storage, options, path, &mut chain)?;
    }
    recovered.last_index = chain.due - 1;
    recovered.vote = chain.vote;
    Ok(Examined { recovered, tail, unfinished })
}

/// First indexes of the segments, in order, and paths of unfinished ones.
fn names(storage: &dyn Storage) -> Result<(Vec<u64>, Vec<String>)> {
    let listed =
        storage.list(LOG_FOLDER).map_err(|e| Error::io("cannot list the folder of the log", &e))?;
    let (mut firsts, mut unfinished) = (Vec::new(), Vec::new());
    for name in listed {
        let path = format!("{LOG_FOLDER}/{name}");
        match parse_name(&name) {
            Name::Segment(first) => firsts.push(first),
            Name::Unfinished => unfinished.push(path),
            Name::Wrong => return Err(Error::corrupt(path, 0, "not the name of a log segment")),
            Name::Other => {}
        }
    }
    firsts.sort_unstable();
    Ok((firsts, unfinished))
}

/// What the segment headers say.
struct Headers {
    /// First indexes of the segments with sound headers, in order.
    sound: Vec<u64>,
    /// A last one whose header is damaged, with nothing behind it: first index, and why.
    blank: Option<(u64, String)>,
}

fn headers(storage: &dyn Storage, options: &LogOptions, firsts: &[u64]) -> Result<Headers> {
    let mut sound = Vec::with_capacity(firsts.len());
    let mut blank = None;
    for (number, first) in firsts.iter().enumerate() {
        let path = segment_path(*first);
        match open_segment(storage, &path)?.1 {
            Opened::Sound(header) => {
                check_header(&header, options, *first)
                    .map_err(|why| Error::corrupt(&path, 0, why))?;
                sound.push(*first);
            }
            Opened::Damaged { why, blank: true } if number + 1 == firsts.len() => {
                blank = Some((*first, why));
            }
            Opened::Damaged { why, .. } => return Err(Error::corrupt(&path, 0, why)),
        }
    }
    Ok(Headers { sound, blank })
}

fn check_header(
    header: &SegmentHeader,
    options: &LogOptions,
    first: u64,
) -> std::result::Result<(), String> {
    header.check_owner(options)?;
    if header.first_index != first {
        return Err(format!("the header says that it begins at index {}", header.first_index));
    }
    Ok(())
}

/// Walks one segment; gives the length that counts, and what is to be cut.
fn walk(
    storage: &dyn Storage,
    options: &LogOptions,
    path: &str,
    chain: &mut Chain,
    next: Option<&str>,
    want: fn(&RecordHeader) -> Want,
) -> Result<(u64, Option<Cut>)> {
    let Sound { file, header, key } = open_sound(storage, path, options)?;
    let len = file.len().map_err(|e| Error::io(format!("cannot measure {path}"), &e))?;
    let mut scanner = Scanner::new(file, path.to_owned(), &header, len).with_key(key);
    loop {
        match scanner.step(want)? {
            Step::End => return Ok((len, None)),
            Step::Record { offset, header } => chain
                .admit(&header, &scanner.payload)
                .map_err(|why| Error::corrupt(path, offset, why))?,
            Step::Bad { offset, why, .. } => {
                let proof = match next {
                    Some(next) => Some(format!("{next} was begun after it")),
                    None => scanner.find_proof(offset + 1, chain.due)?.map(|(at, header)| {
                        format!("the record at byte {at} says {} was durable", header.durable)
                    }),
                };
                if let Some(proof) = proof {
                    let why = format!("{why} (index {} is due, and {proof})", chain.due);
                    return Err(Error::corrupt(path, offset, why));
                }
                look_again(storage, options, path, offset)?;
                let cut = Cut { segment: path.to_owned(), offset, bytes: len - offset, why };
                return Ok((offset, Some(cut)));
            }
        }
    }
}

/// Reads a segment once more before its tail is cut: a bit that flipped on the way from the disk
/// would take the last commit with it.
fn look_again(storage: &dyn Storage, options: &LogOptions, path: &str, bad: u64) -> Result<()> {
    let Sound { file, header, .. } = open_sound(storage, path, options)?;
    let len = file.len().map_err(|e| Error::io(format!("cannot measure {path}"), &e))?;
    let mut scanner = Scanner::new(file, path.to_owned(), &header, len);
    loop {
        match scanner.step(|_| Want::Check)? {
            Step::Record { .. } => {}
            Step::Bad { offset, .. } if offset == bad => return Ok(()),
            Step::Bad { .. } | Step::End => {
                let why = "reading it twice gave different bytes: the disk or its memory fails";
                return Err(Error::corrupt(path, bad, why));
            }
        }
    }
}

fn want(header: &RecordHeader) -> Want {
    // Only votes matter here, and they are small.
    let small = header.kind == Kind::Vote && header.payload_bytes <= 64;
    if small { Want::Keep } else { Want::Check }
}

/// As [`want`], and opens what is sealed.
fn want_all(header: &RecordHeader) -> Want {
    if header.is_sealable() { Want::Keep } else { want(header) }
}

/// What the records so far make the next one be.
struct Chain {
    group: u32,
    /// The index of the next record with a position.
    due: u64,
    /// The highest `durable` any record has said.
    durable: u64,
    vote: Option<Vote>,
}

impl Chain {
    fn new(group: u32, due: u64) -> Chain {
        Chain { group, due, durable: 0, vote: None }
    }

    fn admit(&mut self, header: &RecordHeader, payload: &[u8]) -> std::result::Result<(), String> {
        check_place(header, self.group, self.due)?;
        self.durable = self.durable.max(header.durable);
        match header.kind {
            Kind::Commands | Kind::NoOp => self.due += 1,
            Kind::Mark if header.payload_bytes > 0 => return Err("a mark with payload".to_owned()),
            Kind::Mark => {}
            Kind::Vote => self.saw(decode_vote(header.term, payload)?),
        }
        Ok(())
    }

    fn saw(&mut self, vote: Vote) {
        if self.vote.is_none_or(|held| vote.term >= held.term) {
            self.vote = Some(vote);
        }
    }
}

/// Checks a sound record against the index that is due.
pub(super) fn check_place(
    header: &RecordHeader,
    group: u32,
    due: u64,
) -> std::result::Result<(), String> {
    if header.group != group {
        return Err(format!("a record of group {}, not {group}", header.group));
    }
    let takes = header.kind.takes_position();
    let index = if takes { due } else { due - 1 };
    if header.index != index {
        return Err(format!("index {} where {index} is due", header.index));
    }
    if due == u64::MAX {
        return Err("no index can follow".to_owned());
    }
    // A record cannot have been known durable before it was written.
    if header.durable > header.index || (takes && header.durable == header.index) {
        return Err(format!("durable {} of index {}", header.durable, header.index));
    }
    Ok(())
}

/// A crash while a log is truncated can leave the vote in an unfinished segment alone. Such a
/// segment is durable or torn; a torn one says nothing.
fn leftover_vote(
    storage: &dyn Storage,
    options: &LogOptions,
    path: &str,
    chain: &mut Chain,
) -> Result<()> {
    let (file, Opened::Sound(header)) = open_segment(storage, path)? else {
        return Ok(());
    };
    header.check_owner(options).map_err(|why| Error::corrupt(path, 0, why))?;
    let len = file.len().map_err(|e| Error::io(format!("cannot measure {path}"), &e))?;
    let mut scanner = Scanner::new(file, path.to_owned(), &header, len);
    while let Step::Record { offset, header } = scanner.step(want)? {
        if header.kind == Kind::Vote {
            let vote = decode_vote(header.term, &scanner.payload);
            chain.saw(vote.map_err(|why| Error::corrupt(path, offset, why))?);
        }
    }
    Ok(())
}

/// Cuts the torn tail and makes durable what is left. Bytes that nobody proved durable are written
/// again: after a failed sync or a killed process they may be in the page cache alone, and a page
/// that the kernel believes to be clean would not be written by a sync.
fn settle_tail(storage: &dyn Storage, options: &LogOptions, tail: &Tail) -> Result<()> {
    let path = &tail.path;
    let Sound { file, header, .. } = open_sound(storage, path, options)?;
    let doing = || format!("cannot settle the end of {path}");
    if tail.cut {
        file.set_len(tail.bytes).map_err(|e| Error::io(doing(), &e))?;
    }
    let mut scanner = Scanner::new(Arc::clone(&file), path.clone(), &header, tail.bytes);
    let mut at = header.records_start().min(tail.bytes);
    while let Step::Record { header, .. } = scanner.step(|_| Want::Skip)? {
        if header.kind.takes_position() && header.index <= tail.durable {
            at = scanner.offset();
        }
    }
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    while at < tail.bytes {
        bytes.resize((tail.bytes - at).min(1 << 20) as usize, 0);
        file.read_at(at, &mut bytes).map_err(|e| Error::io(doing(), &e))?;
        // A bit that flips on the way from the disk must not be written to it.
        again.resize(bytes.len(), 0);
        file.read_at(at, &mut again).map_err(|e| Error::io(doing(), &e))?;
        if again != bytes {
            let why = "reading it twice gave different bytes: the disk or its memory fails";
            return Err(Error::corrupt(path, at, why));
        }
        file.write_at(at, &bytes).map_err(|e| Error::io(doing(), &e))?;
        at += bytes.len() as u64;
    }
    file.sync_data().map_err(|e| Error::io(doing(), &e))
}
