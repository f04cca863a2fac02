//! How deep the syntax tree of a text will be, told from its tokens.
//!
//! A chain of operators parses into a tree as deep as the chain is long, and whoever walks or
//! drops that tree recurses as deep. So texts are measured before they are parsed: long ones are
//! refused, deep ones are handled where the stack is large.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Links of the longest chain of operators, counted through nested parentheses. It may be more
/// than the tree is deep, never less by more than a few levels.
pub(super) fn depth(piece: &[TokenWithSpan]) -> usize {
    let mut most = 0;
    // Links above the current item, and links in it so far: of AND and OR, and of the operators
    // since the last of those.
    let mut stack: Vec<(usize, usize, usize)> = Vec::new();
    let (mut base, mut bools, mut terms) = (0usize, 0usize, 0usize);
    for token in piece {
        match &token.token {
            Token::LParen | Token::LBracket => {
                stack.push((base, bools, terms));
                base += bools + terms + 1;
                (bools, terms) = (0, 0);
            }
            Token::RParen | Token::RBracket => {
                if let Some(outer) = stack.pop() {
                    (base, bools, terms) = outer;
                }
            }
            Token::Comma | Token::SemiColon => (bools, terms) = (0, 0),
            Token::Word(word) if word.quote_style.is_none() => {
                let is = |name: &str| word.value.eq_ignore_ascii_case(name);
                if is("and") || is("or") {
                    bools += 1;
                    terms = 0;
                } else if is("union") || is("intersect") || is("except") || is("when") {
                    bools += 1;
                } else if ["not", "is", "like", "ilike", "in", "between", "collate", "at", "join"]
                    .iter()
                    .any(|name| is(name))
                {
                    terms += 1;
                }
            }
            Token::Number(..)
            | Token::Whitespace(_)
            | Token::EOF
            | Token::Period
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Word(_) => {}
            // Every operator, casts included.
            _ => terms += 1,
        }
        most = most.max(base + bools + terms);
    }
    most
}
