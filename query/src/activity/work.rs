//! What does a statement's work, to read progress and plan off it.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;

use crate::native::NativeAggregate;

/// See the head of this file.
#[derive(Default)]
pub(crate) enum Work {
    /// Nothing that reads.
    #[default]
    None,
    /// Operators.
    Plan(Arc<dyn ExecutionPlan>),
    /// An aggregation on the engine's own streams.
    Aggregate(Arc<NativeAggregate>),
    /// What is read in one go, as a line.
    Line(String),
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) rows: u64,
    /// Row groups that were read, and those that may have to be.
    pub(crate) groups: u64,
    pub(crate) groups_all: u64,
    pub(crate) spilled_bytes: u64,
}

impl Work {
    pub(crate) fn read(&self) -> Read {
        let mut read = Read::default();
        match self {
            Work::None | Work::Line(_) => {}
            Work::Plan(plan) => add(plan.as_ref(), &mut read),
            Work::Aggregate(native) => {
                let (rows, groups, groups_all) = native.progress();
                read = Read { rows, groups, groups_all, spilled_bytes: 0 };
            }
        }
        read
    }

    /// The plan with what was measured; empty where there is none.
    pub(crate) fn plan(&self) -> String {
        match self {
            Work::None => String::new(),
            Work::Line(line) => line.clone(),
            Work::Plan(plan) => {
                let shown = DisplayableExecutionPlan::with_metrics(plan.as_ref());
                shown.indent(false).to_string().trim_end().to_string()
            }
            Work::Aggregate(native) => format!("{}, {}", native.plan(), native.metrics()),
        }
    }
}

fn add(plan: &dyn ExecutionPlan, read: &mut Read) {
    if let Some(metrics) = plan.metrics() {
        read.spilled_bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
        if plan.children().is_empty() {
            read.rows += sum(&metrics, "rows_read");
            read.groups += sum(&metrics, "row_groups_read");
            let pruned = sum(&metrics, "row_groups_pruned");
            read.groups_all += sum(&metrics, "row_groups").saturating_sub(pruned);
        }
    }
    plan.children().into_iter().for_each(|child| add(child.as_ref(), read));
}

fn sum(metrics: &MetricsSet, name: &str) -> u64 {
    metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64)
}
