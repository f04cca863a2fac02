//! SQL type names beyond those that DataFusion knows, and times in the session's zone.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, TimezoneInfo};

/// Types as Postgres names them.
#[derive(Debug)]
pub(crate) struct PgTypes {
    zone: Arc<str>,
}

impl PgTypes {
    pub(crate) fn new(zone: &str) -> PgTypes {
        PgTypes { zone: zone.into() }
    }

    fn time(&self, with_zone: bool) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, with_zone.then(|| self.zone.clone()))
    }

    fn find(&self, kind: &ast::DataType) -> Option<DataType> {
        use ast::DataType as D;
        Some(match kind {
            D::Timestamp(_, zone) => {
                self.time(matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz))
            }
            D::Character(_) | D::CharacterVarying(_) | D::CharVarying(_) | D::Varchar(_) => {
                DataType::Utf8View
            }
            D::Float(ast::ExactNumberInfo::None) => DataType::Float64,
            D::Regclass => DataType::Int32,
            D::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => {
                let inner = self.find(inner)?;
                DataType::List(Arc::new(Field::new_list_field(inner, true)))
            }
            D::Custom(name, modifiers) if modifiers.is_empty() => {
                let name = name.0.last()?.as_ident()?.value.to_lowercase();
                self.named(&name)?
            }
            _ => return None,
        })
    }

    fn named(&self, name: &str) -> Option<DataType> {
        Some(match name {
            "text" | "name" | "varchar" | "bpchar" | "char" | "cstring" | "unknown" | "aclitem"
            | "pg_node_tree" => DataType::Utf8View,
            "bool" => DataType::Boolean,
            "int2" => DataType::Int16,
            "int4" | "oid" | "xid" | "regclass" | "regproc" | "regprocedure" | "regoper"
            | "regoperator" | "regtype" | "regrole" | "regnamespace" | "regconfig"
            | "regdictionary" | "regcollation" => DataType::Int32,
            "int8" => DataType::Int64,
            "float4" => DataType::Float32,
            "float8" => DataType::Float64,
            "bytea" => DataType::Binary,
            "timestamptz" => self.time(true),
            "timestamp" => self.time(false),
            "date" => DataType::Date32,
            _ => return None,
        })
    }
}

impl TypePlanner for PgTypes {
    fn plan_type_field(&self, kind: &ast::DataType) -> Result<Option<FieldRef>> {
        Ok(self.find(kind).map(|kind| Arc::new(Field::new("", kind, true))))
    }
}
