//! `coalesce`, `greatest` and `least` as DataFusion has them, that take uuids too.
//!
//! Which type arguments have in common is asked before any rule has read a literal beside a uuid as
//! one (`plan/uuids.rs`), and DataFusion knows of none.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions::core::{coalesce, greatest, least};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::uuid::UUID_TYPE;

pub(super) fn all() -> [ScalarUDF; 3] {
    [coalesce(), greatest(), least()].map(|inner| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Choosing { inner, signature })
    })
}

fn beside(kind: &DataType) -> DataType {
    if kind.is_null() { UUID_TYPE } else { kind.clone() }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Choosing {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Choosing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        match kinds.contains(&UUID_TYPE) {
            // NULL is one here. Nothing else has a cast to uuid: literals become uuids by the rule,
            // which refuses what cannot be beside one.
            true => Ok(kinds.iter().map(beside).collect()),
            false => self.inner.coerce_types(kinds),
        }
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        self.inner.return_type(kinds)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields.iter().any(|field| field.data_type() == &UUID_TYPE) {
            true => Ok(Arc::new(Field::new(self.name(), UUID_TYPE, true))),
            false => self.inner.return_field_from_args(args),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
