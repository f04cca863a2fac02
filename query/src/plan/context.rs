//! The three faces that a [`PlanContext`] shows to DataFusion.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{CatalogProviderList, Session, TableFunctionArgs};
use datafusion::common::alias::AliasGenerator;
use datafusion::common::{DFSchema, Result, ScalarValue, TableReference};
use datafusion::config::{ConfigOptions, TableOptions};
use datafusion::datasource::provider_as_source;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::registry::ExtensionTypeRegistryRef;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::OptimizerConfig;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;

use tsdb::types::{ColumnId, TableSchema};

use super::PlanContext;
use super::names::{DATABASE, ROWS, SCHEMA};
use crate::error::QueryError;
use crate::relational::RelationTable;
use crate::relational::def::TableDef;
use crate::rights::{BARE, BARE_ROWS, NEW, Object};
use crate::table::{Extra, SeriesTable};
use crate::{catalog, functions};

/// A time or number as `generate_series` takes it.
fn widened(arg: Expr) -> Expr {
    match arg {
        Expr::Literal(ScalarValue::Int32(Some(value)), metadata) => {
            Expr::Literal(ScalarValue::Int64(Some(value.into())), metadata)
        }
        Expr::Literal(ScalarValue::Int32(None), metadata) => {
            Expr::Literal(ScalarValue::Int64(None), metadata)
        }
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), zone), metadata) => {
            let nanos = micros.checked_mul(1_000);
            match nanos {
                Some(_) => Expr::Literal(ScalarValue::TimestampNanosecond(nanos, zone), metadata),
                None => {
                    Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), zone), metadata)
                }
            }
        }
        other => other,
    }
}

impl ContextProvider for PlanContext {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let missing = || QueryError::no_table(&name.to_string()).into_datafusion();
        let secured = |object, source| {
            let secured = self.secured(name.schema(), name.table(), object, source);
            secured.map_err(QueryError::into_datafusion)
        };
        if name.catalog().is_some_and(|c| c != DATABASE) {
            let message = format!("cross-database references are not implemented: \"{name}\"");
            return Err(QueryError::new("0A000", message).into_datafusion());
        }
        if let Some(table) = catalog::table(name.schema(), name.table()) {
            self.mark_catalogue();
            return Ok(provider_as_source(table));
        }
        if name.schema() == Some(NEW) {
            let rows = self.new_rows.clone().ok_or_else(missing)?;
            return Ok(provider_as_source(rows));
        }
        let identity = self.changes && matches!(name.schema(), Some(ROWS | BARE_ROWS));
        let bare = identity || name.schema() == Some(BARE);
        if !bare && name.schema().is_some_and(|s| s != SCHEMA) {
            return Err(missing());
        }
        if name.schema().is_none()
            && let Some(view) =
                self.temporary_view(name.table()).map_err(QueryError::into_datafusion)?
        {
            return Ok(view);
        }
        if let Some(table) = self.relation(name.table()).map_err(QueryError::into_datafusion)? {
            let object = Object::Relational(table.def().number);
            return secured(object, provider_as_source(table));
        }
        if let Some(rows) =
            functions::sequence::table(self, name.table()).map_err(QueryError::into_datafusion)?
        {
            return Ok(rows);
        }
        let found = self.snapshot.table(name.table());
        let found = found.filter(|table| !self.scope.hides_table(table.schema().id));
        let Some(found) = found else {
            let view = match bare {
                true => None,
                false => self.view(name.table()).map_err(QueryError::into_datafusion)?,
            };
            return view.ok_or_else(missing);
        };
        let object = Object::Table(found.schema().id);
        let zone = self.settings.zone();
        let extra = Extra { quality: self.quality(), identity };
        let hidden = self.scope.hidden_columns(found.schema());
        if !hidden.is_empty() {
            let rest = Arc::new(without(found.schema(), &hidden));
            let rest = SeriesTable::new(rest, zone, extra);
            return secured(object, provider_as_source(Arc::new(rest)));
        }
        let provider = self.engine.tables().provider(found.schema(), zone, extra);
        secured(object, provider_as_source(provider))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        let Some(function) = self.engine.base().table_functions().get(name) else {
            let message = format!("function {name} does not exist");
            return Err(QueryError::new("42883", message).into_datafusion());
        };
        self.mark_fleeting();
        let context = SimplifyContext::builder()
            .with_config_options(self.config.options().clone())
            .with_query_execution_start_time(self.props.query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|e| simplifier.simplify(e)))
            .map(|arg| arg.map(widened))
            .collect::<Result<Vec<_>>>()?;
        let args = TableFunctionArgs::new(&args, self);
        Ok(provider_as_source(function.create_table_provider_with_args(args)?))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: arrow::datatypes::SchemaRef,
    ) -> Result<Arc<dyn TableSource>> {
        use datafusion::catalog::cte_worktable::CteWorkTable;
        // The work table belongs to one run.
        self.mark_fleeting();
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.engine.base().expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(catalog::types::PgTypes::new(self.settings.zone(), self.is_of_catalogue())))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(function) = functions::of_session(name, self) {
            if !functions::is_steady(name) {
                self.mark_moving();
            }
            match functions::sequence::is_one(name) {
                true => self.mark_acting(),
                false => self.mark_told(),
            }
            return Some(function);
        }
        self.engine.base().scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.engine.base().higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.engine.base().aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.engine.base().window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.config.options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.engine.base().scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.engine.base().higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.engine.base().aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.engine.base().window_functions().keys().cloned().collect()
    }
}

