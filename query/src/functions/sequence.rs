//! `nextval`, `currval`, `lastval` and `setval`.
//!
//! What they do stays when their transaction is rolled back, as in Postgres.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Result;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableSource,
    TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, VisitMut, VisitorMut,
};

use super::session::as_text;
use crate::Identity;
use crate::activity::Client;
use crate::catalog::{object_of, relation_number, split_name};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::PlanContext;
use crate::plan::names::SCHEMA;
use crate::relational::def::Relations;
use crate::relational::sequence::def::{SequenceDef, State};
use crate::rights::acl::Mode;
use crate::rights::{Object, Role};
use crate::schema::{self, On, Schemas};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    Next,
    Current,
    Last,
    Set,
}

/// The function of that name.
pub(super) fn of_name(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let act = match name {
        "nextval" => Act::Next,
        "currval" => Act::Current,
        "lastval" => Act::Last,
        "setval" => Act::Set,
        _ => return None,
    };
    let counts = match act {
        Act::Last => vec![TypeSignature::Nullary],
        Act::Next | Act::Current => vec![TypeSignature::Any(1)],
        Act::Set => vec![TypeSignature::Any(2), TypeSignature::Any(3)],
    };
    let signature = Signature::one_of(counts, Volatility::Volatile);
    let scope = Arc::new(Scope::of(context).ok()?);
    Some(Arc::new(ScalarUDF::from(OfSequence { act, scope, signature })))
}

/// Whether a function is one of these.
pub(crate) fn is_one(name: &str) -> bool {
    matches!(name, "nextval" | "currval" | "lastval" | "setval")
}

/// What the functions know of their session.
struct Scope {
    engine: Arc<Engine>,
    identity: Arc<Identity>,
    client: Option<Arc<Client>>,
    session: u64,
    read_only: bool,
    names: Names,
}

/// What names mean: the schemas, and those of `search_path`.
struct Names {
    schemas: Arc<Schemas>,
    path: Vec<On>,
}

impl Names {
    fn of(context: &PlanContext) -> QueryResult<Names> {
        Ok(Names { schemas: context.schemas()?, path: context.path() })
    }

