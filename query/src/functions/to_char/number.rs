//! Templates of `to_char` for numbers.
//!
//! A template has places for digits (`9` and `0`) with at most one point; a number is written into
//! them from the point outwards, so that what is in front of its first digit becomes blanks, zeros
//! or, with `FM`, nothing. A number with more digits than places becomes `#`.

use crate::error::{QueryError, QueryResult};

/// A number as a text of digits, with a point where it has digits behind it.
#[derive(Debug)]
pub(super) struct Digits {
    pub(super) negative: bool,
    pub(super) text: String,
}

/// A template, in pieces.
#[derive(Debug, Default)]
pub(super) struct NumberTemplate {
    pieces: Vec<Piece>,
    /// Places in front of the point and behind it.
    whole: usize,
    fraction: usize,
    point: bool,
    /// `FM`: no blanks.
    bare: bool,
    /// First place that is a zero rather than a blank, and the place behind the last `0`.
    zeros_from: Option<usize>,
    zeros_to: usize,
    sign: Sign,
    /// Digits that `V` shifts by.
    shift: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Sign {
    /// In front of the first digit.
    #[default]
    Own,
    /// `S` with this many places in front of it.
    Anchored { before: usize },
    /// `S` behind the number.
    Behind,
    /// `MI`, `PL` or `SG` say it.
    Said { minus: bool },
    /// `PR`.
    Brackets,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    /// A digit; whether it is a `0`.
    Place(bool),
    Point,
    Comma,
    Currency,
    Minus,
    Plus,
    Either,
    /// An ordinal ending; in capitals or not.
    Ordinal(bool),
    Text(char),
}

fn bad(message: &str) -> QueryError {
    QueryError::new("42601", message)
}

impl NumberTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// `42601` where patterns contradict each other, `0A000` for Roman numbers and exponents.
    pub(super) fn parse(text: &str) -> QueryResult<NumberTemplate> {
        let mut out = NumberTemplate::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first == '"' {
                let end = rest[1..].find('"').map_or(rest.len(), |at| at + 1);
                out.pieces.extend(rest[1..end].chars().map(Piece::Text));
                rest = rest.get(end + 1..).unwrap_or_default();
                continue;
            }
            let two = rest.get(..2).unwrap_or_default().to_ascii_uppercase();
            let length = match &two[..] {
                "FM" => {
                    out.bare = true;
                    2
                }
                "MI" | "PL" | "SG" => {
                    if matches!(out.sign, Sign::Anchored { .. } | Sign::Behind) {
                        return Err(bad(
                            "cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together",
                        ));
                    }
                    let minus = two != "PL" || out.sign == (Sign::Said { minus: true });
                    out.sign = Sign::Said { minus };
                    out.pieces.push(match &two[..] {
                        "MI" => Piece::Minus,
                        "PL" => Piece::Plus,
                        _ => Piece::Either,
                    });
                    2
                }
                "PR" if out.sign == Sign::Own => {
                    out.sign = Sign::Brackets;
                    2
                }
                "PR" => {
                    return Err(bad("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                "TH" => {
                    out.pieces.push(Piece::Ordinal(rest.starts_with('T')));
                    2
                }
                "RN" | "EE" => {
                    return Err(QueryError::unsupported("to_char with RN or EEEE for numbers"));
                }
                _ => {
                    out.letter(first)?;
                    first.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        // An `S` behind the last place is behind the number.
        if let Sign::Anchored { before } = out.sign
            && before == out.whole
        {
            out.sign = Sign::Behind;
        }
        Ok(out)
    }

    fn letter(&mut self, letter: char) -> QueryResult<()> {
        match letter.to_ascii_uppercase() {
            digit @ ('9' | '0') => {
                if self.sign == Sign::Brackets {
                    return Err(bad("\"9\" and \"0\" must be ahead of \"PR\""));
                }
                let zero = digit == '0';
                if zero && !self.point && self.zeros_from.is_none() {
                    self.zeros_from = Some(self.whole);
                }
                match &mut self.shift {
                    Some(shift) if !zero => {
                        *shift += 1;
                        self.whole += 1;
                    }
                    _ if self.point => self.fraction += 1,
                    _ => self.whole += 1,
                }
                if zero {
                    self.zeros_to = self.whole + self.fraction;
                }
                self.pieces.push(Piece::Place(zero));
            }
            '.' | 'D' => {
                if self.point {
                    return Err(bad("multiple decimal points"));
                }
                if self.shift.is_some() {
                    return Err(bad("cannot use \"V\" and decimal point together"));
                }
                self.point = true;
                self.pieces.push(Piece::Point);
            }
            ',' | 'G' => self.pieces.push(Piece::Comma),
            'L' => self.pieces.push(Piece::Currency),
            'B' => {}
            'V' if self.point => {
                return Err(bad("cannot use \"V\" and decimal point together"));
            }
            'V' => self.shift = Some(0),
            'S' => match self.sign {
                Sign::Own if self.point => self.sign = Sign::Behind,
                Sign::Own => self.sign = Sign::Anchored { before: self.whole },
                Sign::Anchored { .. } | Sign::Behind => {
                    return Err(bad("cannot use \"S\" twice"));
                }
                _ => {
                    return Err(bad("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
            },
            _ => self.pieces.push(Piece::Text(letter)),
        }
        Ok(())
    }

    /// Digits behind the point that numbers are to come with.
    pub(super) fn fraction(&self) -> usize {
        self.fraction
    }

    /// What numbers are multiplied by: a power of ten.
    pub(super) fn shift(&self) -> u32 {
        self.shift.unwrap_or(0)
    }

    /// Writes a number; `number` has [`Self::fraction`] digits behind its point, or fewer where it
    /// has no more that mean anything.
    pub(super) fn write(&self, number: &Digits) -> String {
        Writer::new(self, number).run()
    }
}

/// A number on its way into the places of a template.
struct Writer<'a> {
    template: &'a NumberTemplate,
    negative: bool,
    /// Digits and point.
    number: Vec<u8>,
    /// The next of them.
    at: usize,
    /// With `FM` behind the point: the last of them that is not a zero to be left out.
    last: Option<usize>,
    /// Places in front of the first digit.
    blanks: usize,
    /// Places passed.
    place: usize,
    /// Places in all, the sign counted where it takes one.
    places: usize,
    signed: bool,
    brackets: bool,
    /// Whether a digit was written at the last place: a comma behind it is shown.
    inside: bool,
    overflow: bool,
    out: String,
}

impl<'a> Writer<'a> {
    fn new(template: &'a NumberTemplate, number: &Digits) -> Writer<'a> {
        let t = template;
        let mut digits = number.text.clone().into_bytes();
        let whole = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
        let overflow = whole > t.whole;
        if overflow {
            digits = vec![b'#'; t.whole + t.fraction + 1];
            digits[t.whole] = b'.';
        }
        let blanks = t.whole.saturating_sub(whole);
        let (mut signed, mut brackets) = (false, t.sign == Sign::Brackets);
        match t.sign {
            Sign::Said { minus } => signed = minus,
            sign => {
                brackets &= number.negative || !t.bare;
                let anchored = matches!(sign, Sign::Anchored { .. } | Sign::Behind);
                signed |= !number.negative && t.bare && !anchored;
            }
        }
        let mut last = None;
        if t.bare && t.point {
            let point = digits.iter().position(|b| *b == b'.');
            last = point.map(|point| {
                let rest = digits.iter().enumerate().skip(point + 1);
                rest.filter(|(_, b)| **b != b'0').map(|(at, _)| at).next_back().unwrap_or(point)
            });
            if let Some(last) = &mut last
                && t.zeros_to > blanks
            {
                *last = (*last).max((digits.len() - 1).min(t.zeros_to - blanks));
            }
        }
        let mut places = (t.fraction + t.whole).saturating_sub(1);
        places += usize::from(!signed && blanks == 0);
        Writer {
            template,
            negative: number.negative,
            number: digits,
            at: 0,
            last,
            blanks,
            place: 0,
            places,
            signed,
            brackets,
            inside: false,
            overflow,
            out: String::new(),
        }
    }

    fn run(mut self) -> String {
        let bare = self.template.bare;
        for piece in &self.template.pieces {
            match piece {
                Piece::Place(zero) => self.digit(*zero),
                Piece::Point => self.digit(false),
                Piece::Comma if self.inside => self.out.push(','),
                Piece::Comma if bare => {}
                Piece::Comma | Piece::Currency => self.out.push(' '),
                Piece::Minus if self.negative => self.out.push('-'),
                Piece::Plus if !self.negative => self.out.push('+'),
                Piece::Minus | Piece::Plus if bare => {}
                Piece::Minus | Piece::Plus => self.out.push(' '),
                Piece::Either => self.out.push(if self.negative { '-' } else { '+' }),
                Piece::Ordinal(_) if self.overflow || self.negative || self.template.point => {}
                Piece::Ordinal(upper) => {
                    let text = String::from_utf8_lossy(&self.number);
                    let ending = super::template::ordinal(&text);
                    match upper {
                        true => self.out.push_str(&ending.to_ascii_uppercase()),
                        false => self.out.push_str(ending),
                    }
                }
                Piece::Text(c) => self.out.push(*c),
            }
        }
        self.out
    }

    /// Whether the place is that of the zero in front of the point of a number below 1, which is
    /// written only where the template says `0`.
    fn is_leading_zero(&self) -> bool {
        let t = self.template;
        t.zeros_from.is_none()
            && self.at == 0
            && self.number.first() == Some(&b'0')
            && t.fraction > 0
    }

    fn ends_at_point(&self) -> bool {
        self.last.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    fn sign(&mut self) {
        let t = self.template;
        let begins = self.place >= self.blanks || t.zeros_from == Some(self.place);
        if self.signed || !begins || (self.is_leading_zero() && !self.ends_at_point()) {
            return;
        }
        match t.sign {
            Sign::Behind => return,
            Sign::Anchored { .. } => self.out.push(if self.negative { '-' } else { '+' }),
            Sign::Brackets if self.brackets => self.out.push(if self.negative { '<' } else { ' ' }),
            _ if self.negative => self.out.push('-'),
            _ if !t.bare => self.out.push(' '),
            _ => {}
        }
        self.signed = true;
    }

    fn digit(&mut self, zero: bool) {
        let t = self.template;
        self.inside = false;
        self.sign();
        let zeros = t.zeros_from.is_some_and(|from| from <= self.place);
        if self.place < self.blanks && !zeros {
            if !t.bare {
                self.out.push(' ');
            }
        } else if self.place < self.blanks {
            self.out.push('0');
            self.inside = true;
        } else {
            match self.number.get(self.at) {
                Some(b'.') => self.out.push('.'),
                _ if self.last.is_some_and(|last| self.at > last) && !zero => {}
                Some(_) if self.is_leading_zero() => {
                    if !t.bare {
                        self.out.push(' ');
                    } else if self.ends_at_point() {
                        self.out.push('0');
                    }
                }
                Some(digit) => {
                    self.out.push(char::from(*digit));
                    self.inside = true;
                }
                None => {}
            }
            self.at = (self.at + 1).min(self.number.len());
        }
        let mut end = self.places + usize::from(self.blanks > 0) + usize::from(t.point);
        if self.last == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            match t.sign {
                Sign::Brackets if self.signed && self.brackets => {
                    self.out.push(if self.negative { '>' } else { ' ' });
                }
                Sign::Behind => self.out.push(if self.negative { '-' } else { '+' }),
                _ => {}
            }
        }
        self.place += 1;
    }
}

#[cfg(test)]
mod tests {
    //! What PostgreSQL 15 writes for the same templates.
    use super::*;

    fn written(number: &str, template: &str) -> String {
        let template = NumberTemplate::parse(template).expect("a template");
        let negative = number.starts_with('-');
        template.write(&Digits { negative, text: number.trim_start_matches('-').to_string() })
    }

    #[test]
    fn templates_of_postgres() {
        // Numbers as they are after rounding to the places of the template.
        for (number, template, expected) in [
            ("123", "999", " 123"),
            ("-123", "999", "-123"),
            ("5", "999", "   5"),
            ("-5", "999", "  -5"),
            ("0", "999", "   0"),
            ("12345", "999", " ###"),
            ("1234.50", "99.99", " ##.##"),
            ("123.46", "999.99", " 123.46"),
            ("0.10", "9.99", "  .10"),
            ("-0.10", "9.99", " -.10"),
            ("0.10", "0.99", " 0.10"),
            ("-0.10", "FM9.99", "-.1"),
            ("0.10", "FM9.99", ".1"),
            ("0.00", "FM9.99", "0."),
            ("0.0", "FM90.9", "0."),
            ("12.0", "FM999.9", "12."),
            ("12.0", "FM999.0", "12.0"),
            ("12", "0999", " 0012"),
            ("-12", "0999", "-0012"),
            ("-12", "FM0999", "-0012"),
            ("12.0", "9990999.9", "    0012.0"),
            ("1485", "9,999", " 1,485"),
            ("485", "9,999", "   485"),
            ("485", "FM9,999", "485"),
            ("1485.00", "9G999D99", " 1,485.00"),
            ("485", "999S", "485+"),
            ("-485", "999S", "485-"),
            ("-485", "S999", "-485"),
            ("485", "S9999", " +485"),
            ("485", "999MI", "485 "),
            ("-485", "999MI", "485-"),
            ("485", "FM999MI", "485"),
            ("485", "PL999", "+ 485"),
            ("485", "SG999", "+485"),
            ("-485", "SG999", "-485"),
            ("-485", "9SG99", "4-85"),
            ("-485", "999PR", "<485>"),
            ("485", "999PR", " 485 "),
            ("485", "L999", "  485"),
            ("482", "999th", " 482nd"),
            ("485", "\"Good number:\"999", "Good number: 485"),
            ("148.50", "FM999.990", "148.50"),
            ("12000", "99V999", " 12000"),
        ] {
            assert_eq!(written(number, template), expected, "{number} {template}");
        }
    }

    #[test]
    fn templates_that_contradict_themselves() {
        for (template, code) in [
            ("9.9.9", "42601"),
            ("S9S", "42601"),
            ("S9MI", "42601"),
            ("MI9S", "42601"),
            ("9PR9", "42601"),
            ("S9PR", "42601"),
            ("9.9V9", "42601"),
            ("9V9.9", "42601"),
            ("RN", "0A000"),
            ("9.99EEEE", "0A000"),
        ] {
            assert_eq!(
                NumberTemplate::parse(template).expect_err(template).code,
                code,
                "{template}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(
            template in "(9|0|\\.|,|S|MI|PL|SG|PR|FM|th|V|L|x|\"|é){0,12}",
            number in "-?[0-9]{1,12}(\\.[0-9]{1,5})?",
        ) {
            if let Ok(template) = NumberTemplate::parse(&template) {
                let negative = number.starts_with('-');
                template.write(&Digits { negative, text: number.trim_start_matches('-').into() });
            }
        }
    }
}
