//! Tests of the lines that COPY writes.

use super::*;

fn options(format: CopyFormat, delimiter: u8, null: &str) -> CopyOptions {
    CopyOptions {
        format,
        delimiter,
        null: null.to_owned(),
        header: CopyHeader::No,
        quote: b'"',
        escape: b'"',
        compression: Default::default(),
    }
}

/// One line out of cells; `None` is NULL.
fn line(cells: &[Option<&str>], options: &CopyOptions) -> String {
    let mut out = Vec::new();
    let cells_of = cells.iter().map(|cell| cell.map(str::as_bytes));
    put_line(&mut out, cells_of, options, cells.len() == 1, put_message);
    assert_eq!(out[0], b'd');
    let length = u32::from_be_bytes([out[1], out[2], out[3], out[4]]) as usize;
    assert_eq!(length + 1, out.len());
    String::from_utf8(out[5..].to_vec()).unwrap()
}

#[test]
fn text_escapes_what_ends_cells_and_rows() {
    let text = options(CopyFormat::Text, b'\t', "\\N");
    let cells = [Some("plain ä"), None, Some(""), Some("a\tb\nc\rd\\e\u{8}\u{b}\u{c}\u{1}")];
    assert_eq!(line(&cells, &text), "plain ä\t\\N\t\ta\\tb\\nc\\rd\\\\e\\b\\v\\f\u{1}\n");
    let bars = options(CopyFormat::Text, b'|', "-");
    assert_eq!(line(&[Some("a|b\tc"), None], &bars), "a\\|b\\tc|-\n");
    assert_eq!(line(&[Some("\\.")], &text), "\\\\.\n");
}

#[test]
fn csv_quotes_what_it_must() {
    let csv = options(CopyFormat::Csv, b',', "");
    let cells = [Some("plain ä"), None, Some(""), Some("a,b"), Some("say \"x\""), Some("l\nm")];
    assert_eq!(line(&cells, &csv), "plain ä,,\"\",\"a,b\",\"say \"\"x\"\"\",\"l\nm\"\n");
    assert_eq!(line(&[Some("\\.")], &csv), "\"\\.\"\n");
    let mut odd = options(CopyFormat::Csv, b';', "null");
    odd.escape = b'\\';
    assert_eq!(line(&[Some("null"), None, Some("\"\\;")], &odd), "\"null\";null;\"\\\"\\\\;\"\n");
}
