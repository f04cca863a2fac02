//! Answers about the catalogue, given again. Drivers and BI tools ask the same of it on every
//! connection, and planning that costs more than it takes to answer. An answer is kept with a
//! [`Stamp`] of all that it was made of, and serves every session whose settings and rights are the
//! same while nothing of that has changed. What tells of rows, figures, sessions or time is not kept:
//! `Image::note_moving`, `PlanContext::mark_moving`.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use parking_lot::Mutex;

use crate::error::QueryResult;
use crate::plan::PlanContext;
use crate::settings::Settings;
use crate::{Description, Identity, RoleInfo, comment};

/// Answers and descriptions that are kept for all sessions.
const KEPT_MAX: usize = 256;
/// Rows of an answer that is kept.
const ROWS_MAX: usize = 256;
/// Columns of a statement.
const COLUMNS_MAX: usize = 256;
/// Bytes of one, of the statement's text, its parameters and the session's settings: with them, and
/// some 100 bytes a column, all take 36 MiB at most.
const BYTES_MAX: usize = 64 << 10;
const TEXT_BYTES_MAX: usize = 16 << 10;
const PARAMS_BYTES_MAX: usize = 16 << 10;
const SETTINGS_BYTES_MAX: usize = 16 << 10;

/// Revisions of all that definitions, roles and rights are read of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([u64; 7]);

impl Stamp {
    /// `None` where the session has things of its own, or has changed what is not visible yet.
    pub(crate) fn of(context: &PlanContext, roles: Arc<[RoleInfo]>) -> QueryResult<Option<Stamp>> {
        let relations = context.relations()?;
        let own = !relations.temporary(None).is_empty() || context.engine.views().any_temporary();
        if own || context.has_changed() {
            return Ok(None);
        }
        let revisions = [
            context.snapshot.schema_version(),
            context.views()?.revision,
            relations.revision,
            context.rights()?.revision,
            context.schemas()?.revision,
            comment::revision(&context.snapshot)?,
            context.engine.caches().answers.revision_of(roles),
        ];
        Ok(Some(Stamp(revisions)))
    }
}

/// What an entry is: columns of a statement for types of parameters, or rows for their values.
enum What {
    Described(Vec<Option<DataType>>, Description),
    Answered(Vec<ScalarValue>, SchemaRef, Vec<RecordBatch>),
}

struct Kept {
    hash: u64,
    text: Box<str>,
    numbered: Arc<[bool]>,
    settings: Arc<Settings>,
    identity: Arc<Identity>,
    stamp: Stamp,
    what: What,
}

impl Kept {
    /// Whether it was made for the same statement under the same settings and rights.
    fn is_of(&self, hash: u64, text: &str, context: &PlanContext) -> bool {
        let (a, b) = (&self.identity, &context.identity);
        let rights =
            |of: &Identity| (of.oid, of.superuser, of.can_read, of.can_write, of.can_define);
        let same = Arc::ptr_eq(a, b) || (rights(a) == rights(b) && a.user == b.user);
        self.hash == hash
            && same
            && *self.text == *text
            && self.numbered == context.numbered
            && (Arc::ptr_eq(&self.settings, &context.settings) || self.settings == context.settings)
    }
}

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Answers {
    /// Those that were asked for last at the end.
    kept: Mutex<VecDeque<Kept>>,
    /// The roles that were seen last, and how many others were before.
    roles: Mutex<(u64, Arc<[RoleInfo]>)>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("kept", &self.kept.lock().len()).finish()
    }
}

impl Answers {
    /// A number that stays while roles are the same.
    fn revision_of(&self, roles: Arc<[RoleInfo]>) -> u64 {
        let mut last = self.roles.lock();
        if !Arc::ptr_eq(&last.1, &roles) {
            last.0 += u64::from(last.1 != roles);
            last.1 = roles;
        }
        last.0
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().len()
    }

