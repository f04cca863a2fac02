//! Tests of what filters mean.
