//! A line of the data: the place of a record, its text, and a checksum.

use shardwright_quorum::{
    log::{Hash, Point},
    topology::{Epoch, Lsn},
};

/// Writes EPOCH LSN HASH TEXT CRC; a record without a text has none.
pub(crate) fn print(bytes: &mut Vec<u8>, at: Point, text: Option<&str>) {
    let start = bytes.len();
    bytes.extend(format!("{} {} ", at.epoch.0, at.lsn.0).bytes());
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    bytes.extend(
        at.hash
            .0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]),
    );
    bytes.extend(b" ");
    if let Some(text) = text {
        bytes.extend(b"=");
        bytes.extend(text.bytes());
    }
    let crc = crc32fast::hash(&bytes[start..]);
    bytes.extend(format!(" {crc:08x}\n").bytes());
}

/// Reads a line; none if it is not whole.
pub(crate) fn parse(line: &[u8]) -> Option<(Point, Option<String>)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (line, crc) = line.rsplit_once(' ')?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(line.as_bytes())) {
        return None;
    }
    let mut words = line.splitn(4, ' ');
    let (epoch, lsn) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (digits, text) = (words.next()?, words.next()?);
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    let point = Point {
        epoch: Epoch(epoch),
        lsn: Lsn(lsn),
        hash: Hash(hash),
    };
    Some((point, text.strip_prefix('=').map(str::to_owned)))
}
