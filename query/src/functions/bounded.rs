//! Functions of DataFusion that may make far more than they are given, with a look at how much
//! before they make it.
//!
//! What a call will make is taken from the statement's share of the memory while it runs, or from
//! that of all queries where it is made while planning: 53200 where that does not have it. A single
//! value that is too long for a value is 54000, as in Postgres. Small calls are not counted, so
//! ordinary ones cost a pass over their lengths.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::QueryError;

/// Bytes of one value, as in Postgres.
const VALUE_BYTES_MAX: u128 = (1 << 30) - 1;
/// Bytes of one call that are not counted.
const SMALL_BYTES: u128 = 4 << 20;

/// Bytes that a call makes for a row, at most.
type RowBytes = fn(&Args, usize) -> u128;

/// The functions that are bounded; those without a name that is registered are left out.
const ALL: [(&str, RowBytes); 8] = [
    ("repeat", repeat),
    ("lpad", pad),
    ("rpad", pad),
    ("replace", replace),
    ("array_repeat", array_repeat),
    ("array_resize", array_resize),
    ("range", range),
    ("generate_series", range),
];

/// Puts the bounded functions in the place of DataFusion's own.
pub(super) fn register(state: &mut SessionState, pool: &Arc<dyn MemoryPool>) -> Result<()> {
    for (name, bytes) in ALL {
        let Some(inner) = state.scalar_functions().get(name).cloned() else { continue };
        let bounded = Bounded { inner, bytes, pool: Arc::clone(pool) };
        state.register_udf(Arc::new(ScalarUDF::from(bounded)))?;
    }
    Ok(())
}

/// Whether a plan calls one of them.
pub(crate) fn is_called(plan: &LogicalPlan) -> Result<bool> {
    let mut called = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            called |= expr.exists(|expr| {
                Ok(match expr {
                    Expr::ScalarFunction(call) => {
                        ALL.iter().any(|(name, _)| *name == call.func.name())
                    }
                    _ => false,
                })
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if called { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(called)
}

/// Options of a statement that say where its calls take memory from.
pub(crate) fn with_room(options: &ConfigOptions, pool: &Arc<dyn MemoryPool>) -> ConfigOptions {
    let mut options = options.clone();
    options.extensions.insert(Room(Arc::clone(pool)));
    options
}

/// The statement's memory, as options carry it.
#[derive(Clone, Debug)]
struct Room(Arc<dyn MemoryPool>);

impl ConfigExtension for Room {
    const PREFIX: &'static str = "millrace_room";
}

impl ExtensionOptions for Room {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        Err(QueryError::internal(format!("no option {key} of memory")).into_datafusion())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// A function, and how much it makes.
struct Bounded {
    inner: Arc<ScalarUDF>,
    bytes: RowBytes,
    pool: Arc<dyn MemoryPool>,
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bounded").field(&self.inner.name()).finish()
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Bounded) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let looked = Args::new(&args.args)?;
        // What is made of values alone is made once.
        let rows = if looked.constant { 1 } else { args.number_rows };
        let mut all = 0u128;
        for row in 0..rows {
            let bytes = (self.bytes)(&looked, row);
            if bytes > VALUE_BYTES_MAX {
                let message = format!("a value of {}() would have {bytes} bytes", self.name());
                let detail = format!("A value may have {VALUE_BYTES_MAX} bytes.");
                let error = QueryError::new("54000", message).with_detail(detail);
                return Err(error.into_datafusion());
            }
            all += bytes;
        }
        if all <= SMALL_BYTES {
            return self.inner.invoke_with_args(args);
        }
        let room = args.config_options.extensions.get::<Room>().map(|room| &room.0);
        let held = MemoryConsumer::new(self.name()).register(room.unwrap_or(&self.pool));
        held.try_grow(usize::try_from(all).unwrap_or(usize::MAX))?;
        let made = self.inner.invoke_with_args(args);
        drop(held);
        made
    }
}

/// The arguments of a call, to be looked at row by row.
struct Args {
    arrays: Vec<(ArrayRef, bool)>,
    /// Whether all of them are values.
    constant: bool,
}

impl Args {
    fn new(args: &[ColumnarValue]) -> Result<Args> {
        let array = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => Ok((Arc::clone(array), false)),
            ColumnarValue::Scalar(value) => Ok((value.to_array()?, true)),
        };
        let arrays = args.iter().map(array).collect::<Result<Vec<_>>>()?;
        let constant = arrays.iter().all(|(_, one)| *one);
        Ok(Args { arrays, constant })
    }

    fn at(&self, arg: usize, row: usize) -> Option<(&ArrayRef, usize)> {
        let (array, one) = self.arrays.get(arg)?;
        let row = if *one { 0 } else { row };
        (row < array.len() && array.is_valid(row)).then_some((array, row))
    }

    fn text(&self, arg: usize, row: usize) -> Option<&str> {
        let (array, row) = self.at(arg, row)?;
        Some(match array.data_type() {
            DataType::Utf8View => array.as_string_view().value(row),
            DataType::Utf8 => array.as_string::<i32>().value(row),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row),
            _ => return None,
        })
    }

    fn number(&self, arg: usize, row: usize) -> Option<i128> {
        let (array, row) = self.at(arg, row)?;
        let one = cast(&array.slice(row, 1), &DataType::Int64).ok()?;
        let one = one.as_primitive_opt::<Int64Type>()?;
        one.is_valid(0).then(|| i128::from(one.value(0)))
    }

    /// A number, a date or time in ns, an interval in ns.
    fn place(&self, arg: usize, row: usize) -> Option<i128> {
        let (array, at) = self.at(arg, row)?;
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        match array.data_type() {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                let days = cast(&array.slice(at, 1), &nanos).ok()?;
                let one = cast(&days, &DataType::Int64).ok()?;
                let one = one.as_primitive_opt::<Int64Type>()?;
                one.is_valid(0).then(|| i128::from(one.value(0)))
            }
            DataType::Interval(_) => {
                let one = array.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(at);
                let days = i128::from(one.months) * 28 + i128::from(one.days);
                Some(days * 86_400_000_000_000 + i128::from(one.nanoseconds))
            }
            _ => self.number(arg, row),
        }
    }
}

