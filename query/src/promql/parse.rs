//! From text to expressions: the grammar of PromQL by precedence climbing, types checked as it goes.

#[cfg(test)]
mod tests;

use super::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Expr, Kind, Matching, Selector, Side,
    Subquery, When,
};
use super::functions::{self, Function};
use super::labels::METRIC_NAME;
use super::lex::{Token, error_at, tokens};
use super::matcher::{MatchOp, Matcher, RegexBudget};
use super::text;
use crate::error::{QueryError, QueryResult};

/// Bytes of a query.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Levels of nesting; evaluation recurses as deep.
const DEPTH_MAX: usize = 200;
/// Operators of a query: `a + a + …` is as deep as it is long.
const OPERATORS_MAX: usize = 1000;

/// Reads a query.
///
/// # Errors
/// `42601` for what is no PromQL or has wrong types, with a position; `0A000` for what Prometheus has
/// and Millrace has not; `54001` for what is too long or too deep.
pub(crate) fn parse(source: &str) -> QueryResult<Expr> {
    if source.len() > TEXT_BYTES_MAX {
        let message = format!("the query is longer than {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new("54001", message));
    }
    let mut parser = Parser::new(source)?;
    if *parser.peek() == Token::End {
        return Err(parser.error("no expression found in input"));
    }
    let expr = parser.expr(1)?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => Err(parser.error(format!("unexpected {}", other.shown()))),
    }
}