impl PlanContext {
    /// The relational table of a name.
    fn relation(&self, name: &str) -> crate::error::QueryResult<Option<Arc<RelationTable>>> {
        let relations = self.relations()?;
        // A view means the same for all sessions, a temporary one what it meant when it was made.
        let hidden = |table: &TableDef| {
            table.temporary.is_some() && !self.scope.sees_temporary_table(table.number)
        };
        let found = match relations.find(name) {
            Some(table) if hidden(table) => relations.find_lasting(name),
            found => found,
        };
        let Some(def) = found else { return Ok(None) };
        if self.scope.hides_relation(def.number) {
            return Ok(None);
        }
        let hidden = self.scope.hidden_of_relation(def);
        let zone = self.settings.zone();
        RelationTable::new(def, zone, self.changes, &hidden).map(|table| Some(Arc::new(table)))
    }
}

/// The table without some of its columns; a time that is hidden has a name that nobody can write.
fn without(table: &TableSchema, hidden: &[Option<ColumnId>]) -> TableSchema {
    let mut rest = table.clone();
    rest.columns.retain(|column| !hidden.contains(&Some(column.id)));
    if hidden.contains(&None) {
        rest.time_name = "\u{1}time".to_string();
    }
    rest
}

impl OptimizerConfig for PlanContext {
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        self.props.query_execution_start_time
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.props.alias_generator
    }

    fn options(&self) -> Arc<ConfigOptions> {
        PlanContext::options(self).clone()
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        Some(self.engine.base())
    }
}

#[async_trait]
impl Session for PlanContext {
    fn session_id(&self) -> &str {
        ""
    }

    fn config(&self) -> &SessionConfig {
        &self.config
    }

    fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        self.engine.base().catalog_list().clone()
    }

    fn optimize(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        PlanContext::optimize(self, plan.clone(), &[]).map_err(QueryError::into_datafusion)
    }

    fn physical_optimizers(
        &self,
    ) -> &[Arc<dyn datafusion::physical_optimizer::PhysicalOptimizerRule + Send + Sync>] {
        self.engine.base().physical_optimizers()
    }

    async fn create_physical_plan(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_planner::PhysicalPlanner;
        self.engine.planner().create_physical_plan(plan, self).await
    }

    fn create_physical_expr(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        create_physical_expr(&expr, schema, &self.props, &PhysicalPlanningContext::default())
    }

    fn scalar_functions(&self) -> &HashMap<String, Arc<ScalarUDF>> {
        self.engine.base().scalar_functions()
    }

    fn higher_order_functions(&self) -> &HashMap<String, Arc<HigherOrderUDF>> {
        self.engine.base().higher_order_functions()
    }

    fn aggregate_functions(&self) -> &HashMap<String, Arc<AggregateUDF>> {
        self.engine.base().aggregate_functions()
    }

    fn window_functions(&self) -> &HashMap<String, Arc<WindowUDF>> {
        self.engine.base().window_functions()
    }

    fn extension_type_registry(&self) -> &ExtensionTypeRegistryRef {
        Session::extension_type_registry(self.engine.base())
    }

    fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        self.engine.base().runtime_env()
    }

    fn execution_props(&self) -> &ExecutionProps {
        &self.props
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_options(&self) -> &TableOptions {
        match &self.table_options {
            Some(options) => options,
            None => self.engine.base().table_options(),
        }
    }

    fn table_options_mut(&mut self) -> &mut TableOptions {
        let base = self.engine.base().table_options();
        self.table_options.get_or_insert_with(|| Box::new(base.clone()))
    }

    fn task_ctx(&self) -> Arc<TaskContext> {
        self.task()
    }
}