    /// The flat names that a name may stand for, in order.
    fn flat(&self, parts: &[String]) -> Vec<String> {
        match parts {
            [name] if self.schemas.list.is_empty() => vec![name.clone()],
            [name] => {
                let flat = |on: &On| match on {
                    On::Public => Some(name.clone()),
                    On::Own(number) => self.schemas.flat_in(*number, name),
                };
                self.path.iter().filter_map(flat).collect()
            }
            [schema, name] if schema == SCHEMA => vec![name.clone()],
            [schema, name] => {
                let found = self.schemas.find(schema);
                found.map(|schema| self.schemas.flat(schema, name)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Scope {
    fn of(context: &PlanContext) -> QueryResult<Scope> {
        Ok(Scope {
            engine: context.engine.clone(),
            identity: context.identity.clone(),
            client: context.client.clone(),
            session: context.session(),
            read_only: context.read_only,
            names: Names::of(context)?,
        })
    }

    /// The definitions of this moment.
    fn relations(&self) -> QueryResult<Arc<Relations>> {
        self.engine.relational().seen(&self.engine.db().snapshot(), self.session)
    }

    /// The sequence that an argument says, by name or by number.
    fn find(&self, value: &ScalarValue) -> QueryResult<Arc<SequenceDef>> {
        let relations = self.relations()?;
        if let Some(text) = as_text(value) {
            return found(&relations, &self.names, text);
        }
        let oid = match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(oid))) => oid,
            _ => {
                let message = "a sequence is named by a text or a regclass";
                return Err(QueryError::new("42883", message));
            }
        };
        let sequence = object_of(oid).and_then(|number| relations.sequence(number));
        sequence.cloned().ok_or_else(|| {
            QueryError::new("42P01", format!("could not open relation with OID {oid}"))
        })
    }

    /// `42501` for who may not look into its schema.
    fn check_schema(&self, sequence: &SequenceDef) -> QueryResult<()> {
        let rights = self.engine.rights().now(&self.engine)?;
        rights.check_schema(&Role::from(&*self.identity), &self.names.schemas, &sequence.name)
    }

    /// `42501` for who may not take numbers, or set them, which takes this right on the table that
    /// the sequence goes with; `25006` where nothing may be written.
    fn check(&self, sequence: &SequenceDef, what: &str, mode: Mode) -> QueryResult<()> {
        self.check_schema(sequence)?;
        let identity = &self.identity;
        if !identity.superuser && !identity.can_write && !identity.can_define {
            let rights = self.engine.rights().now(&self.engine)?;
            let role = Role::from(&**identity);
            let granted = sequence
                .owned
                .is_some_and(|owned| rights.may_any(&role, Object::Relational(owned.table), mode));
            if !granted {
                let name = schema::bare(&sequence.name);
                let message = format!("permission denied for sequence {name}");
                return Err(QueryError::new("42501", message));
            }
        }
        if self.read_only {
            let message = format!("cannot execute {what}() in a read-only transaction");
            return Err(QueryError::new("25006", message));
        }
        Ok(())
    }

    fn next(&self, value: &ScalarValue, count: usize) -> QueryResult<Vec<i64>> {
        let sequence = self.find(value)?;
        self.check(&sequence, "nextval", Mode::INSERT)?;
        let sequences = &self.engine.relational().sequences;
        let numbers = sequences.take(self.engine.db(), &sequence, count)?;
        if let (Some(client), Some(last)) = (&self.client, numbers.last()) {
            client.numbers.note(sequence.number, *last);
        }
        Ok(numbers)
    }

    fn current(&self, value: &ScalarValue) -> QueryResult<i64> {
        let sequence = self.find(value)?;
        self.check_schema(&sequence)?;
        let given = self.client.as_ref().and_then(|client| client.numbers.of(sequence.number));
        given.ok_or_else(|| {
            let name = schema::bare(&sequence.name);
            let message =
                format!("currval of sequence \"{name}\" is not yet defined in this session");
            QueryError::new("55000", message)
        })
    }

    fn last(&self) -> QueryResult<i64> {
        let undefined = || QueryError::new("55000", "lastval is not yet defined in this session");
        let last = self.client.as_ref().and_then(|client| client.numbers.last());
        let (sequence, number) = last.ok_or_else(undefined)?;
        // One that was dropped has no last number.
        self.relations()?.sequence(sequence).map(|_| number).ok_or_else(undefined)
    }

    fn set(&self, args: &[ScalarValue]) -> QueryResult<i64> {
        let wrong = || QueryError::new("42883", "setval takes a sequence, a bigint and a boolean");
        let [sequence, value, rest @ ..] = args else { return Err(wrong()) };
        let called = match rest {
            [] => true,
            [called] => match called.cast_to(&DataType::Boolean)? {
                ScalarValue::Boolean(Some(called)) => called,
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let sequence = self.find(sequence)?;
        self.check(&sequence, "setval", Mode::UPDATE)?;
        let ScalarValue::Int64(Some(last)) = value.cast_to(&DataType::Int64)? else {
            return Err(wrong());
        };
        if !(sequence.min..=sequence.max).contains(&last) {
            let name = schema::bare(&sequence.name);
            let message = format!(
                "setval: value {last} is out of bounds for sequence \"{name}\" ({}..{})",
                sequence.min, sequence.max
            );
            return Err(QueryError::new("22003", message));
        }
        let state = State { last, called };
        self.engine.relational().sequences.set(self.engine.db(), &sequence, state)?;
        if let Some(client) = self.client.as_ref().filter(|_| called) {
            client.numbers.set(sequence.number, last);
        }
        Ok(last)
    }
}

/// A sequence read as a table: its one row, as it is now.
pub(crate) fn table(
    context: &PlanContext,
    name: &str,
) -> QueryResult<Option<Arc<dyn TableSource>>> {
    let relations = context.relations()?;
    let Some(sequence) = relations.find_sequence(name) else { return Ok(None) };
    if context.snapshot.table(name).is_some() {
        return Ok(None);
    }
    let identity = &context.identity;
    let all = identity.superuser || identity.can_read || identity.can_write || identity.can_define;
    if !all {
        let message = format!("permission denied for sequence {}", schema::bare(name));
        return Err(QueryError::new("42501", message));
    }
    context.mark_fleeting();
    let sequences = &context.engine.relational().sequences;
    let state = sequences.state(context.engine.db(), sequence)?;
    let fields = [
        Field::new("last_value", DataType::Int64, false),
        Field::new("log_cnt", DataType::Int64, false),
        Field::new("is_called", DataType::Boolean, false),
    ];
    let shown = Arc::new(Schema::new(fields.to_vec()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![state.last])),
        Arc::new(Int64Array::from(vec![0])),
        Arc::new(BooleanArray::from(vec![state.called])),
    ];
    let batch = RecordBatch::try_new(shown.clone(), columns)?;
    Ok(Some(provider_as_source(Arc::new(MemTable::try_new(shown, vec![vec![batch]])?))))
}

/// The sequence of a name, which may be quoted and have a schema.
fn found(relations: &Relations, names: &Names, text: &str) -> QueryResult<Arc<SequenceDef>> {
    let missing = || QueryError::no_table(text.trim());
    let all = names.flat(&split_name(text).ok_or_else(missing)?);
    if let Some(sequence) = all.iter().find_map(|name| relations.find_sequence(name)) {
        return Ok(sequence.clone());
    }
    match all.iter().any(|name| relations.is_taken(name)) {
        true => Err(QueryError::new("42809", format!("\"{}\" is not a sequence", text.trim()))),
        false => Err(missing()),
    }
}

/// Puts numbers of sequences for their names into calls of `nextval`, so that the text of the
/// expression means the same after a rename and under any `search_path`. Whether there are any.
pub(crate) fn bind(context: &PlanContext, expr: &mut Expr) -> QueryResult<bool> {
    struct Calls<'a>(&'a PlanContext, bool);
    impl VisitorMut for Calls<'_> {
        type Break = QueryError;
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
            let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
            let name = call.name.0.last().and_then(|part| part.as_ident()).map(folded);
            if name.as_deref() != Some("nextval") {
                return ControlFlow::Continue(());
            }
            self.1 = true;
            let FunctionArguments::List(list) = &mut call.args else {
                return ControlFlow::Continue(());
            };
            if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] = &mut list.args[..]
                && let Some(text) = named(arg)
            {
                let sequence = self
                    .0
                    .relations()
                    .and_then(|relations| found(&relations, &Names::of(self.0)?, &text));
                match sequence {
                    Ok(sequence) => {
                        let digits = relation_number(sequence.number).to_string();
                        *arg = Expr::value(ast::Value::Number(digits, false));
                    }
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls(context, false);
    match expr.visit(&mut calls) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(calls.1),
    }
}

/// The name that `'name'` and `'name'::regclass` say.
fn named(arg: &Expr) -> Option<String> {
    match arg {
        Expr::Nested(inner) => named(inner),
        Expr::Cast { expr, data_type: ast::DataType::Regclass | ast::DataType::Text, .. } => {
            named(expr)
        }
        Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

struct OfSequence {
    act: Act,
    scope: Arc<Scope>,
    signature: Signature,
}

impl std::fmt::Debug for OfSequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfSequence").field("act", &self.act).finish()
    }
}

impl PartialEq for OfSequence {
    fn eq(&self, other: &Self) -> bool {
        self.act == other.act && Arc::ptr_eq(&self.scope, &other.scope)
    }
}

impl Eq for OfSequence {}

impl std::hash::Hash for OfSequence {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.act.hash(state);
    }
}

impl OfSequence {
    fn one(&self, args: &[ScalarValue]) -> QueryResult<Option<i64>> {
        if args.iter().any(ScalarValue::is_null) {
            return Ok(None);
        }
        match (self.act, args) {
            (Act::Next, [sequence]) => Ok(self.scope.next(sequence, 1)?.first().copied()),
            (Act::Current, [sequence]) => self.scope.current(sequence).map(Some),
            (Act::Last, _) => self.scope.last().map(Some),
            (Act::Set, args) => self.scope.set(args).map(Some),
            _ => Err(QueryError::new("42883", "a function of sequences takes a sequence")),
        }
    }
}

impl ScalarUDFImpl for OfSequence {
    fn name(&self) -> &str {
        match self.act {
            Act::Next => "nextval",
            Act::Current => "currval",
            Act::Last => "lastval",
            Act::Set => "setval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let out: ArrayRef = match &args.args[..] {
            // Many rows of one sequence are one taking of numbers.
            [ColumnarValue::Scalar(sequence)] if self.act == Act::Next && !sequence.is_null() => {
                let numbers = self.scope.next(sequence, rows);
                Arc::new(Int64Array::from(numbers.map_err(QueryError::into_datafusion)?))
            }
            given => {
                let mut out = Vec::with_capacity(rows);
                for row in 0..rows {
                    let mut one = Vec::with_capacity(given.len());
                    for arg in given {
                        one.push(match arg {
                            ColumnarValue::Scalar(value) => value.clone(),
                            ColumnarValue::Array(all) => ScalarValue::try_from_array(all, row)?,
                        });
                    }
                    out.push(self.one(&one).map_err(QueryError::into_datafusion)?);
                }
                Arc::new(Int64Array::from(out))
            }
        };
        Ok(ColumnarValue::Array(out))
    }
}