    /// The rows of a statement, if they are known and still right.
    pub(crate) fn answer(
        &self,
        text: &str,
        params: &[ScalarValue],
        context: &PlanContext,
    ) -> Option<(SchemaRef, Vec<RecordBatch>)> {
        self.find(text, context, |what| match what {
            What::Answered(of, schema, batches) if of == params => {
                Some((schema.clone(), batches.clone()))
            }
            _ => None,
        })
    }

    /// The columns of a statement, if they are known and still right.
    pub(crate) fn description(
        &self,
        text: &str,
        given: &[Option<DataType>],
        context: &PlanContext,
    ) -> Option<Description> {
        self.find(text, context, |what| match what {
            What::Described(of, description) if of == given => Some(description.clone()),
            _ => None,
        })
    }

    fn find<T>(
        &self,
        text: &str,
        context: &PlanContext,
        of: impl Fn(&What) -> Option<T>,
    ) -> Option<T> {
        let hash = hash(text);
        {
            // Most statements are none of these: they need no stamp.
            let kept = self.kept.lock();
            if !kept.iter().any(|kept| kept.hash == hash) {
                return None;
            }
        }
        // What cannot be read is told when the statement runs.
        let roles = context.engine.directory().roles().ok()?;
        let now = Stamp::of(context, roles).ok().flatten()?;
        let mut kept = self.kept.lock();
        let fits = |kept: &Kept| kept.is_of(hash, text, context) && of(&kept.what).is_some();
        let at = kept.iter().rposition(fits)?;
        let found = kept.remove(at)?;
        if found.stamp != now {
            return None;
        }
        let value = of(&found.what);
        kept.push_back(found);
        value
    }

    /// Keeps the rows of a statement, all of them; `told`: what its plan was made of.
    pub(crate) fn keep_answer(
        &self,
        text: &str,
        params: &[ScalarValue],
        context: &PlanContext,
        told: Option<&Stamp>,
        (schema, batches): (&SchemaRef, &[RecordBatch]),
    ) {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let params_bytes: usize = params.iter().map(ScalarValue::size).sum();
        let columns = schema.fields().len();
        if rows > ROWS_MAX || params_bytes > PARAMS_BYTES_MAX || columns > COLUMNS_MAX {
            return;
        }
        // What cannot be copied is not kept.
        let Ok(batches) = batches.iter().map(alone).collect::<Result<Vec<_>, _>>() else { return };
        if batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() > BYTES_MAX {
            return;
        }
        let what = What::Answered(params.to_vec(), schema.clone(), batches);
        self.keep(text, context, told, what);
    }

    /// Keeps the columns of a statement.
    pub(crate) fn keep_description(
        &self,
        text: &str,
        given: &[Option<DataType>],
        context: &PlanContext,
        description: &Description,
    ) {
        let columns = description.fields.as_ref().map_or(0, |schema| schema.fields().len());
        if columns <= COLUMNS_MAX && description.params.len() <= COLUMNS_MAX {
            let what = What::Described(given.to_vec(), description.clone());
            self.keep(text, context, None, what);
        }
    }

    fn keep(&self, text: &str, context: &PlanContext, told: Option<&Stamp>, what: What) {
        if text.len() > TEXT_BYTES_MAX || context.settings.bytes() > SETTINGS_BYTES_MAX {
            return;
        }
        let Some(stamp) = context.stamp() else { return };
        // A plan that was kept holds what was told before; scans have told what is there now.
        if told.is_some_and(|told| *told != stamp) {
            return;
        }
        let kept = Kept {
            hash: hash(text),
            text: text.into(),
            numbered: context.numbered.clone(),
            settings: context.settings.clone(),
            identity: context.identity.clone(),
            stamp,
            what,
        };
        let mut all = self.kept.lock();
        if all.len() >= KEPT_MAX {
            all.pop_front();
        }
        all.push_back(kept);
    }
}

/// The rows in memory of their own: they may be few of a large table's.
fn alone(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    let column = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) => Ok(Arc::new(texts.iter().collect::<StringViewArray>()) as ArrayRef),
        None => take(column, &all, None),
    };
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
