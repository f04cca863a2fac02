//! Two small shapes of scalar functions: a fixed value, and a look-up row by row.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

/// A function that gives the same value whatever its arguments are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fixed {
    name: String,
    value: ScalarValue,
    /// The type of Postgres that the value is shown as, if not its own.
    shown: Option<&'static str>,
    signature: Signature,
}

impl Fixed {
    pub(crate) fn udf(name: &str, value: ScalarValue) -> Arc<ScalarUDF> {
        Fixed::shown(name, value, None)
    }

    /// A value that is shown as another type.
    pub(crate) fn shown(
        name: &str,
        value: ScalarValue,
        shown: impl Into<Option<&'static str>>,
    ) -> Arc<ScalarUDF> {
        let (name, shown) = (name.to_string(), shown.into());
        let signature = anything(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Fixed { name, value, shown, signature }))
    }
}

/// The field of a function's result.
fn result(name: &str, kind: DataType, shown: Option<&str>) -> FieldRef {
    let field = Field::new(name, kind, true);
    Arc::new(match shown {
        Some(shown) => {
            field.with_metadata([(crate::PG_TYPE.to_string(), shown.to_string())].into())
        }
        None => field,
    })
}

/// Any number of arguments of any type.
fn anything(volatility: Volatility) -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility)
}

impl ScalarUDFImpl for Fixed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result(&self.name, self.value.data_type(), self.shown))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

type Find = dyn Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync;

/// A function that looks something up a row; for catalogues, not for data.
pub(crate) struct Lookup {
    name: String,
    returns: DataType,
    /// The type of Postgres that values are shown as, if not their own.
    shown: Option<&'static str>,
    signature: Signature,
    find: Arc<Find>,
}

impl Lookup {
    /// Whether a function looks something up that stays while the catalogue does.
    pub(crate) fn is_one(function: &ScalarUDF) -> bool {
        function.signature().volatility == Volatility::Stable
            && function.inner().downcast_ref::<Lookup>().is_some()
    }

    pub(crate) fn udf(
        name: &str,
        returns: DataType,
        find: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Lookup::of(name, returns, None, Volatility::Stable, Arc::new(find))
    }

    /// A function that does something: it is called when the statement runs, not before.
    pub(crate) fn volatile(
        name: &str,
        returns: DataType,
        find: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Lookup::of(name, returns, None, Volatility::Volatile, Arc::new(find))
    }

    /// As [`Lookup::volatile`], with values that are shown as another type.
    pub(crate) fn acting(
        name: &str,
        returns: DataType,
        shown: &'static str,
        find: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Lookup::of(name, returns, Some(shown), Volatility::Volatile, Arc::new(find))
    }

    /// Values that are shown as another type.
    pub(crate) fn shown(
        name: &str,
        returns: DataType,
        shown: impl Into<Option<&'static str>>,
        find: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Lookup::of(name, returns, shown.into(), Volatility::Stable, Arc::new(find))
    }

    fn of(
        name: &str,
        returns: DataType,
        shown: Option<&'static str>,
        volatility: Volatility,
        find: Arc<Find>,
    ) -> Arc<ScalarUDF> {
        let (name, signature) = (name.to_string(), anything(volatility));
        Arc::new(ScalarUDF::from(Lookup { name, returns, shown, signature, find }))
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("name", &self.name).finish()
    }
}

impl PartialEq for Lookup {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.find, &other.find)
    }
}

impl Eq for Lookup {}

impl Hash for Lookup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(result(&self.name, self.returns.clone(), self.shown))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars: Option<Vec<ScalarValue>> = args
            .args
            .iter()
            .map(|a| match a {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return Ok(ColumnarValue::Scalar((self.find)(&scalars)?));
        }
        let mut out = Vec::with_capacity(args.number_rows);
        let mut row = Vec::with_capacity(args.args.len());
        for i in 0..args.number_rows {
            row.clear();
            for arg in &args.args {
                row.push(match arg {
                    ColumnarValue::Scalar(value) => value.clone(),
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, i)?,
                });
            }
            out.push((self.find)(&row)?);
        }
        if out.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(out)?))
    }
}
