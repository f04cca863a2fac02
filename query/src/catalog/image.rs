//! The catalogue as one statement sees it.

use std::sync::Arc;

use tsdb::DbStats;
use tsdb::types::TableSchema;

use crate::RoleInfo;
use crate::error::QueryResult;
use crate::plan::PlanContext;

/// Tables, roles and settings at one moment.
pub(crate) struct Image {
    pub(crate) tables: Vec<tsdb::Table>,
    pub(crate) roles: Vec<RoleInfo>,
    pub(crate) stats: DbStats,
    pub(crate) db: Arc<tsdb::Db>,
    pub(crate) settings: Arc<crate::settings::Settings>,
}

impl Image {
    pub(crate) fn new(context: &PlanContext) -> QueryResult<Image> {
        let snapshot = &context.snapshot;
        let schemas: Vec<Arc<TableSchema>> = snapshot.tables();
        Ok(Image {
            tables: schemas.iter().filter_map(|s| snapshot.table_by_id(s.id)).collect(),
            roles: context.engine.directory().roles()?,
            stats: context.engine.db().stats(),
            db: Arc::clone(context.engine.db()),
            settings: context.settings.clone(),
        })
    }
}

impl Image {
    /// Number of the role that owns everything: the first superuser.
    pub(super) fn owner(&self) -> i64 {
        self.first_superuser().map_or(10, |r| i64::from(r.oid))
    }

    /// Its name.
    pub(super) fn owner_name(&self) -> &str {
        self.first_superuser().map_or("admin", |r| r.name.as_str())
    }

    fn first_superuser(&self) -> Option<&RoleInfo> {
        self.roles.iter().filter(|r| r.superuser).min_by_key(|r| r.oid)
    }

    /// The table of that number.
    pub(super) fn table(&self, oid: i64) -> Option<&tsdb::Table> {
        self.tables.iter().find(|t| super::pg::table_oid(t.schema().id) == oid)
    }
}
