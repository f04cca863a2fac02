//! Files written once, and files that grow: as plain ones, and every bit and prefix of them.

use super::*;

const PART: &str = "parts/00000001-0000000000000001.part";
const LOG: &str = "version/0000000000000001.version";

/// Writes a file in pieces and ends it.
fn write(storage: &dyn Storage, path: &str, pieces: &[&[u8]]) {
    let file = storage.create(path).unwrap();
    let mut at = 0;
    for piece in pieces {
        file.write_at(at, piece).unwrap();
        at += piece.len() as u64;
        assert_eq!(file.len().unwrap(), at);
    }
    file.sync_data().unwrap();
    assert_eq!(file.len().unwrap(), at);
}

#[test]
fn files_written_once_read_as_plain_ones() {
    let mut random = Random::new(1);
    for round in 0..60 {
        let memory = folders();
        let storage = sealed(&memory, 1);
        let page = 4096;
        let len = match round {
            0..8 => [0, 1, page - 1, page, page + 1, 2 * page, 3 * page, 3 * page + 1][round],
            _ => random.below(400_000),
        };
        let model = bytes(&mut random, len);
        let file = storage.create(PART).unwrap();
        let mut at = 0;
        while at < model.len() {
            let most = [10, 5_000, 4_096, 100_000, 300_000][random.below(5) as usize];
            let end = (at + 1 + random.below(most) as usize).min(model.len());
            file.write_at(at as u64, &model[at..end]).unwrap();
            at = end;
            let from = random.below(at as u64) as usize;
            let mut found = vec![0; at - from];
            file.read_at(from as u64, &mut found).unwrap();
            assert_eq!(found, model[from..at], "unfinished");
        }
        file.sync_data().unwrap();
        for file in [file, storage.open(PART).unwrap()] {
            assert_eq!(file.len().unwrap(), len);
            for _ in 0..20 {
                let from = random.below(len + 1);
                let to = from + random.below(len - from + 1);
                let mut found = vec![0; (to - from) as usize];
                file.read_at(from, &mut found).unwrap();
                assert_eq!(found, model[from as usize..to as usize]);
            }
            let end = file.read_at(len, &mut [0]).unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(file.write_at(len, b"x").unwrap_err().kind(), io::ErrorKind::Unsupported);
            assert!(file.set_len(0).is_err());
        }
        let stored: Arc<dyn Storage> = Arc::new(memory.clone());
        let copy = open_sealed(stored.open(PART).unwrap(), PART, &keys(1)).unwrap();
        assert_eq!(copy.len().unwrap(), len, "as it is stored");
    }
}

