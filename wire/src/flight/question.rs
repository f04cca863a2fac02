//! `?` as JDBC and ADBC write parameters, as the `$1`, `$2` … of SQL here.
//!
//! Only a `?` that stands for itself counts: not one in a text, a quoted name or a comment. A text
//! that numbers its parameters already is left alone.

use std::borrow::Cow;

/// The text with its parameters numbered.
pub(super) fn numbered(sql: &str) -> Cow<'_, str> {
    if !sql.contains('?') {
        return Cow::Borrowed(sql);
    }
    let bytes = sql.as_bytes();
    let (mut out, mut copied, mut at, mut count) = (String::new(), 0, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'?' => {
                count += 1;
                out.push_str(&sql[copied..at]);
                // Apart from words and numbers around, which it would become a part of.
                if in_word(bytes, at) {
                    out.push(' ');
                }
                out.push_str(&format!("${count}"));
                if bytes.get(at + 1).is_some_and(|next| is_of_word(*next)) {
                    out.push(' ');
                }
                at += 1;
                copied = at;
            }
            b'$' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) && !in_word(bytes, at) => {
                return Cow::Borrowed(sql);
            }
            _ => at = skip(bytes, at),
        }
    }
    if count == 0 {
        return Cow::Borrowed(sql);
    }
    out.push_str(&sql[copied..]);
    Cow::Owned(out)
}

/// Where what begins at `at` ends: a quoted text or name, a comment, or one byte.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'\'', ..] => at + quoted(rest, is_escape_string(bytes, at)),
        [b'"', ..] => at + quoted(rest, false),
        [b'-', b'-', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + comment(rest),
        [b'$', ..] if !in_word(bytes, at) => at + dollar(rest).unwrap_or(1),
        _ => at + 1,
    }
}

/// `E'…'`, in which a backslash hides the next byte.
fn is_escape_string(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    matches!(before, Some(b'e' | b'E')) && !in_word(bytes, at - 1)
}

/// Whether a word goes on at `at`.
fn in_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    before.is_some_and(|before| is_of_word(*before))
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 128..)
}

/// Length of a quoted piece; one quote twice is part of it, since it begins another at once.
fn quoted(rest: &[u8], escapes: bool) -> usize {
    let mut at = 1;
    while at < rest.len() {
        if rest[at] == b'\\' && escapes {
            at += 2;
        } else if rest[at] == rest[0] {
            if rest.get(at + 1) != Some(&rest[0]) {
                return at + 1;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a comment, with those inside of it.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `$tag$ … $tag$`, if it is that.
fn dollar(rest: &[u8]) -> Option<usize> {
    let name = rest[1..].iter().position(|b| *b == b'$')?;
    let tag = &rest[..name + 2];
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 128;
    if !tag[1..=name].iter().all(word) {
        return None;
    }
    let body = &rest[tag.len()..];
    let end = body.windows(tag.len()).position(|window| window == tag);
    Some(end.map_or(rest.len(), |end| tag.len() + end + tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(sql: &str, expected: &str) {
        assert_eq!(numbered(sql), expected);
    }

    #[test]
    fn questions_become_numbers() {
        check("SELECT 1", "SELECT 1");
        check("SELECT ?", "SELECT $1");
        check("a=? AND b<>?;", "a=$1 AND b<>$2;");
        check("f(?,?)", "f($1,$2)");
        check("'?' || \"?\" || ?", "'?' || \"?\" || $1");
        check("'it''s ?' = ?", "'it''s ?' = $1");
        check("'\\' || ?", "'\\' || $1");
        check("E'\\'?' || ?", "E'\\'?' || $1");
        check("note'\\' || ?", "note'\\' || $1");
        check("-- ?\n? /* ? /* ? */ ? */ ?", "-- ?\n$1 /* ? /* ? */ ? */ $2");
        check("$$ ? $$ ? $a$ $$ ? $a$ ?", "$$ ? $$ $1 $a$ $$ ? $a$ $2");
        check("ä = ? -- ü", "ä = $1 -- ü");
        check("? ? 'open ?", "$1 $2 'open ?");
        check("?5", "$1 5");
        check("LIMIT?", "LIMIT $1");
        check("a?$$?", "a $1 $$?");
    }

    #[test]
    fn numbers_are_left_alone() {
        check("$1 + ?", "$1 + ?");
        check("? + $2", "? + $2");
        check("a$1 + ?", "a$1 + $1");
    }

    proptest! {
        #[test]
        fn texts_without_marks_stay(sql in "[^?]{0,40}") {
            prop_assert_eq!(numbered(&sql), sql.as_str());
        }

        #[test]
        fn any_text_is_taken(sql in "[?'\"$a1/*\\-\\n\\\\eEä ]{0,40}") {
            let out = numbered(&sql).into_owned();
            // What is not a mark comes through in its order.
            let plain = |text: &str| text.chars().filter(|c| *c == 'a' || *c == 'ä').count();
            prop_assert_eq!(plain(&out), plain(&sql));
            prop_assert_eq!(numbered(&out).into_owned(), if out == sql { sql } else { out.clone() });
        }
    }
}