/// A number that says how many, as many as there can be.
fn count(number: Option<i128>) -> u128 {
    number.map_or(0, |number| u128::try_from(number).unwrap_or(0))
}

fn repeat(args: &Args, row: usize) -> u128 {
    let length = args.text(0, row).map_or(0, str::len);
    count(args.number(1, row)).saturating_mul(length as u128)
}

/// `lpad` and `rpad`: so many characters, none longer than the longest there is.
fn pad(args: &Args, row: usize) -> u128 {
    let Some(text) = args.text(0, row) else { return 0 };
    let longest = |text: &str| text.chars().map(char::len_utf8).max().unwrap_or(1);
    let fill = args.text(2, row).map_or(1, longest);
    count(args.number(1, row)).saturating_mul(longest(text).max(fill) as u128)
}

fn replace(args: &Args, row: usize) -> u128 {
    let (Some(text), Some(from), Some(to)) =
        (args.text(0, row), args.text(1, row), args.text(2, row))
    else {
        return 0;
    };
    let length = text.len() as u128;
    if to.len() <= from.len() {
        return length;
    }
    let found = match from.is_empty() {
        true => text.chars().count() + 1,
        false => text.matches(from).count(),
    };
    length + found as u128 * (to.len() - from.len()) as u128
}

fn array_repeat(args: &Args, row: usize) -> u128 {
    let each = args.at(0, row).map_or(8, |(array, row)| element_bytes(array, row));
    count(args.number(1, row)).saturating_mul(each)
}

fn array_resize(args: &Args, row: usize) -> u128 {
    let fill = args.at(2, row).map_or(8, |(array, row)| element_bytes(array, row));
    count(args.number(1, row)).saturating_mul(fill)
}

/// Bytes of one value, about.
fn element_bytes(array: &ArrayRef, row: usize) -> u128 {
    match array.data_type() {
        DataType::Utf8View => 16 + array.as_string_view().value(row).len() as u128,
        kind => match kind.primitive_width() {
            Some(width) => width as u128,
            None => {
                let value = ScalarValue::try_from_array(array, row);
                value.map_or(8, |value| value.size() as u128)
            }
        },
    }
}

/// `range(stop)`, `range(start, stop)`, `range(start, stop, step)`.
fn range(args: &Args, row: usize) -> u128 {
    let (start, stop, step) = match args.arrays.len() {
        1 => (Some(0), args.place(0, row), Some(1)),
        2 => (args.place(0, row), args.place(1, row), Some(1)),
        _ => (args.place(0, row), args.place(1, row), args.place(2, row)),
    };
    let (Some(start), Some(stop), Some(step)) = (start, stop, step) else { return 0 };
    if step == 0 || (stop > start) != (step > 0) {
        return 0;
    }
    ((stop - start).unsigned_abs() / step.unsigned_abs() + 1).saturating_mul(8)
}
