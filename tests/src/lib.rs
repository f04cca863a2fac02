//! Whole-system tests; they live in `system/`.