/// Reads one selector without range, as `match[]` has it.
///
/// # Errors
/// As [`parse`].
pub fn parse_selector(source: &str, budget: &mut RegexBudget) -> QueryResult<Vec<Matcher>> {
    if source.len() > TEXT_BYTES_MAX {
        let message = format!("the selector is longer than {TEXT_BYTES_MAX} bytes");
        return Err(QueryError::new("54001", message));
    }
    let mut parser = Parser::new(source)?;
    let name = match parser.peek().clone() {
        Token::Word(word) => {
            parser.next();
            Some(word)
        }
        _ if parser.is("{") => None,
        other => return Err(parser.error(format!("unexpected {}", other.shown()))),
    };
    std::mem::swap(&mut parser.regexes, budget);
    let expr = parser.selector(name.as_deref());
    std::mem::swap(&mut parser.regexes, budget);
    match (parser.peek(), expr?) {
        (Token::End, Expr::Vector(selector)) => Ok(selector.matchers),
        (other, _) => Err(parser.error(format!("unexpected {}", other.shown()))),
    }
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    operators: usize,
    regexes: RegexBudget,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> QueryResult<Parser<'s>> {
        let regexes = RegexBudget::default();
        Ok(Parser { source, tokens: tokens(source)?, at: 0, depth: 0, operators: 0, regexes })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    /// The byte at which the next word begins.
    fn place(&self) -> usize {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn error(&self, message: impl std::fmt::Display) -> QueryError {
        error_at(self.source, self.place(), message)
    }

    fn error_at(&self, place: usize, message: impl std::fmt::Display) -> QueryError {
        error_at(self.source, place, message)
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(found) if *found == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, symbol: &str, context: &str) -> QueryResult<()> {
        if self.take(symbol) {
            return Ok(());
        }
        let found = self.peek().shown();
        Err(self.error(format!("unexpected {found} in {context}, expected {symbol:?}")))
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn take_word(&mut self, keyword: &str) -> bool {
        let found = self.is_word(keyword);
        if found {
            self.next();
        }
        found
    }

    /// One level deeper, at most [`DEPTH_MAX`].
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        if self.depth == DEPTH_MAX {
            let message = format!("the query is nested deeper than {DEPTH_MAX} levels");
            return Err(QueryError::new("54001", message));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    /// An expression of operators that bind at least so strongly.
    fn expr(&mut self, least: u8) -> QueryResult<Expr> {
        self.deeper(|parser| parser.expr_here(least))
    }

    fn expr_here(&mut self, least: u8) -> QueryResult<Expr> {
        let start = self.place();
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| op.precedence() >= least) {
            let place = self.place();
            self.next();
            self.operators += 1;
            if self.operators > OPERATORS_MAX {
                let message = format!("the query has more than {OPERATORS_MAX} operators");
                return Err(QueryError::new("54001", message));
            }
            let (bool, matching) = self.modifiers(op)?;
            // Of operators that bind alike the left ones come first, but powers.
            let least = op.precedence() + u8::from(op != BinaryOp::Pow);
            let right_place = self.place();
            let right = self.expr(least)?;
            let binary = Binary { op, left, right, bool, matching: matching.unwrap_or_default() };
            self.check_binary(&binary, [start, place, right_place])?;
            left = Expr::Binary(Box::new(binary));
        }
        Ok(left)
    }

    fn operator(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            Token::Symbol("+") => BinaryOp::Add,
            Token::Symbol("-") => BinaryOp::Sub,
            Token::Symbol("*") => BinaryOp::Mul,
            Token::Symbol("/") => BinaryOp::Div,
            Token::Symbol("%") => BinaryOp::Mod,
            Token::Symbol("^") => BinaryOp::Pow,
            Token::Symbol("==") => BinaryOp::Equal,
            Token::Symbol("!=") => BinaryOp::NotEqual,
            Token::Symbol("<") => BinaryOp::Less,
            Token::Symbol("<=") => BinaryOp::LessEqual,
            Token::Symbol(">") => BinaryOp::Greater,
            Token::Symbol(">=") => BinaryOp::GreaterEqual,
            _ if self.is_word("and") => BinaryOp::And,
            _ if self.is_word("or") => BinaryOp::Or,
            _ if self.is_word("unless") => BinaryOp::Unless,
            _ if self.is_word("atan2") => BinaryOp::Atan2,
            _ => return None,
        })
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    fn modifiers(&mut self, op: BinaryOp) -> QueryResult<(bool, Option<Matching>)> {
        let place = self.place();
        let bool = self.take_word("bool");
        if bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return Err(self.error_at(place, message));
        }
        let on = self.is_word("on");
        if !on && !self.is_word("ignoring") {
            for word in ["group_left", "group_right"] {
                if self.is_word(word) && *self.peek_second() == Token::Symbol("(") {
                    return Err(self.error(format!("unexpected <{word}>")));
                }
            }
            self.refuse_fill()?;
            return Ok((bool, None));
        }
        self.next();
        let labels = self.labels("grouping opts")?;
        let place = self.place();
        let group = match () {
            () if self.take_word("group_left") => Some(Side::Left),
            () if self.take_word("group_right") => Some(Side::Right),
            () => None,
        };
        let mut include = Vec::new();
        if group.is_some() {
            if op.is_set() {
                let message = format!("no grouping allowed for {op:?} operation").to_lowercase();
                return Err(self.error_at(place, message));
            }
            if self.is("(") {
                include = self.labels("grouping opts")?;
            }
            if let Some(both) = include.iter().find(|label| on && labels.contains(label)) {
                let message =
                    format!("label {both:?} must not occur in ON and GROUP clause at once");
                return Err(self.error_at(place, message));
            }
        }
        self.refuse_fill()?;
        Ok((bool, Some(Matching { on, labels, group, include })))
    }

    fn refuse_fill(&self) -> QueryResult<()> {
        for word in ["fill", "fill_left", "fill_right"] {
            if self.is_word(word) && *self.peek_second() == Token::Symbol("(") {
                return Err(QueryError::unsupported(format!("{word} of vector matching")));
            }
        }
        Ok(())
    }

    /// `(a, b, "c")`
    fn labels(&mut self, context: &str) -> QueryResult<Vec<String>> {
        self.expect("(", context)?;
        let mut labels = Vec::new();
        while !self.take(")") {
            let place = self.place();
            match self.next() {
                Token::Word(word) if !word.contains(':') => labels.push(word),
                Token::Text(text) if !text.is_empty() => labels.push(text),
                other => {
                    let message =
                        format!("unexpected {} in {context}, expected label", other.shown());
                    return Err(self.error_at(place, message));
                }
            }
            if !self.is(")") {
                self.expect(",", context)?;
            }
        }
        Ok(labels)
    }

    fn check_binary(&self, binary: &Binary, [left, op, right]: [usize; 3]) -> QueryResult<()> {
        for (side, place) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(side.kind(), Kind::Scalar | Kind::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return Err(self.error_at(place, message));
            }
        }
        let scalars = [&binary.left, &binary.right].map(|side| side.kind() == Kind::Scalar);
        if scalars == [true, true] && binary.op.is_comparison() && !binary.bool {
            let message = "comparisons between scalars must use BOOL modifier";
            return Err(self.error_at(op, message));
        }
        if scalars.contains(&true) {
            if binary.op.is_set() {
                let message =
                    format!("set operator {:?} not allowed in binary scalar expression", binary.op);
                return Err(self.error_at(op, message.to_lowercase()));
            }
            let matching = &binary.matching;
            if matching.on || !matching.labels.is_empty() || matching.group.is_some() {
                let message = "vector matching only allowed between instant vectors";
                return Err(self.error_at(op, message));
            }
        }
        Ok(())
    }

    fn unary(&mut self) -> QueryResult<Expr> {
        let place = self.place();
        let minus = self.is("-");
        if !minus && !self.is("+") {
            return self.postfix();
        }
        self.next();
        let inner = self.expr(BinaryOp::Pow.precedence())?;
        if !matches!(inner.kind(), Kind::Scalar | Kind::Vector) {
            let kind = inner.kind().name();
            let message = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {kind:?}"
            );
            return Err(self.error_at(place, message));
        }
        Ok(match (minus, inner) {
            (false, inner) => inner,
            (true, Expr::Number(value)) => Expr::Number(-value),
            (true, inner) => Expr::Negate(Box::new(inner)),
        })
    }

    /// Something with `[…]`, `offset` and `@` behind it.
    fn postfix(&mut self) -> QueryResult<Expr> {
        let start = self.place();
        let mut expr = self.primary()?;
        loop {
            let place = self.place();
            if self.take("[") {
                expr = self.range(expr, start)?;
            } else if self.take_word("offset") {
                let offset_ns = self.signed_span()?;
                let when = self.when(&mut expr, place, "offset")?;
                if when.offset_ns != 0 {
                    let message = "offset may not be set multiple times";
                    return Err(self.error_at(place, message));
                }
                when.offset_ns = offset_ns;
            } else if self.take("@") {
                let at = self.moment()?;
                let when = self.when(&mut expr, place, "@")?;
                if when.at.replace(at).is_some() {
                    return Err(self.error_at(place, "@ <timestamp> may not be set multiple times"));
                }
            } else {
                for word in ["smoothed", "anchored"] {
                    if self.is_word(word) {
                        return Err(QueryError::unsupported(format!("the modifier {word}")));
                    }
                }
                return Ok(expr);
            }
        }
    }

    /// The place of the modifiers of a selector or subquery.
    fn when<'e>(&self, expr: &'e mut Expr, place: usize, what: &str) -> QueryResult<&'e mut When> {
        match expr {
            Expr::Vector(selector) | Expr::Matrix(selector, _) => Ok(&mut selector.when),
            Expr::Subquery(subquery) => Ok(&mut subquery.when),
            _ => {
                let message = format!(
                    "{what} modifier must be preceded by an instant vector selector or range \
                     vector selector or a subquery"
                );
                Err(self.error_at(place, message))
            }
        }
    }

    /// Behind `[`.
    fn range(&mut self, inner: Expr, start: usize) -> QueryResult<Expr> {
        let place = self.place();
        let range_ns = self.span()?;
        if range_ns <= 0 {
            return Err(self.error_at(place, "duration must be greater than 0"));
        }
        if self.take(":") {
            let step_ns = match self.is("]") {
                true => None,
                false => {
                    let place = self.place();
                    let step = self.span()?;
                    if step <= 0 {
                        return Err(self.error_at(place, "duration must be greater than 0"));
                    }
                    Some(step)
                }
            };
            self.expect("]", "subquery selector")?;
            if inner.kind() != Kind::Vector {
                let kind = inner.kind().name();
                let message =
                    format!("subquery is only allowed on instant vector, got {kind} instead");
                return Err(self.error_at(start, message));
            }
            let when = When::default();
            return Ok(Expr::Subquery(Box::new(Subquery { inner, range_ns, step_ns, when })));
        }
        self.expect("]", "range selector")?;
        match inner {
            Expr::Vector(selector)
                if selector.when.at.is_none() && selector.when.offset_ns == 0 =>
            {
                Ok(Expr::Matrix(selector, range_ns))
            }
            Expr::Vector(_) => {
                Err(self.error_at(start, "no offset or @ modifiers allowed before range"))
            }
            _ => {
                let message = "ranges only allowed for vector selectors";
                Err(self.error_at(start, message))
            }
        }
    }

    /// A span, or seconds as a number; ns.
    fn span(&mut self) -> QueryResult<i64> {
        let place = self.place();
        match self.next() {
            Token::Span(ns) => Ok(ns),
            Token::Number(seconds) => {
                text::seconds_to_ns(seconds).map_err(|error| self.error_at(place, error.message))
            }
            other => {
                let message = format!("unexpected {}, expected duration", other.shown());
                Err(self.error_at(place, message))
            }
        }
    }

    fn signed_span(&mut self) -> QueryResult<i64> {
        let minus = self.is("-");
        if minus || self.is("+") {
            self.next();
        }
        let span = self.span()?;
        Ok(if minus { -span } else { span })
    }

    /// Behind `@`.
    fn moment(&mut self) -> QueryResult<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) {
                self.next();
                self.expect("(", "@ modifier")?;
                self.expect(")", "@ modifier")?;
                return Ok(at);
            }
        }
        Ok(At::Time(self.signed_span()?))
    }

    fn primary(&mut self) -> QueryResult<Expr> {
        let place = self.place();
        match self.peek().clone() {
            Token::Number(value) => {
                self.next();
                Ok(Expr::Number(value))
            }
            Token::Span(ns) => {
                self.next();
                Ok(Expr::Number(text::ns_to_seconds(ns)))
            }
            Token::Text(text) => {
                self.next();
                Ok(Expr::Text(text))
            }
            Token::Symbol("(") => {
                self.next();
                let inner = self.expr(1)?;
                self.expect(")", "paren expression")?;
                Ok(Expr::Paren(Box::new(inner)))
            }
            Token::Symbol("{") => self.selector(None),
            Token::Word(word) => self.named(&word),
            other => Err(self.error_at(place, format!("unexpected {}", other.shown()))),
        }
    }

    /// What begins with a word: an aggregation, a call, a number or a selector.
    fn named(&mut self, word: &str) -> QueryResult<Expr> {
        let lower = word.to_ascii_lowercase();
        let call = *self.peek_second() == Token::Symbol("(");
        let grouped = matches!(self.peek_second(), Token::Word(next)
            if ["by", "without"].contains(&next.to_ascii_lowercase().as_str()));
        if call || grouped {
            if let Some(op) = AggregateOp::from_name(&lower) {
                return self.aggregate(op);
            }
            if ["limitk", "limit_ratio"].contains(&lower.as_str()) {
                return Err(QueryError::unsupported(format!("the aggregation {lower}")));
            }
        }
        if call {
            return match functions::find(word) {
                Some(function) => self.call(function),
                None if functions::is_known_elsewhere(word) => {
                    Err(QueryError::unsupported(format!("the function {word}")))
                }
                None => Err(self.error(format!("unknown function with name {word:?}"))),
            };
        }
        match lower.as_str() {
            "inf" => {
                self.next();
                Ok(Expr::Number(f64::INFINITY))
            }
            "nan" => {
                self.next();
                Ok(Expr::Number(f64::NAN))
            }
            "bool" | "on" | "ignoring" | "group_left" | "group_right" | "atan2" => {
                Err(self.error(format!("unexpected <{lower}>")))
            }
            _ => {
                self.next();
                self.selector(Some(word))
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> QueryResult<Expr> {
        self.next();
        let mut grouping = self.grouping()?;
        let place = self.place();
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let wanted = 1 + usize::from(op.param().is_some());
        if args.len() != wanted {
            let found = args.len();
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {found}"
            );
            return Err(self.error_at(place, message));
        }
        let inner = args.pop().ok_or_else(|| self.error("no argument"))?;
        let param = args.pop();
        self.check_kind(&inner.0, Kind::Vector, inner.1, "aggregation expression")?;
        if let (Some((param, place)), Some(kind)) = (&param, op.param()) {
            self.check_kind(param, kind, *place, "aggregation parameter")?;
        }
        let (without, labels) = grouping.unwrap_or((false, Vec::new()));
        let param = param.map(|(param, _)| param);
        let aggregate = Aggregate { op, inner: inner.0, param, labels, without };
        Ok(Expr::Aggregate(Box::new(aggregate)))
    }

    fn grouping(&mut self) -> QueryResult<Option<(bool, Vec<String>)>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.next();
        Ok(Some((without, self.labels("grouping opts")?)))
    }

    /// `(a, b)`, each with its place.
    fn arguments(&mut self) -> QueryResult<Vec<(Expr, usize)>> {
        self.expect("(", "function call")?;
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            let place = self.place();
            args.push((self.expr(1)?, place));
            if self.take(")") {
                return Ok(args);
            }
            self.expect(",", "function call")?;
            if self.is(")") {
                return Err(self.error("trailing commas not allowed in function call args"));
            }
        }
    }

    fn call(&mut self, function: &'static Function) -> QueryResult<Expr> {
        let place = self.place();
        self.next();
        let args = self.arguments()?;
        let most = function.args.len();
        let least =
            most - function.optional - usize::from(function.variadic && function.optional == 0);
        if args.len() < least || (args.len() > most && !function.variadic) {
            let wanted = match (least == most, function.variadic) {
                (true, _) => format!("{most}"),
                (false, true) => format!("at least {least}"),
                (false, false) => format!("{least} to {most}"),
            };
            let message = format!(
                "expected {wanted} argument(s) in call to {:?}, got {}",
                function.name,
                args.len()
            );
            return Err(self.error_at(place, message));
        }
        for (n, (arg, place)) in args.iter().enumerate() {
            let kind = function.args.get(n).or(function.args.last()).copied();
            let context = format!("call to function {:?}", function.name);
            self.check_kind(arg, kind.unwrap_or(Kind::Scalar), *place, &context)?;
        }
        let args = args.into_iter().map(|(arg, _)| arg).collect();
        Ok(Expr::Call(Box::new(Call { function, args })))
    }

    fn check_kind(
        &self,
        expr: &Expr,
        wanted: Kind,
        place: usize,
        context: &str,
    ) -> QueryResult<()> {
        let found = expr.kind();
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.name(), found.name());
        let message = format!("expected type {wanted} in {context}, got {found}");
        Err(self.error_at(place, message))
    }

    /// A selector whose name, if any, was read.
    fn selector(&mut self, name: Option<&str>) -> QueryResult<Expr> {
        let place = self.place();
        let mut matchers = Vec::new();
        if let Some(name) = name {
            matchers.push(Matcher::new(METRIC_NAME, MatchOp::Equal, name, &mut self.regexes)?);
        }
        if self.take("{") {
            let mut quoted = false;
            while !self.take("}") {
                let place = self.place();
                let (matcher, is_name) = self.matcher()?;
                if (is_name && quoted)
                    || (name.is_some()
                        && matcher.name == METRIC_NAME
                        && matcher.op == MatchOp::Equal)
                {
                    let message = "metric name must not be set twice";
                    return Err(self.error_at(place, message));
                }
                quoted |= is_name;
                matchers.push(matcher);
                if self.is_word("or") {
                    return Err(QueryError::unsupported("\"or\" between label matchers"));
                }
                if !self.is("}") {
                    self.expect(",", "label matching")?;
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.passes("")) {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(self.error_at(place, message));
        }
        Ok(Expr::Vector(Selector { matchers, when: When::default() }))
    }

    /// One matcher, and whether it is a name in quotes.
    fn matcher(&mut self) -> QueryResult<(Matcher, bool)> {
        let place = self.place();
        let quoted = matches!(self.peek(), Token::Text(_));
        let name = match self.next() {
            Token::Word(word) if !word.contains(':') => word,
            Token::Text(text) => text,
            other => {
                let message = format!(
                    "unexpected {} in label matching, expected identifier or \"}}\"",
                    other.shown()
                );
                return Err(self.error_at(place, message));
            }
        };
        let op = match self.peek() {
            Token::Symbol("=") => MatchOp::Equal,
            Token::Symbol("!=") => MatchOp::NotEqual,
            Token::Symbol("=~") => MatchOp::Matches,
            Token::Symbol("!~") => MatchOp::NotMatches,
            _ if quoted => {
                let budget = &mut self.regexes;
                return Ok((Matcher::new(METRIC_NAME, MatchOp::Equal, &name, budget)?, true));
            }
            other => {
                let message = format!(
                    "unexpected {} in label matching, expected label matching operator",
                    other.shown()
                );
                return Err(self.error(message));
            }
        };
        self.next();
        let place = self.place();
        match self.next() {
            Token::Text(value) => {
                let matcher = Matcher::new(&name, op, &value, &mut self.regexes);
                let matcher = matcher.map_err(|error| self.error_at(place, error.message))?;
                Ok((matcher, false))
            }
            other => {
                let message =
                    format!("unexpected {} in label matching, expected string", other.shown());
                Err(self.error_at(place, message))
            }
        }
    }
}
