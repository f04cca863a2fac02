//! SQL type names beyond those that DataFusion knows, and times in the session's zone.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, TimezoneInfo};

use super::rows::named;
use crate::uuid::UUID_TYPE;

/// Types as Postgres names them.
#[derive(Debug)]
pub(crate) struct PgTypes {
    zone: Arc<str>,
    /// Whether the statement may have to do with the catalogue, whose columns and numbers of objects
    /// are shown as other types than those of their values: then a cast must say that its result is
    /// not.
    catalogue: bool,
}

impl PgTypes {
    pub(crate) fn new(zone: &str, catalogue: bool) -> PgTypes {
        PgTypes { zone: zone.into(), catalogue }
    }

    fn time(&self, with_zone: bool) -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, with_zone.then(|| self.zone.clone()))
    }

    fn find(&self, kind: &ast::DataType) -> Option<Field> {
        use ast::DataType as D;
        let plain = |kind: DataType, name: &str| {
            let field = Field::new("", kind, true);
            if self.catalogue { named(field, name) } else { field }
        };
        let shown = |kind: DataType, name: &str| named(Field::new("", kind, true), name);
        Some(match kind {
            D::Timestamp(_, zone) => {
                let zone = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
                plain(self.time(zone), if zone { "timestamptz" } else { "timestamp" })
            }
            D::Character(_) => plain(DataType::Utf8View, "bpchar"),
            D::CharacterVarying(_) | D::CharVarying(_) | D::Varchar(_) => {
                plain(DataType::Utf8View, "varchar")
            }
            D::Text if self.catalogue => plain(DataType::Utf8View, "text"),
            D::Boolean | D::Bool if self.catalogue => plain(DataType::Boolean, "bool"),
            D::SmallInt(_) | D::Int2(_) if self.catalogue => plain(DataType::Int16, "int2"),
            D::Int(_) | D::Integer(_) | D::Int4(_) if self.catalogue => {
                plain(DataType::Int32, "int4")
            }
            D::BigInt(_) | D::Int8(_) if self.catalogue => plain(DataType::Int64, "int8"),
            D::Float(ast::ExactNumberInfo::None) => plain(DataType::Float64, "float8"),
            D::Uuid => Field::new("", UUID_TYPE, true),
            D::Regclass => shown(DataType::Int32, "regclass"),
            D::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => {
                let item = self.find(inner)?.with_name(Field::LIST_FIELD_DEFAULT_NAME);
                plain(DataType::List(Arc::new(item)), "array")
            }
            D::Custom(name, modifiers) => {
                let ident = name.0.last()?.as_ident()?;
                let lower = ident.value.to_lowercase();
                match lower.as_str() {
                    "char" if ident.quote_style.is_some() => shown(DataType::Utf8View, "char"),
                    "name" => shown(DataType::Utf8View, "name"),
                    "oid" | "xid" | "cid" | "regclass" | "regproc" | "regprocedure" | "regtype"
                    | "regrole" | "regnamespace" => shown(DataType::Int32, &lower),
                    _ if modifiers.is_empty() => plain(self.named(&lower)?, &lower),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn named(&self, name: &str) -> Option<DataType> {
        Some(match name {
            "text" | "varchar" | "bpchar" | "char" | "cstring" | "unknown" | "aclitem"
            | "pg_node_tree" => DataType::Utf8View,
            "bool" => DataType::Boolean,
            "int2" => DataType::Int16,
            "int4" | "regoper" | "regoperator" | "regconfig" | "regdictionary" | "regcollation" => {
                DataType::Int32
            }
            "int8" => DataType::Int64,
            "float4" => DataType::Float32,
            "float8" => DataType::Float64,
            "bytea" => DataType::Binary,
            "uuid" => UUID_TYPE,
            "timestamptz" => self.time(true),
            "timestamp" => self.time(false),
            "date" => DataType::Date32,
            _ => return None,
        })
    }
}

/// The type of arrays that SQL calls so.
pub(crate) fn array(kind: &ast::DataType, zone: &str) -> Option<DataType> {
    // As in the catalogue, so that all types of elements are known.
    let array = PgTypes::new(zone, true).find(kind)?;
    let DataType::List(item) = array.data_type() else { return None };
    // Only what must be told apart keeps its name.
    let oid = item.metadata().get(crate::PG_TYPE).is_some_and(|name| name == "oid");
    Some(match oid {
        true => DataType::List(item.clone()),
        false => DataType::new_list(item.data_type().clone(), true),
    })
}

impl TypePlanner for PgTypes {
    fn plan_type_field(&self, kind: &ast::DataType) -> Result<Option<FieldRef>> {
        Ok(self.find(kind).map(Arc::new))
    }
}
