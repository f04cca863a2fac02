//! EXPLAIN and EXPLAIN ANALYZE: the operators as lines of one text column, or as JSON.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::{Expr, UtilityOption, Value};
use futures::StreamExt;
use serde_json::{Value as Json, json};

use crate::error::{QueryError, QueryResult};
use crate::names::folded;

/// What is asked of an explanation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whether the statement is run.
    pub(crate) analyze: bool,
    pub(crate) verbose: bool,
    /// FORMAT JSON, else TEXT.
    pub(crate) json: bool,
}

/// Options that say how much of what Postgres measures is shown; there is nothing of it here.
const IGNORED: [&str; 8] =
    ["costs", "settings", "generic_plan", "buffers", "wal", "timing", "summary", "memory"];

impl Asked {
    /// Takes in the options in parentheses.
    ///
    /// # Errors
    /// `42601` for one that there is not, `22023` for a value that it does not take, `0A000` for
    /// other formats.
    pub(crate) fn with(mut self, options: &[UtilityOption]) -> QueryResult<Asked> {
        for option in options {
            let name = folded(&option.name);
            let word = option.arg.as_ref().map(|arg| match arg {
                Expr::Value(value) => match &value.value {
                    Value::Number(number, _) => number.clone(),
                    value => value.clone().into_string().unwrap_or_else(|| value.to_string()),
                },
                other => other.to_string(),
            });
            let word = word.map(|word| word.to_lowercase());
            let is_on = || match word.as_deref() {
                None | Some("true" | "on" | "1") => Ok(true),
                Some("false" | "off" | "0") => Ok(false),
                Some(_) => {
                    Err(QueryError::new("22023", format!("{name} requires a Boolean value")))
                }
            };
            match name.as_str() {
                "analyze" => self.analyze = is_on()?,
                "verbose" => self.verbose = is_on()?,
                "format" => match word.as_deref() {
                    Some("text") => self.json = false,
                    Some("json") => self.json = true,
                    Some(other @ ("xml" | "yaml")) => {
                        let what = format!("EXPLAIN with FORMAT {}", other.to_uppercase());
                        return Err(QueryError::unsupported(what));
                    }
                    other => {
                        let message = format!(
                            "unrecognized value for EXPLAIN option \"format\": \"{}\"",
                            other.unwrap_or_default()
                        );
                        return Err(QueryError::new("22023", message));
                    }
                },
                name if IGNORED.contains(&name) => {
                    is_on()?;
                }
                name => {
                    let message = format!("unrecognized EXPLAIN option \"{name}\"");
                    return Err(QueryError::new("42601", message));
                }
            }
        }
        Ok(self)
    }
}

/// Column of all explanations.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// The plan as it would run, and what else is to be told of it.
pub(crate) fn plan(
    plan: &dyn ExecutionPlan,
    asked: Asked,
    told: Vec<String>,
) -> QueryResult<RecordBatch> {
    let shown = DisplayableExecutionPlan::new(plan);
    if asked.json {
        let shown = shown.set_show_schema(asked.verbose).pgjson(asked.verbose).to_string();
        return document(&shown, told, &[]);
    }
    let text = shown.indent(asked.verbose).to_string();
    lines(text.lines().map(str::to_string).chain(told).collect())
}

/// The names of the operators alone.
pub(crate) fn sparing(plan: &dyn ExecutionPlan, asked: Asked) -> QueryResult<RecordBatch> {
    let note = "Row-level security holds: figures and details are left out.".to_string();
    if asked.json {
        fn named(plan: &dyn ExecutionPlan) -> Json {
            let below: Vec<Json> =
                plan.children().into_iter().map(|child| named(child.as_ref())).collect();
            json!({"Node Type": plan.name(), "Plans": below})
        }
        let shown = json!([{"Plan": named(plan)}]).to_string();
        return document(&shown, vec![note], &[]);
    }
    let text = DisplayableExecutionPlan::new(plan).indent(false).to_string();
    let name = |line: &str| {
        let end = line.find(|c: char| c != ' ' && !c.is_alphanumeric()).unwrap_or(line.len());
        line[..end].trim_end().to_string()
    };
    lines(text.lines().map(name).chain([note]).collect())
}

/// Runs the plan, then tells what each operator did, and what else is to be told.
pub(crate) async fn analyze(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<TaskContext>,
    asked: Asked,
    told: Vec<String>,
    planning_ms: f64,
) -> QueryResult<RecordBatch> {
    let started = Instant::now();
    let mut stream = execute_stream(plan.clone(), task)?;
    let mut rows = 0usize;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    drop(stream);
    let took = started.elapsed().as_secs_f64() * 1e3;
    let shown = DisplayableExecutionPlan::with_metrics(plan.as_ref());
    if asked.json {
        let shown = shown.set_show_schema(asked.verbose).pgjson(asked.verbose).to_string();
        let figures = [
            ("Actual Rows", json!(rows)),
            ("Planning Time", json!(planning_ms)),
            ("Execution Time", json!(took)),
        ];
        return document(&shown, told, &figures);
    }
    let text = shown.indent(asked.verbose).to_string();
    let mut all: Vec<String> = text.lines().map(str::to_string).collect();
    all.extend(told);
    all.push(format!("Rows: {rows}"));
    all.push(format!("Planning Time: {planning_ms:.3} ms"));
    all.push(format!("Execution Time: {took:.3} ms"));
    lines(all)
}

/// What is told of a statement that the engine answers itself: a line, and figures behind a run.
pub(crate) fn native(
    line: String,
    asked: Asked,
    ran: Option<(usize, f64)>,
) -> QueryResult<RecordBatch> {
    if !asked.json {
        let figures = ran.into_iter().flat_map(|(rows, took)| {
            [format!("Rows: {rows}"), format!("Execution Time: {took:.3} ms")]
        });
        return lines(std::iter::once(line).chain(figures).collect());
    }
    let name = line.split_once(':').map_or(line.as_str(), |(name, _)| name);
    let shown = json!([{"Plan": {"Node Type": name, "Details": line}}]).to_string();
    match ran {
        None => document(&shown, Vec::new(), &[]),
        Some((rows, took)) => {
            let figures = [("Actual Rows", json!(rows)), ("Execution Time", json!(took))];
            document(&shown, Vec::new(), &figures)
        }
    }
}

/// A plan in JSON with figures of the whole beside it.
fn document(shown: &str, told: Vec<String>, figures: &[(&str, Json)]) -> QueryResult<RecordBatch> {
    let wrong = |error| QueryError::internal(format!("a plan in JSON: {error}"));
    let mut whole: Json = serde_json::from_str(shown).map_err(wrong)?;
    if let Some(Json::Object(root)) = whole.get_mut(0) {
        if !told.is_empty() {
            root.insert("Notes".into(), json!(told));
        }
        root.extend(figures.iter().map(|(name, value)| ((*name).into(), value.clone())));
    }
    lines(vec![serde_json::to_string_pretty(&whole).map_err(wrong)?])
}

/// Lines as the batch of an explanation.
pub(crate) fn lines(lines: Vec<String>) -> QueryResult<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from(lines))])?)
}