/// Every prefix is told, and every flipped bit is or does no harm (one of two seals).
#[test]
fn damage_of_files_written_once_is_found() {
    let model = bytes(&mut Random::new(2), 3 * 4096 + 77);
    let whole = folders();
    write(&sealed(&whole, 1), PART, &[&model]);
    let stored = whole.bytes(PART).unwrap();
    let judge = |bytes: Vec<u8>| {
        let memory = folders();
        memory.put(PART, bytes);
        read_all(&sealed(&memory, 1), PART)
    };
    for len in (0..stored.len()).filter(|len| len % 97 == 0 || (len + 62) % 4112 < 60) {
        let error = judge(stored[..len].to_vec()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{len}: {error}");
    }
    let mut unharmed = 0;
    let seal = seal::SEAL_BYTES;
    for bit in (0..stored.len() * 8).filter(|bit| bit % 61 == 0 || bit / 8 % 4096 < 112) {
        let mut bad = stored.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match judge(bad) {
            Ok(found) => {
                assert!(found == model && bit / 8 < seal, "bit {bit}");
                unharmed += 1;
            }
            // A flipped name of a key is an unknown key only where its checksum fits.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bit}: {error}"),
        }
    }
    assert!(unharmed > 1000);
    let mut bad = stored.clone();
    bad[50] ^= 1;
    bad[4096 + 50] ^= 1;
    assert!(judge(bad).unwrap_err().to_string().contains("the seal is damaged"));
}

/// Pages in another order, of another file, or of a file with one page fewer.
#[test]
fn pages_do_not_move() {
    let mut random = Random::new(3);
    let memory = folders();
    let storage = sealed(&memory, 1);
    let others = ["parts/a", "parts/b"];
    for path in others {
        write(&storage, path, &[&bytes(&mut random, 4 * 4096)]);
    }
    let stored: Vec<Vec<u8>> = others.iter().map(|path| memory.bytes(path).unwrap()).collect();
    let page =
        |number: usize| seal::SEAL_BYTES + number * 4112..seal::SEAL_BYTES + (number + 1) * 4112;
    let mut swapped = stored[0].clone();
    swapped[page(0)].copy_from_slice(&stored[0][page(1)]);
    let mut mixed = stored[0].clone();
    mixed[page(2)].copy_from_slice(&stored[1][page(2)]);
    let mut shorter = stored[0].clone();
    shorter.truncate(page(3).start);
    let mut longer = stored[0].clone();
    longer.extend_from_slice(&stored[0][page(3)]);
    for (name, bytes) in [("swap", swapped), ("mix", mixed), ("cut", shorter), ("grow", longer)] {
        memory.put("parts/a", bytes);
        let error = read_all(&storage, "parts/a").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
        assert!(error.to_string().contains("parts/a: page "), "{name}: {error}");
    }
}

#[test]
fn another_key_is_named_as_missing() {
    let memory = folders();
    write(&sealed(&memory, 1), PART, &[b"secret"]);
    write(&sealed(&memory, 1), LOG, &[b"secret"]);
    for path in [PART, LOG] {
        let error = sealed(&memory, 2).open(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let why = error.to_string();
        assert!(why.contains(path) && why.contains(&key(1).id().to_string()), "{why}");
        assert!(why.contains(&key(2).id().to_string()), "{why}");
    }
}

#[test]
fn an_unfinished_file_does_not_open() {
    let memory = folders();
    let storage = sealed(&memory, 1);
    let file = storage.create(PART).unwrap();
    file.write_at(0, &[7; 40_000]).unwrap();
    drop(file);
    assert!(read_all(&storage, PART).is_err());
}

#[test]
fn growing_files_read_as_plain_ones() {
    let mut random = Random::new(4);
    for _ in 0..40 {
        let memory = folders();
        let storage = sealed(&memory, 1);
        let mut file = storage.create(LOG).unwrap();
        let mut model = Vec::new();
        for _ in 0..random.below(30) {
            let piece_len = random.below(3000);
            let piece = bytes(&mut random, piece_len);
            file.write_at(model.len() as u64, &piece).unwrap();
            model.extend_from_slice(&piece);
            if random.below(4) == 0 {
                file.sync_data().unwrap();
                file = storage.open(LOG).unwrap();
            }
            let from = random.below(model.len() as u64 + 1);
            let to = from + random.below(model.len() as u64 - from + 1);
            let mut found = vec![0; (to - from) as usize];
            file.read_at(from, &mut found).unwrap();
            assert_eq!(found, model[from as usize..to as usize]);
        }
        assert_eq!(read_all(&storage, LOG).unwrap(), model);
        assert!(file.write_at(model.len() as u64 + 1, b"x").is_err());
        assert!(file.set_len(model.len() as u64 + 1).is_err());
    }
}

/// What found no room is cut off again, and the file goes on with what comes next.
#[test]
fn growing_files_take_back_what_found_no_room() {
    let mut random = Random::new(78);
    for round in 0..30 {
        let memory = folders();
        let storage = sealed(&memory, 1);
        let file = storage.create(LOG).unwrap();
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..12 {
            let len = 1 + random.below(400);
            let piece = bytes(&mut random, len);
            let end = model.len() as u64;
            memory.set_capacity(Some(memory.used_bytes() + random.below(600)));
            let written = file.write_at(end, &piece);
            memory.set_capacity(None);
            match written {
                // Also what was written, but not made durable, can be taken back.
                Ok(()) if random.below(3) == 0 => file.set_len(end).unwrap(),
                Ok(()) => model.extend_from_slice(&piece),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                    assert!(file.write_at(end, &piece).is_err(), "before it is taken back");
                    file.set_len(end).unwrap();
                }
            }
            file.sync_data().unwrap();
            assert_eq!(file.len().unwrap(), model.len() as u64);
            assert_eq!(read_all(&storage, LOG).unwrap(), model, "round {round}");
        }
        if model.len() > 1 {
            assert!(file.set_len(1).is_err(), "no end of a chunk");
        }
    }
}

/// The last chunk may be torn: then the file ends before it and goes on from there. Any other
/// damage is told.
#[test]
fn damage_of_growing_files_is_found() {
    let pieces: [&[u8]; 4] = [&[1; 40], &[2; 3], &[3; 90], &[4; 31]];
    let whole = folders();
    write(&sealed(&whole, 1), LOG, &pieces);
    let stored = whole.bytes(LOG).unwrap();
    let model = pieces.concat();
    let last = stored.len() - (31 + 48);
    let judge = |bytes: Vec<u8>| {
        let memory = folders();
        memory.put(LOG, bytes);
        let storage = sealed(&memory, 1);
        let found = read_all(&storage, LOG)?;
        storage.open(LOG)?.write_at(found.len() as u64, b"on")?;
        assert_eq!(read_all(&storage, LOG)?, [&found[..], b"on"].concat());
        io::Result::Ok(found)
    };
    let ends = [seal::SEAL_BYTES, seal::SEAL_BYTES + 88, seal::SEAL_BYTES + 88 + 51, last];
    let lens = [0, 40, 43, 133];
    for len in seal::SEAL_BYTES..stored.len() {
        let chunks = ends.iter().filter(|end| **end <= len).count() - 1;
        match judge(stored[..len].to_vec()) {
            Ok(found) => assert_eq!(found, model[..lens[chunks]], "{len}"),
            // Of the first chunk all must be there.
            Err(error) => assert!(chunks == 0 && error.kind() == io::ErrorKind::InvalidData),
        }
    }
    for bit in seal::SEAL_BYTES * 8..stored.len() * 8 {
        let mut bad = stored.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match judge(bad) {
            Ok(found) => assert!(bit / 8 >= last && found == model[..133], "bit {bit}"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(bit / 8 < last, "bit {bit}: {error}");
            }
        }
    }
    // A chunk that is left out, although everything adds up.
    let mut bad = stored[..ends[1]].to_vec();
    bad.extend_from_slice(&stored[ends[2]..]);
    let error = judge(bad).unwrap_err().to_string();
    assert!(error.contains("not what was sealed there"), "{error}");
}
