//! What casts to `varchar(n)` and `char(n)` become: texts cut to a length, and filled up to it.

use std::sync::Arc;

use arrow::array::{AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

/// What is done to a text, with a number of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Length {
    /// What is beyond goes, as `varchar(n)` has it.
    Cut,
    /// So do blanks at the end, which do not count in a `char(n)`.
    CutBlank,
    /// Blanks come up to the length, as a `char(n)` is shown.
    Fill,
}

impl Length {
    pub(crate) const ALL: [Length; 3] = [Length::Cut, Length::CutBlank, Length::Fill];

    /// The name of the function, which users do not write.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Length::Cut => "__cut",
            Length::CutBlank => "__cut_blank",
            Length::Fill => "__fill_blank",
        }
    }

    fn of(self, text: &str, length: usize) -> String {
        let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let cut = &text[..end];
        match self {
            Length::Cut => cut.to_owned(),
            Length::CutBlank => cut.trim_end_matches(' ').to_owned(),
            Length::Fill => format!("{text:length$}"),
        }
    }
}

pub(super) fn udf(length: Length) -> ScalarUDF {
    ScalarUDF::from(OfLength { length, signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfLength {
    length: Length,
    signature: Signature,
}

impl ScalarUDFImpl for OfLength {
    fn name(&self) -> &str {
        self.length.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    /// A cast does not show in the name of a column.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [text, _] => Ok(text.schema_name().to_string()),
            _ => exec_err!("{} takes two arguments", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, ColumnarValue::Scalar(ScalarValue::Int64(Some(length)))] = args.args.as_slice()
        else {
            return exec_err!("{} takes a text and a length", self.name());
        };
        let Ok(length) = usize::try_from(*length) else {
            return exec_err!("{} takes a length", self.name());
        };
        let array = match text {
            ColumnarValue::Array(array) => array.clone(),
            ColumnarValue::Scalar(value) => value.to_array()?,
        };
        let texts = cast(&array, &DataType::Utf8View)?;
        let mut out = StringViewBuilder::with_capacity(texts.len());
        for text in texts.as_string_view() {
            out.append_option(text.map(|text| self.length.of(text, length)));
        }
        let done: arrow::array::ArrayRef = Arc::new(out.finish());
        Ok(match text {
            ColumnarValue::Scalar(_) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&done, 0)?)
            }
            ColumnarValue::Array(_) => ColumnarValue::Array(done),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_characters() {
        assert_eq!(Length::Cut.of("größe", 3), "grö");
        assert_eq!(Length::Cut.of("a  b", 3), "a  ");
        assert_eq!(Length::CutBlank.of("a  b", 3), "a");
        assert_eq!(Length::Fill.of("ö", 3), "ö  ");
        assert_eq!(Length::Fill.of("abcd", 3), "abcd");
    }
}
