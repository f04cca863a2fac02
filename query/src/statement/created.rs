//! `CREATE TABLE name (a, b) AS …`: names without types, which the parser does not take, cut out.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The tokens without the list of names, and the names; `None` for any other statement.
pub(super) fn cut(piece: &[TokenWithSpan]) -> Option<(Vec<TokenWithSpan>, Vec<String>)> {
    let is_significant =
        |at: &usize| !matches!(piece[*at].token, Token::Whitespace(_) | Token::EOF);
    let mut places = (0..piece.len()).filter(is_significant).peekable();
    let is_word = |at: usize, text: &str| {
        matches!(&piece[at].token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    };
    for word in ["CREATE", "TABLE"] {
        places.next_if(|at| is_word(*at, word))?;
    }
    if places.next_if(|at| is_word(*at, "IF")).is_some() {
        for word in ["NOT", "EXISTS"] {
            places.next_if(|at| is_word(*at, word))?;
        }
    }
    loop {
        let at = places.next()?;
        matches!(piece[at].token, Token::Word(_)).then_some(())?;
        if places.next_if(|at| piece[*at].token == Token::Period).is_none() {
            break;
        }
    }
    let from = places.next_if(|at| piece[*at].token == Token::LParen)?;
    let mut names = Vec::new();
    let to = loop {
        let Token::Word(word) = &piece[places.next()?].token else { return None };
        names.push(match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_lowercase(),
        });
        let at = places.next()?;
        match piece[at].token {
            Token::Comma => {}
            Token::RParen => break at,
            _ => return None,
        }
    };
    places.next_if(|at| is_word(*at, "AS"))?;
    Some(([&piece[..from], &piece[to + 1..]].concat(), names))
}
