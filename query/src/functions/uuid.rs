//! Functions of uuid: `gen_random_uuid()`, and what casts from and to text become.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::QueryError;
use crate::uuid::{UUID_BYTES, UUID_TYPE, invalid, parse_uuid, uuid_text};

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    /// A value of text.
    Read,
    /// A text of a value.
    Write,
    /// Values by chance.
    Random,
}

/// Reads texts.
pub(crate) static READ: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Act::Read));
/// Writes texts.
pub(crate) static WRITE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Act::Write));

/// `gen_random_uuid()`.
pub(super) fn random() -> Arc<ScalarUDF> {
    udf(Act::Random)
}

fn udf(act: Act) -> Arc<ScalarUDF> {
    let signature = match act {
        Act::Random => Signature::nullary(Volatility::Volatile),
        Act::Read | Act::Write => Signature::any(1, Volatility::Immutable),
    };
    Arc::new(ScalarUDF::from(OfUuid { act, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfUuid {
    act: Act,
    signature: Signature,
}

impl ScalarUDFImpl for OfUuid {
    fn name(&self) -> &str {
        match self.act {
            Act::Read => "uuid_of_text",
            Act::Write => "text_of_uuid",
            Act::Random => "gen_random_uuid",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.act {
            Act::Read | Act::Random => UUID_TYPE,
            Act::Write => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (one, scalar) = match args.args.as_slice() {
            [] if self.act == Act::Random => {
                return Ok(ColumnarValue::Array(by_chance(args.number_rows)?));
            }
            [ColumnarValue::Array(array)] => (array.clone(), false),
            [ColumnarValue::Scalar(value)] => (value.to_array()?, true),
            _ => return exec_err!("{} takes one argument", self.name()),
        };
        let done = match self.act {
            Act::Write => written(&one)?,
            Act::Read | Act::Random => read(&one)?,
        };
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&done, 0)?),
            false => ColumnarValue::Array(done),
        })
    }
}

/// Values of version 4 (RFC 9562), from the system's source of chance.
fn by_chance(count: usize) -> Result<ArrayRef> {
    let mut bytes = vec![0; count * UUID_BYTES];
    let failed = |error| QueryError::internal(format!("random numbers: {error}"));
    getrandom::getrandom(&mut bytes).map_err(|error| failed(error).into_datafusion())?;
    let mut out = FixedSizeBinaryBuilder::with_capacity(count, UUID_BYTES as i32);
    for value in bytes.chunks_exact_mut(UUID_BYTES) {
        value[6] = value[6] & 0x0f | 0x40;
        value[8] = value[8] & 0x3f | 0x80;
        out.append_value(value)?;
    }
    Ok(Arc::new(out.finish()))
}

fn read(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    let mut out = FixedSizeBinaryBuilder::with_capacity(texts.len(), UUID_BYTES as i32);
    for text in texts {
        match text {
            None => out.append_null(),
            Some(text) => match parse_uuid(text) {
                Some(value) => out.append_value(value)?,
                None => return Err(invalid(text).into_datafusion()),
            },
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Texts of values.
pub(crate) fn written(array: &ArrayRef) -> Result<ArrayRef> {
    let Some(values) = array.as_fixed_size_binary_opt() else {
        return exec_err!("a uuid is wanted, not {}", array.data_type());
    };
    let mut out = StringViewBuilder::with_capacity(values.len());
    values.iter().for_each(|value| out.append_option(value.map(uuid_text)));
    Ok(Arc::new(out.finish()))
}
