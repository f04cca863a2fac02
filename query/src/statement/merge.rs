//! MERGE … THEN DO NOTHING, which sqlparser does not read: it becomes an action on a column of a name
//! that no column has.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The column of what does nothing.
pub(crate) const NOTHING: &str = "\u{1}nothing";

/// The tokens with DO NOTHING as sqlparser reads it.
pub(super) fn readable(piece: &[TokenWithSpan]) -> Cow<'_, [TokenWithSpan]> {
    let significant = |t: &TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
    let places: Vec<usize> = (0..piece.len()).filter(|at| significant(&piece[*at])).collect();
    let word = |at: Option<&usize>| match at.map(|at| &piece[*at].token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    };
    if word(places.first()) != "MERGE" {
        return Cow::Borrowed(piece);
    }
    let mut out = Vec::with_capacity(piece.len());
    // Whether the last WHEN says NOT.
    let (mut not, mut next) = (false, 0);
    for (nth, at) in places.iter().enumerate() {
        if word(Some(at)) == "WHEN" && matches!(&*word(places.get(nth + 1)), "MATCHED" | "NOT") {
            not = word(places.get(nth + 1)) == "NOT";
        }
        let words = [word(Some(at)), word(places.get(nth + 1)), word(places.get(nth + 2))];
        if words == ["THEN", "DO", "NOTHING"] {
            out.extend_from_slice(&piece[next..=*at]);
            let span = piece[*at].span;
            out.extend(action(not).into_iter().map(|token| TokenWithSpan { token, span }));
            next = places.get(nth + 2).map_or(piece.len(), |last| last + 1);
        }
    }
    out.extend_from_slice(&piece[next..]);
    Cow::Owned(out)
}

fn action(insert: bool) -> Vec<Token> {
    let word = |text: &str| Token::make_word(text, None);
    let column = Token::make_word(NOTHING, Some('"'));
    match insert {
        true => vec![
            word("INSERT"),
            Token::LParen,
            column,
            Token::RParen,
            word("VALUES"),
            Token::LParen,
            word("NULL"),
            Token::RParen,
        ],
        false => vec![word("UPDATE"), word("SET"), column, Token::Eq, word("NULL")],
    }
}
