//! Texts of statements as others may see them: cut, and without passwords.

/// Bytes of a text that are shown.
const SHOWN_BYTES_MAX: usize = 8 * 1024;
/// In place of a secret.
const HIDDEN: &str = "'…'";
/// A word that contains one of these makes the literal behind it a secret.
const SECRETS: [&str; 4] = ["password", "secret", "token", "api_key"];

/// The text, cut to 8 KiB; of literals behind words such as PASSWORD only their place is left.
pub(crate) fn shown(text: &str) -> String {
    let cut = cut(text);
    let more = if cut.len() < text.len() { "…" } else { "" };
    match has_secret_word(cut) {
        false => format!("{cut}{more}"),
        true => format!("{}{more}", redacted(cut)),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn has_secret_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    SECRETS.iter().any(|word| {
        let word = word.as_bytes();
        bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
    })
}

/// Goes over the text's tokens as far as they matter: words, literals and the rest. A secret word
/// hides the literals up to the next word that is none of `=`, `TO`, `AS` and the like, and a call
/// such as `set_config('app.password', 'x', false)` hides all of its literals.
fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut hides = false;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' => literal_end(rest, '\''),
            '"' => literal_end(rest, '"'),
            '$' => dollar_end(rest),
            c if c.is_alphanumeric() || c == '_' => word_end(rest),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        let is_text = first == '\'' || (first == '$' && token.len() > 1);
        if is_text && hides {
            out.push_str(HIDDEN);
            continue;
        }
        out.push_str(token);
        match first {
            ';' => hides = false,
            // A name that is quoted, or given as a text.
            '"' | '\'' | '$' if is_secret(token) => hides = true,
            // Letters before a literal: E'…', U&'…'.
            _ if rest.starts_with('\'') && token.len() <= 2 => {}
            c if c.is_alphabetic() || c == '_' => {
                hides = is_secret(token) || (hides && is_between(token));
            }
            _ => {}
        }
    }
    out
}

fn is_secret(token: &str) -> bool {
    has_secret_word(token)
}

/// Words that may stand between a secret's name and its value.
fn is_between(token: &str) -> bool {
    ["to", "as", "is", "like", "in", "values", "encrypted"]
        .iter()
        .any(|word| token.eq_ignore_ascii_case(word))
}

/// End of a literal in quotes, which are doubled inside; a literal that is cut ends with the text.
fn literal_end(text: &str, quote: char) -> usize {
    let mut at = quote.len_utf8();
    loop {
        match text[at..].find(quote) {
            None => return text.len(),
            Some(found) => {
                at += found + quote.len_utf8();
                match text[at..].starts_with(quote) {
                    true => at += quote.len_utf8(),
                    false => return at,
                }
            }
        }
    }
}

/// End of `$tag$ … $tag$`, or of the sign alone.
fn dollar_end(text: &str) -> usize {
    let Some(tag) = text[1..].find('$').map(|end| &text[..end + 2]) else { return 1 };
    if !tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_')
        || tag[1..].starts_with(|c: char| c.is_ascii_digit())
    {
        return 1;
    }
    match text[tag.len()..].find(tag) {
        Some(end) => tag.len() + end + tag.len(),
        None => text.len(),
    }
}

fn word_end(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (text, expect) in [
            ("SELECT 'a' FROM t", "SELECT 'a' FROM t"),
            ("CREATE USER bob PASSWORD 'x''y' LOGIN", "CREATE USER bob PASSWORD '…' LOGIN"),
            ("ALTER ROLE b ENCRYPTED PASSWORD E'x'", "ALTER ROLE b ENCRYPTED PASSWORD E'…'"),
            ("alter user b password $$x$$", "alter user b password '…'"),
            ("alter user b password $t$x$t$", "alter user b password '…'"),
            ("SET my.api_token = 'x', 'y'", "SET my.api_token = '…', '…'"),
            ("SET \"My.Secret\" TO 'x'", "SET \"My.Secret\" TO '…'"),
            (
                "SELECT set_config('app.password', 'x', false), 'a'",
                "SELECT set_config('app.password', '…', false), 'a'",
            ),
            ("ALTER USER b PASSWORD 'cut", "ALTER USER b PASSWORD '…'"),
            ("SELECT password FROM t WHERE a = 'b'", "SELECT password FROM t WHERE a = 'b'"),
            (
                "SELECT 1 WHERE password = 'b'; SELECT 'c'",
                "SELECT 1 WHERE password = '…'; SELECT 'c'",
            ),
            ("SELECT $1, '$', 'token'", "SELECT $1, '$', 'token'"),
        ] {
            assert_eq!(shown(text), expect);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = shown(&"ü".repeat(10_000));
        assert_eq!(text.len(), SHOWN_BYTES_MAX + "…".len());
    }

    proptest! {
        #[test]
        fn any_text_can_be_shown(text in "(?s).{0,200}") {
            shown(&text);
            shown(&format!("password {text}"));
        }

        #[test]
        fn no_password_gets_through(secret in "[a-z]{12}", verb in "(CREATE|ALTER) (USER|ROLE)") {
            for literal in [format!("'{secret}'"), format!("$q${secret}$q$"), format!("E'{secret}'")] {
                let text = format!("{verb} bob LOGIN PASSWORD {literal} WRITE");
                prop_assert!(!shown(&text).contains(&secret));
            }
        }
    }
}
